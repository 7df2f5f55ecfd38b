"""Carrying out a plan: batches, states, judgements, attempts, races, and what is left where it ends early."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.core.errors import FingerprintChanged, Rejected, Stop, UsageError
from mdap.doing import Execution, Plan
from mdap.planning.events import ExecutionStarted, ExecutionVoted, StateChanged, Votes
from tests.planning.support import YES, Role, by_ballot, verdict

aio = mdap.aio


async def executed(plan: Any, worker: Any, judge: Role, **options: Any) -> Execution:
    roles = {"execution_model": worker, "execution_voting_model": judge}
    return await aio.execute(plan, "make a list", **(roles | {"k": 2, "batch_size": 1} | options))


def section(prompt: str, heading: str) -> str:
    """What a prompt says below a heading."""
    return prompt.partition(f"\n## {heading}\n")[2].partition("\n\n## ")[0]


def adds(request: Any) -> str:
    """A worker that appends its steps to the state, joined with a comma."""
    prompt = request.messages[-1].content
    state, asked = section(prompt, "State"), section(prompt, "Current steps")
    if not asked:
        return "+".join(part.partition("\n")[2].strip() for part in state.split("### ")[1:])
    done = [line.removeprefix("- ") for line in asked.splitlines()]
    return ",".join([state, *done] if state else done)


CHAIN = [{"task": "a"}, {"task": "b", "requiredSteps": [0]}, {"task": "c", "requiredSteps": [1]}]
FORK = [{"task": "a"}, {"task": "b", "requiredSteps": [0]}, {"task": "c", "requiredSteps": [0]}]
DIAMOND = [*FORK, {"task": "d", "requiredSteps": [1, 2]}]


async def test_each_batch_is_carried_out_on_the_state_that_the_one_before_left() -> None:
    worker = Role(adds)
    done = await executed(CHAIN, worker, Role([YES]))
    assert (done.status, done.state, done.completed) == ("done", "a,b,c", (0, 1, 2))
    assert [section(prompt, "State") for prompt in worker.prompts] == ["", "a", "a,b"]
    assert (await executed(["a", "b", "c"], Role(adds), Role([YES]), batch_size=2)).state == "a,b,c"


async def test_a_plan_of_no_steps_leaves_the_state_and_asks_nobody() -> None:
    worker = Role(adds)
    assert (await executed([], worker, Role([YES]), start="as it was")).state == "as it was"
    assert worker.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({"attempts": 0}, "attempts=0"), ({"form": "xml"}, "form='xml'"), ({"execution": "nope"}, "execution='nope'")],
)
async def test_a_way_in_which_nothing_is_carried_out_is_refused_before_a_plan_is_made(
    options: dict[str, Any], said: str
) -> None:
    planner = Role(["End"])
    for call in (
        mdap.aio.do("a", planner, k=1, start="", **options),
        mdap.aio.execute(["a"], "a", planner, k=1, start="", **options),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            await call
        assert "mdap resume" not in caught.value.remedy
    assert planner.requests == []


async def test_a_beginning_that_is_no_state_is_refused() -> None:
    with pytest.raises(UsageError, match="is no text, and the state is one"):
        await executed(["a"], Role(adds), Role([YES]), start={"a": 1})
    with pytest.raises(UsageError, match="nothing that JSON can hold"):
        await executed(["a"], Role(adds), Role([YES]), start={"a": object()}, form="json")


async def test_branches_that_wait_for_nothing_run_at_the_same_time_and_join() -> None:
    at_once: list[int] = []
    running = 0

    async def _slow(request: Any) -> Any:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.01)
        running -= 1
        return adds(request)

    forked = await executed(FORK, mdap.models.scripted(_slow), Role([YES]))
    assert max(at_once) == 2
    assert forked.state == "a,b+a,c"
    done = await executed(DIAMOND, worker := Role(adds), Role([YES]))
    assert section(worker.prompts[-1], "State") == "### Part 1 of 2\na,b\n### Part 2 of 2\na,c"
    assert done.state.endswith(",d")


async def test_json_branches_that_changed_different_things_are_joined_by_code_alone() -> None:
    def _sets(request: Any) -> str:
        state = json.loads(section(request.messages[-1].content, "State"))
        (step,) = section(request.messages[-1].content, "Current steps").splitlines()
        return json.dumps(state | {step.removeprefix("- "): len(state)})

    worker = Role(_sets)
    done = await executed(DIAMOND, worker, Role([YES]), form="json", start={})
    assert done.state == {"a": 0, "b": 1, "c": 1, "d": 3}
    assert len(worker.requests) == 4


async def test_a_json_state_that_two_branches_changed_alike_is_joined_against_what_both_began_from() -> None:
    def _counts(request: Any) -> str:
        state = json.loads(section(request.messages[-1].content, "State"))
        step = section(request.messages[-1].content, "Current steps").removeprefix("- ")
        return json.dumps(state | {"n": state.get("n", 0) + (step == "a"), step: True})

    done = await executed(DIAMOND, worker := Role(_counts), Role([YES]), form="json", start={"n": 5})
    assert done.state == {"n": 6, "a": True, "b": True, "c": True, "d": True}
    assert len(worker.requests) == 4


@pytest.mark.parametrize(
    ("k", "words", "outcome"),
    [
        (2, "yy", ("yes", 2, 0)),
        (2, "nn", ("no", 0, 2)),
        (2, "ynyy", ("yes", 3, 1)),
        (2, "ynynynyn", ("contentious", 4, 4)),
        (3, "nyyyy", ("yes", 4, 1)),
    ],
)
async def test_judges_of_a_state_vote_by_the_same_rule(k: int, words: str, outcome: tuple[Any, ...]) -> None:
    events: list[Any] = []
    await executed(["a"], Role(adds), Role(by_ballot(words, "y")), k=k, on_event=events.append)
    first = next(event for event in events if isinstance(event, ExecutionVoted))
    assert (first.verdict, first.votes, first.attempt) == (outcome[0], Votes(k, outcome[1], outcome[2], 0), 1)


async def test_an_end_is_no_verdict_on_a_state() -> None:
    judge = Role(lambda r: YES if r.draw.redraw else verdict("End"))
    done = await executed(["a"], Role(adds), judge)
    assert done.totals["execution_voting"].flagged == {"malformed": 2}


async def test_reasons_go_into_the_next_attempt_at_a_batch_and_no_further() -> None:
    worker = Role(adds)
    judge = Role(lambda r: verdict("No", "b is missing") if (r.draw.item, r.draw.step) == (2, 1) else YES)
    done = await executed(CHAIN, worker, judge)
    assert done.state == "a,b,c"
    said = [section(prompt, "Reasons") for prompt in worker.prompts]
    assert said == ["none", "none", "- b is missing", "none"]
    assert section(worker.prompts[2], "State") == "a"


async def test_after_all_attempts_the_state_before_the_batch_is_kept() -> None:
    worker, judge = Role(adds), Role(lambda r: verdict("No", "never") if r.draw.item == 2 else YES)
    with pytest.raises(Rejected, match="step 1: 5 attempts were refused, the last one because: never") as caught:
        await executed(CHAIN, worker, judge)
    partial = caught.value.partial
    assert (partial.status, partial.state, partial.completed, partial.reasons) == ("undecided", "a", (0,), ("never",))
    assert caught.value.run == partial.run
    assert len(worker.requests) == 1 + 5


async def test_an_execution_goes_on_from_the_state_before_the_batch_that_was_refused(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    judge = Role(lambda r: verdict("No", "never") if r.draw.item == 2 else YES)
    with pytest.raises(Rejected) as caught:
        await executed(CHAIN, Role(adds), judge, journal=journal, attempts=2)
    worker = Role(adds)
    again = {"journal": journal, "run": caught.value.run}
    with pytest.raises(Rejected):
        await executed(CHAIN, worker, Role([YES]), attempts=2, **again)
    assert worker.requests == []
    done = await executed(CHAIN, worker, Role([YES]), attempts=3, **again)
    assert (done.status, done.state) == ("done", "a,b,c")
    assert [section(prompt, "State") for prompt in worker.prompts] == ["a", "a,b"]
    with pytest.raises(FingerprintChanged, match="steps"):
        await executed(FORK, worker, Role([YES]), **again)


async def test_resuming_it_as_a_single_chain_says_how_it_is_gone_on_with(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    done = await executed(["a"], Role(adds), Role([YES]), journal=journal)
    with pytest.raises(UsageError, match="made of branches") as caught:
        await aio.resume(done.run, journal=journal)
    assert f"mdap.execute(..., run='{done.run}')" in caught.value.remedy


async def test_text_passes_through_as_it_is() -> None:
    text = "  {state} {{x}}\n```json\n{}\n```\n# README \\n {API_KEY}\n\n"
    judge = Role([YES])
    done = await executed(["a", "b"], Role([text]), judge, start="{prompt}")
    assert done.state == text
    assert f"## State after\n{text}\n\n## What to judge" in judge.prompts[0]
    assert "## State before\n{prompt}\n" in judge.prompts[0]


async def test_the_format_is_told_only_where_a_step_requires_it() -> None:
    plan = [{"task": "a"}, {"task": "b", "RequiresFormat": True}, {"task": "c", "voteRequiresFormat": True}]
    worker, judge = Role(adds), Role([YES])
    await executed(plan, worker, judge, format="upper case", k=1)
    assert [section(prompt, "Format of the result") for prompt in worker.prompts] == ["none", "upper case", "none"]
    assert [section(p, "Format of the result") for p in judge.prompts] == ["none", "upper case", "upper case"]


async def test_the_context_of_the_steps_goes_along_with_them() -> None:
    worker = Role(adds)
    await executed([{"task": "a", "extraContext": "é {x}"}, {"task": "b"}], worker, Role([YES]), k=1)
    assert [section(prompt, "Context") for prompt in worker.prompts] == ["- é {x}", "none"]


async def test_a_json_state_is_read_strictly() -> None:
    worker = Role(lambda r: '{"a": 1}' if r.draw.redraw else '{"a": 1} done')
    done = await executed(["a"], worker, Role([YES]), form="json")
    assert (done.state, done.totals["execution"].flagged) == ({"a": 1}, {"malformed": 1})


async def test_in_a_race_json_states_are_voted_on_by_their_canonical_form() -> None:
    said = ['{"a": 1, "b": 2}', '{"a": 2}', '{"b": 2, "a": 1}', '{"b":2,"a":1}']
    judge = Role([YES])
    done = await executed(["a"], Role(said), judge, form="json", execution="race", k=2)
    assert done.state == {"a": 1, "b": 2}
    assert judge.requests == []
    assert done.totals["execution"].votes == 4


async def test_in_a_race_judges_choose_a_free_text_by_its_number() -> None:
    events: list[Any] = []
    worker = Role(["one", "two", "one"])
    judge = Role(lambda r: json.dumps({"choice": 2, "reason": ""}))
    done = await executed(["a"], worker, judge, execution="race", on_event=events.append)
    assert (done.state, len(worker.requests)) == ("two", 3)
    assert section(judge.prompts[0], "Candidates") == "### Candidate 1\none\n### Candidate 2\ntwo"
    (voted,) = [event for event in events if isinstance(event, ExecutionVoted)]
    assert (voted.choices, voted.verdict) == ((0, 0, 2), "yes")


async def test_in_a_race_none_of_the_candidates_is_a_refusal_with_its_reasons() -> None:
    worker = Role(["one"])
    choices = [json.dumps({"choice": 0, "reason": "all wrong"})] * 2 + [json.dumps({"choice": 1})]
    done = await executed(["a"], worker, Role(choices), execution="race")
    assert done.state == "one"
    assert [section(prompt, "Reasons") for prompt in worker.prompts] == ["none", "- all wrong"]


@pytest.mark.parametrize("choice", ["3", '{"choice": 3}', '{"choice": true}', '{"choice": 0}', '{"choice": "1"}'])
async def test_a_choice_that_cannot_be_read_is_a_red_flag(choice: str) -> None:
    judge = Role(lambda r: '{"choice": 1}' if r.draw.redraw else choice)
    done = await executed(["a"], Role(["one"]), judge, execution="race", k=1)
    assert done.totals["execution_voting"].flagged == {"malformed": 1}


async def test_observers_hear_of_each_batch_before_and_after_it_and_may_stop_the_run() -> None:
    events: list[Any] = []

    def _one(event: Any) -> None:
        events.append(event)
        if isinstance(event, StateChanged) and event.completed == 2:
            raise Stop("enough")

    stopped = await executed(CHAIN, Role(adds), Role([YES]), on_event=_one)
    assert (stopped.status, stopped.state, stopped.completed) == ("stopped", "a,b", (0, 1))
    told = [event for event in events if isinstance(event, ExecutionStarted | StateChanged)]
    assert [(type(event).__name__, event.completed, event.total) for event in told] == [
        ("ExecutionStarted", 0, 3),
        ("StateChanged", 1, 3),
        ("ExecutionStarted", 1, 3),
        ("StateChanged", 2, 3),
    ]


async def test_a_budget_ends_an_execution_with_the_state_that_was_reached() -> None:
    done = await executed(CHAIN, Role(adds), Role([YES]), budget_calls=7)
    assert (done.status, done.state, done.completed) == ("budget", "a,b", (0, 1))
    assert done.run in done.reason


async def test_a_judge_that_talks_nonsense_ends_an_execution_as_undecided() -> None:
    done = await executed(CHAIN, Role(adds), Role(["I think so"]))
    assert (done.status, done.state, done.completed) == ("undecided", "", ())
    assert done.totals["execution_voting"].samples <= 22


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"attempts": 0}, "attempts=0"),
        ({"form": "yaml"}, "form='yaml'"),
        ({"execution": "guess"}, "execution='guess'"),
        ({"execution": "race", "candidates": 0}, "n=0"),
    ],
)
async def test_bad_options_are_refused_before_anything_is_asked(options: dict[str, Any], said: str) -> None:
    worker = Role(adds)
    with pytest.raises(UsageError, match=said):
        await executed(["a"], worker, Role([YES]), **options)
    assert worker.requests == []


@pytest.mark.parametrize(
    ("plan", "code"),
    [("nothing", "plan-not-json"), ('[{"task": "a", "requiredSteps": [0]}]', "plan-cycle")],
)
async def test_a_bad_plan_is_refused_before_anything_is_asked(plan: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        await executed(plan, Role(adds), Role([YES]))
    assert caught.value.code == code


async def test_what_was_planned_is_what_is_carried_out() -> None:
    planned = await aio.plan("x", planning_model=Role(['["a", "End"]']), plan_voting_model=Role([YES]), k=1)
    assert (await executed(planned, Role(adds), Role([YES]))).state == "a"
    done = await aio.do(
        "x",
        planning_model=Role(['["a", "b"]', "End"]),
        plan_voting_model=Role([YES]),
        execution_model=Role(adds),
        execution_voting_model=Role([YES]),
        k=1,
    )
    assert (done.state, done.status) == ("a,b", "done")
    assert done.plan is not None
    assert (done.plan.steps, done.plan.status) == (done.steps, "done")
    assert list(done.totals) == ["planning", "plan_voting", "execution", "execution_voting"]


async def test_nothing_is_carried_out_of_a_plan_that_is_not_complete() -> None:
    worker = Role(adds)
    done = await aio.do("x", Role(["nonsense"]), execution_model=worker, k=1)
    assert (done.status, done.state, worker.requests) == ("undecided", "", [])
    assert done.plan is not None
    assert done.plan.status == "undecided"
    with pytest.raises(Rejected) as caught:
        await aio.do("x", Role(['["a"]']), plan_voting_model=Role([verdict("No")]), execution_model=worker, k=1)
    assert isinstance(caught.value.partial, Plan)
    assert worker.requests == []
