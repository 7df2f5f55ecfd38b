"""So many at once, and nobody overtakes. What the places are for is not known here."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque


class Places:
    """`allowed` places, of which `taken` are; who comes when all are waits, and gets one in order of coming.

    What `asyncio.Semaphore` does, with a number that may change, and without a coroutine where a place is free: of a
    model that answers at once, that would take longer than the call.
    """

    __slots__ = ("_queue", "allowed", "taken")

    def __init__(self, allowed: float) -> None:
        self.allowed = allowed
        self.taken = 0
        self._queue: deque[Future[None]] = deque()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for a place."""
        return bool(self._queue)

    def take(self) -> bool:
        """Take a place if one is free, and say whether it was; if not, `wait` for one."""
        # A place that is free while others wait belongs to the first of them.
        if self._queue or self.taken + 1 > self.allowed:
            return False
        self.taken += 1
        return True

    async def wait(self) -> None:
        """Return with a place."""
        place: Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._queue.remove(place)
            else:
                # Handed over at the very moment of the cancellation: it must not get lost.
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place back, to the first who waits."""
        self.taken -= 1
        if self._queue:
            self.hand_on()

    def hand_on(self) -> None:
        """Hand free places over to those who wait; to be called once `allowed` has grown."""
        waiting = 0
        while waiting < len(self._queue) and self.taken + 1 <= self.allowed:
            place = self._queue[waiting]
            if place.done():  # cancelled, and it will take itself out
                waiting += 1
                continue
            del self._queue[waiting]
            # Counted here and not by whoever gets it, so that nobody else takes the same place in between.
            self.taken += 1
            place.set_result(None)
