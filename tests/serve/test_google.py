"""Google's dialect as its vendor describes it: ai.google.dev, read on 2026-11-20.

Pages: api/generate-content (request, reply, finish reasons), gemini-api/docs/troubleshooting (errors), and for the
body of a 429 and the wording of refusals what the service gave (public reports of 2026).
"""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.records import Message
from mdap.serve import serve
from tests.serve.adder import Adder, Refuser
from tests.serve.asking import PATHS, ask, body_of, fetch, send

PATH = PATHS["google"]


async def test_a_reply_has_the_shape_that_the_vendor_documents() -> None:
    async with await serve(Adder()) as server:
        body = (await ask(server, "google", "4 5", seed=2)).body
    assert body.pop("responseId")
    assert body == {
        "candidates": [
            {"content": {"parts": [{"text": "9"}], "role": "model"}, "finishReason": "STOP", "index": 0},
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 3, "totalTokenCount": 6},
        "modelVersion": "any",
    }


@pytest.mark.parametrize("snake", [False, True])
async def test_names_may_be_in_camel_or_in_snake_case(snake: bool) -> None:
    adder = Adder()
    system = {"parts": [{"text": "add"}]}
    turns = [
        {"role": "user", "parts": [{"text": "1 1"}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "2"}]},
        {"parts": [{"text": "4 "}, {"text": "5"}]},
    ]
    config = {"max_output_tokens" if snake else "maxOutputTokens": 7, "temperature": 1.5, "seed": 3}
    names = ("system_instruction", "generation_config") if snake else ("systemInstruction", "generationConfig")
    async with await serve(adder) as server:
        got = await send(server, PATH, {"contents": turns, names[0]: system, names[1]: config})
    assert got.status == 200
    request = adder.requests[0]
    assert (request.max_tokens, request.temperature, request.seed) == (7, 1.5, 3)
    assert request.messages == (
        Message("system", "add"),
        Message("user", "1 1"),
        Message("assistant", "2"),
        Message("user", "4 5"),
    )


async def test_a_refusal_has_a_finish_reason_and_no_content() -> None:
    async with await serve(Refuser()) as server:
        body = (await ask(server, "google")).body
    assert body["candidates"][0]["finishReason"] == "SAFETY"
    assert "content" not in body["candidates"][0]
    assert "usageMetadata" not in body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Invalid JSON payload received."),
        (b"\xff", "Invalid JSON payload received."),
        (b"[" * 50_000, "Invalid JSON payload received."),
        ([], "Invalid JSON payload received."),
        ({}, "contents"),
        ({"contents": []}, "Invalid value at 'contents'"),
        (body_of("google") | {"model": "any"}, 'Unknown name "model": Cannot find field.'),
        (body_of("google", max_tokens=5), "Unknown name \"maxTokens\" at 'generation_config': Cannot find field."),
        (body_of("google", seed=2**31), "Invalid value at 'generation_config.seed'"),
        (body_of("google", temperature=2.5), "Invalid value at 'generation_config.temperature'"),
        (body_of("google", candidateCount=9), "Invalid value at 'generation_config.candidateCount'"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Invalid value at 'contents[0].role'"),
        (body_of("google", responseLogprobs=True), "Logprobs is not enabled for models/any"),
    ],
)
async def test_what_the_vendor_does_not_take_is_a_400_that_names_the_field(body: Any, says: str) -> None:
    async with await serve(Adder()) as server:
        got = await send(server, PATH, body)
    assert got.status == 400
    assert (got.body["error"]["code"], got.body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert says in got.body["error"]["message"]


async def test_a_token_comes_as_a_header_or_in_the_query_and_a_wrong_one_is_a_bad_request() -> None:
    async with await serve(Adder(), token="s3cret") as server:
        assert (await send(server, PATH, body_of("google"), {"x-goog-api-key": "s3cret"})).status == 200
        assert (await send(server, f"{PATH}?key=s3cret", body_of("google"))).status == 200
        wrong = await send(server, f"{PATH}?key=other", body_of("google"))
        missing = await send(server, PATH, body_of("google"), {"Authorization": "Bearer s3cret"})
    assert (wrong.status, wrong.body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert wrong.body["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert (missing.status, missing.body["error"]["status"]) == (403, "PERMISSION_DENIED")


async def test_the_model_of_the_path_is_part_of_the_request() -> None:
    adder = Adder()
    async with await serve(adder) as server:
        for model in ("one", "two", "simulated:p=0.9"):
            got = await send(server, f"/v1beta/models/{model}:generateContent", body_of("google"))
            assert got.body["modelVersion"] == model
    assert len({request.seed for request in adder.requests}) == 3


async def test_other_methods_and_paths_are_not_found_in_the_vendors_shape() -> None:
    async with await serve(Adder()) as server:
        for path in ("/v1beta/models/any:countTokens", "/v1beta/nowhere"):
            got = await send(server, path, body_of("google"))
            assert (got.status, got.body["error"]["status"]) == (404, "NOT_FOUND")
            assert "generateContent" in got.body["error"]["message"]
        assert (await fetch(server, "/v1beta/models")).body["models"][0]["name"] == "models/adder"
