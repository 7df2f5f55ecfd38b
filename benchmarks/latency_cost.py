"""What asking ahead itself costs: CPU a step with calls that give up their turn and return, where nothing is gained."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import mdap
from benchmarks.chain import bare_loop
from benchmarks.figures import Figure
from benchmarks.latency_table import Table
from mdap.clock import LoopClock
from mdap.core.records import Decision, Request, Response, Step
from mdap.core.redflags import red_flags
from mdap.core.rules import rule
from mdap.core.settings import Settings
from mdap.engine.drafting import task_draft
from mdap.engine.lookahead import WORTH_SECONDS, Lookahead
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.models.simulated import simulated
from mdap.tasks.hanoi import hanoi

STEPS = 3_000
ROUNDS = 9
ALWAYS = -1.0  # seconds that every call takes more than
WAYS = ("without", "closed", "open", "draft")


async def _walk(way: str, steps: int) -> float:
    task: Any = hanoi(disks=20)
    view, chosen = TaskView(task), rule("ahead_by_k:3")
    model = simulated(p=0.998).bind(task)

    async def complete(request: Request) -> Response:
        await asyncio.sleep(0)
        return await model.complete(request)

    asking = Asking(view, complete, red_flags(), Settings(), LoopClock())

    async def vote(step: Step, polls: dict[int, Poll]) -> Decision:
        return await do_voting(asking, chosen, step, polls)

    ahead = Lookahead(
        view,
        vote,
        lambda step: Poll(step, chosen),
        {},
        depth=8,
        draft=task_draft(view) if way == "draft" else None,
        room=lambda _: 64.0,
        worth=ALWAYS if way == "open" else WORTH_SECONDS,
    )
    began, state = time.process_time(), view.start()
    async with ahead:
        for index in range(steps):
            step = Step(index, state)
            decided = await (vote(step, {}) if way == "without" else ahead.decide(step))
            state = decided.move.next_state
    return 1e6 * (time.process_time() - began) / steps


async def _bare() -> float:
    began = time.process_time()
    await bare_loop(STEPS)
    return 1e6 * (time.process_time() - began) / STEPS


async def _run(depth: int) -> float:
    began = time.process_time()
    await mdap.aio.run("hanoi:disks=20", "simulated:p=0.998", k=3, max_steps=STEPS, lookahead=depth)
    return 1e6 * (time.process_time() - began) / STEPS


def measure() -> tuple[list[Table], list[Figure]]:
    """Return the CPU time a step of each way, in turn, and what it adds to the first."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    runs: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS):
        for way in WAYS:
            found[way].append(asyncio.run(_walk(way, STEPS)))
        runs.append((asyncio.run(_run(8)), asyncio.run(_run(0)), asyncio.run(_bare())))
    least = {way: min(taken) for way, taken in found.items()}
    rows = [[way, f"{taken:.1f}", f"{taken - least['without']:+.1f}"] for way, taken in least.items()]
    title = f"CPU a step, calls that suspend once, 3 votes, least of {ROUNDS} x {STEPS:,} steps"
    added = least["open"] - least["without"]
    drafted = least["draft"] - least["without"]
    closed, without, bare = (min(taken) for taken in zip(*runs, strict=True))
    return [Table(title, ["lookahead", "us", "more than without"], rows)], [
        Figure("lookahead 8, open: CPU a step more", added, "us", most=60),
        Figure("lookahead with a draft, window 64: CPU a step more", drafted, "us", most=60),
        Figure("a run with lookahead closed against a bare loop", closed / bare, "times"),
        Figure("the same run with lookahead=0", without / bare, "times"),
    ]
