"""Virtual time: sleeps cost nothing, end in order, and threads are still waited for."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mdap.clock import LoopClock, RunningClock, run_virtual

CLOCKS = [LoopClock, RunningClock]


@pytest.mark.parametrize("made", CLOCKS)
def test_a_sleep_of_a_day_costs_no_real_time_and_advances_the_clock_by_a_day(
    made: type[LoopClock | RunningClock],
) -> None:
    async def main() -> float:
        clock = made()
        began = clock.now()
        await clock.sleep(86_400.0)
        return clock.now() - began

    began = time.perf_counter()
    assert run_virtual(main()) == pytest.approx(86_400.0)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("made", CLOCKS)
async def test_on_an_ordinary_loop_a_sleep_takes_real_time(made: type[LoopClock | RunningClock]) -> None:
    clock = made()
    began, real = clock.now(), time.perf_counter()
    await clock.sleep(0.02)
    assert clock.now() - began >= 0.019
    assert time.perf_counter() - real >= 0.019


def test_sleepers_wake_in_the_order_of_their_times_and_not_of_their_starts() -> None:
    async def main() -> list[tuple[float, float]]:
        woke: list[tuple[float, float]] = []

        async def sleeper(seconds: float) -> None:
            await asyncio.sleep(seconds)
            woke.append((seconds, asyncio.get_running_loop().time()))

        async with asyncio.TaskGroup() as group:
            for seconds in (3.0, 0.5, 2.0, 1e-6):
                group.create_task(sleeper(seconds))
        return woke

    assert [seconds for seconds, _ in run_virtual(main())] == [1e-6, 0.5, 2.0, 3.0]
    assert [at for _, at in run_virtual(main())] == pytest.approx([1e-6, 0.5, 2.0, 3.0])


def test_a_timeout_fires_at_its_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.sleep(61)
        async with asyncio.timeout(60):
            await asyncio.sleep(59)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(119.0)


def test_a_thread_at_work_holds_virtual_time_back() -> None:
    def work() -> str:
        time.sleep(0.05)
        return "done"

    async def main() -> tuple[str, float]:
        async with asyncio.timeout(1):
            reply = await asyncio.to_thread(work)
        return reply, asyncio.get_running_loop().time()

    assert run_virtual(main()) == ("done", 0.0)


def test_another_thread_can_wake_the_loop_while_nothing_is_scheduled() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        waker = threading.Timer(0.02, lambda: loop.call_soon_threadsafe(answer.set_result, "woken"))
        waker.start()
        return await answer

    assert run_virtual(main()) == "woken"


def test_a_thread_that_fails_lets_time_go_on_afterwards() -> None:
    async def main() -> float:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        await asyncio.sleep(5)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(5.0)


def test_many_timers_far_into_the_future_still_fire_one_by_one() -> None:
    async def main() -> int:
        for _ in range(20_000):
            await asyncio.sleep(86_399.1)
        return round(asyncio.get_running_loop().time())

    assert run_virtual(main()) == round(20_000 * 86_399.1)


def test_two_runs_of_one_program_see_the_same_times() -> None:
    async def main() -> list[float]:
        seen: list[float] = []

        async def worker(n: int) -> None:
            for i in range(5):
                await asyncio.sleep(0.1 * ((n * 7 + i * 3) % 5))
                seen.append(asyncio.get_running_loop().time() + n)

        async with asyncio.TaskGroup() as group:
            for n in range(6):
                group.create_task(worker(n))
        return seen

    assert run_virtual(main()) == run_virtual(main())


async def test_a_clock_of_one_loop_agrees_with_the_loop() -> None:
    clock, loop = RunningClock(), asyncio.get_running_loop()
    before, read, after = loop.time(), clock.now(), loop.time()
    assert before <= read <= after


def test_a_clock_of_one_loop_is_made_on_it() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        RunningClock()
