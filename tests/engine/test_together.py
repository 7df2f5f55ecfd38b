"""Draws that share a call: which may, what each gets of the reply and of the bill, and what a failure does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import ModelError
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage
from mdap.engine.together import divided, gathered
from mdap.models.profiles import Profile
from tests.engine.support import Chancy, Pairs


def request(slot: int, text: str = "q", temperature: float = 0.7) -> Request:
    return Request(Prompt((Message("user", text),), text), Draw(0, slot), slot, temperature, 100)


class Sharing:
    """A model that can give several replies to one call, each naming the draw that it was for."""

    spec = "sharing"

    def __init__(self, *, n: bool = True, seed: bool = False, fewer: int = 0) -> None:
        self.profile = Profile(n=n, seed=seed)
        self.calls: list[list[int]] = []
        self.fewer, self.latency = fewer, 0.0
        self.error: ModelError | None = None

    async def complete(self, request: Request) -> Response:
        self.calls.append([request.draw.slot])
        await asyncio.sleep(self.latency)
        return Response(f"alone {request.draw.slot}", usage=Usage(10, 5))

    async def complete_n(self, requests: Sequence[Request]) -> list[Response]:
        self.calls.append([request.draw.slot for request in requests])
        await asyncio.sleep(self.latency)
        if self.error is not None:
            raise self.error
        replies = [Response(f"choice {index}") for index in range(len(requests) - self.fewer)]
        bill = Usage(10, 6 * len(replies))
        return [Response(reply.text, usage=bill if n == 0 else Usage()) for n, reply in enumerate(replies)]


async def all_of(model: Sharing, requests: Sequence[Request], *, is_wanted: bool = False) -> list[Any]:
    """The text of each reply, in the order of the requests; an error in place of one that failed."""
    complete = gathered(model, is_wanted)

    async def one(request: Request) -> Any:
        try:
            return (await complete(request)).text
        except ModelError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(request)) for request in requests]
    return [task.result() for task in tasks]


async def test_draws_of_one_moment_share_a_call_and_take_its_choices_in_the_order_of_their_slots() -> None:
    model = Sharing()
    assert await all_of(model, [request(n) for n in (2, 1, 4)]) == ["choice 1", "choice 0", "choice 2"]
    assert model.calls == [[1, 2, 4]]


async def test_draws_that_differ_in_what_is_sent_do_not_share() -> None:
    model = Sharing()
    asked = [request(0, temperature=0.0), request(1), request(2), request(3, text="other")]
    assert await all_of(model, asked) == ["alone 0", "choice 0", "choice 1", "alone 3"]


async def test_draws_of_different_moments_do_not_share() -> None:
    model = Sharing()
    complete = gathered(model, False)
    for slot in (1, 2):
        await complete(request(slot))
    assert model.calls == [[1], [2]]


@pytest.mark.parametrize(
    ("n", "seed", "is_wanted", "shares"),
    [
        (True, False, False, True),
        (True, True, False, False),  # a seed of its own for each draw is worth more
        (True, True, True, True),
        (False, False, True, False),
    ],
)
async def test_a_call_is_shared_where_it_takes_nothing_from_the_draws_or_the_user_wants_it(
    n: bool, seed: bool, is_wanted: bool, shares: bool
) -> None:
    model = Sharing(n=n, seed=seed)
    await all_of(model, [request(1), request(2)], is_wanted=is_wanted)
    assert model.calls == ([[1, 2]] if shares else [[1], [2]])


async def test_a_profile_that_narrows_ends_the_sharing() -> None:
    model = Sharing()
    complete = gathered(model, False)
    await all_of(model, [request(1), request(2)])
    model.profile = Profile(n=False, seed=False)
    await complete(request(3))
    assert model.calls[-1] == [3]


async def test_draws_that_the_server_gave_no_choice_are_asked_for_alone() -> None:
    model = Sharing(fewer=2)
    assert await all_of(model, [request(n) for n in (1, 2, 3)]) == ["choice 0", "alone 2", "alone 3"]


async def test_a_failure_is_one_of_every_draw_each_with_an_error_of_its_own() -> None:
    model = Sharing()
    model.error = ModelError("too many", kind="429", status=429, retry_after=3.0)
    errors = await all_of(model, [request(1), request(2), request(3)])
    assert [(e.status, e.retry_after, e.message) for e in errors] == [(429, 3.0, "too many")] * 3
    assert len({id(error) for error in errors}) == 3


async def test_if_the_draw_that_made_the_call_is_given_up_the_others_can_be_tried_again() -> None:
    model = Sharing()
    model.latency = 10.0
    complete = gathered(model, False)
    tasks = [asyncio.create_task(complete(request(n))) for n in (1, 2)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    with pytest.raises(ModelError, match="given up") as caught:
        await tasks[1]
    assert caught.value.retryable


async def test_a_draw_that_is_given_up_takes_no_other_with_it() -> None:
    model = Sharing()
    model.latency = 0.05
    complete = gathered(model, False)
    tasks = [asyncio.create_task(complete(request(n))) for n in (1, 2, 3)]
    await asyncio.sleep(0.01)
    tasks[1].cancel()
    assert [(await tasks[n]).text for n in (0, 2)] == ["choice 0", "choice 2"]


async def test_a_leader_that_is_given_up_before_the_call_leaves_nobody_waiting() -> None:
    complete = gathered(Sharing(), False)
    tasks = [asyncio.create_task(complete(request(n))) for n in (1, 2)]
    asyncio.get_running_loop().call_soon(tasks[0].cancel)
    async with asyncio.timeout(60):
        with pytest.raises(ModelError):
            await tasks[1]


@given(
    st.lists(st.text(max_size=40), min_size=1, max_size=6),
    st.integers(0, 600),
    st.integers(0, 50),
    st.integers(100, 200),
)
def test_the_bill_is_divided_and_adds_up_and_no_part_is_above_the_cap_if_it_can_be_helped(
    texts: list[str], tokens: int, hidden: int, cap: int
) -> None:
    bill = Usage(77, tokens, cached=5, cache_written=6, reasoning=min(hidden, tokens))
    replies = [Response(text, usage=bill if n == 0 else Usage()) for n, text in enumerate(texts)]
    usages = [reply.usage or Usage() for reply in divided(replies, cap)]
    assert sum(u.tokens_out for u in usages) == tokens
    assert sum(u.reasoning for u in usages) == bill.reasoning
    assert (usages[0].tokens_in, usages[0].cached, usages[0].cache_written) == (77, 5, 6)
    assert not any(u.tokens_in for u in usages[1:])
    if tokens <= cap * len(texts):
        assert max(u.tokens_out for u in usages) <= cap


def test_a_call_without_a_bill_has_none_to_divide() -> None:
    replies = [Response("a"), Response("b")]
    assert divided(replies, 10) == replies


class Together(Chancy):
    """A keyed model whose provider takes no seeds and gives several replies to a call."""

    spec = "together"
    profile = Profile(n=True, seed=False)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.shared: list[int] = []

    async def complete_n(self, requests: Sequence[Request]) -> list[Response]:
        self.shared.append(len(requests))
        replies = [await self.complete(request) for request in requests]
        usages = [reply.usage or Usage() for reply in replies]
        bill = Usage(usages[0].tokens_in, sum(usage.tokens_out for usage in usages))
        return [Response(r.text, r.finish, bill if n == 0 else Usage()) for n, r in enumerate(replies)]


@pytest.mark.parametrize("budget", [{}, {"budget_calls": 100}, {"budget_tokens": 90_000}])
def test_in_a_run_votes_of_a_step_share_a_call_and_each_draw_counts_against_the_budget(budget: dict[str, int]) -> None:
    model = Together(p=0.8)
    result = run_virtual(api.run(Pairs(8), model, k=4, **budget))  # type: ignore[arg-type]
    assert result.status == "done"
    # The first draw of a step has a temperature of its own.
    assert model.shared.count(3) >= 6
    assert result.book.spend.calls == result.samples == len(model.requests)


@pytest.mark.parametrize("is_wanted", [False, True])
async def test_over_http_a_server_with_n_is_asked_for_all_votes_at_once_where_the_user_wants_it(
    is_wanted: bool, tmp_path: Any
) -> None:
    from mdap.models import vllm
    from mdap.models.simulated import simulated
    from mdap.serve import read_log, serve
    from mdap.tasks.catalog import task

    hanoi = task("hanoi:disks=3")
    async with await serve(simulated(p=0.9), task=hanoi, log=tmp_path / "log") as server:
        model = vllm("m", base_url=server.url)
        # A busy machine makes the server slow, and what is asked ahead in vain is on its log and not among the samples.
        result = await api.run(hanoi, model, k=3, share_draws=is_wanted, lookahead=0)
        await model.close()
    calls = list(read_log(tmp_path / "log"))
    assert (result.status, result.wrong) == ("done", 0)
    assert {call.n for call in calls} >= ({1, 2} if is_wanted else {1})
    assert sum(call.n for call in calls) == result.samples
    assert sum(call.tokens_out for call in calls) == result.tokens["out"]
    assert (len(calls) == result.samples) == (not is_wanted)
