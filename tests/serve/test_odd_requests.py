"""What clients may send: any body is taken or refused as the vendor does, and what is taken is what was meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import UsageError
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage
from mdap.models import anthropic as anthropic_model
from mdap.models import google as google_model
from mdap.models import openai as openai_model
from mdap.models.http import Reply
from mdap.models.profiles import Profile
from mdap.serve import anthropic, google, openai, serve
from mdap.serve.chaos import Chaos, parse_chaos
from mdap.serve.dialect import REFUSABLE, Answer, Asked, Bill, Dialect, Fault, whole_seconds
from mdap.serve.limits import Limits
from mdap.serve.log import read_log
from mdap.serve.prefixes import BLOCK, Prefixes
from tests.odd import changed
from tests.serve.adder import Adder
from tests.serve.asking import DIALECTS, PATHS, VERSION, body_of, send

MODULES: dict[str, Dialect] = {"openai": openai, "anthropic": anthropic, "google": google}
MODELS: dict[str, Any] = {"openai": openai_model, "anthropic": anthropic_model, "google": google_model}
NOTHING: frozenset[str] = frozenset()

WHOLE: dict[str, dict[str, Any]] = {
    "openai": body_of("openai", n=2, seed=7, temperature=0.1, logprobs=False, stream=False)
    | {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}},
    "anthropic": body_of("anthropic", temperature=0.1)
    | {"system": "add", "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    "google": body_of("google", seed=7, candidateCount=2, responseMimeType="application/json")
    | {"systemInstruction": {"parts": [{"text": "add"}]}},
}
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, "", "x", [], {}, [[]], [None], [{}], -1, 0, 0.5, 2**63, 2**70, -(2**70), 1e300]),
    st.text(max_size=5),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)


def read(dialect: str, body: bytes, refuse: frozenset[str] = NOTHING) -> Asked | Fault:
    return MODULES[dialect].read(body, VERSION, "any" if dialect == "google" else "", refuse)


def places(value: Any, *before: str | int) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    yield before
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, *before, key)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_bodies_that_are_made_odd_below_are_taken(dialect: str) -> None:
    asked = read(dialect, msgspec.json.encode(WHOLE[dialect]))
    assert isinstance(asked, Asked)
    assert asked.prompt.messages[-1] == Message("user", "100 200")


@given(st.sampled_from(DIALECTS), st.data())
def test_a_body_with_anything_in_one_place_is_taken_or_a_bad_request(dialect: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(places(WHOLE[dialect]))))
    found = read(dialect, msgspec.json.encode(changed(WHOLE[dialect], place, data.draw(ODD))))
    if isinstance(found, Fault):
        assert (found.status, bool(found.message)) == (400, True)
        status, body, _ = MODULES[dialect].error(found, "req_1")
        assert status == 400
        assert "error" in msgspec.json.decode(body)
    else:
        assert found.max_tokens >= 1
        assert found.n >= 1
        assert found.prompt.messages
        assert found.temperature is None or 0 <= found.temperature < math.inf
        assert found.seed is None or -(2**63) <= found.seed < 2**63


@given(st.sampled_from(DIALECTS), st.binary(max_size=60))
def test_any_bytes_are_a_bad_request(dialect: str, body: bytes) -> None:
    found = read(dialect, body)
    assert isinstance(found, Fault)
    assert found.status == 400


@given(st.sampled_from(DIALECTS), st.sets(st.sampled_from(REFUSABLE)))
def test_what_is_refused_is_named_whatever_else_is(dialect: str, refuse: set[str]) -> None:
    bare = {"openai": {"model": "any", "messages": [{"role": "user", "content": "hi"}]}, "google": {}, "anthropic": {}}
    bare["google"] = {"contents": [{"parts": [{"text": "hi"}]}]}
    bare["anthropic"] = body_of("anthropic")
    # Anthropic takes no request without a cap, and so none of its servers can refuse it.
    found = read(dialect, msgspec.json.encode(bare[dialect]), frozenset(refuse - {"max_tokens"}))
    assert isinstance(found, Asked), "what is not sent is never refused"
    again = [read(dialect, msgspec.json.encode(WHOLE[dialect]), frozenset(refuse)) for _ in range(2)]
    assert again[0] == again[1]


async def test_odd_bodies_over_http_leave_the_server_as_it_was() -> None:
    bodies = [b"", b"[" * 100_000, b"\xff", b"null", b'{"messages": ' + b"[" * 50_000]
    async with await serve(Adder()) as server:
        for dialect in DIALECTS:
            for body in bodies:
                got = await send(server, PATHS[dialect], body, VERSION)
                assert (got.status, "error" in got.body) == (400, True)
            assert (await send(server, PATHS[dialect], body_of(dialect), VERSION)).status == 200


# What one side writes, the other reads.

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ROLES = st.sampled_from(["user", "assistant"])


@given(
    st.sampled_from(DIALECTS),
    st.lists(st.tuples(ROLES, TEXTS.filter(bool)), min_size=1, max_size=4),
    st.none() | TEXTS.filter(bool),
    st.integers(0, 2**31 - 1),
    st.none() | st.floats(0, 1),
    st.integers(1, 10_000),
)
def test_a_server_reads_what_a_client_wrote(
    dialect: str, turns: list[tuple[Any, str]], system: str | None, seed: int, temperature: float | None, cap: int
) -> None:
    messages = tuple(Message(role, text) for role, text in turns)
    if system is not None:
        messages = (Message("system", system), *messages)
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    request = Request(Prompt(messages, ""), Draw(0, 0), seed, temperature, cap, None, schema)
    model = MODELS[dialect]("m", base_url="http://127.0.0.1:9", api_key="none")
    asked = read(dialect, model.write(request, Profile(json_schema=True, n=True), 1))
    assert isinstance(asked, Asked)
    assert asked.prompt.messages == messages
    assert (asked.temperature, asked.max_tokens, asked.n, asked.schema) == (temperature, cap, 1, schema)
    assert asked.seed == (None if dialect == "anthropic" else seed)


@given(
    st.sampled_from(DIALECTS),
    TEXTS,
    st.sampled_from(["stop", "length", "refusal"]),
    st.none() | st.tuples(*[st.integers(0, 10_000)] * 5),
    TEXTS.filter(str.isprintable).filter(bool),
)
def test_a_client_reads_what_a_server_wrote(
    dialect: str, text: str, finish: Any, tokens: tuple[int, int, int, int, int] | None, id: str
) -> None:
    bill = None
    if tokens is not None:
        asked, said, cached, written, thought = tokens
        # No prompt has no tokens.
        bill = Bill(1 + asked + cached + written, said + thought, cached, written, thought)
    answer = Answer(id, "m", (Response(text, finish),), bill)
    model = MODELS[dialect]("m", base_url="http://127.0.0.1:9", api_key="none")
    request = Request(Prompt((Message("user", "?"),), ""), Draw(0, 0), 1, None, 9)
    (reply,) = model.replies(Reply(200, {}, MODULES[dialect].reply(answer)), model.profile, request)
    assert (reply.finish, reply.id, reply.model) == (finish, id, "m")
    # Two of the vendors say no words under a refusal.
    assert reply.text == text or (finish == "refusal" and dialect != "openai" and reply.text == "")
    if bill is None:
        # One vendor's usage is complete whether or not the model counted, so that zeros stand in it.
        assert reply.usage == (Usage() if dialect == "anthropic" else None)
    else:
        assert isinstance(reply.usage, Usage)
        assert (reply.usage.tokens_in, reply.usage.tokens_out) == (bill.tokens_in, bill.tokens_out)
        # What was thought is told by two of them, what was written to a cache by one.
        assert (reply.usage.cached, reply.usage.reasoning) == (
            bill.cached,
            0 if dialect == "anthropic" else bill.reasoning,
        )
        assert reply.usage.cache_written == (bill.written if dialect == "anthropic" else 0)


# Limits, chaos and caches, told what happens.

EVENTS = st.lists(st.tuples(st.floats(0, 90), st.integers(0, 200)), min_size=1, max_size=40)


@given(st.integers(1, 30), st.integers(1, 500), EVENTS)
def test_no_minute_admits_more_than_a_full_bucket_and_what_flows_in(
    requests: int, tokens: int, events: list[tuple[float, int]]
) -> None:
    limits, now, admitted = Limits({"requests": requests, "tokens": tokens}), 0.0, []
    for pause, used in events:
        now += pause
        fault = limits.admit(now)
        if fault is None:
            admitted.append(now)
            limits.charge(used)
        else:
            assert fault.status == 429
            assert fault.code in ("requests", "tokens")
            assert fault.wait is not None
            assert 0 < fault.wait < math.inf
        for level in limits.levels(now).values():
            assert 0 <= level.remaining <= level.limit
            assert level.reset >= 0
    for first in admitted:
        within = [at for at in admitted if first <= at <= first + 60]
        assert len(within) <= 2 * requests


@given(st.integers(1, 30), st.integers(1, 500), EVENTS)
def test_who_waits_as_long_as_told_is_admitted(requests: int, tokens: int, events: list[tuple[float, int]]) -> None:
    limits, now = Limits({"requests": requests, "tokens": tokens}), 0.0
    for pause, used in events:
        now += pause
        # Once for each kind of limit, since a call may be beyond both.
        for _ in range(2):
            fault = limits.admit(now)
            if fault is None:
                break
            assert fault.wait is not None
            now += fault.wait * (1 + 1e-9) + 1e-6
        else:
            fault = limits.admit(now)
        assert fault is None
        limits.charge(used)


@given(st.integers(), st.binary(max_size=8), st.integers(1, 9))
def test_a_share_of_one_always_strikes_and_none_never_does(seed: int, digest: bytes, attempt: int) -> None:
    seed %= 2**31
    for word in ("429", "hang", "garbage"):
        assert Chaos({word: 1.0}, seed).of_attempt(digest, attempt) == word
        assert Chaos({word: 1.0}, seed).of_reply(digest, attempt) is None
    for word in ("cut", "babble"):
        assert Chaos({word: 1.0}, seed).of_reply(digest, attempt) == word
        assert Chaos({word: 1.0}, seed).of_attempt(digest, attempt) is None
    assert Chaos({"429": 0.0}, seed).of_attempt(digest, attempt) is None


@given(st.dictionaries(st.sampled_from(["429", "500", "hang", "drop", "cut", "babble"]), st.floats(0, 0.16)))
def test_chaos_is_read_back_as_it_is_written(rates: dict[str, float]) -> None:
    text = ", ".join(f"{word} = {share!r}" for word, share in rates.items())
    if rates:
        assert parse_chaos(text) == rates
    else:
        with pytest.raises(UsageError):
            parse_chaos(text)


@given(st.lists(st.text(alphabet="ab", max_size=4 * BLOCK), min_size=1, max_size=6), st.integers(1, 12))
def test_of_a_prompt_no_more_is_cached_and_written_than_its_whole_blocks(texts: list[str], capacity: int) -> None:
    prefixes = Prefixes(capacity)
    for text in texts:
        messages = [Message("user", text)]
        size = len(f"user\0{text}\0")
        cached, written = prefixes.count("m", messages)
        assert 0 <= cached <= 1
        assert (cached + written) * size == pytest.approx(size // BLOCK * BLOCK)
        if size // BLOCK <= capacity:
            again, more = prefixes.count("m", messages)
            assert again == pytest.approx(cached + written)
            assert more == 0
        assert prefixes.count(f"not m: {text}", messages)[0] == 0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0, "0"), (0.01, "0"), (0.02, "1"), (0.999, "1"), (1.0, "1"), (1.02, "2"), (59.5, "60")]
)
def test_a_wait_in_whole_seconds_is_never_too_short_but_for_a_hundredth(seconds: float, said: str) -> None:
    assert whole_seconds(seconds) == said


@pytest.mark.parametrize("line", [b"{}", b"<html>", b"\xff", b'{"order": "1"}', b'{"x": ' + b"[" * 100_000])
def test_a_log_with_a_wrong_line_is_named_with_it(tmp_path: Any, line: bytes) -> None:
    file = tmp_path / "log"
    file.write_bytes(b'{"order": 1, "request": "r", "dialect": "d"}\n' + line + b"\n")
    with pytest.raises(UsageError, match="line 2, is no call"):
        read_log(file)
