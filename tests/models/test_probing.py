"""What a probe finds out, from vendors of every habit over real HTTP, and what it costs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mdap.core.errors import ModelError, ModelRejected
from mdap.core.records import Request, Response, Usage
from mdap.models.anthropic import anthropic
from mdap.models.google import google
from mdap.models.openai import openai
from mdap.models.probed import Report
from mdap.models.probing import CALLS, MAX_TOKENS, MOST_CALLS, context_in, judge_repeats, judge_seed, probe
from mdap.models.remote import Remote
from mdap.serve import serve
from tests.models import wires
from tests.models.raw_server import answering, asking, http
from tests.models.vendor import Vendor, selling


class Free:
    """A model without habits: what it says is settled by the seed alone."""

    spec = "free"

    async def complete(self, request: Request) -> Response:
        chance = random.Random(request.seed)
        text = " ".join(chance.choice("abcdefgh") for _ in range(30))
        return Response(text, usage=Usage(len(request.messages[-1].content) // 4, 30))


class Waiting:
    """A clock that nobody waits for; it keeps what was waited."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return sum(self.waits)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def probed(vendor: Vendor, clock: Waiting | None = None) -> Report:
    async with selling(vendor):
        model = openai("m", base_url=vendor.url)
        try:
            return await probe(model, clock or Waiting())
        finally:
            await model.close()


def values(report: Report) -> dict[str, Any]:
    return {finding.name: finding.value for finding in report.findings}


async def test_a_vendor_that_can_do_everything_is_found_to_in_eight_calls() -> None:
    vendor = Vendor(tells={"/v1/models": {"data": [{"id": "m", "max_model_len": 8192}]}})
    report = await probed(vendor)
    assert values(report) == {
        "temperature": True,
        "max_tokens": "max_tokens",
        "seed": True,
        "repeats": False,
        "n": True,
        "logprobs": True,
        "json_schema": True,
        "caches": True,
        "context": 8192,
    }
    profile = report.profile
    assert (profile.n, profile.logprobs, profile.json_schema, profile.caches, profile.context) == (*[True] * 4, 8192)
    assert report.calls == CALLS == sum(bool(body) for _, body in vendor.asked)
    assert (report.tokens_in, report.tokens_out) == (CALLS * 10, CALLS * 5)
    assert all(body["max_tokens"] == MAX_TOKENS for _, body in vendor.asked if body)


async def test_a_vendor_that_refuses_everything_is_found_to_and_named_by_its_variety() -> None:
    vendor = Vendor(frozenset({"temperature", "seed", "n", "logprobs", "response_format", "max_tokens"}))
    report = await probed(vendor)
    found = values(report)
    assert found.pop("max_tokens") == "max_completion_tokens"
    assert found.pop("context") is None
    assert found.pop("caches") is True
    assert found == dict.fromkeys(("temperature", "seed", "repeats", "n", "logprobs", "json_schema"), False)
    assert "default sampling alone" in report.variety
    assert report.calls <= MOST_CALLS


async def test_a_vendor_that_takes_its_own_default_temperature_alone_is_found_to_take_none() -> None:
    """As serve's refusal words it, and as vendors do: 1 is accepted from anybody."""
    async with await serve(Free(), refuse="temperature") as server:
        factories: list[Callable[..., Remote]] = [openai, anthropic]
        for factory in factories:
            model = factory("m", base_url=server.url)
            assert (await model.complete(asking(temperature=1.0))).text
            assert values(await probe(model, Waiting()))["temperature"] is False
            await model.close()


async def test_every_dialect_is_probed_against_a_server_that_shares_no_code_with_it() -> None:
    async with await serve(Free(), refuse="seed,response_format", cache_prompts=True) as server:
        factories: list[tuple[Callable[..., Remote], bool]] = [(openai, True), (google, True), (anthropic, False)]
        for factory, n in factories:
            model = factory("m", base_url=server.url.removesuffix("/v1") if factory is google else server.url)
            found = values(await probe(model, Waiting()))
            await model.close()
            assert (found["n"], found["seed"], found["json_schema"], found["caches"]) == (n, False, False, True)


async def test_what_is_taken_unread_is_told_from_what_is_done() -> None:
    vendor = Vendor(ignores=frozenset({"seed", "n", "logprobs", "response_format"}), caches_prompts=False)
    found = values(await probed(vendor))
    assert found["temperature"] is True
    assert not any(found[name] for name in ("seed", "n", "logprobs", "json_schema", "caches"))
    assert found["repeats"] is False


async def test_replies_that_come_out_of_a_cache_are_seen_by_its_header_or_by_their_sameness() -> None:
    assert values(await probed(Vendor(caches_replies=True)))["repeats"] is True
    frozen = await probed(Vendor(frozen=True))
    assert values(frozen)["repeats"] is True
    assert values(frozen)["seed"] is None  # nothing can be told where nothing varies
    assert values(frozen)["n"] is False  # twice the same reply is not two


async def test_empty_replies_tell_nothing() -> None:
    found = values(await probed(Vendor(mute=True)))
    assert (found["seed"], found["repeats"]) == (None, None)


async def test_a_busy_vendor_is_waited_for_as_long_as_it_asks_but_not_for_ever() -> None:
    clock = Waiting()
    report = await probed(Vendor(busy=3), clock)
    assert (clock.waits, report.calls) == ([7.0] * 3, CALLS + 3)
    with pytest.raises(ModelError, match="busy"):
        await probed(Vendor(busy=100), clock)


async def test_a_model_that_is_not_there_ends_the_probe_at_once() -> None:
    async with answering(http(404, msgspec.json.encode(wires.OPENAI_MODEL))) as server:
        model = openai("m", base_url=server.url)
        with pytest.raises(ModelRejected, match="does not exist"):
            await probe(model, Waiting())
        assert len(server.requests) == 1
        await model.close()


async def test_a_model_that_is_thought_to_refuse_temperatures_is_asked_whether_it_does() -> None:
    reply = http(200, msgspec.json.encode(wires.ANTHROPIC))
    refusal = http(400, msgspec.json.encode(wires.ANTHROPIC_TEMPERATURE))
    for first, takes in ((reply, True), (refusal, False)):
        async with answering(first, reply) as server:
            model = anthropic("claude-fable-5", base_url=server.url)
            report = await probe(model, Waiting())
            await model.close()
        assert values(report)["temperature"] is takes
        assert [f.how for f in report.findings if f.name in ("n", "logprobs")] == ["the dialect has none"] * 2


async def test_a_refusal_that_does_not_say_why_is_taken_for_what_was_only_tried() -> None:
    refusal = http(400, msgspec.json.encode(wires.anthropic_error("invalid_request_error", "Bad request.")))
    async with answering(refusal, http(200, msgspec.json.encode(wires.ANTHROPIC))) as server:
        model = anthropic("claude-fable-5", base_url=server.url)
        assert values(await probe(model, Waiting()))["temperature"] is False
        await model.close()


@pytest.mark.parametrize(
    ("texts", "value"),
    [(("a", "a", "b"), True), (("a", "b", "c"), False), (("a", "a", "a"), None), (("a", "", "b"), None)],
)
def test_a_seed_is_respected_where_it_alone_settles_the_reply(texts: tuple[str, ...], value: bool | None) -> None:
    first, again, other = map(Response, texts)
    assert judge_seed(first, again, other, is_sent=True).value is value
    assert judge_seed(first, again, other, is_sent=False).value is False


def test_replies_with_one_id_are_one_reply() -> None:
    assert judge_repeats(Response("a", id="x"), Response("b", id="x")).value is True
    assert judge_repeats(Response("a", id=""), Response("b", id="")).value is False


@pytest.mark.parametrize(
    ("body", "length"),
    [
        # docs.vllm.ai, GET /v1/models; openrouter.ai/docs, "List available models"; read 2026-11-20.
        ({"object": "list", "data": [{"id": "m", "max_model_len": 32768}]}, 32768),
        ({"data": [{"id": "other", "context_length": 1}, {"id": "m", "context_length": 131072}]}, 131072),
        # lmstudio.ai/docs, GET /api/v0/models: what is loaded counts, not what could be.
        ({"data": [{"id": "m", "max_context_length": 131072, "loaded_context_length": 4096}]}, 4096),
        # docs.ollama.com, GET /api/ps.
        ({"models": [{"name": "m", "model": "m", "context_length": 8192}]}, 8192),
        # llama.cpp, README of the server, GET /props.
        ({"default_generation_settings": {"n_ctx": 2048, "params": {}}, "total_slots": 1}, 2048),
        # ai.google.dev, models.get; platform.claude.com, "Get a Model".
        ({"name": "models/m", "inputTokenLimit": 1048576, "outputTokenLimit": 8192}, 1048576),
        ({"id": "m", "type": "model", "max_input_tokens": 200000, "max_tokens": 64000}, 200000),
        ({"data": [{"id": "other", "max_model_len": 1}, {"id": "another", "max_model_len": 2}]}, None),
        ({"data": [{"id": "m", "object": "model"}]}, None),
        ({"data": [{"id": "m", "max_model_len": "long"}, 7]}, None),
        ([], None),
        ("text", None),
    ],
)
def test_the_length_of_a_context_is_found_where_each_server_tells_it(body: object, length: int | None) -> None:
    assert context_in(msgspec.json.encode(body), "m") == length


def test_a_description_that_is_no_json_tells_nothing() -> None:
    assert context_in(b"<html>", "m") is None


async def test_a_server_that_hangs_up_when_asked_for_its_models_is_probed_all_the_same() -> None:
    report = await probed(Vendor(tells={"/v1/models": "hang up"}))
    (finding,) = (finding for finding in report.findings if finding.name == "context")
    assert finding.value is None
    assert "closed the connection" in finding.how
