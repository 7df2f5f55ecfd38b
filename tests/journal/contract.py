"""What every journal keeps: inherit `JournalContract`, say how one is opened, and each test runs against it."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from mdap.core.errors import JournalError, RunBusy
from mdap.core.history import (
    Attempted,
    Decided,
    Ended,
    Entry,
    Epoch,
    Leased,
    Opened,
    Resumed,
    RunHead,
    Snapshot,
    Spend,
)
from mdap.core.records import ABSENT, Attempt, Move, OpenBallot, Sample, Totals, Vote
from mdap.protocols import Journal
from tests.journal.story import first, fold, head, recorded, samples, stored

counts = st.integers(0, 2**40)
texts = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
totals = st.builds(
    Totals,
    samples=counts,
    votes=counts,
    tokens_in=counts,
    tokens_out=counts,
    flagged=st.dictionaries(texts, counts, max_size=2),
    retries=st.dictionaries(texts, counts, max_size=2),
)
any_samples = st.lists(
    st.builds(
        Sample,
        slot=st.integers(0, 3),
        redraw=st.integers(0, 2),
        text=texts,
        flag=texts,
        reason=texts,
        key=st.binary(max_size=6),
        finish=st.sampled_from(["stop", "length", "refusal"]),
        tokens_in=counts,
        latency=st.floats(0, 1e6),
        id=texts,
        digest=texts,
    ),
    max_size=4,
    unique_by=lambda sample: (sample.slot, sample.redraw),
).map(tuple)
spends = st.builds(Spend, calls=counts, tokens=counts, seconds=st.floats(0, 1e9))
ballots = st.builds(
    OpenBallot,
    step=st.just(0),
    state=json_values,
    kind=texts,
    votes=st.lists(
        st.tuples(counts, st.builds(Vote, st.binary(max_size=4), st.builds(Move, json_values, json_values))), max_size=2
    ).map(tuple),
    redraws=st.lists(st.tuples(counts, counts), max_size=2).map(tuple),
    samples=any_samples,
    taken=counts,
    reason=texts,
)
# Steps are numbered afterwards: a journal takes them in order alone.
any_entry: st.SearchStrategy[Entry] = st.one_of(
    st.builds(
        Decided,
        step=st.just(0),
        action=json_values,
        votes=st.lists(st.integers(1, 300), min_size=1, max_size=3).map(tuple),
        kind=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
        change=st.just(msgspec.UNSET) | json_values,
        totals=st.none() | totals,
        samples=any_samples,
    ),
    st.builds(Snapshot, step=st.just(0), state=json_values),
    st.builds(Opened, ballots, totals),
    st.builds(Attempted, st.builds(Attempt, counts, counts, counts, tokens_in=counts, id=texts, failure=texts)),
    st.builds(Leased, spends),
    st.builds(Ended, st.sampled_from(["done", "undecided", "stopped"]), spends, st.floats(0, 1e6), texts, totals),
    st.builds(Resumed, st.dictionaries(texts, json_values, max_size=3)),
    st.builds(Epoch, counts, st.dictionaries(texts, texts, max_size=2)),
)


def numbered(entries: list[Entry]) -> list[Entry]:
    """The entries with the steps that a run would give them."""
    step, result = 0, []
    for entry in entries:
        if isinstance(entry, Opened):
            entry = Opened(msgspec.structs.replace(entry.ballot, step=step), entry.totals)
        elif isinstance(entry, Decided | Snapshot):
            entry = msgspec.structs.replace(entry, step=step)
        step += isinstance(entry, Decided)
        result.append(entry)
    return result


any_run = st.lists(any_entry, max_size=12).map(numbered)


def check(journal: Journal, run: str, entries: list[Entry]) -> None:
    """Assert that the journal holds exactly these entries of the run."""
    book, decisions = fold(entries), stored(entries)
    history = journal.history(run)
    assert history.book == book
    assert list(journal.decisions(run)) == decisions
    snapshots = {entry.step: entry for entry in entries if isinstance(entry, Snapshot)}
    newest = max(snapshots, default=0)
    assert history.snapshot == snapshots.get(newest, Snapshot(0, ABSENT))
    assert history.tail == decisions[newest:]
    assert list(journal.attempts(run)) == [entry.attempt for entry in entries if isinstance(entry, Attempted)]
    expected = recorded(entries)
    for step in range(book.steps + 1):
        assert journal.samples(run, step) == expected.get(step, [])


class JournalContract:
    """Inherit it, and say how a journal is opened: empty, and closed when the context ends."""

    def opened(self) -> AbstractContextManager[Journal]:
        raise NotImplementedError

    def reopened(self, journal: Journal) -> AbstractContextManager[Journal]:
        """The same journal as another reader finds it."""
        raise NotImplementedError

    @pytest.fixture
    def journal(self) -> Iterator[Journal]:
        with self.opened() as journal:
            journal.create(head("r1"))
            yield journal

    def reads_back(self, written: list[Entry]) -> None:
        """For a test of each subclass with `@given(any_run)`: hypothesis wants one class a test."""
        with self.opened() as journal:
            journal.create(head("r1"))
            for entry in written:
                journal.append("r1", entry)
            check(journal, "r1", written)
            with self.reopened(journal) as again:
                check(again, "r1", written)

    def test_the_book_is_the_fold_of_all_entries_wherever_the_run_stands(self, journal: Journal) -> None:
        written: list[Entry] = []
        for entry in first(60):
            journal.append("r1", entry)
            written.append(entry)
            assert journal.history("r1").book == fold(written)

    def test_totals_of_a_run_add_up_over_decisions_open_ballots_and_segments(self, journal: Journal) -> None:
        journal.append("r1", Decided(0, 1, (3,), totals=Totals(4, 3, 100, 10, {"empty": 1})))
        journal.append("r1", Opened(OpenBallot(1, None), Totals(2, 1, 50, 5, {"empty": 1})))
        journal.append("r1", Ended("stopped", Spend(6), 1.5, "", Totals(retries={"429": 2})))
        journal.append("r1", Decided(1, 1, (3, 1), totals=Totals(3, 3, 25, 5, {"illegal": 2}, {"429": 1})))
        expected = Totals(9, 7, 175, 20, {"empty": 2, "illegal": 2}, {"429": 3})
        assert journal.history("r1").book.totals == expected

    def test_runs_in_one_journal_do_not_mix(self, journal: Journal) -> None:
        journal.create(head("r2"))
        one, two = first(90), first(40)
        for entry, other in zip(one[:40], two, strict=True):
            journal.append("r1", entry)
            journal.append("r2", other)
        for entry in one[40:]:
            journal.append("r1", entry)
        check(journal, "r1", one)
        check(journal, "r2", two)

    def test_decisions_are_yielded_in_order_from_any_step(self, journal: Journal) -> None:
        for step in range(3000):
            journal.append("r1", Decided(step, step, (3,)))
        assert [entry.action for entry in journal.decisions("r1")] == list(range(3000))
        assert [entry.step for entry in journal.decisions("r1", 2990)] == list(range(2990, 3000))
        assert list(journal.decisions("r1", 3000)) == []

    def test_decisions_are_lazy_and_may_be_left_half_read(self, journal: Journal) -> None:
        for step in range(2500):
            journal.append("r1", Decided(step, step, (3,)))
        reading = journal.decisions("r1")
        assert next(reading).step == 0
        journal.append("r1", Decided(2500, 2500, (3,)))
        assert [entry.step for entry in islice(reading, 2499)] == list(range(1, 2500))

    def test_a_resume_gets_the_newest_snapshot_and_what_was_decided_after_it(self, journal: Journal) -> None:
        for entry in first(100):
            journal.append("r1", entry)
        history = journal.history("r1")
        assert history.head == head("r1")
        assert history.snapshot.step == history.book.steps // 16 * 16
        assert [entry.step for entry in history.tail] == list(range(history.snapshot.step, history.book.steps))

    @pytest.mark.parametrize(("step", "found"), [(0, 0), (15, 0), (16, 16), (31, 16), (10_000, 48)])
    def test_the_snapshot_of_a_step_is_the_newest_at_or_below_it(self, journal: Journal, step: int, found: int) -> None:
        for entry in first(80):
            journal.append("r1", entry)
        assert journal.snapshot("r1", step) == Snapshot(found, {"at": found, "pegs": [[3, 2, 1], [], []]})

    def test_a_run_without_a_snapshot_is_at_step_0_in_a_state_that_only_the_task_knows(self, journal: Journal) -> None:
        assert journal.snapshot("r1", 5) == Snapshot(0, ABSENT)
        assert journal.history("r1").snapshot.state is ABSENT
        assert journal.history("r1").tail == []

    def test_a_snapshot_of_none_is_a_state_and_not_an_absence(self, journal: Journal) -> None:
        journal.append("r1", Snapshot(0, None))
        assert journal.snapshot("r1", 0).state is None

    def test_the_samples_of_an_open_ballot_are_stored_and_none_is_stored_twice(self, journal: Journal) -> None:
        journal.append("r1", Opened(OpenBallot(0, None, samples=samples(0, 2)), Totals(2)))
        assert journal.samples("r1", 0) == list(samples(0, 2))
        journal.append("r1", Opened(OpenBallot(0, None, samples=samples(0, 4)), Totals(2)))
        journal.append("r1", Decided(0, 1, (4, 1), samples=samples(0, 5)))
        assert journal.samples("r1", 0) == list(samples(0, 5))

    def test_attempts_are_listed_in_the_order_in_which_they_ended_however_many_there_are(
        self, journal: Journal
    ) -> None:
        entries: list[Entry] = [Attempted(Attempt(n // 3, n % 3, 0, id=f"c{n}", tokens_in=n)) for n in range(2_500)]
        for entry in entries:
            journal.append("r1", entry)
        check(journal, "r1", entries)

    def test_samples_are_in_slot_order_whatever_order_they_came_in(self, journal: Journal) -> None:
        redrawn = Sample(1, 1, "again")
        journal.append("r1", Decided(0, 1, (2, 1), samples=(redrawn, *reversed(samples(0, 3)))))
        assert [(s.slot, s.redraw) for s in journal.samples("r1", 0)] == [(0, 0), (1, 0), (1, 1), (2, 0)]

    def test_a_decision_closes_the_ballot_that_was_left_open(self, journal: Journal) -> None:
        journal.append("r1", Opened(OpenBallot(0, [1], samples=samples(0, 2), taken=2, reason="cap"), Totals(2)))
        ballot = journal.history("r1").book.ballot
        assert ballot == OpenBallot(0, [1], samples=samples(0, 2), taken=2, reason="cap")
        journal.append("r1", Decided(0, 1, (3,)))
        assert journal.history("r1").book.ballot is None

    def test_an_epoch_is_kept_with_the_step_that_it_begins_at(self, journal: Journal) -> None:
        journal.append("r1", Decided(0, 1, (3,)))
        journal.append("r1", Epoch(1, {"model": "other"}))
        assert journal.history("r1").book.epochs == [(1, {"model": "other"})]

    def test_a_run_is_there_as_soon_as_it_is_created(self, journal: Journal) -> None:
        with self.reopened(journal) as again:
            assert again.heads() == [head("r1")]

    def test_an_id_is_given_once(self, journal: Journal) -> None:
        with pytest.raises(JournalError, match="r1 exists already"):
            journal.create(head("r1"))
        assert journal.heads() == [head("r1")]

    def test_runs_are_listed_oldest_first(self, journal: Journal) -> None:
        for run in ("z", "a", "m"):
            journal.create(head(run))
        assert [found.id for found in journal.heads()] == ["r1", "z", "a", "m"]

    def test_a_unique_beginning_of_an_id_is_enough(self, journal: Journal) -> None:
        journal.create(head("hanoi-7f3a"))
        assert journal.head("han").id == "hanoi-7f3a"

    def test_a_whole_id_is_never_ambiguous(self, journal: Journal) -> None:
        journal.create(head("r11"))
        assert journal.head("r1").id == "r1"

    def test_an_ambiguous_beginning_names_what_it_may_mean(self, journal: Journal) -> None:
        journal.create(head("r2"))
        with pytest.raises(JournalError, match="r1, r2"):
            journal.head("r")

    @pytest.mark.parametrize("read", ["head", "history"])
    def test_an_unknown_run_names_what_there_is(self, journal: Journal, read: str) -> None:
        with pytest.raises(JournalError, match=r"no run %.*there is: r1"):
            getattr(journal, read)("%")

    def test_an_empty_journal_says_how_to_begin(self) -> None:
        with self.opened() as journal, pytest.raises(JournalError, match=r"holds no runs yet.*mdap run"):
            journal.head("r1")

    def test_nothing_is_appended_to_a_run_that_does_not_exist(self, journal: Journal) -> None:
        with pytest.raises(JournalError, match="no run r2"):
            journal.append("r2", Decided(0, 1, (3,)))

    def test_one_driver_at_a_time_has_a_run(self, journal: Journal) -> None:
        with journal.claim("r1"):
            with pytest.raises(RunBusy, match=str(os.getpid())), journal.claim("r1"):
                pytest.fail("two drivers")
            journal.append("r1", Decided(0, 1, (3,)))
        with journal.claim("r1"):
            journal.append("r1", Decided(1, 1, (3,)))
        assert journal.history("r1").book.steps == 2

    def test_a_run_is_driven_while_it_is_claimed_and_no_longer(self, journal: Journal) -> None:
        assert not journal.is_driven("r1")
        with journal.claim("r1"):
            assert journal.is_driven("r1")
        assert not journal.is_driven("r1")

    def test_a_claim_of_one_run_leaves_the_others_free(self, journal: Journal) -> None:
        journal.create(head("r2"))
        with journal.claim("r1"), journal.claim("r2"):
            journal.append("r2", Decided(0, 1, (3,)))

    def test_a_run_that_failed_in_its_driver_can_be_claimed_again(self, journal: Journal) -> None:
        with pytest.raises(ZeroDivisionError), journal.claim("r1"):
            journal.append("r1", Decided(0, 1 // 0, (3,)))
        with journal.claim("r1"):
            pass

    def test_a_run_that_does_not_exist_cannot_be_claimed(self, journal: Journal) -> None:
        with pytest.raises(JournalError, match="no run r2"), journal.claim("r2"):
            pytest.fail("claimed")

    @pytest.mark.parametrize("entry", [Decided(3, 1, (3,)), Decided(1, 1, (3,)), Snapshot(3, 0)])
    def test_an_entry_that_leaves_a_gap_or_comes_twice_is_refused_and_changes_nothing(
        self, journal: Journal, entry: Entry
    ) -> None:
        written: list[Entry] = [Decided(0, 1, (3,)), Decided(1, 1, (3,))]
        for good in written:
            journal.append("r1", good)
        with pytest.raises(JournalError, match="the next step of run r1 is 2"):
            journal.append("r1", entry)
        journal.append("r1", Decided(2, 1, (3,)))
        check(journal, "r1", [*written, Decided(2, 1, (3,))])

    @pytest.mark.parametrize("value", [object(), math.nan, [math.inf], {"a": (None, -math.inf)}, "\ud800"])
    @pytest.mark.parametrize("where", ["action", "change", "state", "settings", "ballot"])
    def test_what_is_no_json_value_is_refused_and_changes_nothing(
        self, journal: Journal, value: Any, where: str
    ) -> None:
        bad: dict[str, Entry] = {
            "action": Decided(0, value, (3,)),
            "change": Decided(0, 1, (3,), change=value),
            "state": Snapshot(0, value),
            "settings": Resumed({"x": value}),
            "ballot": Opened(OpenBallot(0, value), Totals()),
        }
        with pytest.raises(JournalError, match="cannot be written to the journal"):
            journal.append("r1", bad[where])
        journal.append("r1", Decided(0, None, (3,)))
        check(journal, "r1", [Decided(0, None, (3,))])

    def test_typed_records_are_read_back_as_the_json_that_they_encode_to(self, journal: Journal) -> None:
        journal.append("r1", Decided(0, Move((1, 2), {3: 4}), (3,)))
        assert next(journal.decisions("r1")).action == {"action": [1, 2], "next_state": {"3": 4}}

    def test_integers_are_never_rounded(self, journal: Journal) -> None:
        journal.append("r1", Decided(0, [9007199254740993, 10**60, -(2**63) - 1], (3,)))
        assert next(journal.decisions("r1")).action == [9007199254740993, 10**60, -(2**63) - 1]

    async def test_a_value_that_the_caller_changes_afterwards_is_stored_as_it_was(self, journal: Journal) -> None:
        action, spend = [1, 2], Spend(calls=1)
        journal.append("r1", Decided(0, action, (3,)))
        ticket = journal.append("r1", Leased(spend))
        action.append(3)
        spend.calls = 2
        await journal.wait_durable(ticket)
        assert next(journal.decisions("r1")).action == [1, 2]
        assert journal.history("r1").book.spend == Spend(calls=1)

    def test_a_history_that_a_reader_changes_leaves_the_journal_as_it_was(self, journal: Journal) -> None:
        journal.append("r1", Decided(0, 1, (3,), totals=Totals(3, 3)))
        journal.history("r1").book.totals.samples = 99
        assert journal.history("r1").book.totals == Totals(3, 3)

    async def test_an_entry_is_durable_when_durable_has_reached_its_ticket(self, journal: Journal) -> None:
        tickets = [journal.append("r1", entry) for entry in first(200)]
        assert tickets == sorted(set(tickets))
        await journal.wait_durable(tickets[-1])
        assert journal.durable >= tickets[-1]
        with self.reopened(journal) as again:
            check(again, "r1", first(200))

    async def test_many_wait_at_once_and_each_is_told(self, journal: Journal) -> None:
        done: list[int] = []

        async def wait(ticket: int) -> None:
            await journal.wait_durable(ticket)
            assert journal.durable >= ticket
            done.append(ticket)

        tickets = [journal.append("r1", entry) for entry in first(100)]
        async with asyncio.TaskGroup() as group:
            for ticket in reversed(tickets):
                group.create_task(wait(ticket))
        assert sorted(done) == tickets

    def test_event_loops_in_several_threads_share_one_journal(self, journal: Journal) -> None:
        runs = [f"t{number}" for number in range(4)]
        for run in runs:
            journal.create(head(run))

        async def drive(run: str) -> None:
            with journal.claim(run):
                for entry in first(150):
                    await journal.wait_durable(journal.append(run, entry))

        threads = [threading.Thread(target=lambda run=run: asyncio.run(drive(run))) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for run in runs:
            check(journal, run, first(150))

    def test_a_journal_is_closed_once_and_takes_nothing_afterwards(self) -> None:
        with self.opened() as journal:
            journal.create(head("r1"))
            journal.append("r1", Decided(0, 1, (3,)))
            journal.close()
            journal.close()
            with pytest.raises(JournalError, match="closed"):
                journal.append("r1", Decided(1, 1, (3,)))
            with pytest.raises(JournalError, match="closed"):
                journal.create(head("r2"))

    def test_a_run_of_any_name_can_be_driven(self, journal: Journal) -> None:
        for run in ("a/b", "../up", "ünï", "a b"):
            journal.create(RunHead(**{**msgspec.structs.asdict(head("x")), "id": run}))
            with journal.claim(run):
                journal.append(run, Decided(0, 1, (3,)))
            assert journal.history(run).book.steps == 1
