"""Chaos in every dialect: each word in the vendor's own shape, and the same whatever the order of the calls."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from mdap.serve import Server, serve
from tests.serve.adder import Adder
from tests.serve.asking import DIALECTS, Got, ask

ALL = "429=0.15,500=0.15,drop=0.1,truncate=0.1,garbage=0.1,cut=0.1,babble=0.1"


async def met(server: Server, dialect: str, text: str = "100 200", limit: float = 10, **more: Any) -> str | Got:
    """What a client meets: the name of what the connection did, or the reply."""
    try:
        async with asyncio.timeout(limit):
            return await ask(server, dialect, text, **more)
    except TimeoutError:
        return "hang"
    except aiohttp.ServerDisconnectedError:
        return "drop"
    except aiohttp.ClientPayloadError:
        return "truncate"


async def always(word: str, dialect: str) -> str | Got:
    async with await serve(Adder(), chaos=f"{word}=1") as server:
        return await met(server, dialect, limit=0.3 if word == "hang" else 10)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("word", ["hang", "drop", "truncate"])
async def test_a_fault_of_the_connection_is_one_in_every_dialect(word: str, dialect: str) -> None:
    assert await always(word, dialect) == word


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_garbage_is_a_200_that_is_no_json(dialect: str) -> None:
    got = await always("garbage", dialect)
    assert isinstance(got, Got)
    assert got.status == 200
    with pytest.raises(ValueError, match="JSON"):
        _ = got.body


ERRORS: dict[tuple[str, str], dict[str, Any]] = {
    ("429", "openai"): {"type": "requests", "code": "rate_limit_exceeded", "param": None},
    ("429", "anthropic"): {"type": "rate_limit_error"},
    ("429", "google"): {"code": 429, "status": "RESOURCE_EXHAUSTED"},
    ("500", "openai"): {"type": "server_error", "code": None, "param": None},
    ("500", "anthropic"): {"type": "api_error"},
    ("500", "google"): {"code": 500, "status": "INTERNAL"},
}


@pytest.mark.parametrize(("word", "dialect"), ERRORS)
async def test_an_error_has_its_status_and_the_vendors_shape(word: str, dialect: str) -> None:
    got = await always(word, dialect)
    assert isinstance(got, Got)
    assert got.status == int(word)
    error = got.body["error"]
    assert ERRORS[word, dialect].items() <= error.items()
    assert "chaos" in error["message"]


async def test_a_429_asks_for_a_hundredth_of_a_second_as_each_vendor_says_it() -> None:
    openai, anthropic, google = [await always("429", dialect) for dialect in DIALECTS]
    assert isinstance(openai, Got)
    assert isinstance(anthropic, Got)
    assert isinstance(google, Got)
    assert (openai.headers["Retry-After"], openai.headers["retry-after-ms"]) == ("0", "10")
    assert anthropic.headers["retry-after"] == "0"
    assert google.body["error"]["details"][0]["retryDelay"] == "0.010s"
    assert "Retry-After" not in google.headers


LENGTH = {"openai": "length", "anthropic": "max_tokens", "google": "MAX_TOKENS"}


def finish(got: Got) -> str:
    body = got.body
    if "choices" in body:
        return str(body["choices"][0]["finish_reason"])
    return str(body["candidates"][0]["finishReason"] if "candidates" in body else body["stop_reason"])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_cut_and_babble_are_replies_to_be_flagged(dialect: str) -> None:
    cut, babble = await always("cut", dialect), await always("babble", dialect)
    assert isinstance(cut, Got)
    assert isinstance(babble, Got)
    assert finish(cut) == LENGTH[dialect]
    assert cut.texts in (["3"], ["30"])
    assert finish(babble) != LENGTH[dialect]
    assert not any(c.isdigit() for c in babble.texts[0])


def distinct(dialect: str, n: int) -> dict[str, Any]:
    """What makes one draw another: a seed, or, where there is none, a user of its own."""
    return {"metadata": {"user_id": f"{n}"}} if dialect == "anthropic" else {"seed": n}


async def outcomes(dialect: str, order: list[int], at_once: int) -> dict[int, list[str]]:
    """What three attempts at each of some draws come to."""
    places, seen = asyncio.Semaphore(at_once), {}
    async with await serve(Adder(), chaos=ALL) as server:

        async def one(n: int) -> None:
            async with places:
                got = [await met(server, dialect, **distinct(dialect, n)) for _ in range(3)]
            seen[n] = [one if isinstance(one, str) else f"{one.status} {one.raw!r}" for one in got]

        async with asyncio.TaskGroup() as group:
            for n in order:
                group.create_task(one(n))
    return seen


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_strikes_depends_on_request_and_attempt_alone(dialect: str) -> None:
    draws = list(range(25))
    alone = await outcomes(dialect, draws, 1)
    together = await outcomes(dialect, draws[::-1], 25)
    # The id of a failed request numbers it as it came, and Anthropic's errors hold it.
    assert {n: [scrub(one) for one in seen] for n, seen in together.items()} == {
        n: [scrub(one) for one in seen] for n, seen in alone.items()
    }
    kinds = {one[:9] for seen in alone.values() for one in seen}
    assert {"drop", "truncate"} <= kinds
    assert len(kinds) >= 5


def scrub(seen: str) -> str:
    return seen.partition('"request_id"')[0]


async def test_each_choice_of_a_call_has_its_own_luck() -> None:
    async with await serve(Adder(), chaos="cut=0.3,babble=0.3") as server:
        got = [await ask(server, "openai", seed=n, n=4) for n in range(10)]
        reasons = [[choice["finish_reason"] for choice in one.body["choices"]] for one in got]
        assert any(len(set(four)) == 2 for four in reasons)
        assert server.stats["chaos"]["cut"] == sum(four.count("length") for four in reasons)


async def test_a_fault_of_an_attempt_at_a_bad_prompt_strikes_all_the_same() -> None:
    """What the words count as struck, clients have met."""
    for word in ("drop", "garbage"):
        async with await serve(Adder(), chaos=f"{word}=1") as server:
            got = await met(server, "openai", "one two")
            assert (got if isinstance(got, str) else got.status) == ("drop" if word == "drop" else 200)
            assert server.stats["chaos"] == {word: 1}
