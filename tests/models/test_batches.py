"""Batches of both vendors over real HTTP: one call in place of many, taken up again after a kill, never made twice.

What a provider may do to an entry (an error, an expiry) is asked for again in the next batch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mdap.clock import LoopClock
from mdap.core.errors import ModelError, ModelRejected, Stop, UsageError
from mdap.core.prices import UnitPrices
from mdap.core.records import Draw, Message, Prompt, Request, Response
from mdap.models.anthropic import anthropic
from mdap.models.batches import Batched, halved, service_of
from mdap.models.google import google
from mdap.models.openai import openai
from mdap.models.remote import Remote
from mdap.models.submissions import Patience, Submissions
from mdap.serve import Server, read_log, serve
from tests.serve.adder import Adder
from tests.serve.asking import until

CHAOS = "429=0.06,500=0.06,drop=0.06,hang=0.06,truncate=0.06,garbage=0.06"
QUICK = Patience(quiet=0.02, first=0.02, longest=0.1, limit=20)
DIALECTS = ("openai", "anthropic")


def asked(count: int, *, step: int = 0) -> list[Request]:
    """Requests for the sums of two numbers, each a draw of its own."""
    return [
        Request(Prompt((Message("user", f"{n} 100"),), ""), Draw(step, n, 0, -1), 1000 + n, 0.1, 20)
        for n in range(count)
    ]


def made(dialect: str, server: Server, **options: Any) -> Remote:
    """A model of the dialect at this server."""
    if dialect == "openai":
        return openai("any", base_url=server.url, **options)
    return anthropic("claude-3-haiku", base_url=server.origin, **options)


async def all_of(model: Any, requests: Sequence[Request]) -> list[Response]:
    """The replies to requests that are made at once, each repeated until it has one."""

    async def one(request: Request) -> Response:
        while True:
            try:
                reply: Response = await model.complete(request)
                return reply
            except ModelError as error:
                if not error.retryable:
                    raise

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(request)) for request in requests]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await model.close()
    return [task.result() for task in tasks]


def batched(model: Remote, file: Path | None = None, patience: Patience = QUICK) -> Batched:
    return Batched(model, Submissions(file), LoopClock(), patience)


def batches_in(log: Path) -> Counter[str]:
    """How many calls each batch had."""
    return Counter(call.batch for call in read_log(log))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_asked_at_once_goes_into_one_batch_and_each_gets_its_own_reply(
    dialect: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with await serve(Adder(), log=log, batch_delay=0.1) as server:
        replies = await all_of(batched(made(dialect, server)), asked(40))
        if dialect == "openai":  # with a seed, a reply is the same on either way
            single = await all_of(made(dialect, server), asked(40))
            assert [reply.text for reply in replies] == [reply.text for reply in single]
    for n, reply in enumerate(replies):
        assert int(reply.text) in (100 + n, 101 + n)
        assert reply.usage is not None
    batch, other = [*batches_in(log).items(), ("", 0)][:2]
    assert batch[1] == 40
    assert not other[0]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_entries_that_fail_or_expire_are_asked_again_in_further_batches(dialect: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with await serve(Adder(), log=log, chaos=CHAOS) as server:
        replies = await all_of(batched(made(dialect, server)), asked(60))
        struck = server.stats["chaos"]
    assert all(int(reply.text) in (100 + n, 101 + n) for n, reply in enumerate(replies))
    assert struck.keys() == {"429", "500", "drop", "hang", "truncate", "garbage"}
    counts = batches_in(log)
    assert 2 <= len(counts) <= 12
    assert sum(counts.values()) == 60 + sum(struck.values())


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_batch_outlives_the_process_that_submitted_it_and_is_never_submitted_twice(
    dialect: str, tmp_path: Path
) -> None:
    log, file = tmp_path / "log", tmp_path / "batches.jsonl"
    async with await serve(Adder(), log=log, batch_delay=0.3) as server:
        first = asyncio.create_task(all_of(batched(made(dialect, server), file), asked(30)))
        await until(lambda: file.exists() and b'"batch"' in file.read_bytes())
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        replies = await all_of(batched(made(dialect, server), file), asked(30))
    assert len({reply.id for reply in replies}) == 30
    assert list(batches_in(log).values()) == [30]


async def test_what_was_asked_beside_an_earlier_batch_goes_into_one_of_its_own(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "batches.jsonl"
    async with await serve(Adder(), log=log) as server:
        await all_of(batched(made("openai", server), file), asked(10))
        await all_of(batched(made("openai", server), file), asked(25))
        assert sorted(batches_in(log).values()) == [10, 15]
        submissions = Submissions(file)
        submissions.forget()
        await all_of(batched(made("openai", server), file), asked(10))
        assert sorted(batches_in(log).values()) == [10, 10, 15]


async def test_what_is_done_with_is_submitted_anew_the_next_time(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "batches.jsonl"
    async with await serve(Adder(), log=log) as server:
        for _ in range(2):
            submissions = Submissions(file)
            await all_of(Batched(made("openai", server), submissions, LoopClock(), QUICK), asked(5))
            submissions.close_all()
    assert list(batches_in(log).values()) == [5, 5]


async def test_a_batch_that_takes_too_long_ends_the_wait_by_name_and_the_next_wait_goes_on_with_it(
    tmp_path: Path,
) -> None:
    log, file = tmp_path / "log", tmp_path / "batches.jsonl"
    async with await serve(Adder(), log=log, batch_delay=0.6) as server:
        with pytest.raises(Stop, match=r"batch_.* has not ended after 0\.2 s \(in_progress, 0 of 5 done\)") as caught:
            await all_of(batched(made("openai", server), file, QUICK._replace(limit=0.2)), asked(5))
        assert "submits nothing twice" in caught.value.remedy
        await all_of(batched(made("openai", server), file), asked(5))
    assert list(batches_in(log).values()) == [5]


async def test_whether_a_batch_was_made_is_never_guessed(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "batches.jsonl"
    async with await serve(Adder(), log=log) as server:
        await all_of(batched(made("openai", server), file), asked(5))
        # As a process leaves it that is killed between the sending and the answer.
        file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
        with pytest.raises(Stop, match=r"nobody knows whether a batch .* was made") as caught:
            await all_of(batched(made("openai", server), file), asked(5))
    assert "--batch-anew" in caught.value.remedy
    assert len(batches_in(log)) == 1


async def test_a_line_that_a_kill_left_half_written_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "batches.jsonl"
    before = Submissions(file)
    before.made(before.intend({"a": "1"}), "batch_1")
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"intent": "x", "requ')
    after = Submissions(file)
    assert file.read_bytes() == whole
    found = after.take("a", "1")
    assert found is not None
    assert found[1] == "batch_1"
    assert after.take("a", "1") is None
    assert after.take("b", "1") is None
    file.write_bytes(b"no json\n")
    with pytest.raises(UsageError, match="cannot be read"):
        Submissions(file)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_batch_that_the_provider_has_forgotten_is_an_error_with_its_remedy(
    dialect: str, tmp_path: Path
) -> None:
    file = tmp_path / "batches.jsonl"
    async with await serve(Adder()) as server:
        await all_of(batched(made(dialect, server), file), asked(3))
        port = int(server.origin.rpartition(":")[2])
    async with await serve(Adder(), port=port) as server:
        with pytest.raises(ModelRejected, match="batch") as caught:
            await all_of(batched(made(dialect, server), file), asked(3))
    assert caught.value.status == 404
    assert "--batch-anew" in caught.value.remedy


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_parameter_that_is_refused_within_a_batch_is_left_out_of_the_next(dialect: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with await serve(Adder(), log=log, refuse="temperature") as server:
        model = made(dialect, server)
        await all_of(batched(model), asked(8))
    assert model.adaptations == ("temperature",)
    assert list(batches_in(log).values()) == [8, 8]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_batch_can_be_recorded_and_replayed_without_a_server(dialect: str, tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")
    async with await serve(Adder()) as server:
        recorded = await all_of(batched(made(dialect, server, record_http=file)), asked(6))
    assert await all_of(batched(made(dialect, server, replay_http=file)), asked(6)) == recorded


async def test_a_wrong_key_ends_the_batch_before_anything_is_submitted(tmp_path: Path) -> None:
    file = tmp_path / "batches.jsonl"
    async with await serve(Adder(), token="right") as server:
        with pytest.raises(ModelRejected, match="401"):
            await all_of(batched(made("anthropic", server, api_key="wrong"), file), asked(3))
        replies = await all_of(batched(made("anthropic", server, api_key="right"), file), asked(3))
    assert len(replies) == 3


async def test_large_batches_are_divided(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with await serve(Adder(), log=log) as server:
        await all_of(Batched(made("openai", server), Submissions(), LoopClock(), QUICK, most=7), asked(20))
    assert list(batches_in(log).values()) == [7, 7, 6]


async def test_other_providers_have_no_batches_here() -> None:
    with pytest.raises(UsageError, match="takes no batches that are known here"):
        service_of(google("gemini-2.5-flash", base_url="http://127.0.0.1:9"))
    with pytest.raises(UsageError, match="openai and anthropic"):
        service_of(Adder())


def test_half_of_each_price_is_counted() -> None:
    price = UnitPrices(Decimal("0.40"), Decimal("1.60"), Decimal("0.10"), None, "own")
    assert halved(price) == UnitPrices(Decimal("0.20"), Decimal("0.80"), Decimal("0.05"), None, "half for a batch: own")
