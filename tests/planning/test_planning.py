"""Planning: who is asked what, when a proposal is accepted, and how every loop of it ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.core.errors import Rejected, Stop, UsageError
from mdap.core.events import StepBegun
from mdap.doing import Plan
from mdap.planning.events import PlanRestarted, PlanVoted, StepsAdded, StepsProposed, StepsRejected, Votes
from tests.planning.support import END, NO, YES, Role, by_ballot, steps, verdict

aio = mdap.aio


async def planned(planner: Role, judge: Role, **options: Any) -> Plan:
    return await aio.plan("make a list", planning_model=planner, plan_voting_model=judge, **({"k": 2} | options))


def tasks(plan: Plan) -> list[str]:
    return [step.task for step in plan.steps]


async def test_accepted_steps_follow_one_another_until_judges_accept_an_end() -> None:
    planner = Role([steps("a", "b"), steps("c"), "End"])
    plan = await planned(planner, Role([YES]))
    assert (plan.status, plan.complete, tasks(plan)) == ("done", True, ["a", "b", "c"])
    assert mdap.plan("x", planning_model=Role(["End"]), plan_voting_model=Role([YES]), k=1).steps == ()
    assert '0. {"task": "a"' in planner.prompts[1]
    assert json.loads(plan.json)[2] == {"task": "c", "requiredSteps": [], "requiresFormat": False, "extraContext": ""}


@pytest.mark.parametrize(
    "end", ["End", " END.", '"End"', '["End"]', '[{"task": "End"}]', "```\nEnd\n```", '{"Task": "end"}']
)
async def test_every_form_of_a_bare_end_is_one(end: str) -> None:
    plan = await planned(Role([end]), Role([YES]))
    assert (plan.complete, plan.steps, plan.totals["planning"].flagged) == (True, (), {})


async def test_an_end_behind_the_last_step_ends_the_plan_with_it_and_is_no_step() -> None:
    plan = await planned(Role([steps("a", "End")]), Role([YES]))
    assert (plan.complete, tasks(plan)) == (True, ["a"])


# k, the judges' words by slot, and what comes of the ballot: (verdict, yes, no, end).
TABLE = [
    (2, "yy", ("yes", 2, 0, 0)),
    (2, "nn", ("no", 0, 2, 0)),
    (2, "ee", ("end", 0, 0, 2)),
    (2, "ynyy", ("yes", 3, 1, 0)),
    (2, "ynnn", ("no", 1, 3, 0)),
    (2, "yneeee", ("end", 1, 1, 3)),
    (2, "ynynynyn", ("contentious", 4, 4, 0)),
    (2, "yneyneyn", ("contentious", 3, 3, 2)),
    (1, "y", ("yes", 1, 0, 0)),
    (3, "ynynyyy", ("yes", 5, 2, 0)),
]


@pytest.mark.parametrize(("k", "words", "outcome"), TABLE)
async def test_the_first_of_three_candidates_to_lead_by_k_wins(k: int, words: str, outcome: tuple[Any, ...]) -> None:
    events: list[Any] = []
    judge = Role(by_ballot(words, "y"))
    plan = await planned(Role([steps("a"), steps("b", "End")]), judge, k=k, on_event=events.append)
    first = next(event for event in events if isinstance(event, PlanVoted))
    assert (first.verdict, first.votes) == (outcome[0], Votes(k, *outcome[1:]))
    assert tasks(plan) == {"yes": ["a", "b"], "end": []}.get(outcome[0], ["b"])


async def test_on_a_proposal_with_an_end_an_end_is_a_yes() -> None:
    events: list[Any] = []
    plan = await planned(Role([steps("a", "End")]), Role(by_ballot("eye")), k=3, on_event=events.append)
    assert (tasks(plan), plan.complete) == (["a"], True)
    assert [event.votes for event in events if isinstance(event, PlanVoted)] == [Votes(3, 1, 0, 2)]


@pytest.mark.parametrize("word", ["Yes", "Yes.", "yes", "YES", " yes! "])
async def test_a_yes_is_read_in_every_spelling(word: str) -> None:
    judge = Role([verdict(word)])
    plan = await planned(Role(["End"]), judge)
    assert (plan.complete, len(judge.requests)) == (True, 2)


@pytest.mark.parametrize(
    "unreadable",
    [
        "Yes",
        '{"verdict": "None of these problems apply", "reason": "x"}',
        '{"verdict": "No", "reason": ""}',
        '{"verdict": true}',
        '["Yes"]',
        '{"verdict": "Yes"} and more',
    ],
)
async def test_a_judgement_that_cannot_be_read_is_a_red_flag_and_no_vote(unreadable: str) -> None:
    judge = Role(lambda request: YES if request.draw.redraw else unreadable)
    plan = await planned(Role(["End"]), judge)
    assert plan.complete
    assert (plan.totals["plan_voting"].flagged, plan.totals["plan_voting"].votes) == ({"malformed": 2}, 2)


async def test_reasons_go_into_the_next_proposal_and_out_again_once_one_is_accepted() -> None:
    planner = Role([steps("a"), steps("b"), steps("c"), "End"])
    said = {0: "too vague", 1: "not atomic"}
    ballots: list[int] = []

    def _judge(request: Any) -> str:
        if request.draw.step not in ballots:
            ballots.append(request.draw.step)
        at = ballots.index(request.draw.step)
        return verdict("No", said[at]) if at in said else YES

    plan = await planned(planner, Role(_judge))
    assert tasks(plan) == ["c"]
    second, third, fourth = planner.prompts[1:]
    assert "- too vague" in second
    assert '0. {"task": "a"' in second
    assert "- too vague\n- not atomic" in third
    assert "too vague" not in fourth
    assert '{"task": "b"' not in fourth


async def test_a_contentious_ballot_is_a_rejection_that_keeps_its_reasons() -> None:
    planner = Role([steps("a"), "End"])
    judge = Role(
        lambda r: (YES if r.draw.slot % 2 else verdict("No", f"reason {r.draw.slot}")) if r.draw.step == 1 else YES
    )
    events: list[Any] = []
    await planned(planner, judge, on_event=events.append)
    rejected = next(event for event in events if isinstance(event, StepsRejected))
    assert (rejected.verdict, rejected.rejections) == ("contentious", 1)
    assert rejected.reasons == ("reason 0", "reason 2", "reason 4", "reason 6")
    assert "- reason 6" in planner.prompts[1]


async def test_five_rejections_begin_the_plan_anew_from_the_steps_that_were_given() -> None:
    planner = Role([steps("a"), *[steps("b")] * 5, steps("c", "End")])
    judge = Role(by_ballot("y", *["n"] * 5, "y"))
    events: list[Any] = []
    plan = await planned(planner, judge, prepend_steps=["first"], on_event=events.append)
    assert (tasks(plan), plan.restarts) == (["first", "c"], 1)
    (restarted,) = [event for event in events if isinstance(event, PlanRestarted)]
    assert [step.task for step in restarted.plan] == ["first"]
    assert [type(event) for event in events if isinstance(event, StepsProposed | StepsAdded)][-2:] == [
        StepsProposed,
        StepsAdded,
    ]
    assert '"task": "a"' not in planner.prompts[-1]
    assert "- it is wrong" in planner.prompts[-1]


async def test_restarts_are_bounded_and_end_with_the_last_reasons_and_the_plan_so_far() -> None:
    planner, judge = Role(by_step), Role(by_ballot("y", "n"))
    with pytest.raises(Rejected) as caught:
        await planned(planner, judge, restarts=2)
    error = caught.value
    assert len({request.draw.step for request in planner.requests}) == 1 + 3 * 5
    assert error.reasons == ("it is wrong",)
    assert (error.partial.status, error.partial.restarts, error.partial.run) == ("undecided", 2, error.run)
    assert error.run in error.remedy


def by_step(request: Any) -> str:
    return steps(f"step {request.draw.step}")


@pytest.mark.parametrize("restarts", [0, 1])
async def test_each_restart_allows_five_more_rejections(restarts: int) -> None:
    planner = Role(by_step)
    with pytest.raises(Rejected):
        await planned(planner, Role([NO]), restarts=restarts)
    assert len({request.draw.step for request in planner.requests}) == 5 * (1 + restarts)


async def test_a_planner_that_never_ends_is_stopped_by_code_once_the_plan_is_full() -> None:
    judge = Role(lambda r: verdict("No", "more is needed") if "\nEnd\n" in r.messages[-1].content else YES)
    with pytest.raises(Rejected, match="as many as it may") as caught:
        await planned(Role(by_step), judge, max_steps=3)
    assert tasks(caught.value.partial) == ["step 0", "step 2", "step 4"]
    assert caught.value.reasons == ("more is needed",)


async def test_a_plan_that_is_full_is_complete_if_judges_say_so() -> None:
    planner = Role(by_step)
    plan = await planned(planner, Role([YES]), max_steps=2)
    assert (plan.complete, len(plan.steps), len(planner.requests)) == (True, 2, 2)


async def test_no_more_than_the_batch_size_is_taken_from_a_proposal_and_no_more_than_fit() -> None:
    planner = Role(lambda r: steps("a", "b", "c") if r.draw.redraw == 0 else steps("a", "End"))
    plan = await planned(planner, Role([YES]), batch_size=2)
    assert (tasks(plan), plan.totals["planning"].flagged) == (["a"], {"malformed": 1})
    assert "at most 2 objects" in planner.prompts[0]
    planner = Role(lambda r: steps("a", "b") if r.draw.redraw == 0 else steps("a"))
    plan = await planned(planner, Role([YES]), batch_size=2, max_steps=1)
    assert plan.totals["planning"].flagged == {"malformed": 1}


@pytest.mark.parametrize(
    "proposal",
    [
        "no JSON",
        "[]",
        '{"steps": 3}',
        '[{"requiredSteps": []}]',
        '[{"task": ""}]',
        '["a", "End", "b"]',
        '[{"task": "a", "requiredSteps": [0]}]',
        '[{"task": "a", "requiredSteps": [5]}]',
        '[{"task": "a"}, {"task": "b", "requiredSteps": [0, 0]}]',
    ],
)
async def test_what_is_no_proposal_is_a_red_flag(proposal: str) -> None:
    planner = Role(lambda r: "End" if r.draw.redraw else proposal)
    plan = await planned(planner, Role([YES]))
    assert plan.totals["planning"].flagged == {"malformed": 1}


@pytest.mark.parametrize("task", ["Add the name and update the size", "x" * 129])
async def test_atomicity_is_checked_in_code(task: str) -> None:
    planner = Role(lambda r: "End" if r.draw.redraw else steps(task))
    plan = await planned(planner, Role([YES]))
    assert plan.totals["planning"].flagged == {"not_atomic": 1}
    kept = await planned(Role([steps(task, "End")]), Role([YES]), check_step=None)
    assert tasks(kept) == [task]


async def test_a_planner_or_a_judge_that_talks_nonsense_ends_as_undecided_with_what_there_is() -> None:
    plan = await planned(Role([steps("a"), "nonsense"]), Role([YES]))
    assert (plan.status, plan.complete, tasks(plan)) == ("undecided", False, ["a"])
    assert plan.run in plan.reason
    plan = await planned(Role([steps("a")]), Role(["nonsense"]))
    assert (plan.status, plan.steps) == ("undecided", ())


async def test_a_judge_that_hangs_ends_a_plan_within_its_caps_and_keeps_what_there_is() -> None:
    async def _hang(prompt: str) -> str:
        if '"task": "b"' in prompt:
            await asyncio.sleep(60)
        return YES

    planner = Role([steps("a"), steps("b")])
    options = {"timeout": 0.05, "retries": 0, "k": 1}
    plan = await aio.plan("x", planning_model=planner, plan_voting_model=_hang, **options)  # type: ignore[arg-type]
    assert (plan.status, tasks(plan)) == ("undecided", ["a"])
    assert f"mdap resume {plan.run}" in plan.reason


async def test_megabytes_of_a_proposal_are_a_red_flag() -> None:
    planner = Role(lambda r: "End" if r.draw.redraw else steps("x" * 3_000_000))
    plan = await planned(planner, Role([YES]))
    assert (plan.complete, plan.totals["planning"].flagged) == (True, {"not_atomic": 1})


async def test_a_budget_ends_a_plan_with_what_was_agreed_on() -> None:
    plan = await planned(Role(by_step), Role([YES]), budget_calls=8)
    assert (plan.status, tasks(plan)) == ("budget", ["step 0", "step 2"])


async def test_an_observer_may_stop_a_plan_between_two_steps_of_it() -> None:
    def _at_most_two(event: Any) -> None:
        if isinstance(event, StepsAdded) and len(event.plan) == 2:
            raise Stop("two are enough")

    plan = await planned(Role(by_step), Role([YES]), on_event=_at_most_two)
    assert (plan.status, tasks(plan)) == ("stopped", ["step 0", "step 2"])
    assert "two are enough" in plan.reason


async def test_an_observer_hears_of_a_step_before_it_and_may_stop_there() -> None:
    kinds: list[str] = []

    def _before(event: Any) -> None:
        if isinstance(event, StepBegun):
            kinds.append(event.kind)
            if len(kinds) == 4:
                raise Stop("no further judgement")

    judge = Role([YES])
    plan = await planned(Role(by_step), judge, on_event=_before)
    assert (plan.status, tasks(plan)) == ("stopped", ["step 0"])
    assert (kinds, len(judge.requests)) == (["planning", "plan_voting"] * 2, 2)


async def test_the_users_text_goes_into_prompts_as_it_is() -> None:
    text = "Use {steps} and {{braces}}, ```json\n{}\n``` and $API_KEY {NAME}"
    planner, judge = Role(["End"]), Role([YES])
    await aio.plan(text, planning_model=planner, plan_voting_model=judge, k=1, format="{prompt}")
    assert f"## Task\n{text}\n\n## Format of the result\n{{prompt}}\n" in planner.prompts[0]
    assert f"## Task\n{text}\n" in judge.prompts[0]


async def test_a_prompt_can_be_replaced_by_a_file_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("Plan é {prompt}; {{so far}}: {steps}", encoding="utf-8")
    planner, judge = Role(["End"]), Role([YES])
    await planned(planner, judge, templates={"plan": file})
    assert planner.prompts == ["Plan é make a list; {so far}: none"]
    assert "## Proposed steps" in judge.prompts[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"restarts": -1}, "restarts=-1"),
        ({"templates": {"planner": "x"}}, "unknown prompt"),
        ({"templates": {"plan": "absent.txt"}}, "absent.txt"),
        ({"prepend_steps": ["a", "b"], "max_steps": 2}, "2 steps stand before"),
        ({"prepend_steps": [{"task": "a", "requiredSteps": [0]}]}, "in a ring"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_bad_options_are_refused_before_anything_is_asked(options: dict[str, Any], said: str) -> None:
    planner = Role(["End"])
    with pytest.raises(UsageError, match=said):
        await planned(planner, Role([YES]), **options)
    assert planner.requests == []


@pytest.mark.parametrize("prompt", ["", " \n"])
async def test_an_empty_prompt_is_refused(prompt: str) -> None:
    for call in (aio.plan(prompt, "scripted"), aio.do(prompt, "scripted"), aio.execute(["a"], prompt, "scripted")):
        with pytest.raises(UsageError, match="the prompt is empty"):
            await call


async def test_text_that_no_journal_can_hold_is_refused_before_anything_is_asked() -> None:
    half = "a\ud800"
    for call, what in (
        (aio.plan(half, "scripted"), "the prompt"),
        (aio.do("a", "scripted", format=half), "the format"),
        (aio.execute([half], "a", "scripted"), "the plan"),
        (aio.execute(["a"], "a", "scripted", start=half), "the state before the first step"),
    ):
        with pytest.raises(UsageError, match=f"{what} holds halves of characters"):
            await call


async def test_a_slot_that_no_prompt_has_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.txt"
    file.write_text("{promt}", encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean 'prompt'") as caught:
        await planned(Role(["End"]), Role([YES]), templates={"plan": file})
    assert "promt" in str(caught.value)


async def test_one_model_plays_every_role_that_has_none_of_its_own() -> None:
    one, judge = Role(["End"]), Role([END])
    plan = await aio.plan("x", one, plan_voting_model=judge, k=2)
    assert (plan.complete, len(one.requests), len(judge.requests)) == (True, 1, 2)
    with pytest.raises(UsageError, match="no model"):
        await aio.plan("x", planning_model=one)
