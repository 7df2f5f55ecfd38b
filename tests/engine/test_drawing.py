"""Spare draws and a leading draw change when votes come; the first may change which are counted, the second may not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import mdap
from mdap.clock import LoopClock, run_virtual
from mdap.core.keyed import uniforms
from mdap.core.records import Decision, Request, Response, Step
from mdap.core.redflags import red_flags
from mdap.core.rules import rule
from mdap.core.settings import Settings
from mdap.engine.drawing import Drawing, draw_all, draw_hedged, draw_led
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.models.simulated import simulated

RULE = rule("ahead_by_k:3")
TASK = mdap.tasks.hanoi(disks=7)


class Walk:
    """The decisions of a whole task under one way of drawing, the calls it made, and the time it took."""

    def __init__(self, draw: Drawing, **options: Any) -> None:
        self.decisions: list[Decision] = []
        self.begun = self.ended = 0
        self.most_taken = 0
        self.draw = draw
        self.cap = options.pop("cap", 200)
        self.model = simulated(latency=1.0, sigma=0.6, **options).bind(TASK)
        self.seconds = run_virtual(self.run())

    async def complete(self, request: Request) -> Response:
        self.begun += 1
        try:
            return await self.model.complete(request)
        finally:
            self.ended += 1

    async def run(self) -> float:
        view, clock = TaskView(TASK), LoopClock()
        asking = Asking(view, self.complete, red_flags(), Settings(max_samples=self.cap), clock, draw=self.draw)
        state, began = view.start(), clock.now()
        for index in range(TASK.steps):
            step = Step(index, state)
            poll = Poll(step, RULE)
            self.decisions.append(await do_voting(asking, RULE, step, {index: poll}))
            self.most_taken = max(self.most_taken, poll.taken)
            state = self.decisions[-1].move.next_state
        return clock.now() - began


def test_a_leading_draw_decides_what_all_at_once_decide_one_call_later() -> None:
    plain, led = Walk(draw_all, p=0.9, seed=1), Walk(draw_led, p=0.9, seed=1)
    assert [(d.move, d.votes) for d in led.decisions] == [(d.move, d.votes) for d in plain.decisions]
    assert led.begun == plain.begun
    assert led.seconds > plain.seconds


async def led(**options: Any) -> mdap.Result:
    """Run with one draw ahead of the others."""
    model = simulated(p=0.998, latency=1.0, sigma=0.6, seed=1)
    return await mdap.aio.run("hanoi:disks=7", model, k=3, leader_first=True, **options)


def test_the_next_step_is_asked_ahead_from_the_vote_of_a_leading_draw_alone() -> None:
    plain, ahead = run_virtual(led(lookahead=0)), run_virtual(led(lookahead=8))
    assert list(ahead.export()) == list(plain.export())
    assert ahead.seconds < 0.55 * plain.seconds


def test_a_spare_draw_saves_waiting_for_the_slowest_and_is_given_up_when_not_needed() -> None:
    plain, hedged = Walk(draw_all, p=0.998, seed=2), Walk(draw_hedged(1), p=0.998, seed=2)
    assert hedged.seconds < 0.8 * plain.seconds
    assert hedged.begun == hedged.ended, "what was given up is cancelled, not forgotten"
    assert 3.9 < hedged.begun / TASK.steps < 4.1
    assert all(decision.move == TASK.answer(s) for decision, s in zip(hedged.decisions, states(hedged), strict=True))


def states(walk: Walk) -> list[Any]:
    """Return the states that were asked."""
    return [TASK.start(), *(decision.move.next_state for decision in walk.decisions[:-1])]


def test_spare_draws_never_overshoot_the_cap_of_samples() -> None:
    hedged = Walk(draw_hedged(3), p=0.95, flags=0.5, seed=3, cap=60)
    assert hedged.most_taken <= 60


def test_without_spare_draws_hedging_is_drawing_all() -> None:
    plain, hedged = Walk(draw_all, p=0.8, flags=0.1, seed=4), Walk(draw_hedged(0), p=0.8, flags=0.1, seed=4)
    assert [(d.move, d.votes) for d in hedged.decisions] == [(d.move, d.votes) for d in plain.decisions]
    assert hedged.begun == plain.begun


class SlowWhenWrong:
    """A simulated model of which wrong replies take half as long again, or none does."""

    spec = "slow-when-wrong"

    def __init__(self, more: float) -> None:
        self._task: Any = TASK
        self._inner = simulated(p=0.8, seed=6).bind(TASK)
        self._more = more

    async def complete(self, request: Request) -> Response:
        """Answer after a while."""
        reply = await self._inner.complete(request)
        is_wrong = reply.text != self._task.write(self._task.answer(request.state))
        seconds = 0.5 + uniforms(b"seconds %d" % request.seed, 1)[0]
        await asyncio.sleep(seconds * (1 + self._more * is_wrong))
        return reply


async def hedged_after_calibration(more: float, hedge: int) -> mdap.Result:
    """Calibrate, and run with what was found."""
    made = await mdap.aio.calibrate(TASK, SlowWhenWrong(more), samples=1000, target=0.9)
    model = SlowWhenWrong(more)
    return await mdap.aio.run(TASK, model, k=3, calibration=made, hedge=hedge, max_steps=5, lookahead=0)


def test_spare_draws_are_refused_where_calibration_found_that_wrong_votes_take_longer() -> None:
    with pytest.raises(mdap.errors.UsageError, match=r"wrong votes take longer.*probability 0\.[6-9]\d.*p-value"):
        run_virtual(hedged_after_calibration(0.5, 1))


def test_what_latency_tells_matters_to_spare_draws_alone() -> None:
    assert run_virtual(hedged_after_calibration(0.5, 0)).steps == 5
    assert run_virtual(hedged_after_calibration(0.0, 1)).steps == 5
