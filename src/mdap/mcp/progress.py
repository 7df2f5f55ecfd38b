"""Progress of a call, told to whoever asked for it while the call goes on. What is counted is for the caller."""

from __future__ import annotations

import asyncio
from asyncio import Queue, TaskGroup
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mcp.server.mcpserver.context import Context

from mdap.core.errors import MdapError
from mdap.mcp.desk import Desk

T = TypeVar("T")
Tell = Callable[[str], None]


async def told_of(
    context: Context[Any, Any], desk: Desk, work: Callable[[Tell], Coroutine[Any, Any, T]], *, all_of_it: bool = False
) -> T:
    """Return what `work` returns at the desk; it is given what tells the client, by a message, how far it has come.

    The counter rises by one with each message. Messages that come faster than they can be sent give way to the last of
    them, unless `all_of_it` is to be sent.
    """
    messages: Queue[str | None] = Queue()
    loop = asyncio.get_running_loop()

    def _tell(message: str | None) -> None:
        # From the desk's loop to the client's; the last one, too, so that none is overtaken.
        loop.call_soon_threadsafe(messages.put_nowait, message)

    failed: MdapError | None = None
    made: list[T] = []
    async with TaskGroup() as group:
        group.create_task(_send(context, messages, all_of_it=all_of_it))
        try:
            made.append(await desk.at(work(_tell)))
        except MdapError as error:
            # Raised in here it would be wrapped, and end the telling before its last message.
            failed = error
        _tell(None)
    if failed is not None:
        raise failed
    return made[0]


async def _send(context: Context[Any, Any], messages: Queue[str | None], *, all_of_it: bool) -> None:
    counter = 0
    is_over = False
    while not is_over:
        waiting = [await messages.get()]
        while not messages.empty():
            waiting.append(messages.get_nowait())
        is_over = waiting[-1] is None
        texts = [message for message in waiting if message is not None]
        for place, message in enumerate(texts, start=1):
            if all_of_it or place == len(texts):
                await context.report_progress(counter + place, None, message)
        counter += len(texts)
