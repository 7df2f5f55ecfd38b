"""Carries out a plan batch by batch: what waits for nothing runs at the same time, and what it came to is joined.

How a batch is asked for is handed in, as `branch`; what was reached before a failure stays reached.
"""

from __future__ import annotations

from asyncio import Event
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import Rejected
from mdap.core.records import ABSENT, State
from mdap.groups import Group
from mdap.planning.events import ExecutionStarted, PlanningEvent, StateChanged
from mdap.planning.execution_task import ExecutionTask, Form, Way, check_way
from mdap.planning.graph import Batch, batches, check_requirements, last_of
from mdap.planning.joining import merged
from mdap.planning.steps import PlanStep
from mdap.planning.templates import Templates
from mdap.planning.verdicts import distinct
from mdap.protocols import Task

Branch: TypeAlias = Callable[[int, Task], Awaitable[State]]
Tell: TypeAlias = Callable[[PlanningEvent], None]

# The plan itself is the first branch of a run, its batches are those that follow.
FIRST_ITEM = 1


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be carried out, and how: see `ExecutionTask`. `start` is the state before the first step."""

    prompt: str
    steps: tuple[PlanStep, ...]
    start: Any = ""
    batch_size: int = 2
    form: Form = "text"
    way: Way = "judge"
    attempts: int = 5
    format: str = ""
    templates: Templates = msgspec.field(default_factory=Templates)


class CarryingOut:
    """A plan while it is carried out. `completed` are the places of the steps that are in `states`.

    `reasons` are those for which the last attempt was refused where no further one may be made.
    Raises UsageError for a plan whose steps cannot be put in an order, and for a way in which nothing is carried out:
    a plan that is still to be made would have been paid for by then.
    """

    def __init__(self, work: Work, branch: Branch, tell: Tell) -> None:
        # Batches of a plan with a ring would wait for one another for ever.
        check_requirements(work.steps)
        check_way(work.form, work.way, work.attempts)
        self.steps = work.steps
        self.reasons: tuple[str, ...] = ()
        self._work, self._branch, self._tell = work, branch, tell
        self._batches = batches(work.steps, work.batch_size)
        # One for each batch: what waits for several waits for each by its number.
        self._ends = {batch.number: Event() for batch in self._batches}
        self._states: dict[int, Any] = {}
        self._final: list[Any] = []

    @property
    def completed(self) -> tuple[int, ...]:
        """The places of the steps that are carried out, in the order of the plan."""
        return tuple(sorted(place for number in self._states for place in self._batches[number].steps))

    @property
    def states(self) -> tuple[Any, ...]:
        """The states that were reached: one once all is done, else those that no further batch has begun from."""
        if self._final:
            return (self._final[0],)
        done = [batch for batch in self._batches if batch.number in self._states]
        # The start counts as reached: with no batch done, it is what a resume goes on from.
        return tuple(self._states[number] for number in last_of(done)) or (self._work.start,)

    async def run(self) -> Any:
        """Return the state after all steps.

        Raises Rejected where judges refused a batch as often as it may be attempted, and what `branch` raises; batches
        that run at that moment are given up, and taken up again at a resume.
        """
        if not self._batches:
            return self._work.start
        # All at once: what limits calls in flight is the run, and what orders them are the waits below.
        async with Group() as group:
            for batch in self._batches:
                group.create_task(self._carry_out(batch))
        last = last_of(self._batches)
        befores = self._joined(last)
        if len(befores) > 1:
            # It has no step that could require the format: those of the whole plan say whether it is told of.
            task = self._task([], befores, needs_format=any(step.requires_format for step in self._work.steps))
            befores = [await self._accepted(FIRST_ITEM + len(self._batches), task, "the parts together")]
        self._final = befores
        return befores[0]

    async def _carry_out(self, batch: Batch) -> None:
        for number in batch.after:
            await self._ends[number].wait()
        work = self._work
        steps = tuple(work.steps[place] for place in batch.steps)
        total = len(work.steps)
        self._tell(ExecutionStarted(batch.number, batch.steps, steps, len(self.completed), total))
        named = f"step{'s' if len(steps) > 1 else ''} {', '.join(map(str, batch.steps))}"
        task = self._task(steps, self._joined(batch.after))
        self._states[batch.number] = state = await self._accepted(FIRST_ITEM + batch.number, task, named)
        # After the branch, which is durable by then: what is told of is a checkpoint.
        self._tell(StateChanged(batch.number, batch.steps, state, len(self.completed), total))
        self._ends[batch.number].set()

    async def _accepted(self, item: int, task: ExecutionTask, named: str) -> Any:
        after = await self._branch(item, task)
        if task.is_refused(after):
            reasons = distinct(after["refused"][-1])
            self.reasons = tuple(reasons)
            raise Rejected(
                f"{named}: {len(after['refused'])} attempts were refused, the last one because: {'; '.join(reasons)}",
                reasons=reasons,
                remedy=f"go on with `mdap resume RUN --attempts {2 * len(after['refused'])}`, or change the plan",
            )
        return after["result"][0]

    def _joined(self, numbers: Sequence[int]) -> list[Any]:
        """Return the states to begin from: one, where code alone can bring several together."""
        if not numbers:
            return [self._work.start]
        parts = [self._states[number] for number in numbers]
        # Texts are never merged by code: two changes of one text have no parts that could be told apart.
        if len(parts) == 1 or self._work.form == "text":
            return parts
        one = merged(self._base(numbers), parts)
        return parts if one is ABSENT else [one]

    def _base(self, numbers: Sequence[int]) -> Any:
        """Return the last state that all these batches have begun from, as far as there is one such state."""
        common = set.intersection(*(self._before(number) for number in numbers))
        # The one that all others go before comes last in the order of batches, if there is one.
        last = [number for number in sorted(common)[-1:] if common <= self._before(number) | {number}]
        return self._states[last[0]] if last else self._work.start

    def _before(self, number: int) -> set[int]:
        # Without recursion: a plan may be a chain of thousands of batches.
        found: set[int] = set()
        ahead = [*self._batches[number].after]
        while ahead:
            one = ahead.pop()
            if one not in found:
                found.add(one)
                ahead.extend(self._batches[one].after)
        return found

    def _task(self, steps: Sequence[PlanStep], befores: Sequence[Any], *, needs_format: bool = False) -> ExecutionTask:
        work = self._work
        return ExecutionTask(
            work.prompt,
            steps,
            befores,
            form=work.form,
            way=work.way,
            attempts=work.attempts,
            format=work.format,
            always_format=needs_format,
            templates=work.templates,
        )
