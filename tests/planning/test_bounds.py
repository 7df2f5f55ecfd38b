"""Values that can be read and still are none to go on with: too deep, of no number, of too many digits, said twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap
from mdap.core import formats
from mdap.core.errors import RedFlag, TaskError, UsageError
from mdap.planning.bounds import MOST_DEPTH, check_numbers, shallow
from mdap.planning.composition import Part, compose
from mdap.planning.division import ATOMIC, Division, Subtask
from mdap.planning.intents import read_intent
from mdap.planning.verdicts import NO, YES, read_choice, read_verdict
from tests.planning.support import YES as SAYS_YES
from tests.planning.support import Role, steps

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int, kind: type = list) -> Any:
    """A value of so many levels: the innermost is an empty array, or an object."""
    value: Any = kind()
    for _ in range(depth - 1):
        value = [value] if kind is list else {"a": value}
    return value


def parts(*values: Any) -> list[Part]:
    return [Part(str(number), value) for number, value in enumerate(values, 1)]


# ---- how deep ----


@given(json_values)
def test_what_is_not_too_deep_comes_back_as_it_is(value: Any) -> None:
    assert shallow(value) is value


@pytest.mark.parametrize("kind", [list, dict])
def test_the_bound_is_the_same_for_arrays_and_objects(kind: type) -> None:
    shallow(nested(MOST_DEPTH + 1, kind))
    with pytest.raises(RedFlag, match="nested more than 100 deep"):
        shallow(nested(MOST_DEPTH + 2, kind))


def test_a_value_past_the_interpreters_own_depth_is_told_like_any_other() -> None:
    with pytest.raises(RedFlag, match="nested more than 100 deep"):
        shallow(nested(50_000))


def test_a_wide_value_is_not_deep() -> None:
    wide = [[n] for n in range(20_000)]
    assert shallow(wide) is wide


DEEP = "[" * 600 + "]" * 600


@pytest.mark.parametrize("way", ["judge", "race"])
async def test_a_state_that_is_too_deep_is_a_red_flag_and_not_the_end_of_the_run(way: Any) -> None:
    worker = Role([DEEP, *["[1]"] * 9])
    done = await mdap.aio.execute(
        ["a"],
        "x",
        execution_model=worker,
        execution_voting_model=Role([SAYS_YES]),
        form="json",
        execution=way,
        k=1,
        redraws=2,
    )
    assert (done.status, done.states) == ("done", ([1],))
    assert done.totals["execution"].flagged == {"malformed": 1}


def test_an_answer_that_is_too_deep_is_a_red_flag_and_not_the_end_of_the_run() -> None:
    solver = Role([DEEP, *["[1]"] * 9])
    result = mdap.Agent(solver, k=2, decompose="none", format=formats.json_schema({}), redraws=2).run("x")
    assert (result.answer, result.statistics.flags) == ([1], {"malformed": 1})


def test_a_call_whose_arguments_are_too_deep_is_a_red_flag() -> None:
    with pytest.raises(RedFlag, match="nested"):
        read_intent('{"tool": "a", "arguments": {"x": ' + DEEP + "}}")


# ---- which numbers ----


@given(json_values)
def test_all_that_json_holds_is_let_pass(value: Any) -> None:
    check_numbers(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 10**4300], ids=lambda _: "n")
@pytest.mark.parametrize("around", [lambda n: n, lambda n: [n], lambda n: {"a": [{"b": n}]}])
def test_what_no_number_of_json_is_is_refused_wherever_it_stands(number: Any, around: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|digits"):
        check_numbers(around(number))


def test_nan_is_no_answer_of_a_composition_of_ones_own_and_never_a_null() -> None:
    with pytest.raises(TaskError, match="composition 'mean' raised ValueError"):
        compose("mean", parts(1, 2), {"mean": lambda _: float("nan")})
    assert compose("none", parts(1, 2), {"none": lambda _: None}) is None


@pytest.mark.parametrize(
    ("how", "values"), [("product", ["9" * 4000] * 2), ("product", ["9" * 3000] * 20), ("sum", ["9" * 4300, 1])]
)
def test_an_integer_that_nobody_could_read_again_is_an_error_that_says_so(how: str, values: list[Any]) -> None:
    with pytest.raises(TaskError, match=f"{how} comes to an integer of too many digits"):
        compose(how, parts(*values))


def test_the_longest_integers_that_can_be_read_are_composed_exactly() -> None:
    assert compose("sum", parts("9" * 4299, 1)) == 10**4299
    assert compose("max", parts("9" * 4300, 1)) == 10**4300 - 1
    assert compose("sum", parts("9" * 4300, "0.5")) == "9" * 4300 + ".5"


def test_a_product_past_all_bounds_ends_an_agents_run_with_its_task_named() -> None:
    def _halves(task: str) -> Division:
        return Division((Subtask("left"), Subtask("right")), "product") if task == "x" else ATOMIC

    result = mdap.Agent(Role(["9" * 4000]), k=1, decompose=_halves).run("x")
    assert result.status == "error"
    assert result.error.startswith("the task 'x': product comes to an integer of too many digits")
    json.dumps(result.to_dict())


@pytest.mark.parametrize("text", ["1_000", "1_0.5", "1e1_0", "_1", "1_"])
def test_digits_with_underscores_are_no_number(text: str) -> None:
    with pytest.raises(TaskError, match="is no number"):
        compose("sum", parts(text, 1))


def test_a_composition_of_ones_own_cannot_change_the_results_of_subtasks() -> None:
    given_to = parts([1], {"a": [2]})

    def _drains(values: Any) -> int:
        values[0].append(9)
        values[1]["a"].clear()
        return 0

    assert compose("drain", given_to, {"drain": _drains}) == 0
    assert [part.value for part in given_to] == [[1], {"a": [2]}]


@pytest.mark.parametrize("made", [object(), lambda: 1, {1, object()}])
def test_what_no_json_is_is_no_result_of_a_composition_of_ones_own(made: Any) -> None:
    with pytest.raises(TaskError, match="composition 'odd' raised"):
        compose("odd", parts(1), {"odd": lambda _: made})


# ---- what planning begins with ----


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"a": float("nan")}, "nothing that JSON can hold"),
        ([float("inf")], "nothing that JSON can hold"),
        (nested(200), "nested more than 100 deep"),
        (nested(900), "nested"),
        ({"a": object()}, "nothing that JSON can hold"),
        ("\ud800", "halves of characters"),
    ],
)
async def test_a_state_to_begin_with_that_is_no_json_is_refused_before_anything_is_asked(start: Any, said: str) -> None:
    worker = Role(["{}"])
    with pytest.raises(UsageError, match=said) as refused:
        await mdap.aio.execute(["a"], "x", worker, form="json", start=start)
    assert "the state before the first step" in str(refused.value)
    assert worker.requests == []


@given(json_values)
def test_any_json_is_a_state_to_begin_with(start: Any) -> None:
    worker = Role([json.dumps(start)])
    ways: dict[str, Any] = {"execution_voting_model": Role([SAYS_YES]), "form": "json", "k": 1}
    done = mdap.execute(["keep it"], "x", execution_model=worker, start=start, **ways)
    assert done.status == "done"


# ---- said twice, or by nobody ----


@pytest.mark.parametrize(
    "text",
    [
        '{"verdict": "Yes", "Verdict": "No", "reason": "x"}',
        '{"verdict": "Yes", "REASON": "x", "reason": "y"}',
        '{"Verdict": "No", "verdict": "Yes"}',
    ],
)
def test_a_verdict_in_two_spellings_of_its_key_is_none(text: str) -> None:
    with pytest.raises(RedFlag, match="twice, in two spellings"):
        read_verdict(text, (YES, NO))


def test_so_is_a_choice() -> None:
    with pytest.raises(RedFlag, match="twice, in two spellings"):
        read_choice('{"choice": 1, "Choice": 2}', 2)


@pytest.mark.parametrize("said", [True, 1, ["too long"]])
async def test_a_check_of_steps_that_gives_no_text_is_named(said: Any) -> None:
    with pytest.raises(TaskError, match=r"check_step said .*, which is no text"):
        await mdap.aio.plan("x", Role([steps("a")]), check_step=lambda _: said, k=1)


async def test_a_check_of_steps_that_raises_is_named_as_part_of_the_plan() -> None:
    with pytest.raises(TaskError, match=r"parse raised ZeroDivisionError"):
        await mdap.aio.plan("x", Role([steps("a")]), check_step=lambda _: str(1 / 0), k=1)
