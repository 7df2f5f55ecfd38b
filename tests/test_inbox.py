"""The inbox: what waits for a person, what they can say of it, and that it is kept for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.core.errors import RunBusy, UsageError
from mdap.core.records import ABSENT, Move, Request, Response
from mdap.engine.taskview import TaskView
from mdap.inbox import Waiting, resolve, waiting
from mdap.journal import open_journal
from mdap.models.simulated import simulated
from mdap.protocols import Journal
from tests.mapping_support import Count, Noted, Sum, sums


class Chain(Count):
    """Counts from 1 by four steps."""

    def __init__(self) -> None:
        super().__init__({"a": 1, "b": 4})


class Torn(Noted):
    """Right, but at step 1, where two answers are given in turn."""

    def __init__(self) -> None:
        super().__init__(simulated(p=1))

    def bind(self, task: Any) -> Torn:
        bound = Torn()
        bound.inner, bound._root = self.inner.bind(task), self._root
        return bound

    async def complete(self, request: Request) -> Response:
        response = await super().complete(request)
        if request.draw.step == 1 and request.draw.slot % 2:
            return Response("7")
        return response


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    store = open_journal(tmp_path / "runs.db")
    yield store
    store.close()


def stuck(journal: Journal, **options: Any) -> Waiting:
    """A run that waits at step 1."""
    mdap.run(Chain(), Torn(), journal=journal, k=2, max_samples=7, **options)
    (found,) = waiting(journal)
    return found


def resumed(journal: Journal, found: Waiting, **changes: Any) -> tuple[mdap.Result, Torn]:
    model = Torn()
    return mdap.resume(found.run, journal=journal, task=Chain(), model=model, **changes), model


def test_an_undecided_step_waits_with_its_prompt_its_candidates_and_the_reason(journal: Journal) -> None:
    found = stuck(journal, remedies=["samples:7"])
    assert (found.step, found.row, found.rule, found.samples) == (1, None, "ahead_by_k:2", 7)
    assert [message.content for message in found.messages] == ["3 to go: what comes after 2?"]
    assert [(c.votes, c.action, c.next_state) for c in found.candidates] == [
        (4, 3, {"n": 3, "left": 2}),
        (3, 7, {"n": 7, "left": 2}),
    ]
    assert "7 samples, votes [4, 3]" in found.why
    assert found.remedies == ("samples:7",)
    assert found.state == {"n": 2, "left": 3}


def test_only_undecided_steps_wait(journal: Journal) -> None:
    mdap.run(Chain(), "simulated:p=1", journal=journal)
    mdap.run(Chain(), "simulated:p=1", journal=journal, budget_calls=4)
    mdap.run(Chain(), Torn(), journal=journal, k=2, max_samples=7, remedies=["stop"])
    assert list(waiting(journal)) == []


def test_an_accepted_candidate_is_the_decision_and_is_never_asked_again(journal: Journal) -> None:
    found = stuck(journal)
    acted = resolve(journal, found.run, 1, accept=found.candidates[1].key, by="ada")
    assert (acted.act, acted.by, acted.votes) == (f"accept {found.candidates[1].key}", "ada", (4, 3))
    assert list(waiting(journal)) == []
    result, model = resumed(journal, found)
    assert result.status == "done"
    assert {step for _, step, *_ in model.asked} == {2, 3}
    assert [(row["action"], row["votes"]) for row in result.export()] == [(2, [2]), (7, [3, 4]), (8, [2]), (9, [2])]
    assert journal.acts(found.run) == [acted]
    assert journal.samples(found.run, 1) != []


def test_what_a_person_says_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    journal = open_journal(path)
    found = stuck(journal)
    resolve(journal, found.run, 1, accept=found.candidates[0].key, by="ada")
    reader = open_journal(path)
    assert [act.by for act in reader.acts(found.run)] == ["ada"]
    assert list(waiting(reader)) == []
    assert reader.history(found.run).book.steps == 2
    reader.close()
    journal.close()


def test_an_override_is_decided_with_the_votes_as_they_were(journal: Journal) -> None:
    found = stuck(journal)
    resolve(journal, found.run, 1, override=Move(30, {"n": 30, "left": 2}), by="ada")
    result, _ = resumed(journal, found)
    assert [(row["action"], row["votes"]) for row in result.export()][1:3] == [(30, [0, 4, 3]), (31, [2])]
    assert result.predicted_success is None, "no bound covers what a person decided"


def test_an_override_is_checked_by_the_task_which_may_compute_the_next_state(journal: Journal) -> None:
    mapped = mdap.map(Sum, [{"a": 2, "b": 2}], "simulated:p=0", journal=journal, k=3, max_samples=2)
    view = TaskView(Sum({"a": 2, "b": 2}))
    with pytest.raises(UsageError, match="no next state"):
        resolve(journal, mapped.run, 0, row=0, override=Move(4, ABSENT), by="ada")
    with pytest.raises(UsageError, match="refuses the override"):
        resolve(journal, mapped.run, 0, row=0, override=Move(4, {"sum": 5}), by="ada", view=view)
    resolve(journal, mapped.run, 0, row=0, override=Move(4, ABSENT), by="ada", view=view)
    again = mdap.map(Sum, [{"a": 2, "b": 2}], Noted(simulated(p=0.0)), journal=journal, run=mapped.run)
    assert [row.result for row in again.rows] == [{"sum": 4}]


def test_another_k_goes_on_with_the_same_ballot_and_as_many_samples_again(journal: Journal) -> None:
    found = stuck(journal)
    resolve(journal, found.run, 1, k=1, by="ada")
    result, model = resumed(journal, found)
    assert result.status == "done"
    assert {step for _, step, *_ in model.asked} == {2, 3}, "a lead of 1 was there already"
    assert [row["votes"] for row in result.export()] == [[2], [4, 3], [2], [2]]


def test_a_larger_k_that_is_not_reached_lets_the_step_wait_again(journal: Journal) -> None:
    found = stuck(journal)
    resolve(journal, found.run, 1, k=3, by="ada")
    assert list(waiting(journal)) == []
    result, model = resumed(journal, found)
    assert result.status == "undecided"
    assert [slot for _, step, slot, _ in model.asked if step == 1] == list(range(7, 14))
    (again,) = waiting(journal)
    assert again.samples == 14
    resolve(journal, found.run, 1, accept=again.candidates[0].key, by="bob")
    assert resumed(journal, found)[0].status == "done"
    assert [(act.act[:6], act.by) for act in journal.acts(found.run)] == [("k:3", "ada"), ("accept", "bob")]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "say one thing"),
        ({"k": 2, "skip": True}, "say one thing"),
        ({"accept": "zzzz"}, "key of 0 candidates"),
        ({"accept": ""}, "key of"),
        ({"k": 0}, "no margin"),
        ({"skip": True}, "cannot be skipped"),
        ({"accept": "a", "row": 3}, "does not wait"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(said: Any, told: str, journal: Journal) -> None:
    found = stuck(journal)
    before = journal.history(found.run).book
    with pytest.raises(UsageError, match=told):
        resolve(journal, found.run, 1, by="ada", **said)
    assert journal.history(found.run).book == before
    assert journal.acts(found.run) == []


@pytest.mark.parametrize("step", [0, 2])
def test_a_step_that_is_decided_or_was_never_asked_does_not_wait(step: int, journal: Journal) -> None:
    found = stuck(journal)
    with pytest.raises(UsageError, match=f"step {step} of .* does not wait"):
        resolve(journal, found.run, step, k=1, by="ada")


def test_a_run_that_is_driven_at_this_moment_is_left_alone(journal: Journal) -> None:
    found = stuck(journal)
    with journal.claim(found.run), pytest.raises(RunBusy):
        resolve(journal, found.run, 1, k=1, by="ada")


# Rows of a map.


def test_undecided_rows_wait_each_for_itself_and_go_on_as_they_are_told(journal: Journal) -> None:
    rows = sums(40)
    first = mdap.map(Sum, rows, "simulated:p=0.6", journal=journal, k=3, max_samples=6)
    found = list(waiting(journal, first.run))
    assert [one.row for one in found] == [row.row for row in first.rows if row.status == "undecided"]
    accepted, overridden, skipped, lowered, *left = found
    resolve(journal, first.run, 0, row=accepted.row, accept=accepted.candidates[0].key[:6], by="ada")
    resolve(journal, first.run, 0, row=overridden.row, override=Move(-1, {"sum": -1}), by="ada")
    resolve(journal, first.run, 0, row=skipped.row, skip=True, by="ada")
    resolve(journal, first.run, 0, row=lowered.row, k=1, by="ada")
    assert [one.row for one in waiting(journal)] == [one.row for one in left]
    model = Noted(simulated(p=0.6))
    rows_now = list(mdap.map(Sum, rows, model, journal=journal, run=first.run).rows)
    assert {item for item, *_ in model.asked} <= {lowered.row}
    assert rows_now[accepted.row or 0].result == accepted.candidates[0].next_state
    assert rows_now[overridden.row or 0].result == {"sum": -1}
    assert rows_now[overridden.row or 0].agreed == 0
    assert rows_now[skipped.row or 0].status == "skipped"
    assert rows_now[lowered.row or 0].status == "done"
    assert [row for row in rows_now if row.row in {one.row for one in left}] == [
        row for row in first.rows if row.row in {one.row for one in left}
    ]
    assert [act.item for act in journal.acts(first.run)] == sorted(
        one.row or 0 for one in (accepted, overridden, skipped, lowered)
    )


def test_a_skipped_row_stays_skipped_when_failed_ones_are_tried_again(journal: Journal) -> None:
    rows = [{"a": 1, "b": 1}]
    first = mdap.map(Sum, rows, "simulated:p=0.6", journal=journal, k=9, max_samples=9)
    resolve(journal, first.run, 0, row=0, skip=True, by="ada")
    last = mdap.map(Sum, rows, "simulated:p=0.6", journal=journal, run=first.run, retry_failed=True)
    assert (last.status, last.counts) == ("done", {"skipped": 1})


def test_a_row_of_a_map_has_to_be_named(journal: Journal) -> None:
    first = mdap.map(Sum, [{"a": 1, "b": 1}], "simulated:p=0.6", journal=journal, k=9, max_samples=9)
    with pytest.raises(UsageError, match="say which row"):
        resolve(journal, first.run, 0, k=1, by="ada")


def test_a_later_step_of_a_row_can_be_told_too(journal: Journal) -> None:
    rows = [{"a": 1, "b": 4}, {"a": 8, "b": 4}]
    first = mdap.map(Count, rows, Torn(), journal=journal, k=2, max_samples=7)
    found = list(waiting(journal))
    assert [(one.row, one.step) for one in found] == [(0, 1), (1, 1)]
    resolve(journal, first.run, 1, row=1, accept=found[1].candidates[0].key, by="ada")
    model = Torn()
    last = mdap.map(Count, rows, model, journal=journal, run=first.run)
    assert [row.status for row in last.rows] == ["undecided", "done"]
    assert {(item, step) for item, step, *_ in model.asked} == {(1, 2), (1, 3)}
