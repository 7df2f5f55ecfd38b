"""How many calls a task may take that is divided and solved, as a range before anything is asked. Arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mdap.core.errors import UsageError
from mdap.planning.decomposers import Decomposer
from mdap.planning.division import Division


class Forecast(msgspec.Struct, frozen=True):
    """The calls that a task may take: `low` if it is left whole and all agree, `high` if every task is divided that may
    be and every vote is contested. Red flags, retries and further rounds of candidates are in neither.

    `subtasks` is the most that there can be; `is_exact`: the division asks nobody, so that the subtasks are known.
    """

    low: int
    high: int
    subtasks: int
    is_exact: bool = False

    def __str__(self) -> str:
        known = "are known" if self.is_exact else "at most"
        return f"{self.low:,} to {self.high:,} calls, {self.subtasks:,} subtasks {known}; flags and retries come on top"


def forecast(
    task: str,
    decomposer: Decomposer,
    k: int,
    *,
    max_depth: int,
    max_subtasks: int,
    most_judges: int,
    validated: int,
    is_computed: Callable[[Division], bool],
    judges_minimality: bool = False,
) -> Forecast:
    """Return the calls that `task` may take.

    Candidates are 2k - 1 for each question; judges are none where these agree, `most_judges` at most. `validated` is 0
    (no answer is), 1 (the last one is) or 2 (all are). `is_computed` says which compositions are made in code. Raises
    UsageError for a k below 1.
    """
    if k < 1:
        raise UsageError(f"k={k} is not a number of votes", remedy="give k of 1 or more")
    drawn, question = 2 * k - 1, 2 * k - 1 + most_judges
    checks = (0, most_judges, most_judges)[validated]
    if decomposer.divide is None:
        subtasks = _most(decomposer.parts, max_depth, max_subtasks)
        divides = max_depth > 0 and min(decomposer.parts, max_subtasks) > 1
        low = drawn * (1 + divides) + (k if validated else 0) + (k if judges_minimality and divides else 0)
        # Every task is a question about its division and one about its result, but for those that are too deep.
        high = (1 + subtasks) * (2 * question + (checks if validated > 1 else 0)) + (checks if validated == 1 else 0)
        return Forecast(low, high + (1 + subtasks) * most_judges * judges_minimality, subtasks)
    whole, composed, subtasks = _counted(decomposer, task, max_depth, max_subtasks, is_computed)
    answers = whole + composed
    checked = {0: 0, 1: 1, 2: subtasks + 1}[validated]
    return Forecast(drawn * answers + k * checked, question * answers + checks * checked, subtasks, is_exact=True)


def _most(parts: int, depth: int, left: int) -> int:
    """Return the most subtasks below one task, each with its equal share of those that are left."""
    if depth == 0 or min(parts, left) < 2:
        return 0
    here = min(parts, left)
    return here + here * _most(parts, depth - 1, (left - here) // here)


def _counted(
    decomposer: Decomposer, task: str, depth: int, left: int, is_computed: Callable[[Division], bool]
) -> tuple[int, int, int]:
    """Return the tasks that a model solves, the compositions that one makes, and the subtasks."""
    assert decomposer.divide is not None
    division = decomposer.divide(task) if depth and min(decomposer.parts, left) > 1 else Division()
    count = len(division.subtasks)
    if division.is_atomic or count > left:
        return 1, 0, 0
    inner = [
        _counted(decomposer, part.task, depth - 1, (left - count) // count, is_computed) for part in division.subtasks
    ]
    composed = int(not is_computed(division))
    return sum(i[0] for i in inner), composed + sum(i[1] for i in inner), count + sum(i[2] for i in inner)
