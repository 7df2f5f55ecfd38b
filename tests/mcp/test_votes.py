"""Votes from a client's own model: a run without any key, decided by answers that are each handed in for one draw."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mdap.clock import LoopClock
from mdap.core.errors import UsageError
from mdap.core.records import Draw, Message, Prompt, Request
from mdap.mcp.allowed import Allowed
from mdap.models.catalog import as_model
from mdap.models.client import Client, Mailbox, client
from tests.mcp.support import ERAS, answer_to, calling, desk_at, vote_to_the_end

TASK = "hanoi:disks=5"


async def begun(call: Any, task: str = TASK, **options: Any) -> str:
    run: str = (await call("run_start", task=task, model="client", **options))["run"]
    return run


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_takes_five_disks_to_their_end_with_three_votes_a_step(era: str, tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk, era) as call:
        run = await begun(call)
        assert await vote_to_the_end(call, TASK, run) == 93
        status = await call.ended(run)
        assert (status["status"], status["steps"], status["votes"]) == ("done", 31, 93)
        assert await call.whole_result(run) == [[[], [], [5, 4, 3, 2, 1]], [1, 0, 2]]
        assert call.slowest < 1.0


async def test_prompts_of_one_answer_are_of_different_steps_and_handed_out_once(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call)
        assert len(desk.live[run].box or ()) == 3
        handed = [(await call("next_steps", run=run, limit=50))["prompts"] for _ in range(4)]
        assert [len(prompts) for prompts in handed] == [1, 1, 1, 0]
        tokens = [prompts[0]["token"] for prompts in handed[:3]]
        assert len(set(tokens)) == 3
        assert len({str(prompts[0]["messages"]) for prompts in handed[:3]}) == 1


async def test_a_prompt_that_nobody_answered_is_handed_out_again_once_its_time_is_over(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, k=1)
        [first] = (await call("next_steps", run=run, lease_seconds=0.05))["prompts"]
        assert (await call("next_steps", run=run))["prompts"] == []
        await LoopClock().sleep(0.06)
        assert (await call("next_steps", run=run))["prompts"] == [first]


async def test_one_submission_fills_one_draw_whatever_a_client_tries(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call)
        handed = [(await call("next_steps", run=run))["prompts"][0] for _ in range(3)]
        votes = [{"token": one["token"], "answer": answer_to(TASK, one)} for one in handed]
        assert "votes.1.token: a second vote on the same step" in await call.error("submit_votes", votes=votes)
        assert "votes.1.token: it is there twice" in await call.error("submit_votes", votes=[votes[0], votes[0]])
        assert (await call("run_status", run=run))["open_votes"] == 3
        assert (await call("submit_votes", votes=votes[:1]))["votes"][0]["outcome"] == "taken"
        again = await call("submit_votes", votes=votes[:1])
        assert again["votes"][0]["outcome"] == "not open any more"
        assert again["runs"][0]["open_votes"] == 2
        for vote in votes[1:]:
            assert (await call("submit_votes", votes=[vote]))["votes"][0]["outcome"] == "taken"
        assert (await call("run_status", run=run))["steps"] == 1


async def test_a_submission_with_a_run_that_is_not_there_is_refused_as_a_whole(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, k=1)
        [prompt] = (await call("next_steps", run=run))["prompts"]
        vote = {"token": prompt["token"], "answer": answer_to(TASK, prompt)}
        told = await call.error("submit_votes", votes=[vote, {"token": "nobody-1:0.7.0.0.abc", "answer": "x"}])
        assert "votes.1.token" in told
        assert (await call("run_status", run=run))["steps"] == 0
        assert (await call("submit_votes", votes=[vote]))["votes"][0]["outcome"] == "taken"


async def test_an_answer_in_another_form_is_flagged_and_its_prompt_asked_anew(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, k=1)
        [prompt] = (await call("next_steps", run=run))["prompts"]
        answered = await call(
            "submit_votes", votes=[{"token": prompt["token"], "answer": "I would rather not"}], next=1
        )
        [anew] = answered["prompts"]
        assert answered["runs"][0]["flagged"] == {"malformed": 1}
        assert anew["token"] != prompt["token"]
        assert anew["messages"] == prompt["messages"]


async def test_the_rule_decides_against_a_vote_that_is_wrong(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, "hanoi:disks=1", k=2)
        wrong = "move = [1, 0, 1]\nnext_state = [[], [1], []]"
        votes = 0
        handed = await call("next_steps", run=run)
        while handed["prompts"]:
            [prompt] = handed["prompts"]
            answer = wrong if votes == 0 else answer_to("hanoi:disks=1", prompt)
            handed = await call("submit_votes", votes=[{"token": prompt["token"], "answer": answer}], next=1)
            votes += 1
        [step] = await call.all_steps(run)
        assert (step["votes"], votes) == ([3, 1], 4)
        assert step["action"] == [1, 0, 2]


async def test_another_server_takes_the_votes_up_where_they_were(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, "hanoi:disks=3", k=2)
        for _ in range(5):
            [prompt] = (await call("next_steps", run=run))["prompts"]
            vote = {"token": prompt["token"], "answer": answer_to("hanoi:disks=3", prompt)}
            await call("submit_votes", votes=[vote])
        assert (await call("run_status", run=run))["steps"] == 2
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        assert (await call("next_steps", run=run))["runs"][0]["status"] == "interrupted"
        assert (await call("run_resume", run=run))["steps"] == 2
        # One vote of the third step was in when the first server ended: it is not asked for again.
        assert await vote_to_the_end(call, "hanoi:disks=3", run) == 2 * 5 - 1
        assert (await call.ended(run))["status"] == "done"


async def test_a_token_of_before_a_restart_is_still_that_of_the_same_draw(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call, "hanoi:disks=1", k=1)
        [prompt] = (await call("next_steps", run=run))["prompts"]
    vote = {"token": prompt["token"], "answer": answer_to("hanoi:disks=1", prompt)}
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        assert (await call("submit_votes", votes=[vote]))["votes"][0]["outcome"] == "not open any more"
        await call("run_resume", run=run)
        assert (await call("submit_votes", votes=[vote]))["votes"][0]["outcome"] == "taken"
        assert (await call.ended(run))["status"] == "done"


async def test_a_prompt_longer_than_a_page_is_read_on_by_its_token(tmp_path: Path) -> None:
    allowed = Allowed(tasks=("tests.mcp.own:Growing",))
    async with desk_at(tmp_path / "j.db", allowed) as desk, calling(desk) as call:
        run = await begun(call, "tests.mcp.own:Growing,steps=2,size=40000", k=1)
        [prompt] = (await call("next_steps", run=run))["prompts"]
        handed = await call("submit_votes", votes=[{"token": prompt["token"], "answer": "x" * 40_000}], next=1)
        [long_one] = handed["prompts"]
        page, text = long_one["messages_as_json"], ""
        while True:
            text += page["text"]
            if "next_offset" not in page:
                break
            more = await call("next_steps", token=long_one["token"], offset=page["next_offset"])
            page = more["messages_as_json"]
        assert text == '[{"role": "user", "content": "Go on:\\n' + "x" * 40_000 + '"}]'


async def test_runs_that_ask_a_model_of_their_own_hand_out_nothing(tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = (await call("run_start", task="hanoi:disks=9", model="simulated:p=0.9,latency=0.01"))["run"]
        assert "asks simulated:p=0.9,latency=0.01, not you" in await call.error("next_steps", run=run)
        assert (await call("next_steps"))["prompts"] == []
        await call("run_cancel", run=run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "votes",
    [
        [],
        "all of them",
        [{"token": "no-such-token", "answer": "x"}],
        [{"token": 17, "answer": "x"}],
        [{"token": "a:0.0.0.0.abc"}],
        [{"token": "a:0.0.0.0.abc", "answer": None}],
        [{"token": "a:0.0.0.0.abc", "answer": "x", "weight": 1000}],
        [{"token": "../../x", "answer": "x"}],
    ],
)
async def test_votes_that_are_none_are_refused_by_name(votes: Any, tmp_path: Path) -> None:
    async with desk_at(tmp_path / "j.db") as desk, calling(desk) as call:
        run = await begun(call)
        assert "votes" in await call.error("submit_votes", votes=votes)
        assert (await call("run_status", run=run))["steps"] == 0


def request_for(slot: int, digest: str = "0" * 32) -> Request:
    return Request(Prompt((Message("user", "?"),), digest), Draw(0, slot), slot, 0.1, 100)


async def test_a_draw_that_is_given_up_takes_no_answer_any_more() -> None:
    mailbox = Mailbox()
    asked = asyncio.ensure_future(client(mailbox).complete(request_for(0)))
    assert await mailbox.wait_open(1.0)
    [waiting] = mailbox
    asked.cancel()
    await asyncio.wait([asked])
    assert not mailbox.answer(waiting.token, "too late")
    assert len(mailbox) == 0


async def test_two_draws_that_are_alike_to_the_letter_still_take_an_answer_each() -> None:
    mailbox = Mailbox()
    voter = Client(mailbox)
    async with asyncio.TaskGroup() as group:
        replies = [group.create_task(voter.complete(request_for(0))) for _ in range(2)]
        while len(mailbox) < 2:  # noqa: ASYNC110 (they have to have begun)
            await asyncio.sleep(0)
        first, second = mailbox
        assert first.token != second.token
        assert mailbox.answer(second.token, "b")
        assert mailbox.answer(first.token, "a")
    assert [reply.result().text for reply in replies] == ["a", "b"]


async def test_who_waits_for_a_draw_is_told_when_there_will_be_none() -> None:
    mailbox = Mailbox()
    waiting = asyncio.ensure_future(mailbox.wait_open(10.0))
    await asyncio.sleep(0)
    mailbox.close()
    assert await waiting is False


def test_a_spec_alone_cannot_make_the_model_and_says_who_can() -> None:
    with pytest.raises(UsageError, match="run_resume"):
        as_model("client")
