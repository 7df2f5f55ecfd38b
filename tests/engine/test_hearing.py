"""What observers hear of a run that asks ahead: of decisions what they always hear, of losing branches nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.events import Event, Flagged, StepDecided, StepUndecided
from tests.engine.support import Chancy, Pairs


async def heard(seed: int, *, lookahead: int, **options: Any) -> tuple[mdap.Result, list[Event], Chancy]:
    events: list[Event] = []
    model = Chancy(p=0.7, flags=0.3, latency=1.0)
    result = await mdap.aio.run(
        Pairs(40), model, k=3, seed=seed, lookahead=lookahead, on_event=events.append, record="none", **options
    )
    return result, events, model


def of(events: list[Event], kind: Any) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("seed", range(6))
def test_flags_are_heard_of_once_and_of_no_branch_that_loses(seed: int) -> None:
    plain, without, _ = run_virtual(heard(seed, lookahead=0))
    ahead, told, model = run_virtual(heard(seed, lookahead=8))
    assert plain.status == ahead.status == "done"
    # The twin: had every draw been told, there would be more flags than the decisions hold.
    assert ahead.book.totals.rollbacks > 0
    assert model.replies > ahead.samples
    assert sorted(map(repr, of(told, Flagged))) == sorted(map(repr, of(without, Flagged)))
    assert Counter(event.name for event in of(told, Flagged)) == ahead.flagged


@pytest.mark.parametrize("seed", range(3))
def test_a_flag_is_heard_of_before_the_decision_of_its_step(seed: int) -> None:
    _, told, _ = run_virtual(heard(seed, lookahead=8))
    decided = -1
    for event in told:
        if isinstance(event, StepDecided):
            decided = event.decision.step
        elif isinstance(event, Flagged):
            assert event.step == decided + 1


def test_a_step_whose_cap_runs_out_in_a_branch_that_loses_is_never_called_undecided() -> None:
    seen = 0
    for seed in range(12):
        plain, without, _ = run_virtual(heard(seed, lookahead=0, max_samples=12))
        ahead, told, _ = run_virtual(heard(seed, lookahead=8, max_samples=12))
        assert (ahead.status, ahead.steps) == (plain.status, plain.steps)
        assert of(told, StepUndecided) == of(without, StepUndecided)
        seen += len(of(told, StepUndecided))
    assert seen > 3


def test_an_observer_that_stops_the_run_at_a_flag_stops_it_before_that_step_is_decided() -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Flagged) and event.step >= 10:
            raise mdap.Stop("a flag")

    async def stopped() -> mdap.Result:
        model = Chancy(p=0.7, flags=0.3, latency=1.0)
        return await mdap.aio.run(Pairs(40), model, k=3, lookahead=8, on_event=stop)

    result = run_virtual(stopped())
    assert result.status == "stopped"
    assert result.steps >= 10
    assert result.book.ballot is not None
    assert result.book.ballot.step == result.steps
