"""The server as any client sees it, over real HTTP: what it takes, what it answers, what it refuses, how it stops."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import time
from asyncio.subprocess import PIPE
from typing import Any

import aiohttp
import msgspec
import pytest

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.records import Message
from mdap.models.openai import openai
from mdap.serve import Server, serve
from tests.serve.adder import Adder, Refuser, sum_of
from tests.serve.asking import send, until


async def post(server: Server, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and body of one call as a foreign tool makes it."""
    data = body if isinstance(body, bytes | io.BytesIO) else msgspec.json.encode(body)
    async with aiohttp.ClientSession() as session:
        url = f"{server.url}/chat/completions"
        async with session.post(url, data=data, headers=headers) as response:
            return response.status, await response.json()


async def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a page."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.url.removesuffix("/v1") + path, headers=headers) as response,
    ):
        return response.status, await response.json()


def chat(text: str = "1 2", **more: Any) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


async def test_a_reply_has_the_shape_that_openai_clients_read() -> None:
    async with await serve(Adder()) as server:
        status, body = await post(server, chat(seed=2))
    assert status == 200
    assert body["id"].startswith("chatcmpl-")
    del body["id"]
    assert body == {
        "object": "chat.completion",
        "created": 0,
        "model": "any",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "3", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }


async def test_the_model_gets_messages_seed_temperature_and_cap_and_no_state() -> None:
    adder = Adder()
    async with await serve(adder) as server:
        await post(server, chat(seed=5, temperature=0.25, max_tokens=9))
        await post(server, chat(seed=5, max_completion_tokens=8))
        await post(server, chat(seed=5))
    first, second, third = adder.requests
    assert first.messages == (Message("user", "1 2"),)
    assert (first.seed, first.temperature, first.max_tokens, first.state) == (5, 0.25, 9, None)
    assert (second.temperature, second.max_tokens) == (None, 8)
    assert third.max_tokens == 750
    assert (first.draw.step, first.draw.slot, first.draw.redraw) == (0, 0, 0)
    assert first.prompt.digest == second.prompt.digest
    assert len(first.prompt.digest) == 32


async def test_content_in_parts_and_the_developers_role_are_understood() -> None:
    adder = Adder()
    parts = [{"type": "text", "text": "4 "}, {"type": "text", "text": "5"}]
    messages = [{"role": "developer", "content": "add"}, {"role": "user", "content": parts, "name": "me"}]
    async with await serve(adder) as server:
        status, body = await post(server, {"messages": messages, "seed": 1})
    assert (status, body["choices"][0]["message"]["content"]) in ((200, "9"), (200, "10"))
    assert adder.requests[0].messages == (Message("system", "add"), Message("user", "4 5"))


async def test_the_same_request_and_seed_have_the_same_reply_in_process_and_over_http() -> None:
    adder = Adder()
    async with await serve(adder) as server:
        model = openai("any", base_url=server.url)
        texts = set()
        for seed in range(40):
            request = sum_of("2 3", seed=seed)
            local, remote = await adder.complete(request), await model.complete(request)
            assert (remote.text, remote.finish, remote.usage) == (local.text, local.finish, local.usage)
            texts.add(remote.text)
        await model.close()
    assert texts == {"5", "6"}  # the seed was heard: there are right and wrong answers


async def test_without_a_seed_each_asking_has_its_own_and_a_new_server_gives_the_same_ones() -> None:
    async def seeds(of_server: int) -> list[int]:
        adder = Adder()
        async with await serve(adder, seed=of_server) as server:
            for _ in range(5):
                await post(server, chat())
        return [request.seed for request in adder.requests]

    first = await seeds(0)
    assert len(set(first)) == 5
    assert await seeds(0) == first
    assert not set(await seeds(1)) & set(first)


async def test_a_refusal_travels_as_a_refusal_and_keeps_the_models_own_id() -> None:
    async with await serve(Refuser()) as server:
        model = openai("any", base_url=server.url)
        response = await model.complete(sum_of("1 1"))
        await model.close()
    assert (response.text, response.finish, response.usage) == ("I would rather not", "refusal", None)
    assert response.id == "refusal-1"


async def test_two_replies_never_share_an_id() -> None:
    async with await serve(Adder()) as server:
        ids = [(await post(server, chat(seed=seed)))[1]["id"] for seed in (1, 1, 2)]
    assert len(set(ids)) == 3


class Bindable(Adder):
    """Learns its task."""

    def bind(self, task: Any) -> Adder:
        self.task = task
        return self


async def test_a_model_that_can_be_bound_is_bound_to_the_task() -> None:
    model = Bindable()
    async with await serve(model, task="a task"):  # type: ignore[arg-type]
        assert model.task == "a task"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not a chat request"),
        (b"{", "not a chat request"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "not a chat request"),
        (b"[" * 50_000, "not a chat request"),
        ({}, "messages"),
        ({"messages": []}, "length >= 1"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url"),
        ({"messages": [{"role": "user"}]}, "content"),
        (chat(stream=True), "stream=true is not supported"),
        (chat(n=0), "`$.n`"),
        (chat(seed="x"), "seed"),
        (chat(seed=2**63), "seed"),
        (chat(temperature=-1), "temperature"),
        (chat(max_tokens=0), "max_tokens"),
    ],
)
async def test_a_malformed_request_is_told_what_is_wrong_with_it(body: Any, says: str) -> None:
    async with await serve(Adder()) as server:
        status, answer = await post(server, body)
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert says in answer["error"]["message"]
        assert (await post(server, chat(seed=1, n=1, stream=False)))[0] == 200


async def test_a_body_that_is_too_long_is_413() -> None:
    async with await serve(Adder()) as server:
        status, answer = await post(server, io.BytesIO(b"1" * 10_000_001))
    assert (status, "10,000,000 bytes" in answer["error"]["message"]) == (413, True)


async def test_unknown_paths_and_methods_are_told_what_there_is() -> None:
    async with await serve(Adder()) as server:
        for path, status in (("/nowhere", 404), ("/v1/chat/completions", 405)):
            found, answer = await get(server, path)
            assert found == status
            assert "POST /v1/chat/completions" in answer["error"]["message"]


async def test_a_base_url_without_its_v1_reaches_the_same_model() -> None:
    async with await serve(Adder()) as server:
        bodies = [(await send(server, f"{base}/chat/completions", chat(seed=1))).body for base in ("/v1", "")]
        assert bodies[0]["choices"] == bodies[1]["choices"]
        assert (await get(server, "/models"))[1] == (await get(server, "/v1/models"))[1]


async def test_models_health_and_stats_are_served() -> None:
    async with await serve(Adder()) as server:
        assert (await get(server, "/v1/models"))[1]["data"][0]["id"] == "adder"
        assert await get(server, "/health") == (200, {"status": "ok"})
        await post(server, chat())
        await post(server, {})
        assert (await get(server, "/stats"))[1] == {
            "requests": 4,
            "status": {"200": 3, "400": 1},
            "chaos": {},
        }


async def test_bytes_that_are_no_http_do_not_end_the_server() -> None:
    async with await serve(Adder()) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        for junk in (b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(junk)
            assert b" 400 " in await reader.readline()
            writer.close()
        assert (await post(server, chat()))[0] == 200


async def test_a_rejection_by_the_model_is_a_400_with_its_words_and_the_client_gives_up() -> None:
    async with await serve(Adder()) as server:
        model = openai("any", base_url=server.url)
        with pytest.raises(ModelRejected, match="cannot add 'one two'"):
            await model.complete(sum_of("one two"))
        await model.close()


async def test_a_passing_trouble_of_the_model_is_passed_on_with_its_time_to_wait() -> None:
    async with await serve(Adder()) as server:
        model = openai("any", base_url=server.url)
        with pytest.raises(ModelError, match="upstream is full") as caught:
            await model.complete(sum_of("overloaded"))
        await model.close()
    assert (caught.value.kind, caught.value.retry_after, caught.value.retryable) == ("429", 1.5, True)


class Broken(Adder):
    """Breaks its contract: a model raises nothing but ModelError."""

    async def complete(self, request: Any) -> Any:
        """Break."""
        raise ZeroDivisionError


async def test_a_model_that_breaks_is_a_500_and_the_server_goes_on() -> None:
    async with await serve(Broken()) as server:
        model = openai("any", base_url=server.url)
        for _ in range(2):
            with pytest.raises(ModelError) as caught:
                await model.complete(sum_of("1 1"))
            assert caught.value.kind == "500"
        await model.close()
        assert server.stats["status"] == {"500": 2}


async def test_256_calls_at_once_are_all_answered_rightly() -> None:
    adder = Adder()
    async with await serve(adder) as server:
        model = openai("any", base_url=server.url)
        requests = [sum_of(f"{n} {n}", seed=n) for n in range(256)]
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(model.complete(request)) for request in requests]
        await model.close()
        expected = [(await adder.complete(request)).text for request in requests]
    assert [call.result().text for call in calls] == expected


async def test_a_client_that_goes_away_cancels_the_models_call() -> None:
    adder = Adder(waits=True)
    async with await serve(adder) as server:
        model = openai("any", base_url=server.url)
        call = asyncio.create_task(model.complete(sum_of("1 1")))
        await until(lambda: bool(adder.requests))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: adder.cancelled == 1)
        assert server.stats["status"] == {"gone": 1}
        await model.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "example.org"])
async def test_listening_beyond_this_machine_takes_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="--token"):
        await serve(Adder(), host=host)


async def test_with_a_token_every_host_may_call_that_has_it_and_none_that_has_not() -> None:
    async with await serve(Adder(), host="0.0.0.0", token="s3cret-t0ken") as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert (await post(server, chat()))[0] == 401
        assert (await post(server, chat(), Authorization="Bearer s3cret-t0keN"))[0] == 401
        assert (await post(server, chat(), Authorization="Bearer s3cret-t0ken", Host="my.host"))[0] == 200
        assert (await get(server, "/stats"))[0] == 401
        assert (await get(server, "/health"))[0] == 200
        model = openai("any", base_url=server.url, api_key="wrong-token")
        with pytest.raises(ModelRejected, match="OPENAI_API_KEY"):
            await model.complete(sum_of("1 1"))
        await model.close()


@pytest.mark.parametrize("headers", [{"Origin": "https://example.com"}, {"Origin": "null"}, {"Host": "example.com"}])
async def test_without_a_token_a_web_page_of_another_site_cannot_call_the_server(headers: dict[str, str]) -> None:
    adder = Adder()
    async with await serve(adder) as server:
        assert (await post(server, chat(), **headers))[0] == 403
        assert (await post(server, chat(), Origin="http://localhost:3000", Host="localhost"))[0] == 200
    assert len(adder.requests) == 1


async def test_a_port_that_is_taken_is_a_usage_error() -> None:
    async with await serve(Adder()) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}"):
            await serve(Adder(), port=port)


async def test_closing_ends_calls_in_flight_soon_and_frees_the_port() -> None:
    adder = Adder(waits=True)
    server = await serve(adder)
    port = int(server.url.split(":")[2].split("/")[0])
    model = openai("any", base_url=server.url)
    call = asyncio.create_task(model.complete(sum_of("1 1")))
    await until(lambda: bool(adder.requests))
    began = time.perf_counter()
    await server.close()
    await server.close()
    assert time.perf_counter() - began < 30  # the call would take a minute
    with pytest.raises(ModelError):
        await call
    await model.close()
    async with await serve(Adder(), port=port) as again:
        assert again.url == server.url


PROGRAM = "from tests.serve.adder import Adder; from mdap.serve import run_server; run_server(Adder(), chaos='hang=1')"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_blocking_server_says_its_url_and_stops_on_a_signal_even_with_a_call_in_flight(number: int) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stderr=PIPE)
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        model = openai("any", base_url=line.split(" at ")[1].split()[0])
        call = asyncio.create_task(model.complete(sum_of("1 1")))
        await asyncio.sleep(0.1)
        process.send_signal(number)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert await process.stderr.read() == b""
        with pytest.raises(ModelError):
            await call
        await model.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
