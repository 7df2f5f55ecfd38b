"""The steps of a plan: how they are read and written, what is refused, how they are ordered and batched."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import UsageError
from mdap.planning.atomic import not_atomic
from mdap.planning.graph import batches, check_requirements, last_of, ordered
from mdap.planning.steps import PlanStep, read_steps, write_steps


def plan(*requirements: tuple[int, ...]) -> tuple[PlanStep, ...]:
    """A plan whose step at each place requires these."""
    return tuple(PlanStep(task=f"do {n}", required_steps=needs) for n, needs in enumerate(requirements))


def refused(given: object) -> str:
    """The code of the error that a plan is refused with; it always says what to do about it."""
    with pytest.raises(UsageError) as caught:
        check_requirements(read_steps(given))  # type: ignore[arg-type]
    assert caught.value.remedy
    return caught.value.code


@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda key: key[0].upper() + key[1:]])
def test_keys_are_read_in_any_case(spell: object) -> None:
    assert callable(spell)
    written = {
        "task": "sort it",
        "requiredSteps": [],
        "requiresFormat": True,
        "extraContext": "é",
        "voteRequiresFormat": True,
    }
    (step,) = read_steps([{spell(key): value for key, value in written.items()}])
    assert step == PlanStep(task="sort it", requires_format=True, extra_context="é", vote_requires_format=True)


def test_snake_case_is_read_too_and_unknown_keys_are_left_out() -> None:
    (step, _) = read_steps('[{"task": "a", "required_steps": [1], "colour": 3}, {"task": "b"}]')
    assert step == PlanStep(task="a", required_steps=(1,))


def test_a_plan_is_written_in_camel_case_and_read_back_as_it_was() -> None:
    steps = (PlanStep(task="a {b} ```"), PlanStep(task="c", required_steps=(0,), vote_requires_format=True))
    written = write_steps(steps)
    assert [list(step) for step in json.loads(written)] == [
        ["task", "requiredSteps", "requiresFormat", "extraContext"],
        ["task", "requiredSteps", "requiresFormat", "extraContext", "voteRequiresFormat"],
    ]
    assert read_steps(written) == steps


@pytest.mark.parametrize("end", ["End", "end.", " END "])
def test_what_stands_for_the_end_of_a_plan_is_no_step_of_it(end: str) -> None:
    assert read_steps([{"task": "a"}, {"task": end}]) == (PlanStep(task="a"),)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("no JSON", "plan-not-json"),
        (b"\xff", "plan-not-json"),
        ('[{"task": "a"}] and more', "plan-not-json"),
        ("3", "plan-not-steps"),
        ("[3]", "plan-not-steps"),
        ('[{"requiredSteps": []}]', "plan-no-task"),
        ('[{"task": "  "}]', "plan-no-task"),
        ('[{"task": 3}]', "plan-no-task"),
        ('[{"task": "a", "Task": "b"}]', "plan-bad-value"),
        ('[{"task": "a", "requiredSteps": "0"}]', "plan-bad-value"),
        ('[{"task": "a", "requiredSteps": [true]}]', "plan-bad-value"),
        ('[{"task": "a", "requiresFormat": "yes"}]', "plan-bad-value"),
        ('[{"task": "a", "extraContext": 3}]', "plan-bad-value"),
        ('["a", "End", "b"]', "plan-bad-value"),
        ('[{"task": "a", "requiredSteps": [7]}]', "plan-unknown-step"),
        ('[{"task": "a", "requiredSteps": [-1]}]', "plan-unknown-step"),
        ('[{"task": "a"}, {"task": "b", "requiredSteps": [0, 0]}]', "plan-duplicate"),
        ('[{"task": "a", "requiredSteps": [0]}]', "plan-cycle"),
        ('[{"task": "a", "requiredSteps": [1]}, {"task": "b", "requiredSteps": [0]}]', "plan-cycle"),
    ],
)
def test_each_way_in_which_a_plan_is_none_has_an_error_of_its_own(given: object, code: str) -> None:
    assert refused(given) == code


def test_a_ring_is_told_apart_from_what_leads_into_it_and_out_of_it() -> None:
    with pytest.raises(UsageError, match=r"steps 1, 2 require one another"):
        check_requirements(plan((), (0, 2), (1,), (2,)))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[PlanStep, ...]:
    """Plans without rings, their steps in any order."""
    count = draw(st.integers(1, 9))
    places = draw(st.permutations(range(count)))
    needs = {
        places[at]: tuple(sorted(draw(st.sets(st.sampled_from(places[:at]))))) if at else () for at in range(count)
    }
    return plan(*(needs[place] for place in range(count)))


@given(graphs(), st.integers(1, 4))
def test_a_batch_begins_only_when_all_that_its_steps_require_is_in_the_states_it_begins_from(
    steps: tuple[PlanStep, ...], size: int
) -> None:
    check_requirements(steps)
    found = batches(steps, size)
    assert sorted(place for batch in found for place in batch.steps) == list(range(len(steps)))
    held: dict[int, set[int]] = {}
    for batch in found:
        assert 1 <= len(batch.steps) <= size
        before = set().union(*(held[number] for number in batch.after))
        for place in batch.steps:
            assert before >= set(steps[place].required_steps)
        held[batch.number] = before | set(batch.steps)
    assert set().union(*(held[number] for number in last_of(found))) == set(range(len(steps)))


@given(graphs())
def test_the_order_is_that_of_the_plan_wherever_requirements_leave_a_choice(steps: tuple[PlanStep, ...]) -> None:
    order = ordered(steps)
    for at, place in enumerate(order):
        earlier = [other for other in order[at + 1 :] if other < place]
        assert all(not set(steps[other].required_steps) <= set(order[:at]) for other in earlier)


def test_independent_branches_are_batches_that_do_not_wait_for_one_another_and_join() -> None:
    found = batches(plan((), (0,), (), (2,), (1, 3)), 2)
    assert [(batch.steps, batch.after) for batch in found] == [
        ((0, 2), ()),
        ((1,), (0,)),
        ((3,), (0,)),
        ((4,), (1, 2)),
    ]


def test_a_plan_that_requires_nothing_at_all_is_a_sequence() -> None:
    found = batches(plan((), (), ()), 2)
    assert [(batch.steps, batch.after) for batch in found] == [((0, 1), ()), ((2,), (0,))]


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_size_that_is_no_number_of_steps_is_refused(size: Any) -> None:
    with pytest.raises(UsageError, match="batch_size="):
        batches(plan(()), size)


def test_long_plans_are_ordered_in_no_time_whichever_way_they_are_written() -> None:
    count = 5000
    forward = plan((), *[(place,) for place in range(count - 1)])
    backward = plan(*[(place + 1,) for place in range(count - 1)], ())
    began = time.perf_counter()
    for steps in (forward, backward):
        check_requirements(steps)
        found = batches(steps, 2)
        assert (len(found), last_of(found)) == (count, (count - 1,))
    assert ordered(backward) == list(reversed(range(count)))
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "task",
    [
        "Add the name and update the size",
        "Compute the sum, then sort the list",
        "Determine the name and the age",
        "Set width, height, and depth",
        "Change the color and update the size",
        "Write the header. Add a footer",
        "Write the header; append the footer",
        "x" * 129,
    ],
)
def test_a_step_of_more_than_one_action_is_found(task: str) -> None:
    assert not_atomic(task)


@pytest.mark.parametrize(
    "task",
    [
        "Determine the title and format field",
        "Append the number 3 to the list",
        "Calculate the difference between the start and the end",
        "Write the section on filters and sort orders",
        "End",
        "",
        "x" * 128,
    ],
)
def test_a_step_of_one_action_is_let_pass_even_where_a_noun_could_be_a_verb(task: str) -> None:
    assert not_atomic(task) is None
