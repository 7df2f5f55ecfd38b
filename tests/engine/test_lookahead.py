"""Asking ahead changes when things are asked, and nothing that is decided."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

import mdap
from mdap.clock import LoopClock, run_virtual
from mdap.core.errors import Undecided
from mdap.core.records import Decision, Move, Step
from mdap.core.redflags import red_flags
from mdap.core.rules import rule
from mdap.core.settings import Settings
from mdap.engine.lookahead import Lookahead
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.journal import open_journal
from mdap.models.simulated import simulated

RULE = rule("ahead_by_k:3")


class Walked:
    """What a walk decided, how long it took, how many calls it made and what was ahead."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.seconds = 0.0
        self.calls = 0
        self.ahead: Any = None


async def walk(
    *,
    depth: int,
    p: float = 0.9,
    sigma: float = 0.6,
    seed: int = 0,
    flags: float = 0.0,
    disks: int = 5,
    draft: Any = None,
) -> Walked:
    """Walk a task with simulated latency, `depth` steps ahead; 0: without lookahead."""
    task = mdap.tasks.hanoi(disks=disks)
    view, clock, walked = TaskView(task), LoopClock(), Walked()
    model = simulated(p=p, flags=flags, latency=1.0, sigma=sigma, seed=seed).bind(task)

    async def complete(request: Any) -> Any:
        walked.calls += 1
        return await model.complete(request)

    asking = Asking(view, complete, red_flags(), Settings(seed=seed), clock)
    polls: dict[int, Poll] = {}

    async def vote(step: Step, ballots: dict[int, Poll]) -> Decision:
        return await do_voting(asking, RULE, step, ballots)

    began = clock.now()
    state, index = view.start(), 0
    ahead = Lookahead(view, vote, lambda step: Poll(step, RULE), polls, depth=depth, draft=draft)
    async with ahead:
        while not view.is_done(state) and index < task.steps:
            step = Step(index, state, view.kind(state))
            decision = await (ahead.decide(step) if depth else vote(step, polls))
            walked.decisions.append(decision)
            state, index = decision.move.next_state, index + 1
    walked.seconds, walked.ahead = clock.now() - began, ahead.ahead
    assert len(asyncio.all_tasks()) == 1, "no branch outlives the run"
    return walked


def shown(walked: Walked) -> list[tuple[Move, tuple[int, ...]]]:
    """Return what an export shows of the decisions."""
    return [(decision.move, decision.votes) for decision in walked.decisions]


def both(**options: Any) -> tuple[Walked, Walked]:
    """Walk without and with lookahead."""
    return run_virtual(walk(depth=0, **options)), run_virtual(walk(depth=8, **options))


@pytest.mark.parametrize("schedules", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_decisions_are_those_of_a_run_without_lookahead_whatever_the_latency_and_the_flags(schedules: int) -> None:
    rollbacks = reused = wasted = 0
    for seed in range(schedules):
        plain, ahead = both(p=(0.6, 0.75, 0.9)[seed % 3], sigma=(0.3, 1.0)[seed % 2], flags=0.1, seed=seed)
        assert shown(ahead) == shown(plain)
        rollbacks += ahead.ahead.rollbacks
        reused += ahead.ahead.reused
        wasted += ahead.ahead.wasted
    assert rollbacks > 0
    assert reused > 0
    assert wasted > 0


def test_the_calls_beyond_those_of_the_plain_run_are_exactly_the_waste() -> None:
    for seed in range(10):
        plain, ahead = both(p=0.7, seed=seed)
        assert ahead.calls == plain.calls + ahead.ahead.wasted


def test_asking_ahead_saves_time_at_almost_no_calls() -> None:
    plain, ahead = both(p=0.998, disks=9, seed=3)
    assert plain.seconds / ahead.seconds > 2.5
    assert ahead.calls <= 1.02 * plain.calls


def test_a_draft_lets_many_steps_be_asked_at_once() -> None:
    task = mdap.tasks.hanoi(disks=9)
    plain = run_virtual(walk(depth=0, p=0.998, disks=9, seed=3))
    drafted = run_virtual(walk(depth=8, p=0.998, disks=9, seed=3, draft=lambda step: task.answer(step.state)))
    assert shown(drafted) == shown(plain)
    assert plain.seconds / drafted.seconds > 15


def test_a_wrong_draft_costs_its_branch_and_never_the_result() -> None:
    task = mdap.tasks.hanoi(disks=7)
    plain = run_virtual(walk(depth=0, p=0.95, disks=7, seed=5))
    drafted = run_virtual(walk(depth=8, p=0.95, disks=7, seed=5, draft=lambda step: task.mistakes(step.state)[0]))
    assert shown(drafted) == shown(plain)
    assert drafted.ahead.wasted > 0


def test_a_draft_may_take_its_time_and_may_fail() -> None:
    task = mdap.tasks.hanoi(disks=8)

    async def slow_draft(step: Step) -> Move | None:
        await asyncio.sleep(0.05)
        if step.index % 50 == 7:
            raise mdap.errors.ModelError("no draft today")
        return task.answer(step.state)

    plain = run_virtual(walk(depth=0, p=0.998, disks=8, seed=3))
    drafted = run_virtual(walk(depth=8, p=0.998, disks=8, seed=3, draft=slow_draft))
    assert shown(drafted) == shown(plain)
    assert plain.seconds / drafted.seconds > 5


def test_a_losing_branch_may_fail_without_harm_and_the_real_one_fails_by_name() -> None:
    plain, ahead = both(p=0.55, disks=6, seed=11, flags=0.3)
    assert shown(ahead) == shown(plain)

    async def hopeless() -> None:
        await walk(depth=8, p=0.9, flags=0.97, disks=4)

    with pytest.raises(Undecided):
        run_virtual(hopeless())


def test_a_fast_model_is_never_asked_ahead() -> None:
    async def fast() -> Walked:
        task = mdap.tasks.hanoi(disks=6)
        view, walked = TaskView(task), Walked()
        asking = Asking(view, simulated(p=0.9).bind(task).complete, red_flags(), Settings(), LoopClock())

        async def vote(step: Step, ballots: dict[int, Poll]) -> Decision:
            return await do_voting(asking, RULE, step, ballots)

        state = view.start()
        async with Lookahead(view, vote, lambda step: Poll(step, RULE), {}, depth=8) as ahead:
            for index in range(task.steps):
                decision = await ahead.decide(Step(index, state))
                assert len(asyncio.all_tasks()) == 1
                state = decision.move.next_state
        walked.ahead = ahead.ahead
        return walked

    assert asyncio.run(fast()).ahead.wasted == 0


async def whole_run(depth: int, **options: Any) -> mdap.Result:
    """Run a task through the library, with simulated latency."""
    model = simulated(p=0.8, flags=0.1, latency=1.0, sigma=0.8, seed=9)
    return await mdap.aio.run("hanoi:disks=6", model, k=3, lookahead=depth, **options)


def test_a_run_of_the_library_exports_the_same_and_counts_its_waste_apart() -> None:
    plain, ahead = run_virtual(whole_run(0)), run_virtual(whole_run(8))
    assert list(ahead.export()) == list(plain.export())
    assert (ahead.samples, ahead.votes, ahead.flagged) == (plain.samples, plain.votes, plain.flagged)
    assert ahead.seconds < 0.6 * plain.seconds
    totals = ahead.book.totals
    assert min(totals.wasted, totals.rollbacks) > 0
    assert plain.book.totals.wasted == 0
    assert ahead.to_dict()["wasted"] == totals.wasted


@pytest.mark.parametrize("calls", [60, 150, 200])
def test_a_run_stopped_by_its_budget_while_it_looked_ahead_ends_as_the_plain_one_does(calls: int) -> None:
    plain = run_virtual(whole_run(0))

    async def in_two() -> mdap.Result:
        journal = open_journal(None)
        first = await whole_run(8, journal=journal, budget_calls=calls)
        assert first.status == "budget"
        assert first.book.spend.calls <= calls
        model = simulated(p=0.8, flags=0.1, latency=1.0, sigma=0.8, seed=9)
        return await mdap.aio.resume(first.run, journal=journal, model=model, budget_calls=10_000)

    whole = run_virtual(in_two())
    assert whole.status == plain.status
    assert list(whole.export()) == list(plain.export())
    assert whole.samples == plain.samples


def test_a_run_interrupted_while_it_looked_ahead_goes_on_as_if_it_never_was() -> None:
    plain = run_virtual(whole_run(0))

    async def in_two() -> mdap.Result:
        journal = open_journal(None)
        work = asyncio.create_task(whole_run(8, journal=journal))
        await asyncio.sleep(31.4)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        assert len(asyncio.all_tasks()) == 1
        model = simulated(p=0.8, flags=0.1, latency=1.0, sigma=0.8, seed=9)
        return await mdap.aio.resume(journal.heads()[0].id, journal=journal, model=model)

    whole = run_virtual(in_two())
    assert list(whole.export()) == list(plain.export())


def test_a_cheaper_model_drafts_for_a_run() -> None:
    plain = run_virtual(whole_run(0))
    drafted = run_virtual(whole_run(8, draft="simulated:p=0.97,latency=0.05,seed=2"))
    assert list(drafted.export()) == list(plain.export())
    assert drafted.seconds < 0.3 * plain.seconds
