"""The journal that keeps nothing on disk: what is appended is durable at once, and gone when the process ends."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Iterator

import msgspec

from mdap.core.errors import JournalError
from mdap.core.history import (
    Acted,
    Attempted,
    Book,
    Decided,
    Entry,
    History,
    Learned,
    RowDecided,
    RowEnded,
    RunHead,
    Snapshot,
)
from mdap.core.records import ABSENT, Attempt, Sample
from mdap.journal import mapped, refusals, rows
from mdap.journal.claim import busy


class _Run(msgspec.Struct):
    """A run as it is kept: as rows, so that what is read back is what a file would give, and later changes to an
    appended value cannot reach it."""

    head: bytes
    book: Book
    decisions: list[bytes]
    snapshots: dict[int, bytes]
    samples: dict[int, dict[tuple[int, int], str]]
    attempts: list[str] = msgspec.field(default_factory=list)
    row_steps: dict[int, list[bytes]] = msgspec.field(default_factory=dict)
    row_ends: dict[int, str] = msgspec.field(default_factory=dict)
    acts: list[str] = msgspec.field(default_factory=list)
    learned: tuple[int, str] | None = None
    claimed: bool = False


class MemoryJournal:
    """A journal in memory, for runs that need not outlive the process; about 100 bytes a step."""

    durable: int

    def __init__(self) -> None:
        self.durable = 0
        self._runs: dict[str, _Run] = {}
        self._closed = False

    def create(self, head: RunHead) -> None:
        """Add a run; raises JournalError if the id exists."""
        self._refuse_if_closed()
        if head.id in self._runs:
            raise JournalError(f"run {head.id} exists already", remedy="choose another id")
        # As text, like all that follows: whatever a file would refuse is refused here, too.
        self._runs[head.id] = _Run(rows.pack(head, f"run {head.id}").encode(), Book(), [], {}, {})

    @contextlib.contextmanager
    def claim(self, run: str) -> Iterator[None]:
        """Return a context in which one driver has `run`; raises RunBusy while another does."""
        kept = self._run(run)
        # A flag is enough: it lives in one process, where nothing is awaited between the look and the taking.
        if kept.claimed:
            raise busy(run, str(os.getpid()))
        kept.claimed = True
        try:
            yield
        finally:
            kept.claimed = False

    def is_driven(self, run: str) -> bool:
        """Say whether somebody has claimed `run`."""
        return self._run(run).claimed

    def append(self, run: str, entry: Entry) -> int:
        """Keep one entry and return its ticket; raises JournalError for what is no JSON value or leaves a gap."""
        self._refuse_if_closed()
        kept = self._run(run)
        # Before anything is kept: what cannot be written must not leave half of an entry behind.
        samples = rows.samples_of(entry)
        if isinstance(entry, Decided):
            if entry.step != kept.book.steps:
                raise refusals.gap(run, "decision", entry.step, kept.book.steps)
            # 0 for the number that a run has in a file, where several share the tables.
            kept.decisions.append(rows.decision_row(0, entry))
        elif isinstance(entry, Snapshot):
            if entry.step > kept.book.steps:
                raise refusals.gap(run, "snapshot", entry.step, kept.book.steps)
            kept.snapshots[entry.step] = rows.pack(entry.state, f"the state of step {entry.step}").encode()
        elif type(entry) is RowDecided:
            kept.row_steps.setdefault(entry.item, []).append(mapped.row_step(0, entry))
        elif isinstance(entry, RowEnded):
            kept.row_ends[entry.item] = rows.pack(entry, f"row {entry.item}")
        elif isinstance(entry, Learned):
            kept.learned = entry.step, rows.pack(entry.prior, "what the rule has learned")
        elif isinstance(entry, Attempted):
            kept.attempts.append(rows.attempt_text(entry.attempt))
        else:
            # It lives on in the book alone, and must not change there with what the caller holds.
            entry = rows.copy(entry)
            if isinstance(entry, Acted):
                kept.acts.append(rows.pack(entry, "an act"))
        for step, slot, redraw, sample in samples:
            kept.samples.setdefault(step, {})[slot, redraw] = sample
        kept.book.add(entry)
        # The ticket is the count: there is nothing to wait for between taking an entry and keeping it.
        self.durable += 1
        return self.durable

    async def wait_durable(self, ticket: int) -> None:
        """Return at once: all that was appended is as durable as it will be."""

    def heads(self) -> list[RunHead]:
        """Return all runs, oldest first."""
        return [rows.unpack(kept.head, RunHead) for kept in self._runs.values()]

    def head(self, run: str) -> RunHead:
        """Return the run with this id, or the only one whose id begins so; raises JournalError naming what there is."""
        return refusals.pick(run, self.heads(), "this journal")

    def book(self, run: str) -> Book:
        """Return the fold of all entries: what a listing of runs needs."""
        # The book itself goes on growing while the run is driven.
        return rows.copy(self._run(run).book)

    def history(self, run: str) -> History:
        """Return what a resume needs. Without a snapshot yet, that is step 0 with the state ABSENT."""
        book = self.book(run)
        snapshot = self.snapshot(run, book.steps)
        kept = self._run(run)
        head = rows.unpack(kept.head, RunHead)
        learned = None if kept.learned is None else Learned(kept.learned[0], rows.unpack(kept.learned[1], object))
        return History(head, book, snapshot, list(self.decisions(run, snapshot.step)), learned)

    def decisions(self, run: str, start: int = 0) -> Iterator[Decided]:
        """Yield the decisions from step `start` on."""
        kept = self._run(run).decisions
        step = max(start, 0)
        # By number, not over the list: the run may be driven on between two of them.
        while step < len(kept):
            yield rows.decision_of(kept[step])
            step += 1

    def snapshot(self, run: str, step: int) -> Snapshot:
        """Return the newest snapshot at or below `step`; without one, that is step 0 with the state ABSENT."""
        kept = self._run(run).snapshots
        steps = sorted(kept)
        below = bisect.bisect_right(steps, step)
        if not below:
            return Snapshot(0, ABSENT)
        return Snapshot(steps[below - 1], rows.unpack(kept[steps[below - 1]], object))

    def samples(self, run: str, step: int) -> list[Sample]:
        """Return the recorded samples of one step, an open ballot's included, by slot and redraw."""
        kept = self._run(run).samples.get(step, {})
        return [rows.unpack(kept[draw], Sample) for draw in sorted(kept)]

    def attempts(self, run: str) -> Iterator[Attempt]:
        """Yield the attempts at calls that were listed, in the order in which they ended."""
        yield from (rows.unpack(text, Attempt) for text in self._run(run).attempts)

    def row_decisions(self, run: str, start: int = 0) -> Iterator[RowDecided]:
        """Yield the decisions about rows from row `start` on, by row and step."""
        kept = self._run(run).row_steps
        # They are kept as they came, and rows that run side by side end in any order.
        for item in sorted(item for item in kept if item >= start):
            yield from (mapped.row_decided(*fields[1:8]) for fields in map(msgspec.json.decode, kept[item]))

    def row_samples(self, run: str, item: int, step: int) -> list[Sample]:
        """Return the recorded samples of one decided step of a row."""
        kept = self._run(run).row_steps.get(item, [])
        found = [fields[8] for fields in map(msgspec.json.decode, kept) if fields[2] == step and fields[8] is not None]
        return rows.unpack(found[0], list[Sample]) if found else []

    def row_ends(self, run: str, start: int = 0) -> Iterator[RowEnded]:
        """Yield where rows stand that are not simply done, from row `start` on."""
        kept = self._run(run).row_ends
        yield from (rows.unpack(kept[item], RowEnded) for item in sorted(kept) if item >= start)

    def acts(self, run: str) -> list[Acted]:
        """Return what was done about steps that their caps had left undecided, by row and step, oldest first."""
        found = [rows.unpack(text, Acted) for text in self._run(run).acts]
        return sorted(found, key=lambda entry: (entry.item, entry.step))

    def close(self) -> None:
        """Take no more entries; what there is can still be read. Safe to call twice."""
        self._closed = True

    def _run(self, run: str) -> _Run:
        kept = self._runs.get(run)
        if kept is None:
            raise refusals.missing(run, self.heads(), "this journal")
        return kept

    def _refuse_if_closed(self) -> None:
        # Memory could well go on; but what works with this journal is to work with a file.
        if self._closed:
            raise JournalError("the journal is closed", remedy="open it again")
