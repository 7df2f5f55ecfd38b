"""The journal in an SQLite file: many runs, group commit, one lock a run. What entries mean is not known here."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

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
from mdap.journal.claim import RunLock, busy, is_held
from mdap.journal.schema import COMMIT, Synchronous, connect, explained, has_attempts, prepare_commits
from mdap.journal.writer import Writer

# Pages of the write-ahead log before it is copied into the file: 4 MB, which a reader after a crash replays in 10 ms.
CHECKPOINT_PAGES = 1000
_READ_AT_ONCE = 1024


class _Lane:
    """A run that this journal drives: its lock, the next step to be handed over, and the fold of what was written."""

    __slots__ = ("book", "claimed", "entries", "lock", "next_step", "number")

    def __init__(self, number: int, entries: int, book: Book, lock: RunLock) -> None:
        self.number = number
        self.entries = entries
        self.book = book
        self.lock = lock
        self.next_step = book.steps
        self.claimed = False


# The lane, the entry, its row (a decision's or a snapshot's, an attempt's text) and the rows of its samples.
_Job: TypeAlias = tuple[_Lane, Entry, bytes, list[bytes]]


class SqliteJournal(mapped.MappedReads):
    """A journal in the file `path`; the first `create` makes it and its folders.

    `synchronous` FULL syncs every commit; NORMAL can lose the last commits to a power cut, not to a crash of the
    process. `timeout` is how many seconds a file that another process has locked is waited for. `on_point` is called
    on the writer's thread with before-commit, inside-commit, after-commit, snapshot and checkpoint as they are passed:
    a crash test kills the process there. Any thread may call any method. Raises JournalError for a file that is no
    journal.
    """

    durable: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        timeout: float = 30.0,
        on_point: Callable[[str], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.durable = 0
        self._synchronous = synchronous
        self._timeout = timeout
        self._on_point = on_point
        self._point: Callable[[str], None] = on_point or (lambda _: None)
        self._lanes: dict[str, _Lane] = {}
        self._writer: Writer[_Job] | None = None
        self._connection: sqlite3.Connection | None = None
        self._commits: sqlite3.Connection | None = None
        self._pages = 0
        self._closed = False
        self._lock = threading.RLock()
        # Between this process's own threads a lock is fairer and quicker than SQLite's polling.
        self._writing = threading.Lock()
        if os.path.exists(self.path):
            self._open()

    def create(self, head: RunHead) -> None:
        """Add a run and make it durable; raises JournalError if the id exists or the file cannot be made."""
        text = rows.pack(head, f"run {head.id}")
        with self._lock:
            if not os.path.exists(self.path):
                self._make_folders()
            connection = self._open()
            with self._writing, explained(self.path):
                try:
                    connection.execute("INSERT INTO runs (id, head) VALUES (?, ?)", (head.id, text))
                except sqlite3.IntegrityError:
                    raise JournalError(
                        f"run {head.id} exists already in {self.path}", remedy=f"type: mdap resume {head.id}"
                    ) from None

    @contextlib.contextmanager
    def claim(self, run: str) -> Iterator[None]:
        """Return a context in which this process, and one driver in it, drives `run`; raises RunBusy naming another."""
        with self._lock:
            lane = self._lane(run)
            if lane.claimed:
                raise busy(run, str(os.getpid()))
            lane.claimed = True
        try:
            yield
        finally:
            # Another process may drive the run from here on, so nothing of ours may come after.
            self._flush()
            with self._lock:
                if self._lanes.pop(run, None) is not None:
                    lane.lock.release()

    def is_driven(self, run: str) -> bool:
        """Say whether a process, this one included, holds `run`; a killed one holds nothing."""
        return run in self._lanes or is_held(self.path, run)

    def append(self, run: str, entry: Entry) -> int:
        """Hand over one entry and return its ticket; the run is held from here on, if no `claim` does, until `close`.

        Raises JournalError, with nothing handed over, for an entry that cannot be written as JSON, a decision or
        snapshot that leaves a gap, or after a failed write; RunBusy if another process drives the run.
        """
        lane = self._lanes.get(run)
        if lane is None or self._writer is None:
            lane, writer = self._begin(run)
        else:
            writer = self._writer
        if type(entry) is Decided:
            # Not the book's count, which lags behind by all that the writer has not taken yet.
            if entry.step != lane.next_step:
                raise refusals.gap(run, "decision", entry.step, lane.next_step)
            row = rows.decision_row(lane.number, entry)
            samples = rows.sample_rows(lane.number, entry) if entry.samples else []
            ticket = writer.put((lane, entry, row, samples))
            lane.next_step += 1
            return ticket
        if isinstance(entry, Snapshot):
            if entry.step > lane.next_step:
                raise refusals.gap(run, "snapshot", entry.step, lane.next_step)
            return writer.put((lane, entry, rows.snapshot_row(lane.number, entry), []))
        if type(entry) is RowDecided:
            return writer.put((lane, entry, mapped.row_step(lane.number, entry), []))
        if isinstance(entry, RowEnded):
            return writer.put((lane, entry, mapped.row_end(lane.number, entry), []))
        if isinstance(entry, Learned):
            return writer.put((lane, entry, rows.learned_row(lane.number, entry), []))
        if isinstance(entry, Attempted):
            return writer.put((lane, entry, rows.attempt_text(entry.attempt).encode(), []))
        # It lives on in the book alone; a copy, because the writer folds it in when the caller may have changed it.
        return writer.put((lane, rows.copy(entry), b"", rows.sample_rows(lane.number, entry)))

    def lead(self, is_leading: bool) -> None:
        """Say whether whoever drives a run will `write_now` often: where it has nothing else to do meanwhile."""
        if self._writer is not None:
            self._writer.lead(is_leading)

    def write_now(self) -> None:
        """Make durable all that was handed over, on this thread; raises JournalError if it cannot be."""
        if self._writer is not None:
            self._writer.write_now()

    async def wait_durable(self, ticket: int) -> None:
        """Return when the entry with this ticket is durable; raises JournalError if it cannot be."""
        if ticket > self.durable and self._writer is not None:
            await self._writer.wait(ticket)

    def heads(self) -> list[RunHead]:
        """Return all runs, oldest first; none where there is no file."""
        found = self._read("SELECT head FROM runs ORDER BY number")
        return [rows.unpack(text, RunHead) for (text,) in found]

    def head(self, run: str) -> RunHead:
        """Return the run with this id, or the only one whose id begins so; raises JournalError naming what there is."""
        exact = self._read("SELECT head FROM runs WHERE id = ?", run)
        if exact:
            return rows.unpack(exact[0][0], RunHead)
        return refusals.pick(run, self.heads(), f"journal {self.path}")

    def book(self, run: str) -> Book:
        """Return the fold of all entries: what a listing of runs needs."""
        self._flush()
        return self._load(run)[3]

    def history(self, run: str) -> History:
        """Return what a resume needs. Without a snapshot yet, that is step 0 with the state ABSENT."""
        self._flush()
        number, head, _, _ = self._load(run)
        # In one read transaction: another process may be writing.
        with self._lock, self._reading():
            book = self._load(run)[3]
            snapshot = self._snapshot(number, book.steps)
            tail = list(self._decisions(number, snapshot.step))
            learned = self._learned(number)
        return History(head, book, snapshot, tail, learned)

    def decisions(self, run: str, start: int = 0) -> Iterator[Decided]:
        """Yield the decisions from step `start` on; about a thousand are held at a time, and no lock in between."""
        self._flush()
        yield from self._decisions(self._load(run)[0], start)

    def snapshot(self, run: str, step: int) -> Snapshot:
        """Return the newest snapshot at or below `step`; without one, that is step 0 with the state ABSENT."""
        self._flush()
        return self._snapshot(self._load(run)[0], step)

    def samples(self, run: str, step: int) -> list[Sample]:
        """Return the recorded samples of one step, an open ballot's included, by slot and redraw."""
        self._flush()
        found = self._read(
            "SELECT sample FROM samples WHERE run = ? AND step = ? ORDER BY slot, redraw", self._load(run)[0], step
        )
        return [rows.unpack(text, Sample) for (text,) in found]

    def attempts(self, run: str) -> Iterator[Attempt]:
        """Yield the attempts at calls that were listed, in the order in which they ended."""
        self._flush()
        number, after = self._load(run)[0], 0
        with self._lock, explained(self.path):
            # A file that an older mdap made has no such table, and to read it must not make one.
            if not has_attempts(self._open()):
                return
        while page := self._read(
            "SELECT number, attempt FROM attempts WHERE run = ? AND number > ? ORDER BY number LIMIT ?",
            number,
            after,
            _READ_AT_ONCE,
        ):
            yield from (rows.unpack(text, Attempt) for _, text in page)
            after = page[-1][0]

    def close(self) -> None:
        """Make all durable, move the log into the file, and let go of it. Safe to call twice.

        Raises JournalError if something was lost and neither `append` nor `wait_durable` has said so.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._let_go()

    # How runs are taken, and the file opened.

    def _begin(self, run: str) -> tuple[_Lane, Writer[_Job]]:
        with self._lock:
            lane = self._lane(run)
            if self._writer is None:
                # A connection of its own: what is read meanwhile does not wait for a sync.
                self._commits = connect(self.path, self._synchronous, self._timeout)
                with explained(self.path):
                    prepare_commits(self._commits, self._on_point)
                self._writer = Writer(self._write, self._publish, self._tidy)
        return lane, self._writer

    def _lane(self, run: str) -> _Lane:
        lane = self._lanes.get(run)
        if lane is None:
            # Before the lock is taken: a run that does not exist must not leave the file of a lock behind.
            self._load(run)
            lock = RunLock(self.path, run)
            with contextlib.ExitStack() as undo:
                undo.callback(lock.release)
                # Read under the lock: whoever held it before may have added to the book.
                number, _, entries, book = self._load(run)
                undo.pop_all()
            lane = self._lanes[run] = _Lane(number, entries, book, lock)
        return lane

    def _open(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise JournalError(f"journal {self.path} is closed", remedy="open it again")
            if self._connection is None:
                self._connection = connect(self.path, self._synchronous, self._timeout)
            return self._connection

    def _make_folders(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"folder {self.path.parent} cannot be made: {error.strerror}", remedy="choose another with --journal"
            ) from error

    def _let_go(self) -> None:
        with self._lock:
            if self._commits is not None:
                # Emptied as well: what is left is a single file, which can be copied as it is.
                self._checkpoint("TRUNCATE")
                self._commits.close()
            if self._connection is not None:
                self._connection.close()
            # Last: once a run is let go of, another process may write to the file.
            while self._lanes:
                self._lanes.popitem()[1].lock.release()

    # What is read.

    def _load(self, run: str) -> tuple[int, RunHead, int, Book]:
        """Return a run's number, head, count of entries and book; raises JournalError if there is no such run."""
        found = self._read(
            "SELECT number, head, entries, book FROM runs LEFT JOIN books ON run = number WHERE id = ?", run
        )
        if not found:
            raise refusals.missing(run, self.heads(), f"journal {self.path}")
        number, head, entries, book = found[0]
        return number, rows.unpack(head, RunHead), entries or 0, Book() if book is None else rows.unpack(book, Book)

    def _snapshot(self, number: int, step: int) -> Snapshot:
        found = self._read(
            "SELECT step, state FROM snapshots WHERE run = ? AND step <= ? ORDER BY step DESC LIMIT 1", number, step
        )
        return Snapshot(found[0][0], rows.unpack(found[0][1], object)) if found else Snapshot(0, ABSENT)

    def _learned(self, number: int) -> Learned | None:
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'learned'"):
            return None
        found = self._read("SELECT step, prior FROM learned WHERE run = ?", number)
        return Learned(found[0][0], rows.unpack(found[0][1], object)) if found else None

    def _decisions(self, number: int, start: int) -> Iterator[Decided]:
        while page := self._read(
            "SELECT step, action, votes, kind, change FROM decisions WHERE run = ? AND step >= ? ORDER BY step LIMIT ?",
            number,
            start,
            _READ_AT_ONCE,
        ):
            for row in page:
                yield rows.decision(*row)
            start = page[-1][0] + 1

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            # To look for runs must not make a file.
            if self._connection is None and not self._closed and not os.path.exists(self.path):
                return []
            with explained(self.path):
                return self._open().execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        connection = self._open()
        with explained(self.path):
            connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("COMMIT")

    def _flush(self) -> None:
        """Let what was appended here be read here. After a failed write, what is durable is what can be read."""
        if self._writer is not None and not self._closed:
            with contextlib.suppress(JournalError):
                self._writer.flush()

    # What runs on the writer's thread.

    def _write(self, batch: list[_Job]) -> None:
        decisions: list[bytes] = []
        snapshots: list[bytes] = []
        samples: list[bytes] = []
        attempts: list[bytes] = []
        row_steps: list[bytes] = []
        # Of several words about one row, only the last is worth writing.
        row_ends: dict[tuple[int, int], bytes] = {}
        acts: list[bytes] = []
        learned: dict[int, bytes] = {}
        lanes: dict[int, _Lane] = {}
        for lane, entry, row, sample_rows in batch:
            # Here, and not as it is handed over: the book that a commit holds is to be the fold of just what is durable
            # with it.
            lane.book.add(entry)
            lane.entries += 1
            lanes[lane.number] = lane
            if type(entry) is Decided:
                decisions.append(row)
            elif type(entry) is RowDecided:
                row_steps.append(row)
            elif isinstance(entry, RowEnded):
                row_ends[lane.number, entry.item] = row
            elif isinstance(entry, Acted):
                acts.append(mapped.act_row(lane.number, lane.entries, entry))
            elif isinstance(entry, Learned):
                learned[lane.number] = row
            elif isinstance(entry, Attempted):
                attempts.append(rows.attempt_row(lane.number, lane.entries, row.decode()))
            elif row:
                snapshots.append(row)
            if sample_rows:
                samples += sample_rows
        books = [rows.book_row(lane.number, lane.entries, lane.book) for lane in lanes.values()]
        parts = (decisions, snapshots, samples, attempts, row_steps, row_ends.values(), acts, learned.values(), books)
        values = [rows.array(part) for part in parts]
        # What the log grows by, about: the rows, and two pages a run that hold more than what is new.
        self._pages += 2 + 2 * len(lanes) + sum(len(value) for value in values if value) // 4096
        self._point("before-commit")
        assert self._commits is not None
        with self._writing, explained(self.path):
            self._commits.execute(COMMIT, values)
        self._point("after-commit")

    def _publish(self, ticket: int) -> None:
        self.durable = ticket

    def _tidy(self) -> None:
        if self._pages >= CHECKPOINT_PAGES:
            self._checkpoint("PASSIVE")
            self._pages = 0

    def _checkpoint(self, mode: str) -> None:
        self._point("checkpoint")
        assert self._commits is not None
        # What cannot be moved now (a full disk, a reader in the way) stays safe in the log, and is moved another time.
        with contextlib.suppress(sqlite3.Error):
            self._commits.execute("PRAGMA busy_timeout=1000")
            self._commits.execute(f"PRAGMA wal_checkpoint({mode})")
            self._commits.execute(f"PRAGMA busy_timeout={int(self._timeout * 1000)}")
