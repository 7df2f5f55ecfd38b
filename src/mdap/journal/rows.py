"""How entries are written as rows and read back: compact JSON, equal for every journal. No file is touched here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from mdap.core.errors import JournalError
from mdap.core.history import Book, Decided, Entry, Learned, Opened, Snapshot
from mdap.core.records import Attempt, OpenBallot, Sample

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


# Of its own, since the journal alone leaves defaults out: what is printed of a sample has all its fields.
class _Stored(Sample, frozen=True, omit_defaults=True):
    """A sample without the fields that have their default values."""


def pack(value: Any, what: str, step: int | None = None) -> str:
    """Return `value` as compact JSON; raises JournalError naming `what`, of `step`, if it is no JSON value."""
    try:
        text = _encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _unwritable(_named(what, step), str(error)) from error
    # The encoder writes NaN and infinity as null, which would read back as another value.
    if "null" in text and not _is_finite(msgspec.to_builtins(value)):
        raise _unwritable(_named(what, step), "it holds a number that is not finite")
    return text


def unpack(text: str | bytes, type_: type[T]) -> T:
    """Return the record that `pack` wrote; raises JournalError if it is none."""
    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.MsgspecError as error:
        raise JournalError(
            f"the journal holds a damaged record: {error}", remedy="restore the file from a copy"
        ) from error


def decision_row(run: int, entry: Decided) -> bytes:
    """Return a decision as the JSON array [run, step, action, votes, kind, change].

    Action and change are JSON inside of a string; votes are a number where there was one candidate, else JSON
    inside of a string; kind is null where it is empty, change where the entry has none.
    """
    votes = entry.votes
    kind = entry.kind
    # SQLite ends a text at a NUL when it takes it out of JSON: the kind would be read back shorter.
    if "\0" in kind:
        raise _unwritable(f"kind {kind!r} of step {entry.step}", "it holds a NUL character")
    # JSON inside of JSON, so that SQLite hands it on untouched: taken out as values, true would become 1, and an
    # integer past 64 bits a float.
    row = (
        run,
        entry.step,
        pack(entry.action, "the action", entry.step),
        # Nearly all steps have one candidate, and a small integer takes a byte where an array is a text of three or
        # more.
        votes[0] if len(votes) == 1 else pack(votes, "votes"),
        kind or None,
        None if entry.change is msgspec.UNSET else pack(entry.change, "the change", entry.step),
    )
    return _line(row, "the kind", entry.step)


def decision(step: int, action: str, votes: int | str, kind: str | None, change: str | None) -> Decided:
    """Return the decision of a row; its totals and samples are kept elsewhere."""
    return Decided(
        step,
        unpack(action, object),
        (votes,) if isinstance(votes, int) else unpack(votes, tuple[int, ...]),
        kind or "",
        msgspec.UNSET if change is None else unpack(change, object),
    )


def snapshot_row(run: int, entry: Snapshot) -> bytes:
    """Return a snapshot as the JSON array [run, step, state], the state being JSON inside of a string."""
    return _line((run, entry.step, pack(entry.state, "the state", entry.step)), "snapshot")


def learned_row(run: int, entry: Learned) -> bytes:
    """Return what a rule has learned as the JSON array [run, step, prior], the prior being JSON inside of a string."""
    return _line((run, entry.step, pack(entry.prior, "what the rule has learned")), "learned")


def decision_of(row: bytes) -> Decided:
    """Return the decision of a row as `decision_row` wrote it."""
    _, step, action, votes, kind, change = msgspec.json.decode(row)
    return decision(step, action, votes, kind, change)


def samples_of(entry: Entry) -> list[tuple[int, int, int, str]]:
    """Return the samples of an entry as (step, slot, redraw, sample), the sample as JSON without its defaults."""
    kept: Decided | OpenBallot
    if isinstance(entry, Decided):
        kept = entry
    elif isinstance(entry, Opened):
        kept = entry.ballot
    else:
        return []
    what = f"a sample of step {kept.step}"
    return [(kept.step, s.slot, s.redraw, pack(_Stored(*msgspec.structs.astuple(s)), what)) for s in kept.samples]


def stored(samples: Iterable[Sample]) -> list[Sample]:
    """Return samples that encode to JSON without their defaults."""
    return [_Stored(*msgspec.structs.astuple(sample)) for sample in samples]


def sample_rows(run: int, entry: Entry) -> list[bytes]:
    """Return the samples of an entry as JSON arrays [run, step, slot, redraw, sample], the sample a string."""
    return [_encode((run, *sample)) for sample in samples_of(entry)]


def attempt_text(attempt: Attempt) -> str:
    """Return an attempt as JSON without its defaults."""
    return pack(attempt, f"an attempt of step {attempt.step}")


def attempt_row(run: int, number: int, text: str) -> bytes:
    """Return an attempt as the JSON array [run, number, attempt], the attempt a string."""
    return _encode((run, number, text))


def book_row(run: int, entries: int, book: Book) -> bytes:
    """Return the fold of a run's first `entries` entries as the JSON array [run, entries, book], the book a string."""
    return _encode((run, entries, _encode(book).decode()))


def copy(record: T) -> T:
    """Return the record as it would be read back; raises JournalError if it cannot be written."""
    return unpack(pack(record, f"a {type(record).__name__} entry"), type(record))


def array(rows: Iterable[bytes]) -> str | None:
    """Return rows as one JSON array, or None if there are none."""
    # Joined and not encoded: each row is JSON already.
    joined = b",".join(rows)
    return f"[{joined.decode()}]" if joined else None


def _line(row: tuple[object, ...], what: str, step: int | None = None) -> bytes:
    try:
        # A kind may hold half of a surrogate pair, which UTF-8 has no bytes for.
        return _encode(row)
    except ValueError as error:
        raise _unwritable(_named(what, step), str(error)) from error


def _named(what: str, step: int | None) -> str:
    return what if step is None else f"{what} of step {step}"


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list | tuple) else True


def _unwritable(what: str, why: str) -> JournalError:
    return JournalError(
        f"{what} cannot be written to the journal: {why}", remedy="use JSON values, or records that encode to JSON"
    )
