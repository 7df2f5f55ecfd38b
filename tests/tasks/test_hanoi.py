"""Towers of Hanoi: the path, the prompt, both parsers, and states that only wrong decisions lead to."""

from __future__ import annotations

import copy
from itertools import pairwise
from random import Random
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Message, Move
from mdap.tasks.hanoi import Hanoi, hanoi, path_state
from tests.tasks.contract import TaskContract

# Step 10241 of 20 disks, the paper's pathological step (arXiv:2511.09030, Fig. 11).
FIG_11 = [
    [[20, 19, 18, 17, 16, 15, 12, 1], [13], [14, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]],
    [1, 2, 0],
]
REPLY = "move = [1, 0, 2]\nnext_state = [[3, 2], [], [1]]"


class TestEven(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(4)


class TestOdd(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(5)


class TestFromTheMiddle(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(6, start=17)


class TestWithOracle(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(4, oracle=True)


class TestRepairing(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(4, parser="repair")


class TestManyDisks(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(60, start=2**59 + 12345)


class TestOneDisk(TaskContract):
    def make(self) -> Hanoi:
        return hanoi(1)


def walk(task: Hanoi) -> list[Any]:
    states = [task.start()]
    while not task.is_done(states[-1]):
        move = task.answer(states[-1])
        assert move is not None
        states.append(move.next_state)
    return states


def read(text: str) -> tuple[Any, Any]:
    move = hanoi(3).parse(text, hanoi(3).start())
    return move.action, move.next_state


# The path


@pytest.mark.parametrize("disks", range(1, 13))
def test_the_strategy_moves_the_whole_stack_to_peg_2_in_the_least_moves_by_legal_moves_alone(disks: int) -> None:
    states = walk(hanoi(disks))
    assert states[-1][0] == [[], [], [*range(disks, 0, -1)]]
    assert len(states) - 1 == hanoi(disks).steps == 2**disks - 1
    oracle = hanoi(disks, oracle=True)
    for before, after in pairwise(states):
        assert all(peg == sorted(peg, reverse=True) for peg in after[0])
        assert oracle.check(before, oracle.answer(before)) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("disks", [1, 2, 3, 6, 9])
def test_starting_at_a_step_equals_walking_there(disks: int) -> None:
    for step, state in enumerate(walk(hanoi(disks))):
        assert hanoi(disks, start=step).start() == state
        assert hanoi(disks, start=step).steps == 2**disks - 1 - step


@given(st.integers(0, 2**60 - 2))
def test_at_60_disks_each_step_of_the_path_leads_to_the_next(step: int) -> None:
    move = hanoi(60).answer(path_state(60, step))
    assert move is not None
    assert move.next_state == path_state(60, step + 1)


@pytest.mark.parametrize(
    ("step", "previous", "action"),
    [
        (10_241, [1, 2, 0], [2, 2, 1]),
        (539_011, [1, 0, 1], [3, 2, 0]),
        (950_202, [2, 2, 1], [1, 0, 1]),
    ],
)
def test_the_paper_s_own_steps_come_out_as_they_were_printed(step: int, previous: list[int], action: list[int]) -> None:
    state = path_state(20, step)
    assert state[1] == previous
    assert hanoi(20).answer(state).action == action  # type: ignore[union-attr]


def test_the_paper_s_pathological_state_and_its_end_come_out_as_printed() -> None:
    assert path_state(20, 10_241) == FIG_11
    assert path_state(20, 2**20 - 1)[0] == [[], [], [*range(20, 0, -1)]]


def test_disk_1_goes_round_one_way_for_even_stacks_and_the_other_for_odd_ones() -> None:
    assert hanoi(4).answer(hanoi(4).start()).action == [1, 0, 1]  # type: ignore[union-attr]
    assert hanoi(5).answer(hanoi(5).start()).action == [1, 0, 2]  # type: ignore[union-attr]


def test_a_turned_strategy_would_end_on_the_wrong_peg() -> None:
    task = hanoi(4)
    task._turn = -task._turn
    state = task.start()
    for _ in range(task.steps):
        state = task.answer(state).next_state  # type: ignore[union-attr]
    assert state[0] == [[], [4, 3, 2, 1], []]
    assert not task.is_done(state)


def test_a_stack_in_the_wrong_order_on_peg_2_is_not_done() -> None:
    assert not hanoi(3).is_done([[[], [], [3, 1, 2]], [2, 0, 2]])
    assert hanoi(3).is_done([[[], [], [3, 2, 1]], [1, 0, 2]])


# The prompt


def test_the_prompt_shows_previous_move_and_state_as_lists() -> None:
    system, user = hanoi(20).prompt(FIG_11)
    assert (system.role, user.role) == ("system", "user")
    assert "Previous move: [1, 2, 0]\n" in user.content
    assert "Current state: [[20, 19, 18, 17, 16, 15, 12, 1], [13], [14, 11, 10," in user.content


def test_the_first_prompt_says_that_there_is_no_previous_move() -> None:
    assert "Previous move: none\n" in hanoi(3).prompt(hanoi(3).start())[1].content


def test_the_prompt_says_which_way_disk_1_goes() -> None:
    even, odd = (hanoi(n).prompt(hanoi(n).start())[1].content for n in (4, 5))
    assert "from 0 to 1, from 1 to 2, or from 2 to 0" in even
    assert "from 0 to 2, from 2 to 1, or from 1 to 0" in odd


def test_the_worked_example_is_a_whole_solution_of_three_disks() -> None:
    text = hanoi(20).prompt(FIG_11)[0].content
    for step, state in enumerate(walk(hanoi(3))[1:], start=1):
        assert f"{step}. {state[1]} gives {state[0]}\n" in text


def test_the_system_message_is_the_same_at_every_step_so_that_providers_can_cache_it() -> None:
    assert len({hanoi(8).prompt(path_state(8, step))[0] for step in range(255)}) == 1


# The strict parser


def test_a_plain_reply_is_read() -> None:
    assert read(REPLY) == ([1, 0, 2], [[[3, 2], [], [1]], [1, 0, 2]])


def test_the_last_move_and_the_last_whole_state_count_whatever_stands_around_them() -> None:
    text = f"First I thought move = [2, 0, 1]. No:\n```\n{REPLY}\n```\nas next_state = [[...], [...], [...]"
    assert read(text) == read(REPLY)


@pytest.mark.parametrize("reply", [REPLY.upper(), REPLY.replace(" ", ""), REPLY.replace(" ", "  "), REPLY + "\n\n"])
def test_case_and_blanks_do_not_matter(reply: str) -> None:
    assert read(reply) == read(REPLY)


@pytest.mark.parametrize(
    "reply",
    [
        "move = [1, 0]\nnext_state = [[3, 2], [], [1]]",
        "move = [1, 0, 2, 2]\nnext_state = [[3, 2], [], [1]]",
        "move = [1.0, 0, 2]\nnext_state = [[3, 2], [], [1]]",
        "move = [True, 0, 2]\nnext_state = [[3, 2], [], [1]]",
        "move = [true, 0, 2]\nnext_state = [[3, 2], [], [1]]",
        "move = ['1', 0, 2]\nnext_state = [[3, 2], [], [1]]",
        "move = 1, 0, 2\nnext_state = [[3, 2], [], [1]]",
        "remove = [1, 0, 2]\nnext_state = [[3, 2], [], [1]]",
        "next_state = [[3, 2], [], [1]]",
        "move = [1, 0, 2]",
        "move = [1, 0, 2]\nstate = [[3, 2], [], [1]]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [], [1]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [1]]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [], [1], []]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [], [true]]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [], [1.0]]",
        "move = [1, 0, 2]\nnext_state = [[3, 2,], [], [1]]",
        "move = [1, 0, 2]\nnext_state = [[3, two], [], [1]]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [], []]",
        "move = [1, 0, 2]\nnext_state = [[3, 2], [2], [1]]",
        "move = [1, 0, 2]\nnext_state = [[4, 2], [], [1]]",
    ],
)
def test_what_is_not_of_the_asked_form_is_discarded(reply: str) -> None:
    with pytest.raises(RedFlag) as flag:
        hanoi(3).parse(reply, hanoi(3).start())
    assert flag.value.name == "malformed"


def test_a_last_move_out_of_form_is_not_mended_by_an_earlier_one() -> None:
    with pytest.raises(RedFlag, match="three integers"):
        read(REPLY + "\nThat is: move = [disk 1, 0, 2]")


def test_neither_legality_nor_agreement_is_the_parser_s_business() -> None:
    assert read("move = [3, 0, 1]\nnext_state = [[], [], [1, 3, 2]]")[0] == [3, 0, 1]
    assert read("move = [9, -1, 7]\nnext_state = [[3, 2, 1], [], []]")[0] == [9, -1, 7]


def test_letters_whose_lower_case_is_longer_shift_nothing() -> None:
    assert read("İİİİ " * 20 + REPLY) == read(REPLY)


def test_a_reply_of_a_million_letters_that_never_finishes_an_answer_is_discarded_within_seconds() -> None:
    began = process_time()
    with pytest.raises(RedFlag):
        read("move = [1, 0, 2] next_state = [[3, 2], [" * 25_000)
    assert process_time() - began < 5  # a search that went back and forth would take hours


# The repairing parser


def test_the_repairing_parser_closes_a_missing_bracket_and_does_not_count_disks() -> None:
    task = hanoi(3, parser="repair")
    cut = "move = [1, 0, 2]\nnext_state = [[3, 2], [], [1]"
    assert task.parse(cut, task.start()).next_state[0] == [[3, 2], [], [1]]
    assert task.parse(cut.replace("3, 2", "3"), task.start()).next_state[0] == [[3], [], [1]]
    assert task.parse(cut + "\n", task.start()) == task.parse(cut + "]", task.start())


@pytest.mark.parametrize(
    "reply", ["move = [1, 0, 2]", "move = [1, 0, 2]\nnext_state = [[3, 2", "move = [1]\nnext_state = [[3], [], []]"]
)
def test_even_the_repairing_parser_gives_up_on_what_has_no_shape(reply: str) -> None:
    with pytest.raises(RedFlag):
        hanoi(3, parser="repair").parse(reply, hanoi(3).start())


def test_a_state_that_lost_its_disks_still_runs_under_the_repairing_parser() -> None:
    task = hanoi(3, parser="repair")
    lost: list[list[list[int]]] = [[[], [], []], [[2], [2], [2]], [[1, 1], [1], []], [[5, -1], [0], [2**70]]]
    for pegs in lost:
        state = [pegs, [1, 0, 2]]
        assert task.read(task.prompt(state)) == state
        task.kind(state), task.answer(state), task.mistakes(state), task.is_done(state)
        assert task.apply(state, [1, 0, 2])[1] == [1, 0, 2]


# Oracle, votes, mistakes


def test_without_an_oracle_votes_are_on_the_pair_and_nothing_checks_legality() -> None:
    task = hanoi(5)
    assert (task.vote_on, hasattr(task, "check")) == ("pair", False)


def test_with_an_oracle_votes_are_on_the_move() -> None:
    assert hanoi(5, oracle=True).vote_on == "action"


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ([1, 0, 3], "cannot go from peg 0 to peg 3"),
        ([1, -1, 2], "cannot go from peg -1"),
        ([1, 0, 0], "cannot go from peg 0 to peg 0"),
        ([2, 0, 1], "disk 2 is not on top of peg 0"),
        ([1, 1, 2], "disk 1 is not on top of peg 1"),
        ([13, 1, 0], "disk 13 would lie on disk 1"),
    ],
)
def test_the_oracle_says_why_a_move_is_illegal_and_applying_it_moves_nothing(action: list[int], reason: str) -> None:
    task: Any = hanoi(20, oracle=True)
    said = task.check(FIG_11, Move(action, None))
    assert reason in said
    assert task.apply(FIG_11, action) == [FIG_11[0], action]


def test_the_oracle_lets_any_legal_move_pass() -> None:
    task: Any = hanoi(20, oracle=True)
    assert task.check(FIG_11, Move([1, 0, 1], None)) is None


def test_the_paper_s_two_wrong_candidates_are_the_likeliest_mistakes_and_two_different_votes() -> None:
    at_the_end, at_the_bottom = hanoi(20).mistakes(FIG_11)[:2]
    assert at_the_end.action == at_the_bottom.action == [13, 1, 2]
    assert at_the_end.next_state[0][2] == [14, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 13]
    assert at_the_bottom.next_state[0][2] == [13, 14, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert canonical(at_the_end) != canonical(at_the_bottom)


def test_with_an_oracle_the_likeliest_mistake_is_one_that_the_oracle_lets_pass() -> None:
    task: Any = hanoi(20, oracle=True)
    slips = task.mistakes(FIG_11)
    assert slips[0].action == [1, 0, 1]
    assert task.check(FIG_11, slips[0]) is None
    assert sorted(map(canonical, slips)) == sorted(map(canonical, hanoi(20).mistakes(FIG_11)))


def test_at_its_turn_disk_1_most_likely_goes_the_wrong_way_round() -> None:
    assert hanoi(4).mistakes(hanoi(4).start())[0].action == [1, 0, 2]


def test_a_right_move_with_a_state_copied_wrong_is_among_the_mistakes() -> None:
    task = hanoi(20)
    right = task.answer(FIG_11)
    assert right is not None
    assert any(slip.action == right.action for slip in task.mistakes(FIG_11))


# Off the path

pegs_of_6 = st.permutations([*range(1, 7)]).flatmap(
    lambda disks: st.tuples(st.integers(0, 6), st.integers(0, 6)).map(
        lambda cuts: [disks[: min(cuts)], disks[min(cuts) : max(cuts)], disks[max(cuts) :]]
    )
)
actions = st.one_of(st.none(), st.lists(st.integers(-2, 9), min_size=3, max_size=3))


@given(pegs_of_6, actions)
def test_any_state_however_illegal_is_asked_answered_and_mistaken_without_an_error(pegs: Any, previous: Any) -> None:
    task: Any = hanoi(6, oracle=True)
    state = [pegs, previous]
    before = copy.deepcopy(state)
    right = task.answer(state)
    assert task.read(task.prompt(state)) == state
    assert (right is None) or task.apply(state, right.action)[1] == right.action
    slips = task.mistakes(state)
    assert len(slips) >= 3
    assert right not in slips
    for move in slips:
        assert task.parse(task.write(move), state) == move
    assert state == before


@given(st.integers(0, 2**32), st.booleans())
def test_from_any_legal_state_the_answer_is_a_legal_move_or_there_is_none_but_disk_1_s(seed: int, small: bool) -> None:
    rng = Random(seed)
    pegs: list[list[int]] = [[], [], []]
    for disk in range(6, 0, -1):
        pegs[rng.randrange(3)].append(disk)
    task: Any = hanoi(6, oracle=True)
    state = [pegs, [1, 0, 1] if small else [2, 0, 1]]
    move = task.answer(state)
    if move is None:
        assert small
        assert sorted(map(len, pegs)) == [0, 0, 6]
    else:
        assert task.check(state, move) is None
        assert (move.action[0] != 1) == small


# Arguments, and names


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"disks": 0}, "disks=0"),
        ({"disks": 61}, "disks=61"),
        ({"disks": 3, "start": 8}, "start=8"),
        ({"disks": 3, "start": -1}, "start=-1"),
        ({"parser": "kind"}, "parser='kind'"),
    ],
)
def test_an_argument_out_of_range_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        hanoi(**options)


def test_the_spec_holds_what_differs_from_the_defaults() -> None:
    assert hanoi(20).spec == "hanoi:disks=20"
    assert hanoi(5, oracle=True, start=3, parser="repair").spec == "hanoi:disks=5,oracle=on,start=3,parser=repair"
    assert repr(hanoi(20)) == "<hanoi:disks=20>"


def test_tasks_are_equal_when_their_specs_are() -> None:
    assert hanoi(5) == hanoi(5)
    assert len({hanoi(5), hanoi(5), hanoi(5, oracle=True)}) == 2
    assert hanoi(5) != "hanoi:disks=5"


def test_a_prompt_of_another_stack_is_not_read_as_one_s_own() -> None:
    with pytest.raises(ValueError, match="system message"):
        hanoi(6).read(hanoi(4).prompt(hanoi(4).start()))
    system, user = hanoi(4).prompt(hanoi(4).start())
    with pytest.raises(ValueError, match="not a state"):
        hanoi(4).read((system, Message("user", user.content.replace("[[4", "[[four"))))
