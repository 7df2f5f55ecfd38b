"""Remedies for undecided steps: taken in their order, recorded, never repeated by a resume, and never a plurality."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import mdap
from mdap.core.errors import Undecided, UsageError
from mdap.core.events import Event, Remedied
from mdap.core.history import Acted
from mdap.core.records import Request, Response
from mdap.journal import open_journal
from mdap.models.simulated import simulated
from mdap.protocols import Journal
from mdap.result import Result
from tests.engine.support import Watched
from tests.mapping_support import Sum


class Task(Sum):
    """One sum, as a task of its own."""

    def __init__(self) -> None:
        super().__init__({"a": 2, "b": 2})


class Torn:
    """Two answers in turn by slot, so that no votes ever lead; on a prompt that `settles` names, one alone."""

    spec = "torn"

    def __init__(self, settles: str = "nothing", from_slot: int = 10**9) -> None:
        self.settles, self.from_slot = settles, from_slot
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Response:
        self.requests.append(request)
        draw = request.draw
        if self.settles in request.messages[0].content or draw.slot >= self.from_slot:
            return Response("4")
        return Response("4" if draw.slot % 2 else "5")

    @property
    def draws(self) -> list[tuple[int, int]]:
        return [(request.draw.slot, request.draw.redraw) for request in self.requests]


def acts(journal: Journal, result: Result) -> list[Acted]:
    return journal.acts(result.run)


def run(model: Any, *remedies: str, journal: Journal | None = None, **options: Any) -> tuple[Result, Journal]:
    store = journal or open_journal(None)
    options = {"max_samples": 6, "k": 2, **options}
    return mdap.run(Task(), model, journal=store, remedies=list(remedies), **options), store


def test_without_remedies_a_step_stays_undecided() -> None:
    result, journal = run(Torn())
    assert result.status == "undecided"
    assert acts(journal, result) == []


def test_more_samples_go_on_with_the_same_ballot() -> None:
    model = Torn(from_slot=6)
    result, journal = run(model, "samples:12")
    assert result.status == "done"
    assert model.draws == [(slot, 0) for slot in range(8)]
    (decided,) = journal.decisions(result.run)
    assert (decided.action, decided.votes) == (4, (5, 3))
    assert result.samples == 8


def test_more_samples_help_a_vote_whose_redraws_ran_out() -> None:
    class Hesitant(Torn):
        async def complete(self, request: Request) -> Response:
            await super().complete(request)
            return Response("4" if request.draw.redraw >= 4 else "well")

    result, _ = run(Hesitant(), redraws=2)
    assert result.status == "undecided"
    result, _ = run(Hesitant(), "samples:40", redraws=2)
    assert result.status == "done"
    assert result.flagged == {"malformed": 8}


def test_another_prompt_opens_a_new_ballot_whose_votes_alone_count() -> None:
    model = Torn(settles="make?")
    result, journal = run(model, "prompt")
    assert result.status == "done"
    assert [act.act for act in acts(journal, result)] == ["prompt:1", "prompt:2"]
    (decided,) = journal.decisions(result.run)
    assert decided.votes == (2,)
    assert [request.messages[0].content for request in model.requests[::6]] == [
        "What is 2 + 2?",
        "Add 2 to 2.",
        "2 and 2 make?",
    ]
    assert model.draws == [(slot, 0) for slot in range(14)], "no two ballots of a step share a draw"
    assert result.samples == 14


def test_another_model_opens_a_new_ballot() -> None:
    result, journal = run(simulated(p=0.0, wrong="several"), "model:simulated:p=1", k=6)
    (decided,) = journal.decisions(result.run)
    assert (result.status, decided.action, decided.votes) == ("done", 4, (6,))


def test_remedies_are_taken_in_their_order_and_each_is_told_and_recorded() -> None:
    told: list[Event] = []
    result, journal = run(Torn(), "samples:8", "prompt", "model:simulated:p=1", on_event=told.append)
    order = ["samples:8", "prompt:1", "prompt:2", "model:simulated:p=1"]
    assert [event.remedy for event in told if isinstance(event, Remedied)] == order
    assert [(act.act, act.votes, act.by) for act in acts(journal, result)] == [
        ("samples:8", (3, 3), ""),
        ("prompt:1", (4, 4), ""),
        ("prompt:2", (3, 3), ""),
        ("model:simulated:p=1", (3, 3), ""),
    ]
    assert "6 samples" in acts(journal, result)[0].reason
    assert result.status == "done"


def test_the_samples_of_all_ballots_are_counted_once() -> None:
    result, journal = run(Torn(), "samples:8", "prompt")
    assert result.status == "undecided"
    assert result.samples == 8 + 6 + 6 == len(journal.samples(result.run, 0))
    assert result.votes == 20


def test_a_person_is_the_last_remedy_and_leaves_the_step_open() -> None:
    result, journal = run(Torn(), "samples:8", "person")
    assert result.status == "undecided"
    assert [act.act for act in acts(journal, result)] == ["samples:8", "person"]
    assert result.book.ballot is not None
    assert result.book.ballot.taken == 8


def test_the_remedy_stop_ends_the_run_as_stopped() -> None:
    result, journal = run(Torn(), "stop")
    assert result.status == "stopped"
    assert [act.act for act in acts(journal, result)] == ["stop"]
    assert "its last remedy is to stop" in result.reason


def test_a_resume_goes_on_with_the_remedy_that_was_being_taken_and_asks_no_draw_twice() -> None:
    whole = Torn(settles="make?")
    expected, journal = run(whole, "samples:8", "prompt")
    steps = list(journal.decisions(expected.run))
    for budget in range(1, len(whole.requests)):
        model, store = Torn(settles="make?"), open_journal(None)
        first, _ = run(model, "samples:8", "prompt", journal=store, budget_calls=budget)
        assert first.status == "budget"
        last = mdap.resume(first.run, journal=store, task=Task(), model=model, budget_calls=100)
        assert last.status == "done"
        assert model.draws == whole.draws
        assert list(store.decisions(last.run)) == steps
        assert [act.act for act in acts(store, last)] == [act.act for act in acts(journal, expected)]
        assert last.samples == expected.samples


def test_a_run_killed_while_a_remedy_is_taken_goes_on_with_it() -> None:
    whole = Torn(settles="make?")
    watched = Watched()
    result, _ = run(whole, "samples:8", "prompt", journal=watched)
    for entries in range(2, len(watched.entries)):
        left = watched.killed_after(entries)
        model = Torn(settles="make?")
        last = mdap.resume(result.run, journal=left, task=Task(), model=model)
        assert last.status == "done"
        assert [decided.votes for decided in left.decisions(last.run)] == [(2,)]
        recorded = Counter(act.act for act in acts(left, last))
        assert recorded.keys() <= {"samples:8", "prompt:1", "prompt:2"}
        assert max(recorded.values(), default=1) == 1


def test_a_resume_may_bring_remedies_to_a_step_that_had_none() -> None:
    model = Torn(settles="make?")
    first, journal = run(model)
    last = mdap.resume(first.run, journal=journal, task=Task(), model=model, remedies=["prompt"])
    assert last.status == "done"
    assert model.draws == [(slot, 0) for slot in range(14)]


def test_a_resume_without_the_remedy_that_was_being_taken_begins_the_ballot_anew() -> None:
    model = Torn()
    first, journal = run(model, "prompt")
    model.from_slot = 0
    last = mdap.resume(first.run, journal=journal, task=Task(), model=model, remedies=[])
    assert last.status == "done"
    assert [decided.votes for decided in journal.decisions(last.run)] == [(2,)]
    assert model.draws[-1] == (19, 0)


@pytest.mark.parametrize(
    ("remedies", "told"),
    [
        (["sample:4"], "did you mean 'samples'"),
        (["samples:many"], "no number"),
        (["samples"], "no number"),
        (["model"], "names no model"),
        (["person", "samples:9"], "nothing comes after"),
        (["stop", "person"], "nothing comes after"),
    ],
)
def test_what_is_no_remedy_is_refused_before_anything_is_asked(remedies: list[str], told: str) -> None:
    model = Torn()
    with pytest.raises(UsageError, match=told):
        run(model, *remedies)
    assert model.requests == []


def test_another_prompt_needs_a_task_that_offers_one() -> None:
    with pytest.raises(UsageError, match="no other prompts"):
        mdap.run("hanoi:disks=2", "simulated:p=1", remedies=["prompt"])


def test_a_step_whose_remedies_all_fail_is_undecided_and_no_plurality_wins() -> None:
    class Leaning(Torn):
        async def complete(self, request: Request) -> Response:
            self.requests.append(request)
            return Response("5" if request.draw.slot % 3 == 1 else "4")

    result, journal = run(Leaning(), "samples:9", "prompt", k=9)
    assert result.status == "undecided"
    assert result.steps == 0
    assert list(journal.decisions(result.run)) == []
    assert isinstance(Undecided("x"), mdap.errors.MdapError)
