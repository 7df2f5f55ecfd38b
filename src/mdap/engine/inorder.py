"""Results of many tasks at once, handed on in the order of their numbers and not before they are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from mdap.protocols import Entries

T = TypeVar("T")


class InOrder(Generic[T]):
    """Hands results on to `deliver`, number 0 first. Whoever is `window` numbers ahead of the oldest open one waits.

    So at most `window` results are held, however slow one of them is.
    """

    def __init__(self, deliver: Callable[[list[T]], None], entries: Entries, window: int) -> None:
        self._deliver = deliver
        self._entries = entries
        self._window = window
        self._ready: dict[int, tuple[int, T]] = {}
        self._next = 0
        # Two events for two kinds of waiting: for the next number to hand on, and for room in the window.
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        self._is_closed = False

    async def place(self, number: int) -> None:
        """Return once the result of this number is within the window."""
        while number >= self._next + self._window:
            self._moved.clear()
            await self._moved.wait()

    def put(self, number: int, ticket: int, result: T) -> None:
        """Hold a result, which may go out once the entry with this ticket is durable."""
        self._ready[number] = ticket, result
        # Any other number finds nothing to be handed on yet, and so wakes nobody.
        if number == self._next:
            self._changed.set()

    def close(self) -> None:
        """Say that no more results come: what is left goes out in order, the numbers that are missing left out."""
        self._is_closed = True
        self._changed.set()

    async def run(self) -> None:
        """Hand results on until closed; raises JournalError if one cannot become durable."""
        while True:
            batch = self._batch()
            if not batch:
                if self._is_closed:
                    return
                # Nothing is awaited between the look and this, so that no result can have come in unseen.
                self._changed.clear()
                await self._changed.wait()
                continue
            # Results end in any order, and tickets follow that order, not the numbers.
            ticket = max(ticket for ticket, _ in batch)
            if ticket > self._entries.durable:
                await self._entries.wait_durable(ticket)
            self._deliver([result for _, result in batch])

    def _batch(self) -> list[tuple[int, T]]:
        batch = []
        while self._ready:
            if self._next not in self._ready:
                if not self._is_closed:
                    break
                # What is missing now will never come.
                self._next = min(self._ready)
            batch.append(self._ready.pop(self._next))
            self._next += 1
        if batch:
            self._moved.set()
        return batch
