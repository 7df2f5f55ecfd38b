"""Problems that one reply answers: products and lists, exact, from a seed alone."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap
from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Message
from mdap.tasks.catalog import task
from mdap.tasks.problems import Multiplication, Sorting, multiplication, sorting
from tests.tasks.contract import TaskContract


class TestMultiplication(TaskContract):
    def make(self) -> Multiplication:
        return multiplication(5, 3)


class TestLongMultiplication(TaskContract):
    def make(self) -> Multiplication:
        return multiplication(20, 1, 2)


class TestSorting(TaskContract):
    def make(self) -> Sorting:
        return sorting(30, 2)


class TestSortingOfOne(TaskContract):
    def make(self) -> Sorting:
        return sorting(1, 0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**40))
def test_both_numbers_have_exactly_as_many_digits_as_asked(digits: int, other: int, seed: int) -> None:
    made = multiplication(digits, seed, other)
    assert (len(str(made.a)), len(str(made.b))) == (digits, other)
    assert made.solved(made.problem) == made.a * made.b


def test_seeds_give_other_problems_and_the_same_seed_the_same() -> None:
    assert len({multiplication(seed=seed).problem for seed in range(200)}) == 200
    assert multiplication(seed=7) == multiplication(seed=7)
    assert sorting(seed=1).numbers != sorting(seed=2).numbers
    assert multiplication(seed=7).a != multiplication(seed=7).b


def test_a_list_has_as_many_numbers_as_asked_over_their_whole_range() -> None:
    numbers = sorting(500, 4).numbers
    assert len(numbers) == 500
    assert all(0 <= number <= 9999 for number in numbers)
    assert min(numbers) < 100 < 9900 < max(numbers)


def test_products_are_exact_at_any_length() -> None:
    made = multiplication(200, 1)
    assert made.parse(f"answer = {made.a * made.b}", made.start()).action == made.a * made.b
    assert made.answer(made.start()).action % 10 == (made.a % 10) * (made.b % 10) % 10


@pytest.mark.parametrize(
    "text", ["answer = 1.0", "answer = -3", "answer = 007", "42", "answer: 42", "answer = 4 2", "answer ="]
)
def test_a_product_is_a_whole_number_on_the_last_line(text: str) -> None:
    made = multiplication()
    with pytest.raises(RedFlag):
        made.parse(text, made.start())


@pytest.mark.parametrize("text", ["answer = [1, 2.0]", "answer = [1, true]", 'answer = "1, 2"', "answer = {}"])
def test_a_list_is_one_of_whole_numbers(text: str) -> None:
    made = sorting(3)
    with pytest.raises(RedFlag):
        made.parse(text, made.start())


def test_thinking_aloud_before_the_last_line_is_no_flag() -> None:
    made = multiplication(1, 0)
    assert (
        made.parse(f"Let me see.\nanswer = 5\n\nanswer = {made.a * made.b}\n", made.start()).action == made.a * made.b
    )


@given(st.lists(st.integers(0, 9999), max_size=8))
def test_no_mistake_in_a_list_is_the_right_answer(numbers: list[int]) -> None:
    problem = f"Sort in ascending order: {numbers}"
    made = sorting(3)
    assert made.solved(problem) == sorted(numbers)
    assert made.wrong(problem)
    assert sorted(numbers) not in made.wrong(problem)


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_no_mistake_in_a_product_is_the_right_answer(a: int, b: int) -> None:
    problem = f"Multiply {a} by {b}."
    assert a * b not in multiplication().wrong(problem)
    assert len(set(multiplication().wrong(problem))) == 3


@pytest.mark.parametrize(
    "problem",
    [
        "",
        "Multiply 2 by 3",
        "Multiply 2 by -3.",
        "Multiply 2 by three.",
        f"Multiply {'9' * 5000} by 1.",
        "Sort in ascending order: 1, 2",
        "Sort in ascending order: [1,,2]",
        "Sort in ascending order: [1, 2",
        "Sort in ascending order: [[1]]",
        f"Sort in ascending order: [{'9' * 5000}]",
    ],
)
@pytest.mark.parametrize("made", [multiplication(), sorting(3)])
def test_a_text_that_is_no_such_problem_is_refused_and_never_guessed(made: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=r"is no product|is no list|delimiter|Expecting|limit|digits"):
        made.solved(problem)
    form = made.prompt({"problem": ""})
    with pytest.raises(ValueError, match=r"is no product|is no list|delimiter|Expecting|limit|digits"):
        made.read([Message("user", f"{problem}{form}")])
    with pytest.raises(ValueError, match=r"no prompt"):
        made.read([])


@given(st.integers(0, 2**40))
def test_a_random_problem_is_one_of_the_same_size_and_its_prompt_is_read_back(seed: int) -> None:
    for made in (multiplication(4, 0, 2), sorting(6)):
        state = made.sample(Random(seed))
        assert made.read([Message("user", made.prompt(state))]) == state
        assert made.parse(made.write(made.answer(state)), state) == made.answer(state)
        for move in made.mistakes(state):
            assert made.parse(made.write(move), state) == move


def test_they_are_tasks_by_name() -> None:
    assert task("multiplication:digits=6,seed=2") == multiplication(6, 2)
    assert task("multiplication:6") == multiplication(6)
    assert task("multiplication:digits=6,other=3") == multiplication(6, 0, 3)
    assert task("sorting:n=500") == sorting()


@pytest.mark.parametrize(
    "spec", ["multiplication:0", "multiplication:1001", "multiplication:5,seed=-1", "sorting:0", "sorting:100001"]
)
def test_sizes_out_of_range_are_named(spec: str) -> None:
    with pytest.raises(UsageError, match="out of range"):
        task(spec)


@pytest.mark.parametrize("spec", ["multiplication:digits=5,seed=1", "sorting:n=20"])
def test_a_bare_model_answers_at_once_and_is_as_good_as_it_is(spec: str) -> None:
    right: Any = mdap.run(spec, "simulated:p=1", k=1)
    assert (right.status, right.wrong, right.steps) == ("done", 0, 1)
    assert mdap.run(spec, "simulated:p=0", k=1).wrong == 1
