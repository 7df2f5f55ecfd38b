"""Tasks that are divided and solved as long runs: begun, read, ended by a budget and gone on with by another server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import mdap
from mdap.mcp.allowed import Allowed
from tests.mcp.support import calling, desk_at

PRODUCT = "Multiply 1234 by 5678."
ALLOWED = Allowed(model="simulated_solver")


async def test_a_task_is_divided_and_solved_as_the_library_does_it(tmp_path: Path) -> None:
    alone = await mdap.aio.Agent("simulated_solver", k=2, max_depth=2, seed=5).run(PRODUCT)
    async with desk_at(tmp_path / "j.db", ALLOWED) as desk, calling(desk) as call:
        begun = await call("run_start", solve=PRODUCT, k=2, max_depth=2, seed=5)
        assert begun["run"].startswith("solve-")
        assert (await call.ended(begun["run"]))["status"] == "done"
        found = await call.whole_result(begun["run"])
        assert found["answer"] == alone.answer
        assert found["tree"]["parts"]
        assert {step["kind"] for step in await call.all_steps(begun["run"])} >= {"solver", "decomposer"}


async def test_a_budget_ends_it_and_another_server_goes_on(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", ALLOWED) as desk, calling(desk) as call:
        run = (await call("run_start", solve=PRODUCT, k=2, max_depth=2, budget_calls=20))["run"]
        assert (await call.ended(run))["status"] == "budget"
        partial = await call.whole_result(run)
        assert "answer" not in partial
        assert partial["tree"]["status"] == "open"
        # Reading it took no call, and it was answered as itself: nobody was cancelled.
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    async with desk_at(tmp_path / "j.db", ALLOWED) as desk, calling(desk) as call:
        await call("run_resume", run=run, budget_calls=100_000)
        assert (await call.ended(run))["status"] == "done"
        assert (await call.whole_result(run))["answer"] == str(1234 * 5678)


async def test_a_clients_own_model_solves_what_is_not_divided(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = (
            await call("run_start", solve="Is 7 a prime?", model="client", k=1, one_of=["yes", "no"], decompose="none")
        )["run"]
        handed = await call("next_steps", run=run)
        asked = 0
        while handed["prompts"]:
            votes = [{"token": one["token"], "answer": "yes"} for one in handed["prompts"]]
            asked += len(votes)
            handed = await call("submit_votes", votes=votes, next=4)
        assert (await call.ended(run))["status"] == "done"
        assert (await call.whole_result(run))["answer"] == "yes"
        assert asked == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"solve": " "}, "empty"),
        ({"solve": PRODUCT, "task": "hanoi"}, "solve"),
        ({"solve": PRODUCT, "rule": "first_to_k:3"}, "rule"),
        ({"solve": PRODUCT, "max_steps": 3}, "max_steps"),
        ({"solve": PRODUCT, "decompose": "os:system"}, "decompose"),
        ({"solve": PRODUCT, "one_of": ["yes"]}, "one_of"),
        ({"task": "hanoi", "rounds": 3}, "rounds"),
        ({"prompt": "Do it", "max_depth": 3}, "max_depth"),
        ({"solve": PRODUCT, "model": "tests.mcp.own:Sleepy"}, "model"),
    ],
)
async def test_what_cannot_be_divided_is_an_error_that_names_the_argument(
    arguments: dict[str, object], field: str
) -> None:
    async with desk_at(None, ALLOWED) as desk, calling(desk) as call:
        assert field in await call.error("run_start", **arguments)
        assert not desk.journal.heads()
