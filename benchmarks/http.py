"""Calls a second over real HTTP: the whole engine against a bare client, beside a server on a core of its own."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import msgspec
import openai as openai_package

import mdap
from benchmarks.figures import Figure
from mdap.journal import open_journal
from mdap.models.openai import openai
from mdap.tasks.catalog import task as task_named

TASK = "hanoi:disks=20"
RUNS = 86
K = 3
# Many enough that the making of 86 runs, each of them synced, does not count.
STEPS = 150
IN_FLIGHT = RUNS * K
ROUNDS = 3
# Fewer than the engine makes; a rate does not depend on how many.
BARE_CALLS, SDK_CALLS = 15_000, 1_500
SERVER = Path(__file__).parent / "loopback_server.py"


@contextmanager
def server() -> Iterator[str]:
    """Give the base URL of a server on a core of its own, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, str(SERVER), "--task", TASK]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(child.pid, {cores[0]})
    os.sched_setaffinity(0, {cores[-1]})
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        os.sched_setaffinity(0, set(cores))
        child.terminate()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


async def bare(url: str, calls: int) -> float:
    """Return the calls a second of aiohttp with the same bodies, replies decoded, text and usage looked at."""
    task = task_named(TASK)
    messages = msgspec.to_builtins(task.prompt(task.start()))
    body = msgspec.json.encode({"model": "any", "messages": messages, "temperature": 0.1, "max_tokens": 750, "seed": 1})
    left = iter(range(calls))
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def worker() -> None:
            for _ in left:
                async with session.post(f"{url}/chat/completions", data=body) as response:
                    reply = msgspec.json.decode(await response.read())
                assert reply["choices"][0]["message"]["content"]
                assert reply["usage"]["prompt_tokens"]

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(worker())
        return calls / (time.perf_counter() - began)


async def sdk(url: str, calls: int) -> float:
    """Return the calls a second of the openai package with the same messages, as many at once, replies looked at.

    One client, its pool as wide as there are calls at once, and no retries: what it would have to do in any case.
    """
    task = task_named(TASK)
    messages = msgspec.to_builtins(task.prompt(task.start()))
    left = iter(range(calls))
    pool = openai_package.DefaultAsyncHttpx2Client(
        limits=httpx2.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    )
    async with openai_package.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=pool) as client:

        async def worker() -> None:
            for _ in left:
                reply = await client.chat.completions.create(
                    model="any", messages=messages, temperature=0.1, max_tokens=750, seed=1
                )
                assert reply.choices[0].message.content
                assert reply.usage is not None

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(worker())
        return calls / (time.perf_counter() - began)


async def engine(url: str, steps: int, path: Path) -> tuple[float, int]:
    """Return the calls a second of many runs on one journal, and the calls."""
    model = openai("any", base_url=url)
    journal = open_journal(path)
    began = time.perf_counter()
    # Without lookahead there are never more calls at once than the other clients have.
    options: dict[str, Any] = {"k": K, "journal": journal, "max_steps": steps, "lookahead": 0}
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(mdap.aio.run(f"{TASK},start={1000 * n}", model, **options)) for n in range(RUNS)]
    took = time.perf_counter() - began
    await model.close()
    calls = sum(run.result().samples for run in runs)
    assert all(run.result().steps == steps for run in runs)
    journal.close()
    return calls / took, calls


def cpu() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure() -> list[Figure]:
    """Return the rates of both, in turn, the median of their ratios, and the CPU time a call of both."""
    rates, costs = [], []
    with tempfile.TemporaryDirectory() as folder, server() as url:
        asyncio.run(bare(url, 2_000))
        for n in range(ROUNDS):
            began = cpu()
            rate, calls = asyncio.run(engine(url, STEPS, Path(folder) / f"{n}.db"))
            middle = cpu()
            bare_rate = asyncio.run(bare(url, BARE_CALLS))
            end = cpu()
            sdk_rate = asyncio.run(sdk(url, SDK_CALLS))
            costs.append(
                (1e3 * (middle - began) / calls, 1e3 * (end - middle) / BARE_CALLS, 1e3 * (cpu() - end) / SDK_CALLS)
            )
            rates.append((rate, bare_rate, sdk_rate))
    ours, bares, packaged = (statistics.median(column) for column in zip(*rates, strict=True))
    our_cost, bare_cost, package_cost = (statistics.median(column) for column in zip(*costs, strict=True))
    against_bare = statistics.median(100 * rate / bare_rate for rate, bare_rate, _ in rates)
    against_package = statistics.median(rate / sdk_rate for rate, _, sdk_rate in rates)
    note = f"openai {version('openai')}"
    return [
        Figure("calls a second through the engine, 86 runs, k=3, one journal", ours, "1/s"),
        Figure("calls a second of the bare client, as many at once", bares, "1/s"),
        Figure("calls a second of the openai package, as many at once", packaged, "1/s", note=note),
        Figure("engine against bare client, median of the pairs", against_bare, "%", least=60),
        Figure("engine against the openai package, median of the pairs", against_package, "times", least=10, note=note),
        Figure("CPU a call through the engine", our_cost, "ms"),
        Figure("CPU a call of the bare client", bare_cost, "ms"),
        Figure("CPU a call of the openai package", package_cost, "ms", note=note),
    ]
