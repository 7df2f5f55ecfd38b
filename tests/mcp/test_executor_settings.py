"""A server that is set up by the settings of IgniteUI MAKER alone, as a client's configuration of it has them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mdap.core.errors import UsageError
from mdap.mcp.allowed import Allowed
from mdap.planning.executor_settings import ExecutorSettings, from_environment, from_file
from tests.mcp.processes import MDAP
from tests.mcp.support import calling, desk_at

PROMPT = "List these: a, b, c"
ROLES = ("Planning", "PlanVoting", "Execution", "ExecutionVoting")
# A provider and a model that cost nothing: together a spec.
CLIENTS = {role: {"Provider": "simulated_planner", "Model": "p=0.9,judge=0.9"} for role in ROLES}
VARIABLES = {f"Executor__Clients__{role}__{name}": value for role in ROLES for name, value in CLIENTS[role].items()}


def settings(**more: str) -> ExecutorSettings:
    found = from_environment({**VARIABLES, **more})
    assert found is not None
    return found


async def test_roles_have_the_models_of_the_settings_where_nobody_names_one() -> None:
    async with desk_at(None, Allowed(planning=settings())) as desk, calling(desk) as call:
        is_error, plan = await call.raw("maker_plan", prompt=PROMPT, k=3)
        assert not is_error
        assert await call.raw("maker_execute", stepsJson=plan, prompt=PROMPT, k=3) == (False, "a\nb\nc")
        assert await call.raw("maker_plan_and_execute", prompt=PROMPT, k=3) == (False, "a\nb\nc")
        begun = await call("run_start", prompt=PROMPT, k=3)
        assert (await call.ended(begun["run"]))["status"] == "done"


async def test_a_model_that_is_named_comes_first_and_the_format_stays() -> None:
    allowed = Allowed(planning=settings(Executor__Format="one word a line"))
    assert allowed.planned("do", "simulated") == ("simulated", {"format": "one word a line"})
    with_own = Allowed(model="simulated_planner", planning=settings())
    assert with_own.planned("plan", None) == ("simulated_planner", {})


def test_a_model_of_the_settings_may_be_resumed_although_a_client_could_not_name_it() -> None:
    own = "openai:local,base_url=http://127.0.0.1:1/v1"
    provider, _, model = own.partition(":")
    found = settings(Executor__Clients__Planning__Provider=provider, Executor__Clients__Planning__Model=model)
    assert Allowed(planning=found).check_model(own) == own
    with pytest.raises(UsageError, match="base_url"):
        Allowed(planning=settings()).check_model(own)


def test_only_the_roles_of_a_kind_are_named() -> None:
    roles = {kind: set(settings().options(kind)) for kind in ("plan", "execute", "do")}
    assert roles["plan"] == {"planning_model", "plan_voting_model"}
    assert roles["execute"] == {"execution_model", "execution_voting_model"}
    assert roles["do"] == roles["plan"] | roles["execute"]


async def test_questions_have_no_model_from_settings_of_planning() -> None:
    with pytest.raises(UsageError, match="none is named"):
        Allowed(planning=settings()).check_model(None)


def test_a_file_means_what_the_variables_mean() -> None:
    assert from_file(json.dumps({"Executor": {"Clients": CLIENTS}})) == settings()


@pytest.mark.slow
@pytest.mark.parametrize("by_file", [False, True])
async def test_a_client_changes_nothing_but_the_command(tmp_path: Path, *, by_file: bool) -> None:
    file = tmp_path / "appsettings.json"
    file.write_text(json.dumps({"executor": {"CLIENTS": CLIENTS}}), encoding="utf-8")
    words = [*MDAP[1:], "--stdio", "--journal", str(tmp_path / "runs.db")]
    words += ["--executor", str(file)] if by_file else []
    env = {**os.environ, **({} if by_file else {name.upper(): value for name, value in VARIABLES.items()})}
    async with Client(stdio_client(StdioServerParameters(command=MDAP[0], args=words, env=env))) as client:
        result = await client.call_tool("maker_plan_and_execute", {"prompt": PROMPT, "k": 3})
    [block] = result.content
    assert block.type == "text"
    assert block.text == "a\nb\nc"
