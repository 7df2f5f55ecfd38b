"""`--tool` and `--allow`: what the replies of a run may call, and which sorts of tools that may be."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

TOOLS = Group("Tools", sort_key=8)


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
        if not self.tool:
            return self._nothing()
        from mdap.tools import READ_ONLY, Toolbox

        # What only reads is allowed at any time; the flag adds to it.
        allow = self.allow or []
        named = [*(("--tool", name) for name in self.tool), *(("--allow", category) for category in allow)]
        typed = "".join(f" {flag} {shlex.quote(value)}" for flag, value in named)
        return {"tools": Toolbox([_imported(name) for name in self.tool], allow=[*READ_ONLY, *allow], typed=typed)}

    def _nothing(self) -> dict[str, Any]:
        from mdap.core.errors import UsageError

        # Not let pass: whoever allows something takes it that there are tools.
        if self.allow:
            raise UsageError(
                f"--allow {self.allow[0]} without a tool allows nothing", remedy="name the tools: --tool MODULE:NAME"
            )
        return {}


NO_TOOLS = ToolFlags()


def _imported(name: str) -> Callable[..., Any]:
    from importlib import import_module

    from mdap.core.errors import UsageError

    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"--tool {name} names no function", remedy="name it as package.module:function")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"there is no tool {name}: {error}", remedy="name it as package.module:function") from None
    made: Callable[..., Any] = found
    return made
