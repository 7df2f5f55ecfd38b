"""The simulated planner, its judges and whoever carries out the plan: they read what they are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

import mdap
from mdap.core.errors import ModelRejected, UsageError
from mdap.core.records import Draw, Message, Request, Response
from mdap.engine.taskview import rendered
from mdap.models.catalog import as_model
from mdap.models.simulated_planner import simulated_planner
from mdap.planning.execution_task import ExecutionTask
from mdap.planning.plan_task import PlanTask
from mdap.planning.steps import PlanStep

TASK = "Put these words on lines of their own: alpha, beta, gamma"
STEPS = (
    PlanStep(task='Append the line "alpha"'),
    PlanStep(task='Append the line "beta"', required_steps=(0,)),
    PlanStep(task='Append the line "gamma"', required_steps=(1,)),
)


async def complete(prompt: str, seed: int = 1, **options: Any) -> Response:
    model = simulated_planner(**({"p": 1.0, "judge": 1.0} | options))
    return await model.complete(Request(rendered(prompt), Draw(0, 0), seed, 0.0, 700))


async def reply(prompt: str, seed: int = 1, **options: Any) -> str:
    return (await complete(prompt, seed, **options)).text


def judged(steps: tuple[PlanStep, ...], proposal: list[dict[str, Any]], *, ends: bool = False) -> str:
    """What judges of a proposal are asked when these steps are there."""
    task = PlanTask(TASK, prepend=steps)
    return task.prompt(task.start() | {"proposal": {"steps": proposal, "ends": ends}})


def attempted(steps: tuple[PlanStep, ...], before: Any, after: Any, **options: Any) -> str:
    """What judges of a new state are asked."""
    task = ExecutionTask(TASK, steps, [before], **options)
    return task.prompt(task.start() | {"candidates": after if options.get("way") == "race" else [after]})


async def test_a_planner_proposes_what_follows_the_steps_that_it_was_sent() -> None:
    task = PlanTask(TASK)
    first = task.parse(await reply(task.prompt(task.start())), task.start()).action
    assert first == {"steps": [step.to_dict() for step in STEPS[:2]], "ends": False}
    later = PlanTask(TASK, prepend=STEPS[:2])
    last = later.parse(await reply(later.prompt(later.start())), later.start()).action
    assert last == {"steps": [STEPS[2].to_dict()], "ends": True}
    ended = PlanTask(TASK, prepend=STEPS)
    assert await reply(ended.prompt(ended.start())) == "End"


async def test_a_planner_does_not_propose_again_what_the_reasons_object_to() -> None:
    task = PlanTask(TASK)
    start = task.start()
    wrong = await reply(task.prompt(start), p=0.0)
    proposed = json.loads(wrong)[0]
    objected = start | {"reasons": [[f"this is not the next step: {proposed['task']}"]], "rejections": 1}
    objected["judged"] = {"steps": [], "ends": True}
    for seed in range(20):
        assert json.loads(await reply(task.prompt(objected), seed, p=0.0))[0]["task"] != proposed["task"]


async def test_a_judge_sees_the_steps_their_requirements_and_what_is_there() -> None:
    right = STEPS[1].to_dict()
    assert json.loads(await reply(judged(STEPS[:1], [right])))["verdict"] == "Yes"
    no = json.loads(await reply(judged(STEPS[:1], [right | {"requiredSteps": []}])))
    assert no == {"verdict": "No", "reason": f"this is not the next step: {right['task']}"}
    assert json.loads(await reply(judged((), [right])))["verdict"] == "No"
    assert json.loads(await reply(judged(STEPS, [right])))["verdict"] == "End"


async def test_a_judge_refuses_an_end_before_the_end() -> None:
    assert json.loads(await reply(judged(STEPS[:1], [STEPS[1].to_dict()], ends=True)))["verdict"] == "No"
    assert json.loads(await reply(judged(STEPS[:2], [STEPS[2].to_dict()], ends=True)))["verdict"] == "Yes"


@pytest.mark.parametrize(("form", "before", "after"), [("text", "x", "x\nalpha"), ("json", ["x"], ["x", "alpha"])])
async def test_steps_are_carried_out_on_the_state_that_was_sent(form: Any, before: Any, after: Any) -> None:
    task = ExecutionTask(TASK, STEPS[:1], [before], form=form)
    assert task.parse(await reply(task.prompt(task.start())), task.start()).action == {"state": after}


async def test_a_judge_of_states_holds_the_one_after_against_the_one_before_and_the_steps() -> None:
    assert json.loads(await reply(attempted(STEPS[:1], "x", "x\nalpha")))["verdict"] == "Yes"
    for before, after in (("x", "x"), ("y", "x\nalpha"), ("x", "x\nbeta")):
        assert json.loads(await reply(attempted(STEPS[:1], before, after)))["verdict"] == "No"
    assert json.loads(await reply(attempted(STEPS[:2], "", "alpha\nbeta")))["verdict"] == "Yes"


async def test_of_several_candidates_the_right_one_is_chosen_by_its_number() -> None:
    chosen = await reply(attempted(STEPS[:1], "x", ["x", "x\nalpha", "alpha"], way="race"))
    assert json.loads(chosen)["choice"] == 2
    assert json.loads(await reply(attempted(STEPS[:1], "x", ["x", "y"], way="race")))["choice"] == 0


async def test_parts_are_brought_together_in_their_order() -> None:
    task = ExecutionTask(TASK, [], ["a\nb", "c"])
    assert await reply(task.prompt(task.start())) == "a\nb\nc"


@pytest.mark.parametrize("way", ["judge", "race"])
async def test_wrong_replies_are_as_frequent_as_was_asked_for(way: Any) -> None:
    right = attempted(STEPS[:1], "x", ["x\nalpha", "x"] if way == "race" else "x\nalpha", way=way)
    said = [json.loads(await reply(right, seed, judge=0.7)) for seed in range(600)]
    share = sum(one.get("verdict") == "Yes" or one.get("choice") == 1 for one in said) / len(said)
    assert abs(share - 0.7) < 0.06  # three standard deviations of 600 draws


async def test_flagged_replies_are_cut_off() -> None:
    task = PlanTask(TASK)
    cut = [(await complete(task.prompt(task.start()), seed, flags=0.3)).finish == "length" for seed in range(400)]
    assert abs(sum(cut) / len(cut) - 0.3) < 0.07


async def test_a_prompt_of_anything_else_is_refused() -> None:
    for prompt in ("What is 2 + 2?", "## Task\nx\n\n## Steps so far\nno steps\n\n## Answer\n"):
        with pytest.raises(ModelRejected, match="cannot read this prompt"):
            await reply(prompt)


def test_it_is_made_by_name_and_refuses_what_is_no_probability() -> None:
    assert as_model("simulated_planner:p=0.8").spec == "simulated_planner:p=0.8,judge=0.9"
    assert as_model("simulated_planner:p=1.0,flags=0.1,seed=3").spec.endswith("flags=0.1,seed=3")
    with pytest.raises(UsageError, match="judge=2"):
        simulated_planner(judge=2.0)


async def test_only_the_last_message_is_read() -> None:
    task = PlanTask(TASK)
    prompt = rendered([Message("system", "## Candidates\n"), Message("user", task.prompt(task.start()))])
    answer = await simulated_planner(p=1.0).complete(Request(prompt, Draw(0, 0), 1, 0.0, 700))
    assert json.loads(answer.text)[0]["task"] == STEPS[0].task


async def test_words_may_stand_on_lines_of_any_kind() -> None:
    model = simulated_planner(p=1.0, judge=1.0)
    done = await mdap.aio.do("Put these words: a,\r\n b\nc,\td", model, k=2)
    assert done.state == "a\nb\nc\nd"
