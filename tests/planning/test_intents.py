"""What a reply that asks for a tool looks like, what tools say of themselves, and which may be called."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest

from mdap.core.errors import RedFlag, UsageError
from mdap.core.tooling import ToolIntent
from mdap.planning.intents import (
    CATEGORIES,
    READ_ONLY,
    SIDE_EFFECTS,
    allowed,
    category_of,
    read_intent,
    schema_from_json,
    schema_of,
)

CALL = '{"tool": "grep", "arguments": {"pattern": "x"}, "rationale": "to see"}'


@dataclasses.dataclass
class Span:
    """A range of lines."""

    first: int
    last: int = 9


def grep(pattern: str, paths: list[str] = ["."], *, limit: Annotated[int, msgspec.Meta(ge=1)] = 5) -> list[str]:  # noqa: B006
    """Find lines that
    hold a pattern.

    More of it nobody needs to know.
    """
    return []


def read_file(path: str, span: Span | None = None, mode: Literal["text", "bytes"] = "text") -> str:
    """Read a file."""
    return ""


@pytest.mark.parametrize("text", [CALL, f"```json\n{CALL}\n```", f"```\n{CALL}```", f"  {CALL}\n"])
def test_an_intent_is_the_object_alone_or_one_fence_with_it(text: str) -> None:
    assert read_intent(text) == ToolIntent("grep", {"pattern": "x"}, "to see")


@pytest.mark.parametrize(
    "text",
    [
        f"I will look.\n{CALL}",
        f"```json\n{CALL}\n```\nThen I answer.",
        "grep x",
        '{"answer": 4}',
        '{"answer": "the \\"tool\\" is a hammer"}',
        '["tool", "grep"]',
        "",
    ],
)
def test_everything_else_is_an_answer(text: str) -> None:
    assert read_intent(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"tool": "grep"}',
        '{"tool": "grep", "arguments": ["x"]}',
        '{"tool": 3, "arguments": {}}',
        '{"tool": "grep", "arguments": {}, "why": "so"}',
        '{"tool": "grep", "arguments": {}, "rationale": 1}',
        '{"tool": "grep", "tool": "rm", "arguments": {}}',
        '{"tool": "grep", "arguments": {"pattern": "x"}',
        '{"tool": "grep", "arguments": {"limit": NaN}}',
        f"```json\n{CALL}\n```\n```json\n{CALL}\n```",
    ],
)
def test_what_begins_as_an_intent_and_is_none_is_a_red_flag(text: str) -> None:
    with pytest.raises(RedFlag) as flag:
        read_intent(text)
    assert flag.value.name == "malformed"


def test_a_callable_says_what_it_takes_and_does() -> None:
    schema = schema_of(grep)
    assert (schema.name, schema.description, schema.category) == ("grep", "Find lines that hold a pattern.", "search")
    assert schema.parameters["required"] == ["pattern"]
    assert schema.parameters["additionalProperties"] is False
    assert schema.parameters["properties"]["limit"] == {"type": "integer", "minimum": 1, "default": 5}
    assert "grep: Find lines" in schema.told
    assert '"minimum": 1' in schema.told


def test_arguments_are_checked_and_defaults_filled_in() -> None:
    schema = schema_of(grep)
    assert schema.checked({"pattern": "x"}) == {"pattern": "x", "paths": ["."], "limit": 5}
    assert schema.checked({"pattern": "x"}) == schema.checked({"limit": 5, "paths": ["."], "pattern": "x"})
    wrongs: list[dict[str, Any]] = [
        {},
        {"pattern": 3},
        {"pattern": "x", "limit": 0},
        {"pattern": "x", "depth": 1},
        {"paths": []},
    ]
    for wrong in wrongs:
        with pytest.raises(RedFlag, match="arguments of grep") as flag:
            schema.checked(wrong)
        assert flag.value.name == "tool"


def test_a_tool_is_called_with_values_of_its_own_types() -> None:
    loaded = schema_of(read_file).load({"path": "a", "span": {"first": 2}})
    assert loaded == {"path": "a", "span": Span(2, 9), "mode": "text"}


def test_a_default_that_is_changed_by_one_call_is_whole_for_the_next() -> None:
    schema = schema_of(grep)
    schema.load({"pattern": "x"})["paths"].append("elsewhere")
    assert schema.load({"pattern": "x"})["paths"] == ["."]


def test_equal_arguments_have_one_key_whatever_their_order_or_way_of_writing_numbers() -> None:
    def wait(seconds: float, label: str = "") -> None:
        """Wait."""

    schema = schema_of(wait)
    assert schema.key({"seconds": 1, "label": "a"}) == schema.key({"label": "a", "seconds": 1.0})
    assert schema.key({"seconds": 1}) != schema.key({"seconds": 1.5})


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("read_file", "file_read"),
        ("edit_file", "file_write"),
        ("glob", "search"),
        ("rag_search", "semantic_search"),
        ("shell", "bash"),
        ("git_commit", "git"),
        ("fetch_url", "web"),
        ("spawn_agent", "agent_pool"),
        ("update_task", "task_manager"),
        ("mcp_anything", "mcp"),
        ("launch_rocket", "custom"),
    ],
)
def test_a_category_is_told_by_the_name(name: str, category: str) -> None:
    assert category_of(name) == category


def test_there_are_eleven_categories_and_all_that_may_change_something_are_side_effects() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 11
    assert {"file_read", "search", "semantic_search"} == READ_ONLY
    assert set(CATEGORIES) - READ_ONLY == SIDE_EFFECTS
    assert {"web", "mcp", "custom"} <= SIDE_EFFECTS


def test_a_policy_lets_only_its_categories_be_called() -> None:
    def write_file(path: str) -> None:
        """Write a file."""

    schemas = [schema_of(grep), schema_of(write_file)]
    with pytest.raises(UsageError, match="write_file is of the category file_write"):
        allowed(schemas, READ_ONLY)
    assert list(allowed(schemas, {*READ_ONLY, "file_write"})) == ["grep", "write_file"]
    assert schema_of(write_file, category="search").has_side_effects is False
    with pytest.raises(UsageError, match="'filewrite' is no category"):
        allowed(schemas, ["filewrite"])
    with pytest.raises(UsageError, match="two tools are named grep"):
        allowed([schemas[0], schemas[0]], READ_ONLY)


def test_what_says_too_little_of_itself_is_no_tool() -> None:
    def silent(x: int) -> int:
        return x

    def untyped(x) -> int:  # type: ignore[no-untyped-def]
        """Do something."""
        return 0

    def many(*xs: int) -> int:
        """Add."""
        return 0

    for call, said in ((silent, "nothing of what it does"), (untyped, "what x is"), (many, "no name")):
        with pytest.raises(UsageError, match=said):
            schema_of(call)
    assert schema_of(silent, description="Say a number.", name="say").name == "say"


def test_what_no_schema_can_say_is_told_with_the_name_of_the_tool() -> None:
    def hidden(x: int) -> int:
        """Do something."""
        return x

    hidden.__annotations__["x"] = "Hidden"

    def plugged(x: Callable[[int], int]) -> int:
        """Do something."""
        return x(1)

    for call, said in ((hidden, "hidden cannot be read"), (plugged, "tool plugged"), ("/", "'/' is no tool")):
        with pytest.raises(UsageError, match=said):
            schema_of(call)  # type: ignore[arg-type]


def test_a_callable_object_is_a_tool_too() -> None:
    class Shout:
        """Shout a word."""

        def __call__(self, word: str) -> str:
            return word.upper()

    assert schema_of(Shout(), name="shout").parameters["required"] == ["word"]


def test_the_key_of_a_call_is_not_the_model_s_to_give() -> None:
    def pay(amount: int, idempotency_key: str) -> None:
        """Pay."""

    schema = schema_of(pay)
    assert list(schema.parameters["properties"]) == ["amount"]
    with pytest.raises(RedFlag):
        schema.checked({"amount": 1, "idempotency_key": "mine"})


def test_a_tool_with_a_json_schema_is_checked_by_it() -> None:
    parameters: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    schema = schema_from_json("mcp_add", "Add.", parameters)
    assert schema.category == "mcp"
    assert schema.checked({"n": 1}) == {"n": 1}
    with pytest.raises(RedFlag):
        schema.checked({"n": "one"})
    assert json.loads(schema.told.partition("JSON Schema: ")[2]) == parameters
