"""Ways to draw the votes of a batch: all at once, with spare draws that are given up, or one ahead of the others.

Only the first leaves the decision free of latency; the others are asked for by name.
"""

from __future__ import annotations

import asyncio
from asyncio import Task, TaskGroup
from collections.abc import Awaitable, Callable, Sequence

from mdap.core.calibration import LEVEL, Kind
from mdap.core.errors import MdapError, UsageError
from mdap.core.records import Prompt
from mdap.core.settings import Settings
from mdap.engine.poll import Poll, Slot
from mdap.engine.vote import Asking, Reader, get_vote

Drawing = Callable[[Asking, Poll, Prompt, Reader, list[Slot], int], Awaitable[None]]


def drawing(settings: Settings) -> Drawing:
    """Return the way to draw that the settings ask for; raises UsageError for two ways at once."""
    if settings.hedge and settings.leader_first:
        raise UsageError("hedge and leader_first exclude one another", remedy="give one of them")
    if settings.hedge:
        return draw_hedged(settings.hedge)
    return draw_led if settings.leader_first else draw_all


def check_hedge(settings: Settings, kinds: Sequence[Kind]) -> None:
    """Raise UsageError for spare draws with a model whose calibration found that latency goes with truth.

    `kinds` are those of the calibration; the level of each one's test is shared out among them.
    """
    for kind in kinds if settings.hedge else ():
        timing = kind.timing
        if timing is not None and timing.p_value < LEVEL / len(kinds):
            longer = "longer" if timing.chance > 0.5 else "less long"
            raise UsageError(
                f"hedge={settings.hedge}: calibration showed that wrong votes take {longer} than right ones (of a "
                f"wrong and a right vote the wrong one took longer with probability {timing.chance:.2f}, p-value "
                f"{max(timing.p_value, 1e-300):.1g}), so the first votes that are in are no fair sample",
                remedy="leave hedge out; lookahead saves the waiting without a choice by latency",
            )


async def draw_all(
    asking: Asking, poll: Poll, prompt: Prompt, reader: Reader, batch: list[Slot], allowance: int
) -> None:
    """Draw into all slots of `batch` at once; each may use `allowance` samples, so that no timing can matter.

    Where the model answers without waiting there is nothing to do at once, and they are drawn one after another.
    """
    try:
        if not asking.tempo.waits:
            await _draw_each(asking, poll, prompt, batch, reader, allowance)
            if asking.tempo.is_turn_due(asking.clock.now()):
                await asking.tempo.turn()
        elif len(batch) == 1:
            await _draw_each(asking, poll, prompt, batch, reader, allowance)
        else:
            async with TaskGroup() as group:
                for slot in batch[1:]:
                    group.create_task(_draw_each(asking, poll, prompt, [slot], reader, allowance))
                # This task would only wait: it makes the first draw itself.
                await _draw_each(asking, poll, prompt, batch[:1], reader, allowance)
    except BaseExceptionGroup as group_of_errors:
        # What is no error of mdap ended the others of its batch; it is raised as it would be from a batch of one.
        raise group_of_errors.exceptions[0] from None
    _raise_first(batch)


async def draw_led(
    asking: Asking, poll: Poll, prompt: Prompt, reader: Reader, batch: list[Slot], allowance: int
) -> None:
    """Draw the first slot alone and then the rest, so that the rest find their prompt in the provider's cache.

    The decision is that of `draw_all`; it comes later by one call.
    """
    # Only once a step: later batches find in the cache what the first slot has left there.
    if batch[0].number == 0 and len(batch) > 1:
        await draw_all(asking, poll, prompt, reader, batch[:1], allowance)
        batch = batch[1:]
    await draw_all(asking, poll, prompt, reader, batch, allowance)


def draw_hedged(extra: int) -> Drawing:
    """Return a drawing with `extra` more draws a batch; once as many votes are in as were needed, the rest is given up.

    Votes are still cast in the order of asking, but which of them are in depends on latency: if wrong answers come
    sooner than right ones, errors grow, with `extra` draws beside k up to binomial(k + extra, k) times. So equal runs
    may differ, and it is for models whose latency says nothing about correctness.
    """

    async def _draw(
        asking: Asking, poll: Poll, prompt: Prompt, reader: Reader, batch: list[Slot], allowance: int
    ) -> None:
        left = asking.settings.max_samples - poll.taken
        spare = [Slot(len(poll.slots) + n) for n in range(min(extra, left - len(batch)))]
        poll.slots.extend(spare)
        slots = [*batch, *spare]
        # Spare draws share what is left: with them, too, a step takes no more samples than it may.
        allowance = min(allowance, left // len(slots))
        try:
            async with TaskGroup() as group:
                draws = [group.create_task(_draw_each(asking, poll, prompt, [s], reader, allowance)) for s in slots]
                await _enough(draws, slots, len(batch))
                for draw in draws:
                    draw.cancel()
        except BaseExceptionGroup as group_of_errors:
            raise group_of_errors.exceptions[0] from None
        in_time = sum(slot.vote is not None for slot in slots)
        # For good: given up now and counted after a resume, a vote would depend on when the run was stopped.
        for slot in slots:
            slot.void = in_time >= len(batch) and slot.vote is None
        if in_time < len(batch):
            _raise_first(slots)

    return _draw


async def _enough(draws: list[Task[None]], slots: list[Slot], needed: int) -> None:
    """Return once `needed` of the slots have a vote, or no draw is left."""
    pending = set(draws)
    while pending and sum(slot.vote is not None for slot in slots) < needed:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


def _raise_first(slots: list[Slot]) -> None:
    errors = [slot.error for slot in slots if slot.error is not None]
    # The others are let go of: the ballot may go on, and what once went wrong must not end it later.
    for slot in slots:
        slot.error = None
    if errors:
        raise errors[0]


async def _draw_each(
    asking: Asking, poll: Poll, prompt: Prompt, slots: list[Slot], reader: Reader, allowance: int
) -> None:
    """Draw into slots one after another."""
    for slot in slots:
        try:
            await get_vote(asking, poll.step, prompt, slot, reader, allowance)
        except MdapError as error:
            # Kept until its siblings have ended: they are paid for, and which error counts must not depend on timing.
            slot.error = error
        if poll.on_vote is not None:
            poll.on_vote()
