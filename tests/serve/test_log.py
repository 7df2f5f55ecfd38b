"""The log of calls: it equals what a client saw and paid for, names what was lost, and keeps what is secret out."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import msgspec
import pytest

from mdap.core.errors import UsageError
from mdap.serve import Call, read_log, serve
from tests.serve.adder import Adder
from tests.serve.asking import DIALECTS, PATHS, VERSION, Got, ask, body_of, send, until

CHAOS = "429=0.1,500=0.1,drop=0.1,truncate=0.1,garbage=0.1,hang=0.05,cut=0.1,babble=0.1"
LOST = {"drop", "truncate", "garbage", "hang"}


def tokens(got: Got) -> tuple[int, int]:
    """The tokens of a reply, as a client adds them up."""
    body = got.body
    if "usageMetadata" in body:
        return body["usageMetadata"]["promptTokenCount"], body["usageMetadata"]["candidatesTokenCount"]
    usage = body["usage"]
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    cache = usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    return usage["input_tokens"] + cache, usage["output_tokens"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_clients_ledger_equals_the_log_by_id_and_what_the_client_lacks_is_marked_lost(
    dialect: str, tmp_path: Path
) -> None:
    ledger: dict[str, tuple[int, int]] = {}
    unknown = 0
    path = tmp_path / "calls.jsonl"
    async with await serve(Adder(), chaos=CHAOS, log=path, cache_prompts=True) as server:

        async def one(n: int) -> None:
            nonlocal unknown
            more = {"metadata": {"user_id": f"{n}"}} if dialect == "anthropic" else {"seed": n}
            try:
                async with asyncio.timeout(1.2):
                    got = await ask(server, dialect, "100 " + "2" * 100, **more)
                    if got.status == 200:
                        ledger[got.id] = tokens(got)
            except (TimeoutError, aiohttp.ClientError, ValueError):
                unknown += 1

        async with asyncio.TaskGroup() as group:
            for n in range(100):
                group.create_task(one(n))
        struck = server.stats["chaos"]
    calls = read_log(path)
    assert len(calls) == 100
    known = {call.id: (call.tokens_in, call.tokens_out) for call in calls if call.status == 200 and not call.lost}
    assert known == ledger
    lost = [call for call in calls if call.lost]
    assert len(lost) == unknown > 10
    assert {call.chaos for call in lost} == LOST
    assert all(call.tokens_in > 0 for call in lost if call.chaos != "hang")  # billed, though nobody has it
    assert Counter(word for call in calls for word in call.chaos.split(",") if word) == struck
    assert {call.status for call in calls} == {0, 200, 429, 500}


async def test_a_line_tells_what_was_asked_and_billed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    async with await serve(Adder(), log=path) as server:
        first = await ask(server, "openai", "1 2", seed=5, n=3)
        second = await ask(server, "anthropic", "1 2")
        await ask(server, "google", "one two", seed=6)
        fourth = await send(server, PATHS["openai"], b"{", None)
    calls = read_log(path)
    assert [call.order for call in calls] == [1, 2, 3, 4]
    assert [call.dialect for call in calls] == ["openai", "anthropic", "google", "openai"]
    assert [call.id for call in calls] == [first.id, second.id, "", ""]
    assert [call.status for call in calls] == [200, 200, 400, 400]
    assert [(call.tokens_in, call.tokens_out, call.n) for call in calls] == [(3, 9, 3), (3, 3, 1), (0, 0, 1), (0, 0, 1)]
    assert [call.seed for call in calls] == [5, None, 6, None]
    assert calls[0].prompt == calls[1].prompt != calls[2].prompt
    assert len(calls[0].prompt) == 32
    assert [call.request for call in calls if call.dialect != "google"] == [
        first.headers["x-request-id"],
        second.headers["request-id"],
        fourth.headers["x-request-id"],
    ]
    assert len({call.request for call in calls}) == 4
    assert not any(call.lost or call.chaos or call.batch for call in calls)


async def test_a_reply_is_in_the_log_when_the_client_has_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    async with await serve(Adder(), log=path) as server:
        for n in range(5):
            got = await ask(server, "openai", seed=n)
            assert [call.id for call in read_log(path)][-1] == got.id


async def test_a_client_that_goes_away_is_a_lost_call_without_a_bill(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    adder = Adder(waits=True)
    async with await serve(adder, log=path) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(server, "google")
        await until(lambda: bool(read_log(path)))
    (call,) = read_log(path)
    assert (call.status, call.lost, call.tokens_in, call.id) == (0, True, 0, "")


async def test_neither_key_nor_prompt_nor_reply_is_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    async with await serve(Adder(), log=path, token="s3cret-key") as server:
        keys = {"Authorization": "Bearer s3cret-key", "x-goog-api-key": "s3cret-key"} | VERSION
        for dialect in DIALECTS:
            url = PATHS[dialect] + ("?key=s3cret-key" if dialect == "google" else "")
            assert (await send(server, url, body_of(dialect, "271828 314159"), keys)).status == 200
    text = path.read_text()
    assert text.count("\n") == 3
    for secret in ("s3cret", "271828", "314159", "585987", "585988"):
        assert secret not in text


async def test_a_log_goes_on_where_an_earlier_server_ended(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    for _ in range(2):
        async with await serve(Adder(), log=path) as server:
            await ask(server, "openai")
    assert [call.order for call in read_log(path)] == [1, 1]


def test_a_torn_last_line_is_left_out_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    line = msgspec.json.encode(Call(order=1, request="req_1", dialect="openai"))
    path.write_bytes(line + b"\n" + line[:20])
    assert [call.request for call in read_log(path)] == ["req_1"]
    path.write_bytes(line + b"\n{}\n")
    with pytest.raises(UsageError, match="line 2, is no call"):
        read_log(path)
    with pytest.raises(UsageError, match="cannot read the log"):
        read_log(tmp_path / "none")


async def test_a_log_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the log"):
        await serve(Adder(), log=tmp_path / "no" / "calls.jsonl")
