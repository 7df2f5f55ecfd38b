"""What each role is told: everything that it needs, as it is, and something else for each thing that has changed."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.planning.execution_task import ExecutionTask
from mdap.planning.plan_task import PlanTask
from mdap.planning.steps import PlanStep
from mdap.planning.templates import SLOTS, Templates

STEP = PlanStep(task="a", extra_context="c", requires_format=True, vote_requires_format=True)


def plan_prompt(**changes: Any) -> str:
    task = PlanTask("make it", format="upper case", prepend=[PlanStep(task="first")])
    return task.prompt(task.start() | changes)


def work_prompt(*, state: dict[str, Any], **changes: Any) -> str:
    given_ = {"prompt": "make it", "steps": [STEP], "befores": ["s"], "format": "upper case"} | changes
    task = ExecutionTask(**given_)
    return task.prompt(task.start() | state)


PROPOSAL = {"steps": [STEP.to_dict()], "ends": False}
REFUSED = {"judged": PROPOSAL, "reasons": [["too vague"]], "rejections": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "make that"},
        {"format": "lower case"},
        {"steps": [PlanStep(task="other").to_dict()]},
        {"steps": [PlanStep(task="first").to_dict(), PlanStep(task="second", required_steps=(0,)).to_dict()]},
        REFUSED,
    ],
)
def test_a_planner_sees_whatever_has_changed(changes: dict[str, Any]) -> None:
    assert plan_prompt(**changes) != plan_prompt()


def test_a_planner_sees_which_proposal_was_refused_and_why() -> None:
    told = [
        plan_prompt(**(REFUSED | changes))
        for changes in ({}, {"reasons": [["too long"]]}, {"judged": {"steps": [], "ends": True}})
    ]
    assert len(set(told)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "make that"},
        {"steps": [PlanStep(task="other").to_dict()]},
        {"proposal": PROPOSAL | {"ends": True}},
        {"proposal": {"steps": [STEP.to_dict() | {"requiredSteps": [0]}], "ends": False}},
        {"format": "lower case"},
    ],
)
def test_a_judge_of_steps_sees_whatever_has_changed(changes: dict[str, Any]) -> None:
    assert plan_prompt(**({"proposal": PROPOSAL} | changes)) != plan_prompt(proposal=PROPOSAL)


@pytest.mark.parametrize("voting", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "make that"},
        {"steps": [PlanStep(task="b", extra_context="c", requires_format=True)]},
        {"steps": [PlanStep(task="a", extra_context="d", requires_format=True)]},
        {"steps": [PlanStep(task="a", extra_context="c")]},
        {"befores": ["t"]},
        {"befores": ["s", "t"]},
        {"format": "lower case"},
    ],
)
def test_who_carries_out_and_who_judges_it_see_whatever_has_changed(changes: dict[str, Any], voting: bool) -> None:
    state = {"candidates": ["new"]} if voting else {}
    assert work_prompt(state=state, **changes) != work_prompt(state=state)


def test_reasons_and_candidates_are_seen() -> None:
    assert "- too short" in work_prompt(state={"refused": [["too short"]]})
    assert work_prompt(state={"candidates": ["x"]}) != work_prompt(state={"candidates": ["y"]})
    assert work_prompt(state={"candidates": ["x"]}, way="race") != work_prompt(
        state={"candidates": ["x", "y"]}, way="race"
    )


@given(st.text(), st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_no_text_is_changed_on_its_way_into_a_prompt(state: str, prompt: str, candidate: str, form: str) -> None:
    step = PlanStep(task="a", requires_format=True)
    task = ExecutionTask(prompt, [step], [state], format=form)
    asked = task.prompt(task.start())
    assert f"## Task\n{prompt}\n\n## Current steps\n- a\n" in asked
    assert f"## State\n{state}\n\n## Answer\n" in asked
    judged = task.prompt(task.start() | {"candidates": [candidate]})
    assert f"## State before\n{state}\n\n## State after\n{candidate}\n\n## What to judge\n" in judged
    assert f"## Task\n{prompt}\n" in PlanTask(prompt).prompt(PlanTask(prompt).start())


@given(st.text())
def test_a_reply_of_text_is_the_state_to_the_letter(text: str) -> None:
    task = ExecutionTask("x", [STEP], [""])
    assert task.parse(text, task.start()).action == {"state": text}


@pytest.mark.parametrize("name", SLOTS)
def test_every_prompt_ships_as_utf_8_states_its_task_first_and_uses_slots_it_may_have(name: str) -> None:
    text = files("mdap.planning").joinpath("prompts", f"{name}.txt").read_bytes().decode()
    assert not text.lower().startswith(("you are", "act as"))
    assert text.index("## Task\n{prompt}") > text.index(".")
    assert "�" not in text
    assert Templates().filled(name, dict.fromkeys(SLOTS[name], "x"))


def test_other_prompts_have_another_digest(tmp_path: Any) -> None:
    (tmp_path / "plan.txt").write_text("{prompt}")
    assert Templates({"plan": tmp_path / "plan.txt"}).digest != Templates().digest == Templates({}).digest
