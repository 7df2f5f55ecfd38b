"""Rate limits: the buckets themselves, told the time, and what each dialect tells of them over HTTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from mdap.core.errors import UsageError
from mdap.serve import serve
from mdap.serve.limits import Limits, parse_rate
from tests.serve.adder import Adder
from tests.serve.asking import DIALECTS, ask


def test_a_full_bucket_admits_its_limit_at_once_and_then_one_as_each_comes_back() -> None:
    limits = Limits({"requests": 3.0})
    assert [limits.admit(100.0) is None for _ in range(4)] == [True, True, True, False]
    assert limits.admit(119.9) is not None  # a third of a minute brings one back
    assert limits.admit(120.1) is None
    assert limits.admit(120.1) is not None
    assert [limits.admit(500.0) is None for _ in range(4)] == [True, True, True, False]  # never more than the limit


def test_the_wait_is_exactly_what_the_next_request_needs() -> None:
    limits = Limits({"requests": 2.0})
    limits.admit(0.0), limits.admit(0.0)
    fault = limits.admit(1.0)
    assert fault is not None
    assert fault.wait == pytest.approx(29.0)
    assert limits.admit(1.0 + 28.9) is not None
    assert limits.admit(1.0 + 29.0) is None


def test_tokens_are_taken_when_they_are_billed_and_a_debt_must_be_earned_back() -> None:
    limits = Limits({"tokens": 60.0})
    assert limits.admit(0.0) is None
    limits.charge(90)
    fault = limits.admit(0.0)
    assert fault is not None
    assert fault.code == "tokens"
    assert fault.wait == pytest.approx(31.0)
    assert limits.levels(0.0)["tokens"].remaining == 0
    assert limits.admit(31.1) is None


def test_a_clock_that_starts_anywhere_gives_no_more_than_a_full_bucket() -> None:
    assert Limits({"requests": 5.0}).levels(1e9)["requests"].remaining == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not KIND=NUMBER"),
        ("requests", "'requests' is not KIND=NUMBER"),
        ("calls=3", "'calls'.*requests, tokens"),
        ("requests=0", "is not a whole number"),
        ("requests=1.5", "is not a whole number"),
        ("requests=inf", "is not a whole number"),
        ("requests=x", "is not a whole number"),
        ("requests=1,requests=2", "stands twice"),
    ],
)
async def test_a_rate_that_cannot_be_read_says_which_part_and_what_there_is(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        await serve(Adder(), rate=text)


def test_a_rate_is_read_by_kind() -> None:
    assert parse_rate("requests=600, tokens=200000") == {"requests": 600, "tokens": 200_000}


async def test_openai_tells_of_its_limits_on_every_reply_and_how_long_to_wait_beyond_them() -> None:
    async with await serve(Adder(), rate="requests=2,tokens=1000") as server:
        first, second, third = [await ask(server, "openai", "1 2", seed=seed) for seed in range(3)]
    assert (first.status, second.status, third.status) == (200, 200, 429)
    assert [one.headers["x-ratelimit-limit-requests"] for one in (first, second, third)] == ["2"] * 3
    assert [one.headers["x-ratelimit-remaining-requests"] for one in (first, second, third)] == ["1", "0", "0"]
    assert first.headers["x-ratelimit-remaining-tokens"] == "994"
    assert re.fullmatch(r"(1m)?[\d.]+s", second.headers["x-ratelimit-reset-requests"])
    assert re.fullmatch(r"\d+ms", first.headers["x-ratelimit-reset-tokens"])
    error = third.body["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert third.headers["Retry-After"] == "30"
    assert 29_000 < int(third.headers["retry-after-ms"]) <= 30_000


async def test_anthropic_names_the_moment_at_which_the_limit_is_whole_again() -> None:
    async with await serve(Adder(), rate="requests=2,tokens=1000") as server:
        first, _, third = [await ask(server, "anthropic", f"1 {n}") for n in range(3)]
    assert first.headers["anthropic-ratelimit-requests-limit"] == "2"
    assert first.headers["anthropic-ratelimit-requests-remaining"] == "1"
    assert first.headers["anthropic-ratelimit-tokens-remaining"] == "994"
    moment = datetime.fromisoformat(third.headers["anthropic-ratelimit-requests-reset"])
    assert timedelta(seconds=55) < moment - datetime.now(UTC) < timedelta(seconds=62)
    assert (third.status, third.body["error"]["type"], third.headers["retry-after"]) == (429, "rate_limit_error", "30")
    assert "retry-after-ms" not in third.headers


async def test_google_has_no_headers_and_tells_the_wait_in_the_body() -> None:
    async with await serve(Adder(), rate="requests=1") as server:
        first, second = [await ask(server, "google", seed=seed) for seed in range(2)]
    assert not [
        name for name in {**first.headers, **second.headers} if "rate" in name.lower() or "retry" in name.lower()
    ]
    error = second.body["error"]
    assert (second.status, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"][0]["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
    assert 59 < float(error["details"][0]["retryDelay"].removesuffix("s")) <= 60


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_tokens_too_run_out_and_the_model_is_not_asked_beyond_a_limit(dialect: str) -> None:
    adder = Adder()
    async with await serve(adder, rate="tokens=8") as server:
        got = [await ask(server, dialect, "1 2") for _ in range(4)]
    assert [one.status for one in got] == [200, 200, 429, 429]
    assert len(adder.requests) == 2


async def test_without_a_rate_no_reply_speaks_of_one() -> None:
    async with await serve(Adder()) as server:
        for dialect in DIALECTS:
            assert not [name for name in (await ask(server, dialect)).headers if "ratelimit" in name]


async def test_what_is_beyond_a_limit_shifts_no_chaos() -> None:
    """An attempt that a limit turned away must not count: else what strikes would depend on the time."""
    async with await serve(Adder(), chaos="429=0.5,garbage=0.2", seed=4) as server:
        plain = [(await ask(server, "openai", seed=n)).raw for n in range(12)]
    async with await serve(Adder(), chaos="429=0.5,garbage=0.2", seed=4, rate="requests=12") as server:
        limited = [(await ask(server, "openai", seed=n)).raw for n in range(12)]
        for n in range(3):
            assert (await ask(server, "openai", seed=n)).body["error"]["message"].startswith("Rate limit reached")
    assert limited == plain
