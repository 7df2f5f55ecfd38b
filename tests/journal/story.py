"""A run as entries that anybody can compute: entry n is the same in every process, whatever was killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from mdap.core.history import Book, Decided, Entry, Leased, Opened, RunHead, Snapshot, Spend
from mdap.core.records import Move, OpenBallot, Sample, Totals, Vote


def head(run: str) -> RunHead:
    return RunHead(
        id=run,
        created="2026-01-01T00:00:00.000Z",
        task="hanoi:disks=20",
        model="simulated:p=0.998",
        rule="ahead_by_k:3",
        fingerprint={"task": "hanoi:disks=20", "prompt": "0" * 32},
        settings={"in_flight": 64, "budget_usd": None},
        total=1_048_575,
    )


def samples(step: int, count: int) -> tuple[Sample, ...]:
    """Two candidates, and now and then a flag."""
    return tuple(
        Sample(
            slot,
            0,
            f"move = [{step % 20}, 0, {slot % 3}]",
            flag="malformed" if slot == 3 else "",
            key=b"" if slot == 3 else bytes([slot == 1]),
            tokens_in=300,
            tokens_out=20 + slot,
            latency=0.5,
            digest="d" * 32,
        )
        for slot in range(count)
    )


def story() -> Iterator[Entry]:
    """Decisions in a row, among them contested ones with their samples, snapshots, leases and ballots left open."""
    step = 0
    while True:
        if step % 16 == 0:
            yield Snapshot(step, {"at": step, "pegs": [[3, 2, 1], [], []]})
        if step % 10 == 4:
            yield Leased(Spend(calls=10 * step, tokens=step, seconds=0.25 * step))
        if step % 7 == 3:
            left = samples(step, 2)
            ballot = OpenBallot(step, {"at": step}, votes=((0, Vote(b"\0", Move([1, 0, 2], None))),), samples=left)
            yield Opened(ballot, Totals(samples=2, votes=2))
        if step % 5 == 2:
            yield Decided(step, [1, 0, 2], (4, 1), "odd", ["=", {"at": step + 1}], Totals(5, 5), samples(step, 5))
        else:
            yield Decided(step, [step % 20, 0, 2], (3,), totals=Totals(3, 3))
        step += 1


def first(count: int) -> list[Entry]:
    """The first `count` entries of the story."""
    return list(islice(story(), count))


def fold(entries: Iterable[Entry]) -> Book:
    """What the book of these entries must be."""
    book = Book()
    for entry in entries:
        book.add(entry)
    return book


def stored(entries: Iterable[Entry]) -> list[Decided]:
    """The decisions among the entries, as a journal gives them back: totals and samples are kept elsewhere."""
    decisions = [entry for entry in entries if isinstance(entry, Decided)]
    return [msgspec.structs.replace(entry, totals=None, samples=()) for entry in decisions]


def recorded(entries: Iterable[Entry]) -> dict[int, list[Sample]]:
    """The samples of the entries by step, each draw once, the last that was told of it."""
    found: dict[int, dict[tuple[int, int], Sample]] = {}
    for entry in entries:
        if isinstance(entry, Decided | Opened):
            kept = entry if isinstance(entry, Decided) else entry.ballot
            found.setdefault(kept.step, {}).update({(s.slot, s.redraw): s for s in kept.samples})
    return {step: [kept[draw] for draw in sorted(kept)] for step, kept in found.items() if kept}
