"""The states that micro is trained and measured on: right by the task's own answer, and held out where they say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mdap.models.micro.network import VOCABULARY
from mdap.tasks.hanoi import hanoi, path_state
from scripts import micro_states as states

DISKS = (3, 4, 7, 14, 19, 20)


def state_of(pegs: Any, previous: Any) -> list[Any]:
    """A row as the task's state."""
    stacks = [[d for d in range(len(pegs), 0, -1) if pegs[d - 1] == peg] for peg in range(3)]
    return [stacks, previous.tolist() if previous[0] else None]


@pytest.mark.parametrize("disks", DISKS)
def test_the_right_reply_is_the_tasks_answer_in_its_compact_form_on_random_states(disks: int) -> None:
    task = hanoi(disks, form="compact")
    pegs, previous = states.sample(np.random.default_rng(0), disks, 500)
    for row, p, before in zip(states.texts(pegs, previous), pegs, previous, strict=True):
        state = state_of(p, before)
        answer = task.answer(state)
        assert answer is not None
        text = "".join(VOCABULARY[token] for token in row)
        assert text == task.prompt(state)[0].content + task.write(answer)


@pytest.mark.parametrize("disks", DISKS)
def test_the_path_is_the_tasks(disks: int) -> None:
    steps = np.unique(np.random.default_rng(1).integers(0, 2**disks - 1, 300))
    pegs, previous = states.path(disks, steps)
    assert [state_of(*row) for row in zip(pegs, previous, strict=True)] == [path_state(disks, int(s)) for s in steps]
    assert states.is_on_path(pegs).all()


def test_few_random_states_are_on_the_path_and_those_are_told_apart() -> None:
    pegs, _ = states.path(5, np.arange(31))
    every = np.array(np.meshgrid(*[range(3)] * 5)).reshape(5, -1).T
    on = {tuple(row) for row in every[states.is_on_path(every)].tolist()}
    # The path's end is not a step, but it is on the path.
    assert on == {tuple(row) for row in pegs.tolist()} | {(2,) * 5}


def test_no_training_example_shows_a_state_that_is_held_out() -> None:
    rng = np.random.default_rng(2)
    for disks in (14, 20):
        shown = states.examples(rng, disks, 3000, 0.0)[:, 4 : disks + 4]
        assert not states.held_out(shown).any()
        # Without the filter there would have been some.
        assert states.held_out(states.sample(rng, disks, 3000)[0]).any()


def test_the_whole_path_of_20_disks_is_held_out_but_where_more_than_twelve_disks_lie_together() -> None:
    pegs, _ = states.path(20, np.arange(2**16 - 100, 2**16 + 100))
    free = states.run_length(pegs) > 12
    assert free.any()
    assert (states.held_out(pegs) == ~free).all()


def test_one_state_in_sixty_four_is_held_out_off_the_path_and_none_of_few_disks() -> None:
    rng = np.random.default_rng(3)
    for disks in range(14, 21):
        assert states.is_chosen(rng.integers(0, 3, (20_000, disks))).mean() == pytest.approx(1 / 64, rel=0.25)
    assert not states.held_out(rng.integers(0, 3, (20_000, 13))).any()


def test_the_imperfect_teacher_slips_once_in_a_hundred_replies_and_never_in_a_prompt() -> None:
    right = states.examples(np.random.default_rng(4), 20, 20_000, 0.0)
    taught = states.examples(np.random.default_rng(4), 20, 20_000, 0.01)
    slips = (right != taught).sum(axis=1)
    assert set(slips.tolist()) == {0, 1}
    assert slips.mean() == pytest.approx(0.01, abs=0.002)
    assert (right == taught)[:, :25].all()
