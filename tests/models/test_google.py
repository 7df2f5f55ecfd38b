"""The Google dialect: what is sent, and how candidates, finish reasons, usage and errors are read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mdap.core.errors import ModelError, ModelRejected
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage
from mdap.models.google import google
from mdap.models.profiles import Profile
from tests.models import wires
from tests.models.raw_server import RawServer, answering, asking, http


def root(server: RawServer) -> str:
    return server.url.removesuffix("/v1")


async def read(body: object) -> Response:
    async with answering(http(200, msgspec.json.encode(body))) as server:
        model = google("gemini-2.5-flash", base_url=root(server))
        try:
            return await model.complete(asking())
        finally:
            await model.close()


def finished(word: str | None, text: str = "x") -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": word}]}


async def sent(request: Request, **options: Any) -> dict[str, Any]:
    async with answering(http(200, msgspec.json.encode(wires.GOOGLE))) as server:
        model = google("gemini-2.0-flash", base_url=root(server), **options)
        await model.complete(request)
        await model.close()
        return server.body


async def error_of(status: int, body: object, model_name: str = "gemini-2.0-flash", **options: Any) -> ModelError:
    async with answering(http(status, msgspec.json.encode(body))) as server:
        model = google(model_name, base_url=root(server), **options)
        with pytest.raises(ModelError) as caught:
            await model.complete(asking())
        await model.close()
        return caught.value


async def test_a_request_carries_contents_and_a_generation_config() -> None:
    assert await sent(asking("Grüße", seed=11, temperature=0.1)) == {
        "contents": [{"role": "user", "parts": [{"text": "Grüße"}]}],
        "generationConfig": {"maxOutputTokens": 50, "temperature": 0.1, "seed": 11},
    }


async def test_the_assistant_is_called_model_and_what_the_system_says_stands_apart() -> None:
    messages = (Message("system", "a"), Message("user", "u"), Message("assistant", "v"))
    body = await sent(Request(Prompt(messages, ""), Draw(0, 0), 1, None, 5))
    assert body["systemInstruction"] == {"parts": [{"text": "a"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "u"}]},
        {"role": "model", "parts": [{"text": "v"}]},
    ]


async def test_a_schema_asks_for_json() -> None:
    schema = {"type": "object"}
    async with answering(http(200, msgspec.json.encode(wires.GOOGLE))) as server:
        model = google("m", base_url=root(server))
        model.profile = Profile(json_schema=True)
        await model.complete(msgspec.structs.replace(asking(), schema=schema))
        config = server.body["generationConfig"]
        await model.close()
    assert (config["responseMimeType"], config["responseJsonSchema"]) == ("application/json", schema)


async def test_log_probabilities_are_asked_for_and_summed() -> None:
    result = {"chosenCandidates": [{"token": "a", "logProbability": -0.5}, {"token": "b", "logProbability": -0.25}]}
    body = finished("STOP")
    body["candidates"][0]["logprobsResult"] = result
    async with answering(http(200, msgspec.json.encode(body))) as server:
        model = google("m", base_url=root(server), logprobs=True)
        model.profile = Profile(logprobs=True)
        reply = await model.complete(asking())
        assert server.body["generationConfig"]["responseLogprobs"] is True
        await model.close()
    assert reply.logprob == -0.75


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "refusal"),
        ("RECITATION", "refusal"),
        ("PROHIBITED_CONTENT", "refusal"),
        ("SPII", "refusal"),
        ("BLOCKLIST", "refusal"),
        ("LANGUAGE", "refusal"),
        ("OTHER", "stop"),
        (None, "stop"),
    ],
)
async def test_finish_reasons_are_read_as_ours(word: str | None, finish: str) -> None:
    assert (await read(finished(word))).finish == finish


async def test_a_prompt_that_was_blocked_is_a_refusal_with_its_usage() -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}, "responseId": "r"}
    assert await read(body) == Response("", "refusal", Usage(9, 0), "r")


async def test_a_candidate_without_content_is_an_empty_text() -> None:
    reply = await read({"candidates": [{"finishReason": "MAX_TOKENS", "index": 0}]})
    assert (reply.text, reply.finish) == ("", "length")


async def test_thoughts_are_output_that_is_not_in_the_text_and_cached_tokens_are_part_of_the_input() -> None:
    reply = await read(wires.GOOGLE)
    assert reply.text == "fine"
    assert reply.usage == Usage(1200, 20 + 80, cached=1000, reasoning=80)
    assert (reply.id, reply.model) == ("mAitaLmkHPPlz7IPvtfUqQ4", "gemini-2.5-flash")


async def test_candidates_come_back_in_order_of_their_index() -> None:
    body = {"candidates": [{"index": i, "content": {"parts": [{"text": str(i)}]}} for i in (2, 0, 1)]}
    async with answering(http(200, msgspec.json.encode(body))) as server:
        model = google("m", base_url=root(server))
        model.profile = Profile(n=True)
        replies = await model.complete_n([asking()] * 3)
        assert server.body["generationConfig"]["candidateCount"] == 3
        assert "seed" not in server.body["generationConfig"]
        await model.close()
    assert [reply.text for reply in replies] == ["0", "1", "2"]


async def test_the_body_says_how_long_to_wait_where_no_header_does() -> None:
    error = await error_of(429, wires.GOOGLE_QUOTA)
    assert (error.retryable, error.retry_after) == (True, 36.0)


async def test_a_wrong_key_is_a_400_and_its_remedy_is_the_key() -> None:
    error = await error_of(400, wires.GOOGLE_KEY)
    assert (type(error), "GEMINI_API_KEY" in error.remedy) == (ModelRejected, True)


async def test_log_probabilities_that_are_not_enabled_are_adapted_away() -> None:
    error = await error_of(400, wires.GOOGLE_LOGPROBS, "m", logprobs=True)
    assert type(error) is ModelRejected  # not sent at all: the profile of an unknown model has none
    async with answering(http(400, msgspec.json.encode(wires.GOOGLE_LOGPROBS))) as server:
        model = google("m", base_url=root(server), logprobs=True)
        model.profile = Profile(logprobs=True)
        with pytest.raises(ModelError) as caught:
            await model.complete(asking())
        assert (caught.value.kind, model.adaptations) == ("adapted", ("logprobs",))
        await model.close()


async def test_several_candidates_that_are_not_enabled_are_adapted_away() -> None:
    async with answering(http(400, msgspec.json.encode(wires.GOOGLE_CANDIDATES))) as server:
        model = google("m", base_url=root(server))
        model.profile = Profile(n=True)
        with pytest.raises(ModelError) as caught:
            await model.complete_n([asking(), asking()])
        assert (caught.value.kind, model.adaptations, model.profile.n) == ("adapted", ("n",), False)
        await model.close()


async def test_the_other_variable_of_the_vendor_is_read_where_the_first_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "from-the-other")
    async with answering(http(200, msgspec.json.encode(wires.GOOGLE))) as server:
        model = google("m", base_url=f"{root(server)}/v1beta")
        await model.complete(asking())
        assert "x-goog-api-key: from-the-other" in server.requests[0][0]
        assert server.requests[0][0].startswith("post /v1beta/models/m:generatecontent ")
        await model.close()


async def test_a_tuned_model_keeps_its_own_path() -> None:
    async with answering(http(200, msgspec.json.encode(wires.GOOGLE))) as server:
        model = google("tunedModels/mine", base_url=root(server))
        await model.complete(asking())
        assert server.requests[0][0].startswith("post /v1beta/tunedmodels/mine:generatecontent ")
        await model.close()
