"""Calibration as a call: which states, what is right, what it takes, what it is held against; with real parts alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

import mdap
from mdap import aio, errors
from mdap.calibrating import Prospect
from mdap.clock import run_virtual
from mdap.core.calibrated import Calibration, ModelCalibration
from mdap.core.calibration import Kind
from mdap.core.events import Called, Event, Warned
from mdap.core.records import Message, Move, Request, Response, Usage
from mdap.core.verdict import undecided_after
from mdap.models import simulated
from mdap.models.simulated import Simulated


class Counting:
    """Counts up to `steps`: a task of the least that one may have, with answers."""

    spec = "counting"

    def __init__(self, steps: int = 500) -> None:
        self.steps = steps

    def start(self) -> int:
        return 0

    def is_done(self, state: int) -> bool:
        return state >= self.steps

    def prompt(self, state: int) -> str:
        return f"What comes after {state}?"

    def parse(self, text: str, state: int) -> Move:
        return Move(int(text), state + 1)

    def apply(self, state: int, action: int) -> int:
        return state + 1

    def answer(self, state: int) -> Move | None:
        return Move(state + 1, state + 1)

    def write(self, move: Move) -> str:
        return str(move.action)

    def mistakes(self, state: int) -> list[Move]:
        return [Move(state + n, state + 1) for n in (2, 3, 4)]


class Sampled(Counting):
    """The same, and knows how to draw a state."""

    def sample(self, rng: Random) -> int:
        return rng.randrange(self.steps)


class Silent:
    """The same task without any knowledge of what is right."""

    spec = "silent"

    def __init__(self, inner: Counting) -> None:
        self.steps = inner.steps
        self.start, self.is_done, self.prompt = inner.start, inner.is_done, inner.prompt
        self.parse, self.apply = inner.parse, inner.apply
        if isinstance(inner, Sampled):
            self.sample = inner.sample


class Teller:
    """A model that is `inner` bound to a task of its own, remembers what it was asked, and may be slow when wrong."""

    spec = "teller"

    def __init__(self, inner: Simulated, task: Any, slow_when_wrong: float = 0.0) -> None:
        self._inner, self._task = inner.bind(task), task
        self._slow = slow_when_wrong
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Response:
        self.asked.append(request)
        reply = await self._inner.complete(request)
        seconds = Random(request.seed).lognormvariate(0, 0.3)
        if self._slow:
            wrong = reply.text != str(request.state + 1)
            await asyncio.sleep(seconds * (1 + self._slow * wrong))
        return reply


def only(calibration: Calibration) -> tuple[ModelCalibration, Kind]:
    (model,) = calibration.models
    (kind,) = model.kinds
    return model, kind


def test_p_v_and_q_are_those_of_the_model() -> None:
    made = mdap.calibrate(Sampled(), "simulated:p=0.9,flags=0.05", samples=4000)
    model, kind = only(made)
    assert kind.p.low < 0.9 < kind.p.high
    assert kind.v.low < 0.95 < kind.v.high
    assert kind.q.low < 0.1 < kind.q.high < 0.15
    assert set(kind.flags) == {"truncated", "malformed"}
    assert model.calls <= 4000
    assert not kind.wrong.found


def test_states_are_drawn_by_the_task_where_it_can() -> None:
    made = mdap.calibrate(Sampled(), "simulated:p=0.9", samples=100)
    assert (made.states_from, made.truth_from) == ("sample", "answer")


def test_without_that_they_lie_along_its_answers_and_cover_all_of_the_path() -> None:
    task = Counting(300)
    teller = Teller(simulated(p=0.999), task)
    made = mdap.calibrate(task, teller, samples=100)
    states = {request.state for request in teller.asked}
    assert made.states_from == "answer"
    assert len(states) == 80
    assert min(states) < 30
    assert max(states) > 270


def test_a_short_path_is_drawn_from_more_than_once() -> None:
    model, kind = only(mdap.calibrate(Counting(3), "simulated:p=0.9", samples=100))
    assert kind.states == 80
    assert model.calls > 80


def test_without_answers_votes_settle_what_is_right_and_the_result_says_so() -> None:
    task = Sampled()
    made = mdap.calibrate(Silent(task), Teller(simulated(p=0.9), task), samples=2000)
    model, kind = only(made)
    assert (made.states_from, made.truth_from) == ("sample", "votes")
    assert 120 < kind.states < 260  # a vote with a margin of 6 takes 7.5 calls
    assert kind.p.low < 0.9 < kind.p.high
    assert model.calls < 2400


def test_without_either_a_short_run_by_votes_goes_through_the_states() -> None:
    task = Counting()
    teller = Teller(simulated(p=0.95), task)
    made = mdap.calibrate(Silent(task), teller, samples=400)
    _, kind = only(made)
    assert (made.states_from, made.truth_from) == ("votes", "votes")
    assert {request.state for request in teller.asked} == set(range(kind.states))


def test_states_that_votes_cannot_settle_count_as_wrong() -> None:
    task = Sampled()
    made = mdap.calibrate(
        Silent(task), Teller(simulated(p=0.6, hard=0.5, p_hard=0.5), task), samples=2000, max_samples=12
    )
    model, kind = only(made)
    assert model.unsettled > 0
    assert kind.p.trials - kind.p.hits >= model.unsettled * 0.9
    assert model.verdict.refusal


def test_the_same_call_gives_the_same_calibration_however_many_calls_are_made_at_once() -> None:
    spec = "simulated:p=0.9,flags=0.05,wrong=several"
    one, many, other = (
        mdap.calibrate(Sampled(), spec, samples=500, in_flight=n, seed=s).models[0].kinds
        for n, s in ((1, 0), (50, 0), (50, 1))
    )
    assert one == many != other


def test_no_draw_of_a_calibration_is_one_of_a_run_with_the_same_seed() -> None:
    task = Sampled(40)
    in_run, in_calibration = Teller(simulated(p=0.9), task), Teller(simulated(p=0.9), task)
    mdap.run(task, in_run, k=3)
    mdap.calibrate(task, in_calibration, samples=300)
    seeds = [{(r.prompt.digest, r.seed) for r in teller.asked} for teller in (in_run, in_calibration)]
    assert len(seeds[1]) == len(in_calibration.asked)
    assert not seeds[0] & seeds[1]


def test_all_samples_have_the_temperature_of_later_votes_and_no_flag_is_drawn_again_in_its_place() -> None:
    task = Sampled()
    teller = Teller(simulated(p=0.9, flags=0.2), task)
    made = mdap.calibrate(task, teller, samples=300, redraws=0, temperature=0.7)
    assert {request.temperature for request in teller.asked} == {0.7}
    assert {request.draw.redraw for request in teller.asked} == {0}
    assert made.temperature == 0.7
    assert made.models[0].calls == len(teller.asked)


def test_what_it_will_take_is_told_before_the_first_call() -> None:
    told: list[Prospect | str] = []

    def heard(event: Event) -> None:
        if isinstance(event, Called):
            told.append("call")

    mdap.calibrate(Sampled(), "simulated:p=0.9", samples=200, on_prospect=told.extend, on_event=heard)
    first = told[0]
    assert isinstance(first, Prospect)
    assert first.calls == 200 >= told.count("call") / 2
    assert first.tokens_in == 200 * (len("What comes after 0?") // 4)
    assert first.tokens_out_most == 200 * 750


def test_a_budget_ends_the_drawing_and_what_was_drawn_is_judged() -> None:
    model, kind = only(mdap.calibrate(Sampled(), "simulated:p=0.9", samples=1000, budget_calls=100, in_flight=1))
    assert model.calls == 100 == kind.states
    assert "budget" in model.stopped


def test_a_model_that_gives_no_reply_ends_it_with_the_providers_word() -> None:
    class Down:
        spec = "down"

        async def complete(self, request: Request) -> Response:
            raise errors.ModelError("the server is down", status=503)

    with pytest.raises(errors.ModelError, match="the server is down"):
        run_virtual(aio.calibrate(Sampled(), Down(), samples=10, retries=1))


def test_retries_are_no_samples() -> None:
    class Shaky:
        spec = "shaky"

        def __init__(self) -> None:
            self.calls, self.seen = 0, set[int]()

        async def complete(self, request: Request) -> Response:
            self.calls += 1
            if request.seed not in self.seen:
                self.seen.add(request.seed)
                raise errors.ModelError("busy", status=429)
            return Response(str(request.state + 1), usage=Usage(1, 1))

    shaky = Shaky()
    made = run_virtual(aio.calibrate(Sampled(), shaky, samples=100))
    model, kind = only(made)
    assert kind.states == 80
    assert model.calls == shaky.calls == 160


def test_latency_is_that_of_the_calls_without_waiting_for_a_place() -> None:
    made = run_virtual(aio.calibrate(Sampled(), "simulated:p=0.9,latency=2,sigma=0.6", samples=1000, in_flight=3))
    _, kind = only(made)
    assert kind.latency is not None
    assert kind.latency.median == pytest.approx(2, rel=0.1)
    assert kind.latency.sigma == pytest.approx(0.6, rel=0.1)
    assert made.models[0].verdict.projection is not None
    assert made.models[0].verdict.projection.seconds is not None
    assert kind.timing is not None
    assert kind.timing.p_value > 0.01


def test_a_model_that_is_slow_when_it_is_wrong_is_found_out() -> None:
    task = Sampled()
    _, kind = only(run_virtual(aio.calibrate(task, Teller(simulated(p=0.9), task, slow_when_wrong=0.5), samples=1000)))
    assert kind.timing is not None
    assert kind.timing.p_value < 0.001
    assert kind.timing.chance > 0.6


def test_replies_from_within_the_process_have_no_latency() -> None:
    _, kind = only(mdap.calibrate(Sampled(), "simulated:p=0.9", samples=100))
    assert kind.latency is None
    assert kind.timing is None


def test_models_are_ranked_by_calls_per_decided_step_and_refused_ones_stand_last() -> None:
    made = mdap.calibrate(
        Sampled(), ["simulated:p=0.4", "simulated:p=0.9", "simulated:p=0.999,flags=0.1"], samples=1000
    )
    assert [model.model for model in made.models] == [
        "simulated:p=0.999,flags=0.1",
        "simulated:p=0.9",
        "simulated:p=0.4",
    ]
    assert made.models[2].verdict.refusal


def test_the_steps_of_the_run_are_needed_where_the_task_does_not_know_them() -> None:
    class Endless(Sampled):
        def __init__(self) -> None:
            super().__init__()
            del self.steps

        def is_done(self, state: int) -> bool:
            return False

        def sample(self, rng: Random) -> int:
            return rng.randrange(100)

    with pytest.raises(errors.UsageError, match="--steps"):
        mdap.calibrate(Endless(), "simulated:p=0.9", samples=100)
    assert mdap.calibrate(Endless(), "simulated:p=0.9", samples=100, steps=50).steps == 50


@pytest.mark.parametrize("bad", [{"samples": 0}, {"target": 1.0}, {"steps": 0}, {"models": []}])
def test_what_cannot_be_calibrated_is_said_before_any_call(bad: dict[str, Any]) -> None:
    models: Sequence[str] = bad.pop("models", ["simulated:p=0.9"])
    with pytest.raises(errors.UsageError):
        mdap.calibrate(Sampled(), models, **bad)


def test_a_run_takes_k_from_its_calibration_and_from_the_file_of_one(tmp_path: Path) -> None:
    made = mdap.calibrate("hanoi:disks=7", "simulated:p=0.9", samples=1000)
    (tmp_path / "c.json").write_bytes(made.encode())
    k = made.models[0].k
    assert k > 3
    for given in (made, tmp_path / "c.json", str(tmp_path / "c.json")):
        result = mdap.run("hanoi:disks=7", "simulated:p=0.9", calibration=given, seed=4)
        assert (result.rule, result.status, result.wrong) == (f"ahead_by_k:{k}", "done", 0)


def test_a_k_of_ones_own_goes_before_that_of_the_calibration() -> None:
    made = mdap.calibrate("hanoi:disks=4", "simulated:p=0.9", samples=300)
    assert mdap.run("hanoi:disks=4", "simulated:p=0.9", calibration=made, k=2).rule == "ahead_by_k:2"


@pytest.mark.parametrize(
    ("task", "model", "options"),
    [
        ("hanoi:disks=4,parser=repair", "simulated:p=0.9", {}),
        ("hanoi:disks=5", "simulated:p=0.9", {}),
        ("hanoi:disks=4", "simulated:p=0.8", {}),
        ("hanoi:disks=4", "simulated:p=0.9", {"max_tokens": 600}),
        ("hanoi:disks=4", "simulated:p=0.9", {"flag_tokens": 600}),
    ],
)
def test_a_run_of_something_else_is_refused_with_the_difference(task: str, model: str, options: Any) -> None:
    made = mdap.calibrate("hanoi:disks=4", "simulated:p=0.9", samples=100)
    with pytest.raises(errors.FingerprintChanged, match="made with something else"):
        mdap.run(task, model, calibration=made, **options)


def test_a_run_is_refused_where_voting_cannot_help() -> None:
    made = mdap.calibrate("hanoi:disks=4", "simulated:p=0.4", samples=500)
    with pytest.raises(errors.VotingCannotHelp, match="voting cannot help for steps of kind 'disk 1'"):
        mdap.run("hanoi:disks=4", "simulated:p=0.4", calibration=made)


def test_a_file_that_is_not_there_or_no_calibration_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="cannot read the calibration"):
        mdap.run("hanoi:disks=4", "simulated:p=0.9", calibration=tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(errors.UsageError, match="not a calibration"):
        mdap.run("hanoi:disks=4", "simulated:p=0.9", calibration=tmp_path / "other.json")


class Fallen:
    """A model that is worse from a step on, under the name that it always had."""

    def __init__(self, before: Simulated, after: Simulated, at: int) -> None:
        self.spec = before.spec
        self._before, self._after, self._at = before, after, at

    def bind(self, task: Any) -> Fallen:
        return Fallen(self._before.bind(task), self._after.bind(task), self._at)

    async def complete(self, request: Request) -> Response:
        is_later = request.draw.item == 0 and request.draw.step >= self._at
        return await (self._after if is_later else self._before).complete(request)


@pytest.mark.slow
def test_a_run_that_drifts_away_says_so_while_it_runs_and_a_resume_goes_on_watching(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fallen = Fallen(simulated(p=0.97), simulated(p=0.8), 200)
    made = mdap.calibrate("hanoi:disks=10", fallen, samples=1500)
    heard: list[Event] = []
    journal = tmp_path / "runs.db"
    with caplog.at_level(logging.WARNING, "mdap"):
        stopped = mdap.run(
            "hanoi:disks=10", fallen, calibration=made, on_event=heard.append, journal=journal, max_steps=400
        )
    warned = [event for event in heard if isinstance(event, Warned)]
    assert stopped.status == "stopped"
    assert {event.name for event in warned} == {"drift: dissent"}
    assert all(200 <= event.step < 400 for event in warned)
    assert "more votes against the winner than the calibration allows" in caplog.text
    heard.clear()
    mdap.resume(stopped.run, journal=journal, model=fallen, calibration=made, on_event=heard.append, max_steps=600)
    assert any(isinstance(event, Warned) and event.step >= 400 for event in heard)


def test_a_run_like_its_calibration_is_not_warned_and_its_undecided_counts_lie_inside() -> None:
    made = mdap.calibrate("hanoi:disks=10", "simulated:p=0.97,wrong=several", samples=2000)
    heard: list[Event] = []
    result = mdap.run("hanoi:disks=10", "simulated:p=0.97,wrong=several", calibration=made, on_event=heard.append)
    assert not [event for event in heard if isinstance(event, Warned)]
    seen = undecided_after(sum(entry.votes) for _, entry, _ in result.decisions)
    for row in made.models[0].verdict.rounds:
        assert row.low <= (seen[row.votes - 1] if row.votes <= len(seen) else 0) <= row.high


def test_messages_are_those_that_a_run_would_send() -> None:
    task = Sampled()
    teller = Teller(simulated(p=0.9), task)
    mdap.calibrate(task, teller, samples=50)
    assert {request.messages for request in teller.asked} == {
        (Message("user", f"What comes after {request.state}?"),) for request in teller.asked
    }


def test_with_prices_models_are_ranked_by_what_a_decided_step_costs() -> None:
    prices = {"simulated:p=0.9": {"input": 0.1, "output": 0.1}, "simulated:p=0.99": {"input": 1.0, "output": 1.0}}
    told: list[Prospect] = []
    made = mdap.calibrate(Sampled(), list(prices), samples=500, prices=prices, on_prospect=told.extend)
    assert [model.model for model in made.models] == ["simulated:p=0.9", "simulated:p=0.99"]
    cheap = made.models[0]
    projection, amount = cheap.verdict.projection, cheap.usd
    assert projection is not None
    assert amount is not None
    assert amount.value == pytest.approx((projection.tokens_in.value + projection.tokens_out.value) * 0.1 / 1e6)
    assert amount.low < amount.value < amount.high
    assert cheap.usd_per_step == pytest.approx(amount.value / 500)
    assert told[0].usd_most == pytest.approx((told[0].tokens_in + told[0].tokens_out_most) * 0.1 / 1e6)


def test_without_a_price_for_all_of_them_calls_decide_the_rank() -> None:
    prices = {"simulated:p=0.9": {"input": 0.1, "output": 0.1}}
    made = mdap.calibrate(Sampled(), ["simulated:p=0.9", "simulated:p=0.99"], samples=500, prices=prices)
    assert [model.model for model in made.models] == ["simulated:p=0.99", "simulated:p=0.9"]
    assert made.models[0].usd is None


def test_a_calibration_whose_model_waits_for_nobody_lets_others_run_and_can_be_cancelled() -> None:
    async def main() -> None:
        drawing = asyncio.create_task(mdap.aio.calibrate("hanoi:disks=6", "simulated:p=0.9", samples=5_000))
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not drawing.done()
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing

    asyncio.run(main())
