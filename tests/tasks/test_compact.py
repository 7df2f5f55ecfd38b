"""The compact form of Towers of Hanoi: to the letter, or a red flag; and what its repairing parser lets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Message, Move
from mdap.tasks.catalog import in_form
from mdap.tasks.catalog import task as task_of
from mdap.tasks.compact import compact_prompt, compact_reply, parse_compact, read_compact, repair_compact
from mdap.tasks.hanoi import Hanoi, hanoi, path_state
from mdap.tasks.running_sum import running_sum
from tests.tasks.contract import TaskContract

START: list[Any] = [[[3, 2, 1], [], []], None]


class TestEven(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(4, form="compact")


class TestOddFromTheMiddle(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(7, start=17, form="compact")


class TestWithOracle(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(4, oracle=True, form="compact")


class TestRepairing(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(5, parser="repair", form="compact")


class TestManyDisks(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(20, form="compact")


def test_a_prompt_is_the_move_before_the_peg_of_each_disk_and_an_arrow() -> None:
    assert compact_prompt([[3, 2, 1], [], []], None) == "0000000>"
    assert compact_prompt([[3], [], [2, 1]], [1, 1, 2]) == "0112220>"
    assert compact_prompt(*path_state(20, 1024)) == "1101" + "2" * 10 + "1" + "0" * 9 + ">"


def test_a_reply_is_the_move_the_pegs_after_it_and_a_line_feed() -> None:
    assert compact_reply([12, 0, 2], [[3], [1], [2]]) == "1202120\n"
    assert parse_compact("1202120\n", 3) == ([12, 0, 2], [[3], [1], [2]])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.integers(0, 20), st.permutations([0, 1, 2]))
def test_every_state_reads_back_from_its_prompt(places: list[int], disk: int, ends: list[int]) -> None:
    pegs = [[d for d in range(len(places), 0, -1) if places[d - 1] == peg] for peg in range(3)]
    previous = [disk, *ends[:2]] if disk else None
    assert read_compact(compact_prompt(pegs, previous), len(places)) == [pegs, previous]


@pytest.mark.parametrize(
    "reply",
    [
        "0102200",
        "0102200\n\n",
        " 0102200\n",
        "0102200>\n",
        "010220\n",
        "01022000\n",
        "0103200\n",
        "0132200\n",
        "0102203\n",
        "1022\n",
        "\n",
        "0102२00\n",  # a digit, but not one of ours
    ],
)
def test_a_reply_that_is_off_by_one_sign_is_a_red_flag(reply: str) -> None:
    assert hanoi(3, form="compact").parse("0102200\n", START)
    with pytest.raises(RedFlag):
        hanoi(3, form="compact").parse(reply, START)


@pytest.mark.parametrize(
    ("reply", "action", "pegs"),
    [
        ("0102200", [1, 0, 2], [[3, 2], [], [1]]),  # cut before its end
        ("01022>00\n", [1, 0, 2], [[3, 2], [], [1]]),
        ("010220\n", [1, 0, 2], [[2], [], [1]]),  # a disk is lost
        ("0102700\n", [1, 0, 2], [[2, 1], [], []]),  # what is no peg shifts the rest
        ("01022000\n", [1, 0, 2], [[4, 3, 2], [], [1]]),  # a disk too many
        ("0105200\n", [1, 0, 5], [[3, 2], [], [1]]),
    ],
)
def test_the_repairing_parser_makes_votes_of_what_the_strict_one_flags(
    reply: str, action: list[int], pegs: list[list[int]]
) -> None:
    repaired = hanoi(3, parser="repair", form="compact").parse(reply, START)
    assert repaired == Move(action, [pegs, action])
    with pytest.raises(RedFlag):
        hanoi(3, form="compact").parse(reply, START)


def test_nothing_can_be_repaired_without_a_move() -> None:
    with pytest.raises(RedFlag):
        repair_compact("012")


@pytest.mark.parametrize(
    "prompt", ["0000000", "0000000>\n", "0000>", "000>0000", "0030000>", "0000003>", "00000000>", ""]
)
def test_a_prompt_of_another_kind_is_a_value_error(prompt: str) -> None:
    assert read_compact("0000000>", 3)
    with pytest.raises(ValueError, match="not a compact prompt of 3 disks"):
        read_compact(prompt, 3)


@pytest.mark.parametrize(
    ("pegs", "previous"),
    [
        ([[3, 1, 2], [], []], None),  # a disk on a smaller one
        ([[3, 2], [], []], None),  # no disk 1
        ([[2, 1], [1], []], None),  # disk 1 twice
        ([[3, 2, 1], [], []], [100, 0, 1]),
        ([[3, 2, 1], [], []], [1, 0, 3]),
    ],
)
def test_a_state_that_a_few_digits_cannot_say_is_refused_not_rounded(
    pegs: list[list[int]], previous: list[int] | None
) -> None:
    with pytest.raises(ValueError, match="cannot say"):
        compact_prompt(pegs, previous)


def test_mistakes_are_only_those_that_the_form_can_say() -> None:
    buried = [[[1, 2, 3], [], []], None]  # only wrong decisions of a model with words lead there
    assert all(all(peg == sorted(peg, reverse=True) for peg in m.next_state[0]) for m in _all_mistakes("compact"))
    assert any(any(peg != sorted(peg, reverse=True) for peg in m.next_state[0]) for m in _all_mistakes("words"))
    with pytest.raises(ValueError, match="smaller"):
        hanoi(3, form="compact").prompt(buried)


def _all_mistakes(form: str) -> list[Move]:
    task = task_of(f"hanoi:disks=4,form={form}")
    return [move for step in range(15) for move in task.mistakes(path_state(4, step))]  # type: ignore[attr-defined]


def test_the_form_is_part_of_the_spec_and_changes_nothing_else() -> None:
    task = hanoi(6, start=5)
    compact = task.in_form("compact")
    assert compact == task_of("hanoi:disks=6,start=5,form=compact")
    assert compact.spec == "hanoi:disks=6,start=5,form=compact"
    assert compact.in_form("words") == task
    assert type(hanoi(6, oracle=True).in_form("compact")) is type(hanoi(6, oracle=True))
    state = compact.start()
    assert (state, compact.answer(state), compact.kind(state)) == (task.start(), task.answer(state), task.kind(state))


def test_a_model_that_asks_for_no_form_gets_the_task_as_it_is() -> None:
    task = hanoi(5)
    assert in_form(task, None) is task
    assert in_form(task, "compact") == hanoi(5, form="compact")


def test_a_task_without_forms_stays_as_it_is_and_an_unknown_form_is_an_error() -> None:
    task = running_sum(5)
    assert in_form(task, "compact") is task
    with pytest.raises(UsageError, match="form='morse' is unknown"):
        in_form(hanoi(5), "morse")
    with pytest.raises(UsageError, match="form='morse'"):
        task_of("hanoi:disks=5,form=morse")


def test_a_prompt_in_compact_form_is_one_message() -> None:
    assert hanoi(3, form="compact").prompt(START) == (Message("user", "0000000>"),)
