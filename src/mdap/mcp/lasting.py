"""A process that outlasts what it runs: code that exits ends its own run, a model that will not end ends no server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from mdap.mcp.desk import ENDING, Desk

logger = logging.getLogger("mdap.mcp")


def see_through(serving: Coroutine[Any, Any, None]) -> None:
    """Run a server to its end.

    Code of a task or a model that calls `sys.exit` would stop the loop under everybody else; the loop goes on here,
    and the exit reaches the run alone that it came from.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        asyncio.set_event_loop(loop)
        whole = loop.create_task(serving)
        while not whole.done():
            try:
                loop.run_until_complete(whole)
            except SystemExit as error:
                # Then it was the server itself that ended, and not a run.
                if whole.done():
                    raise
                logger.warning("code of a task or a model asked to exit with %r", error.code)
            except KeyboardInterrupt:
                # While it serves, Ctrl-C is a signal; this is none, and nothing wakes what reads standard input.
                os._exit(130)


@contextlib.asynccontextmanager
async def ended_with(desk: Desk) -> AsyncIterator[None]:
    """End what the desk drives on the way out, and the process with it if something refuses to end."""
    yield
    if not await has_ended(desk):
        logger.error("a task or a model goes on although it was cancelled; its run is taken up by run_resume")
        leave_all(desk, 1)


async def has_ended(desk: Desk) -> bool:
    """End what the desk drives, and say whether it has ended."""
    with contextlib.suppress(TimeoutError):
        # The desk waits by itself; this is for one that cannot, because code of a task does not return to it.
        async with asyncio.timeout(ENDING + 1.0):
            await desk.at(desk.end())
            return not desk.is_driving
    return False


def leave_all(desk: Desk, code: int) -> None:
    """End the process as it is, with all on disk that was decided."""
    try:
        desk.journal.close()
    finally:
        os._exit(code)
