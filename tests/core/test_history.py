"""The fold of a run's entries into its book, and the walk over its decisions. No journal is needed for either."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.delta import diff
from mdap.core.errors import JournalError
from mdap.core.history import Book, Decided, Ended, Entry, Epoch, Leased, Opened, Resumed, Seen, Snapshot, Spend, walk
from mdap.core.records import Move, OpenBallot, Totals


def fold(*entries: Entry) -> Book:
    book = Book()
    for entry in entries:
        book.add(entry)
    return book


OPEN = Opened(OpenBallot(1, [1], taken=2, reason="cap"), Totals(samples=2, votes=1))


def test_a_new_book_is_of_a_run_that_has_just_begun() -> None:
    assert Book() == fold()
    assert (Book().steps, Book().status, Book().ballot) == (0, "running", None)


def test_two_books_share_no_counters() -> None:
    fold(Decided(0, 1, (3,), totals=Totals(3, 3)))
    assert Book().totals == Totals()


def test_steps_counts_what_is_decided_and_is_the_index_of_the_next() -> None:
    assert fold(*(Decided(step, 1, (3,)) for step in range(5))).steps == 5


def test_ballots_are_counted_by_kind_with_the_votes_for_winners_and_for_others() -> None:
    book = fold(Decided(0, 1, (3,), "a"), Decided(1, 1, (5, 2, 1), "a"), Decided(2, 1, (4,), "b"))
    assert book.kinds == {"a": Seen(steps=2, agreed=8, dissent=3, contested=1), "b": Seen(1, 4, 0, 0)}


def test_a_snapshot_changes_nothing() -> None:
    assert fold(Snapshot(0, [1, 2])) == Book()


def test_a_ballot_is_open_from_the_stop_to_its_decision() -> None:
    left = fold(Decided(0, 1, (3,)), OPEN)
    assert left.ballot == OPEN.ballot
    assert left.totals == Totals(samples=2, votes=1)
    left.add(Decided(1, 1, (3,)))
    assert left.ballot is None


def test_a_ballot_that_is_stopped_twice_is_kept_as_it_was_last() -> None:
    later = Opened(OpenBallot(1, [1], taken=5), Totals(samples=3))
    book = fold(OPEN, later)
    assert book.ballot == later.ballot
    assert book.totals.samples == 5


def test_an_epoch_begins_the_open_ballot_anew() -> None:
    book = fold(OPEN, Epoch(1, {"model": "other"}))
    assert (book.ballot, book.epochs) == (None, [(1, {"model": "other"})])


def test_an_unsettled_lease_counts_as_spent_and_a_settled_one_as_what_was_spent() -> None:
    lease = Leased(Spend(100, 5000, 9.0))
    assert fold(lease).spend == Spend(100, 5000, 9.0)
    assert fold(lease, Ended("stopped", Spend(40, 2000, 3.0), 3.0)).spend == Spend(40, 2000, 3.0)


def test_no_less_counts_as_spent_than_the_stored_samples_took() -> None:
    book = fold(Decided(0, 1, (3,), totals=Totals(4, 3, 100, 20, retries={"429": 2})))
    assert book.spent == Spend(calls=6, tokens=120)


def test_the_time_of_a_run_is_that_of_its_segments() -> None:
    book = fold(
        Decided(0, 1, (3,)),
        Ended("stopped", Spend(), 2.0, "asked to"),
        Resumed({"timeout": 5}),
        Decided(1, 1, (3,)),
        Decided(2, 1, (3,)),
        Ended("done", Spend(), 1.5),
    )
    assert (book.seconds, book.segment, book.status, book.reason) == (3.5, (1.5, 2), "done", "")


def test_the_time_of_a_segment_that_was_killed_is_that_of_its_durable_decisions() -> None:
    killed: list[Entry] = [Decided(step, 1, (3,), totals=Totals(elapsed=0.5)) for step in range(4)]
    assert fold(*killed).seconds == 2.0
    resumed: list[Entry] = [*killed, Resumed({}), Decided(4, 1, (3,), totals=Totals(elapsed=1.0))]
    assert fold(*resumed).seconds == 3.0
    # The end of a segment tells all of its time, what came after the last decision included.
    book = fold(*resumed, Ended("done", Spend(), 1.25))
    assert (book.seconds, book.segment) == (3.25, (1.25, 1))


def test_a_resumed_run_is_running_under_its_new_settings() -> None:
    book = fold(Ended("undecided", Spend(), 1.0, "200 samples"), Resumed({"max_samples": 400}))
    assert (book.status, book.reason, book.settings) == ("running", "", {"max_samples": 400})


@given(
    st.lists(st.builds(Totals, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), max_size=8),
    st.integers(0, 8),
)
def test_a_fold_can_be_broken_off_and_taken_up_anywhere(counts: list[Totals], at: int) -> None:
    entries = [Decided(step, 1, (3,), totals=totals) for step, totals in enumerate(counts)]
    begun = msgspec.json.decode(msgspec.json.encode(fold(*entries[:at])), type=Book)
    for entry in entries[at:]:
        begun.add(entry)
    assert begun == fold(*entries)


def test_a_walk_applies_actions_where_no_change_is_stored() -> None:
    entries = [Decided(0, 5, (3,)), Decided(1, 7, (3,))]
    assert list(walk(10, entries, lambda state, action: state + action)) == [
        (10, entries[0], Move(5, 15)),
        (15, entries[1], Move(7, 22)),
    ]


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=2, max_size=6))
def test_a_walk_over_stored_changes_passes_through_the_states_that_were(states: list[Any]) -> None:
    entries = [Decided(step, 0, (3,), change=diff(old, new)) for step, (old, new) in enumerate(pairwise(states))]
    assert [move.next_state for _, _, move in walk(states[0], entries, None)] == states[1:]


def test_a_stored_change_goes_before_what_apply_would_give() -> None:
    entries = [Decided(0, 1, (3,), change=["=", "voted"])]
    assert [move.next_state for _, _, move in walk("s", entries, lambda state, action: "applied")] == ["voted"]


def test_a_walk_without_any_way_to_the_next_state_says_so() -> None:
    with pytest.raises(JournalError, match="step 4 stores no next state"):
        list(walk(0, [Decided(4, 1, (3,))], None))
