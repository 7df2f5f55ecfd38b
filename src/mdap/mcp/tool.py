"""How a function becomes a tool: strict about names, plain about errors. What tools do is in the other files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import ToolAnnotations
from pydantic import ConfigDict, Field, ValidationError

from mdap.core.errors import MdapError
from mdap.mcp.pages import shortened, text_of
from mdap.mcp.wording import for_clients

# More than any counter needs, and no more than a journal can hold.
LARGEST = 2**53

Run = Annotated[str, Field(description="Id of the run, or a beginning of it that no other run has.", max_length=150)]
Offset = Annotated[
    int, Field(description="Where the page begins: 0, or `next_offset` of the page before.", ge=0, le=LARGEST)
]
Limit = Annotated[int, Field(description="How many to show at most; fewer where they are long.", ge=1, le=200)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
# A text: as a number of JSON, 0.1 would already be another amount.
Money = Annotated[str | None, Field(description="USD the whole may cost, such as 2.50.", max_length=30)]


# An error quotes what is wrong, which may be as long as anything that a client or a model has written.
_MOST_SAID = 4_000


class PlainTool(Tool):
    """A tool whose errors name the argument that is wrong, and say nothing of how it is made."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool; raises ToolError with what a client is told."""
        try:
            return await super().run(arguments, context, convert_result)
        # A bug: the package says that there was one, and not what it knows of it.
        except UnexpectedToolError:
            raise
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                raise ToolError(self.framed(f"usage: {wrong_arguments(cause)}")) from cause
            raise ToolError(self.framed(str(cause))) from cause

    def framed(self, text: str) -> str:
        """Return the text of an error as this tool words it."""
        return text


class TextsAsTheyAre(FuncMetadata):
    """Arguments whose texts stay texts, also where they happen to be JSON: a plan, a move, an answer.

    Some clients write lists and objects as JSON text; those are read where nothing but a list or an object will do.
    """

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with what is no text of its own read from JSON, and no truth taken for a number."""
        read = super().pre_parse_json(data)
        for name, field in self.arg_model.model_fields.items():
            kinds = _kinds(field.annotation)
            if name in data and str in kinds:
                read[name] = data[name]
            elif isinstance(data.get(name), bool) and bool not in kinds and kinds & {int, float}:
                # Left as it is, it would be read as 1 or 0.
                read[name] = str(data[name]).lower()
        return read


def made(
    function: Callable[..., Awaitable[Any]],
    *,
    name: str | None = None,
    reads: bool = False,
    destroys: bool = False,
    repeats: bool = False,
    kind: type[Tool] = PlainTool,
    arguments: type[ArgModelBase] | None = None,
    takes_others: bool = False,
) -> Tool:
    """Return the tool that a function is: its docstring tells a client what it is for, its result is JSON text.

    `reads`: it changes nothing; `destroys`: it ends something; `repeats`: calling it twice does what calling it once
    does. `arguments` declares what a function takes by `**`. An argument that it does not have is refused by name,
    unless it `takes_others`; an error of mdap becomes the tool's error.
    """

    @wraps(function)
    async def _told(*args: Any, **named: Any) -> str:
        try:
            result = await function(*args, **named)
        except MdapError as error:
            raise ToolError(told(error)) from error
        return result if isinstance(result, str) else text_of(result)

    _told.__annotations__ = {**_told.__annotations__, "return": "str"}
    tool = kind.from_function(
        _told,
        name=name or function.__name__,
        description=_unwrapped(function.__doc__ or ""),
        annotations=ToolAnnotations(
            read_only_hint=reads, destructive_hint=destroys, idempotent_hint=reads or repeats, open_world_hint=not reads
        ),
        # The result a second time as an object would cost a client its tokens twice.
        structured_output=False,
    )
    if arguments is not None:
        return declared(tool, arguments)
    return declared(tool, tool.fn_metadata.arg_model) if takes_others else strict(tool)


def strict(tool: Tool) -> Tool:
    """Return the tool with a schema that takes no arguments but its own."""
    model = tool.fn_metadata.arg_model
    forbids = {"model_config": ConfigDict(extra="forbid"), "__module__": __name__}
    return declared(tool, type(model.__name__, (model,), forbids))


def declared(tool: Tool, arguments: type[ArgModelBase]) -> Tool:
    """Return the tool with these arguments in place of those that its function shows."""
    tool.fn_metadata = TextsAsTheyAre(arg_model=arguments)
    tool.parameters = arguments.model_json_schema(by_alias=True)
    return tool


def told(error: MdapError) -> str:
    """Return what a client is told of an error: what happened, through what, and what to do."""
    causes, cause = [], error.__cause__
    while cause is not None:
        causes.append(cause.message if isinstance(cause, MdapError) else type(cause).__name__)
        cause = cause.__cause__
    happened = " → ".join([error.message, *causes])
    said = for_clients(shortened(f"{error.code}: {happened}", _MOST_SAID))
    return said + (f"\nnext: {for_clients(shortened(error.remedy, _MOST_SAID))}" if error.remedy else "")


def wrong_arguments(error: ValidationError) -> str:
    """Return what is wrong with which arguments, without what was given for them."""
    wrong = error.errors()
    # Ten, for a client may have made up thousands of names.
    shown = [f"{shortened('.'.join(map(str, one['loc'])), 100)}: {shortened(one['msg'], 500)}" for one in wrong[:10]]
    return "; ".join([*shown, *([f"and {len(wrong) - 10} more"] if len(wrong) > 10 else [])])


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given: None stands for what was not."""
    return {name: value for name, value in options.items() if value is not None}


def _kinds(annotation: Any) -> set[Any]:
    """Return the types that an argument may have."""
    return set(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else {annotation}


def _unwrapped(docstring: str) -> str:
    return "\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))
