"""Batches of both vendors that have them: made, polled, read and cancelled over HTTP, with some of their entries lost.

Shapes from platform.claude.com/docs (api/messages/batches, build-with-claude/batch-processing) and from
developers.openai.com (api/docs/guides/batch, api/reference: files and batches), read on 2026-11-20.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from mdap.core.records import Request, Response
from mdap.serve import Server, read_log, serve
from tests.serve.adder import Adder
from tests.serve.asking import VERSION, Got, ask, body_of, fetch, send, until

BATCHES = "/v1/messages/batches"
CHAOS = "429=0.1,500=0.1,drop=0.1,hang=0.1,truncate=0.1,garbage=0.1,cut=0.1"


def lines(raw: bytes) -> dict[str, Any]:
    """The lines of a results file by their id."""
    return {line["custom_id"]: line for line in map(msgspec.json.decode, raw.splitlines())}


async def until_ended(server: Server, path: str, *ends: str) -> Any:
    """The batch, when it has come to one of these ends."""
    async with asyncio.timeout(60):
        while True:
            body = (await fetch(server, path)).body
            if (body.get("processing_status") or body["status"]) in ends:
                return body
            await asyncio.sleep(0.01)


def requests(count: int) -> list[dict[str, Any]]:
    return [{"custom_id": f"n-{n}", "params": body_of("anthropic", f"{n} {n}")} for n in range(count)]


async def create(server: Server, asked: list[dict[str, Any]]) -> Got:
    return await send(server, BATCHES, {"requests": asked}, VERSION)


async def upload(server: Server, content: bytes, purpose: str = "batch") -> Got:
    form = aiohttp.FormData()
    form.add_field("purpose", purpose)
    form.add_field("file", content, filename="in.jsonl", content_type="application/jsonl")
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/files", data=form) as response,
    ):
        return Got(response.status, response.headers, await response.read())


def file_of(count: int, url: str = "/v1/chat/completions") -> bytes:
    entries = [
        {"custom_id": f"n-{n}", "method": "POST", "url": url, "body": body_of("openai", f"{n} {n}", seed=n)}
        for n in range(count)
    ]
    return b"\n".join(map(msgspec.json.encode, entries))


async def start(server: Server, content: bytes) -> Got:
    file = (await upload(server, content)).body["id"]
    body = {
        "input_file_id": file,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"a": "b"},
    }
    return await send(server, "/v1/batches", body)


async def test_an_anthropic_batch_is_in_progress_then_ended_and_its_results_are_those_of_single_calls() -> None:
    async with await serve(Adder(), batch_delay=0.1) as server:
        made = (await create(server, requests(20))).body
        early = await fetch(server, f"{BATCHES}/{made['id']}/results")
        ended = await until_ended(server, f"{BATCHES}/{made['id']}", "ended")
        results = await fetch(server, ended["results_url"].removeprefix(server.origin))
    assert made["id"].startswith("msgbatch_")
    assert (made["type"], made["processing_status"], made["results_url"]) == ("message_batch", "in_progress", None)
    assert made["request_counts"] == {"processing": 20, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    assert (early.status, early.body["error"]["type"]) == (404, "not_found_error")
    assert ended["request_counts"] == {"processing": 0, "succeeded": 20, "errored": 0, "canceled": 0, "expired": 0}
    assert ended["ended_at"] > made["created_at"]
    found = lines(results.raw)
    for n in range(20):
        result = found[f"n-{n}"]["result"]
        assert (result["type"], result["message"]["type"]) == ("succeeded", "message")
        assert int(result["message"]["content"][0]["text"]) in (2 * n, 2 * n + 1)


async def test_an_openai_batch_goes_from_a_file_of_lines_to_a_file_of_lines() -> None:
    async with await serve(Adder(), batch_delay=0.1) as server:
        file = (await upload(server, file_of(20))).body
        assert (file["object"], file["purpose"], file["filename"]) == ("file", "batch", "in.jsonl")
        assert file["bytes"] == len(file_of(20))
        assert (await fetch(server, f"/v1/files/{file['id']}/content")).raw == file_of(20)
        made = (await start(server, file_of(20))).body
        ended = await until_ended(server, f"/v1/batches/{made['id']}", "completed")
        output = await fetch(server, f"/v1/files/{ended['output_file_id']}/content")
        single = await ask(server, "openai", "7 7", seed=7)
    assert (made["object"], made["status"], made["output_file_id"]) == ("batch", "in_progress", None)
    assert made["request_counts"] == {"total": 20, "completed": 0, "failed": 0}
    assert ended["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert (ended["error_file_id"], ended["errors"], ended["metadata"]) == (None, None, {"a": "b"})
    assert ended["completed_at"] >= ended["in_progress_at"]
    found = lines(output.raw)
    assert len(found) == 20
    line = found["n-7"]
    assert (line["error"], line["response"]["status_code"]) == (None, 200)
    assert line["response"]["request_id"].startswith("req_")
    assert line["response"]["body"]["choices"] == single.body["choices"]  # a seeded reply is the same on either way


async def test_results_stand_in_another_order_than_the_requests() -> None:
    async with await serve(Adder()) as server:
        made = (await create(server, requests(5))).body
        await until_ended(server, f"{BATCHES}/{made['id']}", "ended")
        results = await fetch(server, f"{BATCHES}/{made['id']}/results")
    assert list(lines(results.raw)) != [f"n-{n}" for n in range(5)]


async def test_under_chaos_an_anthropic_batch_has_errored_and_expired_entries_and_the_log_has_them_all(
    tmp_path: Path,
) -> None:
    path = tmp_path / "calls.jsonl"
    async with await serve(Adder(), chaos=CHAOS, log=path) as server:
        made = (await create(server, requests(80))).body
        counts = (await until_ended(server, f"{BATCHES}/{made['id']}", "ended"))["request_counts"]
        found = lines((await fetch(server, f"{BATCHES}/{made['id']}/results")).raw)
    kinds = Counter(line["result"]["type"] for line in found.values())
    assert kinds == {kind: count for kind, count in counts.items() if count}
    assert min(kinds["succeeded"], kinds["errored"], kinds["expired"]) > 3
    errors = {line["result"]["error"]["error"]["type"] for line in found.values() if "error" in line["result"]}
    assert errors == {"rate_limit_error", "api_error"}
    assert {line["result"]["error"]["type"] for line in found.values() if "error" in line["result"]} == {"error"}
    calls = read_log(path)
    assert {call.batch for call in calls} == {made["id"]}
    assert len(calls) == 80
    assert not any(call.lost for call in calls)
    messages = [line["result"]["message"] for line in found.values() if "message" in line["result"]]
    assert {one["id"] for one in messages} == {call.id for call in calls if call.tokens_in}
    assert "max_tokens" in {one["stop_reason"] for one in messages}


async def test_under_chaos_an_openai_batch_expires_with_a_file_of_errors_beside_that_of_replies() -> None:
    async with await serve(Adder(), chaos=CHAOS) as server:
        made = (await start(server, file_of(80))).body
        ended = await until_ended(server, f"/v1/batches/{made['id']}", "completed", "expired")
        good = lines((await fetch(server, f"/v1/files/{ended['output_file_id']}/content")).raw)
        bad = lines((await fetch(server, f"/v1/files/{ended['error_file_id']}/content")).raw)
    assert ended["status"] == "expired"
    assert ended["expired_at"]
    assert ended["request_counts"] == {"total": 80, "completed": len(good), "failed": len(bad)}
    assert len(good) + len(bad) == 80
    assert {line["response"]["status_code"] for line in bad.values() if line["response"]} == {429, 500}
    assert {line["error"]["code"] for line in bad.values() if line["error"]} == {"batch_expired"}


async def test_what_strikes_in_a_batch_is_the_same_each_time() -> None:
    async def outcomes() -> dict[str, str]:
        async with await serve(Adder(), chaos=CHAOS, seed=5) as server:
            made = (await create(server, requests(60))).body
            await until_ended(server, f"{BATCHES}/{made['id']}", "ended")
            found = lines((await fetch(server, f"{BATCHES}/{made['id']}/results")).raw)
        return {id: line["result"]["type"] for id, line in found.items()}

    assert await outcomes() == await outcomes()


async def test_a_bad_request_in_a_batch_is_its_own_error_alone() -> None:
    asked = requests(3)
    asked[1]["params"]["seed"] = 5
    content = file_of(3).replace(b'"1 1"', b'"one one"')
    async with await serve(Adder()) as server:
        made = (await create(server, asked)).body
        await until_ended(server, f"{BATCHES}/{made['id']}", "ended")
        found = lines((await fetch(server, f"{BATCHES}/{made['id']}/results")).raw)
        batch = (await start(server, content)).body
        ended = await until_ended(server, f"/v1/batches/{batch['id']}", "completed")
        bad = lines((await fetch(server, f"/v1/files/{ended['error_file_id']}/content")).raw)
    error = found["n-1"]["result"]["error"]["error"]
    assert error == {"type": "invalid_request_error", "message": "seed: Extra inputs are not permitted"}
    assert [found[f"n-{n}"]["result"]["type"] for n in range(3)] == ["succeeded", "errored", "succeeded"]
    assert (list(bad), bad["n-1"]["response"]["status_code"]) == (["n-1"], 400)
    assert ended["request_counts"] == {"total": 3, "completed": 2, "failed": 1}


async def test_a_cancelled_batch_leaves_undone_what_was_not_begun() -> None:
    adder = Adder()
    async with await serve(adder, batch_delay=60) as server:
        made = (await create(server, requests(5))).body
        told = (await send(server, f"{BATCHES}/{made['id']}/cancel", None, VERSION)).body
        ended = await until_ended(server, f"{BATCHES}/{made['id']}", "ended")
        found = lines((await fetch(server, f"{BATCHES}/{made['id']}/results")).raw)
        batch = (await start(server, file_of(5))).body
        cancelling = (await send(server, f"/v1/batches/{batch['id']}/cancel", None)).body
        over = await until_ended(server, f"/v1/batches/{batch['id']}", "cancelled")
        again = await send(server, f"/v1/batches/{batch['id']}/cancel", None)
    assert told["processing_status"] in ("canceling", "ended")
    assert told["cancel_initiated_at"]
    assert ended["request_counts"]["canceled"] == 5
    assert {line["result"]["type"] for line in found.values()} == {"canceled"}
    assert cancelling["status"] in ("cancelling", "cancelled")
    assert (over["output_file_id"], bool(over["cancelled_at"])) == (None, True)
    assert again.status == 409
    assert adder.requests == []


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"{", "invalid_json_line", 1),
        (file_of(2) + b"\n[]", "invalid_json_line", 3),
        (file_of(1) + b"\n" + file_of(1), "duplicate_custom_id", 2),
        (file_of(1, url="/v1/embeddings"), "invalid_url", 1),
        (b"\n", "empty_file", None),
    ],
)
async def test_a_wrong_line_fails_an_openai_batch_before_any_call(content: bytes, code: str, line: int | None) -> None:
    adder = Adder()
    async with await serve(adder) as server:
        made = (await start(server, content)).body
        later = (await fetch(server, f"/v1/batches/{made['id']}")).body
    for batch in (made, later):
        assert batch["status"] == "failed"
        assert [(one["code"], one["line"]) for one in batch["errors"]["data"]] == [(code, line)]
    assert adder.requests == []


async def test_what_makes_no_batch_is_told_in_the_vendors_shape() -> None:
    async with await serve(Adder()) as server:
        double = await create(server, requests(1) * 2)
        empty = await create(server, [])
        unnamed = await create(server, [{"custom_id": "a b", "params": {}}])
        unversioned = await send(server, BATCHES, {"requests": requests(1)})
        nowhere = await send(server, "/v1/batches", {"input_file_id": "file-x"})
        no_file = await send(
            server,
            "/v1/batches",
            {"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        )
        other = await upload(server, b"", purpose="fine-tune")
        plain = await send(server, "/v1/files", b"{}")
        lost = [await fetch(server, path) for path in ("/v1/files/x", "/v1/files/x/content", "/v1/batches/x")]
        gone = await fetch(server, f"{BATCHES}/msgbatch_x")
    for got in (double, empty, unnamed, unversioned):
        assert (got.status, got.body["error"]["type"]) == (400, "invalid_request_error")
    assert "must be unique" in double.body["error"]["message"]
    for got in (nowhere, no_file, other, plain):
        assert (got.status, got.body["error"]["type"]) == (400, "invalid_request_error")
    assert [got.status for got in lost] == [404] * 3
    assert (gone.status, gone.body["error"]["type"]) == (404, "not_found_error")


class Breaks(Adder):
    """Breaks its contract for one prompt: a model raises nothing but ModelError."""

    async def complete(self, request: Request) -> Response:
        """Break, or answer."""
        if request.messages[-1].content == "1 1":
            raise ZeroDivisionError
        return await super().complete(request)


async def test_a_model_that_breaks_spoils_its_own_entry_and_neither_the_others_nor_the_next_batch() -> None:
    async with await serve(Breaks()) as server:
        for _ in range(2):
            made = (await create(server, requests(3))).body
            counts = (await until_ended(server, f"{BATCHES}/{made['id']}", "ended"))["request_counts"]
            assert (counts["succeeded"], counts["errored"]) == (2, 1)


async def test_a_batch_is_answered_beside_calls_and_knows_no_rate_limit() -> None:
    async with await serve(Adder(), rate="requests=1", batch_delay=0.2) as server:
        made = (await create(server, requests(10))).body
        assert (await ask(server, "openai")).status == 200
        counts = (await until_ended(server, f"{BATCHES}/{made['id']}", "ended"))["request_counts"]
        assert (await ask(server, "openai")).status == 429
    assert counts["succeeded"] == 10


async def test_a_server_that_closes_drops_its_batches() -> None:
    adder = Adder(waits=True)
    server = await serve(adder)
    await create(server, requests(2))
    await until(lambda: len(adder.requests) == 2)
    async with asyncio.timeout(30):
        await server.close()
    assert adder.cancelled == 2
