"""A group ends as one of its tasks ended, and leaves the task around it as it was."""

from __future__ import annotations

import asyncio

import pytest

from mdap.groups import Group


async def _fails(after: float, error: BaseException) -> None:
    await asyncio.sleep(after)
    raise error


async def test_the_first_error_comes_out_as_itself_and_ends_the_others() -> None:
    ended = asyncio.Event()

    async def _waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def _main() -> None:
        async with Group() as group:
            group.create_task(_waits())
            group.create_task(_fails(0.001, KeyError("one")))

    with pytest.raises(KeyError, match="one"):
        await _main()
    assert ended.is_set()


@pytest.mark.parametrize("waits", [0.0, 0.01], ids=["while it waits for its tasks", "while its block runs"])
async def test_an_error_leaves_no_cancellation_behind(waits: float) -> None:
    async def _main() -> None:
        async with Group() as group:
            group.create_task(_fails(0.001, KeyError("one")))
            await asyncio.sleep(waits)

    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(KeyError):
        await _main()
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_of_nested_groups_the_error_comes_out_as_itself() -> None:
    async def _main() -> None:
        async with Group() as outer:
            outer.create_task(asyncio.sleep(10))
            async with Group() as inner:
                inner.create_task(_fails(0, KeyError("deep")))

    with pytest.raises(KeyError):
        await _main()


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    async def _main() -> None:
        async with Group() as group:
            group.create_task(asyncio.sleep(10))

    task = asyncio.create_task(_main())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert task.cancelling() == 1
