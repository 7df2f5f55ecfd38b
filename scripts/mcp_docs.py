"""Writes docs/mcp-transcripts.md and tests/mcp/contract.json from a client that drives the server; --check compares."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from mcp.client import Client

from mdap.core.records import Message
from mdap.journal import open_journal
from mdap.mcp.allowed import Allowed
from mdap.mcp.desk import Desk
from mdap.mcp.server import made_server
from mdap.tasks.catalog import task as task_named

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mcp-transcripts.md"
CONTRACT = ROOT / "tests" / "mcp" / "contract.json"
DISKS = "hanoi:disks=5"
# What differs from time to time, and what stands for it on the page.
ALWAYS = [(r"hanoi-[0-9a-f]{8}", "hanoi-5d1c0a7e"), (r'"seconds":[0-9.e-]+', '"seconds":0.06')]

HEAD = """# Two sessions of an MCP client

This page is written by `python scripts/mcp_docs.py`, which drives the server with the official client; a test does the
same and compares. Each block is a call of a tool, with its arguments, and what it answered, word for word. The id of a
run and its seconds are always different, and stand here for any. How to set a client up: [MCP](mcp.md).
"""
RUN = """
## A long run: run_start to run_result

Five disks, 31 steps, with a simulated model that is right 9 times in 10. `run_status` is asked every few seconds until
the run has ended; here is the last of its answers. The decisions come in pages of up to 200; here they are asked for
ten at a time.
"""
VOTES = """
## Without any key: next_steps and submit_votes

The same five disks; every vote is an answer of the client's own model. Each step takes three votes, which are three
answers: no call takes two votes on one step. With `next` an answer brings the next prompt along.
"""


class Session:
    """A client whose calls are written down."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.page = ""

    async def call(self, tool: str, shown: bool = True, **arguments: Any) -> Any:
        result = await self.client.call_tool(tool, arguments)
        [block] = result.content
        assert block.type == "text"
        assert not result.is_error, block.text
        if shown:
            asked = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
            self.page += f"\n```text\n{tool}({asked})\n```\n\n```json\n{block.text}\n```\n"
        return json.loads(block.text)

    def say(self, text: str) -> None:
        self.page += text


async def long_run(session: Session) -> None:
    session.say(RUN)
    begun = await session.call("run_start", task=DISKS, model="simulated:p=0.9", k=4, seed=7)
    while (await session.call("run_status", shown=False, run=begun["run"]))["status"] == "running":  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await session.call("run_status", run=begun["run"])
    await session.call("run_result", run=begun["run"])
    page = await session.call("run_result", run=begun["run"], part="steps", limit=10)
    session.say("\nThe two pages after it are like it; the last one has no `next_offset`.\n")
    while "next_offset" in page:
        last = page["next_offset"] == 30
        page = await session.call(
            "run_result", shown=last, run=begun["run"], part="steps", offset=page["next_offset"], limit=10
        )


async def own_votes(session: Session) -> None:
    session.say(VOTES)
    begun = await session.call("run_start", task=DISKS, model="client", seed=7)
    handed = await session.call("next_steps", run=begun["run"])
    votes = 0
    while handed["prompts"]:
        [prompt] = handed["prompts"]
        votes += 1
        handed = await session.call(
            "submit_votes",
            shown=votes in (1, 3, 93),
            votes=[{"token": prompt["token"], "answer": answer(prompt)}],
            next=1,
        )
        if votes == 1:
            session.say("\nThe second vote on the step is given in the same way. The third one decides it:\n")
        elif votes == 3:
            session.say("\nSo it goes on, prompt by prompt, to the last of 93 votes:\n")
    await session.call("run_result", run=begun["run"])


def answer(prompt: dict[str, Any]) -> str:
    """What a model without a mistake answers; on the page it stands for the client's own."""
    known: Any = task_named(DISKS)
    written: str = known.write(known.answer(known.read([Message(**message) for message in prompt["messages"]])))
    return written


async def made() -> tuple[str, str]:
    """Return the page and the contract as they should be."""
    journal = open_journal(None)
    try:
        async with Desk(journal, Allowed()) as desk, Client(made_server(desk)) as client:
            session = Session(client)
            await long_run(session)
            await own_votes(session)
            tools = (await client.list_tools()).tools
            contract = {tool.name: {"description": tool.description, "input": tool.input_schema} for tool in tools}
    finally:
        journal.close()
    page = HEAD + session.page
    for pattern, text in ALWAYS:
        page = re.sub(pattern, text, page)
    return page, json.dumps(contract, indent=1, ensure_ascii=False) + "\n"


def stale() -> list[str]:
    """Return the files that are not as they should be."""
    wanted = zip((PAGE, CONTRACT), asyncio.run(made()), strict=True)
    return [path.name for path, text in wanted if not path.exists() or path.read_text(encoding="utf-8") != text]


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(f"run `python scripts/mcp_docs.py`: {', '.join(names)}" if (names := stale()) else None)
    for path, text in zip((PAGE, CONTRACT), asyncio.run(made()), strict=True):
        path.write_text(text, encoding="utf-8")
