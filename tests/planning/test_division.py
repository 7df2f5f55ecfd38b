"""How a task falls into parts without a model, which parts are small enough, and what a tree of parts comes to."""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.errors import RedFlag, UsageError
from mdap.planning.decomposers import decomposer, numbered, sentences, sequential, simple
from mdap.planning.division import ATOMIC, Division, Subtask, Tree, checked, in_order, leaves, read_division
from mdap.planning.minimality import RULES, is_minimal, no_sequence, one_act


def texts(division: Division) -> list[str]:
    return [subtask.task for subtask in division.subtasks]


# Divisions that ask nobody


@pytest.mark.parametrize(
    "task", ["Do:\n1. boil\n2. pour\n3. drink", "1) boil\n2) pour\n3) drink", "(1) boil\n (2) pour\n(3) drink"]
)
def test_numbered_lines_are_parts_each_after_the_one_before(task: str) -> None:
    division = numbered(task)
    assert texts(division) == ["boil", "pour", "drink"]
    assert [subtask.needs for subtask in division.subtasks] == [(), (1,), (2,)]
    assert division.compose == "sequence"
    assert division.complexity == pytest.approx(1)


def test_what_follows_a_numbered_line_belongs_to_it() -> None:
    assert texts(numbered("1. boil\n   gently\n\n2. pour")) == ["boil\n   gently", "pour"]


@pytest.mark.parametrize(
    "task", ["1999. was a year\n2000. too", "1.5 litres\n2.5 litres", "1. alone", "2. b\n3. c", ""]
)
def test_numbers_that_count_nothing_are_no_list(task: str) -> None:
    assert numbered(task) == ATOMIC


def test_sentences_end_where_another_begins() -> None:
    assert texts(sentences("Take 3.5 l. Heat it, e.g. slowly. Is it hot? Serve!")) == [
        "Take 3.5 l.",
        "Heat it, e.g. slowly.",
        "Is it hot?",
        "Serve!",
    ]
    assert sentences("One alone.") == ATOMIC


def test_sequential_takes_numbers_then_lines_then_sentences() -> None:
    assert texts(sequential("1. a\n2. b")) == ["a", "b"]
    assert texts(sequential("boil\n\npour")) == ["boil", "pour"]
    assert texts(sequential("Boil it. Pour it.")) == ["Boil it.", "Pour it."]
    assert sequential("Boil it") == ATOMIC


def test_simple_halves_the_sentences_and_loses_none() -> None:
    assert texts(simple("A a. B b. C c.")) == ["A a. B b.", "C c."]
    assert simple("A a.") == ATOMIC


def test_more_parts_than_a_division_may_have_are_refused_not_dropped() -> None:
    with pytest.raises(UsageError, match="21 parts, 20 at most"):
        sequential("\n".join(f"{number}. do it" for number in range(1, 22)))


@pytest.mark.parametrize(("name", "parts"), [("binary", 2), ("nary", 5), ("nary:7", 7)])
def test_decomposers_that_ask_a_model_say_how_many_parts_there_may_be(name: str, parts: int) -> None:
    made = decomposer(name)
    assert (made.divide, made.parts) == (None, parts)


@pytest.mark.parametrize("name", ["tree", "nary:1", "nary:x", "binary:2", "nary:21", "nary:parts=3"])
def test_an_unknown_decomposer_is_the_users_mistake(name: str) -> None:
    with pytest.raises(UsageError):
        decomposer(name)


def test_a_function_is_a_decomposer_and_none_divides_nothing() -> None:
    assert decomposer(sentences).spec == "own:sentences"
    none = decomposer("none").divide
    assert none is not None
    assert none("1. a\n2. b") == ATOMIC


# Which tasks are small enough


@pytest.mark.parametrize(
    ("task", "one", "calm"),
    [
        ("Add 3 and 4.", True, True),
        ("Settle the bill for the four of us and tip a tenth on top of it", False, True),
        ("Implement an LRU cache", False, True),
        ("Translate it", True, True),
        ("Read the file, and then print it", False, False),
        ("Read the file and print its lines", False, False),
        ("Compute it. Print it.", False, True),
        ("First read it", True, False),
        ("Add these:\n1) 4\n2) 5", True, False),
        ("Check " + "x" * 240, False, False),
        ("The strengthening of the band and the andante", True, True),
    ],
)
def test_both_rules_go_by_whole_words(task: str, one: bool, calm: bool) -> None:
    assert (one_act(task), no_sequence(task)) == (one, calm)


def test_rules_have_names_and_a_function_is_one() -> None:
    assert [is_minimal(name)("Build a house") for name in RULES] == [False, True, False, True]
    assert is_minimal(str.isdigit)("7")
    with pytest.raises(UsageError, match=r"never.*one_act"):
        is_minimal("small")


# What a reply may say


GOOD: dict[str, Any] = {"subtasks": [{"task": "a"}, {"task": "b", "needs": [1]}], "compose": "sum"}


def test_a_division_is_read_from_json_with_one_name_for_the_combiner() -> None:
    assert read_division(GOOD, 2) == Division((Subtask("a"), Subtask("b", (1,))), "sum")
    assert read_division({"subtasks": [], "compose": "sum"}, 2) == ATOMIC
    assert read_division({"subtasks": []}, 2) == ATOMIC


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"F": "sum"}, "no object with subtasks and compose"),
        ({"compose": ""}, "nothing says how"),
        ({"compose": None}, "compose a text"),
        ({"subtasks": "a, b"}, "have to be an array"),
        ({"subtasks": [{"task": "a"}]}, "one subtask is no division"),
        ({"subtasks": [{"task": "a"}, {"task": " "}]}, "subtask 2 is empty"),
        ({"subtasks": [{"task": "a"}, {"task": 2}]}, "subtask 2 has no text"),
        ({"subtasks": ["a", "b"]}, "subtask 1 is no object"),
        ({"subtasks": [{"task": "a", "needs": [3]}, {"task": "b"}]}, "needs 3, which is no other"),
        ({"subtasks": [{"task": "a", "needs": [1]}, {"task": "b"}]}, "needs 1, which is no other"),
        ({"subtasks": [{"task": "a", "needs": [0]}, {"task": "b"}]}, "needs 0"),
        ({"subtasks": [{"task": "a", "needs": [2, 2]}, {"task": "b"}]}, "needs one subtask twice"),
        ({"subtasks": [{"task": "a", "needs": [2]}, {"task": "b", "needs": [1]}]}, "1, 2 need one another"),
        ({"subtasks": [{"task": "a", "needs": [True]}, {"task": "b"}]}, "no array of numbers"),
        ({"subtasks": [{"task": "a", "complexity": 2}, {"task": "b"}]}, "complexity"),
        ({"subtasks": [{"task": "a"}, {"task": "b"}, {"task": "c"}]}, "3 subtasks, 2 at most"),
    ],
)
def test_a_division_that_nobody_could_carry_out_is_a_red_flag(change: dict[str, Any], why: str) -> None:
    with pytest.raises(RedFlag, match=why):
        read_division({**GOOD, **change}, 2)


@pytest.mark.parametrize("value", [None, [], "atomic", {"compose": "sum"}])
def test_what_is_no_division_at_all_is_a_red_flag(value: Any) -> None:
    with pytest.raises(RedFlag, match="no object"):
        read_division(value, 2)


def test_commas_and_brackets_in_a_subtask_are_its_text() -> None:
    value = {"subtasks": [{"task": "sort [3, 1, 2]"}, {"task": "multiply 12,345 by 6]"}], "compose": "last"}
    assert texts(read_division(value, 2)) == ["sort [3, 1, 2]", "multiply 12,345 by 6]"]


def test_equal_subtasks_are_two() -> None:
    assert texts(read_division({"subtasks": [{"task": "a"}, {"task": "a"}], "compose": "sum"}, 2)) == ["a", "a"]


def test_subtasks_are_ordered_by_what_they_need_else_as_written() -> None:
    assert in_order([Subtask("a", (3,)), Subtask("b"), Subtask("c")]) == [1, 2, 0]
    assert checked(Division((Subtask("a", (2,)), Subtask("b")), "sum"), 2)


# Trees


def tree(number: str, *parts: Tree, needs: tuple[tuple[int, ...], ...] = (), compose: str = "sum") -> Tree:
    subtasks = tuple(Subtask(part.task, needs[place] if needs else ()) for place, part in enumerate(parts))
    return Tree(f"task {number}", number, Division(subtasks, compose) if parts else ATOMIC, parts)


def test_a_need_of_a_branch_is_rewired_to_its_exits_and_from_the_entries_of_the_other() -> None:
    first = tree("1", tree("1.1"), tree("1.2"), tree("1.3"), needs=((), (1,), (1,)))
    second = tree("2", tree("2.1"), tree("2.2"), needs=((), (1,)))
    whole = tree("", first, second, needs=((), (1,)))
    assert {leaf.number: leaf.needs for leaf in leaves(whole)} == {
        "1.1": (),
        "1.2": ("1.1",),
        "1.3": ("1.1",),
        "2.1": ("1.2", "1.3"),
        "2.2": ("2.1",),
    }


def test_independent_branches_stay_independent_and_every_composition_is_kept() -> None:
    whole = tree("", tree("1", tree("1.1"), tree("1.2"), compose="product"), tree("2"), compose="concatenate")
    assert all(leaf.needs == () for leaf in leaves(whole))
    assert (whole.division.compose, whole.parts[0].division.compose) == ("concatenate", "product")


def test_a_task_that_is_not_divided_is_its_own_leaf() -> None:
    assert [(leaf.number, leaf.task) for leaf in leaves(Tree("alone", "1"))] == [("1", "alone")]
