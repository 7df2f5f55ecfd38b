"""A proposal, and a vote on what was proposed, as a task of voted steps: the two halves of Algorithm 4 have its shape.

Equal candidates are one before they are judged, so that agreement never splits a vote (arXiv:2511.09030, Appendix F).
No model is in sight here, and no subtask: who asks for which task is decided elsewhere.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag
from mdap.core.formats import Format
from mdap.core.records import ABSENT, Move, State
from mdap.core.strictjson import read_json
from mdap.planning.bounds import shallow
from mdap.planning.composition import COMPOSITIONS
from mdap.planning.division import Division, division_schema, read_division
from mdap.planning.verdicts import NO, YES, choice_schema, distinct, read_choice, read_verdict, verdict_schema
from mdap.planning.wording import (
    COMPOSER,
    DECOMPOSER,
    DECOMPOSITION_DISCRIMINATOR,
    MINIMALITY,
    NONE,
    SOLUTION_DISCRIMINATOR,
    SOLVER,
    VALIDATOR,
    Wording,
    bullets,
    numbered,
    written,
)

# Before their reasons in the next prompt: a proposer is to know that nobody was sure.
_DISAGREED = "judges agreed on none of the candidates"


class Question(msgspec.Struct, frozen=True):
    """What a role is asked about: the task, what is known beside it, and for a composition what there is to compose."""

    task: str
    context: tuple[str, ...] = ()
    results: tuple[dict[str, Any], ...] = ()
    compose: str = ""

    def values(self) -> dict[str, str]:
        """Return the slots of a prompt that speak of it."""
        return {
            "task": self.task,
            "context": bullets(self.context),
            "results": "\n".join(written(result) for result in self.results) or NONE,
            "compose": self.compose or NONE,
        }


class Candidates(ABC):
    """Candidates for one question: drawn, made distinct, judged; after a refusal drawn anew, `rounds` times at most.

    One candidate that all draws agree on needs no judge. `result` of the last state holds what was chosen, or nothing
    where no round had a majority.
    """

    # What follows from an action is worked out here: no model writes the next state.
    vote_on = "action"
    spec = "candidates"

    def __init__(self, question: Question, wording: Wording, rounds: int) -> None:
        self._question, self._wording, self._rounds = question, wording, rounds

    @property
    def version(self) -> str:
        """What makes other candidates for the same question; the rounds are a cap, and may change."""
        return self._wording.digest

    @property
    @abstractmethod
    def proposes(self) -> str:
        """The role that proposes."""

    @property
    @abstractmethod
    def chooses(self) -> str:
        """The role that chooses."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the candidate that a reply is, as JSON values; raises RedFlag."""

    @abstractmethod
    def same(self, candidate: Any) -> Any:
        """Return what candidates that count as the same share."""

    @abstractmethod
    def slots(self) -> dict[str, str]:
        """Return the slots of the proposer's prompt beside those of the question."""

    def shown(self, candidates: Sequence[Any]) -> list[Any]:
        """Return candidates as judges see them."""
        return list(candidates)

    def start(self) -> dict[str, Any]:
        """Return the state before anything is proposed."""
        return {
            "question": msgspec.to_builtins(self._question),
            # Lists of at most one in place of a value or null: null may be an answer.
            "candidates": [],
            "chosen": [],
            "result": [],
            "refused": [],
        }

    def is_done(self, state: State) -> bool:
        """Say whether there is a result, or no round is left."""
        return bool(state["result"]) or len(state["refused"]) >= self._rounds

    def kind(self, state: State) -> str:
        """Return the role that has the next word."""
        return self.chooses if state["candidates"] else self.proposes

    def prompt(self, state: State) -> str:
        """Return what that role is asked."""
        values = self._question.values()
        if state["candidates"]:
            return self._wording.filled(
                self.chooses, values | {"candidates": numbered(self.shown(state["candidates"]))}
            )
        # Of all rounds: what was refused once should not come back in the third.
        reasons = distinct(reason for reasons in state["refused"] for reason in reasons)
        return self._wording.filled(self.proposes, values | self.slots() | {"reasons": bullets(reasons)})

    def reply_schema(self, state: State) -> Mapping[str, Any] | None:
        """Return the JSON Schema of a proposal, or of a choice among the candidates."""
        # A closed list of numbers: a provider that keeps to schemas then chooses none that is not there.
        return choice_schema(len(state["candidates"])) if state["candidates"] else self.proposal_schema

    @property
    def proposal_schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of a proposal; None for one that is free text."""
        return None

    def parse(self, text: str, state: State) -> Move:
        """Read a candidate, or a judge's choice; raises RedFlag for what is neither."""
        if not state["candidates"]:
            return Move({"candidate": self.read(text)}, ABSENT)
        choice, reason = read_choice(text, len(state["candidates"]))
        return Move({"choice": choice, "reasons": [reason] if reason else []}, ABSENT)

    def key(self, move: Move) -> Any:
        """Return what equal votes share: the candidate as it counts, or the choice without its reason."""
        action = move.action
        return self.same(action["candidate"]) if "candidate" in action else action["choice"]

    def settle(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move | None:
        """Return the distinct candidates that were drawn, or what the judges came to with the reasons of a refusal."""
        if not state["candidates"]:
            return Move({"candidates": self._distinct([vote.action["candidate"] for vote in votes])}, ABSENT)
        # A ballot that no rule decides is a refusal: to have most votes is not to have won.
        choice = 0 if winner is None else winner.action["choice"]
        # Of those who refused alone: whoever is to do better is not told what others liked.
        against = [reason for vote in votes if not vote.action["choice"] for reason in vote.action["reasons"]]
        reasons = [] if choice else distinct(against)
        if winner is None:
            reasons = [_DISAGREED, *reasons]
        return Move({"choice": choice, "reasons": reasons}, ABSENT)

    def apply(self, state: State, action: Any) -> State:
        """Return the state after candidates were drawn, or after a choice among them."""
        # The engine asks this of each draw; what counts is settled from all of them, and comes with a list.
        if "candidate" in action:
            return state
        if not state["candidates"]:
            found = action["candidates"]
            return self.chosen(state, found[0]) if len(found) == 1 else state | {"candidates": found}
        if action["choice"]:
            return self.chosen(state, state["candidates"][action["choice"] - 1])
        return self.refuse(state, action["reasons"])

    def chosen(self, state: State, candidate: Any) -> State:
        """Return the state once a candidate is chosen."""
        return state | {"candidates": [], "result": [candidate]}

    def refuse(self, state: State, reasons: Sequence[str]) -> State:
        """Return the state once all candidates are refused: fresh ones are drawn, as long as rounds are left."""
        return state | {"candidates": [], "chosen": [], "refused": [*state["refused"], list(reasons)]}

    def _distinct(self, found: Sequence[Any]) -> list[Any]:
        # By canonical form, not by equality: to Python 1 and True are the same, to a vote they are not.
        first: dict[bytes, Any] = {}
        for one in found:
            first.setdefault(canonical(self.same(one)), one)
        return list(first.values())


class Divisions(Candidates):
    """Ways to divide a task into at most `parts` subtasks; leaving it whole is one of them."""

    proposes, chooses = DECOMPOSER, DECOMPOSITION_DISCRIMINATOR

    def __init__(self, question: Question, wording: Wording, rounds: int, parts: int, own: Sequence[str] = ()) -> None:
        super().__init__(question, wording, rounds)
        self._parts, self._compositions = parts, [*COMPOSITIONS, *own]

    @property
    def proposal_schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of a division."""
        return division_schema()

    def read(self, text: str) -> Any:
        """Return a division as JSON values; raises RedFlag for one that nobody could carry out."""
        # Written out again: needs and complexity that a reply left out stand in every candidate alike.
        return shown_division(read_division(read_json(text), self._parts))

    def same(self, candidate: Any) -> Any:
        """Return the subtasks with what they need, and how they are composed: not how hard somebody thinks they are."""
        # Sorted: in which order needs are named says nothing of what is done.
        parts = [[part["task"].strip(), sorted(part["needs"])] for part in candidate["subtasks"]]
        return [parts, candidate["compose"].strip()]

    def slots(self) -> dict[str, str]:
        """Return how many parts there may be, and which compositions have names."""
        return {"parts": str(self._parts), "compositions": ", ".join(self._compositions)}


class Solutions(Candidates):
    """Answers to a task, or with `results` to be composed, compositions of them; `validated`: judges see the choice.

    `form` is how an answer is read; `key` says which are the same, of the value that `form` loads. `given` is an answer
    that code has composed: nothing is proposed before validators refuse it.
    """

    chooses = SOLUTION_DISCRIMINATOR
    proposes = ""

    def __init__(
        self,
        question: Question,
        wording: Wording,
        rounds: int,
        form: Format,
        key: Callable[[Any], Any] | None = None,
        *,
        validated: bool = False,
        given: Any = ABSENT,
    ) -> None:
        super().__init__(question, wording, rounds)
        # By what there is to go on, since the same judges see both.
        self.proposes = COMPOSER if question.results else SOLVER
        self._form, self._key, self._validated, self._given = form, key, validated, given

    @property
    def version(self) -> str:
        """What makes other answers to the same question."""
        return f"{self._wording.digest},{json.dumps(self._form.spec, sort_keys=True)},validated={self._validated}"

    def start(self) -> dict[str, Any]:
        """Return the state before anything is proposed, or with the answer that is given to be validated."""
        # ABSENT and not None: null is an answer that code may have composed.
        return super().start() | ({} if self._given is ABSENT else {"chosen": [self._given]})

    def reply_schema(self, state: State) -> Mapping[str, Any] | None:
        """Return the JSON Schema of an answer, a choice or a verdict; None for free text."""
        return verdict_schema((YES, NO)) if state["chosen"] else super().reply_schema(state)

    @property
    def proposal_schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema of the format, if it is one of JSON."""
        return self._form.schema

    def read(self, text: str) -> Any:
        """Return the answer that a reply is; raises RedFlag if it is not of the format, and for no answer at all."""
        value = shallow(self._form.read(text))
        # All empty replies would agree with one another, and win.
        if isinstance(value, str) and not value.strip():
            raise RedFlag("there is no answer")
        return value

    def same(self, candidate: Any) -> Any:
        """Return what the key says, else the answer itself, for a text without outer white space."""
        if self._key is not None:
            # Loaded anew: a key is written for values of the format, and a journal gives JSON.
            return self._key(self._form.load(candidate))
        return candidate.strip() if isinstance(candidate, str) else candidate

    def slots(self) -> dict[str, str]:
        """Return what is said of the format."""
        return {"format": self._form.instruction or "The result alone. Write nothing before or after it."}

    def kind(self, state: State) -> str:
        """Return the role that has the next word."""
        return VALIDATOR if state["chosen"] else super().kind(state)

    def prompt(self, state: State) -> str:
        """Return what that role is asked."""
        if state["chosen"]:
            return self._wording.filled(VALIDATOR, self._question.values() | {"answer": written(state["chosen"][0])})
        return super().prompt(state)

    def parse(self, text: str, state: State) -> Move:
        """Read an answer, a choice or a verdict; raises RedFlag for what is none of them."""
        return _verdict(text) if state["chosen"] else super().parse(text, state)

    def key(self, move: Move) -> Any:
        """Return what equal votes share."""
        return move.action["verdict"] if "verdict" in move.action else super().key(move)

    def settle(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move | None:
        """Return the candidates, the choice, or the verdict with the reasons of all who said No."""
        return _judged(votes, winner) if state["chosen"] else super().settle(state, votes, winner)

    def apply(self, state: State, action: Any) -> State:
        """Return the state after candidates, a choice or a verdict."""
        if "verdict" not in action:
            return super().apply(state, action)
        if action["verdict"] == YES:
            return state | {"chosen": [], "result": state["chosen"]}
        return self.refuse(state, action["reasons"])

    def chosen(self, state: State, candidate: Any) -> State:
        """Return the state once an answer is chosen: the result, or what validators are shown."""
        # Held back: what validators have not seen is no result yet.
        return super().chosen(state, candidate) | ({"result": [], "chosen": [candidate]} if self._validated else {})


class Minimality:
    """Whether a task can be solved at once, by the verdicts of judges; where they split evenly, it is divided."""

    vote_on = "action"
    spec = "minimality"

    def __init__(self, question: Question, wording: Wording) -> None:
        self._question, self._wording = question, wording

    @property
    def version(self) -> str:
        """What makes it another question."""
        return self._wording.digest

    def start(self) -> dict[str, Any]:
        """Return the state before the verdict."""
        return {"question": msgspec.to_builtins(self._question), "verdict": ""}

    def is_done(self, state: State) -> bool:
        """Say whether there is a verdict."""
        return bool(state["verdict"])

    def kind(self, state: State) -> str:
        """Return the one role."""
        return MINIMALITY

    def prompt(self, state: State) -> str:
        """Return what it is asked."""
        return self._wording.filled(MINIMALITY, self._question.values())

    def reply_schema(self, state: State) -> Mapping[str, Any]:
        """Return the JSON Schema of a verdict."""
        return verdict_schema((YES, NO))

    def parse(self, text: str, state: State) -> Move:
        """Read a verdict; raises RedFlag for anything else."""
        return _verdict(text)

    def key(self, move: Move) -> Any:
        """Return the verdict without its reason."""
        return move.action["verdict"]

    def settle(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move | None:
        """Return the verdict with its reasons."""
        return _judged(votes, winner)

    def apply(self, state: State, action: Any) -> State:
        """Return the state with the verdict."""
        return state | {"verdict": action["verdict"]}


def _verdict(text: str) -> Move:
    verdict, reason = read_verdict(text, (YES, NO))
    return Move({"verdict": verdict, "reasons": [reason] if reason else []}, ABSENT)


def _judged(votes: Sequence[Move], winner: Move | None) -> Move:
    """Return what judges of one proposal came to; without a winner it is No, never Yes."""
    # Evenly split, they have not said Yes.
    verdict = NO if winner is None else winner.action["verdict"]
    reasons = distinct(reason for vote in votes if vote.action["verdict"] == NO for reason in vote.action["reasons"])
    return Move({"verdict": verdict, "reasons": reasons if verdict == NO else []}, ABSENT)


def shown_division(division: Division) -> dict[str, Any]:
    """Return a division as judges see it: subtasks with their needs, and how hard they are if somebody said so."""
    parts = [
        {"task": part.task, "needs": list(part.needs)}
        # Half stands for not said: shown as a number it would look like somebody's estimate.
        | ({} if part.complexity == 0.5 else {"complexity": part.complexity})
        for part in division.subtasks
    ]
    return {"subtasks": parts, "compose": division.compose}
