"""An agent is killed while each of its roles is asked, and gone on with: nothing shows of it. Two are no danger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mdap.agent_result import AgentResult
from mdap.agents import Agent
from mdap.core.errors import RunBusy
from mdap.core.records import Request, Response
from mdap.journal.sqlite import SqliteJournal
from mdap.models.simulated_solver import simulated_solver
from tests.planning.roles_of_arithmetic import ROLES, role_of, section
from tests.tool_support import call

TASK = "Multiply 1234 by 45."


class Deadly:
    """Roles that note each draw in a file; the process dies at the n-th call of a role, before it is answered.

    Each solver looks into a file first, by a tool.
    """

    spec = "deadly"

    def __init__(self, notes: Path, role: str = "", nth: int = 0) -> None:
        self.notes, self.role, self.nth = notes, role, nth
        self.seen = 0
        self.model = simulated_solver(decomposer=0.3, solver=0.3, composer=0.25, judge=0.1, validator=0.1)

    async def complete(self, request: Request) -> Response:
        draw, role = request.draw, role_of(request)
        with self.notes.open("a") as notes:
            notes.write(f"{draw.item} {draw.step} {draw.slot} {draw.redraw}\n")
        if role == self.role:
            self.seen += 1
            if self.seen == self.nth:
                # What was decided before has had time to become durable.
                await asyncio.sleep(0.1)
                os.kill(os.getpid(), signal.SIGKILL)
        if role == "solver" and "came of it:" not in request.messages[-1].content:
            return Response(call("read_file", path=section(request, "Task")))
        return await self.model.complete(request)


def agent(folder: Path, journal: SqliteJournal, role: str = "", nth: int = 0) -> Agent:
    def read_file(path: str) -> str:
        """Read a file."""
        with (folder / "read").open("a") as notes:
            notes.write(f"{path}\n")
        return path

    model = Deadly(folder / "notes", role, nth)
    return Agent(model, k=2, journal=journal, seed=36, minimal="model", validate="every", tools=[read_file])


async def live(folder: Path, role: str = "", nth: int = 0) -> AgentResult:
    journal = SqliteJournal(folder / "runs.db")
    heads = journal.heads()
    try:
        made = agent(folder, journal, role, nth)
        return await (made.resume(heads[0].id) if heads else made.run(TASK))
    finally:
        journal.close()


def one_life(folder: Path, role: str = "", nth: int = 0) -> dict[str, Any] | None:
    """Live in a child process; return what the run came to, or None if it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            done = asyncio.run(live(folder, role, nth)).to_dict()
            done = {name: done[name] for name in ("status", "answer", "tree", "error")} | {
                "steps": done["statistics"]["steps"]
            }
            (folder / "done.json").write_text(json.dumps(done))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return None if code else json.loads((folder / "done.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], set[str], list[str]]:
    """What a run came to that nobody disturbed, what it asked, and what its tools did."""
    folder = tmp_path_factory.mktemp("whole")
    done = one_life(folder)
    assert done is not None
    assert (done["status"], done["answer"]) == ("done", "55530")
    return done, set((folder / "notes").read_text().splitlines()), sorted((folder / "read").read_text().splitlines())


@pytest.mark.parametrize("role", ROLES.values())
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_while_any_role_is_asked_changes_nothing_and_no_tool_is_called_twice(
    role: str, nth: int, tmp_path: Path, whole: tuple[dict[str, Any], set[str], list[str]]
) -> None:
    expected, once, read = whole
    assert one_life(tmp_path, role, nth) is None, f"the run has no call {nth} of {role}"
    assert one_life(tmp_path) == expected
    assert set((tmp_path / "notes").read_text().splitlines()) == once
    assert sorted((tmp_path / "read").read_text().splitlines()) == read


async def test_two_agents_share_a_journal_and_two_never_share_a_run(tmp_path: Path) -> None:
    def _agent() -> Agent:
        return Agent("simulated_solver", k=2, journal=tmp_path / "runs.db")

    results = await asyncio.gather(_agent().run(TASK), _agent().run("Multiply 12 by 34."))
    assert [result.answer for result in results] == ["55530", "408"]
    small = Agent("simulated_solver", k=2, journal=tmp_path / "runs.db", budget_calls=3)
    stopped = await small.run(TASK)
    small.options["budget_calls"] = 1000
    again = await asyncio.gather(small.resume(stopped.run), small.resume(stopped.run), return_exceptions=True)
    assert sorted(type(one).__name__ for one in again) == sorted([AgentResult.__name__, RunBusy.__name__])
    assert [one.answer for one in again if isinstance(one, AgentResult)] == ["55530"]


async def test_one_agent_can_run_two_tasks_at_once() -> None:
    both = Agent("simulated_solver:solver=0.1", k=2, seed=1)
    results = await asyncio.gather(both.run(TASK), both.run("Multiply 12 by 34."))
    assert [result.answer for result in results] == ["55530", "408"]
    assert results[0].statistics.calls != results[1].statistics.calls
