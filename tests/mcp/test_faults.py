"""A server whose journal takes nothing more: what is refused says so, and points at no run that is not there."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mdap.journal.sqlite import SqliteJournal
from mdap.mcp.allowed import Allowed
from mdap.mcp.desk import Desk
from tests.mcp.processes import MDAP
from tests.mcp.support import Caller, answer_to, calling, vote_to_the_end

ALLOWED = Allowed(models=("tests.mcp.own:says_blue",))
BEGINNINGS: list[dict[str, Any]] = [
    {"task": "hanoi:disks=2", "model": "simulated:p=0.9"},
    {"question": "Which?", "model": "tests.mcp.own:says_blue"},
    {"prompt": "List these: a, b", "model": "simulated_planner"},
    {"solve": "Multiply 3 by 4.", "model": "simulated_solver"},
]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program that has the journal locked, and does not let go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("arguments", BEGINNINGS, ids=lambda arguments: next(iter(arguments)))
async def test_a_run_that_could_not_be_kept_is_begun_anew_and_not_gone_on_with(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "j.db"
    with closing(SqliteJournal(path, timeout=0.05)) as journal:
        async with Desk(journal, ALLOWED) as desk, calling(desk) as call:
            assert (await call("runs"))["total"] == 0
            # It has to be there before it can be locked.
            begun = await call("run_start", **BEGINNINGS[0])
            await call.ended(begun["run"])
            with locked(path):
                told = await call.error("run_start", **arguments)
            assert "stayed locked by another program" in told
            assert "start again" in told
            assert "resume" not in told
            assert [head.id for head in journal.heads()] == [begun["run"]]
            # Once it is let go of, what was refused is begun.
            again = await call("run_start", **arguments)
            assert (await call.ended(again["run"]))["status"] == "done"


@pytest.mark.parametrize("arguments", BEGINNINGS[::2], ids=lambda arguments: next(iter(arguments)))
async def test_a_run_that_is_there_and_cannot_be_taken_up_is_named_in_what_to_do(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "j.db"
    with closing(SqliteJournal(path, timeout=0.05)) as journal:
        async with Desk(journal, ALLOWED) as desk, calling(desk) as call:
            run = (await call("run_start", **arguments, budget_calls=5))["run"]
            assert (await call.ended(run))["status"] == "budget"
            with locked(path):
                is_error, told = await call.raw("run_resume", run=run, budget_calls=1_000)
                # A write may be refused once the run is on its way: then the run says what to do.
                said = told if is_error else (await call.ended(run))["next"]
            assert f"run_resume(run='{run}'" in said


async def fail_once(call: Caller, path: Path) -> str:
    """The id of a run whose one decision could not be written, and that has ended of it."""
    run: str = (await call("run_start", task="hanoi:disks=2", model="client", k=1))["run"]
    [prompt] = (await call("next_steps", run=run))["prompts"]
    with locked(path):
        await call("submit_votes", votes=[{"token": prompt["token"], "answer": answer_to("hanoi:disks=2", prompt)}])
        await call.raw("run_cancel", run=run)
        assert (await call.ended(run))["steps"] == 0
    return run


async def test_a_server_whose_journal_failed_once_goes_on_as_soon_as_it_can_write(tmp_path: Path) -> None:
    again = partial(SqliteJournal, tmp_path / "j.db", timeout=0.05)
    desk = Desk(again(), ALLOWED, again=again)
    async with desk, calling(desk) as call:
        first = desk.journal
        other = (await call("run_start", task="hanoi:disks=2", model="client", k=1))["run"]
        run = await fail_once(call, tmp_path / "j.db")
        # As long as another is driven, nothing is put in place of the journal that it writes to.
        refused = await call.raw("run_resume", run=run)
        assert desk.journal is first, refused
        await call.raw("run_cancel", run=other)
        await call.ended(other)
        for name in (run, other):
            taken_up = await call("run_resume", run=name)
            assert (taken_up["status"], taken_up["steps"]) == ("running", 0)
            assert await vote_to_the_end(call, "hanoi:disks=2", name) == 3
            assert (await call.ended(name))["status"] == "done"
        assert desk.journal is not first
    desk.journal.close()


async def test_a_journal_that_cannot_be_opened_anew_is_said_and_nothing_is_begun(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.db", timeout=0.05)
    async with Desk(journal, ALLOWED, again=partial(SqliteJournal, tmp_path)) as desk, calling(desk) as call:
        run = await fail_once(call, tmp_path / "j.db")
        assert "is a folder" in await call.error("run_start", **BEGINNINGS[0])
        assert "is a folder" in await call.error("run_resume", run=run)
        assert [head.id for head in desk.journal.heads()] == [run]
    journal.close()


@pytest.mark.slow
async def test_on_a_full_disk_nothing_is_begun_and_what_there_is_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    # No file of this process may have more than 200 blocks of 512 bytes: to it that is a disk that is full.
    words = ["-c", f'ulimit -f 200; exec {" ".join(MDAP)} --journal "$0"', str(path)]
    async with Client(stdio_client(StdioServerParameters(command="sh", args=words))) as client:
        call = Caller(client)
        begun: list[str] = []
        while True:
            is_error, told = await call.raw("run_start", **BEGINNINGS[len(begun) % 2 * 2], seed=len(begun))
            if is_error:
                break
            begun.append(re.findall(r'"run":"([^"]+)"', told)[0])
            await call.ended(begun[-1])
        assert begun
        assert "start again" in told
        assert "resume" not in told
        listed = await call("runs")
        assert listed["total"] == len(begun)
        assert (await call("run_status", run=begun[0]))["status"] == "done"
        assert await call.whole_result(begun[0]) == [[[], [], [2, 1]], [1, 1, 2]]
