"""The tools of IgniteUI/MAKER: exactly their names, parameters, defaults, answers, progress and error prefix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from mdap.mcp.allowed import Allowed
from mdap.mcp.server import made_server
from tests.mcp.support import ERAS, calling, desk_at

PROMPT = "List these: a, b, c"
ALLOWED = Allowed(model="simulated_planner:p=0.9,judge=0.9")
YES = json.dumps({"verdict": "Yes", "reason": ""})
NAMES = ["maker_plan", "maker_execute", "maker_plan_and_execute"]
BOTH = [*NAMES, *(name.removeprefix("maker_") for name in NAMES)]

# (type, required, default), as their documentation gives them.
OWN = {
    "prompt": ("string", True, None),
    "batchSize": ("integer", False, 2),
    "k": ("integer", False, 10),
    "maxSteps": ("integer", False, 20),
    "format": ("string or null", False, None),
    "stepsJson": ("string", True, None),
}
PARAMETERS = {
    "maker_plan": ["prompt", "batchSize", "k", "maxSteps", "format"],
    "maker_execute": ["stepsJson", "prompt", "batchSize", "k", "format"],
    "maker_plan_and_execute": ["prompt", "batchSize", "k", "maxSteps", "format"],
}


def told(schema: dict[str, Any], name: str) -> tuple[str, bool, Any]:
    """What a schema says of one parameter."""
    found = schema["properties"][name]
    kind = found.get("type") or " or ".join(one["type"] for one in found["anyOf"])
    return kind, name in schema.get("required", []), found.get("default")


@pytest.mark.parametrize("name", BOTH)
async def test_each_tool_has_exactly_their_parameters_and_defaults(name: str) -> None:
    async with desk_at(None, ALLOWED) as desk, Client(made_server(desk)) as client:
        [tool] = [tool for tool in (await client.list_tools()).tools if tool.name == name]
        schema = tool.input_schema
        wanted = PARAMETERS[name if name.startswith("maker_") else f"maker_{name}"]
        assert list(schema["properties"]) == wanted
        assert {name: told(schema, name) for name in wanted} == {name: OWN[name] for name in wanted}
        assert schema["properties"]["batchSize"]["minimum"] == schema["properties"]["k"]["minimum"] == 1
        assert tool.output_schema is None


@pytest.mark.parametrize("era", ERAS)
async def test_a_plan_is_an_indented_array_of_steps_and_carrying_it_out_gives_the_bare_state(era: str) -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk, era) as call:
        is_error, plan = await call.raw("maker_plan", prompt=PROMPT, batchSize=2, k=3, maxSteps=20)
        assert not is_error
        assert plan.startswith('[\n  {\n    "task": ')
        steps = json.loads(plan)
        assert [list(step) for step in steps] == [["task", "requiredSteps", "requiresFormat", "extraContext"]] * 3
        assert await call.raw("maker_execute", stepsJson=plan, prompt=PROMPT, k=3) == (False, "a\nb\nc")
        assert await call.raw("plan_and_execute", prompt=PROMPT, k=3) == (False, "a\nb\nc")


async def test_steps_are_taken_in_any_case_of_their_keys_with_keys_that_nobody_knows() -> None:
    steps = [{"Task": 'Append the line "x"', "REQUIREDSTEPS": [], "owner": "me"}, {"task": 'Append the line "y"'}]
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        found = await call.raw("execute", stepsJson=json.dumps(steps), prompt="List these: x, y", k=3)
        assert found == (False, "x\ny")


@pytest.mark.parametrize("era", ERAS)
async def test_progress_rises_and_carries_the_messages_of_their_sink(era: str) -> None:
    heard: list[tuple[float, str]] = []

    async def _hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message or ""))

    async with desk_at(None, ALLOWED) as desk, Client(made_server(desk), mode=era) as client:
        await client.call_tool("maker_plan_and_execute", {"prompt": PROMPT, "k": 4}, progress_callback=_hear)
        counters = [progress for progress, _ in heard]
        assert counters == sorted(set(counters))
        messages = [json.loads(message) for _, message in heard]
        assert all(set(message) == {"Type", "Data"} and isinstance(message["Data"], str) for message in messages)
        kinds = {message["Type"] for message in messages}
        wanted = {"phase", "steps_proposed", "plan_vote", "steps_added", "execution_started", "execution_vote"}
        assert wanted | {"state_changed"} <= kinds <= wanted | {"state_changed", "steps_rejected"}
        assert messages[0] == {"Type": "phase", "Data": "Planning..."}
        heard.clear()
        steps = json.dumps([{"task": 'Append the line "a"'}])
        await client.call_tool("execute", {"stepsJson": steps, "prompt": "List these: a"}, progress_callback=_hear)
        assert json.loads(heard[0][1]) == {"Type": "phase", "Data": "Executing 1 steps..."}


@pytest.mark.parametrize("name", BOTH)
async def test_an_argument_that_is_missing_or_wrong_is_an_error_with_their_prefix(name: str) -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        assert (await call.error(name)).startswith(f"MAKER ERROR [{name}]: usage: ")
        text = await call.error(name, prompt=PROMPT, stepsJson="[]", batchSize=0)
        assert text.startswith(f"MAKER ERROR [{name}]: ")
        assert "batchSize" in text


async def test_an_unknown_progress_argument_is_passed_over() -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        is_error, _ = await call.raw("plan", prompt=PROMPT, k=2, progress=None)
        assert not is_error


async def test_what_cannot_be_planned_or_carried_out_is_a_flagged_error() -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        assert "plan-not-json" in await call.error("maker_execute", stepsJson="no plan", prompt=PROMPT)
        assert "prompt is empty" in await call.error("maker_plan", prompt="  ")
    async with desk_at(None, Allowed(model="simulated_planner:p=1,judge=0")) as desk, calling(desk) as call:
        text = await call.error("maker_plan", prompt=PROMPT, k=2)
        assert text.startswith("MAKER ERROR [maker_plan]: ")
        assert "refused" in text
    async with desk_at(None) as desk, calling(desk) as call:
        assert "none is named" in await call.error("maker_plan", prompt=PROMPT)
    async with desk_at(None, Allowed(model="client")) as desk, calling(desk) as call:
        assert "waits for this answer" in await call.error("maker_plan", prompt=PROMPT)


async def test_formats_of_two_callers_at_once_do_not_meet(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", ALLOWED) as desk, calling(desk) as one, calling(desk) as other:
        await one.raw("maker_plan", prompt=PROMPT, k=2, format="as a table")
        await other.raw("maker_plan", prompt=PROMPT, k=2)
        briefs = [head.settings["planned"]["origin"]["brief"] for head in desk.journal.heads()]
        assert [brief["format"] for brief in briefs] == ["as a table", ""]


async def test_a_prompt_is_a_long_run_too_and_goes_on_after_a_budget(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", ALLOWED) as desk, calling(desk) as call:
        begun = await call("run_start", prompt=PROMPT, k=10, budget_calls=15)
        assert (await call.ended(begun["run"]))["status"] == "budget"
        partial = await call.whole_result(begun["run"])
        assert [step["task"] for step in partial["plan"]["steps"]] == ['Append the line "a"', 'Append the line "b"']
        await call("run_resume", run=begun["run"], budget_calls=10_000)
        assert (await call.ended(begun["run"]))["status"] == "done"
        before = len(desk.journal.heads())
        assert (await call.whole_result(begun["run"]))["states"] == ["a\nb\nc"]
        assert len(desk.journal.heads()) == before
        steps = await call.all_steps(begun["run"])
        assert {step["kind"] for step in steps} == {"planning", "plan_voting", "execution", "execution_voting"}


async def test_a_plan_is_carried_out_by_a_clients_own_model_and_by_another_server(tmp_path: Path) -> None:
    plan = json.dumps([{"task": "Write x"}])
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = (await call("run_start", prompt="Write x", plan=plan, model="client", k=2))["run"]
        [prompt] = (await call("next_steps", run=run))["prompts"]
        await call("submit_votes", votes=[{"token": prompt["token"], "answer": "x"}])
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        await call("run_resume", run=run)
        handed = await call("next_steps", run=run)
        while handed["prompts"]:
            [judged] = handed["prompts"]
            assert "x" in judged["messages"][0]["content"]
            handed = await call("submit_votes", votes=[{"token": judged["token"], "answer": YES}], next=1)
        assert (await call.ended(run))["status"] == "done"
        assert (await call.whole_result(run))["states"] == ["x"]
