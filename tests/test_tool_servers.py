"""Tools of MCP servers: one session a server, their schemas, and outcomes by the same names as those of any tool."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.client.stdio import StdioServerParameters
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError

import mdap
from mdap import aio
from mdap.core.errors import UsageError
from mdap.tool_servers import KEY_OF_CALL, tool_servers
from mdap.tools import Toolbox
from tests.test_tools import outcomes
from tests.tool_support import Clerk, Order


def shop(seen: list[Any]) -> MCPServer[Any]:
    """A server with tools that answer, fail, hang and flood; `opened` and `closed` sessions are noted in `seen`."""

    @asynccontextmanager
    async def _life(server: Any) -> AsyncIterator[None]:
        seen.append("opened")
        yield
        seen.append("closed")

    server: MCPServer[Any] = MCPServer("shop", lifespan=_life)

    @server.tool()
    def price(item: str, context: Context[Any]) -> int:
        """Look up what an item costs."""
        meta: Any = context.request_context.meta or {}
        seen.append(meta.get(KEY_OF_CALL))
        return len(item)

    @server.tool()
    def words(item: str) -> list[str]:
        """Say words."""
        return [item, item]

    @server.tool()
    def fail(item: str) -> str:
        """Fail."""
        raise ToolError(f"there is no {item}")

    @server.tool()
    async def hang(item: str) -> str:
        """Hang."""
        await asyncio.sleep(30)
        return item

    @server.tool()
    def flood(item: str) -> str:
        """Return much."""
        return item * 100_000

    return server


async def ran(name: str, box: Toolbox) -> mdap.Result:
    return await aio.run(Order(), Clerk(f"mcp_shop_{name}", item="pen"), k=2, tools=box)


async def test_tools_of_a_server_are_called_in_one_session_with_the_key_of_each_call() -> None:
    seen: list[Any] = []
    async with tool_servers({"shop": shop(seen)}) as tools:
        box = Toolbox(tools, allow=["mcp"])
        assert list(box.schemas) == [f"mcp_shop_{name}" for name in ("price", "words", "fail", "hang", "flood")]
        for _ in range(2):
            result = await ran("price", box)
            assert outcomes(result) == [{"status": "ok", "value": {"result": 3}}] * 2
    keys = [word for word in seen if word not in ("opened", "closed")]
    assert (seen.count("opened"), seen.count("closed")) == (1, 1)
    assert len(set(keys)) == 4
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("fail", "raised", "there is no pen"), ("hang", "timeout", "0.2 s"), ("flood", "too_large", "more than")],
)
async def test_what_a_server_does_wrong_is_an_outcome_by_name(name: str, status: str, said: str) -> None:
    async with tool_servers({"shop": shop([])}, call_timeout=0.2) as tools:
        result = await ran(name, Toolbox(tools, allow=["mcp"]))
        assert result.status == "done"
        assert {outcome["status"] for outcome in outcomes(result)} == {status}
        assert said in outcomes(result)[0]["error"]
        # The session outlives it.
        assert outcomes(await ran("price", Toolbox(tools, allow=["mcp"])))[0]["status"] == "ok"


async def test_arguments_that_do_not_fit_the_server_s_schema_are_red_flags() -> None:
    def clerk(prompt: str) -> str:
        return json.dumps({"tool": "mcp_shop_price", "arguments": {"item": 3}})

    async with tool_servers({"shop": shop([])}) as tools:
        result = await aio.run(Order(), clerk, k=2, tools=Toolbox(tools, allow=["mcp"]), redraws=1)
    assert result.status == "undecided"
    assert set(result.flagged) == {"tool"}


async def test_tools_of_servers_may_change_something_unless_said_otherwise() -> None:
    async with tool_servers({"shop": shop([])}, only=["mcp_shop_price"]) as tools:
        with pytest.raises(UsageError, match="category mcp, which is not allowed"):
            Toolbox(tools)
    said = {"mcp_shop_price": "search"}
    async with tool_servers({"shop": shop([])}, only=["mcp_shop_price"], categories=said) as tools:  # type: ignore[arg-type]
        assert list(Toolbox(tools).schemas) == ["mcp_shop_price"]


async def test_a_tool_that_no_server_has_is_named() -> None:
    with pytest.raises(UsageError, match="no server has a tool mcp_shop_cost"):
        async with tool_servers({"shop": shop([])}, only=["mcp_shop_cost"]):
            pass


async def test_an_error_within_the_context_is_raised_as_it_is() -> None:
    with pytest.raises(UsageError, match="k=0"):
        async with tool_servers({"shop": shop([])}) as tools:
            await aio.run(Order(), Clerk(), k=0, tools=Toolbox(tools, allow=["mcp"]))


async def test_a_session_is_not_used_from_another_event_loop() -> None:
    async with tool_servers({"shop": shop([])}) as tools:
        box = Toolbox(tools, allow=["mcp"])
        result = await asyncio.to_thread(lambda: mdap.run(Order(), Clerk("mcp_shop_price", item="pen"), k=2, tools=box))
    assert "another event loop" in outcomes(result)[0]["error"]


def gallery() -> MCPServer[Any]:
    """A server whose answers are of other sorts than one object."""
    server: MCPServer[Any] = MCPServer("gallery")

    @server.tool(structured_output=False)
    def one(item: str) -> str:
        """Say one text."""
        return item

    @server.tool(structured_output=False)
    def many(item: str) -> Any:
        """Say several texts."""
        return [item, item]

    @server.tool(structured_output=False)
    def picture(item: str) -> Any:
        """Show a picture with its title."""
        return [item, Image(data=b"png", format="png")]

    @server.tool()
    def silent(item: str) -> str:
        """Fail without a word."""
        raise ToolError("")

    return server


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("one", {"status": "ok", "value": "pen"}),
        ("many", {"status": "ok", "value": ["pen", "pen"]}),
        (
            "picture",
            {
                "status": "ok",
                "value": [
                    {"type": "text", "text": "pen"},
                    {"type": "image", "data": "cG5n", "mimeType": "image/png"},
                ],
            },
        ),
    ],
)
async def test_an_answer_is_its_text_or_its_texts_and_with_a_picture_all_its_parts(name: str, wanted: Any) -> None:
    async with tool_servers({"shop": gallery()}) as tools:
        assert outcomes(await ran(name, Toolbox(tools, allow=["mcp"])))[0] == wanted


async def test_a_server_that_fails_without_a_word_is_said_to_have_failed() -> None:
    async with tool_servers({"shop": gallery()}) as tools:
        found = outcomes(await ran("silent", Toolbox(tools, allow=["mcp"])))[0]
    assert found["status"] == "raised"
    assert found["error"].strip()


@pytest.mark.parametrize(
    "server",
    [
        StdioServerParameters(command="/nowhere/to/be/found"),
        StdioServerParameters(command="true"),
        "http://127.0.0.1:9/mcp",
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_although_others_can(server: Any) -> None:
    seen: list[Any] = []
    with pytest.raises(UsageError, match="the server far cannot be reached"):
        async with tool_servers({"shop": shop(seen), "far": server}):
            raise AssertionError("it was reached")
    assert seen == ["opened"]


async def test_tools_of_one_name_at_two_servers_are_told_apart() -> None:
    async with tool_servers({"a": gallery(), "b": gallery()}, only=["mcp_a_one", "mcp_b_one"]) as tools:
        assert [tool.schema.name for tool in tools] == ["mcp_a_one", "mcp_b_one"]


@pytest.mark.slow
def test_without_the_package_it_is_said_what_to_install() -> None:
    program = (
        "import sys, asyncio; sys.modules['mcp'] = None; sys.modules['mcp.client'] = None\n"
        "from mdap.tool_servers import tool_servers\n"
        "async def main():\n"
        "    async with tool_servers({'a': 'http://127.0.0.1:9'}): pass\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "tools of MCP servers need the package mcp. pip install 'mdap[mcp,schemas]'" in ended.stderr
