"""`--tool`, `--tool-server` and `--allow` as they are typed: what names a tool or a server, and what does not."""

from __future__ import annotations

import shlex
import sys

import pytest

from mdap.cli.tool_flags import NO_TOOLS, Served, ToolFlags
from mdap.core.errors import UsageError
from mdap.tools import READ_ONLY, Toolbox
from tests.cli.conftest import Terminal

SHOP = """
from mcp.server import MCPServer

server = MCPServer("shop")


@server.tool()
def price(item: str) -> int:
    \"\"\"Look up what an item costs.\"\"\"
    return len(item)


if __name__ == "__main__":
    server.run("stdio")
"""
OWN = """
from tests.tool_support import Clerk


class Buyer(Clerk):
    def __init__(self):
        super().__init__("mcp_shop_price", item="pen")
        self.spec = "own:Buyer"


class Drawer:
    @staticmethod
    def look(place: int) -> int:
        \"\"\"Look into a drawer.\"\"\"
        return place
"""


def served(where: str) -> Served:
    tools = ToolFlags(tool_server=[where], allow=["mcp"]).given["tools"]
    assert isinstance(tools, Served)
    return tools


def test_without_a_flag_the_library_is_told_nothing() -> None:
    assert NO_TOOLS.given == {}


def test_what_only_reads_is_allowed_besides_what_is_named() -> None:
    box = ToolFlags(tool=["tests.tool_support:look"], allow=["custom"]).given["tools"]
    assert isinstance(box, Toolbox)
    assert box.typed == " --tool tests.tool_support:look --allow custom"
    assert served("shop=http://127.0.0.1:1/mcp").allow == [*READ_ONLY, "mcp"]


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:8000/mcp", "https://127.0.0.1/mcp?key=a=b", "http://[::1]:8000/mcp"]
)
def test_what_is_an_address_is_one_with_all_that_stands_in_it(where: str) -> None:
    assert served(f"shop={where}").servers == {"shop": where}


@pytest.mark.parametrize(
    ("where", "command", "args"),
    [
        ("python shop.py", "python", ["shop.py"]),
        ("'my server' --root 'C:\\my files'", "my server", ["--root", "C:\\my files"]),
        ('shop --name "it\'s"', "shop", ["--name", "it's"]),
        ("shop a=b", "shop", ["a=b"]),
    ],
)
def test_what_is_no_address_is_a_command_as_a_shell_would_read_it(where: str, command: str, args: list[str]) -> None:
    (server,) = served(f"shop={where}").servers.values()
    assert (server.command, server.args) == (command, args)


@pytest.mark.parametrize("where", ["", "shop", "=x", "shop=", "shop= ", "my shop=x", "1=x", "shop='a", "shop=\"a' b"])
def test_what_names_no_server_is_refused_with_both_ways_to_write_one(where: str) -> None:
    with pytest.raises(UsageError, match="names no server") as refused:
        served(where)
    assert "NAME=ADDRESS or NAME='command and arguments'" in refused.value.remedy


def test_a_quotation_mark_that_is_left_open_among_closed_ones_is_a_usage_error(mdap: Terminal) -> None:
    said = mdap("run", "hanoi:disks=2", "--model", "simulated", "--tool-server", "shop=x ' \" ' \"", "--allow", "mcp")
    assert (said.code, said.out) == (2, "")
    assert "names no server" in said.err


@pytest.mark.parametrize("name", ["own", "own:", ":look", "own:Missing", "own:Drawer.shut", "missing:look"])
def test_a_function_that_is_not_there_is_named_with_the_way_to_write_one(name: str, mdap: Terminal) -> None:
    mdap.write("own", OWN)
    said = mdap("run", "hanoi:disks=2", "--model", "simulated", "--tool", name)
    assert (said.code, said.out) == (2, "")
    assert name in said.err
    assert "next:  name it as package.module:function" in said.err


def test_a_function_within_a_class_is_a_tool_as_well(mdap: Terminal) -> None:
    mdap.write("own", OWN)
    words = ("run", "tests.tool_support:Order", "--model", "tests.tool_support:clerk", "--k", "1", "--max-steps", "1")
    said = mdap(*words, "--tool", "own:Drawer.look", "--allow", "custom")
    assert said.code == 4
    assert said.next[-1][-4:] == ["--tool", "own:Drawer.look", "--allow", "custom"]


@pytest.mark.slow
def test_tools_of_a_server_need_to_be_allowed_like_those_of_ones_own(mdap: Terminal) -> None:
    mdap.write("shop", SHOP)
    server = f"shop={shlex.join([sys.executable, 'shop.py'])}"
    words = ("run", "tests.tool_support:Order", "--model", "tests.tool_support:clerk", "--k", "1")
    said = mdap(*words, "--tool-server", server)
    assert (said.code, said.out) == (2, "")
    assert "mcp_shop_price" in said.err
    assert mdap("runs", "--json").json == []


@pytest.mark.slow
def test_a_run_calls_a_server_that_is_named_again_by_the_command_that_goes_on(mdap: Terminal) -> None:
    mdap.write("shop", SHOP)
    mdap.write("own", OWN)
    server = f"shop={shlex.join([sys.executable, 'shop.py'])}"
    tools = ("--tool-server", server, "--allow", "mcp")
    words = ("run", "tests.tool_support:Order", "--model", "own:Buyer", "--k", "2", *tools)
    stopped = mdap(*words, "--max-steps", "2")
    assert stopped.code == 4
    onward = stopped.next[-1]
    assert onward[-4:] == list(tools)
    done = mdap(*onward[:2], "--max-steps", "9", *onward[-4:], "--json", "--quiet")
    assert (done.code, done.json["result"]["sum"]) == (0, 10)
    assert 'mcp_shop_price {"item":"pen"}' in mdap("show", mdap.last()).out


@pytest.mark.slow
def test_a_server_that_does_not_start_ends_the_command_before_a_run_begins(mdap: Terminal) -> None:
    words = ("run", "tests.tool_support:Order", "--model", "tests.tool_support:clerk", "--k", "1")
    said = mdap(*words, "--tool-server", "shop=absent-program --now", "--allow", "mcp")
    assert (said.code, said.out) == (2, "")
    assert "shop" in said.err.splitlines()[0]
    assert "Traceback" not in said.err
    assert mdap("runs", "--json").json == []
