"""The tables that are younger than the format: of maps, of what was done about undecided steps, of what rules learn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from mdap.core.history import Acted, RowDecided, RowEnded
from mdap.core.records import Sample
from mdap.journal import rows

# Younger than the format: a file that an older mdap made lacks them until a run is written to it.
TABLES = """
CREATE TABLE IF NOT EXISTS row_steps (
    run INTEGER NOT NULL, item INTEGER NOT NULL, step INTEGER NOT NULL, action TEXT NOT NULL, votes ANY NOT NULL,
    kind TEXT, change TEXT, mark INTEGER, samples TEXT, PRIMARY KEY (run, item, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS row_ends (
    run INTEGER NOT NULL, item INTEGER NOT NULL, status TEXT NOT NULL, ended TEXT NOT NULL, PRIMARY KEY (run, item)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS acts (
    run INTEGER NOT NULL, item INTEGER NOT NULL, step INTEGER NOT NULL, number INTEGER NOT NULL, act TEXT NOT NULL,
    PRIMARY KEY (run, item, step, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS learned (run INTEGER PRIMARY KEY, step INTEGER NOT NULL, prior TEXT NOT NULL) STRICT;
"""

# The part of a commit that fills them.
# Decisions are only ever added, and one that is there already is an error; where a row stands is replaced.
BATCH = """
    INSERT INTO row_steps SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
        json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]')
        FROM json_each(new.row_steps);
    REPLACE INTO row_ends SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]') FROM json_each(new.row_ends);
    INSERT INTO acts SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(new.acts);
"""

# Few enough to hold, and so many that the queries in between do not count.
_READ_AT_ONCE = 1024
_encode = msgspec.json.Encoder().encode


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in a file that lacks them."""
    # The two that came last: a file that has them has the others.
    newest = "SELECT count(*) FROM sqlite_master WHERE name IN ('acts', 'learned')"
    if connection.execute(newest).fetchone() != (2,):
        connection.executescript(TABLES)


def row_step(run: int, entry: RowDecided) -> bytes:
    """Return a decision about a row as the JSON array [run, item, step, action, votes, kind, change, mark, samples].

    All but item and the last two are as in `rows.decision_row`; samples are a JSON array inside of a string, null
    where none are recorded, as is a mark of 0.
    """
    # The row's number goes in as bytes: all else is encoded already.
    number, rest = rows.decision_row(run, entry.decided).split(b",", 1)
    samples = rows.stored(entry.decided.samples)
    kept = _encode(rows.pack(samples, f"a sample of row {entry.item}")) if samples else b"null"
    mark = b"%d" % entry.mark if entry.mark else b"null"
    return b"%b,%d,%b,%b,%b]" % (number, entry.item, rest[:-1], mark, kept)


def row_decided(
    item: int, step: int, action: str, votes: int | str, kind: str | None, change: str | None, mark: int | None
) -> RowDecided:
    """Return the decision about a row; its totals and samples are kept elsewhere."""
    return RowDecided(item, rows.decision(step, action, votes, kind, change), mark or 0)


def row_end(run: int, entry: RowEnded) -> bytes:
    """Return where a row stands as the JSON array [run, item, status, entry], the entry a string."""
    return _encode((run, entry.item, entry.status, rows.pack(entry, f"row {entry.item}")))


def act_row(run: int, number: int, entry: Acted) -> bytes:
    """Return what was done about a step as the JSON array [run, item, step, number, entry], the entry a string."""
    return _encode((run, entry.item, entry.step, number, rows.pack(entry, f"what was done about step {entry.step}")))


class MappedReads:
    """How a journal in an SQLite file reads these tables; `_read`, `_load` and `_flush` are the journal's."""

    def row_decisions(self, run: str, start: int = 0) -> Iterator[RowDecided]:
        """Yield the decisions about rows from row `start` on, by row and step; about a thousand are held at a time."""
        # A page goes on behind the last key of the one before: an OFFSET would count through all of them again.
        number, after = self._number(run), (start, -1)
        while page := self._page(
            "SELECT item, step, action, votes, kind, change, mark FROM row_steps "
            "WHERE run = ? AND (item, step) > (?, ?) ORDER BY item, step LIMIT ?",
            number,
            *after,
            _READ_AT_ONCE,
        ):
            yield from (row_decided(*row) for row in page)
            after = page[-1][:2]

    def row_samples(self, run: str, item: int, step: int) -> list[Sample]:
        """Return the recorded samples of one decided step of a row."""
        sql = "SELECT samples FROM row_steps WHERE run = ? AND item = ? AND step = ? AND samples IS NOT NULL"
        found = self._page(sql, self._number(run), item, step)
        return rows.unpack(found[0][0], list[Sample]) if found else []

    def row_ends(self, run: str, start: int = 0) -> Iterator[RowEnded]:
        """Yield where rows stand that are not simply done, from row `start` on."""
        number, after = self._number(run), start - 1
        sql = "SELECT item, ended FROM row_ends WHERE run = ? AND item > ? ORDER BY item LIMIT ?"
        while page := self._page(sql, number, after, _READ_AT_ONCE):
            yield from (rows.unpack(text, RowEnded) for _, text in page)
            after = page[-1][0]

    def acts(self, run: str) -> list[Acted]:
        """Return what was done about steps that their caps had left undecided, by row and step, oldest first."""
        sql = "SELECT act FROM acts WHERE run = ? ORDER BY item, step, number"
        return [rows.unpack(text, Acted) for (text,) in self._page(sql, self._number(run))]

    def _number(self, run: str) -> int | None:
        """Return a run's number, or None in a file that was last written before there were such tables."""
        self._flush()
        number: int = self._load(run)[0]
        return number if self._read("SELECT 1 FROM sqlite_master WHERE name = 'acts'") else None

    def _page(self, sql: str, number: int | None, *values: object) -> list[tuple[Any, ...]]:
        return [] if number is None else self._read(sql, number, *values)

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _load(self, run: str) -> tuple[Any, ...]:
        raise NotImplementedError

    def _flush(self) -> None:
        raise NotImplementedError
