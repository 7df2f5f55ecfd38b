"""Parameters that a server is told to refuse, and what models cannot give: the vendors' own words, naming it."""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.errors import ModelError, UsageError
from mdap.core.records import Request, Response, Usage
from mdap.serve import serve
from tests.serve.adder import Adder
from tests.serve.asking import DIALECTS, PATHS, ask, body_of, send


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.1), ("temperature", 0), ("temperature", 1.5), ("n", 3), ("n", 2)]
)
async def test_openai_says_which_value_is_the_only_one(name: str, value: Any) -> None:
    settings: dict[str, Any] = {name: value}
    async with await serve(Adder(), refuse=name) as server:
        got = await ask(server, "openai", **settings)
    text = f"Unsupported value: '{name}' does not support {value} with this model. Only the default (1) value"
    error = {"message": f"{text} is supported.", "type": "invalid_request_error", "param": name}
    assert (got.status, got.body) == (400, {"error": error | {"code": "unsupported_value"}})


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("seed", {"seed": 0}),
        ("max_tokens", {}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("logprobs", {"logprobs": True}),
    ],
)
async def test_openai_names_a_parameter_that_it_does_not_take(name: str, more: dict[str, Any]) -> None:
    async with await serve(Adder(), refuse=name) as server:
        got = await ask(server, "openai", **more)
    hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    text = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    error = {"message": text, "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}
    assert (got.status, got.body) == (400, {"error": error})


async def test_logprobs_are_refused_where_the_model_gives_none() -> None:
    async with await serve(Adder()) as server:
        for dialect, name in (("openai", "logprobs"), ("google", "responseLogprobs")):
            asked, not_asked = [await send(server, PATHS[dialect], body_of(dialect, **at)) for at in switch(name)]
            assert (asked.status, "ogprobs" in asked.body["error"]["message"]) == (400, True)
            assert not_asked.status == 200


def switch(name: str) -> list[dict[str, Any]]:
    return [{name: True}, {name: False}]


async def test_openai_takes_what_is_the_models_only_value_and_the_new_name_of_the_cap() -> None:
    async with await serve(Adder(), refuse="temperature,seed,max_tokens,n") as server:
        body = body_of("openai", temperature=1, n=1, logprobs=False, max_completion_tokens=9)
        del body["max_tokens"]
        assert (await send(server, "/v1/chat/completions", body)).status == 200


async def test_an_old_server_does_not_know_the_new_name() -> None:
    async with await serve(Adder(), refuse="max_completion_tokens") as server:
        got = await ask(server, "openai", max_completion_tokens=9)
    assert got.body["error"]["message"] == "Unrecognized request argument supplied: max_completion_tokens"


@pytest.mark.parametrize(
    ("dialect", "refuse", "more", "message"),
    [
        ("anthropic", "temperature", {"temperature": 0.1}, "`temperature` is deprecated for this model."),
        (
            "anthropic",
            "response_format",
            {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
            "output_config.format: Extra inputs",
        ),
        ("google", "n", {"candidateCount": 2}, "Multiple candidates is not enabled for this model"),
        ("google", "seed", {"seed": 1}, "Unknown name \"seed\" at 'generation_config': Cannot find field."),
        ("google", "temperature", {"temperature": 1}, "Unknown name \"temperature\" at 'generation_config'"),
        (
            "google",
            "response_format",
            {"responseJsonSchema": {}, "responseMimeType": "application/json"},
            'Unknown name "response_json_schema"',
        ),
    ],
)
async def test_the_others_refuse_in_their_words(dialect: str, refuse: str, more: dict[str, Any], message: str) -> None:
    async with await serve(Adder(), refuse=refuse) as server:
        got = await ask(server, dialect, **more)
        assert got.status == 400
        assert message in got.body["error"]["message"]
        assert (await ask(server, dialect)).status == 200


async def test_anthropic_takes_the_default_temperature_of_a_model_that_has_outgrown_it() -> None:
    async with await serve(Adder(), refuse="temperature") as server:
        assert (await ask(server, "anthropic", temperature=1)).status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_model_that_says_why_it_rejects_is_a_400_with_its_words(dialect: str) -> None:
    async with await serve(Adder()) as server:
        got = await ask(server, dialect, "one two")
    assert got.status == 400
    assert "cannot add 'one two'" in got.body["error"]["message"]


class Away(Adder):
    """Is never there."""

    async def complete(self, request: Request) -> Response:
        """Fail without a status."""
        raise ModelError("nobody answers", kind="dropped")


@pytest.mark.parametrize(("dialect", "status"), [("openai", 503), ("anthropic", 529), ("google", 503)])
async def test_a_model_that_is_away_is_an_overloaded_vendor(dialect: str, status: int) -> None:
    async with await serve(Away()) as server:
        got = await ask(server, dialect)
    error = got.body["error"]
    assert got.status == status
    assert (error.get("status") or error["type"]) in ("server_error", "overloaded_error", "UNAVAILABLE")


@pytest.mark.parametrize("text", ["temprature", "", "seed,", "top_p"])
async def test_a_parameter_that_cannot_be_refused_is_named_with_those_that_can(text: str) -> None:
    with pytest.raises(UsageError, match=r"parameter to refuse .*temperature"):
        await serve(Adder(), refuse=text)


async def test_other_formats_are_taken() -> None:
    async with await serve(Adder()) as server:
        assert (await ask(server, "openai", response_format={"type": "json_object"})).status == 200
        assert (await ask(server, "google", responseMimeType="application/json")).status == 200
        assert (await ask(server, "anthropic", output_config={"effort": "low"})).status == 200


SCHEMA = {"type": "object"}
FORMATS: dict[str, dict[str, Any]] = {
    "openai": {"response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}},
    "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "google": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_schema_reaches_the_model(dialect: str) -> None:
    adder = Adder()
    async with await serve(adder) as server:
        assert (await ask(server, dialect, **FORMATS[dialect])).status == 200
        assert (await ask(server, dialect)).status == 200
    assert [request.schema for request in adder.requests] == [SCHEMA, None]


@pytest.mark.parametrize(
    ("dialect", "more", "says"),
    [
        ("openai", {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, "`name`"),
        ("openai", {"response_format": {"type": "yaml"}}, "yaml"),
        ("anthropic", {"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field req"),
        ("google", {"responseJsonSchema": SCHEMA}, "response_mime_type application/json"),
    ],
)
async def test_a_schema_that_is_sent_otherwise_is_a_400(dialect: str, more: dict[str, Any], says: str) -> None:
    async with await serve(Adder()) as server:
        got = await ask(server, dialect, **more)
    assert got.status == 400
    assert says in got.body["error"]["message"]


class Thinker(Adder):
    """Reports all that a provider can: log-probabilities, tokens of its own cache, tokens of reasoning."""

    async def complete(self, request: Request) -> Response:
        """Answer."""
        return Response("3", usage=Usage(100, 50, cached=60, cache_written=20, reasoning=30), logprob=-0.5)


async def test_what_a_model_reports_is_passed_on_under_each_vendors_names() -> None:
    async with await serve(Thinker()) as server:
        openai = (await ask(server, "openai", logprobs=True)).body
        anthropic = (await ask(server, "anthropic")).body
        google = (await ask(server, "google", responseLogprobs=True)).body
        assert (await ask(server, "openai")).body["choices"][0]["logprobs"] is None
    assert sum(token["logprob"] for token in openai["choices"][0]["logprobs"]["content"]) == -0.5
    assert openai["usage"]["prompt_tokens_details"] == {"cached_tokens": 60}
    assert openai["usage"]["completion_tokens_details"] == {"reasoning_tokens": 30}
    assert (openai["usage"]["prompt_tokens"], openai["usage"]["completion_tokens"]) == (100, 50)
    assert anthropic["usage"] == {
        "input_tokens": 20,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 60,
        "output_tokens": 50,
        "service_tier": "standard",
    }
    assert google["candidates"][0]["logprobsResult"] == {"chosenCandidates": [{"token": "3", "logProbability": -0.5}]}
    assert google["usageMetadata"] == {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 150,
    }
