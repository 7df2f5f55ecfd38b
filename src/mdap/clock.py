"""Clocks: time as the running event loop keeps it, and a loop whose time jumps instead of passing.

Nothing here decides what waits or for how long; whoever waits is handed a clock.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from asyncio import get_running_loop
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Args = TypeVarTuple("Args")
_RESOLUTION = time.get_clock_info("monotonic").resolution
Ready = list[tuple[selectors.SelectorKey, int]]


class LoopClock:
    """The clock of the running event loop: real seconds, or virtual ones under `run_virtual`."""

    def now(self) -> float:
        """Return the loop's time in seconds; it never goes back."""
        return get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of the loop's time."""
        await asyncio.sleep(seconds)


class RunningClock:
    """The clock of the event loop that it is made on, for whoever stays there: not looked up at each reading."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = get_running_loop().time

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of the loop's time."""
        await asyncio.sleep(seconds)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything can run, and then jumps to the next timer.

    Sleeps and timeouts end in their right order and cost no real time, so latency can be simulated exactly. Time
    also stands still while a thread of `run_in_executor` or `asyncio.to_thread` is at work, and other threads may
    wake the loop as ever. Sockets make no sense on it: a timeout would end before the other side could answer.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at_work = 0
        super().__init__(_JumpingSelector(self._idle))

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._seconds

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Args]], T], *args: *Args) -> asyncio.Future[T]:
        """Run `func` in a thread, as every loop does; virtual time waits for it."""
        future = super().run_in_executor(executor, func, *args)
        # Only once it has begun: a pool that has been shut down raises instead.
        self._at_work += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._at_work -= 1

    def _idle(self, seconds: float) -> bool:
        """Let `seconds` go by at once, unless a thread is at work: then its end must be waited for."""
        if self._at_work:
            return False
        self._seconds += seconds
        # A loop runs the timers that are due before time() + resolution. Weeks from the start a double no longer
        # holds that sum: without a nudge a timer that is due exactly now would wait for ever.
        if self._seconds + _RESOLUTION == self._seconds:
            self._seconds = math.nextafter(self._seconds, math.inf)
        return True


class _JumpingSelector(selectors.BaseSelector):
    """The default selector, except that it asks `idle` to skip a wait in which nothing is ready."""

    def __init__(self, idle: Callable[[float], bool]) -> None:
        self._inner = selectors.DefaultSelector()
        self._idle = idle

    def select(self, timeout: float | None = None) -> Ready:
        """Return what is ready; skip a wait in which nothing is."""
        # Without a timer only another thread can wake the loop, and that takes real time.
        if timeout is None:
            return self._inner.select()
        # Without waiting: what is ready comes before any timer.
        ready = self._inner.select(0)
        if ready or timeout <= 0 or self._idle(timeout):
            return ready
        # A thread at work wakes the loop when it ends.
        return self._inner.select()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a file no longer."""
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file for something else."""
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return all files that are watched."""
        return self._inner.get_map()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return how a file is watched."""
        return self._inner.get_key(fileobj)

    def close(self) -> None:
        """Let go of all."""
        self._inner.close()


def virtual_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop of virtual time, for `asyncio.Runner(loop_factory=virtual_loop)`."""
    return VirtualTimeLoop()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of virtual time and return its result, as `asyncio.run` would."""
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        return runner.run(main)
