"""Tools of servers that speak the Model Context Protocol: one session a server, whatever calls and runs there are.

Needs the package mcp (extra `mcp`), which is loaded when a server is first named.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from mdap.core.errors import TaskError, UsageError
from mdap.engine.tools import MOST_BYTES, TIMEOUT, Hand
from mdap.groups import first
from mdap.planning.intents import KEY_PARAMETER, Category, schema_from_json
from mdap.tools import Tool

if TYPE_CHECKING:
    from mcp.client import Client
    from mcp.types import CallToolResult
    from mcp.types import Tool as Listed

# By this key of its metadata a server can know a call that a person has had repeated.
KEY_OF_CALL = "mdap/idempotencyKey"


@asynccontextmanager
async def tool_servers(
    servers: Mapping[str, Any],
    *,
    only: Collection[str] | None = None,
    categories: Mapping[str, Category] | None = None,
    call_timeout: float = TIMEOUT,
    most_bytes: int = MOST_BYTES,
) -> AsyncIterator[list[Tool]]:
    """Give the tools of MCP servers, by the name that each server is given here: NAME's tool `add` is mcp_NAME_add.

    A server is an address, `mcp.StdioServerParameters`, or what else `mcp.Client` takes. Each has one session, which
    all calls share until the context is left; they belong to its event loop, so runs are awaited within it. Tools are
    of the category `mcp`, which may change something, unless `categories` says otherwise of one by its full name;
    `only` names those that are wanted. A call has `call_timeout` seconds; its key is in its metadata, under
    mdap/idempotencyKey. Raises UsageError where the package is missing, for a server that cannot be reached, and for
    a name that no server has.
    """
    client = _client_class()
    try:
        async with AsyncExitStack() as sessions:
            opened = {
                name: await _entered(sessions, client(_reached(server)), name) for name, server in servers.items()
            }
            found = {
                tool.schema.name: tool async for tool in _tools(opened, categories or {}, call_timeout, most_bytes)
            }
            for wanted in sorted({*(only or ()), *(categories or ())} - found.keys()):
                raise UsageError(f"no server has a tool {wanted}", remedy=f"there are: {', '.join(found) or 'none'}")
            yield [tool for name, tool in found.items() if only is None or name in only]
    except BaseExceptionGroup as errors:
        # Each session waits in a group of its own; whoever uses them wants to hear what went wrong, not where.
        raise first(errors) from None


async def _tools(
    sessions: Mapping[str, Client], categories: Mapping[str, Category], call_timeout: float, most_bytes: int
) -> AsyncIterator[Tool]:
    loop = asyncio.get_running_loop()
    for name, session in sessions.items():
        async for listed in _listed(session):
            # With the server's name, since two servers may well have a tool of the same name.
            called = f"mcp_{name}_{listed.name}"
            # A model has to be told something, and a server need not give more than a name.
            about = listed.description or listed.title or listed.name
            schema = schema_from_json(called, about, listed.input_schema, categories.get(called, "mcp"))
            call = _caller(session, listed.name, loop)
            yield Tool(schema, Hand(call, schema.load, call_timeout, most_bytes, KEY_PARAMETER))


def _client_class() -> Callable[[Any], Client]:
    try:
        from mcp.client import Client  # only those who name a server need it
    except ImportError:
        raise UsageError(
            "tools of MCP servers need the package mcp", remedy="pip install 'mdap[mcp,schemas]'"
        ) from None
    return Client


def _reached(server: Any) -> Any:
    """Return what a server is reached by: its command's pipes, or what was given."""
    from mcp.client.stdio import StdioServerParameters, stdio_client

    if not isinstance(server, StdioServerParameters):
        return server
    # Not the package's default, which is what stood in for standard error when it was loaded.
    return stdio_client(server, sys.__stderr__ or sys.stderr)


async def _entered(sessions: AsyncExitStack, client: Client, name: str) -> Client:
    """Return the session with a server, begun; raises UsageError where there is none to begin."""
    from httpx2 import HTTPError
    from mcp.shared.exceptions import MCPError

    try:
        try:
            return await sessions.enter_async_context(client)
        except BaseExceptionGroup as errors:
            raise first(errors) from None
    except (OSError, MCPError, HTTPError) as error:
        raise UsageError(
            f"the server {name} cannot be reached: {error}", remedy="see that it runs, or that its command starts it"
        ) from None


async def _listed(session: Client) -> AsyncIterator[Listed]:
    """Yield all tools of a server, page by page."""
    cursor: str | None = None
    while True:
        page = await session.list_tools(cursor=cursor)
        for listed in page.tools:
            yield listed
        cursor = page.next_cursor
        if cursor is None:
            return


def _caller(session: Client, name: str, loop: AbstractEventLoop) -> Callable[..., Any]:
    async def _call(**arguments: Any) -> Any:
        if asyncio.get_running_loop() is not loop:
            raise UsageError(f"the session of {name} belongs to another event loop", remedy="await the run within it")
        # The server's tool has no such parameter: the key goes beside its arguments.
        key = arguments.pop(KEY_PARAMETER)
        meta: Any = {KEY_OF_CALL: key}
        return _value(await session.call_tool(name, arguments, meta=meta))

    return _call


def _value(result: CallToolResult) -> Any:
    """Return what a server answered, structured content before text; raises TaskError where it says that it failed."""
    texts = [part.text for part in result.content if part.type == "text"]
    if result.is_error:
        raise TaskError("\n".join(texts) or "the server says that it failed, and nothing more")
    if result.structured_content is not None:
        return result.structured_content
    # Texts only where there is nothing else: an image among them must not get lost.
    if len(texts) == len(result.content):
        return texts[0] if len(texts) == 1 else texts
    # By the protocol's names, which a model may know, and not by those of the package's fields.
    return [part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in result.content]
