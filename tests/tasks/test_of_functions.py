"""A task of plain functions: the same as one of a class, with as many methods as were given."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import mdap
from mdap import ABSENT, Move, RedFlag, Stop
from mdap.core.errors import UsageError
from mdap.core.events import StepBegun, StepDecided
from mdap.models import scripted


def counting(**more: Any) -> Any:
    """A task that counts up to 3, a step a number."""
    return mdap.task(
        start={"n": 0},
        prompt=lambda state: f"What comes after {state['n']}?",
        **({"parse": lambda text, state: {"n": int(text)}, "is_done": lambda state: state["n"] >= 3} | more),
    )


def counter(request: Any) -> str:
    return str(int(request.messages[-1].content.removesuffix("?").rpartition(" ")[2]) + 1)


def test_a_task_of_functions_runs_to_its_end() -> None:
    result = mdap.run(counting(), scripted(lambda r: counter(r)), k=2)
    assert (result.status, result.state, result.steps) == ("done", {"n": 3}, 3)


def test_where_code_computes_the_next_state_votes_are_on_what_parse_returns() -> None:
    by_code = counting(parse=lambda text, state: int(text), apply=lambda state, action: {"n": state["n"] + action})
    result = mdap.run(by_code, scripted(lambda r: "1"), k=2)
    assert (result.state, list(result.actions)) == ({"n": 3}, [1, 1, 1])
    assert by_code.parse("1", {"n": 0}) == Move(1, ABSENT)


def test_parse_may_return_a_move_of_its_own_and_refuse_a_reply() -> None:
    def _parse(text: str, state: Any) -> Move:
        if "well" in text:
            raise RedFlag("it hesitates", name="hesitant")
        return Move(int(text), {"n": int(text)})

    result = mdap.run(counting(parse=_parse), scripted(lambda r: counter(r) if r.draw.redraw else "well"), k=1)
    assert (result.status, result.flagged) == ("done", {"hesitant": 3})


@dataclasses.dataclass
class Count:
    n: int


@pytest.mark.parametrize("schema", [Count, {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}}])
@pytest.mark.parametrize("by_code", [False, True])
def test_a_reply_that_leads_to_a_state_that_breaks_the_schema_is_a_red_flag(schema: Any, by_code: bool) -> None:
    pytest.importorskip("jsonschema_rs")
    functions: dict[str, Any] = {"state_schema": schema, "parse": lambda text, state: {"n": _number(text)}}
    if by_code:
        functions |= {"parse": lambda text, state: _number(text), "apply": lambda state, action: {"n": action}}
    model = scripted(lambda r: counter(r) if r.draw.redraw else "many")
    result = mdap.run(counting(**functions), model, k=1)
    assert (result.status, result.flagged) == ("done", {"malformed": 3})


def _number(text: str) -> Any:
    return text if text == "many" else int(text)


def test_a_first_state_that_breaks_the_schema_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="the first state breaks its schema"):
        mdap.task(
            start={"m": 0}, prompt=str, parse=lambda text, state: text, is_done=lambda state: True, state_schema=Count
        )


def test_optional_methods_are_there_only_where_they_were_given() -> None:
    bare, more = counting(), counting(kind=lambda state: "count", steps=3, answer=lambda state: None)
    for name in ("kind", "answer", "key", "check", "apply", "write"):
        assert not hasattr(bare, name)
    assert (more.kind({"n": 1}), more.steps) == ("count", 3)
    with pytest.raises(TypeError):
        counting(colour=1)


def test_a_start_that_is_a_function_is_asked_each_time() -> None:
    starts = iter(range(9))
    made = mdap.task(
        start=lambda: {"n": next(starts)}, prompt=str, parse=lambda text, state: text, is_done=lambda state: True
    )
    assert made.start()["n"] < made.start()["n"]


def test_a_hook_after_a_step_may_stop_the_run() -> None:
    spent: list[int] = []

    def _after(event: Any) -> None:
        if isinstance(event, StepDecided):
            spent.append(event.totals.samples)
            if sum(spent) >= 4:
                raise Stop("enough samples")

    result = mdap.run(counting(), scripted(lambda r: counter(r)), k=2, on_event=_after)
    assert (result.status, result.steps) == ("stopped", 2)


def test_a_hook_before_a_step_may_stop_the_run_before_anything_of_it_is_asked() -> None:
    def _before(event: Any) -> None:
        if isinstance(event, StepBegun) and event.step == 1:
            raise Stop("one is enough")

    model = scripted(lambda r: counter(r))
    result = mdap.run(counting(), model, k=2, on_event=_before)
    assert (result.status, result.steps, len(model.requests)) == ("stopped", 1, 2)


def test_it_is_named_after_its_parser_unless_it_has_a_name() -> None:
    assert counting(parse=_number).spec == f"task:{__name__}._number"
    assert counting(name="count").spec == "count"
