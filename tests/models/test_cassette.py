"""Cassettes: what is written, what never is, and that a replay gives the same replies in any order of arrival."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap.aio
from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.records import Draw, Message, Prompt, Request, Response
from mdap.models.anthropic import anthropic
from mdap.models.cassette import Failure, digest, recording, replaying, tape
from mdap.models.google import google
from mdap.models.http import Reply
from mdap.models.openai import openai
from mdap.models.remote import Remote
from mdap.models.simulated import simulated
from mdap.serve import serve
from mdap.tasks.hanoi import hanoi
from tests.models import wires
from tests.models.raw_server import KEY, OK, answering, asking, completion, http


class Shouter:
    """Answers with the prompt in capitals, the seed and how often it was asked: no two replies are the same."""

    spec = "shouter"

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, request: Request) -> Response:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0.001 * (request.seed % 5))
        return Response(f"{request.messages[-1].content.upper()} {request.seed} {number}")


async def ask(model: Remote, *requests: Request) -> list[str]:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(model.complete(request)) for request in requests]
    await model.close()
    return [call.result().text for call in calls]


async def test_a_replay_gives_what_was_recorded_without_a_server_or_a_key(tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")
    requests = [asking(f"draw {i % 3}", seed=i % 4) for i in range(24)]
    async with await serve(Shouter()) as server:
        recorded = await ask(openai("m", base_url=server.url, api_key=KEY, record_http=file), *requests)
    assert len(set(recorded)) == 24
    again = await ask(openai("m", base_url=server.url, replay_http=file), *requests)
    assert again == recorded


async def test_equal_requests_in_flight_together_get_their_replies_in_the_order_of_asking(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    replies = [completion({"content": str(n)}) for n in range(8)]
    async with answering(*replies) as server:
        recorded = await ask(openai("m", base_url=server.url, record_http=str(file)), *[asking()] * 8)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(reversed(lines)))  # the order of the lines is that of arrival, and means nothing
    for _ in range(3):
        assert await ask(openai("m", base_url=server.url, replay_http=str(file)), *[asking()] * 8) == recorded
    assert sorted(recorded) == [str(n) for n in range(8)]


async def test_a_call_that_was_never_recorded_fails_loudly_and_says_what_was_asked(tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")
    async with answering(OK) as server:
        await ask(openai("m", base_url=server.url, record_http=file), asking("a secret plan", seed=7))
    model = openai("m", base_url=server.url, replay_http=file)
    assert (await model.complete(asking("a secret plan", seed=7))).text == "fine"
    for request, times in (
        (asking("a secret plan", seed=7), "only 1 time,"),
        (asking("a secret plan", seed=8), "never"),
    ):
        with pytest.raises(ModelRejected, match="has no reply: POST /v1/chat/completions") as caught:
            await model.complete(request)
        assert caught.value.kind == "not-recorded"
        assert f"seed={request.seed}" in caught.value.message
        assert "model=m" in caught.value.message
        assert times in caught.value.message
        assert "--record-http" in caught.value.remedy
        assert "secret plan" not in str(caught.value)  # a prompt is nobody's business in a log
    await model.close()


async def test_no_key_is_ever_written_not_even_one_that_a_server_repeats(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    repeated = http(401, f'{{"error": {{"message": "no such key: {KEY}"}}}}', f"Location: http://127.0.0.1/{KEY}")
    for factory in (openai, anthropic, google):
        async with answering(repeated) as server:
            model: Remote = factory("m", base_url=server.url, api_key=KEY, record_http=str(file))
            with pytest.raises(ModelRejected):
                await model.complete(asking())
            await model.close()
        written = file.read_text()
        assert KEY not in written
        assert "[key]" in written
        assert "uthorization" not in written
        assert "x-api-key" not in written.lower()
        file.unlink()


async def test_a_word_that_stands_in_for_a_key_is_not_cut_out_of_what_is_recorded(tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")
    async with answering(completion({"content": "the ollama model"})) as server:
        await ask(openai("m", base_url=server.url, api_key="ollama", record_http=file), asking())
    assert await ask(openai("m", base_url=server.url, replay_http=file), asking()) == ["the ollama model"]


async def test_a_cassette_that_cannot_be_written_is_an_error_before_or_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        recording(tmp_path / "nowhere" / "calls.jsonl")
    folder = tmp_path / "folder"
    folder.mkdir()
    model = openai("m", base_url="http://127.0.0.1:9/v1", record_http=str(folder / "calls.jsonl"))
    (folder / "calls.jsonl").unlink()
    folder.rmdir()
    with pytest.raises(ModelRejected, match="cannot write"):
        await model.complete(asking())
    await model.close()


async def test_failures_are_replayed_as_they_were(tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")

    async def kinds(model: Remote) -> list[tuple[type, str, float | None]]:
        found: list[tuple[type, str, float | None]] = []
        for _ in range(5):
            try:
                found.append((Response, (await model.complete(asking())).text, None))
            except ModelError as error:
                found.append((type(error), error.kind, error.retry_after))
        await model.close()
        return found

    busy = http(429, '{"error": {"message": "slow down"}}', "Retry-After: 1.5")
    huge = http(200, b" " * 12_000_000)
    async with answering(b"", busy, huge, http(200, b"\xff\xfe"), OK) as server:
        recorded = await kinds(openai("m", base_url=server.url, record_http=file))
    assert [kind for _, kind, _ in recorded] == ["dropped", "429", "too-large", "garbage", "fine"]
    assert await kinds(openai("m", base_url=server.url, replay_http=file)) == recorded
    assert recorded[1][2] == 1.5


async def test_a_call_that_was_given_up_has_no_reply_in_a_replay_either(tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")
    async with answering(None) as server:
        model = openai("m", base_url=server.url, record_http=file)
        call = asyncio.create_task(model.complete(asking()))
        await server.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await model.close()
    with pytest.raises(ModelError) as caught:
        await openai("m", base_url=server.url, replay_http=file).complete(asking())
    assert (caught.value.kind, caught.value.retryable) == ("timeout", True)


async def test_every_dialect_can_be_recorded_and_replayed_whole(tmp_path: Path) -> None:
    for name, factory, body in (
        ("o", openai, wires.OPENAI),
        ("a", anthropic, wires.ANTHROPIC),
        ("g", google, wires.GOOGLE),
    ):
        file = str(tmp_path / name)
        packed = gzip.compress(msgspec.json.encode(body))
        async with answering(http(200, packed, "Content-Encoding: gzip", "X-Cache: HIT")) as server:
            model: Remote = factory("m", base_url=server.url, record_http=file)
            recorded = await model.complete(asking())
            await model.close()
        replayed: Remote = factory("m", base_url=server.url, replay_http=file)
        assert await replayed.complete(asking()) == recorded
        assert recorded.from_cache
        assert recorded.text == "fine"
        assert recorded.usage is not None


def test_a_vendors_own_address_needs_no_key_in_a_replay(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(b"")
    assert openai("gpt-4.1", replay_http=str(file)).spec == "openai:gpt-4.1"


async def test_models_may_share_one_tape(tmp_path: Path) -> None:
    shared = recording(tmp_path / "calls.jsonl")
    async with answering(completion({"content": "1"}), completion({"content": "2"})) as server:
        for name in ("m", "m2"):
            await ask(openai(name, base_url=server.url, record_http=shared), asking())
    played = replaying(tmp_path / "calls.jsonl")
    assert await ask(openai("m2", base_url=server.url, replay_http=played), asking()) == ["2"]
    assert await ask(openai("m", base_url=server.url, replay_http=played), asking()) == ["1"]


def test_a_recording_never_goes_into_a_file_that_holds_another(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text("{}\n")
    with pytest.raises(UsageError, match="already"):
        recording(file)


def test_both_at_once_or_a_missing_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both"):
        tape("a", "b")
    with pytest.raises(UsageError, match="No such file"):
        replaying(tmp_path / "none")
    damaged = tmp_path / "damaged"
    damaged.write_text('{"key": "k"}\n{"key": "k", "attempt": 1, "method": "POST", "path": "/"}\n')
    with pytest.raises(UsageError, match="line 1"):
        replaying(damaged)
    assert tape(None, None) is None


async def test_a_last_line_that_was_cut_by_a_kill_is_a_call_that_was_never_recorded(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    async with answering(OK) as server:
        model = openai("m", base_url=server.url, record_http=str(file))
        for seed in (1, 2):
            await model.complete(asking(seed=seed))
        await model.close()
    file.write_bytes(file.read_bytes()[:-30])
    replay = openai("m", base_url=server.url, replay_http=str(file))
    assert (await replay.complete(asking(seed=1))).text == "fine"
    with pytest.raises(ModelRejected, match="never"):
        await replay.complete(asking(seed=2))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1, "b": [1, 2]}', b'{"b":[1,2],"a":1}', True),
        (b'{"a": 1}', b'{"a": 2}', False),
        (b'{"b": [1, 2]}', b'{"b": [2, 1]}', False),
        (b"not json", b"not  json", False),
        (b"", b"", True),
    ],
)
def test_a_call_is_known_by_what_its_body_says_not_by_how_it_is_spaced(one: bytes, other: bytes, same: bool) -> None:
    assert (digest("POST", "/v1", one) == digest("POST", "/v1", other)) is same
    assert digest("POST", "/v1", one) != digest("GET", "/v1", one)
    assert digest("POST", "/v1", one) != digest("POST", "/v2", one)


async def test_a_line_can_be_read_by_a_person_and_says_what_was_asked(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    async with answering(b"", OK) as server:
        model = openai("m", base_url=server.url, record_http=str(file))
        with pytest.raises(ModelError):
            await model.complete(asking("hi"))
        await model.complete(asking("hi"))
        await model.close()
    first, second = (msgspec.json.decode(line) for line in file.read_bytes().splitlines())
    assert first["failure"]["kind"] == "dropped"
    assert (second["attempt"], second["method"], second["path"]) == (2, "POST", "/v1/chat/completions")
    assert second["asked"]["messages"] == [{"role": "user", "content": "hi"}]
    assert second["headers"] == {"content-type": "application/json"}
    assert msgspec.json.decode(second["body"])["choices"][0]["message"]["content"] == "fine"
    assert first["key"] == second["key"]
    assert msgspec.convert(first["failure"], Failure).retryable


async def test_the_parameters_of_any_dialect_are_in_the_words_of_a_miss(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    messages = (Message("system", "be brief"), Message("user", "hello"))
    request = Request(Prompt(messages, ""), Draw(0, 0), 11, 0.5, 30)
    makes: list[tuple[Any, str, str]] = [
        (anthropic, "claude-haiku-4-5", "temperature=0.5"),
        (google, "gemini-2.5-flash", "maxOutputTokens=30, seed=11, temperature=0.5"),
    ]
    for factory, name, words in makes:
        model = factory(name, replay_http=str(empty))
        with pytest.raises(ModelRejected) as caught:
            await model.complete(request)
        assert words in caught.value.message
        assert "brief" not in caught.value.message


async def test_a_whole_run_with_its_failures_and_flags_is_replayed_without_a_server(tmp_path: Path) -> None:
    file = str(tmp_path / "calls.jsonl")
    simulator = simulated(p=0.9, seed=1)
    async with await serve(simulator, task=hanoi(4), chaos="429=0.1,garbage=0.02,cut=0.1") as server:
        url = server.url
        model = openai("any", base_url=url, record_http=file)
        recorded = await mdap.aio.run("hanoi:disks=4", model, k=3, seed=5, lookahead=0)
        await model.close()
    replayed = await mdap.aio.run(
        "hanoi:disks=4", openai("any", base_url=url, replay_http=file), k=3, seed=5, lookahead=0
    )
    assert (recorded.status, recorded.wrong) == (replayed.status, replayed.wrong) == ("done", 0)
    assert recorded.retries["429"] > 0
    assert recorded.flagged["truncated"] > 0
    for name in ("votes", "samples", "retries", "flagged", "tokens"):
        assert getattr(recorded, name) == getattr(replayed, name)
    assert list(recorded.actions) == list(replayed.actions)


CALL = b'{"key": "k", "attempt": 1, "method": "POST", "path": "/", "status": 200'


@pytest.mark.parametrize(
    "line",
    [
        CALL + b', "body64": "not base64!"}',
        CALL + b', "body64": "YQ="}',
        CALL + b', "asked": ' + b"[" * 100_000,
        CALL + b', "headers": {"date": 5}}',
        b"<html>",
        b"\xff",
    ],
)
def test_a_damaged_line_is_named_when_the_file_is_opened_and_not_in_the_middle_of_a_run(
    tmp_path: Path, line: bytes
) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(CALL + b"}\n" + line + b"\n")
    with pytest.raises(UsageError, match=r"calls\.jsonl, line 2, is no call"):
        replaying(file)


async def test_a_body_that_is_no_text_and_an_empty_one_are_given_back_byte_for_byte(tmp_path: Path) -> None:
    for number, body in enumerate((bytes(range(256)), b"", b"\xff", "é\u2028\x00".encode())):
        file = tmp_path / f"{number}.jsonl"

        async def _send(body: bytes = body) -> Reply:
            return Reply(200, {"retry-after": "7", "set-cookie": "mine"}, body)

        await recording(file).call("GET", "/x", b"", _send)
        again = await replaying(file).call("GET", "/x", b"", _send)
        assert again.body == body
        assert (again.status, again.headers["Retry-After"], "set-cookie" in again.headers) == (200, "7", False)


@given(
    st.recursive(
        st.none() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_a_call_is_known_again_by_what_its_body_says_and_not_by_how_it_is_written(said: Any) -> None:
    compact, spaced = json.dumps(said), json.dumps(said, indent=3, ensure_ascii=False)
    turned = json.dumps(dict(reversed(said.items())) if isinstance(said, dict) else said)
    keys = {digest("POST", "/v1", body.encode("utf-8", "surrogatepass")) for body in (compact, spaced, turned)}
    assert len(keys) == 1
    assert digest("GET", "/v1", compact.encode()) not in keys
    assert digest("POST", "/v2", compact.encode()) not in keys
    assert digest("POST", "/v1", json.dumps([said]).encode()) not in keys
