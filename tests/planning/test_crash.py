"""Planning and carrying out is killed in each of its phases, and gone on with: nothing shows of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mdap import aio
from mdap.core.records import Request, Response
from mdap.doing import Execution
from mdap.journal.sqlite import SqliteJournal
from mdap.models import simulated_planner

TASK = "Put these words on lines of their own: alpha, beta, gamma"
PHASES = {"planning": "Propose", "plan_voting": "Judge whether the proposed", "execution": "Carry out"}
PHASES["execution_voting"] = "Judge whether a change"


class Deadly:
    """A planner that notes each draw in a file; the process dies at the n-th call of a phase, before it is answered."""

    spec = "deadly"

    def __init__(self, notes: Path, phase: str = "", nth: int = 0) -> None:
        self.notes, self.phase, self.nth = notes, phase, nth
        self.seen = 0
        self.model = simulated_planner(p=0.7, judge=0.75, seed=1)

    async def complete(self, request: Request) -> Response:
        draw, text = request.draw, request.messages[-1].content
        with self.notes.open("a") as notes:
            notes.write(f"{draw.item} {draw.step} {draw.slot} {draw.redraw}\n")
        if self.phase and text.startswith(PHASES[self.phase]):
            self.seen += 1
            if self.seen == self.nth:
                # What was decided before has had time to become durable.
                await asyncio.sleep(0.1)
                os.kill(os.getpid(), signal.SIGKILL)
        return await self.model.complete(request)


def one_life(folder: Path, phase: str = "", nth: int = 0) -> dict[str, Any] | None:
    """Live in a child process; return what the run came to, or None if it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            done = asyncio.run(live(folder, phase, nth))
            (folder / "done.json").write_text(json.dumps({"state": done.state, "steps": done.to_dict()["steps"]}))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return None if code else json.loads((folder / "done.json").read_text())


async def live(folder: Path, phase: str, nth: int) -> Execution:
    journal = SqliteJournal(folder / "runs.db")
    heads = journal.heads()
    try:
        model = Deadly(folder / "notes", phase, nth)
        return await aio.do(TASK, model, k=2, journal=journal, run=heads[0].id if heads else None)
    finally:
        journal.close()


def asked(folder: Path) -> list[str]:
    return (folder / "notes").read_text().splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """What a run came to that nobody disturbed, and what it asked."""
    folder = tmp_path_factory.mktemp("whole")
    done = one_life(folder)
    assert done is not None
    assert done["state"] == "alpha\nbeta\ngamma"
    return done, asked(folder)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_in_any_phase_changes_nothing_and_costs_at_most_the_open_ballot(
    phase: str, nth: int, tmp_path: Path, whole: tuple[dict[str, Any], list[str]]
) -> None:
    expected, once = whole
    assert one_life(tmp_path, phase, nth) is None, f"the run has no call {nth} of {phase}"
    before = asked(tmp_path)
    assert one_life(tmp_path) == expected
    again = asked(tmp_path)[len(before) :]
    assert set(before) | set(again) == set(once)
    steps_again = {tuple(line.split()[:2]) for line in before} & {tuple(line.split()[:2]) for line in again}
    # Branches do not overlap here: the ballot that was open is all that is asked again.
    assert steps_again == {tuple(before[-1].split()[:2])}
