"""Bodies that no vendor documents: what is read of them is a reply that can be counted, or an error, never a bug."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import ModelError, ModelRejected
from mdap.core.records import Response, Usage
from mdap.models.anthropic import anthropic
from mdap.models.google import google
from mdap.models.http import MAX_TOLD, Reply, retry_after
from mdap.models.openai import openai
from mdap.models.refusals import told
from mdap.models.remote import Remote
from mdap.models.reported import MOST, usage_of
from tests.models import wires
from tests.models.raw_server import KEY, asking
from tests.odd import changed

Place = tuple[str | int, ...]

GOOD: dict[str, dict[str, Any]] = {
    "openai": {
        **wires.OPENAI,
        "choices": [
            {**wires.OPENAI["choices"][0], "logprobs": {"content": [{"token": "fine", "logprob": -0.5}]}},
            {"index": 1, "message": {"content": [{"type": "text", "text": "fine"}]}, "finish_reason": "length"},
        ],
    },
    "anthropic": wires.ANTHROPIC
    | {"usage": {**wires.ANTHROPIC["usage"], "output_tokens_details": {"thinking_tokens": 70}}},
    "google": {
        **wires.GOOGLE,
        "candidates": [
            {
                **wires.GOOGLE["candidates"][0],
                "logprobsResult": {"chosenCandidates": [{"token": "fine", "logProbability": -0.5}]},
            }
        ],
    },
}
MADE: dict[str, Callable[..., Remote]] = {"openai": openai, "anthropic": anthropic, "google": google}
# Where each vendor's body says how many tokens went in and came out.
COUNTS: dict[str, tuple[Place, Place]] = {
    "openai": (("usage", "prompt_tokens"), ("usage", "completion_tokens")),
    "anthropic": (("usage", "input_tokens"), ("usage", "output_tokens")),
    "google": (("usageMetadata", "promptTokenCount"), ("usageMetadata", "candidatesTokenCount")),
}
DIALECTS = st.sampled_from(sorted(MADE))
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, "", "x", [], {}, [[]], [None], [{}], {"": None}, -1, 0.5, 2**70, -(2**70), 1e300]),
    st.text(max_size=5),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)


def made(dialect: str) -> Remote:
    """A model that nobody answers: what it is told here comes by another way."""
    return MADE[dialect]("m", base_url="http://127.0.0.1:9", api_key=KEY)


def read(dialect: str, body: bytes, status: int = 200) -> list[Response]:
    model = made(dialect)
    return model.replies(Reply(status, {}, body), model.profile, asking())


def places(value: Any, *before: str | int) -> Iterator[Place]:
    """Every place in a JSON value."""
    yield before
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, *before, key)


def without(body: Any, place: Place) -> Any:
    body = copy.deepcopy(body)
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    return body


def check(replies: list[Response]) -> None:
    """Raise AssertionError for a reply that nobody could count, bill or keep."""
    assert replies
    for reply in replies:
        assert isinstance(reply.text, str)
        assert isinstance(reply.id, str)
        assert reply.finish in ("stop", "length", "refusal")
        assert reply.logprob is None or math.isfinite(reply.logprob)
        if reply.usage is not None:
            assert all(type(count) is int and 0 <= count < 2**63 for count in msgspec.structs.astuple(reply.usage))
        msgspec.json.encode(reply)


def kind_of(dialect: str, body: Any) -> str:
    """The kind of error that a body is; none for one that is read."""
    try:
        check(read(dialect, msgspec.json.encode(body)))
    except ModelError as error:
        return error.kind
    return ""


@pytest.mark.parametrize("dialect", sorted(MADE))
def test_the_bodies_that_are_made_odd_below_are_good_ones(dialect: str) -> None:
    replies = read(dialect, msgspec.json.encode(GOOD[dialect]))
    check(replies)
    assert {reply.text for reply in replies} == {"fine"}
    assert replies[0].usage is not None
    assert dialect == "anthropic" or replies[0].logprob == -0.5


@pytest.mark.parametrize("dialect", sorted(MADE))
def test_a_body_without_any_one_of_its_parts_is_read_or_is_garbage(dialect: str) -> None:
    for place in list(places(GOOD[dialect]))[1:]:
        assert kind_of(dialect, without(GOOD[dialect], place)) in ("", "garbage", "500"), place


@given(DIALECTS, st.data())
def test_a_body_with_anything_at_all_in_one_place_is_read_or_is_garbage_or_is_an_error(
    dialect: str, data: st.DataObject
) -> None:
    place = data.draw(st.sampled_from(list(places(GOOD[dialect]))))
    odd = changed(GOOD[dialect], place, data.draw(ODD))
    assert kind_of(dialect, odd) in ("", "garbage", "500", "aborted")


@given(DIALECTS, st.data())
def test_a_body_that_was_cut_anywhere_is_garbage_and_asked_again(dialect: str, data: st.DataObject) -> None:
    whole = msgspec.json.encode(GOOD[dialect])
    with pytest.raises(ModelError) as caught:
        read(dialect, whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert (caught.value.kind, caught.value.retryable, caught.value.status) == ("garbage", True, None)


@given(DIALECTS, st.sampled_from([200, 400, 401, 404, 422, 429, 500, 503]), st.binary(max_size=200))
def test_any_bytes_under_any_status_are_an_error_that_shows_neither_key_nor_much(
    dialect: str, status: int, body: bytes
) -> None:
    with pytest.raises(ModelError) as caught:
        read(dialect, body + KEY.encode() + b"<" * 5_000, status)
    assert KEY not in str(caught.value)
    assert len(caught.value.message) < MAX_TOLD + 200
    assert caught.value.message.isprintable()


# What was billed.


@pytest.mark.parametrize("dialect", sorted(MADE))
@pytest.mark.parametrize("count", [-1, -0.5, MOST + 1, 2**70, 1e300])
def test_a_number_of_tokens_that_is_none_is_a_report_that_is_missing(dialect: str, count: float) -> None:
    for place in COUNTS[dialect]:
        (reply, *_) = read(dialect, msgspec.json.encode(changed(GOOD[dialect], place, count)))
        assert (reply.text, reply.usage) == ("fine", None)


@pytest.mark.parametrize("dialect", sorted(MADE))
def test_tokens_that_a_gateway_writes_with_a_point_are_counted(dialect: str) -> None:
    whole, pointed = GOOD[dialect], GOOD[dialect]
    for place, count in zip(COUNTS[dialect], (12, 3), strict=True):
        whole, pointed = changed(whole, place, count), changed(pointed, place, float(count))
    assert b"12.0" in msgspec.json.encode(pointed)
    assert read(dialect, msgspec.json.encode(pointed))[0].usage == read(dialect, msgspec.json.encode(whole))[0].usage


@pytest.mark.parametrize("dialect", sorted(MADE))
def test_one_of_the_two_numbers_is_a_report_and_neither_is_none(dialect: str) -> None:
    into, out = COUNTS[dialect]
    for place in (into, out):
        assert read(dialect, msgspec.json.encode(changed(GOOD[dialect], place, None)))[0].usage is not None
    neither = changed(changed(GOOD[dialect], into, None), out, None)
    assert read(dialect, msgspec.json.encode(neither))[0].usage is None
    assert read(dialect, msgspec.json.encode(changed(GOOD[dialect], into[:1], None)))[0].usage is None


TOKENS = st.one_of(st.none(), st.integers(0, MOST))


@given(st.lists(TOKENS, min_size=1, max_size=3), st.lists(TOKENS, min_size=1, max_size=3), TOKENS, TOKENS, TOKENS)
def test_what_is_counted_apart_is_added_up(
    into: list[int | None], out: list[int | None], cached: int | None, written: int | None, thought: int | None
) -> None:
    found = usage_of(tuple(into), tuple(out), cached=cached, cache_written=written, reasoning=thought)
    if into[0] is None and out[0] is None:
        assert found is None
    else:
        ins, outs = (sum(count or 0 for count in counts) for counts in (into, out))
        assert found == Usage(ins, outs, cached or 0, written or 0, thought or 0)


# What is refused.


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "because"}}',
        b'{"error": {"message": "because", "code": null, "type": 5, "details": "x"}}',
        b'{"error": {"message": "because", "details": [null, 1, "x", {"reason": null}]}}',
        b'[{"error": {"message": "because"}}]',
        b'{"error": "because"}',
        b'{"message": "because"}',
        b'{"message": "because", "param": null}',
        b'{"detail": "because"}',
        b'{"detail": [{"msg": "because"}]}',
        b'{"detail": [{"msg": "because", "loc": []}, null]}',
        b"because",
    ],
)
def test_the_words_of_an_error_are_found_in_every_shape_that_servers_write(body: bytes) -> None:
    assert told(body).text == "because"


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"5", b'"x"', b'{"error": null}', b'{"error": {}}', b'{"error": {"message": 5}}']
)
def test_an_error_without_words_is_told_by_its_body(body: bytes) -> None:
    assert told(body) == (body.decode(), frozenset(), "", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "details", "code", "param", "type", "msg", "loc"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_can_be_an_error(said: Any) -> None:
    found = told(msgspec.json.encode(said))
    assert isinstance(found.text, str)
    assert all(isinstance(code, str) for code in found.codes)
    assert isinstance(found.parameter, str)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("36s", 36.0), ("0.5s", 0.5), ("0s", 0.0), ("36", None), ("-1s", None), ("1e3s", None), ("9" * 400 + "s", None)],
)
def test_a_wait_in_the_body_is_seconds_with_an_s_and_never_without_an_end(delay: str, seconds: float | None) -> None:
    body = wires.google_error(429, "RESOURCE_EXHAUSTED", "busy", {"retryDelay": delay})
    assert told(msgspec.json.encode(body)).wait == seconds


@pytest.mark.parametrize(
    "told",
    [
        "",
        "soon",
        "nan",
        "inf",
        "1e999",
        "1,5",
        "Mon, 99 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    ],
)
def test_a_time_to_wait_that_is_none_is_as_if_it_were_not_there(told: str) -> None:
    assert retry_after({"Retry-After": told}) is None
    assert retry_after({"retry-after-ms": told, "Retry-After": "7"}) == 7.0


@given(st.text(max_size=40))
def test_no_word_for_a_time_to_wait_is_below_zero_without_an_end_or_a_bug(told: str) -> None:
    seconds = retry_after({"Retry-After": told, "Date": told})
    assert seconds is None or 0 <= seconds < math.inf


def test_a_time_to_wait_is_counted_from_the_servers_own_clock() -> None:
    until, now = "Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"
    assert retry_after({"Retry-After": until, "Date": now}) == 30.0
    assert retry_after({"Retry-After": now, "Date": until}) == 0.0
    assert retry_after({"Retry-After": until, "Date": "yesterday"}) == 0.0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:30", "Date": now}) == 30.0
    assert retry_after({"retry-after-ms": "1500", "Retry-After": until}) == 1.5


# What stands for an error under a status that says there is none.


@pytest.mark.parametrize(
    ("dialect", "body", "status", "again"),
    [
        ("openai", {"error": {"message": "busy", "code": 429}}, 429, True),
        ("openai", {"error": {"message": "no", "code": 403}}, 403, False),
        ("openai", {"error": {"message": "no", "code": "rate_limit"}}, 500, True),
        ("openai", {"error": {"message": "no", "code": 200}}, 500, True),
        ("openai", {"error": {"message": "no", "code": True}}, 500, True),
        ("openai", {"error": "no", "choices": []}, 500, True),
        ("google", {"error": {"message": "busy", "code": 503}}, 503, True),
        ("google", {"error": {"message": "no", "code": 404}}, 404, False),
        ("google", {"error": {"message": "no", "code": None}}, 500, True),
        ("google", {"error": [], "candidates": None}, 500, True),
        ("anthropic", {"type": "error", "error": None}, 500, True),
    ],
)
def test_an_error_in_a_body_has_the_status_that_it_names_or_is_the_servers_own(
    dialect: str, body: Any, status: int, again: bool
) -> None:
    with pytest.raises(ModelError) as caught:
        read(dialect, msgspec.json.encode(body))
    assert (caught.value.status, caught.value.kind, caught.value.retryable) == (status, str(status), again)
    assert isinstance(caught.value, ModelRejected) is not again


@pytest.mark.parametrize("word", ["abort", "ERROR", "error"])
def test_a_reply_that_the_server_gave_up_is_asked_again_although_there_is_text(word: str) -> None:
    body = changed(GOOD["openai"], ("choices", 0, "finish_reason"), word)
    with pytest.raises(ModelError, match=f"finish reason {word.lower()}") as caught:
        read("openai", msgspec.json.encode(body))
    assert (caught.value.kind, caught.value.retryable) == ("aborted", True)


@given(st.text(max_size=20).filter(lambda word: word.lower() not in ("abort", "error")))
def test_a_finish_reason_of_tomorrow_is_a_stop_unless_it_is_one_of_ours(word: str) -> None:
    body = changed(GOOD["openai"], ("choices", 0, "finish_reason"), word)
    known = {"length": "length", "max_tokens": "length", "model_length": "length"}
    known |= dict.fromkeys(("content_filter", "refusal", "safety"), "refusal")
    assert read("openai", msgspec.json.encode(body))[0].finish == known.get(word.lower(), "stop")
