"""Stored runs of branches that a program began: what clients may go on with, and what only the program can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdap
from mdap.mcp.allowed import Allowed
from mdap.models.catalog import as_model
from mdap.planning.division import Division
from tests.mcp.support import calling, desk_at

PROMPT = "List these: a, b"
PLANNER = "simulated_planner:p=0.95,judge=0.95"
SOLVER = "simulated_solver"
PRODUCT = "Multiply 12 by 34."


class Foreign:
    """A model that only a program can make."""

    spec = "own"

    def __init__(self, spec: str) -> None:
        self._model: Any = as_model(spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


async def refused(path: Path, run: str, said: str) -> None:
    """Neither is the run gone on with nor is anything asked for it; how it stands is told."""
    async with desk_at(path, Allowed(model="simulated:p=0.9")) as desk, calling(desk) as call:
        told = await call.error("run_resume", run=run)
        assert said in told, told
        status = await call("run_status", run=run)
        assert status["run"] == run
        assert status["status"] == "budget"
        assert not desk.is_driving


async def test_a_plan_whose_models_ship_is_gone_on_with_whoever_began_it(tmp_path: Path) -> None:
    begun = await mdap.aio.do(PROMPT, PLANNER, k=10, budget_calls=15, journal=tmp_path / "j.db")
    assert begun.status == "budget"
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        await call("run_resume", run=begun.run, budget_calls=10_000)
        assert (await call.ended(begun.run))["status"] == "done"
        assert (await call.whole_result(begun.run))["states"] == ["a\nb"]


async def test_a_plan_without_a_check_of_its_steps_is_gone_on_with_without_one(tmp_path: Path) -> None:
    begun = await mdap.aio.plan(PROMPT, PLANNER, k=10, budget_calls=5, check_step=None, journal=tmp_path / "j.db")
    assert begun.status == "budget"
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        await call("run_resume", run=begun.run, budget_calls=10_000)
        assert (await call.ended(begun.run))["status"] == "done"


async def test_roles_are_gone_on_with_by_the_models_that_they_had(tmp_path: Path) -> None:
    roles: Any = {"planning_model": PLANNER, "plan_voting_model": "simulated_planner:p=1,judge=1"}
    begun = await mdap.aio.plan(PROMPT, k=2, budget_calls=6, journal=tmp_path / "j.db", **roles)
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        await call("run_resume", run=begun.run, budget_calls=10_000)
        assert (await call.ended(begun.run))["status"] == "done"
        [head] = desk.journal.heads()
        assert head.model.count("simulated_planner") == 2


async def test_a_plan_of_a_model_of_a_program_is_gone_on_with_there(tmp_path: Path) -> None:
    begun = await mdap.aio.plan(PROMPT, Foreign(PLANNER), k=10, budget_calls=5, journal=tmp_path / "j.db")
    await refused(tmp_path / "j.db", begun.run, "was begun with a model of a program")


async def test_a_division_by_functions_of_a_program_is_gone_on_with_there(tmp_path: Path) -> None:
    def _whole(task: str) -> Division:
        return Division()

    agent = mdap.aio.Agent(SOLVER, k=2, decompose=_whole, budget_calls=1, journal=tmp_path / "j.db")
    begun = await agent.run(PRODUCT)
    await refused(tmp_path / "j.db", begun.run, "was begun with functions of a program")


async def test_a_division_of_a_model_of_a_program_is_gone_on_with_there(tmp_path: Path) -> None:
    agent = mdap.aio.Agent(Foreign(SOLVER), k=2, budget_calls=5, journal=tmp_path / "j.db")
    begun = await agent.run(PRODUCT)
    await refused(tmp_path / "j.db", begun.run, "was begun with a model of a program")


async def test_a_division_whose_role_has_a_model_that_clients_may_not_use_is_not_gone_on_with(tmp_path: Path) -> None:
    roles = {"solver": "tests.mcp.own:says_blue"}
    agent = mdap.aio.Agent(SOLVER, k=2, roles=roles, max_depth=0, budget_calls=1, journal=tmp_path / "j.db")
    begun = await agent.run(PRODUCT)
    await refused(tmp_path / "j.db", begun.run, "'tests.mcp.own:says_blue' is not allowed here")
