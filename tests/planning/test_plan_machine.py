"""Plans and changes of states as machines: whatever is said, every walk keeps to its bounds and comes to an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdap.core.errors import RedFlag, Rejected, UsageError
from mdap.core.plain import plain
from mdap.core.records import ABSENT, Decision, Move
from mdap.planning.atomic import MOST_CHARACTERS
from mdap.planning.carrying_out import CarryingOut, Work
from mdap.planning.events import (
    ExecutionStarted,
    ExecutionVoted,
    PlanRestarted,
    PlanVoted,
    StateChanged,
    StepsAdded,
    StepsProposed,
    StepsRejected,
)
from mdap.planning.execution_task import ExecutionTask, check_way
from mdap.planning.graph import batches, check_requirements
from mdap.planning.joining import merged
from mdap.planning.plan_task import MOST_REJECTIONS, PLANNING, PlanTask, steps_of
from mdap.planning.steps import PlanStep, is_end, read_steps, write_steps
from mdap.planning.telling import told
from mdap.planning.templates import SLOTS, Templates, listed
from mdap.planning.tool_task import MARK
from mdap.planning.verdicts import CONTENTIOUS, END, NO, YES, distinct, read_verdict

names = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and not is_end(text))


def proposal(*tasks: str, ends: bool = False) -> str:
    return json.dumps([*({"task": task} for task in tasks), *(["End"] if ends else [])])


def judgement(word: str) -> str:
    return json.dumps({"verdict": word, "reason": "so" if word == NO else ""})


def stepped(task: Any, state: Any, replies: Sequence[str], winner: int | None = 0) -> tuple[Any, Any]:
    """The state after a ballot with these votes, and the decision as observers are told of it."""
    votes = [task.parse(reply, state) for reply in replies]
    move = task.settle(state, votes, None if winner is None else votes[winner])
    after = plain(task.apply(state, move.action))
    return after, Decision(0, Move(move.action, after), (len(votes),), task.kind(state))


# ---- a plan in the making ----

BALLOTS: dict[str, tuple[list[str], int | None]] = {
    "yes": ([judgement(YES)], 0),
    "no": ([judgement(NO)], 0),
    "end": ([judgement(END)], 0),
    "split": ([judgement(YES), judgement(NO)], None),
}


@given(st.data(), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2))
@settings(max_examples=120)
def test_every_walk_of_a_plan_ends_within_its_bounds(data: st.DataObject, size: int, most: int, restarts: int) -> None:
    task = PlanTask("x", batch_size=size, max_steps=most, restarts=restarts, check_step=None)
    state = plain(task.start())
    # Each accepted proposal adds a step; each restart allows five more refusals in a row between two of them.
    bound = 2 * (most + 2) * (restarts + 1) * (MOST_REJECTIONS + 1)
    for _ in range(bound):
        if task.is_done(state):
            break
        if task.kind(state) == PLANNING:
            room = min(size, most - len(state["steps"] if state["rejections"] < MOST_REJECTIONS else state["prepend"]))
            many = data.draw(st.integers(1, room))
            state, decision = stepped(task, state, [proposal(*["a"] * many, ends=data.draw(st.booleans()))])
        else:
            replies, winner = BALLOTS[data.draw(st.sampled_from(sorted(BALLOTS)))]
            state, decision = stepped(task, state, replies, winner)
        assert len(state["steps"]) <= most
        assert state["restarts"] <= restarts
        assert state["rejections"] <= MOST_REJECTIONS
        check_requirements(steps_of(state))
        told_of = (StepsProposed, PlanVoted, StepsAdded, StepsRejected, PlanRestarted)
        assert all(isinstance(event, told_of) for event in told(decision, 1))
    assert task.is_done(state)
    assert [state["is_complete"], task.is_refused(state), task.is_full(state)].count(True) == 1


def test_the_events_of_a_plan_say_what_its_decisions_meant() -> None:
    task = PlanTask("x", restarts=1, check_step=None)
    state, decided = stepped(task, task.start(), [proposal("a")])
    assert list(told(decided, 4)) == [StepsProposed((PlanStep(task="a"),), False, ())]
    state, decided = stepped(task, state, [judgement(YES), judgement(NO), judgement(END)])
    voted, added = told(decided, 4)
    assert isinstance(voted, PlanVoted)
    assert (voted.votes.k, voted.votes.yes, voted.votes.no, voted.votes.end, voted.verdict) == (4, 1, 1, 1, "yes")
    assert added == StepsAdded((PlanStep(task="a"),), (PlanStep(task="a"),), False)
    for _ in range(MOST_REJECTIONS):
        state, _ = stepped(task, state, [proposal("b")])
        state, decided = stepped(task, state, [judgement(NO)])
    assert list(told(decided, 4))[1] == StepsRejected((PlanStep(task="b"),), ("so",), "no", 5)
    state, decided = stepped(task, state, [proposal("c")])
    assert next(told(decided, 4)) == PlanRestarted(1, ())


def test_an_end_against_a_proposal_drops_its_steps_and_says_so() -> None:
    task = PlanTask("x", check_step=None)
    state, _ = stepped(task, task.start(), [proposal("a")])
    state, decided = stepped(task, state, [judgement(END)])
    assert (state["steps"], state["is_complete"]) == ([], True)
    assert list(told(decided, 1))[1] == StepsAdded((), (), True)


def test_a_call_of_a_tool_and_a_step_of_another_kind_mean_nothing_to_observers() -> None:
    call = Move({MARK: {"tool": "a", "arguments": {}}}, {})
    assert list(told(Decision(0, call, (1,), PLANNING), 1)) == []
    assert list(told(Decision(0, Move({"x": 1}, {}), (1,), "other"), 1)) == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("[]", "no list of steps"),
        ("3", "no list of steps"),
        ('["End", "a"]', "behind the End"),
        ('[{"task": "End"}, {"task": "a"}]', "behind the End"),
        ('[{"task": "a", "requiredSteps": [0]}]', "does not come before it"),
        ('[{"task": "a", "requiredSteps": [-1]}]', "does not come before it"),
        ('["a", {"task": "b", "requiredSteps": [0, 0]}]', "requires a step twice"),
        ('["a", "b", "c"]', "3 steps are proposed, and 2 may be"),
        ('[{"tusk": "a"}]', "has no task"),
        ("[null]", "not an object"),
        ('[{"task": "a", "requiresFormat": 1}]', "requiresformat"),
        ("I would begin with a.", "not JSON"),
        ('["a"] and so on', "not JSON"),
    ],
)
def test_a_proposal_that_is_none_is_a_red_flag_that_says_why(reply: str, said: str) -> None:
    task = PlanTask("x")
    with pytest.raises(RedFlag, match=said):
        task.parse(reply, task.start())


@pytest.mark.parametrize("reply", ["End", "end.", " END! ", '"End"', '["End"]', '[{"Task": "end"}]', "```\nEnd\n```"])
def test_an_end_is_read_in_every_form(reply: str) -> None:
    task = PlanTask("x")
    assert task.parse(reply, task.start()).action == {"steps": [], "ends": True}


@pytest.mark.parametrize("word", ["Ende", "The End", "weekend", "end of file", ""])
def test_what_only_looks_like_an_end_is_none(word: str) -> None:
    assert not is_end(word)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"max_steps": 2.0}, "max_steps=2.0"),
        ({"restarts": -1}, "restarts=-1"),
        ({"prepend": [PlanStep(task="a")] * 3, "max_steps": 3}, "3 steps stand before the plan"),
        ({"prepend": [PlanStep(task="a", required_steps=(0,))]}, "in a ring"),
    ],
)
def test_a_plan_that_could_not_be_made_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PlanTask("x", **options)
    with pytest.raises(UsageError, match="the prompt is empty"):
        PlanTask(" \n")


def test_caps_do_not_make_another_plan_and_checks_do() -> None:
    plans = [PlanTask("x"), PlanTask("x", max_steps=3, restarts=9)]
    assert plans[0].version == plans[1].version
    others = [PlanTask("x", batch_size=3), PlanTask("x", check_step=None), PlanTask("x", check_step=str.upper)]
    assert len({plans[0].version, *(other.version for other in others)}) == 4


def test_a_step_at_the_length_that_is_allowed_is_taken_and_one_past_it_flagged() -> None:
    task = PlanTask("x")
    assert task.parse(proposal("y" * MOST_CHARACTERS), task.start())
    with pytest.raises(RedFlag) as flag:
        task.parse(proposal("y" * (MOST_CHARACTERS + 1)), task.start())
    assert flag.value.name == "not_atomic"


# ---- steps as JSON ----


@st.composite
def plans(draw: st.DrawFn) -> tuple[PlanStep, ...]:
    count = draw(st.integers(0, 6))
    made = []
    for place in range(count):
        earlier = st.lists(st.integers(0, place - 1), unique=True) if place else st.just([])
        made.append(
            PlanStep(
                task=draw(names),
                required_steps=tuple(draw(earlier)),
                requires_format=draw(st.booleans()),
                extra_context=draw(st.text(max_size=8)),
                vote_requires_format=draw(st.booleans()),
            )
        )
    return tuple(made)


@given(plans())
def test_a_plan_reads_back_as_it_was_written_in_every_form_of_it(steps: tuple[PlanStep, ...]) -> None:
    written = write_steps(steps)
    assert read_steps(written) == steps
    assert read_steps(written.encode()) == steps
    assert read_steps(json.loads(written)) == steps
    assert read_steps(steps) == steps
    assert read_steps(f"```json\n{written}\n```") == steps


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_is_given_as_a_plan_is_one_or_is_refused_by_name(given_plan: Any) -> None:
    found: Any = ()
    try:
        found = read_steps(given_plan)
    except UsageError as error:
        found = error
    if isinstance(found, UsageError):
        assert found.code in ("plan-not-json", "plan-not-steps", "plan-no-task", "plan-bad-value")
        assert found.remedy
    else:
        assert all(step.task.strip() for step in found)


@given(plans(), st.integers(1, 3))
def test_a_batch_waits_only_for_batches_before_it(steps: tuple[PlanStep, ...], size: int) -> None:
    for batch in batches(steps, size):
        assert all(number < batch.number for number in batch.after)


@given(st.lists(st.sampled_from(["", "a", "b"])))
def test_reasons_are_told_once_each_and_never_empty(reasons: list[str]) -> None:
    found = distinct(reasons)
    assert sorted(found) == sorted({one for one in reasons if one})


@given(st.sampled_from([YES, NO, END]), st.sampled_from(["", ".", "!", "..", " "]), st.booleans())
def test_a_verdict_is_read_whatever_its_case_and_its_stop(word: str, stop: str, upper: bool) -> None:
    said = {"VERDICT" if upper else "verdict": (word.upper() if upper else word) + stop, "Reason": "so"}
    assert read_verdict(json.dumps(said), (YES, NO, END)) == (word, "so")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"verdict": "No", "reason": "  "}', "a No has no reason"),
        ('{"verdict": "No", "reason": 3}', "is no text"),
        ('{"verdict": "End"}', "none of yes, no"),
        ('{"verdict": ["Yes"]}', "no verdict"),
        ('["Yes"]', "no JSON object"),
        ('{"verdict": "' + "y" * 500 + '"}', r"y{60}\.\.\."),
    ],
)
def test_a_judgement_that_is_none_is_a_red_flag_that_says_why(text: str, said: str) -> None:
    with pytest.raises(RedFlag, match=said):
        read_verdict(text, (YES, NO))


# ---- a change of the state ----


def change(**options: Any) -> ExecutionTask:
    return ExecutionTask("x", [PlanStep(task="do it")], [""], **options)


@given(st.data(), st.integers(1, 4), st.sampled_from(["judge", "race"]), st.sampled_from(["text", "json"]))
@settings(max_examples=80)
def test_every_walk_of_a_change_ends_with_a_state_that_was_drawn_or_with_none(
    data: st.DataObject, attempts: int, way: Any, form: Any
) -> None:
    task = change(attempts=attempts, way=way, form=form)
    state, drawn = plain(task.start()), list[Any]()
    for _ in range(2 * attempts + 1):
        if task.is_done(state):
            break
        if not state["candidates"]:
            replies = [json.dumps(n) for n in data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))]
            drawn += [task.parse(reply, state).action["state"] for reply in replies]
            state, _ = stepped(task, state, replies)
            continue
        most = 1 if way == "judge" else len(state["candidates"])
        chosen = data.draw(st.integers(0, most))
        reply = judgement(YES if chosen else NO) if way == "judge" else json.dumps({"choice": chosen, "reason": "so"})
        before, count = state, len(state["refused"])
        state, decision = stepped(task, state, [reply], data.draw(st.sampled_from([0, None])))
        (event,) = told(decision, 1)
        assert isinstance(event, ExecutionVoted)
        assert event.attempt == count + 1
        assert event.state in before["candidates"]
    assert task.is_done(state)
    assert all(one in drawn for one in state["result"])
    assert bool(state["result"]) != task.is_refused(state)


@pytest.mark.parametrize(
    ("form", "way", "attempts"),
    [("xml", "judge", 1), ("text", "vote", 1), ("text", "judge", 0), ("text", "judge", True), ("json", "race", 1.5)],
)
def test_a_way_that_cannot_be_is_refused(form: Any, way: Any, attempts: Any) -> None:
    with pytest.raises(UsageError, match=r"unknown|out of range"):
        check_way(form, way, attempts)


def test_judges_who_split_refuse_with_their_numbers_unless_somebody_gave_a_reason() -> None:
    task = change(way="race")
    state, _ = stepped(task, task.start(), ["a", "b"])
    picks = [json.dumps({"choice": n}) for n in (1, 2)]
    after, _ = stepped(task, state, picks, None)
    assert after["refused"] == [["judges disagreed: 0 for none, [1, 1] for the candidates"]]
    after, decided = stepped(task, state, [*picks, json.dumps({"choice": 0, "reason": "neither"})], None)
    assert after["refused"] == [["neither"]]
    (event,) = told(decided, 1)
    assert isinstance(event, ExecutionVoted)
    assert (event.verdict, event.choices) == (CONTENTIOUS, (1, 1, 1))


def test_the_way_and_the_form_make_another_execution_and_attempts_do_not() -> None:
    assert change(attempts=1).version == change(attempts=9).version
    assert len({change().version, change(way="race").version, change(form="json").version}) == 3


@given(st.text())
def test_a_text_state_is_shown_and_read_as_it_is(text: str) -> None:
    task = ExecutionTask("x", [PlanStep(task="do it")], [text])
    assert text in task.prompt(task.start())
    assert task.parse(text, task.start()).action == {"state": text}


# ---- a plan carried out, without a model ----


def carried(
    steps: Sequence[PlanStep], accept: Callable[[Any, list[Any]], Any], heard: list[Any] | None = None, **options: Any
) -> CarryingOut:
    """A plan carried out by a function of the steps of a batch and the states that it begins from."""

    async def _branch(item: int, task: Any) -> Any:
        state = task.start()
        await asyncio.sleep(0)
        made = accept([step["task"] for step in state["steps"]], state["befores"])
        return state | ({"refused": [["no"]] * 5} if made is ABSENT else {"result": [made]})

    tell: Any = (lambda event: None) if heard is None else heard.append
    return CarryingOut(Work(prompt="x", steps=tuple(steps), **options), _branch, tell)


def adding(tasks: list[str], befores: list[Any]) -> Any:
    found: dict[str, Any] = {}
    for before in befores:
        found |= before
    return found | dict.fromkeys(tasks, 1)


@given(plans(), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_every_step_is_carried_out_once_after_what_it_requires(steps: tuple[PlanStep, ...], size: int) -> None:
    named = tuple(PlanStep(task=str(n), required_steps=step.required_steps) for n, step in enumerate(steps))
    made: list[str] = []

    def _accept(tasks: list[str], befores: list[Any]) -> Any:
        held = set().union(*(before.keys() for before in befores))
        for task in tasks:
            assert {str(required) for required in named[int(task)].required_steps} <= held
        made.extend(tasks)
        return adding(tasks, befores)

    work, heard = None, list[Any]()
    work = carried(named, _accept, heard, start={}, form="json", batch_size=size)
    state = asyncio.run(work.run())
    assert set(state) == {step.task for step in named}
    assert sorted(made) == sorted(set(made))
    assert work.completed == tuple(range(len(named)))
    assert work.states == (state,)
    started = [event.number for event in heard if isinstance(event, ExecutionStarted)]
    changed = [event.number for event in heard if isinstance(event, StateChanged)]
    assert sorted(started) == sorted(changed) == list(range(len(batches(named, size))))


def needing(*requirements: tuple[int, ...]) -> tuple[PlanStep, ...]:
    return tuple(PlanStep(task=str(n), required_steps=needs) for n, needs in enumerate(requirements))


async def test_parts_of_text_are_joined_by_one_more_question() -> None:
    asked: list[tuple[list[str], list[Any]]] = []

    def _accept(tasks: list[str], befores: list[Any]) -> str:
        asked.append((tasks, befores))
        return "+".join([*befores, *tasks])

    work = carried(needing((), (0,), (0,)), _accept, batch_size=1)
    assert await work.run() == "+0+1++0+2"
    assert asked[-1] == ([], ["+0+1", "+0+2"])


async def test_objects_that_were_changed_at_the_same_place_are_joined_by_a_question_and_others_by_code() -> None:
    asked: list[list[str]] = []

    def _same(tasks: list[str], befores: list[Any]) -> Any:
        asked.append(tasks)
        return befores[0] | {"x": tasks[0] if tasks else "both"}

    work = carried(needing((), (0,), (0,)), _same, start={}, form="json", batch_size=1)
    assert await work.run() == {"x": "both"}
    asked.clear()
    work = carried(needing((), (0,), (0,)), adding, start={}, form="json", batch_size=1)
    assert await work.run() == {"0": 1, "1": 1, "2": 1}
    assert asked == []


async def test_a_refused_batch_ends_it_with_its_reasons_and_keeps_what_was_reached() -> None:
    def _accept(tasks: list[str], befores: list[Any]) -> Any:
        return ABSENT if tasks == ["2"] else adding(tasks, befores)

    work = carried(needing((), (0,), (1,)), _accept, start={}, form="json", batch_size=1)
    with pytest.raises(Rejected, match=r"step 2: 5 attempts were refused, the last one because: no") as refused:
        await work.run()
    assert (work.completed, work.states, work.reasons) == ((0, 1), ({"0": 1, "1": 1},), ("no",))
    assert "--attempts 10" in refused.value.remedy


async def test_a_plan_without_steps_is_carried_out_by_asking_nobody() -> None:
    def _never(tasks: list[str], befores: list[Any]) -> Any:
        raise AssertionError("nothing is asked")

    work = carried((), _never, start="as it was")
    assert (await work.run(), work.completed, work.states) == ("as it was", (), ("as it was",))


# ---- what branches changed, brought together ----

objects = st.dictionaries(
    st.sampled_from("abc"), st.integers(0, 2) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 1))
)


@given(objects, objects)
def test_a_part_that_changed_nothing_changes_nothing(base: Any, part: Any) -> None:
    assert merged(base, [base, part]) == merged(base, [part, base]) == merged(base, [part]) == part
    assert merged(base, [part, part]) == part


@given(objects, objects, objects)
def test_it_does_not_matter_which_part_comes_first(base: Any, one: Any, other: Any) -> None:
    assert merged(base, [one, other]) == merged(base, [other, one])


@given(objects, objects, objects)
def test_every_change_is_in_the_whole(base: Any, one: Any, other: Any) -> None:
    whole = merged(base, [one, other])
    if whole is ABSENT:
        return
    for part in (one, other):
        for key in {*base, *part}:
            before, after = base.get(key, ABSENT), part.get(key, ABSENT)
            if before is not after and before != after and not isinstance(after, dict):
                assert whole.get(key, ABSENT) == after


# ---- prompts of planning ----


@pytest.mark.parametrize("name", sorted(SLOTS))
def test_a_value_with_slots_of_its_own_is_not_filled_again(name: str) -> None:
    filled = Templates().filled(name, dict.fromkeys(SLOTS[name], "{prompt} {{}}"))
    assert "{prompt} {{}}" in filled


@pytest.mark.parametrize("text", ["{prompt", "{}", "{0}", "{prompt.x}", "{prompt!r}", "{nothing}"])
def test_a_file_that_is_no_prompt_is_refused_by_name(text: str, tmp_path: Any) -> None:
    path = tmp_path / "plan.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        Templates({"plan": path})
    with pytest.raises(UsageError, match="unknown prompt of planning 'plans'"):
        Templates({"plans": path})


def test_a_list_of_nothing_is_the_word_none() -> None:
    assert (listed([]), listed(["a", "b"])) == ("none", "- a\n- b")
