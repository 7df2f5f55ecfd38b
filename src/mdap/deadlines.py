"""The same time for many calls, watched by one timer of the event loop. What a call is, is not known here."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle
from types import TracebackType
from typing import Any


class Deadlines:
    """Gives each block that is entered `seconds`; a block that takes longer is cancelled and ends in TimeoutError.

    Does what `asyncio.timeout` does, for thousands of blocks a second that hardly ever run out: since all of them have
    the same time, they run out in the order in which they began, and a timer for the first is enough for all.
    """

    __slots__ = ("_loop", "_open", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: AbstractEventLoop | None = None
        # In the order in which they began, and each can be taken out at once: a dictionary is both.
        self._open: dict[Deadline, None] = {}
        self._timer: TimerHandle | None = None

    def begin(self) -> Deadline:
        """Return the deadline of a block that begins now, to be entered by the task that runs it."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        deadline = Deadline(self, task, loop.time() + self._seconds)
        self._open[deadline] = None
        # One that is set is for an earlier block, and so in time for this one.
        if self._timer is None:
            self._timer = loop.call_at(deadline.when, self._look)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """Forget a block that has ended."""
        # The timer stays: moved with every block that ends, it would cost what a timer for each block costs.
        self._open.pop(deadline, None)

    def _look(self) -> None:
        """Cancel the blocks that have run out, and sleep until the next one may."""
        assert self._loop is not None
        self._timer = None
        now = self._loop.time()
        # A copy, since those that have run out are taken out on the way.
        for deadline in list(self._open):
            if deadline.when > now:
                self._timer = self._loop.call_at(deadline.when, self._look)
                return
            self.end(deadline)
            deadline.run_out()


class Deadline:
    """One block: `with deadlines.begin(): ...`."""

    __slots__ = ("_cancelling", "_deadlines", "_has_run_out", "_task", "when")

    def __init__(self, deadlines: Deadlines, task: Task[Any], when: float) -> None:
        self.when = when
        self._deadlines = deadlines
        self._task = task
        # How often it was cancelled before: what is more than that at the end, and not ours, is somebody else's.
        self._cancelling = task.cancelling()
        self._has_run_out = False

    def run_out(self) -> None:
        """End the block."""
        self._has_run_out = True
        self._task.cancel()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.end(self)
        # Somebody else may have cancelled the task as well, and then it stays cancelled.
        if self._has_run_out and self._task.uncancel() <= self._cancelling and kind is CancelledError:
            raise TimeoutError from error
