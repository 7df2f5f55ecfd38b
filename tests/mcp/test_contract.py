"""What clients rely on: the tools with their arguments word for word, and pages of docs that were really produced."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from mdap.mcp.server import made_server
from scripts import mcp_docs
from tests.mcp.support import ERAS, desk_at

ROOT = Path(__file__).parents[2]
READING = {"run_status", "run_result", "runs", "estimate", "inbox"}


@pytest.mark.parametrize("era", ERAS)
async def test_the_list_of_tools_equals_the_contract(era: str) -> None:
    wanted = json.loads(mcp_docs.CONTRACT.read_text(encoding="utf-8"))
    async with desk_at(None) as desk, Client(made_server(desk), mode=era) as client:
        tools = (await client.list_tools()).tools
        found = {tool.name: {"description": tool.description, "input": tool.input_schema} for tool in tools}
        assert found == wanted, "if that is meant: python scripts/mcp_docs.py"


async def test_every_tool_and_every_argument_says_what_it_is_for() -> None:
    contract = json.loads(mcp_docs.CONTRACT.read_text(encoding="utf-8"))
    for name, tool in contract.items():
        assert len(tool["description"]) > 40, name
        assert len(tool["description"]) < 700, name
    async with desk_at(None) as desk, Client(made_server(desk)) as client:
        for listed in (await client.list_tools()).tools:
            assert listed.annotations is not None
            assert bool(listed.annotations.read_only_hint) == (listed.name in READING), listed.name


async def test_every_tool_refuses_an_argument_that_it_does_not_have() -> None:
    contract: dict[str, Any] = json.loads(mcp_docs.CONTRACT.read_text(encoding="utf-8"))
    theirs = {name for name in contract if "plan" in name or "execute" in name}
    async with desk_at(None) as desk, Client(made_server(desk)) as client:
        for name in contract.keys() - theirs:
            result = await client.call_tool(name, {"bogus": 1})
            assert result.is_error, name
            assert "bogus" in result.content[0].text, name  # type: ignore[union-attr]


async def test_the_transcripts_of_the_docs_are_what_a_client_sees() -> None:
    page, contract = await mcp_docs.made()
    assert page == mcp_docs.PAGE.read_text(encoding="utf-8"), "run python scripts/mcp_docs.py"
    assert contract == mcp_docs.CONTRACT.read_text(encoding="utf-8"), "run python scripts/mcp_docs.py"
    assert "93 votes" in page
    assert page.count('"status":"done"') >= 4


def test_the_page_names_every_tool_and_its_snippets_are_json_that_starts_this_server() -> None:
    page = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    for name in json.loads(mcp_docs.CONTRACT.read_text(encoding="utf-8")):
        assert f"`{name}`" in page, name
    snippets = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(snippets) >= 5
    for snippet in snippets:
        assert "mdap" in json.dumps(json.loads(snippet))


def test_the_ready_server_file_is_of_this_version_and_starts_this_command() -> None:
    ready = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    [package] = ready["packages"]
    assert ready["version"] == package["version"] == version[1]
    assert package["identifier"] == "mdap"
    assert [argument["value"] for argument in package["packageArguments"]] == ["mcp"]
    assert len(ready["description"]) <= 100
