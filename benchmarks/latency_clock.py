"""The ways to draw votes in simulated time: latencies are slept on a clock that jumps, and cost nothing real."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure
from benchmarks.latency_table import Table
from mdap.clock import LoopClock, run_virtual
from mdap.core.ballot import Ballot
from mdap.core.keyed import uniforms
from mdap.core.records import Decision, Move, Prompt, Request, Response, Step
from mdap.core.redflags import red_flags
from mdap.core.rules import rule
from mdap.core.settings import Settings
from mdap.engine.drawing import Drawing, draw_all, draw_hedged
from mdap.engine.lookahead import Ahead, Lookahead
from mdap.engine.poll import Poll, Slot
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking, Reader
from mdap.engine.voting import do_voting
from mdap.models.simulated import simulated
from mdap.tasks.hanoi import hanoi

STEPS = 4_000
DRAFT_SECONDS = 0.05
SIGMAS = (0.3, 0.6, 1.0)
ACCURACIES = (0.5, 0.8, 0.9, 0.95, 0.99)
WINDOWS = (4, 16, 64)


@dataclass(frozen=True)
class Policy:
    """A way to draw votes: how a batch is drawn, how many steps ahead, and how good a draft and its window are."""

    name: str
    draw: Drawing = draw_all
    depth: int = 0
    accuracy: float = 0.0
    window: int = 64


@dataclass
class Waited:
    """What a walk took: simulated seconds, calls (given up ones included), drafts, wrong decisions, what was ahead."""

    steps: int
    seconds: float = 0.0
    calls: int = 0
    drafts: int = 0
    wrong: int = 0
    ahead: Ahead = field(default_factory=Ahead)

    @property
    def per_step(self) -> float:
        """Seconds a step."""
        return self.seconds / self.steps

    def row(self, name: str, base: Waited) -> list[str]:
        """Return the cells of a table, against the walk with awaited rounds."""
        n, ahead = self.steps, self.ahead
        return [
            name,
            f"{self.per_step:.3f}",
            f"{base.per_step / self.per_step:.2f}",
            f"{self.calls / n:.3f}",
            f"{1000 * ahead.rollbacks / n:.1f}",
            f"{1000 * ahead.reused / n:.1f}",
            f"{ahead.wasted / n:.3f}",
        ]


COLUMNS = ["policy", "s/step", "speed-up", "calls a step", "rollbacks per 1,000", "ballots re-used", "waste a step"]


async def draw_one(
    asking: Asking, poll: Poll, prompt: Prompt, reader: Reader, batch: list[Slot], allowance: int
) -> None:
    """Draw one call at a time."""
    await draw_all(asking, poll, prompt, reader, batch[:1], allowance)


async def draw_round(
    asking: Asking, poll: Poll, prompt: Prompt, reader: Reader, batch: list[Slot], allowance: int
) -> None:
    """Draw k at once and await them all, however few are needed; what comes after the decision counts for nothing."""
    spare = [Slot(len(poll.slots) + n) for n in range(poll.ballot.rule.k - len(batch))]
    poll.slots.extend(spare)
    await draw_all(asking, poll, prompt, reader, [*batch, *spare], allowance)
    ballot = Ballot(poll.ballot.rule)
    for key in poll.ballot.order:
        ballot.cast(key)
    for slot in poll.slots[poll.waiting :]:
        if not ballot.needed:
            slot.vote, slot.void = None, True
        elif slot.vote is not None:
            ballot.cast(slot.vote.key)


async def _walk(policy: Policy, p: float, sigma: float, k: int, steps: int, seed: int) -> Waited:
    task: Any = hanoi(disks=14, form="compact")
    view, clock, waited, chosen = TaskView(task), LoopClock(), Waited(steps), rule(f"ahead_by_k:{k}")
    model = simulated(p=p, latency=1.0, sigma=sigma, seed=seed).bind(task)

    async def complete(request: Request) -> Response:
        waited.calls += 1
        return await model.complete(request)

    async def draft(step: Step) -> Move | None:
        waited.drafts += 1
        await asyncio.sleep(DRAFT_SECONDS)
        is_right = uniforms(b"draft %d %d" % (seed, step.index), 1)[0] < policy.accuracy
        move: Move | None = task.answer(step.state) if is_right else task.mistakes(step.state)[0]
        return move

    asking = Asking(view, complete, red_flags(), Settings(), clock, draw=policy.draw)

    async def vote(step: Step, polls: dict[int, Poll]) -> Decision:
        return await do_voting(asking, chosen, step, polls)

    began, state = clock.now(), view.start()
    ahead = Lookahead(
        view,
        vote,
        lambda step: Poll(step, chosen),
        {},
        depth=min(policy.depth or 8, policy.window),
        window=policy.window,
        draft=draft if policy.accuracy else None,
    )
    async with ahead:
        for index in range(steps):
            step = Step(index, state)
            decided = await (ahead.decide(step) if policy.depth else vote(step, {}))
            waited.wrong += decided.move != task.answer(state)
            state = decided.move.next_state
        # Before the branches that are open now are given up: they belong to steps that are not counted.
        waited.seconds = clock.now() - began
        open_calls = sum(len(branch.poll.samples()) + branch.unfinished for branch in ahead.open())
    waited.ahead = ahead.ahead
    waited.calls -= open_calls
    waited.ahead.wasted -= open_calls
    return waited


def walk(policy: Policy, *, p: float, sigma: float, k: int = 3, steps: int = STEPS, seed: int = 1) -> Waited:
    """Return what `steps` steps took with calls of median 1 s, lognormal with `sigma`, right with probability `p`."""
    return run_virtual(_walk(policy, p, sigma, k, steps, seed))


ROUNDS = Policy("(i) rounds of k, all awaited", draw_round)
PLAIN = [
    Policy("(0) one call at a time", draw_one),
    ROUNDS,
    Policy("(ii) exactly what is needed", draw_all),
    Policy("(iii) hedge 1", draw_hedged(1)),
    Policy("(iii) hedge 2", draw_hedged(2)),
    *[Policy(f"(iv) lookahead {depth}", depth=depth) for depth in (1, 4, 8, 32)],
    Policy("(iv) lookahead 8, hedge 1", draw_hedged(1), depth=8),
]


def _drafting(accuracy: float, window: int) -> Policy:
    return Policy(f"(v) draft {accuracy:g}, window {window}", depth=8, accuracy=accuracy, window=window)


def measure() -> tuple[list[Table], list[Figure]]:
    """Return the tables of all policies, and the figures with a bar."""
    tables, figures = [], []
    settings = [(0.998, sigma, 3) for sigma in SIGMAS] + [(0.97, 0.6, 3), (0.97, 1.0, 3), (0.9, 0.6, 8)]
    for p, sigma, k in settings:
        walks = {policy.name: walk(policy, p=p, sigma=sigma, k=k) for policy in PLAIN}
        tables.append(_table(f"p={p:g}, k={k}, sigma {sigma:g}", walks, walks[ROUNDS.name]))
        if (p, sigma) == (0.998, 0.6):
            figures += _bars(walks["(iv) lookahead 8"], walks[ROUNDS.name], "lookahead 8, sigma .6, k=3, p=.998", 2.7)
            exact = walks["(ii) exactly what is needed"].calls
            share = walks["(iv) lookahead 8"].calls / exact
            figures.append(Figure("its calls against exactly those needed", share, "times", most=1.01))
    for p in (0.998, 0.97):
        base = walk(ROUNDS, p=p, sigma=0.6)
        policies = [_drafting(accuracy, window) for accuracy in ACCURACIES for window in WINDOWS]
        walks = {policy.name: walk(policy, p=p, sigma=0.6) for policy in policies}
        tables.append(_table(f"drafts of {DRAFT_SECONDS} s, p={p:g}, k=3, sigma 0.6", walks, base))
        if p == 0.998:
            best = walks[_drafting(0.99, 64).name]
            figures += _bars(best, base, "draft of 99%, window 64, sigma .6, k=3, p=.998", 20.0)
            figures.append(Figure("its calls a step, drafts not counted", best.calls / best.steps, "", most=3.6))
    return tables, figures


def _bars(waited: Waited, base: Waited, name: str, least: float) -> list[Figure]:
    faster = base.per_step / waited.per_step
    return [Figure(f"{name}: times faster than awaited rounds", faster, "times", least=least)]


def _table(setup: str, walks: dict[str, Waited], base: Waited) -> Table:
    title = f"{setup}: {base.steps:,} steps, calls of median 1 s"
    table = Table(title, COLUMNS, [waited.row(name, base) for name, waited in walks.items()])
    wrong = {name: waited.wrong for name, waited in walks.items()}
    null = [name for name, waited in walks.items() if 0.97 < base.per_step / waited.per_step < 1.03 and waited != base]
    notes = [f"No help here, within 3% of (i): {', '.join(null)}."] if null else []
    if any(wrong.values()):
        notes.append(f"Wrong decisions: {', '.join(f'{name} {n}' for name, n in wrong.items() if n)}.")
    table.note = " ".join(notes)
    return table
