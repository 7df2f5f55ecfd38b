"""One long chain: what the engine adds to a step, and the whole 20-disk run."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from asyncio import TaskGroup
from hashlib import blake2b
from pathlib import Path
from typing import Any

import mdap
from benchmarks.figures import Figure, run_process
from mdap.core.canonical import canonical
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Prompt, Request
from mdap.models.catalog import as_model
from mdap.tasks.catalog import task as task_named

TASK = "hanoi:disks=20"
MODEL = "simulated:p=0.998"
STEPS = 20_000
ROUNDS = 5


async def bare_loop(steps: int) -> float:
    """Return the microseconds a step of a loop that does the same work with no record, flag, cap, budget or journal."""
    task: Any = task_named(TASK)
    model: Any = as_model(MODEL)
    model = model.bind(task)
    state = task.start()

    async def sample(prompt: Prompt, step: int, slot: int) -> tuple[bytes, object]:
        seed = draw_seed(0, 0, step, slot, 0)
        reply = await model.complete(Request(prompt, Draw(step, slot), seed, 0.1, 750, state))
        move = task.parse(reply.text, state)
        return canonical((move.action, move.next_state)), move.next_state

    began = time.perf_counter()
    for step in range(steps):
        messages = task.prompt(state)
        prompt = Prompt(messages, blake2b(messages[1].content.encode()).hexdigest())
        counts: dict[bytes, int] = {}
        after: dict[bytes, object] = {}
        while 3 - _lead(counts):
            slot = sum(counts.values())
            async with TaskGroup() as group:
                draws = [group.create_task(sample(prompt, step, slot + i)) for i in range(3 - _lead(counts))]
            for draw in draws:
                key, next_state = draw.result()
                counts[key] = counts.get(key, 0) + 1
                after[key] = next_state
        state = after[max(counts, key=counts.__getitem__)]
    return 1e6 * (time.perf_counter() - began) / steps


def _lead(counts: dict[bytes, int]) -> int:
    ordered = [*sorted(counts.values(), reverse=True), 0, 0]
    return ordered[0] - ordered[1]


async def engine(steps: int, folder: str) -> float:
    """Return the microseconds a step of a run with its SQLite journal."""
    journal = Path(folder) / f"{time.monotonic_ns()}.db"
    result = await mdap.aio.run(TASK, MODEL, k=3, journal=journal, max_steps=steps)
    assert result.steps == steps
    return result.us_per_step


def overhead() -> list[Figure]:
    """Return the time a step of the engine and of a bare loop, in turn, and their ratio pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(engine(2_000, folder))
        pairs = [(asyncio.run(engine(STEPS, folder)), asyncio.run(bare_loop(STEPS))) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    return [
        Figure("a step at 3 votes, 20 disks, SQLite journal", statistics.median(a for a, _ in pairs), "us", most=110),
        Figure("the same work in a bare asyncio loop", statistics.median(b for _, b in pairs), "us"),
        Figure("engine against bare loop, median of the pairs", ratio, "times"),
    ]


def full_run() -> list[Figure]:
    """Return the figures of all 1,048,575 steps of 20 disks on the simulated model of the paper's own run."""
    mdap_command = str(Path(sys.executable).parent / "mdap")
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "runs.db"
        ran = run_process(
            [
                mdap_command,
                "run",
                TASK,
                "--model",
                "simulated:paper,seed=1",
                "--k",
                "3",
                "--json",
                "--journal",
                str(journal),
            ]
        )
        result = json.loads(ran.output)
        size = journal.stat().st_size
        # A first one, of a run of few steps: what a process imports for it is not what is measured.
        few = Path(folder) / "few.db"
        short = mdap.run("hanoi:disks=3", MODEL, k=1, journal=few)
        mdap.resume(short.run, journal=few, model=MODEL)
        began = time.perf_counter()
        taken_up = mdap.resume(result["run"], journal=journal, model="simulated:paper,seed=1")
        resumed = 1000 * (time.perf_counter() - began)
    assert taken_up.status == "done"
    assert (result["status"], result["steps"]) == ("done", 1_048_575)
    return [
        Figure("20 disks, 1,048,575 steps: wrong decisions", result["wrong"], "", most=0),
        Figure("20 disks: whole command, the recount of wrong included", ran.wall, "s", most=180),
        Figure("20 disks: a step, to its commit", result["us_per_step"], "us", most=110),
        Figure("20 disks: peak memory", ran.peak_mb, "MB", most=150),
        Figure("20 disks: votes a step", result["votes_per_step"], ""),
        Figure("20 disks: flagged samples", sum(result["flagged"].values()), ""),
        Figure("20 disks: journal, contested steps recorded", size / result["steps"], "bytes a step", most=64),
        Figure("20 disks: opening and resuming at the end", resumed, "ms", most=50),
    ]
