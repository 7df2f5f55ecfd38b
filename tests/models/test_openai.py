"""The OpenAI dialect: what is sent, how replies are read, and that the key stays where it belongs."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import msgspec
import pytest

from mdap.core.errors import ModelError, UsageError
from mdap.core.records import Message, Response, Usage
from mdap.core.spec import build, parse_spec
from mdap.models.compatible import Factory, llamacpp, lmstudio, ollama, openrouter, vllm
from mdap.models.openai import ChatCompletions, openai
from mdap.protocols import Model
from tests.models import wires
from tests.models.raw_server import KEY, OK, answering, asking, completion, http


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


async def reply_to(raw: bytes) -> Response:
    async with answering(raw) as server:
        model = openai("m", base_url=server.url)
        try:
            return await model.complete(asking())
        finally:
            await model.close()


async def test_a_request_carries_model_messages_seed_temperature_and_cap() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        await model.complete(asking('Grüße "x"', seed=11, temperature=0.1))
        assert server.body == {
            "model": "m",
            "messages": [{"role": "user", "content": 'Grüße "x"'}],
            "seed": 11,
            "temperature": 0.1,
            "max_tokens": 50,
        }
        assert server.requests[0][0].startswith("post /v1/chat/completions http/1.1")
        await model.close()


async def test_a_prompt_of_megabytes_arrives_whole() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        await model.complete(asking("x" * 3_000_000))
        assert len(server.body["messages"][0]["content"]) == 3_000_000
        await model.close()


async def test_a_temperature_of_none_is_not_sent_and_one_of_zero_is() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        await model.complete(asking(temperature=None))
        assert "temperature" not in server.body
        await model.complete(asking(temperature=0.0))
        assert server.body["temperature"] == 0.0
        await model.close()


async def test_all_roles_are_sent_as_they_are() -> None:
    request = asking()
    messages = (Message("system", "s"), Message("user", "u"), Message("assistant", "a"))
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        prompt = type(request.prompt)(messages, "")
        await model.complete(type(request)(prompt, request.draw, 1, None, 5))
        assert [m["role"] for m in server.body["messages"]] == ["system", "user", "assistant"]
        await model.close()


async def test_the_key_of_the_environment_is_sent_as_a_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    async with answering(OK) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
        model = openai("m")
        await model.complete(asking())
        assert f"authorization: bearer {KEY}" in server.requests[0][0]
        await model.close()


async def test_without_a_key_none_is_sent() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        await model.complete(asking())
        assert "authorization" not in server.requests[0][0]
        await model.close()


def test_the_vendors_own_url_without_a_key_is_an_error_before_any_call() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        openai("gpt-4.1-mini")


@pytest.mark.parametrize("key", ["sk-with space", "sk-gr\u00fc\u00df", "sk-line\nbreak"])
def test_a_key_that_cannot_be_a_key_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        openai("m", api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http:" + f"//user:{KEY}@127.0.0.1/v1",
        f"http://127.0.0.1/v1?key={KEY}",
        f"http://127.0.0.1/v1#{KEY}",
        "http:" + f"//u:{KEY}[@x",
        "127.0.0.1:8000/v1",
        "ftp://127.0.0.1/v1",
        "http:///v1",
        "http:" + "//a,b/v1",
    ],
)
def test_a_base_url_that_hides_a_secret_or_is_no_url_is_an_error_without_the_secret(url: str) -> None:
    with pytest.raises(UsageError, match="base URL") as caught:
        openai("m", base_url=url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["", " m", "a,b", "a=b"])
def test_a_model_name_that_no_spec_could_hold_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match="model name"):
        openai(name, base_url="http://127.0.0.1/v1")


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_timeout_that_is_not_above_zero_is_an_error(timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        openai("m", base_url="http://127.0.0.1/v1", timeout=timeout)


def test_the_spec_names_model_and_server_and_builds_the_same_model_again() -> None:
    model = openai("llama3.2:3b", base_url="http://127.0.0.1:11434/v1/", api_key=KEY, timeout=5)
    assert model.spec == "openai:llama3.2:3b,base_url=http://127.0.0.1:11434/v1"
    assert build(parse_spec(model.spec), openai, bare="model").spec == model.spec


def test_the_spec_leaves_the_vendors_own_url_out_and_no_text_of_the_model_holds_the_key() -> None:
    model = openai("gpt-4.1-mini", api_key=KEY)
    assert model.spec == "openai:gpt-4.1-mini"
    assert KEY not in repr(model) + str(model) + model.spec


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("content_filter", "refusal"),
        (None, "stop"),
        ("a word of tomorrow", "stop"),
    ],
)
async def test_finish_reasons_of_servers_are_read_as_ours(word: Any, finish: str) -> None:
    assert (await reply_to(completion({"content": "x"}, word))).finish == finish


@pytest.mark.parametrize("word", ["abort", "error"])
async def test_a_reply_that_the_server_gave_up_is_asked_again(word: Any) -> None:
    with pytest.raises(ModelError, match=word) as caught:
        await reply_to(completion({"content": "half of"}, word))
    assert (caught.value.kind, caught.value.retryable) == ("aborted", True)


async def test_text_usage_and_id_are_read_and_unknown_fields_are_let_be() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 34.0, "total_tokens": 46, "details": {"cached": [1]}}
    raw = completion({"content": "hé", "tool_calls": None}, usage=usage, id="abc", system_fingerprint=None)
    response = await reply_to(raw)
    assert (response.text, response.usage, response.id) == ("hé", Usage(12, 34), "abc")


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}])
async def test_usage_that_is_not_reported_is_none_and_not_zero(usage: Any) -> None:
    assert (await reply_to(completion({"content": "x"}, usage=usage))).usage is None


async def test_content_in_parts_is_joined_and_thoughts_are_left_out() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": [1]}, {"type": "text", "text": "b"}]
    assert (await reply_to(completion({"content": parts}))).text == "ab"


@pytest.mark.parametrize(
    "message", [{"content": None, "refusal": "I won't"}, {"content": [{"type": "refusal", "refusal": "I won't"}]}]
)
async def test_a_refusal_is_a_refusal_with_its_words_whatever_the_finish_reason(message: Any) -> None:
    response = await reply_to(completion(message))
    assert (response.finish, response.text) == ("refusal", "I won't")


async def test_no_content_at_all_is_an_empty_text() -> None:
    response = await reply_to(completion({"content": None, "reasoning_content": "hm"}, "length"))
    assert (response.text, response.finish) == ("", "length")


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        for _ in range(5):
            await model.complete(asking())
        assert (server.connections, len(server.requests)) == (1, 5)
        await model.close()


async def test_calls_are_not_limited_in_number() -> None:
    async with answering(None) as server:
        model = openai("m", base_url=server.url, timeout=0.5)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fails(model)) for _ in range(150)]
        assert {task.result() for task in tasks} == {"timeout"}
        assert server.connections == 150
        await model.close()


async def fails(model: Model) -> str:
    with pytest.raises(ModelError) as caught:
        await model.complete(asking())
    return caught.value.kind


async def test_cancelling_a_call_closes_its_connection_at_once() -> None:
    async with answering(None) as server:
        model = openai("m", base_url=server.url)
        call = asyncio.create_task(model.complete(asking()))
        await server.arrived.wait()
        began = time.perf_counter()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.gone.wait(), 30)
        assert time.perf_counter() - began < 10  # nobody would answer for ten minutes
        await model.close()


def test_a_model_can_be_used_from_one_event_loop_after_another_closed_or_not(recwarn: pytest.WarningsRecorder) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = openai("m", base_url=f"http://127.0.0.1:{port}/v1")

    async def once(*, close: bool) -> str:
        async with answering(OK, port=port):
            text = (await model.complete(asking())).text
            if close:
                await model.close()
            return text

    assert [asyncio.run(once(close=close)) for close in (True, False, False, True)] == ["fine"] * 4
    assert not [str(w.message) for w in recwarn if "client session" in str(w.message)]


async def test_a_closed_model_can_be_asked_again() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        await model.complete(asking())
        await model.close()
        await model.close()
        assert (await model.complete(asking())).text == "fine"
        await model.close()


async def test_what_the_vendor_documents_is_read_whole() -> None:
    reply = await reply_to(http(200, msgspec.json.encode(wires.OPENAI)))
    assert reply.usage == Usage(1117, 46, cached=1024, reasoning=30)
    assert (reply.text, reply.id, reply.model) == (
        "fine",
        "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "gpt-4.1-2025-04-14",
    )


async def test_tokens_written_to_a_cache_are_read_where_a_server_counts_them() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 7}}
    assert (await reply_to(completion({"content": "x"}, usage=usage))).usage == Usage(9, 1, cache_written=7)


async def test_log_probabilities_are_asked_for_summed_and_part_of_the_spec() -> None:
    choice = {
        "message": {"content": "ab"},
        "logprobs": {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": []}, {"token": "b", "logprob": -1}]},
    }
    async with answering(http(200, msgspec.json.encode({"choices": [choice]}))) as server:
        model = vllm("m", base_url=server.url, logprobs=True)
        assert (await model.complete(asking())).logprob == -1.5
        assert server.body["logprobs"] is True
        assert model.spec == f"vllm:m,base_url={server.url},logprobs=on"
        await model.close()


async def test_log_probabilities_are_not_asked_for_where_the_profile_has_none() -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url, logprobs=True)
        assert (await model.complete(asking())).logprob is None
        assert "logprobs" not in server.body
        await model.close()


async def test_a_schema_is_sent_where_the_profile_has_it_and_only_there() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    request = msgspec.structs.replace(asking(), schema=schema)
    async with answering(OK) as server:
        for model in (vllm("m", base_url=server.url), openai("m", base_url=server.url)):
            await model.complete(request)
            await model.close()
        sent = [msgspec.json.decode(body).get("response_format") for _, body in server.requests]
    assert sent == [
        {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}},
        None,
    ]


async def test_a_family_that_takes_no_temperature_is_never_sent_one_and_gets_its_cap_by_its_own_name() -> None:
    async with answering(OK) as server:
        model = openai("gpt-5-mini", base_url=server.url)
        await model.complete(asking(temperature=0.1))
        assert "temperature" not in server.body
        assert "max_tokens" not in server.body
        assert server.body["max_completion_tokens"] == 50
        assert (model.first_temperature, model.temperature) == (None, None)
        assert not hasattr(openai("gpt-4.1", base_url=server.url), "temperature")
        await model.close()


async def refused(body: object, *replies: bytes, status: int = 400) -> tuple[ChatCompletions, list[str], list[bytes]]:
    """The model after one call for each reply, the first of which is a refusal; the kinds of errors; what was sent."""
    async with answering(http(status, msgspec.json.encode(body)), *replies) as server:
        model = openai("m", base_url=server.url)
        kinds = []
        for _ in (body, *replies):
            try:
                await model.complete(asking())
                kinds.append("ok")
            except ModelError as error:
                kinds.append(f"{error.kind} {error.retryable}")
        await model.close()
        return model, kinds, [sent for _, sent in server.requests]


async def test_the_other_name_of_the_cap_is_tried_once() -> None:
    model, kinds, sent = await refused(wires.OPENAI_CAP, OK)
    assert (kinds, model.adaptations) == (["adapted True", "ok"], ("max_tokens",))
    assert b'"max_tokens":50' in sent[0]
    assert b'"max_completion_tokens":50' in sent[1]


async def test_a_second_refusal_of_the_cap_is_final() -> None:
    other = {"error": {"message": "Unsupported parameter: 'max_completion_tokens'", "param": "max_completion_tokens"}}
    model, kinds, _ = await refused(wires.OPENAI_CAP, http(400, msgspec.json.encode(other)))
    assert kinds == ["adapted True", "400 False"]
    assert model.profile.max_tokens == "max_completion_tokens"


async def test_each_refused_parameter_is_adapted_on_its_own() -> None:
    temperature = http(400, msgspec.json.encode(wires.OPENAI_TEMPERATURE))
    seed = http(422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]}')
    model, kinds, sent = await refused(wires.OPENAI_CAP, temperature, seed, OK)
    assert kinds == ["adapted True"] * 3 + ["ok"]
    assert model.adaptations == ("max_tokens", "temperature", "seed")
    assert msgspec.json.decode(sent[-1]).keys() == {"model", "messages", "max_completion_tokens"}
    assert "default sampling" in model.profile.variety


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 50. This model supports at most 16 completion tokens.",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3.",
        "This model's maximum context length is 10 tokens, and max_tokens is 50.",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Unsupported parameter: 'top_p' is not supported with this model.",
    ],
)
async def test_a_refusal_for_another_reason_changes_nothing(message: str) -> None:
    model, kinds, _ = await refused({"error": {"message": message, "type": "invalid_request_error"}})
    assert (kinds, model.adaptations) == (["400 False"], ())


def choices(*texts: str, **more: object) -> bytes:
    listed = [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": 10, "completion_tokens": 30}
    return http(200, msgspec.json.encode({"choices": listed[::-1], "usage": usage, "id": "c", "model": "M", **more}))


async def test_draws_of_one_prompt_share_a_call_and_its_usage_is_the_first_ones() -> None:
    async with answering(choices("a", "b", "c")) as server:
        model = vllm("m", base_url=server.url)
        replies = await model.complete_n([asking(seed=i) for i in range(3)])
        assert (server.body["n"], "seed" in server.body, len(server.requests)) == (3, False, 1)
        await model.close()
    assert [reply.text for reply in replies] == ["a", "b", "c"]
    assert [reply.usage for reply in replies] == [Usage(10, 30), Usage(0, 0), Usage(0, 0)]
    # One name three times would look like one reply three times.
    assert [reply.id for reply in replies] == ["c", "c#1", "c#2"]


async def test_a_server_that_ignores_n_keeps_what_it_gave_and_is_not_asked_so_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with answering(choices("a")) as server:
        model = vllm("m", base_url=server.url)
        replies = await model.complete_n([asking(), asking()])
        assert [reply.text for reply in replies] == ["a"]
        assert (model.profile.n, model.adaptations) == (False, ("n",))
        assert "more were asked for" in caplog.text
        with pytest.raises(UsageError, match="takes no n"):
            await model.complete_n([asking(), asking()])
        await model.close()


async def test_a_single_draw_of_a_shared_call_keeps_its_seed() -> None:
    async with answering(OK) as server:
        model = vllm("m", base_url=server.url)
        assert [reply.text for reply in await model.complete_n([asking(seed=7)])] == ["fine"]
        assert server.body["seed"] == 7
        await model.close()


async def test_no_draws_are_no_call() -> None:
    assert await vllm("m").complete_n([]) == []


async def test_draws_that_differ_in_prompt_or_temperature_cannot_share_a_call() -> None:
    model = vllm("m")
    for other in (asking("else"), asking(temperature=0.7)):
        with pytest.raises(UsageError, match="cannot share"):
            await model.complete_n([asking(), other])


@pytest.mark.parametrize(
    ("factory", "url"),
    [
        (vllm, "http://127.0.0.1:8000/v1"),
        (ollama, "http://127.0.0.1:11434/v1"),
        (llamacpp, "http://127.0.0.1:8080/v1"),
        (lmstudio, "http://127.0.0.1:1234/v1"),
    ],
)
def test_servers_on_this_machine_have_their_own_addresses_and_specs(factory: Factory, url: str) -> None:
    model = factory("llama3.2:3b")
    assert (model.base_url, model.spec.partition(":")[2]) == (url, "llama3.2:3b")
    assert build(parse_spec(model.spec), factory, bare="model").spec == model.spec


async def test_a_router_is_told_to_answer_no_draw_from_its_cache() -> None:
    async with answering(OK) as server:
        model = openrouter("openai/gpt-4.1", base_url=server.url)
        await model.complete(asking())
        assert "x-openrouter-cache: false" in server.requests[0][0]
        await model.close()
