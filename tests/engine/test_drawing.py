"""Spare draws and a leading draw change when votes come; the first may change which are counted, the second may not."""

from __future__ import annotations

from typing import Any

import mdap
from mdap.clock import LoopClock, run_virtual
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
