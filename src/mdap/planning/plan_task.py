"""The making of a plan as a task of voted steps: a proposal, a judgement of it, and again until the plan is complete.

The state is what has been agreed on; who has the next word is its kind. No model is in sight here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from mdap.core.errors import RedFlag, TaskError, UsageError
from mdap.core.records import ABSENT, Move, State
from mdap.core.strictjson import read_json, unfenced
from mdap.planning.atomic import MOST_CHARACTERS, AtomicCheck, not_atomic
from mdap.planning.graph import check_requirements
from mdap.planning.steps import PlanStep, is_end, read_step
from mdap.planning.templates import NONE, Templates, listed
from mdap.planning.verdicts import CONTENTIOUS, END, NO, YES, distinct, read_verdict, verdict_schema

PLANNING, PLAN_VOTING = "planning", "plan_voting"
# So many proposals in a row that judges refuse, and the plan is begun anew.
# As in IgniteUI MAKER, whose restarts have no end; here they are counted.
MOST_REJECTIONS = 5


# What judges are asked about once the plan is full: whether it ends there.
_END: dict[str, Any] = {"steps": [], "ends": True}


class PlanTask:
    """A plan in the making.

    A proposal has `batch_size` steps at most and the plan `max_steps`; each step has to pass `check_step`. Once the
    plan is full, judges are asked whether it is complete. What they say against a proposal goes into the prompt for the
    next one until one is accepted. After 5 rejections in a row the plan is begun anew from `prepend`, `restarts` times
    at most. Raises UsageError where nothing can be planned.
    """

    spec = "plan"
    vote_on = "action"

    def __init__(
        self,
        prompt: str,
        *,
        batch_size: int = 2,
        max_steps: int = 20,
        restarts: int = 2,
        prepend: Sequence[PlanStep] = (),
        format: str = "",
        templates: Templates | None = None,
        check_step: AtomicCheck | None = not_atomic,
    ) -> None:
        if not prompt.strip():
            raise UsageError("the prompt is empty", remedy="say what is to be planned")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("max_steps", max_steps, 1),
            ("restarts", restarts, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name}={value!r} is out of range", remedy=f"give {name} of {least} or more")
        # Not `>`: a plan in which nothing may be planned would only ask judges whether it is complete.
        if len(prepend) >= max_steps:
            raise UsageError(
                f"{len(prepend)} steps stand before the plan, and it may have {max_steps}", remedy="raise max_steps"
            )
        check_requirements(prepend)
        self._prompt, self._format = prompt, format
        self._batch_size, self._max_steps, self._restarts = batch_size, max_steps, restarts
        self._prepend = [step.to_dict() for step in prepend]
        self._templates = Templates() if templates is None else templates
        self._check_step = check_step

    @property
    def version(self) -> str:
        """What makes another plan of the same prompt; `max_steps` and `restarts` are caps, and may change."""
        # By its name: a function cannot be compared across processes.
        check = getattr(self._check_step, "__qualname__", "none")
        return f"batch_size={self._batch_size},{check},{self._templates.digest}"

    def start(self) -> dict[str, Any]:
        """Return the empty plan, or the steps that stand before it."""
        return {
            "prompt": self._prompt,
            "format": self._format,
            # In the state: a restart begins from them, and a resume has only the state.
            "prepend": self._prepend,
            "steps": self._prepend,
            "proposal": None,
            "judged": None,
            "reasons": [],
            "rejections": 0,
            "restarts": 0,
            # For observers alone: a restart happens with the proposal that follows it.
            "is_anew": False,
            "full_at": None,
            "is_complete": False,
        }

    def is_done(self, state: State) -> bool:
        """Say whether the plan is complete, or a cap has run out."""
        return bool(state["is_complete"]) or self.is_refused(state) or self.is_full(state)

    def is_refused(self, state: State) -> bool:
        """Say whether judges have refused so many proposals that no restart is left."""
        return bool(state["rejections"] >= MOST_REJECTIONS and state["restarts"] >= self._restarts)

    def is_full(self, state: State) -> bool:
        """Say whether the plan has as many steps as it may, and judges say that it is not complete."""
        # Only once judges have said so at this length: a resume with more room goes on planning.
        return not self._has_room(state) and bool(state["full_at"] == len(state["steps"]))

    def kind(self, state: State) -> str:
        """Return the role that has the next word."""
        return PLANNING if self._judged(state) is None else PLAN_VOTING

    def prompt(self, state: State) -> str:
        """Return what the planner, or a judge, is asked."""
        now, proposal = _restarted(state), self._judged(state)
        told = {
            "prompt": now["prompt"],
            "format": now["format"] or NONE,
            "steps": _shown(now["steps"]),
            "reasons": listed(distinct(chain.from_iterable(now["reasons"]))),
            "batch_size": self._room(now),
        }
        if proposal is not None:
            return self._templates.filled("plan_vote", told | {"proposal": _shown_proposal(now, proposal)})
        more = {
            # The last one alone, with the reasons of all: what it was is in the state, earlier ones are not.
            "rejected": _shown_proposal(now, now["judged"]) if now["rejections"] else NONE,
            "left": self._max_steps - len(now["steps"]),
            "next_place": len(now["steps"]),
            "most_characters": MOST_CHARACTERS,
        }
        return self._templates.filled("plan", told | more)

    def reply_schema(self, state: State) -> Mapping[str, Any] | None:
        """Return the JSON Schema of a judgement; proposals are arrays, which a provider holds no reply to."""
        return None if self.kind(state) == PLANNING else verdict_schema((YES, NO, END))

    def parse(self, text: str, state: State) -> Move:
        """Read a proposal or a verdict; raises RedFlag for what is neither, and for steps that code can refuse."""
        proposal = self._judged(state)
        if proposal is not None:
            said, reason = read_verdict(text, (YES, NO, END))
            # On a proposal that says End itself, End is a Yes.
            verdict = YES if said == END and proposal["ends"] else said
            return Move({"verdict": verdict, "said": said, "reasons": [reason] if reason else []}, ABSENT)
        steps, ends = _read_proposal(text)
        now = _restarted(state)
        if len(steps) > self._room(now):
            raise RedFlag(f"{len(steps)} steps are proposed, and {self._room(now)} may be")
        # In code, before any judge: what a rule can refuse costs a sample and no ballot.
        made = [self._read_step(value, now, steps, place) for place, value in enumerate(steps)]
        return Move({"steps": [step.to_dict() for step in made], "ends": ends}, ABSENT)

    def key(self, move: Move) -> Any:
        """Return what equal votes share: the verdict alone, or the whole proposal."""
        # Judges give many reasons for one verdict.
        return move.action.get("verdict", move.action)

    def settle(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move:
        """Return the one proposal, or the verdict with the reasons of all who said No, and the votes by verdict."""
        if self._judged(state) is None:
            # One is drawn: proposals are judged, not raced.
            return votes[0]
        verdict = CONTENTIOUS if winner is None else winner.action["verdict"]
        counts = {word: sum(vote.action["said"] == word for vote in votes) for word in (YES, NO, END)}
        reasons = distinct(
            reason for vote in votes for reason in vote.action["reasons"] if vote.action["verdict"] == NO
        )
        if verdict == CONTENTIOUS and not reasons:
            reasons = [f"judges disagreed: {counts[YES]} Yes, {counts[NO]} No, {counts[END]} End"]
        return Move({"verdict": verdict, "reasons": reasons, "votes": counts}, ABSENT)

    def apply(self, state: State, action: Any) -> State:
        """Return the state after a proposal, or after a verdict on it."""
        # By what was said, not by the caps, which a resume may have raised.
        if "verdict" not in action:
            is_anew = state["rejections"] >= MOST_REJECTIONS
            return _restarted(state) | {"proposal": action, "is_anew": is_anew}
        proposal, verdict = state["proposal"] or _END, action["verdict"]
        after = state | {"proposal": None, "judged": proposal, "is_anew": False}
        if verdict == YES:
            steps = [*state["steps"], *proposal["steps"]]
            return after | {"steps": steps, "reasons": [], "rejections": 0, "is_complete": proposal["ends"]}
        if verdict == END:
            return after | {"reasons": [], "rejections": 0, "is_complete": True}
        after["reasons"] = [*state["reasons"], action["reasons"]]
        # Judges of a full plan refuse no proposal, so that no rejection is counted.
        if state["proposal"] is None:
            return after | {"full_at": len(state["steps"])}
        return after | {"rejections": state["rejections"] + 1}

    def _judged(self, state: State) -> dict[str, Any] | None:
        """Return what judges are asked about; a plan without room can only be at its end."""
        proposal: dict[str, Any] | None = state["proposal"]
        return _END if proposal is None and not self._has_room(_restarted(state)) else proposal

    def _has_room(self, now: State) -> bool:
        return len(now["steps"]) < self._max_steps

    def _room(self, now: State) -> int:
        return min(self._batch_size, self._max_steps - len(now["steps"]))

    def _read_step(self, value: Any, now: State, proposed: Sequence[Any], place: int) -> PlanStep:
        at = len(now["steps"]) + place
        step = read_step(value, at, _flagged)
        for required in step.required_steps:
            # Only backwards, so that no plan can have a ring.
            if not 0 <= required < at:
                raise RedFlag(f"step {at} requires step {required}, which does not come before it")
        if len(set(step.required_steps)) < len(step.required_steps):
            raise RedFlag(f"step {at} requires a step twice")
        reason = None if self._check_step is None else self._check_step(step.task)
        if reason is None:
            return step
        if not isinstance(reason, str):
            raise TaskError(f"check_step said {reason!r}, which is no text", remedy="let it return a reason, or None")
        raise RedFlag(reason, name="not_atomic")


def steps_of(state: State) -> tuple[PlanStep, ...]:
    """Return the steps that a state of a PlanTask holds."""
    return tuple(read_step(step, place, _flagged) for place, step in enumerate(state["steps"]))


def _restarted(state: State) -> State:
    """Return the state with the plan begun anew where that is due: the reasons of the last judges alone are kept."""
    if state["rejections"] < MOST_REJECTIONS:
        return state
    return state | {
        "steps": state["prepend"],
        "reasons": state["reasons"][-1:],
        "rejections": 0,
        "restarts": state["restarts"] + 1,
    }


def _read_proposal(text: str) -> tuple[list[Any], bool]:
    """Return the proposed steps, not yet read, and whether End stands behind them."""
    if is_end(unfenced(text)):
        return [], True
    value = read_json(text)
    if isinstance(value, str) and is_end(value):
        return [], True
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not value:
        raise RedFlag("the proposal is no list of steps")
    ends = [_says_end(step) for step in value]
    if any(ends[:-1]):
        raise RedFlag("steps stand behind the End of the proposal")
    return (value[:-1], True) if ends[-1] else (value, False)


def _says_end(step: Any) -> bool:
    task = (
        next((inner for key, inner in step.items() if str(key).casefold() == "task"), None)
        if isinstance(step, Mapping)
        else step
    )
    return isinstance(task, str) and is_end(task)


def _flagged(code: str, message: str, remedy: str) -> RedFlag:
    return RedFlag(message)


def _shown(steps: Sequence[Any], first: int = 0) -> str:
    return (
        "\n".join(f"{place}. {json.dumps(step, ensure_ascii=False)}" for place, step in enumerate(steps, first)) or NONE
    )


def _shown_proposal(now: State, proposal: Mapping[str, Any]) -> str:
    steps = proposal["steps"]
    lines = [_shown(steps, len(now["steps"]))] if steps else []
    return "\n".join([*lines, *(["End"] if proposal["ends"] else [])])
