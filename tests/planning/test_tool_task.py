"""A task with tools around it is the same task: its states, votes and flags are its own but for the calls."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

import mdap
from mdap.core.errors import RedFlag, TaskError
from mdap.core.records import ABSENT, Message, Move, Request, Response
from mdap.core.tooling import Outcome, ToolIntent
from mdap.engine.taskview import TaskView
from mdap.journal import open_journal
from mdap.planning.tool_task import MARK, ToolTask
from mdap.tools import Toolbox
from tests.engine.support import SHAPES, Pairs, exported
from tests.tool_support import Order, call


def look(place: int = 0) -> list[int]:
    """Look at a place."""
    return [place, place + 1]


BOX = Toolbox([look], allow=["custom"])


class Caller:
    """Answers rightly; before each answer it calls `calls` times."""

    spec = "caller"

    def __init__(self, task: Pairs, calls: int = 0) -> None:
        self.task, self.calls = task, calls

    async def complete(self, request: Request) -> Response:
        state = request.state
        made = 0
        if isinstance(state, dict) and MARK in state:
            made, state = len(state[MARK].get("calls", ())), state["state"]
        if made < self.calls:
            return Response(call("look", place=made))
        own = msgspec.convert(state, getattr(self.task, "state_type", dict))
        return Response(self.task.candidates(own)[0])


def ran(shape: type[Pairs], calls: int, tools: Any = BOX, **options: Any) -> mdap.Result:
    task = shape(4)
    settings = {"k": 2, "journal": open_journal(None), **options}
    return mdap.run(task, Caller(task, calls), tools=tools, **settings)


@pytest.mark.parametrize("shape", SHAPES)
def test_tools_that_nobody_calls_change_no_decision(shape: type[Pairs]) -> None:
    assert exported(ran(shape, 0)) == exported(ran(shape, 0, tools=()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("calls", [1, 3])
def test_calls_stand_between_the_decisions_and_change_none(shape: type[Pairs], calls: int) -> None:
    plain, result = ran(shape, 0, tools=()), ran(shape, calls)
    answers = [line for line in result.export() if line["kind"] == "" and MARK not in (line["action"] or {})]
    assert [line["action"] for line in answers] == [line["action"] for line in plain.export()]
    assert result.state == plain.state
    assert result.steps == plain.steps * (1 + 2 * calls)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_resume_in_the_middle_of_calls_gives_the_same_states(shape: type[Pairs]) -> None:
    whole = exported(ran(shape, 2))
    for steps in range(1, 11):
        journal, task = open_journal(None), shape(4)
        first = ran(shape, 2, journal=journal, max_steps=steps)
        again = mdap.resume(first.run, journal=journal, task=task, model=Caller(task, 2), tools=BOX, max_steps=None)
        assert exported(again) == whole


class Checked(Order):
    """Has an oracle, a kind, a key and a form of its own, and a prompt of several messages."""

    def check(self, state: Any, move: Move) -> str | None:
        return "too much" if move.action > 9 else None

    def kind(self, state: Any) -> str:
        return f"step {state['step']}"

    def key(self, move: Move) -> Any:
        return move.action % 5

    def prompt(self, state: Any) -> Any:
        return [Message("system", "Add {tools}."), Message("user", "{form}?")]

    def in_form(self, form: str) -> Order:
        return Order()

    def settle(self, state: Any, votes: Any, winner: Move | None) -> Move | None:
        return Move(sum(vote.action for vote in votes), ABSENT)


def view(rounds: int = 3) -> TaskView:
    return TaskView(ToolTask(Checked(), BOX.schemas, rounds=rounds))


def test_the_optional_parts_of_a_task_are_kept_and_leave_calls_alone() -> None:
    seen = view()
    start = seen.start()
    asks = seen.read(call("look"), start)
    assert seen.kind(start) == "step 0"
    assert seen.kind(asks.move.next_state) == "tool"
    assert seen.read("3", start).key == seen.read("8", start).key != seen.read("4", start).key
    with pytest.raises(RedFlag, match="too much"):
        seen.read("10", start)
    assert isinstance(seen.task.in_form("compact"), ToolTask)  # type: ignore[attr-defined]


def test_the_tools_stand_behind_the_last_message_and_no_brace_is_expanded() -> None:
    first, last = view().prompt(view().start()).messages
    assert first == Message("system", "Add {tools}.")
    assert last.content.startswith("{form}?\n\nYou may call one of these tools")
    assert '{"tool": "NAME"' in last.content


def test_a_ballot_is_settled_from_its_answers_unless_a_call_has_won() -> None:
    task: Any = view().task
    asks, three = task.parse(call("look"), task.start()), Move(3, ABSENT)
    assert task.settle(task.start(), [three, asks, three], three).action == 6
    assert task.settle(task.start(), [asks, three, asks], asks) is asks
    assert task.settle(task.start(), [asks], None) is asks


def test_a_state_waits_for_its_call_and_goes_on_with_what_came_of_it() -> None:
    seen = view()
    waits = seen.read(call("look", place=4), seen.start()).move.next_state
    intent = seen.effect(waits)
    assert intent == ToolIntent("look", {"place": 4}, "")
    assert not seen.is_done(waits)
    after = seen.observe(waits, ToolIntent("look", {"place": 4}), Outcome("ok", [4, 5]))
    assert seen.effect(after) is None
    assert '{"status": "ok", "value": [4, 5]}' in seen.prompt(after).messages[-1].content
    assert seen.read("3", after).move.next_state == {"step": 1, "sum": 3}


def test_calls_past_the_limit_are_answered_once_and_then_flagged() -> None:
    seen, state = view(rounds=1), view().start()
    state = seen.observe(seen.read(call("look"), state).move.next_state, ToolIntent("look", {}), Outcome("ok"))
    state = seen.read(call("look"), state).move.next_state
    assert seen.effect(state) is None
    assert '"status": "limit"' in seen.prompt(state).messages[-1].content
    with pytest.raises(RedFlag, match="after the last call") as flag:
        seen.read(call("look"), state)
    assert flag.value.name == "tool"


def test_a_task_whose_own_states_have_the_mark_is_refused() -> None:
    class Marked(Order):
        def start(self) -> Any:
            return {"step": 0, "sum": 0}

        def observe(self, state: Any, intent: ToolIntent, outcome: Outcome) -> Any:
            return {MARK: 1}

    task = ToolTask(Marked(), BOX.schemas)
    waits = TaskView(task).read(call("look"), task.start()).move.next_state
    with pytest.raises(TaskError, match=MARK):
        task.observe(waits, ToolIntent("look", {}), Outcome("ok"))


def test_a_task_that_answers_with_json_objects_keeps_them() -> None:
    class Objects(Order):
        def parse(self, text: str, state: Any) -> Move:
            return Move(json.loads(text)["add"], ABSENT)

    task = ToolTask(Objects(), BOX.schemas)
    assert TaskView(task).read('{"add": 4}', task.start()).move.next_state == {"step": 1, "sum": 4}
