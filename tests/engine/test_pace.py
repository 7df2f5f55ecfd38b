"""How fast a model is asked: what a refusal changes, and for whom; what rates allow; and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.clock import LoopClock, run_virtual
from mdap.core.errors import ModelError
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage
from mdap.engine.calling import reservation
from mdap.engine.pace import MINUTE, Pace, pace_of, paced
from mdap.protocols import Complete

Reply = Callable[[Request], Awaitable[Response]]


def request(slot: int = 0, text: str = "hi", max_tokens: int = 10) -> Request:
    return Request(Prompt((Message("user", text),), text), Draw(0, slot), slot, 0.1, max_tokens)


class Server:
    """A provider that counts what it is asked, answers after `latency` seconds, and refuses what is over `most`.

    A refusal takes `thinks` seconds.
    """

    spec = "server"
    thinks = 0.0

    def __init__(self, latency: float = 1.0, most: int = 1_000, retry_after: float | None = 2.0) -> None:
        self.latency, self.most, self.retry_after = latency, most, retry_after
        self.open = self.most_open = 0
        self.began: list[float] = []
        self.refused: list[float] = []

    async def complete(self, request: Request) -> Response:
        now = asyncio.get_running_loop().time()
        if self.open >= self.most:
            self.refused.append(now)
            if self.thinks:
                await asyncio.sleep(self.thinks)
            raise ModelError("too many", status=429, retry_after=self.retry_after)
        self.began.append(now)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.latency)
            return Response("ok", usage=Usage(3, 4))
        finally:
            self.open -= 1


async def ask_until_answered(complete: Complete, slot: int = 0) -> None:
    """What the retries of a run do, without a wait of their own."""
    while True:
        try:
            await complete(request(slot))
        except ModelError:
            continue
        return


async def all_of(calls: Sequence[Awaitable[Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(call)  # type: ignore[arg-type]


def test_a_model_that_never_refuses_is_asked_as_fast_as_the_run_may() -> None:
    async def main() -> None:
        server = Server()
        complete = paced(server.complete, Pace(LoopClock()), 4)
        await all_of([complete(request(n)) for n in range(12)])
        assert server.began == [0.0] * 4 + [1.0] * 4 + [2.0] * 4

    run_virtual(main())


def test_after_a_refusal_nobody_calls_until_the_time_that_was_asked_for_has_passed() -> None:
    async def main() -> None:
        server = Server(most=4, retry_after=7.0)
        pace = Pace(LoopClock())
        first, second = (paced(server.complete, pace, 8) for _ in range(2))
        await all_of([ask_until_answered(complete, n) for n in range(6) for complete in (first, second)])
        assert server.refused[0] == 0.0
        assert not [began for began in server.began if 0.0 < began < 7.0]
        assert len(server.began) == 12

    run_virtual(main())


def test_a_refusal_halves_what_is_in_flight_once_for_all_calls_of_the_moment() -> None:
    async def main() -> None:
        server = Server(most=10)
        server.thinks = 0.1
        pace = Pace(LoopClock())
        complete = paced(server.complete, pace, 16)
        async with asyncio.TaskGroup() as group:
            for n in range(16):
                group.create_task(ask_until_answered(complete, n))
            await asyncio.sleep(0.5)
            assert len(server.refused) == 6
            assert pace.places.allowed == 8.0, "16 were in flight when the first of them was refused"

    run_virtual(main())


def test_the_calls_at_once_settle_near_what_the_model_takes_and_climb_again_when_it_takes_more() -> None:
    async def main() -> None:
        server = Server(latency=0.2, most=12, retry_after=0.5)
        pace = Pace(LoopClock())
        complete = paced(server.complete, pace, 64)
        await all_of([ask_until_answered(complete, n) for n in range(1_500)])
        assert server.most_open == 12
        assert len(server.refused) < 150, "it goes on being refused"
        server.most, before = 1_000, server.most_open
        await all_of([ask_until_answered(complete, n) for n in range(6_000)])
        assert server.most_open > 3 * before
        assert pace.calm, "a model that takes all there is need not be watched"

    run_virtual(main())


@pytest.mark.parametrize("retry_after", [3_600.0, 1e9, float("inf")])
def test_a_retry_after_of_an_hour_holds_nobody_up_for_more_than_a_minute(retry_after: float) -> None:
    async def main() -> None:
        server = Server(most=0, retry_after=retry_after)
        complete = paced(server.complete, Pace(LoopClock()), 2)
        with pytest.raises(ModelError):
            await complete(request())
        server.most = 2
        await complete(request())
        assert server.began == [60.0]

    run_virtual(main())


def test_a_refusal_that_names_no_time_holds_up_for_a_second() -> None:
    async def main() -> None:
        server = Server(most=0, retry_after=None)
        complete = paced(server.complete, Pace(LoopClock()), 2)
        with pytest.raises(ModelError):
            await complete(request())
        server.most = 2
        await complete(request())
        assert server.began == [1.0]

    run_virtual(main())


def test_failures_that_are_no_refusals_change_no_pace() -> None:
    async def main() -> None:
        async def fails(request: Request) -> Response:
            raise ModelError("broken", status=500, retry_after=30.0)

        pace = Pace(LoopClock())
        complete = paced(fails, pace, 2)
        for _ in range(3):
            with pytest.raises(ModelError):
                await complete(request())
        assert asyncio.get_running_loop().time() == 0.0
        assert (pace.calm, pace.places.taken) == (True, 0)

    run_virtual(main())


@given(st.integers(1, 7), st.integers(1, 40), st.floats(0, 30))
def test_no_minute_sees_more_calls_begin_than_the_rate(rate: int, calls: int, latency: float) -> None:
    async def main() -> None:
        server = Server(latency)
        complete = paced(server.complete, Pace(LoopClock()), 64, requests=rate)
        await all_of([complete(request(n)) for n in range(calls)])
        began = server.began
        assert len(began) == calls
        assert all(later - sooner >= MINUTE for sooner, later in zip(began, began[rate:], strict=False))
        # And none of them waited for longer than that takes.
        assert began[-1] <= MINUTE * ((calls - 1) // rate) + 1e-6

    run_virtual(main())


def test_tokens_a_minute_count_at_their_upper_bound_until_the_reply_says_what_was_used() -> None:
    async def main() -> None:
        server = Server(latency=1.0)
        bound = reservation(request())
        complete = paced(server.complete, Pace(LoopClock()), 64, tokens=2 * bound)
        await all_of([complete(request(n)) for n in range(4)])
        # Two fit at once; once they are answered, with 7 tokens each, there is room for one more, and then one more.
        assert server.began == [0.0, 0.0, 1.0, 2.0]

    async def alone() -> None:
        server = Server()
        complete = paced(server.complete, Pace(LoopClock()), 64, tokens=5)
        await all_of([complete(request(n)) for n in range(3)])
        assert server.began == [0.0, 60.0, 120.0], "a call of more than a minute's tokens begins when it is alone"

    run_virtual(alone())


def test_a_run_with_rates_counts_the_calls_of_other_runs_of_the_same_model() -> None:
    async def main() -> None:
        server, pace = Server(), Pace(LoopClock())
        bound = paced(server.complete, pace, 8, requests=3)
        free = paced(server.complete, pace, 8)
        await all_of([free(request(n)) for n in range(3)])
        await bound(request(9))
        assert server.began == [0.0, 0.0, 0.0, 60.0]

    run_virtual(main())


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20) | st.none()), min_size=1, max_size=30),
    st.integers(1, 5),
    st.integers(0, 6),
)
def test_no_place_is_lost_whoever_is_cancelled_and_when(
    callers: list[tuple[float, float | None]], in_flight: int, most: int
) -> None:
    """(begins, is cancelled so much later or never): in the end every place is free, and who was not, was answered."""

    async def main() -> None:
        server = Server(most=most or 1, retry_after=1.0)
        pace = Pace(LoopClock())
        complete = paced(server.complete, pace, in_flight)
        answered = []

        async def call(number: int, begins: float) -> None:
            await asyncio.sleep(begins)
            await ask_until_answered(complete, number)
            answered.append(number)

        async with asyncio.timeout(10_000):
            tasks = [asyncio.create_task(call(n, begins)) for n, (begins, _) in enumerate(callers)]
            for task, (begins, ends) in zip(tasks, callers, strict=True):
                if ends is not None:
                    asyncio.get_running_loop().call_later(begins + ends, task.cancel)
            await asyncio.wait(tasks)
        assert {n for n, (_, ends) in enumerate(callers) if ends is None} <= set(answered)
        assert pace.places.taken == 0
        await complete(request())

    run_virtual(main())


def test_a_place_that_is_handed_over_to_a_caller_in_the_moment_of_its_cancellation_goes_to_the_next() -> None:
    async def main() -> None:
        pace = Pace(LoopClock())
        pace.refused(0.0)
        pace.places.allowed = 1.0
        await pace.enter(0, None, None)
        first, second = (asyncio.create_task(pace.enter(0, None, None)) for _ in range(2))
        await asyncio.sleep(0)
        pace.places.leave()  # hands the place to the first
        first.cancel()
        await asyncio.wait_for(second, 1.0)
        assert first.cancelled()
        assert pace.places.taken == 1

    run_virtual(main())


async def test_runs_on_one_loop_share_the_pace_of_a_model_and_of_no_other() -> None:
    one, other = Server(), Server()
    assert pace_of(one, LoopClock()) is pace_of(one, LoopClock())
    assert pace_of(one, LoopClock()) is not pace_of(other, LoopClock())


def test_each_event_loop_has_a_pace_of_its_own_and_none_keeps_a_model_alive() -> None:
    server, seen = Server(), []

    async def main() -> None:
        seen.append(pace_of(server, LoopClock()))

    for _ in range(2):
        asyncio.run(main())
    assert seen[0] is not seen[1]

    async def short() -> int:
        import weakref

        model = Server()
        pace_of(model, LoopClock())
        watched = weakref.ref(model)
        del model
        gc.collect()
        return watched() is None

    assert asyncio.run(short())


async def test_an_object_that_cannot_be_told_from_others_has_a_pace_each_time() -> None:
    assert pace_of([], LoopClock()) is not pace_of([], LoopClock())
