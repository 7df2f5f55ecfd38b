"""What the tests of the server share: a server in memory, a client that reads its answers, and one that votes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client

from mdap.core.records import Message
from mdap.journal import open_journal
from mdap.mcp.allowed import Allowed
from mdap.mcp.desk import Desk
from mdap.mcp.server import made_server
from mdap.tasks.catalog import task as task_named

# Both eras of the protocol: the one without a handshake, and the last one with it.
ERAS = {"2026-07-28": "2026-07-28", "legacy": "2025-11-25"}
# No tokenizer makes more tokens than there are bytes.
MOST_TOKENS = 25_000


class Caller:
    """A client that reads JSON, and holds every answer to the limits of real clients."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.took: list[float] = []

    @property
    def slowest(self) -> float:
        """Seconds that the slowest answer took."""
        return max(self.took)

    async def __call__(self, tool: str, /, **arguments: Any) -> Any:
        """Return what a tool answered."""
        is_error, text = await self.raw(tool, **arguments)
        assert not is_error, text
        return json.loads(text)

    async def error(self, tool: str, /, **arguments: Any) -> str:
        """Return the text of a tool's error."""
        is_error, text = await self.raw(tool, **arguments)
        assert is_error, text
        return text

    async def raw(self, tool: str, /, **arguments: Any) -> tuple[bool, str]:
        """Return whether a call failed, and the text of its one block."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        result = await self.client.call_tool(tool, arguments)
        self.took.append(loop.time() - began)
        [block] = result.content
        assert block.type == "text"
        assert len(block.text.encode()) < MOST_TOKENS
        return bool(result.is_error), block.text

    async def until(self, run: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the status of a run once `is_so` of it."""
        async with asyncio.timeout(30):
            while not is_so(status := await self("run_status", run=run)):  # noqa: ASYNC110 (as a client does)
                await asyncio.sleep(0.01)
        found: dict[str, Any] = status
        return found

    async def ended(self, run: str) -> dict[str, Any]:
        """Return the status of a run once it has ended."""
        return await self.until(run, lambda status: status["status"] != "running")

    async def whole_result(self, run: str) -> Any:
        """Return what a run came to, from all its pages."""
        text, offset = "", 0
        while True:
            page = await self("run_result", run=run, offset=offset)
            text += page["text"]
            if "next_offset" not in page:
                return json.loads(text)
            offset = page["next_offset"]

    async def all_steps(self, run: str) -> list[dict[str, Any]]:
        """Return the decisions of a run, from all their pages."""
        steps, offset = [], 0
        while True:
            page = await self("run_result", run=run, part="steps", offset=offset)
            steps += page["items"]
            if "next_offset" not in page:
                return steps
            offset = page["next_offset"]


@asynccontextmanager
async def desk_at(path: Path | None, allowed: Allowed | None = None, **options: Any) -> AsyncIterator[Desk]:
    """Give a desk over the journal in a file."""
    journal = open_journal(path)
    try:
        async with Desk(journal, allowed or Allowed(), **options) as desk:
            yield desk
    finally:
        journal.close()


@asynccontextmanager
async def calling(desk: Desk, era: str = "2026-07-28") -> AsyncIterator[Caller]:
    """Give a client of a server in memory."""
    async with Client(made_server(desk), mode=era) as client:
        yield Caller(client)


def answer_to(task: str, prompt: dict[str, Any]) -> str:
    """Return the right answer to a prompt, as a model without a mistake would write it."""
    known: Any = task_named(task)
    state = known.read([Message(**message) for message in prompt["messages"]])
    written: str = known.write(known.answer(state))
    return written


async def vote_to_the_end(call: Caller, task: str, run: str) -> int:
    """Answer every prompt of a run until there is none, and return how many answers that took."""
    answers = 0
    handed = await call("next_steps", run=run)
    while handed["prompts"]:
        votes = [{"token": one["token"], "answer": answer_to(task, one)} for one in handed["prompts"]]
        handed = await call("submit_votes", votes=votes, next=4)
        answers += len(votes)
    return answers
