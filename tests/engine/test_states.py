"""States and actions of every kind: typed or plain, computed or written, a resume gives them back as they were."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import RedFlag, TaskError
from mdap.core.records import ABSENT, Message, Move, Request, Response
from mdap.engine.taskview import TaskView
from mdap.journal import open_journal
from tests.engine.support import (
    SHAPES,
    Applied,
    Chancy,
    Jump,
    Mixed,
    Pairs,
    Place,
    Typed,
    TypedApplied,
    exported,
    plain_run,
)


def read(task: Pairs, text: str, state: Any) -> Move:
    return TaskView(task).read(text, state).move


@pytest.mark.parametrize("shape", SHAPES)
def test_a_task_sees_the_same_types_before_and_after_a_resume(shape: type[Pairs], tmp_path: Path) -> None:
    class Seeing(shape):  # type: ignore[misc, valid-type]
        seen: list[Any]

        def prompt(self, state: Any) -> Any:
            self.seen.append(state)
            return super().prompt(state)

    def seeing() -> Any:
        task = Seeing(6)
        task.seen = []
        return task

    whole, first, second = seeing(), seeing(), seeing()
    kept = exported(run_virtual(plain_run(whole, Chancy())))
    journal = tmp_path / "runs.db"
    stopped = run_virtual(plain_run(first, Chancy(), max_steps=3, journal=journal))
    last = run_virtual(api.resume(stopped.run, task=second, model=Chancy(), max_steps=None, journal=journal))
    assert exported(last) == kept
    # The fingerprint asks for the first prompt; the rest are the steps.
    assert [(type(s), s) for s in first.seen[1:] + second.seen[1:]] == [(type(s), s) for s in whole.seen[1:]]
    # Not merely equal: 1 is not 1.0, and a list no tuple.
    assert repr(first.seen[1:] + second.seen[1:]) == repr(whole.seen[1:])


def test_typed_states_and_actions_reach_the_task_as_their_types() -> None:
    move = read(TypedApplied(), '{"by": 1}', Place(3, (1,)))
    assert move == Move(Jump(1), Place(4, (1, 1)))
    assert move.action.why == "because"


def test_a_reply_that_does_not_fit_its_type_is_malformed_and_not_a_crash() -> None:
    class Loose(Typed):
        def parse(self, text: str, state: Place) -> Move:
            return Move({"by": "far"}, {"n": 1, "path": []})

    with pytest.raises(RedFlag, match="Expected `int`, got `str`") as caught:
        read(Loose(), "anything", Place(0))
    assert caught.value.name == "malformed"


def test_what_a_type_fills_in_makes_votes_equal() -> None:
    class Loose(Typed):
        def parse(self, text: str, state: Place) -> Move:
            return Move(msgspec.json.decode(text), {"n": 1})

    view = TaskView(Loose())
    keys = {view.read(t, Place(0)).key for t in ('{"by": 1}', '{"why": "because", "by": 1}')}
    assert len(keys) == 1
    assert view.read('{"by": 1, "why": "else"}', Place(0)).key not in keys


def test_a_tuple_is_a_list_from_the_first_step_on() -> None:
    class Tuples(Pairs):
        def start(self) -> Any:
            return (0, (1, 2))

        def is_done(self, state: Any) -> bool:
            assert isinstance(state, list)
            return bool(state[0] >= 2)

        def prompt(self, state: Any) -> tuple[Message, ...]:
            assert state[1] == [1, 2]
            return (Message("user", "?"),)

        def parse(self, text: str, state: Any) -> Move:
            return Move(("go", 1), (state[0] + 1, (1, 2)))

    result = run_virtual(api.run(Tuples(), lambda _: "x"))
    assert (result.status, result.state, list(result.actions)) == ("done", [2, [1, 2]], [["go", 1]] * 2)


def test_apply_computes_from_the_action_as_it_is_stored() -> None:
    class Picky(Applied):
        def apply(self, state: Any, action: Any) -> Any:
            return {"n": state["n"] + 1, "path": [type(action).__name__]}

    journal = open_journal(None)
    first = run_virtual(plain_run(Picky(4), Chancy(p=1.0), journal=journal, max_steps=2))
    last = run_virtual(api.resume(first.run, journal=journal, task=Picky(4), model=Chancy(p=1.0), max_steps=None))
    assert [line["next_state"]["path"] for line in last.export()] == [["list"]] * 4


def test_a_next_state_that_apply_does_not_give_is_stored_and_replayed_as_it_was_written() -> None:
    result = run_virtual(plain_run(Mixed(8), Chancy(p=1.0)))
    written = [line["next_state"] for line in result.export()]
    assert [repr(state["n"]) for state in written] == ["1.0", "2", "3", "4.0", "5", "6", "7.0", "8"]
    changes = [entry.change is not msgspec.UNSET for _, entry, _ in result.decisions]
    # 1.0 equals 1 and is stored all the same; "fly" (steps 3 and 7) is an action that `apply` cannot take.
    assert changes == [True, True, False, True, True, False, True, True]


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, -math.inf], {"x": math.nan}])
@pytest.mark.parametrize("shape", [Pairs, Applied])
def test_a_number_that_is_none_is_flagged_and_never_stored_as_null(shape: type[Pairs], value: Any) -> None:
    class Numb(shape):  # type: ignore[misc, valid-type]
        def parse(self, text: str, state: Any) -> Move:
            return Move(value, {"n": 1, "path": []} if shape is Pairs else ABSENT)

        def apply(self, state: Any, action: Any) -> Any:
            return {"n": 1, "path": []}

    with pytest.raises(RedFlag) as caught:
        read(Numb(), "x", {"n": 0, "path": []})
    assert caught.value.name == "malformed"


def test_equal_decimals_are_equal_votes() -> None:
    class Prices(Pairs):
        def parse(self, text: str, state: Any) -> Move:
            return Move(Decimal(text), {"n": 1})

    view = TaskView(Prices())
    assert view.read("1.50", {}).key == view.read("1.5", {}).key != view.read("1.51", {}).key


def test_half_a_surrogate_pair_in_a_reply_is_malformed() -> None:
    class Letters(Pairs):
        def parse(self, text: str, state: Any) -> Move:
            return Move("\ud83d", {"n": 1})

    with pytest.raises(RedFlag):
        read(Letters(), "x", {})


def test_a_reply_with_half_a_surrogate_pair_is_flagged_and_kept_written_out(tmp_path: Path) -> None:
    result = run_virtual(api.run(Pairs(1), lambda _: "half: \ud83d", redraws=0, journal=tmp_path / "runs.db"))
    assert (result.status, result.flagged) == ("undecided", {"malformed": 3})
    assert {sample.text for sample in result.samples_of(0)} == {"half: \\ud83d"}


def test_a_reply_nested_too_deeply_to_read_is_malformed() -> None:
    result = run_virtual(api.run(Pairs(1), lambda _: "[" * 100_000, redraws=0))
    assert (result.status, result.flagged) == ("undecided", {"malformed": 3})


def test_integers_of_any_size_stay_exact() -> None:
    class Big(Pairs):
        def parse(self, text: str, state: Any) -> Move:
            return Move(int(text), {"n": 1, "path": [int(text)]})

    number = 2**200 + 1
    result = run_virtual(api.run(Big(1), lambda _: str(number)))
    assert list(result.actions) == [number]
    assert result.state["path"] == [number]


def test_a_claimed_next_state_must_be_the_one_that_code_computes() -> None:
    class Claims(Applied):
        def parse(self, text: str, state: Any) -> Move:
            action, after = msgspec.json.decode(text)
            return Move(action, after)

    state = {"n": 0, "path": []}
    right = read(Claims(), '[["add", 1], {"path": [1], "n": 1}]', state)
    assert right.next_state == {"n": 1, "path": [1]}
    with pytest.raises(RedFlag, match="does not follow") as caught:
        read(Claims(), '[["add", 1], {"path": [1], "n": 2}]', state)
    assert caught.value.name == "illegal"


def test_an_oracle_flags_what_is_illegal_with_its_reason() -> None:
    class Judged(Applied):
        def check(self, state: Any, move: Move) -> str | None:
            return None if move.action[1] == 1 else f"cannot add {move.action[1]}"

    result = run_virtual(plain_run(Judged(6), Chancy(p=0.5)))
    assert result.flagged["illegal"] > 0
    assert all(line["action"] == ["add", 1] for line in result.export())
    assert all(line["votes"] == [3] for line in result.export())


def test_votes_share_a_key_that_the_task_gives_and_the_first_of_them_is_taken() -> None:
    class Folding(Pairs):
        def parse(self, text: str, state: Any) -> Move:
            return Move(text, {"n": 1})

        def key(self, move: Move) -> Any:
            return move.action.casefold()

    replies = ["Yes", "yes", "YES"]

    async def model(request: Request) -> Response:
        return Response(replies[request.draw.slot])

    result = run_virtual(api.run(Folding(1), model))
    assert (list(result.actions), [line["votes"] for line in result.export()]) == (["Yes"], [[3]])


def test_a_schema_says_where_integers_and_floats_are_one_number() -> None:
    class Sums(Applied):
        schema: Any = None

        def parse(self, text: str, state: Any) -> Move:
            return Move(msgspec.json.decode(text), ABSENT)

        def apply(self, state: Any, action: Any) -> Any:
            return {"n": 1, "path": []}

        def answer(self, state: Any) -> Move:
            return Move(3, {"n": 1, "path": []})

    plain, typed = Sums(1), Sums(1)
    typed.schema = {"type": "number"}
    assert TaskView(plain).read("3", {}).key != TaskView(plain).read("3.0", {}).key
    assert TaskView(typed).read("3", {}).key == TaskView(typed).read("3.0", {}).key
    assert run_virtual(api.run(plain, lambda _: "3.0")).wrong == 1
    assert run_virtual(api.run(typed, lambda _: "3.0")).wrong == 0, "the recount reads the schema as the vote does"


def test_a_parser_without_a_next_state_in_a_task_without_apply_is_told_so() -> None:
    class Forgetful(Pairs):
        def parse(self, text: str, state: Any) -> Move:
            return Move("go", ABSENT)

    with pytest.raises(TaskError, match=r"Forgetful.parse gave no next state"):
        run_virtual(api.run(Forgetful(1), lambda _: "x"))


@pytest.mark.parametrize("said", [None, 7, [{"role": "user", "content": "hi"}]])
def test_a_prompt_that_is_neither_text_nor_messages_names_the_method(said: Any) -> None:
    class Mute(Pairs):
        def prompt(self, state: Any) -> Any:
            return said

    with pytest.raises(
        TaskError,
        match=r"Mute.prompt returned (None|int|list).*neither a text nor messages. return the prompt as a text",
    ):
        run_virtual(api.run(Mute(1), lambda _: "x"))


@pytest.mark.parametrize("said", [None, "3", (3, 4)])
def test_a_parser_that_returns_no_move_is_named_with_what_it_returned(said: Any) -> None:
    class Careless(Pairs):
        def parse(self, text: str, state: Any) -> Any:
            return said

    kind = "None" if said is None else type(said).__name__
    with pytest.raises(TaskError, match=rf"Careless.parse returned {kind}.*, not a Move. return mdap.Move"):
        run_virtual(api.run(Careless(1), lambda _: "x"))


def test_votes_on_the_action_need_apply() -> None:
    class Torn(Pairs):
        vote_on = "action"

    with pytest.raises((TaskError, ValueError), match=r"apply"):
        TaskView(Torn())


def test_the_kind_of_a_step_is_in_the_export_and_splits_the_count_of_ballots() -> None:
    class Kinds(Pairs):
        def kind(self, state: Any) -> str:
            return "even" if state["n"] % 2 == 0 else "odd"

    result = run_virtual(plain_run(Kinds(7), Chancy()))
    assert [line["kind"] for line in result.export()] == ["even", "odd"] * 3 + ["even"]
    assert {kind: seen.steps for kind, seen in result.book.kinds.items()} == {"even": 4, "odd": 3}
