"""The tables of a journal file, how it is opened, and what its errors mean. Nothing of a run's meaning lives here."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from mdap.core.errors import JournalError
from mdap.journal import mapped

Synchronous = Literal["FULL", "NORMAL"]

APPLICATION_ID = 0x6D646170  # "mdap"
VERSION = 1

# Decisions are keyed by what they are read by and have no other key, which saves a third of their size.
TABLES = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head TEXT NOT NULL) STRICT;
CREATE TABLE books (run INTEGER PRIMARY KEY, entries INTEGER NOT NULL, book TEXT NOT NULL) STRICT;
CREATE TABLE decisions (
    run INTEGER NOT NULL, step INTEGER NOT NULL, action TEXT NOT NULL, votes ANY NOT NULL, kind TEXT, change TEXT,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots (
    run INTEGER NOT NULL, step INTEGER NOT NULL, state TEXT NOT NULL, PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    run INTEGER NOT NULL, step INTEGER NOT NULL, slot INTEGER NOT NULL, redraw INTEGER NOT NULL, sample TEXT NOT NULL,
    PRIMARY KEY (run, step, slot, redraw)
) STRICT, WITHOUT ROWID;
"""
# Younger than the format: a file that an older mdap made lacks it until a run is written to it.
ATTEMPTS = """
CREATE TABLE IF NOT EXISTS attempts (
    run INTEGER NOT NULL, number INTEGER NOT NULL, attempt TEXT NOT NULL, PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
"""

COMMIT = "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

# One statement is one transaction. SQLite runs it, commit and sync included, without the interpreter's lock; taken
# apart, each statement would have to win that lock back from a busy event loop, which can take 5 ms every time.
_BATCH = """
CREATE TEMP VIEW batch AS SELECT NULL AS decisions, NULL AS snapshots, NULL AS samples, NULL AS attempts,
    NULL AS row_steps, NULL AS row_ends, NULL AS acts, NULL AS learned, NULL AS books;
CREATE TEMP TRIGGER commit_batch INSTEAD OF INSERT ON batch BEGIN
    INSERT INTO decisions SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
        FROM json_each(new.decisions);
    REPLACE INTO snapshots SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(new.snapshots);
    {snapshot}
    REPLACE INTO samples SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(new.samples);
    INSERT INTO attempts SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(new.attempts);
    {mapped}
    REPLACE INTO learned SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(new.learned);
    REPLACE INTO books SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(new.books);
    {inside}
END;
"""

# What SQLite calls it (the beginning of the name), what happened, and what to do.
_MEANINGS = (
    ("SQLITE_NOTADB", "is not a journal: the file is torn or something else", "choose another with --journal"),
    ("SQLITE_CORRUPT", "is damaged", "restore it from a copy, or choose another with --journal"),
    ("SQLITE_FULL", "cannot grow: the disk is full", "free some space, then go on with `mdap resume RUN`"),
    ("SQLITE_READONLY", "cannot be written: file or folder is read-only", "make both writable"),
    ("SQLITE_PERM", "cannot be opened: no permission", "make file and folder writable"),
    (
        "SQLITE_CANTOPEN",
        "cannot be opened",
        "make file and folder readable and writable, or choose another with --journal",
    ),
    ("SQLITE_BUSY", "stayed locked by another program", "end what holds it, then go on with `mdap resume RUN`"),
    (
        "SQLITE_IOERR",
        "could not be read or written by the system",
        "look after the disk, then go on with `mdap resume RUN`",
    ),
    ("SQLITE_CONSTRAINT", "already holds what was to be added", "let one driver at a time append to a run"),
)


def explain(error: sqlite3.Error, path: Path) -> JournalError:
    """Return what an error of SQLite means for the journal at `path`, in one sentence and a remedy."""
    name = getattr(error, "sqlite_errorname", "")
    for start, what, remedy in _MEANINGS:
        if name.startswith(start):
            return JournalError(f"journal {path} {what} ({error})", remedy=remedy)
    return JournalError(f"journal {path}: {error}", remedy="choose another with --journal")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite inside of the block into JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


def connect(path: Path, synchronous: Synchronous, timeout: float) -> sqlite3.Connection:
    """Open the journal at `path`, made if there is none; raises JournalError for what is not a journal of ours.

    `timeout` is how many seconds a locked file is waited for.
    """
    if path.is_dir():
        raise JournalError(
            f"journal {path} is a folder", remedy=f"name a file in it: --journal {shlex.quote(str(path / 'runs.db'))}"
        )
    with explained(path):
        # No isolation level: Python would begin transactions of its own, and durability rests on where they end. Not
        # bound to this thread: readers take turns by a lock, and commits are the writer's.
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            _prepare(connection, path, timeout)
            connection.execute(f"PRAGMA synchronous={synchronous}")
            undo.pop_all()
    return connection


def prepare_commits(connection: sqlite3.Connection, on_point: Callable[[str], None] | None) -> None:
    """Make `COMMIT` known to this connection; `on_point` is called inside of it, where it is given."""
    points = {"snapshot": "", "inside": "", "mapped": mapped.BATCH}
    if on_point is not None:
        connection.create_function("point", 1, on_point)
        points["snapshot"] = "SELECT point('snapshot') WHERE new.snapshots IS NOT NULL;"
        points["inside"] = "SELECT point('inside-commit');"
    # Asked first: what would change nothing would still wait for whoever is writing.
    if not has_attempts(connection):
        connection.execute(ATTEMPTS)
    mapped.make_tables(connection)
    connection.executescript(_BATCH.format_map(points))
    # The writer checkpoints by itself, when nobody waits for it.
    connection.execute("PRAGMA wal_autocheckpoint=0")


def has_attempts(connection: sqlite3.Connection) -> bool:
    """Say whether the file has a table of attempts."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'attempts'").fetchone() is not None


def _prepare(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    version = _version(connection, path)
    _use_wal(connection, timeout)
    if version:
        return
    # The lock to write at once: asked for after a read, it may be refused without any wait.
    connection.execute("BEGIN IMMEDIATE")
    # Asked again under the lock: another process may have made the tables in between.
    if _version(connection, path) == 0:
        for statement in (TABLES + ATTEMPTS + mapped.TABLES).split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file's format, 0 for an empty file; raises JournalError for any that is not ours."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    # One without anything in it may be a journal that another process is about to make.
    if application != APPLICATION_ID and (application or version or tables):
        raise JournalError(
            f"{path} is an SQLite file of another program",
            remedy="choose another file with --journal; it was not changed",
        )
    if version > VERSION:
        raise JournalError(
            f"journal {path} has format {version}, but this mdap reads up to {VERSION}",
            remedy="upgrade mdap: pip install --upgrade mdap",
        )
    return int(version)


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Switch to the write-ahead log, which stays on; SQLite does not wait by itself where two switch at once."""
    give_up = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > give_up:
                raise
            # Short, since the other one switches within it; and it happens once in the life of a file.
            time.sleep(0.005)
        else:
            return
