"""A coroutine taken to where it first waits goes on from there as if it had been awaited at once."""

from __future__ import annotations

import asyncio

import pytest

from mdap.engine.begun import Begun


async def begun(coroutine: object) -> object:
    """Begin a coroutine by hand, and await the rest of it."""
    first = coroutine.send(None)  # type: ignore[attr-defined]
    return await Begun(coroutine, first)  # type: ignore[arg-type]


async def test_the_rest_returns_what_the_coroutine_returns() -> None:
    async def waits_twice() -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return 7

    assert await begun(waits_twice()) == 7


async def test_an_error_after_the_first_wait_is_raised_to_who_awaits() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("late")

    with pytest.raises(KeyError, match="late"):
        await begun(fails())


async def test_a_timeout_cancels_what_has_begun_and_lets_it_clean_up() -> None:
    cleaned = []

    async def hangs() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await begun(hangs())
    assert cleaned == [True]


async def test_a_cancellation_that_is_survived_is_waited_on() -> None:
    async def survives() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "survived"

    task = asyncio.create_task(begun(survives()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "survived"


async def test_a_rest_that_is_never_awaited_can_be_closed() -> None:
    closed = []

    async def hangs() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    coroutine = hangs()
    Begun(coroutine, coroutine.send(None)).close()
    assert closed == [True]
