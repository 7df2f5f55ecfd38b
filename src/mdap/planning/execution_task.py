"""One change of the state as a task of voted steps: an attempt, a judgement of it, and again while attempts are left.

The state of the task holds that of the work before and after the change. No model is in sight here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from mdap.core.errors import UsageError
from mdap.core.records import ABSENT, Move, State
from mdap.core.strictjson import read_json
from mdap.planning.bounds import shallow
from mdap.planning.steps import PlanStep
from mdap.planning.templates import NONE, Templates, listed
from mdap.planning.verdicts import (
    CONTENTIOUS,
    NO,
    YES,
    choice_schema,
    distinct,
    read_choice,
    read_verdict,
    verdict_schema,
)

EXECUTION, EXECUTION_VOTING = "execution", "execution_voting"
Form = Literal["text", "json"]
Way = Literal["judge", "race"]
_FORMS: dict[Form, str] = {
    "text": "as text, without a fence around it",
    "json": "as JSON",
}


def check_way(form: str, way: str, attempts: int) -> None:
    """Raise UsageError for a form of the state, a way to carry out or a number of attempts that cannot be."""
    # Here and not by types alone: options come from command lines and journals, too.
    for name, value, known in (("form", form, ("text", "json")), ("execution", way, ("judge", "race"))):
        if value not in known:
            raise UsageError(f"{name}={value!r} is unknown", remedy=f"give {' or '.join(known)}")
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        raise UsageError(f"attempts={attempts!r} is out of range", remedy="give attempts of 1 or more")


class ExecutionTask:
    """The change of a state by the steps of one batch; `befores` are the states that it begins from.

    More than one are parts that are brought together, and no steps ask for nothing but that. By `judge` one new state
    is drawn and voted on with Yes or No; by `race` new states are voted on themselves where `form` is json, and free
    texts are candidates of which judges choose one. `format` goes to a step that requires it alone, unless
    `always_format`. After `attempts` refusals the task is over, and the state is as it was.
    """

    spec = "execution"
    # The action is the new state itself; what else the task's state holds is worked out here.
    vote_on = "action"

    def __init__(
        self,
        prompt: str,
        steps: Sequence[PlanStep],
        befores: Sequence[Any],
        *,
        form: Form = "text",
        way: Way = "judge",
        attempts: int = 5,
        format: str = "",
        always_format: bool = False,
        templates: Templates | None = None,
    ) -> None:
        check_way(form, way, attempts)
        self._prompt, self._format = prompt, format
        self._steps = [step.to_dict() for step in steps]
        self._befores = list(befores)
        self._form, self._way, self._attempts = form, way, attempts
        self._always_format = always_format
        self._templates = Templates() if templates is None else templates

    @property
    def version(self) -> str:
        """What makes another execution of the same steps; the attempts are a cap, and may change."""
        return f"form={self._form},execution={self._way},{self._templates.digest}"

    @property
    def is_raced(self) -> bool:
        """Whether new states are voted on themselves."""
        return self._way == "race" and self._form == "json"

    def start(self) -> dict[str, Any]:
        """Return the state before any attempt."""
        return {
            "prompt": self._prompt,
            "format": self._format,
            "steps": self._steps,
            # Several, where parts are to be joined: whoever joins them sees each.
            "befores": self._befores,
            "candidates": [],
            # Kept beside the candidates, which are cleared: observers are told what was judged.
            "judged": [],
            "refused": [],
            "result": [],
        }

    def is_done(self, state: State) -> bool:
        """Say whether a new state was accepted, or no attempt is left."""
        return bool(state["result"]) or self.is_refused(state)

    def is_refused(self, state: State) -> bool:
        """Say whether all attempts were refused."""
        # By the cap of now, not of then: a resume may have raised it.
        return not state["result"] and len(state["refused"]) >= self._attempts

    def kind(self, state: State) -> str:
        """Return the role that has the next word."""
        return EXECUTION_VOTING if state["candidates"] else EXECUTION

    def prompt(self, state: State) -> str:
        """Return what the one who carries out the steps, or a judge, is asked."""
        steps, voting = state["steps"], bool(state["candidates"])
        # Judges who could not see the format could not say whether it was kept.
        told = self._always_format or any(
            step["requiresFormat"] or (voting and step.get("voteRequiresFormat")) for step in steps
        )
        values = {
            "prompt": state["prompt"],
            "steps": "\n".join(f"- {step['task']}" for step in steps) or NONE,
            "context": listed([step["extraContext"] for step in steps if step["extraContext"]]),
            "format": (state["format"] if told else "") or NONE,
            "state": self._shown_parts(state["befores"], "Part"),
            "reasons": listed(distinct(chain.from_iterable(state["refused"]))),
            "form": _FORMS[self._form],
        }
        if not voting:
            return self._templates.filled("execute" if steps else "join", values)
        candidates = state["candidates"]
        if self._way == "judge":
            return self._templates.filled("execute_vote", values | {"candidate": self._shown(candidates[0])})
        shown = "\n".join(f"### Candidate {n}\n{self._shown(one)}" for n, one in enumerate(candidates, 1))
        return self._templates.filled("execute_choose", values | {"candidates": shown})

    def reply_schema(self, state: State) -> Mapping[str, Any] | None:
        """Return the JSON Schema of a judgement, or of a choice; a state may have any form."""
        # A state may be any text, or JSON of a form that only the prompt knows.
        if not state["candidates"]:
            return None
        return verdict_schema((YES, NO)) if self._way == "judge" else choice_schema(len(state["candidates"]))

    def parse(self, text: str, state: State) -> Move:
        """Read a new state, verbatim or as JSON, or a judgement; raises RedFlag for what is neither."""
        if not state["candidates"]:
            return Move({"state": text if self._form == "text" else shallow(read_json(text))}, ABSENT)
        if self._way == "judge":
            verdict, reason = read_verdict(text, (YES, NO))
            return Move({"choice": int(verdict == YES), "reasons": [reason] if reason else []}, ABSENT)
        choice, reason = read_choice(text, len(state["candidates"]))
        return Move({"choice": choice, "reasons": [reason] if reason else []}, ABSENT)

    def key(self, move: Move) -> Any:
        """Return what equal votes share: the new state, or the choice alone."""
        # Judges give many reasons for one verdict.
        return move.action.get("choice", move.action)

    def settle(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move | None:
        """Return the candidates that were drawn, or the choice with the reasons of all who refused, and its votes."""
        if not state["candidates"]:
            # Then the votes were on the states, and there is nothing to judge.
            if self.is_raced:
                return winner
            drawn: list[Any] = []
            for vote in votes:
                if vote.action["state"] not in drawn:
                    drawn.append(vote.action["state"])
            return Move({"candidates": drawn}, ABSENT)
        chosen = [vote.action["choice"] for vote in votes]
        counts = [chosen.count(choice) for choice in range(len(state["candidates"]) + 1)]
        reasons = distinct(reason for vote in votes for reason in vote.action["reasons"] if not vote.action["choice"])
        # Apart from 0: nobody has refused it, judges could not agree.
        verdict = winner.action["choice"] if winner is not None else CONTENTIOUS
        if winner is None and not reasons:
            reasons = [f"judges disagreed: {counts[0]} for none, {counts[1:]} for the candidates"]
        return Move({"choice": verdict, "reasons": reasons, "votes": counts}, ABSENT)

    def apply(self, state: State, action: Any) -> State:
        """Return the state after an attempt, or after a judgement of it."""
        if not state["candidates"]:
            if self.is_raced:
                return state | {"result": [action["state"]]}
            return state | {"candidates": action.get("candidates", [action.get("state")])}
        choice, after = action["choice"], state | {"candidates": [], "judged": state["candidates"]}
        if choice not in (0, CONTENTIOUS):
            return after | {"result": [state["candidates"][choice - 1]]}
        return after | {"refused": [*state["refused"], action["reasons"]]}

    def _shown(self, value: Any) -> str:
        return value if self._form == "text" else json.dumps(value, ensure_ascii=False)

    def _shown_parts(self, values: Sequence[Any], name: str) -> str:
        if len(values) == 1:
            return self._shown(values[0])
        return "\n".join(f"### {name} {n} of {len(values)}\n{self._shown(one)}" for n, one in enumerate(values, 1))
