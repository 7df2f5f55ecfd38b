"""Several choices of one request, seeds, and a server that has a cache: what a reply depends on, in each dialect."""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.errors import ModelError
from mdap.core.records import Request, Response
from mdap.serve import serve
from tests.serve.adder import Adder
from tests.serve.asking import DIALECTS, ask

COUNT = {"openai": "n", "google": "candidateCount"}


@pytest.mark.parametrize("dialect", COUNT)
async def test_choices_stand_in_index_order_and_each_depends_on_request_seed_and_index_alone(dialect: str) -> None:
    adder = Adder()
    async with await serve(adder) as server:
        five = await ask(server, dialect, "2 3", seed=7, **{COUNT[dialect]: 5})
        again = await ask(server, dialect, "2 3", seed=7, **{COUNT[dialect]: 5})
        two = await ask(server, dialect, "2 3", seed=7, **{COUNT[dialect]: 2})
        one = await ask(server, dialect, "2 3", seed=7)
        other = await ask(server, dialect, "2 3", seed=8, **{COUNT[dialect]: 5})
    assert five.texts == again.texts
    assert two.texts == five.texts[:2]
    assert one.texts == five.texts[:1]
    choices = five.body.get("choices") or five.body["candidates"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3, 4]
    seeds = [request.seed for request in adder.requests]
    assert seeds[0] == 7
    assert len(set(seeds[:5])) == 5
    assert not set(seeds[:5]) & set(seeds[-5:])
    assert len(other.texts) == 5


@pytest.mark.parametrize("dialect", COUNT)
async def test_all_choices_are_asked_for_at_once_and_the_prompt_is_billed_once(dialect: str) -> None:
    adder = Adder()
    async with await serve(adder) as server:
        body = (await ask(server, dialect, "2 3", seed=7, **{COUNT[dialect]: 4})).body
    assert adder.most_at_once == 4
    usage = body.get("usage") or body["usageMetadata"]
    assert list(usage.values())[:3] == [3, 12, 15]


class Fails(Adder):
    """Fails at any seed but one."""

    async def complete(self, request: Request) -> Response:
        """Fail, or not."""
        if request.seed != 7:
            raise ModelError("upstream is full", kind="503", status=503)
        return await super().complete(request)


@pytest.mark.parametrize(("dialect", "status"), [("openai", 503), ("google", 503)])
async def test_one_choice_that_fails_fails_the_call(dialect: str, status: int) -> None:
    async with await serve(Fails()) as server:
        assert (await ask(server, dialect, "2 3", seed=7)).status == 200
        got = await ask(server, dialect, "2 3", seed=7, **{COUNT[dialect]: 2})
    assert got.status == status
    assert "upstream is full" in got.body["error"]["message"]


def sampling(dialect: str, seed: int) -> dict[str, Any]:
    return {"temperature": 0.5} if dialect == "anthropic" else {"temperature": 0.5, "seed": seed}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_server_that_ignores_seeds_answers_as_from_a_cache_and_says_so(dialect: str) -> None:
    async with await serve(Adder(), ignore_seed=True) as server:
        got = [await ask(server, dialect, "2 3", **sampling(dialect, seed)) for seed in range(12)]
        other = await ask(server, dialect, "2 4", **sampling(dialect, 0))
    assert len({one.raw for one in got}) == 1  # the id is the same, too
    assert [one.headers["x-cache"] for one in got] == ["miss"] + ["hit"] * 11
    assert other.headers["x-cache"] == "miss"
    assert other.id != got[0].id


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_without_that_replies_differ_and_no_cache_is_named(dialect: str) -> None:
    async with await serve(Adder()) as server:
        got = [await ask(server, dialect, "2 3", **sampling(dialect, seed)) for seed in range(20)]
    assert {one.texts[0] for one in got} == {"5", "6"}
    assert len({one.id for one in got}) == 20
    assert not any("x-cache" in one.headers for one in got)


async def test_a_prompt_that_is_asked_again_or_too_long_to_be_kept_is_read_as_any_other() -> None:
    adder = Adder()
    async with await serve(adder) as server:
        for text in ("1 2", "1 2", "3 4", "1 " * 40_000, "1 " * 40_000):
            assert (await ask(server, "openai", text, seed=1)).status == 200
    assert [request.messages[0].content for request in adder.requests] == ["1 2", "1 2", "3 4", *["1 " * 40_000] * 2]
    assert adder.requests[0].prompt.digest == adder.requests[1].prompt.digest != adder.requests[2].prompt.digest
