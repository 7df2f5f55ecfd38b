"""Which schemas are sent as strict: those that OpenAI takes so, and no other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mdap.models.openai import openai
from mdap.models.profiles import Profile
from mdap.models.strict_schema import is_strict
from tests.models.raw_server import OK, answering, asking

TEXT = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a=TEXT, b={"type": ["integer", "null"], "minimum": 0}),
        closed(inner=closed(rows={"type": "array", "items": closed(day={"type": "string", "format": "date"})})),
        closed(one={"anyOf": [{"enum": ["a", "b"]}, closed(n={"type": "number"})]}),
        {**closed(node={"$ref": "#/$defs/node"}), "$defs": {"node": closed(next={"$ref": "#/$defs/node"})}},
        {**closed(a=TEXT), "title": "Answer", "description": "what is asked for"},
    ],
)
def test_a_closed_object_whose_properties_are_all_required_is_strict(schema: dict[str, Any]) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        TEXT,
        {"type": "array", "items": TEXT},
        {**closed(a=TEXT), "required": []},
        {**closed(a=TEXT), "additionalProperties": True},
        {key: value for key, value in closed(a=TEXT).items() if key != "additionalProperties"},
        {**closed(a=TEXT), "anyOf": [closed()]},
        closed(a={"type": "string", "minLength": 3}),
        closed(a={"type": "array", "items": TEXT, "uniqueItems": True}),
        closed(a={"type": "string", "format": "uri"}),
        closed(a={"allOf": [TEXT]}),
        closed(a={"type": "object", "properties": {"b": TEXT}}),
        closed(a={"anyOf": [TEXT, {"type": "object"}]}),
        closed(a={"type": "array", "items": True}),
        {**closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": {"type": "object"}}},
        closed(a={}),
        True,
    ],
)
def test_anything_else_is_not(schema: Any) -> None:
    assert not is_strict(schema)


def test_a_schema_may_nest_ten_levels_and_no_more() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return closed(a=nested(levels - 1) if levels > 1 else TEXT)

    assert is_strict(nested(10))
    assert not is_strict(nested(11))


@pytest.mark.parametrize(("schema", "strict"), [(closed(a=TEXT), True), ({"type": "object"}, False)])
async def test_a_schema_is_sent_as_strict_only_where_it_is(schema: dict[str, Any], strict: bool) -> None:
    async with answering(OK) as server:
        model = openai("m", base_url=server.url)
        model.profile = Profile(json_schema=True)
        await model.complete(msgspec.structs.replace(asking(), schema=schema))
        await model.close()
        sent = msgspec.json.decode(server.requests[0][1])["response_format"]["json_schema"]
    assert sent == {"name": "answer", "strict": strict, "schema": schema}
