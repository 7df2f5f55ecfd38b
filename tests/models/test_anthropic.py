"""The Anthropic dialect: what is sent, and how replies, stop reasons and usage are read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mdap.core.errors import ModelError, ModelRejected
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage
from mdap.models.anthropic import anthropic
from tests.models import wires
from tests.models.raw_server import answering, asking, http


async def reply_to(**changes: Any) -> Response:
    async with answering(http(200, msgspec.json.encode(wires.ANTHROPIC | changes))) as server:
        model = anthropic("claude-opus-4-6", base_url=server.url)
        try:
            return await model.complete(asking())
        finally:
            await model.close()


async def sent(request: Request, name: str = "claude-haiku-4-5") -> tuple[dict[str, Any], str]:
    """The body and the head of a request as they arrived."""
    async with answering(http(200, msgspec.json.encode(wires.ANTHROPIC))) as server:
        model = anthropic(name, base_url=server.url)
        await model.complete(request)
        await model.close()
        return server.body, server.requests[0][0]


async def error_of(status: int, body: object) -> ModelError:
    async with answering(http(status, msgspec.json.encode(body))) as server:
        model = anthropic("claude-haiku-4-5", base_url=server.url)
        with pytest.raises(ModelError) as caught:
            await model.complete(asking())
        await model.close()
        return caught.value


async def test_a_request_carries_model_cap_messages_and_temperature_but_no_seed() -> None:
    body, head = await sent(asking("Grüße", seed=11, temperature=0.1))
    assert body == {
        "model": "claude-haiku-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Grüße"}],
        "temperature": 0.1,
    }
    assert "anthropic-version: 2023-06-01\r\n" in head


@pytest.mark.parametrize("name", ["claude-opus-4-7", "claude-sonnet-5-5", "claude-a-name-of-tomorrow"])
async def test_a_model_that_refuses_temperatures_is_never_sent_one(name: str) -> None:
    body, _ = await sent(asking(temperature=0.1), name)
    assert "temperature" not in body


async def test_what_the_system_says_stands_apart_and_is_joined() -> None:
    messages = (Message("system", "a"), Message("user", "u"), Message("assistant", "v"), Message("system", "b"))
    body, _ = await sent(Request(Prompt(messages, ""), Draw(0, 0), 1, None, 5))
    assert body["system"] == "a\n\nb"
    assert body["messages"] == [{"role": "user", "content": "u"}, {"role": "assistant", "content": "v"}]


async def test_a_schema_goes_into_the_output_config() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    body, _ = await sent(msgspec.structs.replace(asking(), schema=schema))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "stop"),
        (None, "stop"),
        ("a word of tomorrow", "stop"),
    ],
)
async def test_stop_reasons_are_read_as_ours(word: Any, finish: str) -> None:
    assert (await reply_to(stop_reason=word)).finish == finish


async def test_cached_tokens_count_as_input_although_the_vendor_counts_them_apart() -> None:
    assert (await reply_to()).usage == Usage(2095 + 2051 + 1800, 503, cached=1800, cache_written=2051)


async def test_thinking_is_part_of_the_output_but_not_of_the_text() -> None:
    usage = {"input_tokens": 10, "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 70}}
    content = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}]
    reply = await reply_to(usage=usage, content=content)
    assert (reply.text, reply.usage) == ("yes", Usage(10, 90, reasoning=70))


async def test_id_and_model_are_the_vendors() -> None:
    reply = await reply_to()
    assert (reply.id, reply.model) == ("msg_013Zva2CMHLNnXjNJJKqJ2EF", "claude-opus-4-6")


@pytest.mark.parametrize("usage", [None, {}])
async def test_usage_that_is_not_reported_is_none(usage: Any) -> None:
    assert (await reply_to(usage=usage)).usage is None


async def test_an_overloaded_vendor_is_asked_again() -> None:
    error = await error_of(529, wires.anthropic_error("overloaded_error", "Overloaded"))
    assert (error.kind, error.retryable, "Overloaded" in error.message) == ("529", True, True)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, wires.ANTHROPIC_CREDIT),
        (402, wires.anthropic_error("billing_error", "There is an issue with your billing.")),
        (
            429,
            wires.anthropic_error("rate_limit_error", "Limit.", details={"error_code": "enforced_spend_limit_reached"}),
        ),
    ],
)
async def test_an_account_that_is_used_up_is_not_waited_for(status: int, body: Any) -> None:
    error = await error_of(status, body)
    assert (type(error), error.kind) == (ModelRejected, "quota")
    assert "credit" in error.remedy


async def test_a_temperature_that_an_older_table_still_allows_is_adapted_away() -> None:
    error = await error_of(400, wires.ANTHROPIC_TEMPERATURE)
    assert (error.kind, "default sampling" in error.message) == ("adapted", False)
    assert "temperature" in error.message


async def test_an_error_inside_a_reply_that_claims_success_counts_as_one() -> None:
    error = await error_of(200, wires.anthropic_error("api_error", "Internal server error"))
    assert (error.kind, error.retryable, "Internal" in error.message) == ("500", True, True)


@pytest.mark.parametrize("ending", ["", "/v1", "/v1/"])
async def test_the_base_url_may_end_before_v1_or_after_it(ending: str) -> None:
    async with answering(http(200, msgspec.json.encode(wires.ANTHROPIC))) as server:
        model = anthropic("m", base_url=server.url.removesuffix("/v1") + ending)
        await model.complete(asking())
        assert server.requests[0][0].startswith("post /v1/messages ")
        await model.close()
