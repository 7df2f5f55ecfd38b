"""Batches in memory: entries answered in the background, after a while. Knows no wire format."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from mdap.core.errors import TaskError
from mdap.core.foreign import Foreign
from mdap.serve.calls import Calls, Sent
from mdap.serve.dialect import Dialect, Fault

WINDOW = 86_400
"""Seconds until a batch that is not ended would expire."""

_AT_ONCE = 32  # calls of a batch that are made together


class Entry:
    """One request of a batch. `sent` is its reply; `outcome` says what became of it, or nothing as long as it waits."""

    __slots__ = ("body", "custom_id", "outcome", "sent")

    def __init__(self, custom_id: str, body: bytes) -> None:
        self.custom_id = custom_id
        self.body = body
        self.sent: Sent | None = None
        self.outcome = ""  # succeeded, errored, expired, canceled

    def settle(self, sent: Sent) -> None:
        """Keep the reply. A hang or a drop is an entry that was never executed in time."""
        self.sent = sent
        self.outcome = "expired" if sent.word in ("hang", "drop") else "succeeded" if sent.status == 200 else "errored"


class Batch:
    """Entries that are answered together. Times are in seconds since 1970, 0 for what has not happened."""

    def __init__(self, id: str, dialect: Dialect, entries: Sequence[Entry], version: str) -> None:
        self.id = id
        self.dialect = dialect
        self.entries = entries
        self.version = version
        self.created = time.time()
        self.ended = 0.0
        self.cancelled = 0.0
        # Beside the time of it, since the worker waits for one or the other.
        self.cancelling = asyncio.Event()

    def cancel(self) -> None:
        """Leave what is not begun undone. Without effect on a batch that has ended."""
        if not self.ended and not self.cancelling.is_set():
            self.cancelled = time.time()
            self.cancelling.set()

    def count(self, outcome: str) -> int:
        """Return how many entries have this outcome; "" counts those that wait."""
        return sum(entry.outcome == outcome for entry in self.entries)


class Batches:
    """All batches of a server, answered one after the other, each not before `delay` seconds have passed."""

    def __init__(self, calls: Calls, delay: float) -> None:
        self.known: dict[str, Batch] = {}
        self._calls = calls
        self._delay = delay
        self._waiting: asyncio.Queue[Batch] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    def open(self, prefix: str, dialect: Dialect, entries: Sequence[Entry], version: str = "") -> Batch:
        """Return a new batch, whose entries are answered from now on. `version` goes to the dialect with each entry."""
        # Ids are of the content and a number: equal sessions have equal ones.
        digest = blake2b(b"\n".join(entry.body for entry in entries), digest_size=8).hexdigest()
        batch = Batch(f"{prefix}{digest}{len(self.known):x}", dialect, entries, version)
        self.known[batch.id] = batch
        self._waiting.put_nowait(batch)
        if self._worker is None:
            # It lives as long as the server, and so longer than a TaskGroup here could; `close` ends it.
            self._worker = asyncio.create_task(self._work())
        return batch

    async def close(self) -> None:
        """End the work. Batches that have not ended never will."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
            self._worker = None

    async def _work(self) -> None:
        while True:
            batch = await self._waiting.get()
            # The delay is over when it runs out; a batch that is cancelled meanwhile has nothing to wait for.
            with contextlib.suppress(TimeoutError):
                wait = max(0.0, batch.created + self._delay - time.time())
                await asyncio.wait_for(batch.cancelling.wait(), wait)
            # One iterator for all, so that whoever is free takes the next entry.
            left = iter(batch.entries)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(batch.entries))):
                    group.create_task(self._answer(batch, left))
            batch.ended = time.time()

    async def _answer(self, batch: Batch, left: Iterator[Entry]) -> None:
        for entry in left:
            if batch.cancelling.is_set():
                # On with the loop, since each of the rest has a result that says so.
                entry.outcome = "canceled"
                continue
            headers = {"anthropic-version": batch.version} if batch.version else {}
            try:
                with _GUARD:
                    entry.settle(await self._calls.answer(batch.dialect, entry.body, headers, batch=batch.id))
            except TaskError as error:
                entry.settle(self._calls.refuse(batch.dialect, Fault(500, error.message)))


# A model that breaks its contract is a 500 for its own entry, and not the end of the work on all others.
_GUARD = Foreign("the model")
