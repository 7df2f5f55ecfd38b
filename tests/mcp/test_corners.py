"""Runs at their edges: too long to be shown, driven already, begun by programs, or by two clients at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client import Client
from mcp.shared.exceptions import MCPError

import mdap
from mdap.core.errors import UsageError
from mdap.mcp.allowed import Allowed
from mdap.mcp.pages import MOST_BYTES, listed, part_of, shortened, size_of
from mdap.mcp.server import made_server
from tests.mcp.support import Caller, answer_to, calling, desk_at, vote_to_the_end

GROWING = Allowed(tasks=("tests.mcp.own:Growing",))
LONG = "x" * 30_000


async def begun(call: Any, task: str = "hanoi:disks=3", **options: Any) -> str:
    run: str = (await call("run_start", task=task, model="client", **options))["run"]
    return run


async def answered(call: Any, run: str, answer: str) -> None:
    """Answer the one prompt of a run."""
    [prompt] = (await call("next_steps", run=run))["prompts"]
    await call("submit_votes", votes=[{"token": prompt["token"], "answer": answer}])


@given(st.text(max_size=200), st.integers(min_value=20, max_value=300))
def test_the_parts_of_a_text_are_the_text_and_none_is_too_long(text: str, most: int) -> None:
    parts, offset = [], 0
    while True:
        page = part_of(text, offset, most)
        parts.append(page["text"])
        assert size_of(page["text"]) <= most
        if "next_offset" not in page:
            break
        assert page["next_offset"] > offset
        offset = page["next_offset"]
    assert "".join(parts) == text


@pytest.mark.parametrize("offset", [-1, 4, 10**9])
def test_a_part_past_the_end_is_refused_with_the_length(offset: int) -> None:
    with pytest.raises(UsageError, match="is past the end") as caught:
        part_of("abc", offset)
    assert "3 characters" in caught.value.remedy


@given(st.lists(st.integers(min_value=0, max_value=9_000), max_size=20), st.integers(min_value=1, max_value=20))
def test_pages_of_items_hold_all_of_them_in_their_order(sizes: list[int], limit: int) -> None:
    items = [f"{place}:{'x' * size}" for place, size in enumerate(sizes)]
    shown: list[str] = []
    while True:
        page = listed(items[len(shown) :], len(shown), limit)
        shown += page["items"]
        assert len(page["items"]) <= limit
        assert size_of(page) < MOST_BYTES
        if "next_offset" not in page:
            break
        assert page["next_offset"] == len(shown)
    assert shown == items


def test_an_item_that_no_page_could_hold_is_shrunk_and_the_others_are_not() -> None:
    page = listed(["a", LONG, "b"], 0, 5, shrink=lambda item: shortened(item, 10))
    assert page == {"items": ["a", "xxxxxxxxx…", "b"], "offset": 0}


async def test_a_decision_a_report_and_a_step_too_long_to_be_shown_say_what_is_left_out(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", GROWING) as desk, Client(made_server(desk)) as client, calling(desk) as call:
        run = await begun(call, f"tests.mcp.own:Growing,steps=2,size={len(LONG)}", k=1, record="samples")
        await answered(call, run, LONG)
        await answered(call, run, LONG)
        assert (await call.ended(run))["status"] == "done"
        for step in await call.all_steps(run):
            assert "run_result(part='step')" in step["left_out"]
            assert "action" not in step

        async def _read(uri: str) -> Any:
            [contents] = (await client.read_resource(uri)).contents
            assert len(contents.text) <= MOST_BYTES  # type: ignore[union-attr]
            return json.loads(contents.text)  # type: ignore[union-attr]

        assert (await _read(f"mdap://runs/{run}"))["result"].startswith("left out: too long")
        step = await _read(f"mdap://runs/{run}/steps/1")
        assert step["action"].startswith("left out: too long")
        assert all(len(sample["text"]) <= 300 for sample in step["samples"])
        assert await call.whole_result(run) == LONG * 2


async def test_one_step_is_read_in_parts_and_one_that_is_not_decided_is_said(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, k=1)
        assert "step: part=step needs the number" in await call.error("run_result", run=run, part="step")
        assert "step: 0 is not decided" in await call.error("run_result", run=run, part="step", step=0)
        await vote_to_the_end(call, "hanoi:disks=3", run)
        page = await call("run_result", run=run, part="step", step=6)
        assert json.loads(page["text"])["step"] == 6
        assert "is past the end" in await call.error("run_result", run=run, offset=10_000)
        assert (await call("run_result", run=run, part="steps", offset=100))["items"] == []
        assert (await call("runs", offset=5))["items"] == []


async def test_a_step_that_waits_with_long_answers_is_listed_in_short(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", GROWING) as desk, calling(desk) as call:
        run = await begun(call, f"tests.mcp.own:Growing,steps=2,size={len(LONG)}", k=2, max_samples=2)
        await answered(call, run, LONG)
        await answered(call, run, LONG + "y")
        assert (await call.ended(run))["status"] == "undecided"
        [waiting] = (await call("inbox"))["items"]
        assert f"mdap://runs/{run}/steps/0" in waiting["left_out"]
        assert [one["votes"] for one in waiting["candidates"]] == [1, 1]
        where = {"run": run, "step": 0, "by": "Ann"}
        for wrong in ('{"action": 1, "else": 2}', "[1]", '{"next_state": 1}', '{"action": 1, "action": 2}'):
            assert "override" in await call.error("resolve", **where, override=wrong)
        acted = await call("resolve", **where, override=json.dumps({"action": "z" * len(LONG)}))
        assert acted["act"] == "override"
        await call("run_resume", run=run, max_samples=10)
        assert (await call("run_status", run=run))["steps"] == 1


async def test_a_run_that_is_driven_is_neither_taken_up_again_nor_resolved(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as one, calling(desk) as other:
        run = await begun(one)
        assert "is being driven by this server" in await other.error("run_resume", run=run)
        assert run in await other.error("resolve", run=run, step=0, by="me", k=3)
        assert (await one("run_status", run=run))["status"] == "running"
        await other("run_cancel", run=run)
        assert "is not driven by this server" in await one.error("run_cancel", run=run)


async def test_two_clients_vote_on_one_run_and_no_prompt_is_answered_twice(tmp_path: Path) -> None:
    task = "hanoi:disks=4"
    async with desk_at(tmp_path / "j.db") as desk:
        # One server for both, as over HTTP.
        server = made_server(desk)
        async with Client(server) as one, Client(server, mode="legacy") as other:
            calls = [Caller(one), Caller(other)]
            run = await begun(calls[0], task, k=3)
            answers = await asyncio.gather(*(vote_alone(call, task, run) for call in calls))
            status = await calls[1].ended(run)
        assert (status["status"], status["votes"], status["samples"]) == ("done", 45, 45)
        assert sum(answers) == 45
        assert min(answers) > 0


async def vote_alone(call: Any, task: str, run: str) -> int:
    """Take one prompt after another, as one of several clients, until the run is over; how many were answered."""
    taken = 0
    while True:
        handed = await call("next_steps", run=run, limit=1)
        if not handed["prompts"]:
            if handed["runs"][0]["status"] != "running":
                return taken
            continue
        [prompt] = handed["prompts"]
        told = await call("submit_votes", votes=[{"token": prompt["token"], "answer": answer_to(task, prompt)}])
        assert told["votes"][0]["outcome"] == "taken"
        taken += 1


async def test_a_cancel_while_votes_are_open_takes_their_prompts_back(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call)
        [prompt] = (await call("next_steps", run=run))["prompts"]
        assert (await call("next_steps", token=prompt["token"]))["messages"] == prompt["messages"]
        await call("run_cancel", run=run)
        vote = {"token": prompt["token"], "answer": answer_to("hanoi:disks=3", prompt)}
        told = await call("submit_votes", votes=[vote], next=3)
        assert told["votes"][0]["outcome"] == "not open any more"
        assert (told["prompts"], told["runs"][0]["status"]) == ([], "interrupted")
        assert "is not open" in await call.error("next_steps", token=prompt["token"])
        assert (await call("next_steps", run=run))["prompts"] == []


async def test_prompts_that_do_not_fit_into_one_answer_come_in_the_next(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", GROWING) as desk, calling(desk) as call:
        long_ones = [await begun(call, "tests.mcp.own:Growing,steps=2,size=11000", k=1) for _ in range(3)]
        for run in long_ones:
            await answered(call, run, "y" * 11_000)
        handed = [(await call("next_steps", limit=50))["prompts"] for _ in range(4)]
        assert [len(prompts) for prompts in handed] == [1, 1, 1, 0]
        assert {prompts[0]["run"] for prompts in handed[:3]} == set(long_ones)


async def test_nothing_is_begun_at_a_desk_that_is_being_left(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call)
        await desk.end()
        assert not desk.is_driving
        for tool, arguments in (
            ("run_start", {"task": "hanoi:disks=2", "model": "simulated:p=0.9"}),
            ("run_resume", {"run": run}),
            ("ask", {"prompt": "Which?", "model": "simulated:p=0.9", "one_of": ["a", "b"]}),
        ):
            assert "the server is closing" in await call.error(tool, **arguments), tool
        assert (await call("run_status", run=run))["status"] == "interrupted"
        assert [head.id for head in desk.journal.heads()] == [run]


async def test_a_plan_of_a_program_is_looked_at_but_gone_on_with_there(tmp_path: Path) -> None:
    def _says_no(step: object) -> str:
        return ""

    plan = await mdap.aio.plan("List these: a", "simulated_planner", check_step=_says_no, journal=tmp_path / "j.db")
    mapped = await mdap.aio.map(lambda row: "hanoi:disks=1", [1], "simulated:p=0.99", journal=tmp_path / "j.db")
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        assert "are checked by" in await call.error("run_resume", run=plan.run)
        assert "go on with it in its program" in await call.error("run_result", run=plan.run)
        assert (await call("run_status", run=plan.run))["status"] == plan.status
        for tool in ("run_resume", "run_result"):
            assert "is a map of rows" in await call.error(tool, run=mapped.run)
        with pytest.raises(MCPError, match="is a map of rows"):
            await call.client.read_resource(f"mdap://runs/{mapped.run}/steps/0")
        [contents] = (await call.client.read_resource(f"mdap://runs/{mapped.run}")).contents
        assert json.loads(contents.text)["status"] == mapped.status  # type: ignore[union-attr]
        assert (await call("runs"))["total"] == 2


async def test_a_plan_with_a_model_that_clients_may_not_use_is_not_gone_on_with(tmp_path: Path) -> None:
    own = Allowed(models=("tests.mcp.own:says_blue",))
    async with desk_at(tmp_path / "j.db", own) as desk, calling(desk) as call:
        run = (await call("run_start", prompt="Do it", model="tests.mcp.own:says_blue", k=1, max_samples=3))["run"]
        assert (await call.ended(run))["status"] in ("undecided", "stopped")
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        assert "'tests.mcp.own:says_blue' is not allowed here" in await call.error("run_resume", run=run)


async def test_a_calibration_asks_one_model_no_more_than_it_may_and_is_given_up_in_good_order(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", Allowed(models=("tests.mcp.own:Sleepy",))) as desk:
        async with Client(made_server(desk)) as client:
            asked = {"task": "hanoi:disks=2", "models": ["tests.mcp.own:Sleepy"], "samples": 5}
            asking = asyncio.ensure_future(client.call_tool("calibrate", asked))
            async with asyncio.timeout(30):
                while not desk.is_driving:  # noqa: ASYNC110 (as a client does)
                    await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.wait([asking])
            async with asyncio.timeout(30):
                while desk.is_driving:  # noqa: ASYNC110 (as a client does)
                    await asyncio.sleep(0.01)
        assert not desk.journal.heads()
