"""A desk on a thread of its own, with clients on another: the same answers, ends and errors as on one thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

import mdap
from mdap.core.errors import JournalError, UsageError
from mdap.mcp.allowed import Allowed
from mdap.mcp.apart import apart
from mdap.mcp.desk import Desk
from mdap.mcp.server import made_server
from mdap.mcp.serving import opened
from tests.mcp.own import Sleepy
from tests.mcp.support import ERAS, calling, desk_at, vote_to_the_end

TASK = "hanoi:disks=3"
PLANNER = Allowed(model="simulated_planner:p=0.9,judge=0.9")


@asynccontextmanager
async def desk_apart(path: Path, allowed: Allowed | None = None, **options: Any) -> AsyncIterator[Desk]:
    """Give a desk whose loop is another than that of the test."""
    async with apart(partial(opened, path, allowed or Allowed(), **options)) as desk:
        yield desk


@pytest.mark.parametrize("era", ERAS)
async def test_votes_of_a_client_are_taken_across_threads_as_on_one(era: str, tmp_path: Path) -> None:
    async with desk_apart(tmp_path / "j.db") as desk, calling(desk, era) as call:
        run = (await call("run_start", task=TASK, model="client", k=2))["run"]
        assert await vote_to_the_end(call, TASK, run) == 14
        assert (await call.ended(run))["status"] == "done"
        steps = await call.all_steps(run)
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        assert await call.all_steps(run) == steps


async def test_a_run_is_driven_on_the_thread_of_the_desk_and_a_look_at_it_is_not(tmp_path: Path) -> None:
    threads: list[str] = []
    async with desk_apart(tmp_path / "j.db") as desk:

        async def _where() -> str:
            return threading.current_thread().name

        threads += [await desk.at(_where()), await desk.there(_where)()]
        assert all(name.startswith("mdap-runs") for name in threads)
        assert await _where() == threading.current_thread().name
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mdap-runs")]


async def test_progress_comes_across_word_for_word_and_in_its_order(tmp_path: Path) -> None:
    heard: list[list[tuple[float, str]]] = []

    async def _hear(progress: float, total: float | None, message: str | None) -> None:
        heard[-1].append((progress, message or ""))

    asked = {"prompt": "List these: a, b, c", "k": 3}
    for made in (desk_at, desk_apart):
        heard.append([])
        async with made(tmp_path / f"{len(heard)}.db", PLANNER) as desk, Client(made_server(desk)) as client:
            result = await client.call_tool("maker_plan_and_execute", asked, progress_callback=_hear)
            assert result.content[0].text == "a\nb\nc"  # type: ignore[union-attr]
    assert heard[0] == heard[1]
    assert [counter for counter, _ in heard[1]] == list(range(1, len(heard[1]) + 1))
    assert json.loads(heard[1][-1][1]) == {"Type": "state_changed", "Data": "a\nb\nc"}


async def test_a_question_that_is_given_up_ends_its_calls_in_flight_over_there(tmp_path: Path) -> None:
    Sleepy.asleep = 0
    allowed = Allowed(model="tests.mcp.own:Sleepy")
    async with (
        desk_apart(tmp_path / "j.db", allowed) as desk,
        Client(made_server(desk)) as client,
        calling(desk) as call,
    ):
        asking = asyncio.ensure_future(client.call_tool("ask", {"prompt": "Well?"}))
        async with asyncio.timeout(30):
            while not Sleepy.asleep:  # noqa: ASYNC110 (as a client does)
                await asyncio.sleep(0.01)
        [listed] = (await call("runs"))["items"]
        asking.cancel()
        await asyncio.wait([asking])
        assert (await call.ended(listed["run"]))["status"] == "interrupted"
        assert Sleepy.asleep == 0


async def test_errors_come_across_as_what_they_are(tmp_path: Path) -> None:
    async with desk_apart(tmp_path / "j.db", most=1) as desk, calling(desk) as call:
        assert "task, question, prompt, solve" in await call.error("run_start", model="simulated:p=0.9")
        assert "no id of a run" in await call.error("run_result", run="../x")
        run = (await call("run_start", task=TASK, model="client"))["run"]
        assert "1 runs are being driven already" in await call.error("run_start", task=TASK, model="client")
        assert (await call("run_cancel", run=run))["status"] == "interrupted"
        assert (await call("run_resume", run=run))["status"] == "running"
        with pytest.raises(MCPError):
            await call.client.read_resource(f"mdap://runs/{run}/steps/7")


async def test_runs_end_in_good_order_when_the_desk_is_left(tmp_path: Path) -> None:
    async with desk_apart(tmp_path / "j.db") as desk, calling(desk) as call:
        run = (await call("run_start", task="hanoi:disks=9", model="simulated:p=0.99,latency=0.002"))["run"]
        await call.until(run, lambda status: status["steps"] > 3)
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        status = await call("run_status", run=run)
        assert (status["status"], status["reason"]) == ("interrupted", "interrupted")


async def test_what_opening_or_leaving_a_desk_raises_is_raised_where_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is a folder"):
        async with desk_apart(tmp_path):
            raise AssertionError("it was opened")

    @asynccontextmanager
    async def _broken() -> AsyncIterator[Desk]:
        async with opened(tmp_path / "j.db", Allowed()) as desk:
            yield desk
        raise JournalError("something was lost")

    with pytest.raises(JournalError, match="something was lost"):
        async with apart(_broken):
            pass
    with pytest.raises(UsageError, match="mine"):
        async with desk_apart(tmp_path / "j.db"):
            raise UsageError("mine")


@pytest.mark.parametrize("made", [desk_at, desk_apart])
async def test_code_that_exits_when_a_run_is_read_ends_no_server(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = Allowed(tasks=("tests.mcp.own:Mined",))
    done = await mdap.aio.run("tests.mcp.own:Mined", "tests.mcp.own:counts", k=1, journal=tmp_path / "j.db")
    assert done.status == "done"
    async with made(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        assert await call.whole_result(done.run) == 3
        monkeypatch.setenv("MINED", "yes")
        assert "asked to exit" in await call.error("run_result", run=done.run)
        with pytest.raises(MCPError):
            await call.client.read_resource(f"mdap://runs/{done.run}")
        assert (await call("run_status", run=done.run))["status"] == "done"
        monkeypatch.delenv("MINED")
        assert await call.whole_result(done.run) == 3
