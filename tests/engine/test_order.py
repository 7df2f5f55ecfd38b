"""The winner of a step is a matter of the order of asking: no latency, no concurrency and no retry can change a run."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdap.clock import run_virtual
from mdap.core.ballot import Ballot
from mdap.core.records import Request
from mdap.core.rules import rule
from mdap.engine.taskview import TaskView
from mdap.result import Result
from tests.engine.support import SHAPES, Chancy, Pairs, exported, plain_run

RULES = st.sampled_from(["ahead_by_k:1", "ahead_by_k:2", "ahead_by_k:3", "first_to_k:3"])


def outcome(result: Result) -> tuple[object, ...]:
    """What must not depend on timing: the end, every decision, every counter, and the ballot that was left open."""
    ballot = result.book.ballot
    left = None if ballot is None else (ballot.step, ballot.votes, ballot.redraws, ballot.taken)
    totals = result.book.totals
    return result.status, exported(result), totals.samples, totals.votes, totals.flagged, result.book.kinds, left


ELECTIONS = st.fixed_dictionaries(
    {
        "shape": st.sampled_from(SHAPES),
        "rule": RULES,
        "seed": st.integers(0, 10**6),
        "order": st.integers(0, 10**6),
        "in_flight": st.integers(1, 8),
        "p": st.sampled_from([0.45, 0.7, 0.95]),
        "flags": st.sampled_from([0.0, 0.3, 0.7]),
        "faults": st.sampled_from([0.0, 0.4]),
        "max_samples": st.sampled_from([3, 7, 60]),
        "redraws": st.sampled_from([1, 10]),
    }
)


def assert_timing_changes_nothing(election: dict[str, Any]) -> None:
    common = {name: election[name] for name in ("rule", "seed", "max_samples", "redraws")}
    chance = {name: election[name] for name in ("p", "flags")}
    shape, in_flight = election["shape"], election["in_flight"]
    calm = Chancy(**chance)
    wild = Chancy(**chance, faults=election["faults"], latency=5.0, order=election["order"])
    one_by_one = run_virtual(plain_run(shape(6), calm, in_flight=1, retries=60, **common))
    at_once = run_virtual(plain_run(shape(6), wild, in_flight=in_flight, retries=60, **common))
    assert outcome(at_once) == outcome(one_by_one)
    assert wild.most_open <= in_flight
    assert sum(at_once.retries.values()) == len(wild.requests) - wild.replies


@given(ELECTIONS)
def test_the_run_does_not_depend_on_which_answer_arrives_first(election: dict[str, Any]) -> None:
    assert_timing_changes_nothing(election)


@pytest.mark.slow
@given(ELECTIONS)
@settings(max_examples=600)
def test_nor_does_any_of_many_more_runs(election: dict[str, Any]) -> None:
    assert_timing_changes_nothing(election)


class Stream(Chancy):
    """The same model with its chance taken from one shared stream, in the order of arrival."""

    def reply_to(self, request: Request) -> str:
        numbered = msgspec.structs.replace(request, seed=self.replies)
        return super().reply_to(numbered)


def test_a_model_with_a_shared_stream_of_chance_fails_that_test() -> None:
    one_by_one = run_virtual(plain_run(Pairs(20), Stream(p=0.5), in_flight=1))
    at_once = run_virtual(plain_run(Pairs(20), Stream(p=0.5, latency=5.0), in_flight=8))
    assert outcome(at_once) != outcome(one_by_one)


@pytest.mark.parametrize("spec", ["ahead_by_k:3", "first_to_k:3"])
@pytest.mark.parametrize("p", [0.5, 0.9])
def test_each_batch_is_exactly_what_is_needed_and_no_vote_is_drawn_after_a_decision(spec: str, p: float) -> None:
    model = Chancy(p=p, latency=1.0)
    result = run_virtual(plain_run(Pairs(25), model, rule=spec))
    view = TaskView(model.task)
    calls = list(zip(model.requests, model.began, strict=True))
    for step, of_step in groupby(calls, key=lambda pair: pair[0].draw.step):
        ballot, slots = Ballot(rule(spec)), []
        for _, batch in groupby(of_step, key=lambda pair: pair[1]):
            requests = [request for request, _ in batch]
            assert len(requests) == ballot.needed > 0
            for request in requests:
                slots.append(request.draw.slot)
                ballot.cast(view.read(model.reply_to(request), request.state).key)
        assert slots == list(range(len(slots)))
        assert ballot.winner is not None
        assert ballot.tally == tuple(list(result.export())[step]["votes"])


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5]), st.sampled_from([0.5, 0.9]))
def test_every_vote_that_was_drawn_was_counted(seed: int, flags: float, p: float) -> None:
    model = Chancy(p=p, flags=flags, latency=1.0)
    result = run_virtual(plain_run(Pairs(6), model, seed=seed, max_samples=10_000, redraws=100))
    assert result.status == "done"
    assert result.votes == sum(sum(line["votes"]) for line in result.export())
    assert result.samples == result.votes + sum(result.flagged.values()) == model.replies == len(model.requests)


def test_never_more_calls_run_at_once_than_allowed_and_as_many_as_are_needed() -> None:
    for in_flight, most in ((1, 1), (2, 2), (64, 5)):
        model = Chancy(p=0.9, latency=1.0)
        run_virtual(plain_run(Pairs(10), model, k=5, in_flight=in_flight))
        assert model.most_open == most
