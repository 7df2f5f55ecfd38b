"""What the steps of a plan require of one another, as a graph, and the batches that it falls into. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import msgspec

from mdap.core.errors import UsageError
from mdap.planning.steps import PlanStep, plan_error


class Batch(msgspec.Struct, frozen=True):
    """Steps that are carried out by one change of the state: `steps` are their places in the plan.

    `after` are the numbers of the batches whose states it begins from, and none of them goes before another.
    """

    number: int
    steps: tuple[int, ...]
    after: tuple[int, ...]


def check_requirements(steps: Sequence[PlanStep]) -> None:
    """Raise UsageError for a plan whose steps cannot be put in an order.

    Its `code` says why: plan-unknown-step (a place that the plan does not have), plan-duplicate (one that a step
    requires twice), plan-cycle.
    """
    for place, step in enumerate(steps):
        for required in step.required_steps:
            # Below zero, too: Python would count from the end, and name some step.
            if not 0 <= required < len(steps):
                raise plan_error(
                    "plan-unknown-step",
                    f"step {place} requires step {required}, and the plan has steps 0 to {len(steps) - 1}",
                    "name steps by their places from 0",
                )
        twice = _twice(step.required_steps)
        if twice is not None:
            raise plan_error("plan-duplicate", f"step {place} requires step {twice} twice", "name it once")
    ring = _ring(steps)
    if ring:
        raise plan_error(
            "plan-cycle",
            f"steps {', '.join(map(str, ring))} require one another in a ring",
            "take one of these requirements out",
        )


def ordered(steps: Sequence[PlanStep]) -> list[int]:
    """Return the places of the steps so that each comes after those that it requires; else the order of the plan.

    What is in a ring, or waits for one, is left out.
    """
    # By counts, not by recursion: a plan may be a chain of thousands of steps.
    waits = [len(set(step.required_steps)) for step in steps]
    needed_by: list[list[int]] = [[] for _ in steps]
    for place, step in enumerate(steps):
        for required in set(step.required_steps):
            needed_by[required].append(place)
    ready = [place for place, count in enumerate(waits) if not count]
    # A heap: of what can begin, the earliest in the plan comes first, as its writer meant it.
    heapify(ready)
    order: list[int] = []
    while ready:
        place = heappop(ready)
        order.append(place)
        for other in needed_by[place]:
            waits[other] -= 1
            if not waits[other]:
                heappush(ready, other)
    return order


def batches(steps: Sequence[PlanStep], size: int) -> list[Batch]:
    """Return the batches of a plan that has passed `check_requirements`, `size` steps at most in each.

    A batch never holds a step beside one that it requires: only steps that require exactly the same share one. Batches
    that do not wait for one another can be carried out at the same time. A plan in which no step requires anything is
    taken as a sequence, each batch after the one before: nobody has said that its steps are independent.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UsageError(f"batch_size={size} is no number of steps", remedy="give 1 or more")
    order = ordered(steps)
    if not any(step.required_steps for step in steps):
        slices = [tuple(order[at : at + size]) for at in range(0, len(order), size)]
        return [Batch(number, slice_, (number - 1,) if number else ()) for number, slice_ in enumerate(slices)]
    groups: list[list[int]] = []
    # By what they require: steps that wait for the same begin together anyway.
    open_: dict[frozenset[int], list[int]] = {}
    for place in order:
        needs = frozenset(steps[place].required_steps)
        group = open_.get(needs)
        if group is None or len(group) == size:
            group = open_[needs] = []
            groups.append(group)
        group.append(place)
    return _linked(steps, groups)


def last_of(found: Sequence[Batch]) -> tuple[int, ...]:
    """Return the numbers of the batches that no other begins from: their states are the result."""
    begun_from = {number for batch in found for number in batch.after}
    return tuple(batch.number for batch in found if batch.number not in begun_from)


def _linked(steps: Sequence[PlanStep], groups: Sequence[Sequence[int]]) -> list[Batch]:
    home = {place: number for number, group in enumerate(groups) for place in group}
    before: list[int] = []  # of each batch those that go before it, one bit each: plans may be long
    found: list[Batch] = []
    for number, group in enumerate(groups):
        direct = {home[required] for place in group for required in steps[place].required_steps}
        earlier = 0
        for one in direct:
            earlier |= before[one]
        # What one of them began from is in its state already.
        after = sorted(one for one in direct if not earlier >> one & 1)
        for one in direct:
            earlier |= 1 << one
        before.append(earlier)
        found.append(Batch(number, tuple(group), tuple(after)))
    return found


def _twice(places: Sequence[int]) -> int | None:
    seen: set[int] = set()
    for place in places:
        if place in seen:
            return place
        seen.add(place)
    return None


def _ring(steps: Sequence[PlanStep]) -> list[int]:
    """Return the steps that are in a ring, or between two rings; none where all can be put in an order."""
    left = set(range(len(steps))) - set(ordered(steps))
    while left:
        # What only waits for a ring is required by nothing in it.
        required = {place for one in left for place in steps[one].required_steps}
        if left <= required:
            break
        left &= required
    return sorted(left)
