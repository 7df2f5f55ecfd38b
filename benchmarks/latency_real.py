"""Waiting on real calls: over HTTP to `mdap serve`, for a prompt cache, and with the embedded model's real mistakes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mdap
from benchmarks.figures import Figure, run_process
from benchmarks.latency_table import Table
from mdap.clock import run_virtual
from mdap.core.records import Request, Response, Usage
from mdap.models.openai import openai
from mdap.models.simulated import simulated
from mdap.serve.log import read_log

HTTP_TASK = "hanoi:disks=8"
HTTP_MODEL = "simulated:p=0.998,latency=0.03,sigma=0.6,seed=1"
WAYS: dict[str, dict[str, Any]] = {
    "exactly what is needed": {"lookahead": 0},
    "hedge 1": {"lookahead": 0, "hedge": 1},
    "lookahead 8": {"lookahead": 8},
    "the task's draft": {"draft": "task"},
}
MICRO_TASK = "hanoi:disks=14"


@contextmanager
def served(*words: str) -> Iterator[str]:
    """Give the base URL of an `mdap serve` in a process of its own."""
    command = [sys.executable, "-m", "mdap", "serve", HTTP_MODEL, "--task", HTTP_TASK, *words]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stderr is not None
        line = child.stderr.readline()
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        child.terminate()
        child.wait()
        if child.stderr is not None:
            child.stderr.close()


async def _over(url: str, **options: Any) -> mdap.Result:
    model = openai("any", base_url=url)
    try:
        return await mdap.aio.run(HTTP_TASK, model, k=3, free=True, **options)
    finally:
        await model.close()


def over_http() -> tuple[list[Table], list[Figure]]:
    """Return the time of a whole run over HTTP by way of drawing; all must decide the same."""
    with served() as url:
        results = {name: asyncio.run(_over(url, **options)) for name, options in WAYS.items()}
    base = results["exactly what is needed"]
    title = f"{HTTP_TASK}, {base.steps} steps over HTTP to `mdap serve {HTTP_MODEL}`, k=3, real time"
    table = Table(title, ["way", "ms a step", "speed-up", "calls a step", "waste a step", "wrong"])
    for name, result in results.items():
        calls = result.book.spend.calls / result.steps
        wasted = result.book.totals.wasted / result.steps
        speed = base.us_per_step / result.us_per_step
        cells = [f"{result.us_per_step / 1000:.1f}", f"{speed:.2f}", f"{calls:.3f}", f"{wasted:.3f}", f"{result.wrong}"]
        table.rows.append([name, *cells])
    equal = [name for name, result in results.items() if list(result.export()) == list(base.export())]
    table.note = f"Equal exports: {', '.join(equal)}."
    faster = base.us_per_step / results["lookahead 8"].us_per_step
    return [table], [Figure("lookahead 8 over HTTP: times faster", faster, "times", least=2.0)]


class Cache:
    """A simulated model whose provider has a prompt in its cache once the first reply to it is in, as real ones do."""

    spec = "cache"
    is_seeded = True

    def __init__(self) -> None:
        self._inner: Any = simulated(p=0.998, latency=1.0, sigma=0.6, seed=1)
        self._known: set[str] = set()

    def bind(self, task: Any) -> Cache:
        """Return this model with its task."""
        self._inner = self._inner.bind(task)
        return self

    async def complete(self, request: Request) -> Response:
        """Answer, with what of the prompt was cached when the call began."""
        is_known = request.prompt.digest in self._known
        response: Response = await self._inner.complete(request)
        self._known.add(request.prompt.digest)
        usage = response.usage or Usage()
        cached = usage.tokens_in if is_known else 0
        return Response(response.text, response.finish, Usage(usage.tokens_in, usage.tokens_out, cached=cached))


async def _cached(*, leader_first: bool, lookahead: int) -> tuple[mdap.Result, float]:
    found = [0, 0]

    def watch(request: Request, response: Response) -> None:
        usage = response.usage or Usage()
        found[0] += usage.cached
        found[1] += usage.tokens_in

    model = Watched(Cache(), watch)
    result = await mdap.aio.run(HTTP_TASK, model, k=3, leader_first=leader_first, lookahead=lookahead)
    return result, found[0] / found[1]


class Watched:
    """A model of whose calls somebody is told."""

    is_seeded = True

    def __init__(self, model: Any, watch: Any) -> None:
        self.spec, self._model, self._watch = model.spec, model, watch

    def bind(self, task: Any) -> Watched:
        """Return this model with its task."""
        self._model = self._model.bind(task)
        return self

    async def complete(self, request: Request) -> Response:
        """Answer, and tell."""
        response: Response = await self._model.complete(request)
        self._watch(request, response)
        return response


def prompt_cache() -> tuple[list[Table], list[Figure]]:
    """Return what of the prompts is read from a cache, with one draw ahead of the others and without."""
    late = Table(
        "A cache that knows a prompt once its first reply is in; simulated time, calls of median 1 s, sigma 0.6, k=3",
        ["leader_first", "lookahead", "s/step", "share of prompt tokens cached"],
    )
    for lookahead in (0, 8):
        for led in (False, True):
            result, share = run_virtual(_cached(leader_first=led, lookahead=lookahead))
            seconds = result.seconds / result.steps
            late.rows.append([str(led).lower(), str(lookahead), f"{seconds:.3f}", f"{100 * share:.1f}%"])
    late.note = "It costs one call's time a step; lookahead asks the next step from the leader's vote meanwhile."
    served_at_once = Table(
        f"`mdap serve --cache-prompts`, which knows a prompt as soon as it has arrived; {HTTP_TASK}, real time",
        ["leader_first", "ms a step", "share of prompt tokens cached"],
    )
    for led in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "calls.jsonl"
            with served("--cache-prompts", "--log", str(log)) as url:
                result = asyncio.run(_over(url, leader_first=led, lookahead=0))
            calls = list(read_log(log))
        share = sum(call.cached for call in calls) / sum(call.tokens_in for call in calls)
        row = [str(led).lower(), f"{result.us_per_step / 1000:.1f}", f"{100 * share:.1f}%"]
        served_at_once.rows.append(row)
    served_at_once.note = "No help here: the other draws find the prompt cached even when they are sent together."
    return [late, served_at_once], []


def micro() -> tuple[list[Table], list[Figure]]:
    """Return whole runs of 14 disks on the embedded model, whose mistakes are real, and what single calls come to."""
    table = Table(
        f"{MICRO_TASK} on micro, k=3: {2**14 - 1:,} steps, real mistakes",
        ["way", "seconds", "ms CPU a step", "samples a step", "waste a step", "rollbacks", "re-used", "wrong"],
    )
    ways: dict[str, dict[str, Any]] = {
        "plain": {"lookahead": 0},
        "lookahead 8": {"lookahead": 8},
        "the task's draft": {"draft": "task"},
    }
    figures = []
    for name, options in ways.items():
        began = time.process_time()
        result = mdap.run(MICRO_TASK, "micro", k=3, **options)
        cpu = 1000 * (time.process_time() - began) / result.steps
        totals, n = result.book.totals, result.steps
        cells = [f"{result.seconds:.1f}", f"{cpu:.3f}", f"{result.samples / n:.4f}", f"{totals.wasted / n:.4f}"]
        table.rows.append([name, *cells, str(totals.rollbacks), str(totals.reused), str(result.wrong)])
        figures.append(Figure(f"micro, 14 disks, {name}: wrong", result.wrong, "", most=0))
    first = single_calls()
    table.note = (
        f"Control, single calls (k=1): the first wrong decision is at step {first:,}. Lookahead without a draft opens "
        "only where a call takes over 5 ms; where its row shows no waste it stayed closed, and does not help."
    )
    figures.append(Figure("the same by single calls: steps before the first wrong one", first, "", most=2**14 - 2))
    return [table], figures


def single_calls() -> int:
    """Return the step of the first wrong decision of a run by single calls; the number of steps if there is none."""
    result = mdap.run(MICRO_TASK, "micro", k=1, draft="task")
    return result.wrong_steps[0] if result.wrong_steps else result.steps


def long_chain() -> tuple[list[Table], list[Figure]]:
    """Return all 1,048,575 steps of 20 disks on the embedded model, with the task's draft: 15 to 20 minutes."""
    command = [str(Path(sys.executable).parent / "mdap"), "run", "hanoi:disks=20", "--k", "3", "--draft", "task"]
    command += ["--model", "micro:seed=1,batch=128", "--in-flight", "128", "--json", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        ran = run_process([*command, "--journal", str(Path(folder) / "runs.db")])
    result = json.loads(ran.output)
    assert (result["status"], result["steps"]) == ("done", 2**20 - 1)
    return [], [
        Figure("micro, 20 disks, the task's draft: wrong", result["wrong"], "", most=0),
        Figure("micro, 20 disks, the task's draft: whole command", ran.wall, "s", most=1800),
        Figure("micro, 20 disks, the task's draft: CPU", ran.cpu, "s"),
        Figure("micro, 20 disks, the task's draft: samples a step", result["samples"] / result["steps"], ""),
    ]
