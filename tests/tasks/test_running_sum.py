"""The running sum: exact integers, a dictionary and keys that depend on the seed alone, one strict line as reply."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Message
from mdap.tasks.running_sum import RunningSum, running_sum
from tests.tasks.contract import TaskContract


class TestRunningSum(TaskContract):
    def make(self) -> RunningSum:
        return running_sum(keys=50, length=60, seed=7)


class TestManyKeysAStep(TaskContract):
    def make(self) -> RunningSum:
        return running_sum(keys=9, length=20, seed=1, per_step=19)


class TestOneKey(TaskContract):
    def make(self) -> RunningSum:
        return running_sum(keys=1, length=5, per_step=1)


def test_the_dictionary_has_as_many_words_as_asked_each_from_1_to_99_either_way() -> None:
    values = running_sum(keys=500).values
    assert len(values) == 500
    assert all(1 <= abs(value) <= 99 for value in values.values())
    assert {abs(value) for value in values.values()} >= {1, 99}
    assert 200 < sum(value > 0 for value in values.values()) < 300


def test_every_word_there_is_can_be_a_key_and_one_more_is_refused() -> None:
    assert len(running_sum(keys=11_025).values) == 11_025
    with pytest.raises(UsageError, match="keys=11026"):
        running_sum(keys=11_026)


def test_another_seed_gives_another_dictionary_and_other_turns() -> None:
    one, other = running_sum(seed=1), running_sum(seed=2)
    assert one.values != other.values
    assert [one.words(i) for i in range(5)] != [other.words(i) for i in range(5)]


def test_a_turn_s_keys_do_not_depend_on_how_the_run_came_there() -> None:
    backwards = [running_sum(seed=3).words(index) for index in reversed(range(30))]
    task = running_sum(seed=3)
    assert backwards[::-1] == [task.words(index) for index in range(30)]


def test_the_final_sum_is_the_sum_of_all_values_named_on_the_way() -> None:
    task = running_sum(keys=20, length=50, seed=4, per_step=3)
    totals = accumulate(sum(task.values[word] for word in task.words(index)) for index in range(50))
    state: Any = task.start()
    for total in totals:
        state = task.answer(state).next_state
        assert state["sum"] == total
    assert task.is_done(state)


def test_votes_are_on_the_sum_and_code_only_counts_the_turn() -> None:
    task = running_sum()
    assert task.vote_on == "action"
    assert task.apply({"index": 4, "sum": 10}, -3) == {"index": 5, "sum": -3}


def test_a_wrong_sum_is_carried_on_and_the_answer_goes_from_there() -> None:
    task = running_sum(seed=5)
    right, wrong = (task.answer({"index": 8, "sum": total}).action for total in (100, 101))
    assert wrong == right + 1


def test_the_prompt_holds_the_dictionary_the_sum_and_the_keys_of_this_turn_and_no_other() -> None:
    task = running_sum(keys=10, length=30, seed=2, per_step=3)
    system, user = task.prompt({"index": 6, "sum": -41})
    assert all(f"\n{word} = {value}\n" in system.content for word, value in task.values.items())
    assert user.content == f"Turn 7 of 30.\nSum so far: -41\nKeys: {', '.join(task.words(6))}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sum = 12", 12),
        ("sum = -7", -7),
        ("sum=0", 0),
        ("bako is 3, so 4 + 3 = 7.\nsum = 7\n", 7),
        ("sum = 5\nNo, I forgot one.\nsum = 6", 6),
        ("sum = 9007199254740993", 9007199254740993),
    ],
)
def test_the_last_line_is_the_reply(text: str, value: int) -> None:
    assert running_sum().parse(text, {"index": 0, "sum": 0}).action == value


@pytest.mark.parametrize(
    "text",
    [
        "12",
        "sum = 12.",
        "sum = 12.0",
        "sum = +12",
        "sum = 1,200",
        "sum = 1_200",
        "sum = 3 + 4 = 7",
        "sum = 3\nDone.",
        "the sum = 3",
        "sum = \u0663",
        "sum = \u22123",
        "sum = N",
        "Sum: 3",
        "sum = " + "9" * 401,
    ],
)
def test_any_other_last_line_is_discarded_never_mended(text: str) -> None:
    with pytest.raises(RedFlag, match="last line") as flag:
        running_sum().parse(text, {"index": 0, "sum": 0})
    assert len(str(flag.value)) < 200


@given(st.integers(-(10**30), 10**30))
def test_sums_of_any_size_are_exact(total: int) -> None:
    task = running_sum(seed=9)
    state = {"index": 3, "sum": total}
    move = task.answer(state)
    assert move.action - total == task.answer({"index": 3, "sum": 0}).action
    assert task.parse(task.write(move), state) == move
    assert task.read(task.prompt(state)) == state


def test_likely_slips_come_first_a_lost_carry_then_a_sign_then_a_forgotten_key() -> None:
    task = running_sum(seed=1)
    state = {"index": 0, "sum": 1000}
    right, last = task.answer(state).action, task.values[task.words(0)[-1]]
    slips = [move.action for move in task.mistakes(state)]
    assert slips[:4] == [right - 10, right + 10, right - 2 * last, right - last]


@pytest.mark.parametrize("options", [{"keys": 0}, {"length": 0}, {"seed": -1}, {"per_step": 0}])
def test_an_argument_out_of_range_is_named(options: dict[str, int]) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(UsageError, match=f"{name}={value}"):
        running_sum(**options)


def test_the_spec_names_every_option() -> None:
    assert running_sum().spec == "running_sum:keys=100,length=1000,seed=0,per_step=2"
    assert repr(running_sum(length=5)) == "<running_sum:keys=100,length=5,seed=0,per_step=2>"
    assert len({running_sum(), running_sum(), running_sum(seed=1)}) == 2


def test_a_prompt_of_another_seed_or_another_turn_is_not_read_as_one_s_own() -> None:
    task, state = running_sum(seed=1), {"index": 2, "sum": 5}
    with pytest.raises(ValueError, match="not a prompt of running_sum"):
        task.read(running_sum(seed=2).prompt(state))
    system, user = task.prompt(state)
    with pytest.raises(ValueError, match="other keys"):
        task.read((system, Message("user", user.content.replace("Turn 3", "Turn 4"))))
