"""Many runs on one journal, each step committed and synced before the run goes further than the bound allows."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from mdap.core.history import Decided, RunHead, Snapshot
from mdap.engine.durable import MOST_WAITING
from mdap.journal import open_journal
from mdap.protocols import Journal

RUNS = 64
STEPS = 3_000
ROUNDS = 5


async def drive(journal: Journal, run: str, steps: int) -> None:
    """Append decisions as a run does, with at most as many waiting for their commit as a run may have."""
    tickets = []
    for step in range(steps):
        tickets.append(journal.append(run, Decided(step, [step % 20 + 1, 0, 2], (3,))))
        if step >= MOST_WAITING:
            await journal.wait_durable(tickets[step - MOST_WAITING])
        elif step % 8 == 0:
            await asyncio.sleep(0)
    await journal.wait_durable(tickets[-1])


async def rate(path: Path) -> float:
    """Return durable steps a second of all runs together."""
    journal = open_journal(path)
    for n in range(RUNS):
        journal.create(RunHead(f"run-{n}", "", "", "", "", {}, {}))
        journal.append(f"run-{n}", Snapshot(0, None))
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(RUNS):
            group.create_task(drive(journal, f"run-{n}", STEPS))
    took = time.perf_counter() - began
    journal.close()
    return RUNS * STEPS / took


def many_runs() -> list[Figure]:
    """Return the median rate over some rounds, each on a new file."""
    with tempfile.TemporaryDirectory() as folder:
        rates = [asyncio.run(rate(Path(folder) / f"{n}.db")) for n in range(ROUNDS)]
    return [Figure("durable steps a second, 64 runs, synchronous=FULL", statistics.median(rates), "1/s", least=20_000)]
