"""How many calls a task may take that is divided and solved, as a range before anything is asked. Arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mdap.core.agent_calls import Calls, Questions, agent_calls, largest, total_calls
from mdap.core.errors import MdapError, UsageError
from mdap.core.foreign import Foreign
from mdap.planning.decomposers import Decomposer
from mdap.planning.division import ATOMIC, Division
from mdap.planning.minimality import IsMinimal


class Forecast(msgspec.Struct, frozen=True):
    """The calls that a task may take: `low` if it is left whole and all agree, `high` if every task is divided that may
    be, every vote is contested and all rounds of candidates are used up. Red flags and retries are in neither.

    `subtasks` is the most that there can be; `is_exact`: the division asks nobody, so that the subtasks are known.
    `by_role` holds the same range for each role, with the cap that all redraws of flagged samples come to.
    """

    low: int
    high: int
    subtasks: int
    is_exact: bool = False
    by_role: dict[str, Calls] = {}

    def __str__(self) -> str:
        known = "are known" if self.is_exact else "at most"
        return f"{self.low:,} to {self.high:,} calls, {self.subtasks:,} subtasks {known}; flags and retries come on top"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a forecast rests on: the agent's options. `judges` are the votes that a choice takes at most.

    `validated`: 0 (no answer is), 1 (the last one is) or 2 (all are). `is_computed` says which compositions are made in
    code; `minimal` which tasks are never divided, or None where judges are asked. `tool_calls` a solver may make.
    """

    k: int
    max_depth: int
    max_subtasks: int
    judges: int
    rounds: int
    redraws: int
    validated: int
    is_computed: Callable[[Division], bool]
    minimal: IsMinimal | None
    tool_calls: int = 0


def forecast(task: str, decomposer: Decomposer, bounds: Bounds) -> Forecast:
    """Return the calls that `task` may take; raises UsageError for a k below 1."""
    if bounds.k < 1:
        raise UsageError(f"k={bounds.k} is not a number of votes", remedy="give k of 1 or more")
    counted = _asked if decomposer.divide is None else _known
    least, most, subtasks = counted(task, decomposer, bounds)
    by_role = agent_calls(
        least,
        most,
        bounds.k,
        judges=bounds.judges,
        rounds=bounds.rounds,
        redraws=bounds.redraws,
        tool_calls=bounds.tool_calls,
    )
    total, is_exact = total_calls(by_role), decomposer.divide is not None and bounds.minimal is not None
    by_role = {role: calls for role, calls in by_role.items() if calls.cap}
    return Forecast(total.least, total.most, subtasks, is_exact, by_role)


def _asked(task: str, decomposer: Decomposer, bounds: Bounds) -> tuple[Questions, Questions, int]:
    """Return the least and the most questions where a model divides, and the most subtasks."""
    grown = largest(decomposer.parts, bounds.max_depth, bounds.max_subtasks)
    # Then nobody is asked how to divide it, and the first ballot is on its answer.
    is_whole = not grown.divided or _is_minimal(task, bounds)
    if is_whole:
        checked = int(bounds.validated > 0)
        return Questions(checked=checked), Questions(checked=checked), 0
    judged = bounds.minimal is None
    # Judges who say at once that the task is small ask for no division.
    least = Questions(divisions=int(not judged), weighed=int(judged), checked=int(bounds.validated > 0))
    most = Questions(
        divisions=grown.divided,
        leaves=grown.leaves,
        composed=grown.splits,
        # In the order in which an agent names them: none, answer, every.
        checked=(0, 1, grown.leaves + grown.splits)[bounds.validated],
        weighed=grown.divided if judged else 0,
    )
    return least, most, grown.subtasks


class _Walk(msgspec.Struct):
    """What is counted of a tree that no model divides."""

    leaves: int = 0
    composed: int = 0
    computed: int = 0
    weighed: int = 0


def _known(task: str, decomposer: Decomposer, bounds: Bounds) -> tuple[Questions, Questions, int]:
    """Return the least and the most questions where code divides, and the subtasks."""
    walk = _Walk()
    _count(task, decomposer, bounds, bounds.max_depth, bounds.max_subtasks, walk)
    # The task itself is no subtask.
    subtasks = walk.leaves + walk.composed + walk.computed - 1
    checked = (0, 1, subtasks + 1)[bounds.validated]
    # A computed answer that validators refuse is left to composers.
    again = walk.composed + (min(walk.computed, checked) if bounds.rounds > 1 else 0)
    most = Questions(leaves=walk.leaves, composed=again, checked=checked, weighed=walk.weighed)
    if bounds.minimal is None and walk.weighed:
        return Questions(weighed=1, checked=int(checked > 0)), most, subtasks
    return Questions(leaves=walk.leaves, composed=walk.composed, checked=checked), most, subtasks


def _count(task: str, decomposer: Decomposer, bounds: Bounds, depth: int, left: int, walk: _Walk) -> None:
    may_divide = depth > 0 and min(decomposer.parts, left) > 1 and not _is_minimal(task, bounds)
    walk.weighed += may_divide and bounds.minimal is None
    division = _divided(task, decomposer) if may_divide else ATOMIC
    count = len(division.subtasks)
    # As when it is solved: with fewer left than it has parts, a task is a leaf.
    if division.is_atomic or count > min(left, decomposer.parts):
        walk.leaves += 1
        return
    if bounds.is_computed(division):
        walk.computed += 1
    else:
        walk.composed += 1
    for part in division.subtasks:
        _count(part.task, decomposer, bounds, depth - 1, (left - count) // count, walk)


def _is_minimal(task: str, bounds: Bounds) -> bool:
    try:
        with Foreign("minimal"):
            return bounds.minimal is not None and bool(bounds.minimal(task))
    except MdapError:
        # The run will say what is wrong, and where.
        return True


def _divided(task: str, decomposer: Decomposer) -> Division:
    assert decomposer.divide is not None
    try:
        with Foreign(f"decomposer {decomposer.spec}"):
            made = decomposer.divide(task)
    # A task with too many parts is the caller's to mend, before a run is begun.
    except UsageError:
        raise
    except MdapError:
        return ATOMIC
    return made if isinstance(made, Division) else ATOMIC
