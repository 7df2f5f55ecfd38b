"""What providers are asked to hold replies to, role by role: what the schema lets through is what the role reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

import mdap
from mdap.agents import Agent
from mdap.core import formats
from mdap.core.errors import TaskError
from mdap.core.records import ABSENT, Move, Request
from mdap.engine.taskview import TaskView
from mdap.models.strict_schema import is_strict
from mdap.planning.division import division_schema, read_division
from mdap.planning.verdicts import END, NO, YES, choice_schema, read_choice, read_verdict, verdict_schema
from tests.planning.roles_of_arithmetic import model, right, role_of
from tests.planning.support import Role

SCHEMAS = (division_schema(), verdict_schema((YES, NO)), verdict_schema((YES, NO, END)), choice_schema(3))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_is_one_that_strict_servers_take(schema: dict[str, Any]) -> None:
    assert is_strict(schema)
    json.dumps(schema)


@pytest.mark.parametrize("words", [(YES, NO), (YES, NO, END)])
def test_every_verdict_of_the_schema_is_read(words: tuple[str, ...]) -> None:
    said = verdict_schema(words)["properties"]["verdict"]["enum"]
    assert [read_verdict(json.dumps({"verdict": one, "reason": "it is"}), words)[0] for one in said] == list(words)


def test_every_choice_of_the_schema_is_read_and_no_other() -> None:
    numbers = choice_schema(3)["properties"]["choice"]["enum"]
    assert [read_choice(json.dumps({"choice": one, "reason": "it is"}), 3)[0] for one in numbers] == [0, 1, 2, 3]


def test_a_division_has_exactly_the_fields_of_its_schema_with_one_name_for_how_it_is_composed() -> None:
    schema = division_schema()
    part = schema["properties"]["subtasks"]["items"]
    assert schema["required"] == ["subtasks", "compose"]
    made = dict.fromkeys(part["required"], "a") | {"needs": [], "complexity": 0.25}
    division = read_division({"subtasks": [made, made], "compose": "concat"}, 2)
    assert (len(division.subtasks), division.compose, division.complexity) == (2, "concat", 0.5)


async def asked_for(of: Any, **options: Any) -> dict[str, Any]:
    """The schema that each role was asked with."""
    assert (await Agent(of, k=2, **options).run("Multiply 12 by 3.")).ok
    return {role_of(request): request.schema for request in of.requests}


async def test_each_role_is_asked_with_its_own_schema_and_free_text_with_none() -> None:
    def _wavers(role: str, request: Request) -> str:
        if request.draw.slot:
            return right(role, request)
        return json.dumps({"subtasks": [], "compose": ""}) if role == "decomposer" else "0"

    schemas = await asked_for(
        model(decomposer=_wavers, solver=_wavers, composer=_wavers), minimal="never", validate="every"
    )
    assert schemas == {
        "decomposer": division_schema(),
        "decomposition_discriminator": choice_schema(2),
        "solver": None,
        "composer": None,
        "solution_discriminator": choice_schema(2),
        "validator": verdict_schema((YES, NO)),
    }


async def test_answers_of_a_format_have_its_schema_unless_a_reply_may_be_a_call() -> None:
    def read_file(path: str) -> str:
        """Read a file."""
        return path

    form = formats.json_schema({"type": "integer"})
    schemas = await asked_for(model(), format=form)
    assert schemas["solver"] == schemas["composer"] == form.schema
    with_tools = await asked_for(model(), format=form, tools=[read_file])
    assert (with_tools["solver"], with_tools["composer"]) == (None, form.schema)


async def test_judges_of_plans_and_of_states_are_held_to_verdicts() -> None:
    planner = Role(lambda request: "End" if '0. {"task"' in request.messages[-1].content else '[{"task": "wait"}]')
    judge, worker, checker = Role(['{"verdict": "Yes"}']), Role(["done"]), Role(['{"verdict": "Yes"}'])
    done = await mdap.aio.do(
        "wait",
        planning_model=planner,
        plan_voting_model=judge,
        execution_model=worker,
        execution_voting_model=checker,
        k=2,
    )
    assert done.status == "done"
    assert {id(request.schema) for request in judge.requests} == {id(verdict_schema((YES, NO, END)))}
    assert {id(request.schema) for request in checker.requests} == {id(verdict_schema((YES, NO)))}
    assert {request.schema for request in (*planner.requests, *worker.requests)} == {None}


class Odd:
    """A task whose schema is a function of the state."""

    def start(self) -> int:
        return 0

    def is_done(self, state: int) -> bool:
        return state == 2

    def prompt(self, state: int) -> str:
        return str(state)

    def parse(self, text: str, state: int) -> Move:
        return Move(text, ABSENT)

    def reply_schema(self, state: int) -> dict[str, Any]:
        return [{"type": "object"}][state]


def test_a_schema_may_depend_on_the_state_and_an_error_in_it_names_the_method() -> None:
    view = TaskView(Odd())
    assert view.reply_schema(0) == {"type": "object"}
    with pytest.raises(TaskError, match=r"Odd\.reply_schema raised IndexError"):
        view.reply_schema(1)
