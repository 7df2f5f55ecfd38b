"""Long runs by tools: begun at once, read in pages, ended, taken up again, by whichever server or command is there."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.journal import open_journal
from mdap.mcp.allowed import Allowed
from mdap.models.scripted import scripted
from tests.mcp.support import ERAS, calling, desk_at, vote_to_the_end

SIMULATED = "simulated:p=0.9,seed=3"


@pytest.mark.parametrize("era", ERAS)
async def test_a_run_is_begun_at_once_and_read_when_it_is_done(era: str, tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk, era) as call:
        assert call.client.protocol_version == ERAS[era]
        begun = await call("run_start", task="hanoi:disks=6", model=SIMULATED, k=4, seed=7)
        assert begun["status"] == "running"
        status = await call.ended(begun["run"])
        assert (status["status"], status["steps"], status["total"]) == ("done", 63, 63)
        assert await call.whole_result(begun["run"]) == [[[], [], [6, 5, 4, 3, 2, 1]], [1, 1, 2]]
        steps = await call.all_steps(begun["run"])
        assert [step["step"] for step in steps] == list(range(63))


async def test_it_is_the_run_that_the_library_makes_with_the_same_seed(tmp_path: Path) -> None:
    alone = mdap.run("hanoi:disks=5", SIMULATED, k=3, seed=7)
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=5", model=SIMULATED, k=3, seed=7)
        await call.ended(begun["run"])
        assert await call.all_steps(begun["run"]) == list(alone.export())


async def test_a_cancelled_run_leaves_no_call_in_flight_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=6", model="simulated:p=0.99,latency=0.002", k=3)
        run = begun["run"]
        await call.until(run, lambda status: status["steps"] > 5)
        live = desk.live[run]
        stopped = await call("run_cancel", run=run)
        assert stopped["status"] == "interrupted"
        assert live.progress.in_flight == 0
        assert run not in desk.live
        assert "not driven by this server" in await call.error("run_cancel", run=run)
        decided = stopped["steps"]
        assert (await call("run_resume", run=run))["status"] == "running"
        status = await call.ended(run)
        assert (status["status"], status["steps"]) == ("done", 63)
        assert 5 < decided < 63


async def test_a_budget_ends_a_run_and_a_larger_one_takes_it_up(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=4", model=SIMULATED, budget_calls=20)
        status = await call.ended(begun["run"])
        assert status["status"] == "budget"
        assert status["samples"] <= 20
        assert "larger budget" in status["next"]
        await call("run_resume", run=begun["run"], budget_calls=10_000)
        assert (await call.ended(begun["run"]))["status"] == "done"


async def test_a_server_that_ends_loses_nothing_and_another_goes_on(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=6", model="simulated:p=0.99,latency=0.002", k=3)
        run = begun["run"]
        await call.until(run, lambda status: status["steps"] > 5)
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        [listed] = (await call("runs"))["items"]
        assert (listed["run"], listed["status"]) == (run, "interrupted")
        assert listed["steps"] > 5
        await call("run_resume", run=run)
        assert (await call.ended(run))["status"] == "done"


async def test_runs_of_the_command_line_and_of_clients_are_the_same_runs(tmp_path: Path) -> None:
    of_library = await mdap.aio.run("hanoi:disks=3", SIMULATED, journal=tmp_path / "j.db")
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=3", model=SIMULATED)
        await call.ended(begun["run"])
        listed = await call("runs", limit=1)
        assert listed["items"][0]["run"] == begun["run"]
        assert (await call("runs", offset=listed["next_offset"]))["items"][0]["run"] == of_library.run
        assert await call.all_steps(of_library.run) == list(of_library.export())
    journal = open_journal(tmp_path / "j.db")
    assert {head.id for head in journal.heads()} == {begun["run"], of_library.run}
    journal.close()


async def test_a_run_of_a_task_that_was_not_allowed_is_listed_but_not_read(tmp_path: Path) -> None:
    spec = "tests.mcp.own:Counting"
    await mdap.aio.run(spec, scripted(lambda _: "1"), k=1, journal=tmp_path / "j.db", max_steps=1)
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        [listed] = (await call("runs"))["items"]
        assert listed["task"].startswith(spec)
        assert "is not allowed here" in await call.error("run_result", run=listed["run"])
    async with desk_at(tmp_path / "j.db", Allowed(tasks=(spec,))) as desk, calling(desk) as call:
        assert await call.whole_result(listed["run"]) == 1


async def test_the_rule_of_a_stored_run_is_not_imported_either(tmp_path: Path) -> None:
    result = await mdap.aio.run("hanoi:disks=2", SIMULATED, rule="tests.mcp.own:AnyVote", journal=tmp_path / "j.db")
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        assert (await call("run_status", run=result.run))["rule"] == "tests.mcp.own:AnyVote"
        for tool in ("run_result", "run_resume"):
            assert "'tests.mcp.own:AnyVote' is not allowed here" in await call.error(tool, run=result.run)
        told = await call.error("resolve", run=result.run, step=0, by="me", k=3)
        assert "'tests.mcp.own:AnyVote' is not allowed here" in told


async def test_a_server_whose_model_is_the_client_needs_no_key_and_no_word_of_it(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", Allowed(model="client")) as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=2", k=1)
        assert begun["model"] == "client"
        assert await vote_to_the_end(call, "hanoi:disks=2", begun["run"]) == 3


async def test_a_question_is_a_run_of_its_own(tmp_path: Path) -> None:
    allowed = Allowed(models=("tests.mcp.own:says_blue",))
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        asked = {"question": "Which?", "one_of": ["red", "blue"], "model": "tests.mcp.own:says_blue"}
        begun = await call("run_start", **asked)
        await call.ended(begun["run"])
        assert await call.whole_result(begun["run"]) == {"answer": "blue"}


@pytest.mark.slow
async def test_long_texts_and_many_steps_come_in_pages_that_no_client_cuts(tmp_path: Path) -> None:
    allowed = Allowed(tasks=("tests.mcp.own:Growing",))
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        begun = await call(
            "run_start", task="tests.mcp.own:Growing,steps=40,size=900", model="client", k=1, record="none"
        )
        handed = await call("next_steps", run=begun["run"])
        while handed["prompts"]:
            [prompt] = handed["prompts"]
            handed = await call("submit_votes", votes=[{"token": prompt["token"], "answer": 'ü\n"' * 300}], next=1)
        assert (await call.ended(begun["run"]))["status"] == "done"
        assert await call.whole_result(begun["run"]) == 'ü\n"' * 300 * 40
        steps = await call.all_steps(begun["run"])
        assert [step["step"] for step in steps] == list(range(40))
        late = steps[-1]
        assert late.get("next_state", "left out") is not None
        page = await call("run_result", run=begun["run"], part="step", step=39)
        assert page["next_offset"] > 0


@pytest.mark.slow
async def test_a_client_that_waits_a_minute_and_reads_25000_tokens_sees_a_long_run_through(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=12", model="simulated:p=0.98", k=3)
        assert (await call.ended(begun["run"]))["steps"] == 4095
        assert len(await call.all_steps(begun["run"])) == 4095
        # `Caller` holds every answer to 25,000 bytes.
        assert call.slowest < 1.0


@pytest.mark.slow
async def test_status_and_pages_come_at_once_while_a_run_computes(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=14", model="simulated:p=0.98", k=3)
        for _ in range(20):
            await call("run_status", run=begun["run"])
            await call("run_result", run=begun["run"], part="steps", limit=5)
            await call("runs")
        assert begun["run"] in desk.live, "the run was over before anything could be said of it"
        assert call.slowest < 1.0
        await call("run_cancel", run=begun["run"])


async def test_no_more_runs_are_driven_at_once_than_the_owner_allows(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", most=2) as desk, calling(desk) as call:
        begun = [await call("run_start", task="hanoi:disks=3", model="client") for _ in range(2)]
        refused = await call.error("run_start", task="hanoi:disks=3", model="client")
        assert "2 runs are being driven already" in refused
        await call("run_cancel", run=begun[0]["run"])
        await call("run_start", task="hanoi:disks=3", model="client")


async def test_a_bug_in_one_run_ends_no_other(tmp_path: Path) -> None:
    allowed = Allowed(models=("tests.mcp.own:Broken",))
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        whole = await call("run_start", task="hanoi:disks=2", model="client", k=1)
        is_error, text = await call.raw("run_start", task="hanoi:disks=2", model="tests.mcp.own:Broken")
        if not is_error:
            assert (await call.ended(json.loads(text)["run"]))["status"] != "done"
        assert await vote_to_the_end(call, "hanoi:disks=2", whole["run"]) == 3
        assert (await call.ended(whole["run"]))["status"] == "done"


async def test_two_clients_with_settings_of_their_own_do_not_meet(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as one, calling(desk, "legacy") as other:
        started = await asyncio.gather(
            one("run_start", task="hanoi:disks=4", model=SIMULATED, k=2, seed=1, max_samples=50),
            other("run_start", task="hanoi:disks=4", model=SIMULATED, k=5, seed=2, max_samples=70),
        )
        await one.ended(started[0]["run"])
        await other.ended(started[1]["run"])
        heads = {head.id: head for head in desk.journal.heads()}
        kept = [(heads[run["run"]].rule, heads[run["run"]].settings["max_samples"]) for run in started]
        assert kept == [("ahead_by_k:2", 50), ("ahead_by_k:5", 70)]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"tusk": "hanoi"}, "tusk"),
        ({"task": "hanoi", "k": "many"}, "k"),
        ({"task": "hanoi", "k": 0}, "k"),
        ({"task": "hanoi", "k": True}, "k"),
        ({"task": "hanoi", "temperature": False}, "temperature"),
        ({"task": "hanoi", **{f"{place}{'x' * 1000}": 1 for place in range(100)}}, "and 9"),
        ({"task": "hanoi", "k": 2, "rule": "first_to_k:3"}, "k=2"),
        ({"task": "hanoi", "budget_calls": 10**30}, "budget_calls"),
        ({"task": "hanoi", "budget_usd": "much"}, "budget_usd"),
        ({"task": "hanoi:disks=1000"}, "disks"),
        ({"task": "hanoi", "question": "both?"}, "task, question"),
        ({"task": {"nested": []}}, "task"),
        ({"task": "hanoi", "remedies": ["model:os:system"]}, "model"),
        ({"task": "hanoi", "model": "openai:x,base_url=http://127.0.0.1:1"}, "base_url"),
        ({"task": "hanoi", "model": "openai:x,record_http=/etc/passwd"}, "record_http"),
        ({"task": "hanoi", "model": "openai:x + os:system"}, "model"),
        ({"task": "os:system"}, "task"),
        ({"task": "hanoi", "rule": "this:s"}, "rule"),
        ({"task": "hanoi", "rule": "nobody:3"}, "rule"),
        ({"task": "tests.mcp.own:Counting"}, "task"),
    ],
)
async def test_what_cannot_be_run_is_an_error_that_names_the_argument(arguments: dict[str, Any], field: str) -> None:
    async with desk_at(None) as desk, calling(desk) as call:
        assert field in await call.error("run_start", **{"model": SIMULATED, **arguments})
        assert not desk.journal.heads()
        assert (await call("runs"))["total"] == 0


@pytest.mark.parametrize(
    "run", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "", "x" * 5000, "\0", "run\n", "%2e%2e"]
)
async def test_an_id_that_is_none_is_refused_before_anything_looks_for_it(run: str) -> None:
    async with desk_at(None) as desk, calling(desk) as call:
        for tool in ("run_status", "run_result", "run_cancel", "run_resume"):
            assert "run" in await call.error(tool, run=run)
        assert "run" in await call.error("next_steps", run=run)
        assert "run" in await call.error("resolve", run=run, step=0, by="me", k=3)


async def test_no_name_that_a_client_gives_is_imported() -> None:
    # `this` prints a poem when it is imported; nobody else does that here.
    sys.modules.pop("this", None)
    async with desk_at(None) as desk, calling(desk) as call:
        named: list[dict[str, Any]] = [
            {"task": "this:s"},
            {"task": "hanoi", "model": "this:s"},
            {"task": "hanoi", "model": "simulated:p=0.9 + this:s"},
            {"task": "hanoi", "model": "simulated:p=0.9 | this:s"},
            {"task": "hanoi", "rule": "this:s"},
            {"task": "hanoi", "remedies": ["model:this:s"]},
            {"prompt": "Do it", "model": "this:s"},
            {"question": "Well?", "model": "this:s"},
        ]
        for arguments in named:
            await call.error("run_start", **{"model": SIMULATED, **arguments})
        await call.error("calibrate", task="this:s", models=[SIMULATED])
        await call.error("calibrate", task="hanoi", models=["this:s"])
        await call.error("ask", prompt="Well?", model="this:s")
        await call.error("ask", prompt="Well?", model=SIMULATED, rule="this:s")
    assert "this" not in sys.modules
