"""Questions, figures and what waits for a person, by tools; reports and steps as resources; prompts that teach."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

import mdap
from mdap.mcp.allowed import Allowed
from mdap.mcp.server import made_server
from mdap.tools import Toolbox
from tests.mcp.own import Sleepy
from tests.mcp.support import ERAS, calling, desk_at
from tests.tool_support import Clerk, Order

BLUE = Allowed(model="tests.mcp.own:says_blue")


@pytest.mark.parametrize("era", ERAS)
async def test_one_question_is_answered_by_votes_with_progress_that_rises(era: str, tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []

    async def _hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message or ""))

    async with desk_at(tmp_path / "j.db", BLUE) as desk, Client(made_server(desk), mode=era) as client:
        asked = {"prompt": "Which?", "one_of": ["red", "blue"], "k": 4}
        result = await client.call_tool("ask", asked, progress_callback=_hear)
        answer = json.loads(result.content[0].text)  # type: ignore[union-attr]
        assert (answer["answer"], answer["decided"], answer["samples"]) == ("blue", True, 4)
        assert answer["ballot"] == [{"value": "blue", "votes": 4}]
        counters = [progress for progress, _ in heard]
        assert counters
        assert counters == sorted(set(counters))
        assert heard[-1][1] == "4 samples, 0 red flags"
        assert [head.id for head in desk.journal.heads()] == [answer["run"]]


async def test_answers_are_ranked_and_weighed_as_on_the_command_line(tmp_path: Path) -> None:
    allowed = Allowed(models=("tests.mcp.own:ranks", "tests.mcp.own:says_blue"))
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        colours = ["red", "green", "blue"]
        ranked = {"prompt": "Rank them", "ranking": colours, "model": "tests.mcp.own:ranks"}
        answer = await call("ask", **ranked, rule="borda:5")
        assert (answer["answer"], answer["rule"].partition(":")[0]) == ("blue", "borda")
        assert "one format" in await call.error("ask", **ranked, one_of=colours)
        weighed = {"prompt": "Which?", "model": "tests.mcp.own:says_blue", "rule": "log_odds:0.9,steps=1"}
        assert "weighs votes" in await call.error("ask", **weighed)
        answer = await call("ask", **weighed, confidence="text")
        assert answer["answer"] == "blue"
        [head] = [head for head in desk.journal.heads() if head.id == answer["run"]]
        assert head.settings["confidence"] == "text"
        assert "confidence" in await call.error("ask", **weighed, confidence="dreams")
        begun = await call("run_start", question="Which?", **{**weighed, "prompt": None}, confidence="text")
        assert (await call.ended(begun["run"]))["status"] == "done"


async def test_an_answer_that_is_not_decided_is_absent(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db", BLUE) as desk, calling(desk) as call:
        answer = await call("ask", prompt="Which?", one_of=["red", "green"])
        assert "answer" not in answer
        assert answer["flags"]
        waiting = await call("inbox")
        assert waiting["total"] == 1


async def test_an_answer_too_long_to_be_read_is_said_to_be_left_out_and_read_in_pages(tmp_path: Path) -> None:
    allowed = Allowed(model="tests.mcp.own:says_much")
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        answer = await call("ask", prompt="Tell me", k=2)
        assert answer["answer"].startswith("left out: too long")
        assert (await call.whole_result(answer["run"]))["answer"] == "much " * 10_000


async def test_a_question_that_is_cancelled_ends_its_calls_in_flight(tmp_path: Path) -> None:
    Sleepy.asleep = 0
    allowed = Allowed(model="tests.mcp.own:Sleepy")
    async with desk_at(tmp_path / "j.db", allowed) as desk, Client(made_server(desk)) as client:
        asking = asyncio.ensure_future(client.call_tool("ask", {"prompt": "Well?"}))
        while Sleepy.asleep < 3:  # noqa: ASYNC110 (it happens elsewhere)
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        async with asyncio.timeout(5):
            while Sleepy.asleep:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            while desk.live:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        [head] = desk.journal.heads()
        assert desk.standing(head.id).book.status == "interrupted"


async def test_a_question_to_the_client_itself_needs_a_run(tmp_path: Path) -> None:
    async with desk_at(None) as desk, calling(desk) as call:
        assert "run_start(question=" in await call.error("ask", prompt="Which?", model="client")
        assert "rule" in await call.error("ask", prompt="Which?", model="simulated:p=0.9", rule="this:s")
        assert "model: none is named" in await call.error("ask", prompt="Which?")
        assert "prompt" in await call.error("ask", prompt=" ", model="simulated:p=0.9")
        assert "schema" in await call.error("ask", prompt="Which?", schema="no object", model="simulated:p=0.9")


async def test_figures_come_before_anything_is_paid() -> None:
    async with desk_at(None) as desk, calling(desk) as call:
        found = await call(
            "estimate", p=0.99, steps=1_000_000, price_in=1.0, price_out=2.0, tokens_in=500, tokens_out=50
        )
        assert found["k_min"] == 4
        assert found["table"][0]["k"] == 1
        assert "p=0.4" in await call.error("estimate", p=0.4, steps=10)
        assert "steps" in await call.error("estimate", p=0.9, steps=-1)
        assert "p:" in await call.error("estimate", p="often", steps=10)


async def test_a_calibration_finds_k_or_says_that_voting_cannot_help() -> None:
    async with desk_at(None) as desk, calling(desk) as call:
        found = await call("calibrate", task="hanoi:disks=5", models=["simulated:p=0.9"], samples=300, seed=1)
        assert found["models"][0]["model"] == "simulated:p=0.9"
        assert "p" in json.dumps(found["models"][0]["kinds"])
        # As some clients write a list.
        again = await call("calibrate", task="hanoi:disks=5", models='["simulated:p=0.9"]', samples=300, seed=1)
        assert again == found
        assert "models" in await call.error("calibrate", task="hanoi:disks=5", models=["client"])
        assert "models" in await call.error("calibrate", task="hanoi:disks=5", models=[])
        assert "not allowed" in await call.error("calibrate", task="os:system", models=["simulated:p=0.9"])


async def test_a_step_that_waits_is_decided_by_whoever_says_so_and_the_run_goes_on(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        begun = await call("run_start", task="hanoi:disks=2", model="client", k=2, max_samples=2)
        for answer in (
            "move = [1, 0, 1]\nnext_state = [[2], [1], []]",
            "move = [1, 0, 2]\nnext_state = [[2], [], [1]]",
        ):
            [prompt] = (await call("next_steps", run=begun["run"]))["prompts"]
            await call("submit_votes", votes=[{"token": prompt["token"], "answer": answer}])
        assert (await call.ended(begun["run"]))["status"] == "undecided"
        [waiting] = (await call("inbox", run=begun["run"]))["items"]
        right = next(one for one in waiting["candidates"] if one["action"] == [1, 0, 1])
        where = {"run": begun["run"], "step": 0, "by": "Ann"}
        assert "say one thing" in await call.error("resolve", **where)
        assert "override" in await call.error("resolve", **where, override="{")
        assert "by" in await call.error("resolve", run=begun["run"], step=0, accept=right["key"])
        acted = await call("resolve", **where, accept=right["key"])
        assert acted["by"] == "Ann"
        assert (await call("inbox"))["total"] == 0
        assert (await call("run_resume", run=begun["run"], max_samples=10))["steps"] == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_report_and_a_contested_step_are_resources(era: str, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    result = await mdap.aio.run("hanoi:disks=6", "simulated:p=0.8,seed=1", k=4, journal=path)
    contested = next(entry.step for _, entry, _ in result.decisions if len(entry.votes) > 1)
    async with desk_at(path) as desk, Client(made_server(desk), mode=era) as client:
        templates = (await client.list_resource_templates()).resource_templates
        assert [one.uri_template for one in templates] == ["mdap://runs/{run}", "mdap://runs/{run}/steps/{step}"]

        async def _read(uri: str) -> Any:
            [contents] = (await client.read_resource(uri)).contents
            return json.loads(contents.text)  # type: ignore[union-attr]

        report = await _read(f"mdap://runs/{result.run}")
        assert (report["status"], report["steps"], report["wrong"]) == (result.status, result.steps, result.wrong)
        step = await _read(f"mdap://runs/{result.run}/steps/{contested}")
        assert len(step["votes"]) > 1
        assert len(step["samples"]) == sum(step["votes"])
        for uri in (f"mdap://runs/{result.run}/steps/999", f"mdap://runs/{result.run}/steps/-1", "mdap://runs/nobody"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_teach_a_client_tools_that_there_are(era: str) -> None:
    async with desk_at(None) as desk, Client(made_server(desk), mode=era) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        arguments = {"task": "hanoi:disks=5", "model": "simulated:p=0.9"}
        prompts = (await client.list_prompts()).prompts
        assert {prompt.name for prompt in prompts} == {"long_run", "own_votes", "how_many_votes", "settle_inbox"}
        for prompt in prompts:
            takes = {argument.name: arguments[argument.name] for argument in prompt.arguments or ()}
            [message] = (await client.get_prompt(prompt.name, takes)).messages
            named = {tool for tool in tools if tool in message.content.text}  # type: ignore[union-attr]
            assert named, prompt.name
            assert all(value in message.content.text for value in takes.values())  # type: ignore[union-attr]


@pytest.mark.parametrize("said", [{"retry": True}, {"outcome": '{"price": null}'}, {"outcome": "null"}])
async def test_a_call_of_which_nobody_knows_what_came_is_made_again_or_told_and_never_voted_on(
    said: dict[str, Any], tmp_path: Path
) -> None:
    async def price(item: str) -> int:
        """Look up."""
        entered.set()
        await asyncio.sleep(600)
        return 4

    entered, tools = asyncio.Event(), Toolbox([price], allow=["custom"])
    left = asyncio.create_task(
        mdap.aio.run(
            Order(),
            Clerk("price", item="pen"),
            k=2,
            tools=tools,
            journal=tmp_path / "j.db",
        )
    )
    await entered.wait()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        # The call is begun and nothing more: a resume finds out that nobody knows, here as on a command line.
        run, clerk = desk.journal.heads()[0].id, Clerk("price", item="pen")
        resumed = await mdap.aio.resume(run, journal=desk.journal, task=Order(), model=clerk, tools=tools)
        assert resumed.status == "undecided"
        [waiting] = (await call("inbox"))["items"]
        where = {"run": waiting["run"], "step": waiting["step"], "by": "Ann"}
        assert "nobody votes on" in await call.error("resolve", **where, k=3)
        assert "say one thing" in await call.error("resolve", **where, retry=True, outcome="1")
        assert "outcome" in await call.error("resolve", **where, outcome='{"a": 1, "a": 2}')
        assert (await call("resolve", **where, **said))["by"] == "Ann"
        assert (await call("inbox"))["total"] == 0
