"""A desk on a thread of its own, so that code of a task that blocks holds up runs and no answer about them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from mdap.mcp.desk import Desk
from mdap.mcp.lasting import see_through

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Desk]]
Found: TypeAlias = "concurrent.futures.Future[tuple[Desk, AbstractEventLoop, asyncio.Event]]"


@contextlib.asynccontextmanager
async def apart(opened: Opened) -> AsyncIterator[Desk]:
    """Give the desk that `opened` gives, which lives with all that it drives on a thread and an event loop of its own.

    What opening or leaving it raises is raised here. Leaving waits for code on that thread that does not return.
    """
    found: Found = concurrent.futures.Future()
    # One thread for all runs and not one each: what they share, and what a client is told of them, has no locks.
    with concurrent.futures.ThreadPoolExecutor(1, "mdap-runs") as pool:
        ended = asyncio.wrap_future(pool.submit(lambda: see_through(_life(opened, found))))
        either: list[asyncio.Future[Any]] = [asyncio.wrap_future(found), ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not found.done():
            # Then it ended before there was a desk, and says why.
            await ended
        desk, loop, leaving = found.result()
        try:
            yield desk
        finally:
            loop.call_soon_threadsafe(leaving.set)
            await ended


async def _life(opened: Opened, found: Found) -> None:
    leaving = asyncio.Event()
    async with opened() as desk:
        found.set_result((desk, asyncio.get_running_loop(), leaving))
        await leaving.wait()


__all__ = ["apart"]
