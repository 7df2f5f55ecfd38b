"""What a reply that asks for a tool must look like, which tools there are, and which may be called. Calls nothing."""

from __future__ import annotations

import copy
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, UsageError
from mdap.core.formats import json_schema, record
from mdap.core.strictjson import read_json, unfenced
from mdap.core.tooling import ToolIntent
from mdap.planning.bounds import shallow

Category = Literal[
    "file_read",
    "file_write",
    "search",
    "semantic_search",
    "bash",
    "git",
    "web",
    "agent_pool",
    "task_manager",
    "mcp",
    "custom",
]
CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
READ_ONLY: Final[frozenset[Category]] = frozenset({"file_read", "search", "semantic_search"})
"""Categories that change nothing."""
SIDE_EFFECTS: Final[frozenset[Category]] = frozenset(CATEGORIES) - READ_ONLY
"""Categories that may change something, or tell somebody: web and MCP, and what nobody has put into a category."""

# The names by which tools of a kind usually go.
_NAMES: Final[dict[Category, str]] = {
    "file_read": "read_file file_read get_file_contents",
    "file_write": "write_file edit_file delete_file create_directory file_write",
    "search": "search_files grep find_files glob file_search",
    "semantic_search": "semantic_search query_codebase rag_search",
    "bash": "bash execute_command shell run_command",
    "git": "git git_status git_diff git_commit git_log",
    "web": "web_search fetch_url browse http_request",
    "agent_pool": "spawn_agent agent_pool create_agent",
    "task_manager": "create_task update_task task_manager",
}
_BY_NAME: Final[dict[str, Category]] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
# A parameter of this name is not the model's to give: the engine hands the key of the call to it.
KEY_PARAMETER: Final = "idempotency_key"
_FIELDS: Final = frozenset({"tool", "arguments", "rationale"})


class ToolSchema(msgspec.Struct, frozen=True):
    """A tool as a model is told of it. `parameters` is the JSON Schema of its arguments, an object.

    `load` turns arguments into what the tool is called with; it raises RedFlag for what does not fit.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    category: Category
    load: Callable[[dict[str, Any]], dict[str, Any]]

    @property
    def has_side_effects(self) -> bool:
        """Whether it may change something."""
        return self.category in SIDE_EFFECTS

    def checked(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return arguments as JSON values, with the defaults of those that were left out; raises RedFlag."""
        loaded = self.load(arguments)
        try:
            return {name: msgspec.to_builtins(value, order="deterministic") for name, value in loaded.items()}
        except TypeError:
            # A default that is no JSON value is the tool's own business.
            return arguments

    def key(self, arguments: dict[str, Any]) -> str:
        """Return what two equal calls share: numbers by value where the schema says number."""
        return canonical(arguments, self.parameters).decode("utf-8", "surrogatepass")

    @property
    def told(self) -> str:
        """The tool as a prompt lists it."""
        # A title says what the name has said.
        shown = {name: value for name, value in self.parameters.items() if name != "title"}
        return (
            f"- {self.name}: {self.description}\n  Arguments, by JSON Schema: {json.dumps(shown, ensure_ascii=False)}"
        )


def category_of(name: str) -> Category:
    """Return the category that a tool's name says: mcp_ and custom_ begin their names, an unknown one is custom."""
    if name.startswith("mcp_"):
        return "mcp"
    # Unknown is custom, which may change something: nothing is harmless until somebody says so.
    return _BY_NAME.get(name, "custom")


def schema_of(
    call: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    category: Category | None = None,
) -> ToolSchema:
    """Return the schema of a Python callable, from its type hints and the first paragraph of its docstring.

    `category` is told by its name where it is not given. A parameter `idempotency_key` is left out: the engine gives
    it. Raises UsageError for a callable without hints or description, or with parameters that have no name.
    """
    called = name or str(getattr(call, "__name__", type(call).__name__))
    if not callable(call):
        raise UsageError(f"{call!r} is no tool: it cannot be called", remedy="give a function with type hints")
    # The first paragraph: what a program's reader needs beyond it is not what a model needs.
    text = description or (inspect.getdoc(call) or "").partition("\n\n")[0]
    if not text.strip():
        raise UsageError(f"tool {called} says nothing of what it does", remedy="give it a docstring, or a description")
    # A record of its own, so that arguments are checked as any typed value is, and unknown ones refused.
    kind = msgspec.defstruct(called, _fields(call, called), kw_only=True, forbid_unknown_fields=True)

    def _load(arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            given = msgspec.convert(arguments, type=kind)
        except (msgspec.ValidationError, RecursionError) as error:
            raise RedFlag(f"the arguments of {called} do not fit: {error}", name="tool") from None
        return {field: getattr(given, field) for field in kind.__struct_fields__}

    try:
        parameters = dict(record(kind).schema or {})
    except UsageError as error:
        what = error.message.partition(": ")[2]
        raise UsageError(f"no schema says what tool {called} takes: {what}", remedy="give it JSON values") from None
    return ToolSchema(called, " ".join(text.split()), parameters, _category(called, category), _load)


def schema_from_json(
    name: str, description: str, parameters: Mapping[str, Any], category: Category | None = None
) -> ToolSchema:
    """Return the schema of a tool that comes with a JSON Schema of its arguments, as those of MCP servers do.

    Needs the package jsonschema-rs (extra `schemas`); UsageError says so where it is absent.
    """
    fitting = json_schema(parameters)

    def _load(arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            # Through text, which is what a format reads.
            fitting.read(json.dumps(arguments))
        except RedFlag as flag:
            raise RedFlag(f"the arguments of {name} do not fit: {flag.message}", name="tool") from None
        return arguments

    return ToolSchema(name, " ".join(description.split()), dict(parameters), _category(name, category), _load)


def allowed(schemas: Sequence[ToolSchema], allow: Iterable[str]) -> dict[str, ToolSchema]:
    """Return the tools by name, all of which the policy `allow`, a set of categories, lets be called.

    Raises UsageError for two tools of one name, an unknown category, and a tool whose category is not allowed.
    """
    permitted = frozenset(allow)
    # A misspelt category would allow nothing, and nobody would know why.
    for category in sorted(permitted - set(CATEGORIES)):
        raise UsageError(f"{category!r} is no category of tools", remedy=f"there are: {', '.join(CATEGORIES)}")
    named: dict[str, ToolSchema] = {}
    for schema in schemas:
        if schema.name in named:
            raise UsageError(f"two tools are named {schema.name}", remedy="give one of them another name")
        if schema.category not in permitted:
            raise UsageError(
                f"tool {schema.name} is of the category {schema.category}, which is not allowed",
                remedy=f"add {schema.category!r} to allow=[...] (--allow {schema.category}) if it may be called, or "
                "say what category it is of",
            )
        named[schema.name] = schema
    return named


def read_intent(text: str) -> ToolIntent | None:
    """Return the intent that a reply is, None for a reply that is an answer.

    An intent is a JSON object with the key `tool`, bare or in exactly one fence with nothing else, and with the object
    `arguments`; `rationale` is text and may be left out. Raises RedFlag (malformed) for what begins as one and is
    something else: other keys, other types, two calls, JSON that cannot be read.
    """
    # Looked at before it is read: an answer in prose is no malformed call.
    body = unfenced(text).strip()
    if not body.startswith("{") or '"tool"' not in body:
        return None
    value = shallow(read_json(text))
    if "tool" not in value:
        return None
    odd = sorted(value.keys() - _FIELDS)
    if odd or "arguments" not in value:
        raise RedFlag(f"a call of a tool has the keys tool, arguments and rationale, not {', '.join(sorted(value))}")
    try:
        return msgspec.convert(value, type=ToolIntent)
    except msgspec.ValidationError as error:
        raise RedFlag(f"a call of a tool does not fit: {error}") from None


def _category(name: str, given: Category | None) -> Category:
    if given is not None and given not in CATEGORIES:
        raise UsageError(f"{given!r} is no category of tools", remedy=f"there are: {', '.join(CATEGORIES)}")
    return given or category_of(name)


def _fields(call: Callable[..., Any], name: str) -> list[tuple[str, Any] | tuple[str, Any, Any]]:
    """Return the parameters of a tool as the fields of a record."""
    # An object that can be called has its hints on its class.
    target = call if inspect.isroutine(call) else type(call).__call__
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError) as error:
        raise UsageError(
            f"the type hints of tool {name} cannot be read: {error}", remedy="import what they name when it runs, too"
        ) from None
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.name == KEY_PARAMETER:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UsageError(f"tool {name} takes {parameter}, which has no name", remedy="give each argument a name")
        if parameter.name not in hints:
            raise UsageError(f"tool {name} does not say what {parameter.name} is", remedy="give it a type hint")
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], _default(parameter.default)))
    return fields


def _default(value: Any) -> Any:
    # A copy for each call: what a tool does to its default must not reach the next call.
    if isinstance(value, list | dict | set):
        return msgspec.field(default_factory=lambda: copy.deepcopy(value))
    return value
