"""Standard input and output as a client's wire: a line that cannot be read is answered, too. No tools here."""

from __future__ import annotations

import json
from contextlib import suppress
from contextvars import Context
from types import TracebackType
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError


async def serve_pipes(server: MCPServer[Any]) -> None:
    """Serve the one client at standard input and output until it hangs up."""
    # Its own way to serve pipes is these three lines, with no place for `Heard` between them.
    lowlevel = server._lowlevel_server
    async with stdio_server() as (lines, answers):
        await lowlevel.run(Heard(lines, answers), answers, lowlevel.create_initialization_options())


class Heard:
    """What a client sends, as messages; what is none is answered here, so that nobody waits for it.

    The transport drops such a line without a word, and a client that has cut a text inside a character would wait
    until its own patience ends.
    """

    def __init__(self, lines: Any, answers: Any) -> None:
        self._lines, self._answers = lines, answers

    @property
    def last_context(self) -> Context | None:
        """The context in which the last message was sent."""
        # Whoever reads messages asks their stream for it, and would not find it through a wrapper.
        found: Context | None = getattr(self._lines, "last_context", None)
        return found

    async def receive(self) -> Any:
        """Return the next message."""
        while isinstance(item := await self._lines.receive(), Exception):
            if (answer := _answer_to(item)) is not None:
                # A client may be gone already, with lines of its own still to be read.
                with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                    await self._answers.send(SessionMessage(answer))
        return item

    async def aclose(self) -> None:
        """Hear nothing any more."""
        await self._lines.aclose()

    def __aiter__(self) -> Heard:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Heard:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _answer_to(error: Exception) -> JSONRPCError | None:
    """Return what is answered to a line that is no message; None where it is empty."""
    if not isinstance(error, ValidationError):
        return None
    wrong = error.errors(include_url=False)
    no_json = wrong[0]["type"] == "json_invalid"
    # Some clients leave a line empty between messages.
    if no_json and not str(wrong[0]["input"]).strip():
        return None
    said = "the line is no JSON: " + wrong[0]["msg"] if no_json else "the line is no message of JSON-RPC 2.0"
    data = ErrorData(code=PARSE_ERROR if no_json else INVALID_REQUEST, message=said[:300])
    # There is one error for each kind of message that it might have been; any of them has the input.
    whole = [_read(one["input"]) if no_json else one["input"] for one in wrong]
    return JSONRPCError(
        jsonrpc="2.0", id=next((_id_of(one) for one in whole if isinstance(one, dict)), None), error=data
    )


def _read(line: Any) -> Any:
    """Return a line as the more lenient of two readers sees it: it lets halves of characters pass."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _id_of(message: dict[str, Any]) -> str | int | None:
    found = message.get("id")
    if isinstance(found, str):
        # Half of a character is JSON to some readers, and could not be sent back.
        return found if found.isprintable() else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
