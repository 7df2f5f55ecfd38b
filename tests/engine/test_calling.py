"""The wrappers around one call, each on its own: bounded in time, limited in number, retried, metered."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from mdap.clock import LoopClock, run_virtual
from mdap.core.budget import Budget, Limits
from mdap.core.errors import BudgetReached, JournalError, ModelError, ModelRejected, Stop, Undecided
from mdap.core.events import Called, Event, Retried
from mdap.core.history import Spend
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage
from mdap.engine.calling import (
    FIRST_WAIT,
    LONGEST_WAIT,
    TURN_BATCHES,
    TURN_SECONDS,
    Meter,
    Tempo,
    limited,
    reservation,
    retrying,
    timed,
)
from mdap.protocols import Complete


def request(slot: int = 0, text: str = "hello", max_tokens: int = 100, seed: int = 5) -> Request:
    return Request(Prompt((Message("user", text),), "d"), Draw(3, slot), seed, 0.1, max_tokens)


async def now() -> float:
    return asyncio.get_running_loop().time()


async def leased_at_once(lease: Spend) -> None:
    await asyncio.sleep(0)


def answering(seconds: float = 1.0, usage: Usage | None = None) -> Complete:
    async def complete(request: Request) -> Response:
        await asyncio.sleep(seconds)
        return Response("ok", usage=usage)

    return complete


def failing(*errors: ModelError) -> Complete:
    """Fails with each of these in turn, then answers."""
    left = list(errors)

    async def complete(request: Request) -> Response:
        if left:
            raise left.pop(0)
        return Response("ok")

    return complete


def once(complete: Complete, seed: int = 5) -> Response:
    """What one call comes to, in virtual time."""

    async def main() -> Response:
        return await complete(request(seed=seed))

    return run_virtual(main())


def meter(budget: Budget, emit: list[Event] | None = None) -> Meter:
    return Meter(budget, LoopClock(), leased_at_once, None if emit is None else emit.append)


# Timed.


def test_a_call_without_a_reply_in_time_fails_as_timeout_and_is_ended() -> None:
    ended: list[float] = []

    async def hangs(request: Request) -> Response:
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append(await now())
        return Response("never")

    async def main() -> None:
        with pytest.raises(ModelError, match=r"no reply within 7.5 s. raise --timeout") as caught:
            await timed(hangs, 7.5, Tempo())(request())
        assert (caught.value.kind, caught.value.retryable, caught.value.step) == ("timeout", True, 3)

    run_virtual(main())
    assert ended == [7.5]


def test_a_reply_in_time_is_returned_as_it_is() -> None:
    assert once(timed(answering(7.4), 7.5, Tempo())) == Response("ok")


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_a_model_may_return_anything_that_can_be_awaited(seconds: float) -> None:
    async def main() -> Response:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(seconds, future.set_result, Response("ok"))
        return await timed(lambda _: future, 7.5, Tempo())(request())  # type: ignore[arg-type, return-value]

    assert run_virtual(main()) == Response("ok")


# Limited.


def test_calls_beyond_the_limit_wait_for_a_place_in_the_order_in_which_they_came() -> None:
    begun: list[tuple[int, float]] = []

    async def complete(request: Request) -> Response:
        begun.append((request.draw.slot, await now()))
        await asyncio.sleep(10)
        return Response("ok")

    async def main() -> None:
        one_of = limited(complete, 2)
        async with asyncio.TaskGroup() as group:
            for slot in range(5):
                group.create_task(one_of(request(slot)))

    run_virtual(main())
    assert begun == [(0, 0.0), (1, 0.0), (2, 10.0), (3, 10.0), (4, 20.0)]


def test_a_place_is_given_back_by_a_call_that_failed() -> None:
    one_of = limited(failing(ModelError("a"), ModelError("b")), 1)

    async def main() -> Response:
        for _ in range(2):
            with pytest.raises(ModelError):
                await one_of(request())
        return await one_of(request())

    assert run_virtual(main()).text == "ok"


# Retrying.


def test_a_failed_call_is_repeated_with_growing_waits_and_counted_by_its_failure() -> None:
    told: list[Event] = []
    retried: dict[str, int] = {}
    errors = [ModelError("a", kind="429"), ModelError("b", kind="dropped"), ModelError("c", kind="429")]
    complete = retrying(failing(*errors), 5, LoopClock(), retried, told.append)

    async def main() -> float:
        assert (await complete(request())).text == "ok"
        return await now()

    elapsed = run_virtual(main())
    events = [event for event in told if isinstance(event, Retried)]
    assert retried == {"429": 2, "dropped": 1}
    assert [(e.step, e.attempt, e.kind, e.reason) for e in events] == [
        (3, 1, "429", "a"),
        (3, 2, "dropped", "b"),
        (3, 3, "429", "c"),
    ]
    assert elapsed == pytest.approx(sum(event.wait for event in events))
    assert all(0 <= event.wait <= FIRST_WAIT * 2**i for i, event in enumerate(events))


def test_waits_are_bounded_and_differ_from_draw_to_draw() -> None:
    waits: list[list[float]] = []
    for seed in range(30):
        told: list[Event] = []
        complete = retrying(failing(*[ModelError("x")] * 12), 12, LoopClock(), {}, told.append)
        once(complete, seed)
        waits.append([event.wait for event in told if isinstance(event, Retried)])
    assert max(max(w) for w in waits) <= LONGEST_WAIT
    assert len({w[0] for w in waits}) == 30
    means = [sum(w[i] for w in waits) / 30 for i in range(7)]
    assert all(later > sooner for sooner, later in pairwise(means))


def test_no_wait_is_shorter_than_the_provider_asked_for() -> None:
    for seed in range(20):
        told: list[Event] = []
        errors = [ModelError("slow down", retry_after=20.0), ModelError("again", retry_after=0.0)]
        once(retrying(failing(*errors), 5, LoopClock(), {}, told.append), seed)
        first, second = [event.wait for event in told if isinstance(event, Retried)]
        assert 20.0 <= first <= 21.0
        assert second >= 0.0


def test_what_fails_once_too_often_is_undecided_and_says_the_last_error() -> None:
    complete = retrying(failing(*[ModelError(f"no. {n}") for n in range(9)]), 3, LoopClock(), {}, None)
    with pytest.raises(
        Undecided, match=r"step 3: 4 calls failed, the last one: no. 3. go on with `mdap resume RUN`"
    ) as e:
        once(complete)
    assert e.value.step == 3


def test_without_retries_the_first_failure_is_the_last() -> None:
    retried: dict[str, int] = {}
    with pytest.raises(Undecided, match="1 calls failed"):
        once(retrying(failing(ModelError("x")), 0, LoopClock(), retried, None))
    assert retried == {}


def test_what_asking_again_cannot_help_is_raised_at_once_with_its_step() -> None:
    retried: dict[str, int] = {}
    with pytest.raises(ModelRejected, match="no such model") as caught:
        once(retrying(failing(ModelRejected("no such model")), 5, LoopClock(), retried, None))
    assert (caught.value.step, retried) == (3, {})


# Metered.


def test_a_reservation_is_never_less_than_any_tokenizer_could_make_of_the_prompt() -> None:
    text = "naïve 🦉 text"
    assert reservation(request(text=text, max_tokens=100)) >= len(text.encode()) + 100


def test_a_call_settles_at_what_was_reported() -> None:
    budget, told = Budget(Limits(tokens=1_000), Spend()), list[Event]()

    async def main() -> None:
        await meter(budget, told).metered(answering(usage=Usage(7, 5)))(request())

    run_virtual(main())
    assert (budget.spent.calls, budget.spent.tokens, budget.calls_open, budget.tokens_open) == (1, 12, 0, 0)
    assert told == [Called(1), Called(-1)]


@pytest.mark.parametrize(
    ("error", "tokens"), [(ModelError("dropped"), True), (ModelError("429", status=429), False)], ids=str
)
def test_a_failed_call_counts_with_its_reservation_unless_the_provider_refused_it(
    error: ModelError, tokens: bool
) -> None:
    budget = Budget(Limits(tokens=1_000), Spend())

    async def main() -> None:
        with pytest.raises(ModelError):
            await meter(budget).metered(failing(error))(request())

    run_virtual(main())
    assert (budget.spent.calls, budget.spent.tokens) == (1, reservation(request()) if tokens else 0)
    assert (budget.calls_open, budget.tokens_open) == (0, 0)


def test_a_reply_without_usage_counts_with_its_reservation() -> None:
    budget = Budget(Limits(tokens=1_000), Spend())

    async def main() -> None:
        await meter(budget).metered(answering())(request())

    run_virtual(main())
    assert budget.spent.tokens == reservation(request())


def test_a_cancelled_call_counts_with_its_reservation() -> None:
    budget = Budget(Limits(tokens=1_000), Spend())

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await meter(budget).metered(answering(60))(request())

    run_virtual(main())
    assert (budget.spent.calls, budget.spent.tokens, budget.calls_open) == (1, reservation(request()), 0)


def test_a_call_that_does_not_fit_yet_waits_for_those_in_flight() -> None:
    one = reservation(request())
    budget = Budget(Limits(tokens=one + 20), Spend())

    async def main() -> float:
        complete = meter(budget).metered(answering(10, Usage(5, 5)))
        async with asyncio.TaskGroup() as group:
            for slot in range(3):
                group.create_task(complete(request(slot)))
        return await now()

    assert run_virtual(main()) == 30.0
    assert budget.spent.tokens == 30


def test_a_call_that_can_never_fit_is_refused_once_nothing_is_in_flight() -> None:
    budget = Budget(Limits(calls=2), Spend())

    async def main() -> float:
        complete = meter(budget).metered(answering(10))
        async with asyncio.TaskGroup() as group:
            for slot in range(2):
                group.create_task(complete(request(slot)))
            await asyncio.sleep(1)
            with pytest.raises(BudgetReached, match="2 calls taken"):
                await complete(request(2))
        return await now()

    assert run_virtual(main()) == 10.0


def test_a_lease_is_durable_before_the_call_that_needs_it() -> None:
    order: list[str] = []

    async def lease(spend: Spend) -> None:
        await asyncio.sleep(5)
        order.append(f"lease {spend.calls}")

    async def complete(request: Request) -> Response:
        order.append("call")
        return Response("ok")

    async def main() -> None:
        call = Meter(Budget(Limits(calls=100), Spend()), LoopClock(), lease, None).metered(complete)
        async with asyncio.TaskGroup() as group:
            for slot in range(3):
                group.create_task(call(request(slot)))

    run_virtual(main())
    # While the first lease was written, two more calls had reserved: the second lease covers both.
    assert order == ["lease 1", "call", "lease 3", "call", "call"]


def test_a_call_whose_lease_cannot_be_written_is_given_back_and_wakes_who_waits() -> None:
    budget = Budget(Limits(calls=1), Spend())

    async def lease(spend: Spend) -> None:
        await asyncio.sleep(5)
        raise JournalError("the disk is full")

    async def main() -> None:
        call = Meter(budget, LoopClock(), lease, None).metered(answering())
        results = await asyncio.wait_for(asyncio.gather(call(request(0)), call(request(1)), return_exceptions=True), 60)
        assert [type(result) for result in results] == [JournalError, JournalError]

    run_virtual(main())
    assert (budget.spent.calls, budget.calls_open) == (0, 0)


def test_a_bill_above_its_reservation_is_named() -> None:
    async def main() -> None:
        await meter(Budget(Limits(tokens=10_000), Spend())).metered(answering(usage=Usage(9_000, 1)))(request())

    with pytest.raises(BudgetReached, match=r"billed 9,001 tokens for a call of at most \d+. it ignores the cap"):
        run_virtual(main())


def test_a_stop_raised_as_a_call_ends_does_not_lose_its_reply_and_prevents_the_next_call() -> None:
    budget, calls = Budget(Limits(calls=10), Spend()), 0

    def stop(event: Event) -> None:
        if event == Called(-1):
            raise Stop("enough")

    async def complete(request: Request) -> Response:
        nonlocal calls
        calls += 1
        return Response("paid for")

    async def main() -> None:
        call = Meter(budget, LoopClock(), leased_at_once, stop).metered(complete)
        assert (await call(request())).text == "paid for"
        with pytest.raises(Stop, match="enough"):
            await call(request())

    run_virtual(main())
    assert (calls, budget.spent.calls, budget.calls_open) == (1, 1, 0)


def test_the_budget_of_seconds_ends_calls_waits_and_repetitions() -> None:
    async def main() -> float:
        budget = Budget(Limits(seconds=30.0), Spend(seconds=10.0))
        metering = meter(budget)
        patient = retrying(failing(*[ModelError("wait", retry_after=50)] * 3), 5, LoopClock(), {}, None)
        with pytest.raises(BudgetReached, match=r"30 seconds taken. raise --budget-seconds"):
            await metering.within_time(patient)(request())
        with pytest.raises(BudgetReached):
            await metering.within_time(answering(0))(request())
        return await now()

    assert run_virtual(main()) == 20.0


def test_a_turn_is_due_after_a_time_or_after_many_batches_and_then_counted_anew() -> None:
    tempo = Tempo()
    tempo.is_turn_due(100.0)
    assert not tempo.is_turn_due(100.0 + TURN_SECONDS / 2)
    assert tempo.is_turn_due(100.0 + TURN_SECONDS * 1.5)
    assert [tempo.is_turn_due(101.0) for _ in range(3)] == [True, False, False]
    still = [tempo.is_turn_due(101.0) for _ in range(3 * TURN_BATCHES)]
    assert sum(still) == 3, "virtual time stands still, and others must run all the same"


async def test_many_that_share_a_model_have_no_more_between_two_turns_than_one() -> None:
    tempo, turn, batches = Tempo(), 0, Counter[int]()

    async def worker() -> None:
        for _ in range(2_000):
            batches[turn] += 1
            if tempo.is_turn_due(1.0):
                await tempo.turn()

    workers = [asyncio.create_task(worker()) for _ in range(10)]
    while not all(one.done() for one in workers):
        turn += 1
        await asyncio.sleep(0)
    assert sum(batches.values()) == 20_000
    assert max(batches.values()) <= TURN_BATCHES + 10
