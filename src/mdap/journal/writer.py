"""Group commit: one thread writes whatever any number of callers handed over, and tells them once it is durable.

It knows tickets, batches and waiters; what a batch is and where it goes is for the `write` that it is given.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from mdap.core.errors import JournalError

T = TypeVar("T")
Promise: TypeAlias = "asyncio.Future[None] | concurrent.futures.Future[None]"
Waiter: TypeAlias = "tuple[int, asyncio.AbstractEventLoop | None, Promise]"

# A commit costs the same whatever it holds, 200 us or the 4 ms of a slow disk, so entries gather while nobody waits for
# them. 32 of the 64 that a run may have pending leave it as many steps to go on with while they are written; 20 ms are
# well under the 50 that it may wait.
GATHER = 32
LINGER = 0.02
# Twice in the 50 ms, for what a caller that leads has no occasion to write: a call that suddenly takes long.
GLANCE = 0.025


class Writer(Generic[T]):
    """A thread that passes what is `put` to `write`, many at a time and in order; a failed write is its last.

    `write` raises JournalError if nothing of its batch was kept; `publish` receives the last durable ticket;
    `after` runs once the waiters of a commit were woken, for work that should hold up nobody. All run on the thread,
    or on that of a caller of `write_now`, never two at once.

    Between threads a batch costs two changes of the interpreter's lock and two wake-ups, more than the commit itself
    where a wake-up is dear. A caller with nothing else to do meanwhile may say so by `lead`: the thread is then not
    woken for what comes in, and the caller writes; what it has left lying for two looks, `GLANCE` seconds apart, the
    thread writes.
    """

    def __init__(
        self, write: Callable[[list[T]], None], publish: Callable[[int], None], after: Callable[[], None]
    ) -> None:
        self._write = write
        self._publish = publish
        self._after = after
        self._lock = threading.Lock()
        self._signal: SimpleQueue[None] = SimpleQueue()
        self._queue: list[T] = []
        self._waiters: list[Waiter] = []
        self._given = self._taken = self._durable = 0
        self._closing = False
        self._failure: JournalError | None = None
        self._told = False
        self._is_led = False
        # Held by whoever writes.
        self._turn = threading.Lock()
        # A daemon: a program that ends without `close` must not hang here. What was durable stays so.
        self._thread = threading.Thread(target=self._run, name="mdap-journal", daemon=True)
        self._thread.start()

    def put(self, item: T) -> int:
        """Hand over one item and return its ticket, counted from 1; raises JournalError after a failure or a close."""
        with self._lock:
            if self._closing:
                raise self._refusal()
            self._queue.append(item)
            self._given = ticket = self._given + 1
            waiting = len(self._queue)
            # The first begins the gathering and the last ends it; any wake-up in between costs a switch for nothing.
            if not self._is_led and (waiting == 1 or waiting == GATHER):
                self._signal.put(None)
        return ticket

    def lead(self, is_leading: bool) -> None:
        """Say whether somebody will `write_now` of its own accord, soon and often."""
        with self._lock:
            self._is_led = is_leading
            # The thread may wait for a signal that will not come any more, or be owed one that did not come.
            self._signal.put(None)

    def write_now(self) -> None:
        """Write all that was handed over on this thread; raises JournalError if it cannot be made durable."""
        with contextlib.suppress(JournalError):
            self._commit()
        if self._failure is not None:
            raise self._refusal()

    async def wait(self, ticket: int) -> None:
        """Return once `ticket` is durable; raises JournalError if it cannot be."""
        loop = asyncio.get_running_loop()
        promise: asyncio.Future[None] = loop.create_future()
        if self._enlist(ticket, loop, promise):
            await promise

    def flush(self) -> None:
        """Block until all that was handed over is durable; raises JournalError if it cannot be."""
        promise: concurrent.futures.Future[None] = concurrent.futures.Future()
        if self._enlist(self._given, None, promise):
            promise.result()

    def close(self) -> None:
        """Flush and end the thread; raises JournalError if something was lost and nobody has been told so far."""
        with self._lock:
            self._closing = True
            self._signal.put(None)
        self._thread.join()
        if self._failure is not None and self._durable < self._given and not self._told:
            raise self._refusal()

    def _enlist(self, ticket: int, loop: asyncio.AbstractEventLoop | None, promise: Promise) -> bool:
        with self._lock:
            if ticket <= self._durable:
                return False
            if self._failure is not None:
                raise self._refusal()
            self._waiters.append((ticket, loop, promise))
            # What is being written already is not hurried by another signal.
            if ticket > self._taken:
                self._signal.put(None)
        return True

    def _refusal(self) -> JournalError:
        if self._failure is None:
            return JournalError("the journal is closed", remedy="open it again")
        self._told = True
        # A new one each time: one exception raised in many places gathers all their tracebacks.
        return JournalError(self._failure.message, remedy=self._failure.remedy)

    def _run(self) -> None:
        try:
            with contextlib.suppress(JournalError):
                while self._gather():
                    self._commit()
        finally:
            # After a bug, too: whoever waits for a ticket would otherwise wait for ever.
            self._fail(JournalError("the journal is closed", remedy="open it again"))

    def _gather(self) -> bool:
        """Return once there is something worth writing; False once there will be nothing more."""
        taken = -1
        # Looked at without the lock: what comes in at this moment leaves a signal, and is seen on the next look.
        while not self._queue or self._is_seen_to(taken):
            if self._closing and not self._queue:
                return False
            taken = self._taken
            with contextlib.suppress(Empty):
                self._signal.get(timeout=GLANCE if self._is_led else None)
        with self._lock:
            # The signal of the first entry has done its work; left there, it would end the gathering at once.
            self._forget_signals()
            hurry = len(self._queue) >= GATHER or bool(self._waiters) or self._closing or self._is_led
        if not hurry:
            with contextlib.suppress(Empty):
                self._signal.get(timeout=LINGER)
        return True

    def _is_seen_to(self, taken: int) -> bool:
        """Say whether a caller that leads has written since `taken` items were, and nobody waits for more."""
        # Beside a caller that is at it, this thread would hold the turn and wait for the interpreter's lock, 5 ms long.
        return self._is_led and self._taken != taken and not self._waiters and not self._closing

    def _commit(self) -> None:
        with self._turn:
            with self._lock:
                # Nothing may be written behind what was lost.
                batch, self._queue = [] if self._failure is not None else self._queue, []
                self._taken = self._given
                self._forget_signals()
            # Somebody else may have had the turn, and have written it all.
            if batch:
                self._write_batch(batch)
            # Within the turn: it uses the same connection.
            self._after()

    def _write_batch(self, batch: list[T]) -> None:
        failure = JournalError("the journal's writer broke off", remedy="see the traceback that it printed")
        is_written = False
        try:
            self._write(batch)
            is_written = True
        except JournalError as error:
            failure = error
            raise
        finally:
            if is_written:
                self._settle(self._taken)
            else:
                # Before the turn is over: whoever has the next must know.
                self._fail(failure)

    def _forget_signals(self) -> None:
        # Until there is none: asked for first, the thread may have taken it by then.
        with contextlib.suppress(Empty):
            while True:
                self._signal.get_nowait()

    def _settle(self, ticket: int) -> None:
        with self._lock:
            self._durable = ticket
            ready = [waiter for waiter in self._waiters if waiter[0] <= ticket]
            if ready:
                self._waiters = [waiter for waiter in self._waiters if waiter[0] > ticket]
        # Before anybody is woken: the first thing that they look at is what is durable.
        self._publish(ticket)
        _wake(ready, None)

    def _fail(self, failure: JournalError) -> None:
        with self._lock:
            # The first says what went wrong; those after it only that it is over.
            self._failure = self._failure or failure
            self._closing = True
            ready, self._waiters = self._waiters, []
            self._told = self._told or bool(ready)
        # The thread may be asleep, and has nothing left to do.
        self._signal.put(None)
        _wake(ready, failure)


def _wake(ready: list[Waiter], failure: JournalError | None) -> None:
    """Keep the promises, with one wake-up for each event loop among them."""
    loops: dict[asyncio.AbstractEventLoop | None, list[Promise]] = {}
    for _, loop, promise in ready:
        loops.setdefault(loop, []).append(promise)
    for loop, promises in loops.items():
        if loop is None:
            _keep(promises, failure)
        else:
            # A loop that has closed meanwhile has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_keep, promises, failure)


def _keep(promises: list[Promise], failure: JournalError | None) -> None:
    for promise in promises:
        if promise.done():
            continue
        if failure is None:
            promise.set_result(None)
        else:
            # One each, for the same reason as in `_refusal`.
            promise.set_exception(JournalError(failure.message, remedy=failure.remedy))
