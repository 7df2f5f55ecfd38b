"""Asking ahead changes when things are asked, and nothing that is decided."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import pytest

import mdap
from mdap.clock import LoopClock, run_virtual
from mdap.core.errors import Undecided
from mdap.core.keyed import uniforms
from mdap.core.records import Decision, Move, Step
from mdap.core.redflags import red_flags
from mdap.core.rules import rule
from mdap.core.settings import Settings
from mdap.engine.lookahead import WORTH_SECONDS, Lookahead
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
        model = simulated(p=0.9, latency=0.9 * WORTH_SECONDS).bind(task)
        asking = Asking(view, model.complete, red_flags(), Settings(), LoopClock())

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

    # In virtual time: on a busy machine the real one may take any model for a slow one.
    assert run_virtual(fast()).ahead.wasted == 0


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
    assert whole.samples == plain.samples


def test_a_cheaper_model_drafts_for_a_run() -> None:
    plain = run_virtual(whole_run(0))
    drafted = run_virtual(whole_run(8, draft="simulated:p=0.97,latency=0.05,seed=2"))
    assert list(drafted.export()) == list(plain.export())
    assert drafted.seconds < 0.3 * plain.seconds


class Guessing:
    """A task whose draft is right about as often as it is told to be; all else is the task's own."""

    def __init__(self, task: Any, accuracy: float, seed: int) -> None:
        self._task, self._accuracy, self._seed = task, accuracy, seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def draft(self, state: Any) -> Move | None:
        """Return the right move, a wrong one, or none."""
        luck = uniforms(b"draft %d %b" % (self._seed, repr(state).encode()), 1)[0]
        if luck < self._accuracy:
            move: Move | None = self._task.answer(state)
            return move
        return None if luck > 0.98 else self._task.mistakes(state)[0]


class Shaky:
    """A simulated model of which some calls fail and have to be made again; which, is settled by seed and attempt."""

    is_seeded = True

    def __init__(self, inner: Any, faults: float) -> None:
        self.spec, self._inner, self._faults = inner.spec, inner, faults
        self._attempts = Counter[int]()

    def bind(self, task: Any) -> Shaky:
        """Return this model with its task."""
        self._inner = self._inner.bind(task)
        return self

    async def complete(self, request: Any) -> Any:
        """Answer, or fail."""
        self._attempts[request.seed] += 1
        response = await self._inner.complete(request)
        if uniforms(b"fault %d %d" % (request.seed, self._attempts[request.seed]), 1)[0] < self._faults:
            raise mdap.errors.ModelError("overloaded", status=500)
        return response


def schedule(seed: int) -> dict[str, Any]:
    """Return the circumstances of a run, by chance."""
    rng = random.Random(seed)
    return {
        "seed": seed,
        "disks": rng.choice((4, 5)),
        "k": rng.choice((2, 3)),
        "p": rng.choice((0.6, 0.75, 0.9, 0.98)),
        "flags": rng.choice((0.0, 0.1, 0.3)),
        "faults": rng.choice((0.0, 0.0, 0.05, 0.2)),
        "sigma": rng.choice((0.3, 0.6, 1.0)),
        "in_flight": rng.randint(1, 8) if rng.random() < 0.5 else 64,
        "depth": rng.choice((1, 2, 8, 32)),
        "draft": rng.choice((None, None, "task", "task", "simulated:p=0.8,latency=0.1,seed=3")),
        "accuracy": rng.choice((0.3, 0.8, 0.95)),
        "leader_first": rng.random() < 0.2,
    }


async def scheduled(way: dict[str, Any], *, is_ahead: bool) -> mdap.Result:
    """Run in these circumstances, looking ahead or not."""
    seed = way["seed"]
    model = simulated(p=way["p"], flags=way["flags"], latency=1.0, sigma=way["sigma"], seed=seed)
    task = Guessing(mdap.tasks.hanoi(disks=way["disks"]), way["accuracy"], seed)
    ahead = {"lookahead": way["depth"], "draft": way["draft"]} if is_ahead else {"lookahead": 0}
    return await mdap.aio.run(
        task,
        Shaky(model, way["faults"]),
        k=way["k"],
        seed=seed,
        in_flight=way["in_flight"],
        leader_first=way["leader_first"],
        retries=50,
        redraws=50,
        **ahead,
    )


@pytest.mark.parametrize("schedules", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_runs_export_the_same_byte_for_byte_under_random_schedules(schedules: int) -> None:
    done = Counter[str]()
    for seed in range(schedules):
        way = schedule(seed)
        plain = run_virtual(scheduled(way, is_ahead=False))
        ahead = run_virtual(scheduled(way, is_ahead=True))
        # Stopped: a wrong decision led away, and the task's own number of steps did not suffice.
        assert plain.status == ahead.status, way
        assert plain.status in ("done", "stopped"), way
        rows = [[msgspec.json.encode(row) for row in result.export()] for result in (plain, ahead)]
        assert rows[0] == rows[1], way
        assert (ahead.samples, ahead.votes, ahead.flagged) == (plain.samples, plain.votes, plain.flagged), way
        totals = ahead.book.totals
        done += Counter(rollbacks=totals.rollbacks, reused=totals.reused, wasted=totals.wasted)
        done += Counter(retries=sum(ahead.retries.values()), faster=ahead.seconds < plain.seconds)
    assert min(done[what] for what in ("rollbacks", "reused", "wasted", "retries")) > 0
    assert done["faster"] > 0.8 * schedules


def test_the_calls_of_the_real_step_do_not_wait_behind_those_ahead() -> None:
    async def crowded(depth: int) -> mdap.Result:
        model = simulated(p=0.7, latency=1.0, sigma=0.6, seed=4)
        return await mdap.aio.run("hanoi:disks=6", model, k=3, lookahead=depth, draft="task", in_flight=12)

    plain, ahead = run_virtual(crowded(0)), run_virtual(crowded(32))
    assert list(ahead.export()) == list(plain.export())
    assert ahead.seconds < 0.5 * plain.seconds
    assert ahead.book.totals.wasted < ahead.samples


def test_no_more_is_asked_ahead_than_a_rate_lets_through() -> None:
    async def rated(**options: Any) -> mdap.Result:
        model = simulated(p=0.9, latency=1.0, sigma=0.6, seed=4)
        return await mdap.aio.run("hanoi:disks=7", model, k=3, requests_per_minute=120, **options)

    plain, ahead = run_virtual(rated(lookahead=0)), run_virtual(rated(draft="task"))
    assert list(ahead.export()) == list(plain.export())
    assert ahead.seconds < 1.05 * plain.seconds
    assert ahead.book.totals.wasted < 0.1 * ahead.samples


def test_a_draft_opens_lookahead_where_latency_would_not() -> None:
    model = f"simulated:p=0.9,latency={0.9 * WORTH_SECONDS}"
    plain = run_virtual(mdap.aio.run("hanoi:disks=7", model, k=3))
    drafted = run_virtual(mdap.aio.run("hanoi:disks=7", model, k=3, draft="task"))
    assert list(drafted.export()) == list(plain.export())
    assert drafted.book.totals.wasted > 0
    assert plain.book.totals.wasted == 0


def test_one_vote_against_a_draft_that_is_better_than_votes_leaves_the_chain_as_it_is() -> None:
    task = mdap.tasks.hanoi(disks=9)
    plain = run_virtual(walk(depth=0, p=0.96, disks=9, seed=3))
    drafted = run_virtual(walk(depth=8, p=0.96, disks=9, seed=3, draft=lambda step: task.answer(step.state)))
    assert shown(drafted) == shown(plain)
    assert drafted.ahead.wasted < 0.1 * plain.calls
