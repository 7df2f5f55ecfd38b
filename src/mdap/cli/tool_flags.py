"""`--tool`, `--tool-server` and `--allow`: what the replies of a run may call, and which sorts of tools that may be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from cyclopts import Group, Parameter

TOOLS = Group("Tools", sort_key=8)
Begin: TypeAlias = Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ToolFlags:
    """The tools of a command."""

    tool: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="MODULE:NAME",
            group=TOOLS,
            help="A function of your own that replies may call, with type hints and a docstring; repeatable.",
        ),
    ] = None
    tool_server: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="NAME=WHERE",
            group=TOOLS,
            help="A server of the Model Context Protocol whose tools replies may call as mcp_NAME_...: its address, or "
            "the command that starts it; repeatable. Needs --allow mcp and the extra mcp.",
        ),
    ] = None
    allow: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="CATEGORY",
            group=TOOLS,
            help="Let tools of this category be called as well, such as file_write, web or custom; repeatable.",
        ),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """What the library is told of it; raises UsageError for a tool that is not there or not allowed."""
        if not self.tool and not self.tool_server:
            return self._nothing()
        from mdap.tools import READ_ONLY, Toolbox

        # What only reads is allowed at any time; the flag adds to it.
        allow = [*READ_ONLY, *(self.allow or [])]
        flags = (("--tool", self.tool), ("--tool-server", self.tool_server), ("--allow", self.allow))
        named = [(flag, value) for flag, values in flags for value in values or ()]
        typed = "".join(f" {flag} {shlex.quote(value)}" for flag, value in named)
        own = [_imported(name) for name in self.tool or ()]
        if self.tool_server:
            return {"tools": Served(dict(map(_server, self.tool_server)), own, allow, typed)}
        return {"tools": Toolbox(own, allow=allow, typed=typed)}

    def _nothing(self) -> dict[str, Any]:
        from mdap.core.errors import UsageError

        # Not let pass: whoever allows something takes it that there are tools.
        if self.allow:
            raise UsageError(
                f"--allow {self.allow[0]} without a tool allows nothing",
                remedy="name the tools: --tool MODULE:NAME, or --tool-server NAME=WHERE",
            )
        return {}


NO_TOOLS = ToolFlags()


@dataclass(frozen=True)
class Served:
    """Tools of servers, and `own` beside them, that are there as long as their sessions are open."""

    servers: dict[str, Any]
    own: list[Callable[..., Any]]
    allow: list[str]
    typed: str

    async def within(self, options: dict[str, Any], begin: Begin) -> Any:
        """Return what `begin` comes to, given the options with these tools, while the sessions are open."""
        from mdap.tool_servers import tool_servers
        from mdap.tools import Toolbox

        async with tool_servers(self.servers) as served:
            box = Toolbox([*self.own, *served], allow=self.allow, typed=self.typed)
            return await begin({**options, "tools": box})


def with_tools(options: dict[str, Any], begin: Begin) -> Coroutine[Any, Any, Any]:
    """Return what `begin` begins with these options, within the sessions of servers where they name some."""
    tools = options.get("tools")
    return tools.within(options, begin) if isinstance(tools, Served) else begin(options)


def _server(text: str) -> tuple[str, Any]:
    from mdap.core.errors import UsageError

    # At the first equals sign, since an address or a command may hold more of them.
    name, _, where = text.partition("=")
    try:
        words = shlex.split(where)
    # A quotation mark that is left open.
    except ValueError:
        words = []
    if not name.isidentifier() or not words:
        raise UsageError(
            f"--tool-server {text} names no server", remedy="write NAME=ADDRESS or NAME='command and arguments'"
        )
    # What is no address is started here, as any client of such servers does it.
    if "://" in words[0]:
        return name, where
    try:
        from mcp import StdioServerParameters
    except ImportError:
        raise UsageError(
            "tools of MCP servers need the package mcp", remedy="pip install 'mdap[mcp,schemas]'"
        ) from None
    return name, StdioServerParameters(command=words[0], args=words[1:])


def _imported(name: str) -> Callable[..., Any]:
    from importlib import import_module

    from mdap.core.errors import UsageError

    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"--tool {name} names no function", remedy="name it as package.module:function")
    try:
        found: Any = import_module(module)
        # Dots are allowed, for a method of a class is a function, too.
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"there is no tool {name}: {error}", remedy="name it as package.module:function") from None
    made: Callable[..., Any] = found
    return made
