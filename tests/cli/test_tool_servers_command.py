"""`--tool-server`: tools of MCP servers for the replies of a run, at the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Terminal

SHOP = f"shop={sys.executable} {Path(__file__).parents[1] / 'mcp' / 'shop.py'}"
WORDS = ("run", "tests.tool_support:Order", "--model", "tests.mcp.shop:asker", "--k", "2")
SERVED = ("--tool-server", SHOP, "--allow", "mcp")


def calls(mdap: Terminal, run: str) -> list[dict[str, object]]:
    """What came of the calls of a run, as it is exported."""
    lines = [json.loads(line) for line in mdap("export", run).out.splitlines()]
    return [line["action"] for line in lines if line["kind"] == "tool"]


@pytest.mark.slow
def test_a_run_calls_tools_of_a_server_that_its_command_names(mdap: Terminal) -> None:
    told = mdap(*WORDS, *SERVED, "--json")
    assert told.code == 0, told.err
    run = told.json["run"]
    assert calls(mdap, run) == [{"status": "ok", "value": {"result": 3}}] * 2


@pytest.mark.slow
def test_the_command_that_goes_on_names_the_server_again_and_does_so(mdap: Terminal) -> None:
    told = mdap(*WORDS, *SERVED, "--budget-calls", "3")
    assert told.code == 4
    assert f"--tool-server '{SHOP}' --allow mcp" in told.err + told.out
    [listed] = mdap("runs", "--json").json
    refused = mdap("resume", listed["run"], "--budget-calls", "100")
    assert refused.code == 1
    assert "started with other tools" in refused.err
    assert f"--tool-server '{SHOP}' --allow mcp" in refused.err
    again = mdap("resume", listed["run"], "--budget-calls", "100", *SERVED)
    assert again.code == 0, again.err
    assert len(calls(mdap, listed["run"])) == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["execute", "solve", "map"])
def test_every_command_with_tools_takes_them_from_a_server(command: str, mdap: Terminal) -> None:
    (mdap.folder / "plan.json").write_text('[{"task": "Price a pen"}]', encoding="utf-8")
    (mdap.folder / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    words = {
        "execute": ("execute", "plan.json", "--prompt", "Price a pen", "--model", "tests.mcp.shop:stepper"),
        "solve": ("solve", "Price a pen", "--model", "tests.mcp.shop:asker", "--decompose", "none"),
        "map": ("map", "rows.jsonl", "--task", "tests.tool_support:order", "--model", "tests.mcp.shop:asker"),
    }[command]
    told = mdap(*words, "--k", "1", *SERVED)
    assert told.code == 0, told.err
    [listed] = mdap("runs", "--json").json
    assert calls(mdap, listed["run"])[0] == {"status": "ok", "value": {"result": 3}}


@pytest.mark.parametrize("where", ["shop", "shop=", "=python", "a b=python", "shop='half"])
def test_what_names_no_server_is_refused(where: str, mdap: Terminal) -> None:
    told = mdap(*WORDS, "--tool-server", where)
    assert told.code == 2
    assert "names no server" in told.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["shop=/nowhere/to/be/found", f"shop={sys.executable} -c pass", "shop=http://127.0.0.1:9/mcp"]
)
def test_a_server_that_is_not_there_is_said_by_its_name_and_nothing_begins(where: str, mdap: Terminal) -> None:
    told = mdap(*WORDS, "--tool-server", where, "--allow", "mcp")
    assert told.code == 2
    assert "the server shop cannot be reached" in told.err
    assert mdap("runs", "--json").json == []


@pytest.mark.slow
def test_tools_of_a_server_are_not_called_unless_they_are_allowed(mdap: Terminal) -> None:
    told = mdap(*WORDS, "--tool-server", SHOP)
    assert told.code == 2
    assert "--allow mcp" in told.err
