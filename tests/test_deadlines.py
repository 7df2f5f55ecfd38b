"""Many calls with the same time to live: those that take longer end, nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from mdap.clock import run_virtual
from mdap.deadlines import Deadlines


async def _within(deadlines: Deadlines, seconds: float) -> str:
    try:
        with deadlines.begin():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return f"out at {asyncio.get_running_loop().time():g}"
    return f"done at {asyncio.get_running_loop().time():g}"


def test_a_block_that_takes_longer_ends_at_its_deadline_and_others_do_not() -> None:
    async def _main() -> list[str]:
        deadlines = Deadlines(10)
        first = [asyncio.create_task(_within(deadlines, seconds)) for seconds in (3, 11, 9.5, 50)]
        await asyncio.sleep(4)
        later = [asyncio.create_task(_within(deadlines, seconds)) for seconds in (9, 20)]
        return [await task for task in (*first, *later)]

    found = run_virtual(_main())
    assert found == ["done at 3", "out at 10", "done at 9.5", "out at 10", "done at 13", "out at 14"]


def test_it_watches_on_after_a_time_without_blocks() -> None:
    async def _main() -> list[str]:
        deadlines = Deadlines(2)
        first = await _within(deadlines, 1)
        await asyncio.sleep(100)
        return [first, await _within(deadlines, 5), await _within(deadlines, 1)]

    assert run_virtual(_main()) == ["done at 1", "out at 103", "done at 104"]


def test_a_cancellation_by_somebody_else_stays_one() -> None:
    async def _main() -> bool:
        task = asyncio.create_task(_within(Deadlines(10), 50))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run_virtual(_main())


def test_a_cancellation_at_the_very_moment_of_the_deadline_is_not_swallowed() -> None:
    async def _main() -> bool:
        task = asyncio.create_task(_within(Deadlines(10), 50))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(10, task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    assert run_virtual(_main())


def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    async def _main() -> None:
        with Deadlines(10).begin():
            raise KeyError("its own")

    with pytest.raises(KeyError):
        run_virtual(_main())


def test_nested_deadlines_end_at_the_nearer_one() -> None:
    async def _main() -> str:
        try:
            with Deadlines(30).begin():
                return await _within(Deadlines(5), 50)
        except TimeoutError:
            return "the outer one"

    assert run_virtual(_main()) == "out at 5"
