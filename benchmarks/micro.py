"""How many replies a second the embedded model writes through its `complete`, 20 disks, one thread, by batch."""

from __future__ import annotations

import asyncio
import statistics
import time
from importlib.util import find_spec
from random import Random
from typing import Literal

from benchmarks.figures import Figure
from mdap.core.records import Draw, Request
from mdap.engine.taskview import TaskView
from mdap.models.micro import Micro, micro
from mdap.tasks.hanoi import hanoi

ROUNDS = 60
# (calls at once, votes on each state, least): with a state for every call nothing is shared.
BATCHES = ((64, 1, 2_000.0), (3, 1, 800.0), (3, 3, None), (1, 1, None))


def measure() -> list[Figure]:
    """Return the median rates; a bar is onnxruntime's."""
    backends: list[Literal["onnx", "numpy"]] = ["onnx", "numpy"] if find_spec("onnxruntime") else ["numpy"]
    figures = []
    for backend in backends:
        for calls, votes, least in BATCHES:
            rate = asyncio.run(rates(micro(backend=backend), calls, votes))
            shared = f", {votes} votes on a state" if votes > 1 else ""
            name = f"micro, {backend}, {calls} at once{shared}"
            figures.append(Figure(name, rate, "replies/s", least=least if backend == "onnx" else None))
    return figures


async def rates(model: Micro, calls: int, votes: int) -> float:
    """Return the median of the replies a second in `ROUNDS` rounds of `calls` at once."""
    view, rng = TaskView(hanoi(20, form="compact")), Random(1)
    found = []
    for number in range(ROUNDS):
        states = [view.task.sample(rng) for _ in range(calls // votes)]  # type: ignore[attr-defined]
        requests = [
            Request(view.prompt(state), Draw(number, vote), rng.randrange(2**31), 1.0, 750)
            for state in states
            for vote in range(votes)
        ]
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for request in requests:
                group.create_task(model.complete(request))
        found.append(calls / (time.perf_counter() - began))
    return statistics.median(found)
