"""What every task keeps: inherit `TaskContract`, give it `make`, and each test runs against the task.

Optional methods are tested where the task has them, and only there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag
from mdap.core.records import Message, Move, State
from mdap.protocols import Task
from mdap.tasks.catalog import task as task_of

NOT_REPLIES = (
    "",
    "   \n",
    "I cannot help with that.",
    "Let me think about this step by step. First",
    "```json\n{",
    "[1",
)


class TaskContract:
    """The suite. `make` gives the task; `states` may give more states than the walk does."""

    steps = 40  # how far the walk goes

    def make(self) -> Any:
        raise NotImplementedError

    def states(self, task: Any) -> list[State]:
        """The states that the tests look at: the walk of right answers from the start, and samples."""
        walked = [task.start()]
        while hasattr(task, "answer") and len(walked) < self.steps and not task.is_done(walked[-1]):
            walked.append(task.answer(walked[-1]).next_state)
        if hasattr(task, "sample"):
            walked += [task.sample(Random(seed)) for seed in range(20)]
        return [state for state in walked if not task.is_done(state)]

    def optional(self, name: str) -> Any:
        """A method of a new task, or a skip where this task has none."""
        method = getattr(self.make(), name, None)
        if method is None:
            pytest.skip(f"this task has no {name}")
        return method

    def test_it_is_a_task(self) -> None:
        assert isinstance(task_of(self.make()), Task)

    def test_it_starts_where_something_is_left_to_do(self) -> None:
        task = self.make()
        assert task.is_done(task.start()) is False

    def test_states_and_actions_read_back_from_json_as_they_were(self) -> None:
        task = self.make()
        for state in self.states(task):
            assert msgspec.json.decode(msgspec.json.encode(state)) == state
            if hasattr(task, "answer"):
                move = task.answer(state)
                assert msgspec.json.decode(msgspec.json.encode(move.action)) == move.action

    def test_the_same_question_twice_gives_the_same_answer_twice_and_changes_nothing(self) -> None:
        task, other = self.make(), self.make()
        for state in self.states(task):
            before = copy.deepcopy(state)
            first, again = everything(task, state), everything(other, state)
            assert first == again == everything(task, state)
            assert state == before

    def test_a_prompt_is_messages_and_shows_the_state(self) -> None:
        task = self.make()
        states = self.states(task)
        asked = [messages(task, state) for state in states]
        assert all(message.content for prompt in asked for message in prompt)
        for state, prompt in zip(states, asked, strict=True):
            assert all(prompt != other for s, other in zip(states, asked, strict=True) if s != state)

    def test_a_prompt_never_holds_the_reply_that_it_asks_for(self) -> None:
        self.optional("answer"), self.optional("write")
        task = self.make()
        for state in self.states(task):
            reply = task.write(task.answer(state))
            assert all(reply not in message.content for message in messages(task, state))

    def test_what_is_no_reply_is_a_red_flag_with_a_reason(self) -> None:
        task = self.make()
        for text in NOT_REPLIES:
            with pytest.raises(RedFlag) as flag:
                task.parse(text, task.start())
            assert str(flag.value)

    def test_a_right_answer_written_down_is_read_as_the_same_move(self) -> None:
        self.optional("answer"), self.optional("write")
        task = self.make()
        for state in self.states(task):
            move = task.answer(state)
            assert task.parse(task.write(move), state) == move

    def test_code_and_answer_agree_on_the_next_state(self) -> None:
        self.optional("answer"), self.optional("apply")
        task = self.make()
        for state in self.states(task):
            move = task.answer(state)
            assert task.apply(state, move.action) == move.next_state

    def test_the_right_answer_is_legal(self) -> None:
        self.optional("answer"), self.optional("check")
        task = self.make()
        assert all(task.check(state, task.answer(state)) is None for state in self.states(task))

    def test_mistakes_are_wrong_distinct_and_well_formed(self) -> None:
        self.optional("mistakes")
        task = self.make()
        for state in self.states(task):
            slips: list[Move] = task.mistakes(state)
            right = task.answer(state)
            assert slips
            assert not any(counts_as(task, move, right) for move in slips)
            assert len({*map(canonical, slips)}) == len(slips)
            assert all(task.parse(task.write(move), state) == move for move in slips)

    def test_a_prompt_reads_back_as_the_state_that_it_was_rendered_from(self) -> None:
        self.optional("read")
        task = self.make()
        for state in self.states(task):
            assert task.read(messages(task, state)) == state

    def test_reading_what_is_no_prompt_of_this_task_is_a_value_error(self) -> None:
        read = self.optional("read")
        for foreign in ((), (Message("user", "What is 2 + 2?"),), (Message("system", "Be brief."),)):
            with pytest.raises(ValueError, match=r"\S"):
                read(foreign)

    def test_samples_are_open_states_that_can_be_answered_and_depend_on_the_seed_alone(self) -> None:
        sample = self.optional("sample")
        task = self.make()
        drawn = [sample(Random(seed)) for seed in range(50)]
        assert drawn == [task.sample(Random(seed)) for seed in range(50)]
        assert not any(map(task.is_done, drawn))
        if hasattr(task, "answer"):
            assert None not in map(task.answer, drawn)

    def test_drafts_are_moves(self) -> None:
        draft = self.optional("draft")
        assert all(isinstance(draft(state), Move | None) for state in self.states(self.make()))

    def test_kinds_are_short_words(self) -> None:
        kind = self.optional("kind")
        assert all(0 < len(kind(state)) <= 40 for state in self.states(self.make()))

    def test_its_spec_reads_back_to_an_equal_task(self) -> None:
        read: Any = task_of(self.optional("spec"))
        assert read == self.make()
        assert read.spec == self.make().spec

    def test_right_answers_lead_to_the_end_in_the_number_of_steps_that_it_tells(self) -> None:
        self.optional("answer"), self.optional("steps")
        task = self.make()
        if task.steps > 5000:
            pytest.skip("too far to walk")
        state, taken = task.start(), 0
        while not task.is_done(state):
            state, taken = task.answer(state).next_state, taken + 1
            assert taken <= task.steps
        assert taken == task.steps


def messages(task: Any, state: State) -> Sequence[Message]:
    """The prompt as messages; plain text is one user message."""
    prompt = task.prompt(state)
    return (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)


def vote_key(task: Any, move: Move) -> bytes:
    """What votes for `move` share."""
    if hasattr(task, "key"):
        return canonical(task.key(move))
    vote_on = getattr(task, "vote_on", "action" if hasattr(task, "apply") else "pair")
    return canonical(move.action if vote_on == "action" else move, getattr(task, "schema", None))


def counts_as(task: Any, move: Move, right: Move) -> bool:
    """Whether a vote for `move` would count for `right`; where code computes the next state, another is discarded."""
    agrees = vote_key(task, move) == vote_key(task, right)
    return agrees and (getattr(task, "vote_on", "") != "action" or move.next_state == right.next_state)


def everything(task: Any, state: State) -> list[Any]:
    """What a task says of a state, by every method it has."""
    asked = ("is_done", "prompt", "kind", "answer", "draft", "mistakes")
    said = [getattr(task, name)(state) for name in asked if hasattr(task, name)]
    if hasattr(task, "answer") and hasattr(task, "write"):
        move = task.answer(state)
        said += [task.write(move), task.parse(task.write(move), state), vote_key(task, move)]
        said += [task.apply(state, move.action)] if hasattr(task, "apply") else []
    return copy.deepcopy(said)
