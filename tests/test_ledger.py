"""Runs over real HTTP with chaos, in every dialect: wrong 0, and a ledger that equals the server's own log of calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mdap
from mdap.cli.ledger import compared, summary
from mdap.core.records import Attempt
from mdap.journal import open_journal
from mdap.models import anthropic, google, openai, simulated, vllm
from mdap.models.remote import Remote
from mdap.serve import Call, Server, read_log, serve
from mdap.tasks.hanoi import hanoi

CHAOS = "429=0.05,500=0.05,hang=0.01,drop=0.05,truncate=0.05,garbage=0.05,cut=0.05,babble=0.05"
MODELS: dict[str, Callable[[Server], Remote]] = {
    "openai": lambda server: openai("any", base_url=server.url),
    "anthropic": lambda server: anthropic("claude-3-haiku", base_url=server.origin),
    "google": lambda server: google("any", base_url=server.origin),
    "vllm": lambda server: vllm("any", base_url=server.url),
}


class Hasty:
    """The time of the loop, with waits cut short: a run with many retries is to be quick."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


async def run(dialect: str, folder: Path, chaos: str | None = CHAOS, **options: Any) -> tuple[Any, list[Attempt], Any]:
    """A run of 31 steps, its ledger, and the server's log."""
    log, file = folder / "calls.jsonl", folder / "runs.db"
    async with await serve(simulated(p=0.95, seed=3), task=hanoi(5), chaos=chaos, log=log) as server:
        model = MODELS[dialect](server)
        settings = {"k": 3, "seed": 4, "timeout": 0.7, "retries": 12, "record": "samples", "lookahead": 0, **options}
        result = await mdap.aio.run("hanoi:disks=5", model, journal=file, clock=Hasty(), **settings)
        await model.close()
    journal = open_journal(file)
    attempts = list(journal.attempts(result.run))
    journal.close()
    return result, attempts, read_log(log)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", MODELS)
async def test_a_run_with_chaos_is_done_with_wrong_0_and_its_ledger_equals_the_servers_log(
    dialect: str, tmp_path: Path
) -> None:
    result, attempts, log = await run(dialect, tmp_path)
    assert (result.status, result.steps, result.wrong) == ("done", 31, 0)
    found = compared(attempts, log)
    assert found["agrees"], found
    assert len(attempts) == len(log)
    told = summary(attempts)
    # The control: what was lost on the way is there, by the name of each fault, and so is what was refused.
    assert told["refused"].keys() == {"429", "500"}
    assert told["unknown"].keys() >= {"dropped", "truncated-body", "garbage"}
    assert found["unknown"] == found["lost"] == sum(told["unknown"].values()) >= 10
    assert Counter(call.status for call in log)[429] == told["refused"]["429"]
    assert told["tokens"] == result.tokens
    assert told["replies"] == found["matched"] == result.samples > 93
    ids = {sample.id for step in range(31) for sample in result.samples_of(step)}
    assert ids == {attempt.id for attempt in attempts if not attempt.failure}


@pytest.mark.slow
async def test_calls_of_steps_that_were_asked_ahead_in_vain_are_in_the_ledger_too(tmp_path: Path) -> None:
    result, attempts, log = await run("anthropic", tmp_path, lookahead=8)
    assert (result.status, result.wrong) == ("done", 0)
    found = compared(attempts, log)
    assert found["agrees"], found
    assert found["matched"] == sum(call.status == 200 and not call.lost for call in log)
    known = {sample.id for step in range(31) for sample in result.samples_of(step)}
    assert known <= {attempt.id for attempt in attempts if not attempt.failure}


@pytest.mark.slow
async def test_a_call_that_ran_into_its_time_limit_is_unknown(tmp_path: Path) -> None:
    result, attempts, log = await run("openai", tmp_path, "hang=0.1", timeout=0.2)
    assert (result.status, result.wrong) == ("done", 0)
    unknown = [attempt for attempt in attempts if attempt.is_unknown]
    assert {attempt.failure for attempt in unknown} == {"given-up"}
    assert len(unknown) == sum(call.chaos == "hang" for call in log) > 3
    assert compared(attempts, log)["agrees"]


async def test_calls_are_listed_only_where_all_samples_are_recorded(tmp_path: Path) -> None:
    _, attempts, log = await run("openai", tmp_path, None, record="contested")
    assert attempts == []
    assert log


async def test_a_run_that_was_interrupted_and_resumed_has_one_ledger(tmp_path: Path) -> None:
    log, file = tmp_path / "calls.jsonl", tmp_path / "runs.db"
    async with await serve(simulated(p=0.95, seed=3), task=hanoi(5), chaos=CHAOS, log=log) as server:
        model = MODELS["openai"](server)
        settings: dict[str, Any] = {"journal": file, "timeout": 0.7, "retries": 12, "clock": Hasty()}
        first = await mdap.aio.run("hanoi:disks=5", model, k=3, seed=4, record="samples", budget_calls=60, **settings)
        assert first.status == "budget"
        settings["budget_calls"] = 5_000
        result = await mdap.aio.resume(first.run, task="hanoi:disks=5", model=model, **settings)
        await model.close()
    assert (result.status, result.wrong) == ("done", 0)
    journal = open_journal(file)
    attempts = list(journal.attempts(result.run))
    journal.close()
    assert compared(attempts, read_log(log))["agrees"]
    assert len(attempts) == len(read_log(log)) > 100


def test_a_ledger_that_differs_from_the_log_is_told_where() -> None:
    reply = Attempt(0, 0, 0, id="a", tokens_in=5, tokens_out=2)
    call = Call(order=1, request="r", dialect="openai", id="a", status=200, tokens_in=5, tokens_out=2)
    replace = msgspec.structs.replace
    assert compared([reply], [call])["agrees"]
    billed = compared([reply], [replace(call, tokens_out=3)])
    assert (billed["agrees"], billed["differ"]) == (False, ["a"])
    absent = compared([reply], [])
    assert (absent["agrees"], absent["absent"]) == (False, ["a"])
    # A reply that the server made and nobody here knows of is not covered by anything.
    more = compared([reply], [call, replace(call, id="b")])
    assert (more["agrees"], more["lost"], more["unknown"]) == (False, 1, 0)
    lost = Attempt(0, 1, 0, failure="dropped")
    assert compared([reply, lost], [call, replace(call, id="b", lost=True)])["agrees"]
    assert not compared([reply, lost], [call, replace(call, id="b"), replace(call, id="c")])["agrees"]
    # One that was given up before it had arrived is in no log.
    assert compared([reply, lost], [call])["agrees"]
    refused = Attempt(0, 1, 0, failure="429", status=429)
    assert compared([reply, refused], [call, replace(call, id="", status=429)])["agrees"]


def test_draws_that_shared_a_call_are_one_call_of_the_log() -> None:
    shared = [
        Attempt(0, 0, 0, id="a", tokens_in=9, tokens_out=2),
        Attempt(0, 1, 0, id="a#1", tokens_out=3),
        Attempt(0, 2, 0, id="a#2", tokens_out=4),
    ]
    call = Call(order=1, request="r", dialect="openai", id="a", status=200, tokens_in=9, tokens_out=9, n=3)
    assert compared(shared, [call])["agrees"]


@pytest.mark.parametrize("failure", ["unreachable", "dns", "certificate", "tls"])
def test_a_call_that_was_never_sent_is_not_unknown(failure: str) -> None:
    attempt = Attempt(0, 0, 0, failure=failure)
    assert not attempt.is_unknown
    assert summary([attempt])["unsent"] == {failure: 1}
