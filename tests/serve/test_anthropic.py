"""The Anthropic dialect as its vendor describes it: platform.claude.com/docs, read on 2026-11-20.

Pages: api/messages/create (request, reply), api/errors (error bodies), api/versioning, and for the wording about
temperature the errors that the service gave (public reports of May to November 2026).
"""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.records import Message
from mdap.serve import serve
from tests.serve.adder import Adder, Refuser
from tests.serve.asking import VERSION, ask, body_of, fetch, send

PATH = "/v1/messages"


async def test_a_reply_has_the_shape_that_the_vendor_documents() -> None:
    async with await serve(Adder()) as server:
        got = await ask(server, "anthropic", "4 5")
    body = got.body
    assert body.pop("id").startswith("msg_")
    assert body.pop("content") in ([{"type": "text", "text": "9"}], [{"type": "text", "text": "10"}])
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "any",
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
            "service_tier": "standard",
        },
    }
    assert got.headers["request-id"].startswith("req_")


async def test_system_and_content_may_be_text_or_blocks_and_the_model_gets_them_in_order() -> None:
    adder = Adder()
    blocks = [{"type": "text", "text": "4 ", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "5"}]
    turns = [{"role": "user", "content": "1 1"}, {"role": "assistant", "content": "2"}]
    async with await serve(adder) as server:
        for system in ("add", [{"type": "text", "text": "add"}]):
            body = body_of("anthropic", cap=7, system=system, temperature=0.5, top_k=3, metadata={"user_id": "u"})
            body["messages"] = [*turns, {"role": "user", "content": blocks}]
            assert (await send(server, PATH, body, VERSION)).status == 200
    for request in adder.requests:
        assert request.messages == (
            Message("system", "add"),
            Message("user", "1 1"),
            Message("assistant", "2"),
            Message("user", "4 5"),
        )
        assert (request.max_tokens, request.temperature) == (7, 0.5)


async def test_each_asking_has_its_own_seed_for_the_dialect_has_none() -> None:
    adder = Adder()
    async with await serve(adder) as server:
        ids = [(await ask(server, "anthropic")).id for _ in range(4)]
    assert len({request.seed for request in adder.requests}) == len(set(ids)) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max_tokens": None}, "max_tokens: "),
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature: "),
        ({"stream": True}, "stream: "),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "messages.0.content.0.text: "),
        ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages.0.name: Extra inputs are not"),
    ],
)
async def test_what_the_vendor_does_not_take_is_a_400_that_names_the_field(change: dict[str, Any], says: str) -> None:
    async with await serve(Adder()) as server:
        got = await send(server, PATH, body_of("anthropic") | change, VERSION)
    assert got.status == 400
    error = got.body["error"]
    assert (got.body["type"], error["type"]) == ("error", "invalid_request_error")
    assert error["message"].startswith(says)
    assert got.body["request_id"] == got.headers["request-id"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 50_000])
async def test_a_body_that_cannot_be_read_is_a_400_in_the_vendors_shape(raw: bytes) -> None:
    async with await serve(Adder()) as server:
        got = await send(server, PATH, raw, VERSION)
    assert (got.status, got.body["error"]["type"]) == (400, "invalid_request_error")


async def test_a_missing_field_is_named_as_required() -> None:
    body = body_of("anthropic")
    del body["max_tokens"]
    async with await serve(Adder()) as server:
        got = await send(server, PATH, body, VERSION)
    assert got.body["error"]["message"] == "max_tokens: Field required"


async def test_the_version_header_is_required_and_must_be_one_that_exists() -> None:
    async with await serve(Adder()) as server:
        missing = await send(server, PATH, body_of("anthropic"))
        wrong = await send(server, PATH, body_of("anthropic"), {"anthropic-version": "2024-01-01"})
    assert (missing.status, missing.body["error"]["message"]) == (400, "anthropic-version: header is required")
    assert (wrong.status, wrong.body["error"]["message"]) == (
        400,
        'anthropic-version: "2024-01-01" is not a valid version',
    )


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
async def test_the_newest_version_refuses_sampling_parameters_even_at_their_defaults(name: str) -> None:
    newest = {"anthropic-version": "2026-10-21"}
    async with await serve(Adder()) as server:
        refused = await send(server, PATH, body_of("anthropic") | {name: 1}, newest)
        taken = await send(server, PATH, body_of("anthropic"), newest)
        before = await send(server, PATH, body_of("anthropic") | {name: 1}, VERSION)
    assert (refused.status, refused.body["error"]["message"]) == (400, f"{name}: Extra inputs are not permitted")
    assert (taken.status, before.status) == (200, 200)


async def test_a_token_comes_as_x_api_key_or_bearer_and_the_former_counts_where_both_are_there() -> None:
    async with await serve(Adder(), token="s3cret") as server:

        async def status(**headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await send(server, PATH, body_of("anthropic"), VERSION | named)).status

        assert await status(x_api_key="s3cret") == await status(Authorization="Bearer s3cret") == 200
        assert await status(x_api_key="other", Authorization="Bearer s3cret") == 401
        assert await status(x_goog_api_key="s3cret") == await status() == 401
        got = await send(server, PATH, body_of("anthropic"), VERSION)
    assert got.body["error"]["type"] == "authentication_error"


async def test_a_refusal_is_the_stop_reason_refusal() -> None:
    async with await serve(Refuser()) as server:
        body = (await ask(server, "anthropic")).body
    assert (body["stop_reason"], body["id"]) == ("refusal", "refusal-1")
    # The model reported no tokens, but the vendor's bill is never absent.
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (0, 0)


async def test_models_are_listed_in_the_shape_of_the_one_who_asks() -> None:
    async with await serve(Adder()) as server:
        got = await fetch(server, "/v1/models")
    assert got.body["data"][0]["type"] == "model"
    assert got.body["first_id"] == got.body["last_id"] == got.body["data"][0]["id"] == "adder"
