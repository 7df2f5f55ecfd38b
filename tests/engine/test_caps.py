"""Every loop is bounded: samples a step, redraws a vote, steps a run. What runs out has a name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap import api
from mdap.clock import run_virtual
from mdap.core.events import Event, Flagged, StepUndecided
from mdap.core.keyed import draw_seed
from mdap.core.records import Request, Response
from mdap.journal import open_journal
from tests.engine.support import Applied, Chancy, Pairs, exported, plain_run


@given(
    flags=st.sampled_from([0.2, 0.8, 1.0]),
    p=st.sampled_from([0.3, 0.9]),
    max_samples=st.integers(1, 25),
    redraws=st.integers(0, 6),
    seed=st.integers(0, 10**6),
    latency=st.sampled_from([0.0, 3.0]),
)
def test_a_step_never_takes_more_samples_than_its_cap_whatever_is_flagged(
    flags: float, p: float, max_samples: int, redraws: int, seed: int, latency: float
) -> None:
    model = Chancy(p=p, flags=flags, latency=latency)
    result = run_virtual(plain_run(Pairs(5), model, seed=seed, max_samples=max_samples, redraws=redraws))
    by_step = Counter(step for step, _, _ in model.draws())
    by_slot = Counter((step, slot) for step, slot, _ in model.draws())
    assert max(by_step.values()) <= max_samples
    assert max(by_slot.values()) <= redraws + 1
    assert len(set(model.draws())) == len(model.draws())
    assert result.status in ("done", "undecided")
    if result.status == "undecided":
        last = by_step[result.steps]
        assert last == max_samples or redraws + 1 in [n for (step, _), n in by_slot.items() if step == result.steps]


def test_the_cap_of_samples_says_the_tally_the_lead_and_the_way_on() -> None:
    model = Chancy(p=0.0)
    told: list[Event] = []
    result = run_virtual(plain_run(Pairs(3), model, k=50, max_samples=60, on_event=told.append))
    assert (result.status, result.steps, len(model.requests)) == ("undecided", 0, 60)
    ballot = result.book.ballot
    assert ballot is not None
    assert "step 0: 60 samples, votes [" in result.reason
    assert "more needed by ahead_by_k:50" in result.reason
    assert "raise --max-samples above 60" in result.reason
    (undecided,) = [event for event in told if isinstance(event, StepUndecided)]
    assert sum(undecided.votes) == 60


def test_redraws_of_one_vote_run_out_as_undecided_with_the_last_flag() -> None:
    model = Chancy(flags=1.0)
    result = run_virtual(plain_run(Pairs(3), model, k=2, redraws=3))
    assert result.status == "undecided"
    assert "4 samples for one vote, all flagged" in result.reason
    assert "--redraws" in result.reason
    assert sorted(model.draws()) == [(0, slot, redraw) for slot in (0, 1) for redraw in range(4)]


def test_no_redraw_is_made_when_none_is_allowed() -> None:
    model = Chancy(flags=1.0)
    assert run_virtual(plain_run(Pairs(3), model, k=1, redraws=0)).status == "undecided"
    assert model.draws() == [(0, 0, 0)]


def test_a_flagged_answer_costs_a_sample_but_never_a_vote() -> None:
    model = Chancy(p=1.0, flags=0.5)
    told: list[Event] = []
    result = run_virtual(plain_run(Pairs(20), model, k=2, on_event=told.append))
    assert result.votes == 40
    assert result.flagged.keys() == {"malformed", "truncated"}
    assert result.samples == 40 + sum(result.flagged.values())
    flags = [event for event in told if isinstance(event, Flagged)]
    assert Counter(event.name for event in flags) == result.flagged


def test_a_redraw_keeps_its_slot_and_counts_from_nought() -> None:
    model = Chancy(flags=0.5)
    run_virtual(plain_run(Pairs(8), model, in_flight=1))
    redraws: dict[tuple[int, int], list[int]] = {}
    for step, slot, redraw in model.draws():
        redraws.setdefault((step, slot), []).append(redraw)
    assert all(numbers == list(range(len(numbers))) for numbers in redraws.values())
    assert max(map(len, redraws.values())) > 1


def test_only_the_first_draw_of_a_step_has_the_first_temperature() -> None:
    model = Chancy(flags=0.6, p=0.6)
    run_virtual(plain_run(Pairs(10), model, first_temperature=0.0, temperature=0.4, max_samples=1000, redraws=50))
    for request in model.requests:
        first = (request.draw.slot, request.draw.redraw) == (0, 0)
        assert request.temperature == (0.0 if first else 0.4)
    # A flagged first vote is drawn again at the later temperature: at 0 it would be the same reply.
    assert any((r.draw.slot, r.draw.redraw) == (0, 1) for r in model.requests)


@pytest.mark.parametrize("sent", [(None, None), (None, 0.7), (0.2, None)])
def test_no_temperature_is_sent_where_none_is_set(sent: tuple[float | None, float | None]) -> None:
    model = Chancy()
    run_virtual(plain_run(Pairs(3), model, first_temperature=sent[0], temperature=sent[1]))
    assert model.requests[0].temperature == sent[0]
    assert {r.temperature for r in model.requests if r.draw.slot} == {sent[1]}


class Prescribing(Chancy):
    """A model that says what its votes are to be drawn at."""

    first_temperature = 1.0
    temperature = None


def test_a_model_may_prescribe_temperatures_and_an_option_outranks_it() -> None:
    model = Prescribing()
    run_virtual(plain_run(Pairs(2), model))
    assert [r.temperature for r in model.requests][:3] == [1.0, None, None]
    model = Prescribing()
    run_virtual(plain_run(Pairs(2), model, temperature=0.3, first_temperature=None))
    assert [r.temperature for r in model.requests][:3] == [None, 0.3, 0.3]


def test_every_draw_of_a_run_has_the_seed_of_its_coordinates() -> None:
    model = Chancy(flags=0.5, p=0.5)
    run_virtual(plain_run(Pairs(10), model, seed=99, redraws=50))
    for request in model.requests:
        draw = request.draw
        assert request.seed == draw_seed(99, 0, draw.step, draw.slot, draw.redraw)
    for step in range(10):
        seeds = [r.seed for r in model.requests if r.draw.step == step]
        assert len(set(seeds)) == len(seeds)


def test_a_retried_call_is_the_same_request_again() -> None:
    model = Chancy(faults=0.5)
    result = run_virtual(plain_run(Pairs(6), model, retries=60))
    assert result.retries == {"dropped": len(model.requests) - model.replies}
    by_draw: dict[Any, set[tuple[Any, ...]]] = {}
    for r in model.requests:
        by_draw.setdefault(r.draw, set()).add((r.seed, r.temperature, r.prompt, r.max_tokens))
    assert all(len(same) == 1 for same in by_draw.values())


def test_max_steps_stops_the_run_and_a_larger_one_goes_on() -> None:
    task, journal = Pairs(8), open_journal(None)
    whole = exported(run_virtual(plain_run(task, Chancy())))
    first = run_virtual(plain_run(task, Chancy(), journal=journal, max_steps=3))
    assert (first.status, first.steps) == ("stopped", 3)
    assert "not done after 3 steps" in first.reason
    again = run_virtual(api.resume(first.run, journal=journal, task=task, model=Chancy(), max_steps=100))
    assert again.status == "done"
    assert exported(again) == whole


def test_a_task_that_goes_on_beyond_its_own_number_of_steps_is_stopped_there() -> None:
    class Endless(Applied):
        def is_done(self, state: Any) -> bool:
            return False

    result = run_virtual(plain_run(Endless(4), Chancy()))
    assert (result.status, result.steps) == ("stopped", 4)


def test_a_task_that_is_done_at_its_start_makes_no_call() -> None:
    async def never(request: Request) -> Response:
        raise AssertionError(request)

    result = run_virtual(api.run(Pairs(0), never))
    assert (result.status, result.steps, result.votes_per_step) == ("done", 0, 0.0)
    assert result.state == {"n": 0, "path": []}
