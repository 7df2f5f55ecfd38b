"""Arguments that are missing, of another type, out of range or huge: each tool says which, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mdap.mcp.allowed import Allowed
from scripts.mcp_docs import CONTRACT
from tests.mcp.support import calling, desk_at

TOOLS: dict[str, Any] = json.loads(CONTRACT.read_text(encoding="utf-8"))
ALLOWED = Allowed(model="simulated:p=0.9")
# What would be a right call, for the arguments that a tool cannot do without.
RIGHT: dict[str, Any] = {
    "run": "nobody-1",
    "step": 0,
    "by": "Ann",
    "p": 0.9,
    "steps": 10,
    "task": "hanoi:disks=2",
    "models": ["simulated:p=0.9"],
    "votes": [{"token": "nobody-1:0.0.0.0.abc", "answer": "x"}],
    "prompt": "List these: a",
    "stepsJson": "[]",
}


ARGUMENTS = [
    (tool, name, schema) for tool, told in TOOLS.items() for name, schema in told["input"]["properties"].items()
]


def kinds(schema: dict[str, Any]) -> set[str]:
    """The types that an argument may have."""
    return {one["type"] for one in schema.get("anyOf", [schema]) if "type" in one}


def required(tool: str) -> dict[str, Any]:
    """A right value for each argument that a tool cannot do without."""
    return {name: RIGHT[name] for name in TOOLS[tool]["input"].get("required", [])}


def out_of_range(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield values just past the limits that a schema states."""
    for one in schema.get("anyOf", [schema]):
        if "minimum" in one:
            yield one["minimum"] - 1
        if "exclusiveMinimum" in one:
            yield one["exclusiveMinimum"]
        if "maximum" in one:
            yield one["maximum"] + 1
        if "exclusiveMaximum" in one:
            yield one["exclusiveMaximum"]
        if one.get("type") == "string" and "maxLength" in one:
            yield "x" * (one["maxLength"] + 1)
        if one.get("type") == "array" and "maxItems" in one:
            yield ["x"] * (one["maxItems"] + 1)
        if one.get("type") == "array" and "minItems" in one:
            yield []


def wrong_kinds(found: set[str]) -> Iterator[Any]:
    """Yield values of types that an argument does not have."""
    if found & {"integer", "number"}:
        yield from ("many", "", [], {}, True, "1e", "NaN", "0x1")
    if "integer" in found:
        yield from (1.5, "1.5")
    if "string" in found:
        yield from (17, 1.5, True, ["x"], {"x": 1})
    if "boolean" in found:
        yield from ("perhaps", 17, [])
    if "array" in found:
        yield from (17, "no list", {"x": 1}, True)
    if "object" in found:
        yield from (17, "no object", ["x"])


async def test_an_argument_of_another_type_is_named_and_nothing_is_done() -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        for tool, name, schema in ARGUMENTS:
            for value in wrong_kinds(kinds(schema)):
                told = await call.error(tool, **{**required(tool), name: value})
                assert name in told, (tool, name, value, told)
        assert not desk.journal.heads()


async def test_an_argument_that_is_out_of_range_is_named_and_nothing_is_done() -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        for tool, name, schema in ARGUMENTS:
            for value in out_of_range(schema):
                told = await call.error(tool, **{**required(tool), name: value})
                assert name in told, (tool, name, str(value)[:50], told[:500])
                assert len(told) < 5_000
        assert not desk.journal.heads()


async def test_an_argument_that_is_missing_is_named() -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        for tool in TOOLS:
            for missing in required(tool):
                others = {name: value for name, value in required(tool).items() if name != missing}
                assert missing in await call.error(tool, **others), tool
        assert not desk.journal.heads()


async def test_a_run_that_is_not_there_is_said_by_its_id() -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        for tool in (name for name in TOOLS if "run" in required(name)):
            told = await call.error(tool, **{**required(tool), "run": "nobody-1234"})
            assert "nobody-1234" in told, tool
            assert told.startswith("journal: run:"), tool


async def test_a_vote_that_is_too_long_or_no_vote_is_named_by_its_place() -> None:
    right = {"token": "a:0.0.0.0.b", "answer": "x"}
    wrong: dict[str, dict[str, Any]] = {
        "votes.0.token": {"votes": [{**right, "token": "t" * 301}]},
        "votes.0.answer": {"votes": [{**right, "answer": "x" * 1_000_001}]},
        "votes": {"votes": [{**right, "token": f"a:0.{n}.0.0.b"} for n in range(51)]},
        "next": {"votes": [right], "next": 51},
        "votes.1.answer": {"votes": [right, {**right, "answer": {"x": 1}}]},
        "votes.0": {"votes": ["a:0.0.0.0.b"]},
    }
    async with desk_at(None) as desk, calling(desk) as call:
        for field, arguments in wrong.items():
            told = await call.error("submit_votes", **arguments)
            assert f"{field}: " in told
            assert "x" * 1_000 not in told


async def test_an_argument_that_has_no_meaning_for_the_run_is_refused() -> None:
    wrong: dict[str, dict[str, Any]] = {
        "one_of: it goes with question or solve": {"task": "hanoi", "one_of": ["a"]},
        "plan: it goes with prompt": {"task": "hanoi", "plan": "[]"},
        "batch_size: it goes with prompt": {"question": "Which?", "batch_size": 2},
        "confidence: it goes with task or question": {"prompt": "Do it", "confidence": "text"},
        "format: it goes with prompt": {"solve": "Do it", "format": "words"},
        "decompose: it goes with solve": {"prompt": "Do it", "decompose": "none"},
        "give one of them": {},
    }
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        for said, arguments in wrong.items():
            assert said in await call.error("run_start", **arguments)
        assert not desk.journal.heads()


async def test_lists_and_objects_are_read_from_json_text_and_texts_are_left_as_they_are() -> None:
    async with desk_at(None, Allowed(model="tests.mcp.own:says_blue")) as desk, calling(desk) as call:
        asked = {"prompt": "Which?", "one_of": '["red", "blue"]', "k": "2"}
        assert (await call("ask", **asked))["answer"] == "blue"
        schema = '{"type": "string", "enum": ["blue"]}'
        flagged = await call("ask", prompt="Which?", schema=schema, k=1, max_samples=2)
        # The model's word is no JSON, so the schema that was read does its work.
        assert flagged["flags"]
        run = (await call("run_start", question='["a", "text"]', model="client", k=1))["run"]
        [prompt] = (await call("next_steps", run=run))["prompts"]
        assert prompt["messages"][-1]["content"].startswith('["a", "text"]')
        answered = await call("submit_votes", votes=[{"token": prompt["token"], "answer": '{"an": "answer"}'}])
        assert answered["votes"][0]["outcome"] == "taken"
        await call.ended(run)
        assert await call.whole_result(run) == {"answer": '{"an": "answer"}'}
