"""Rows of maps, and what was done about undecided steps, in every journal: kept in order, read a few at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from mdap.core.errors import JournalError
from mdap.core.history import Acted, Book, Decided, Ended, Entry, Leased, RowDecided, RowEnded, Spend
from mdap.core.records import Move, OpenBallot, Sample, Totals, Vote
from mdap.journal import open_journal
from mdap.protocols import Journal
from tests.journal.story import fold, head, samples


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    store = open_journal(None if request.param == "memory" else tmp_path / "runs.db")
    store.create(head("m1"))
    yield store
    store.close()


def decided(item: int, step: int = 0, mark: int = 0, **more: object) -> RowDecided:
    return RowDecided(item, Decided(step, [item, step], (3,), **more), mark)  # type: ignore[arg-type]


BALLOT = OpenBallot(0, {"n": 1}, votes=((0, Vote(b"k", Move(1, {"n": 2}))),), samples=samples(0, 2), taken=2, void=(1,))


def test_decisions_about_rows_are_read_by_row_and_step_whatever_order_they_came_in(journal: Journal) -> None:
    for item, step in [(2, 0), (0, 0), (1, 0), (0, 1), (2, 1), (0, 2)]:
        journal.append("m1", decided(item, step, mark=10 + item))
    read = [(entry.item, entry.decided.step, entry.mark) for entry in journal.row_decisions("m1")]
    assert read == [(0, 0, 10), (0, 1, 10), (0, 2, 10), (1, 0, 11), (2, 0, 12), (2, 1, 12)]
    assert [entry.item for entry in journal.row_decisions("m1", 1)] == [1, 2, 2]


def test_thousands_of_rows_are_read_a_few_at_a_time(journal: Journal) -> None:
    for item in range(2_500):
        journal.append("m1", decided(item))
    reading = journal.row_decisions("m1")
    assert next(reading).item == 0
    journal.append("m1", decided(9_999))
    assert [entry.item for entry in islice(reading, 2_499)] == list(range(1, 2_500))


def test_a_decision_about_a_row_is_read_back_as_it_was_written(journal: Journal) -> None:
    written = RowDecided(7, Decided(0, {"a": [1, None]}, (4, 1), "odd", ["=", 3]), 2**46 + 1)
    journal.append("m1", written)
    assert list(journal.row_decisions("m1")) == [written]


def test_samples_of_a_row_are_kept_with_its_decision(journal: Journal) -> None:
    journal.append("m1", decided(3, samples=samples(0, 3)))
    journal.append("m1", decided(4))
    assert journal.row_samples("m1", 3, 0) == list(samples(0, 3))
    assert journal.row_samples("m1", 4, 0) == journal.row_samples("m1", 5, 0) == list[Sample]()


def test_where_a_row_stands_is_what_was_said_last(journal: Journal) -> None:
    journal.append("m1", RowEnded(4, "undecided", "six samples", BALLOT, Totals(2, 2)))
    journal.append("m1", RowEnded(1, "error", "KeyError"))
    assert list(journal.row_ends("m1")) == [
        RowEnded(1, "error", "KeyError"),
        RowEnded(4, "undecided", "six samples", BALLOT, Totals(2, 2)),
    ]
    journal.append("m1", RowEnded(4, "done"))
    assert [(end.item, end.status) for end in journal.row_ends("m1", 2)] == [(4, "done")]


def test_acts_are_kept_by_row_and_step_oldest_first(journal: Journal) -> None:
    acts = [Acted(3, "samples:9", (2, 1)), Acted(0, "person", item=5), Acted(3, "accept x", by="ada", at="now")]
    for act in acts:
        journal.append("m1", act)
    assert journal.acts("m1") == [acts[0], acts[2], acts[1]]


def test_the_book_counts_rows_and_what_they_took(journal: Journal) -> None:
    entries: list[Entry] = [
        RowDecided(0, Decided(0, 1, (3,), totals=Totals(3, 3))),
        RowDecided(1, Decided(0, 1, (3, 1), totals=Totals(5, 4, flagged={"empty": 1}))),
        RowEnded(2, "undecided", "cap", BALLOT, Totals(2, 2)),
        Leased(Spend(20)),
        Acted(0, "skip", by="ada", item=2),
        Ended("undecided", Spend(10), 1.0, "one row", rows={"done": 2, "undecided": 1}),
    ]
    for entry in entries:
        journal.append("m1", entry)
    book = journal.history("m1").book
    assert book == fold(entries)
    assert (book.steps, book.totals.samples, book.rows) == (2, 10, {"done": 2, "undecided": 1})
    assert book.ballot is None


def test_rows_of_two_maps_do_not_mix(journal: Journal) -> None:
    journal.create(head("m2"))
    for run in ("m1", "m2"):
        journal.append(run, decided(3))
        journal.append(run, RowEnded(5, "error", run))
        journal.append(run, Acted(0, run))
    assert [(end.reason) for end in journal.row_ends("m2")] == ["m2"]
    assert len(list(journal.row_decisions("m2"))) == len(journal.acts("m2")) == 1


@pytest.mark.parametrize(
    "read",
    [
        lambda j: list(j.row_decisions("m1")),
        lambda j: list(j.row_ends("m1")),
        lambda j: j.acts("m1"),
        lambda j: j.row_samples("m1", 0, 0),
    ],
)
def test_a_run_that_is_no_map_has_none(journal: Journal, read: Callable[[Journal], list[object]]) -> None:
    journal.append("m1", Decided(0, 1, (3,)))
    assert read(journal) == []


def test_a_number_that_is_not_finite_is_refused_in_a_row_too(journal: Journal) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        journal.append("m1", RowDecided(0, Decided(0, float("nan"), (3,))))
    assert list(journal.row_decisions("m1")) == []


async def test_a_row_is_durable_when_its_ticket_is(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "runs.db")
    journal.create(head("m1"))
    await journal.wait_durable(journal.append("m1", decided(0)))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as file:
        assert file.execute("SELECT item, step, action FROM row_steps").fetchall() == [(0, 0, "[0,0]")]
    journal.close()


def test_a_file_from_before_there_were_maps_is_read_and_can_be_driven_on(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    journal = open_journal(path)
    journal.create(head("m1"))
    journal.append("m1", Decided(0, 1, (3,)))
    journal.close()
    with closing(sqlite3.connect(path)) as file:
        for table in ("row_steps", "row_ends", "acts"):
            file.execute(f"DROP TABLE {table}")
    old = open_journal(path)
    read: list[list[object]] = [list(old.row_decisions("m1")), list(old.row_ends("m1")), list(old.acts("m1"))]
    assert read == [[], [], []]
    assert old.row_samples("m1", 0, 0) == []
    old.append("m1", Acted(1, "person"))
    assert len(old.acts("m1")) == 1
    assert isinstance(old.history("m1").book, Book)
    old.close()
