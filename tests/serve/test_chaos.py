"""Chaos: each word is met by the client as what it is, as often as asked, and whatever the order of the calls."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import pytest

from mdap.core.errors import ModelError, UsageError
from mdap.core.records import Request, Response
from mdap.engine.calling import limited, retrying
from mdap.models.openai import openai
from mdap.protocols import Model
from mdap.serve import Chaos, parse_chaos, serve
from mdap.serve.chaos import OF_ATTEMPTS, OF_REPLIES, Attempts
from tests.serve.adder import Adder, sum_of

KINDS = {"hang": "timeout", "drop": "dropped", "truncate": "truncated-body"}  # other words keep their name
ALL = "429=0.05,500=0.02,hang=0.001,drop=0.01,truncate=0.01,garbage=0.01,cut=0.03,babble=0.02"


def test_shares_are_read_by_word() -> None:
    rates = parse_chaos(ALL)
    assert tuple(rates) == OF_ATTEMPTS + OF_REPLIES
    assert (rates["429"], rates["hang"], rates["babble"]) == (0.05, 0.001, 0.02)
    assert parse_chaos(" drop = 1 ") == {"drop": 1.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not WORD=SHARE"),
        ("drop", "'drop' is not WORD=SHARE"),
        ("drop=0.1,", "'' is not WORD=SHARE"),
        ("dorp=0.1", "did you mean 'drop'.*429, 500, babble, cut, drop, garbage, hang, truncate"),
        ("drop=x", "drop='x' is not a share"),
        ("drop=1.5", "drop='1.5' is not a share"),
        ("drop=-0.1", "is not a share"),
        ("drop=nan", "is not a share"),
        ("drop=0.1,drop=0.2", "'drop' stands twice"),
        ("drop=0.6,cut=0.5", "add up to 1.1"),
    ],
)
def test_chaos_that_cannot_be_read_says_which_part_and_what_there_is(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_chaos(text)


async def test_a_server_with_unreadable_chaos_does_not_start() -> None:
    with pytest.raises(UsageError, match="dorp"):
        await serve(Adder(), chaos="dorp=1")


async def met(word: str) -> Response | ModelError:
    """What a client meets where this word always strikes."""
    async with await serve(Adder(), chaos=f"{word}=1") as server:
        model = openai("any", base_url=server.url, timeout=0.3 if word == "hang" else 10.0)
        try:
            return await model.complete(sum_of("100 200"))
        except ModelError as error:
            return error
        finally:
            await model.close()
            assert server.stats["chaos"] == {word: 1}


@pytest.mark.parametrize("word", OF_ATTEMPTS)
async def test_a_fault_of_an_attempt_reaches_the_client_under_its_own_word_and_may_be_tried_again(word: str) -> None:
    error = await met(word)
    assert isinstance(error, ModelError)
    assert (type(error), error.kind, error.retryable) == (ModelError, KINDS.get(word, word), True)


async def test_a_429_asks_to_wait_but_not_for_long() -> None:
    error = await met("429")
    assert isinstance(error, ModelError)
    assert error.retry_after == 0.01


async def test_a_cut_reply_has_the_finish_reason_length_and_half_the_text() -> None:
    reply = await met("cut")
    assert isinstance(reply, Response)
    assert (reply.text, reply.finish) in [("3", "length"), ("30", "length")]
    assert reply.usage is not None
    assert reply.usage.tokens_out == 1


async def test_babble_is_a_valid_reply_without_an_answer() -> None:
    reply = await met("babble")
    assert isinstance(reply, Response)
    assert reply.finish == "stop"
    assert len(reply.text) > 20
    assert not any(c.isdigit() for c in reply.text)


async def outcome(model: Model, seed: int, attempts: int) -> list[str]:
    """What each attempt at one request comes to."""
    seen = []
    for _ in range(attempts):
        try:
            reply = await model.complete(sum_of("100 200", seed=seed))
            seen.append(f"{reply.text} {reply.finish}")
        except ModelError as error:
            seen.append(error.kind)
    return seen


async def outcomes(seeds: list[int], attempts: dict[int, int], *, at_once: int, of_server: int = 0) -> list[list[str]]:
    """What is met at each of `seeds`, asked `at_once` at a time, in their order."""
    places = asyncio.Semaphore(at_once)
    async with await serve(
        Adder(), chaos="429=0.2,500=0.1,drop=0.05,garbage=0.1,truncate=0.05,cut=0.1,babble=0.1", seed=of_server
    ) as server:
        model = openai("any", base_url=server.url)

        async def one(seed: int) -> list[str]:
            async with places:
                return await outcome(model, seed, attempts.get(seed, 2))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(seed)) for seed in seeds]
        await model.close()
    return [task.result() for task in tasks]


async def test_what_strikes_does_not_depend_on_order_or_concurrency() -> None:
    seeds = list(range(60))
    alone = await outcomes(seeds, {}, at_once=1)
    together = await outcomes(seeds[::-1], {}, at_once=60)
    assert together[::-1] == alone
    assert len({kind for both in alone for kind in both}) >= 7  # faults of both sorts did strike


async def test_another_seed_of_the_server_strikes_elsewhere() -> None:
    seeds = list(range(60))
    assert await outcomes(seeds, {}, at_once=60, of_server=1) != await outcomes(seeds, {}, at_once=60)


async def test_a_retry_shifts_nothing_else() -> None:
    seeds = list(range(30))
    plain = await outcomes(seeds, {}, at_once=1)
    retried = await outcomes(seeds, dict.fromkeys(seeds[::2], 6), at_once=1)
    assert [both[:2] for both in retried] == plain


async def test_the_reply_that_comes_in_the_end_does_not_depend_on_how_often_it_was_asked() -> None:
    replies = [
        {reply for reply in seen if " " in reply}
        for seen in await outcomes(list(range(30)), dict.fromkeys(range(30), 12), at_once=30)
    ]
    assert all(len(different) == 1 for different in replies)
    assert any("length" in str(different) for different in replies)


class Impatient:
    """A clock that does not wait."""

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_the_engines_retries_get_every_reply_and_are_counted_as_what_the_server_did() -> None:
    requests = [sum_of("100 200", seed=seed) for seed in range(300)]
    retried: dict[str, int] = {}
    async with await serve(Adder(), chaos="429=0.1,500=0.1,hang=0.01,drop=0.1,truncate=0.1,garbage=0.1") as server:
        model = openai("any", base_url=server.url, timeout=1.0)
        complete = retrying(limited(model.complete, 32), 30, Impatient(), retried, None)

        async def answer(request: Request) -> str:
            return (await complete(request)).text

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(answer(request)) for request in requests]
        await model.close()
        struck = server.stats["chaos"]
    assert [call.result() for call in calls] == [(await Adder().complete(request)).text for request in requests]
    assert retried == {KINDS.get(word, word): count for word, count in struck.items()}
    assert set(struck) == set(OF_ATTEMPTS)


def test_words_strike_as_often_as_asked_within_four_standard_errors() -> None:
    count, chaos = 40_000, Chaos(parse_chaos(ALL), seed=3)
    attempts = Counter(chaos.of_attempt(b"%d" % n, 1) for n in range(count))
    replies = Counter(chaos.of_reply(b"%d" % n, 7) for n in range(count))
    for word, share in chaos.rates.items():
        seen = (attempts if word in OF_ATTEMPTS else replies)[word]
        assert is_likely(seen, count, share), word
    # The twin: a fifth more or less than was asked for would have been noticed.
    assert not is_likely(attempts["429"], count, 0.06)
    assert not is_likely(attempts["429"], count, 0.04)


def is_likely(seen: int, count: int, share: float) -> bool:
    return abs(seen - count * share) < 4 * math.sqrt(count * share * (1 - share))


def test_attempts_are_counted_for_each_body_and_the_table_stays_small() -> None:
    attempts = Attempts(capacity=3)
    assert [attempts.count(body) for body in (b"a", b"a", b"b", b"a")] == [1, 2, 1, 3]
    for body in (b"c", b"d"):
        attempts.count(body)
    assert attempts.count(b"a") == 4  # asked most recently of the old ones: kept
    assert attempts.count(b"b") == 1  # not asked for the longest time: forgotten
