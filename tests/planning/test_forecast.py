"""What an agent says of its calls before the first one: never less than the least, never more than the most."""

from __future__ import annotations

import json
from typing import Any

import pytest

import mdap
from mdap.agents import Agent
from mdap.core.agent_calls import largest, total_calls
from mdap.core.errors import UsageError
from mdap.core.estimate_plans import Caps, estimate_agent
from mdap.core.records import Request
from mdap.models.scripted import Scripted
from mdap.planning.division import ATOMIC, Division, Subtask
from tests.planning.roles_of_arithmetic import model, section
from tests.tool_support import call

TASK = "Write it."


def contested(k: int, rounds: int) -> Scripted:
    """Roles of which none agrees with another, and whose judges need all votes, and all rounds."""

    def _judge(role: str, request: Request) -> str:
        slot, last = request.draw.slot, request.draw.step >= 2 * rounds - 1
        first, then = (0, 1) if last else (1, 0)
        choice = first if slot < k - 1 else then
        return json.dumps({"choice": choice, "reason": "" if choice else f"no {slot}"})

    def _divide(role: str, request: Request) -> str:
        subtasks = [{"task": TASK, "needs": []}] * 2
        return json.dumps({"subtasks": subtasks, "compose": f"way {request.draw.slot} {request.draw.step}"})

    def _answer(role: str, request: Request) -> str:
        return f"{request.draw.slot} {request.draw.step}"

    return model(
        decomposer=_divide,
        solver=_answer,
        composer=_answer,
        decomposition_discriminator=_judge,
        solution_discriminator=_judge,
    )


@pytest.mark.parametrize(("k", "rounds", "depth"), [(1, 3, 2), (2, 1, 2), (2, 3, 2), (3, 2, 1), (2, 2, 0)])
async def test_a_run_in_which_nobody_agrees_takes_exactly_the_most(k: int, rounds: int, depth: int) -> None:
    agent = Agent(contested(k, rounds if k > 1 else 1), k=k, rounds=rounds, max_depth=depth)
    result = await agent.run(TASK)
    assert result.status == "done"
    # A single candidate is judged by nobody, and so never refused: there is no second round.
    assert result.statistics.calls * (rounds if k == 1 else 1) == result.forecast.high


async def test_a_run_in_which_all_agree_takes_exactly_the_least() -> None:
    def _whole(role: str, request: Request) -> str:
        return '{"subtasks": [], "compose": ""}' if role == "decomposer" else "it"

    for options in ({}, {"validate": "answer"}, {"minimal": "model"}, {"minimal": "always"}, {"max_depth": 0}):
        of = model(decomposer=_whole, solver=_whole)
        result = await Agent(of, k=3, **options).run(TASK)
        assert (result.answer, result.statistics.calls) == ("it", result.forecast.low), options


@pytest.mark.parametrize("judge", ["first_to_k", "ahead_by_k"])
@pytest.mark.parametrize("minimal", ["never", "model"])
@pytest.mark.parametrize("validate", ["none", "answer", "every"])
@pytest.mark.parametrize("decompose", ["binary", "nary:3", "sequential"])
def test_whatever_roles_say_calls_stay_within_the_forecast(
    judge: Any, minimal: str, validate: Any, decompose: str
) -> None:
    of = "simulated_solver:decomposer=0.3,solver=0.3,composer=0.3,judge=0.3"
    for seed in range(3):
        agent = mdap.Agent(of, k=2, judge=judge, minimal=minimal, validate=validate, decompose=decompose, seed=seed)
        result = agent.run("Multiply 1234 by 567.")
        assert result.statistics.calls <= result.forecast.high
        if result.ok:
            assert result.forecast.low <= result.statistics.calls
            assert result.statistics.subtasks <= result.forecast.subtasks


async def test_calls_of_tools_are_in_the_forecast() -> None:
    def search_files(place: int) -> int:
        """Look at a place."""
        return place

    def _solver(role: str, request: Request) -> str:
        return call("search_files", place=request.draw.step) if request.draw.step < 7 else "it"

    agent = Agent(model(solver=_solver), k=2, decompose="none", tools=[search_files])
    result = await agent.run(TASK)
    assert result.answer == "it"
    assert result.forecast.low < result.statistics.calls <= result.forecast.high
    assert result.forecast.high > Agent("simulated_solver", k=2, decompose="none").forecast(TASK).high


@pytest.mark.parametrize(("k", "depth", "parts"), [(1, 3, 2), (3, 5, 2), (4, 3, 5)])
def test_an_estimate_and_a_forecast_are_the_same_figures(k: int, depth: int, parts: int) -> None:
    estimated = estimate_agent(k=k, depth=depth, fan_out=parts, caps=Caps(rounds=2, redraws=4))
    agent = mdap.Agent("simulated_solver", k=k, max_depth=depth, decompose=f"nary:{parts}", rounds=2, redraws=4)
    agent.max_subtasks = 10_000
    foretold = agent.forecast(TASK)
    assert foretold.by_role == estimated.by_role
    assert (foretold.low, foretold.high) == (estimated.calls.least, estimated.calls.most)
    assert foretold.subtasks == estimated.counts["leaves"] + estimated.counts["splits"] - 1


def test_the_tree_with_most_tasks_is_not_always_the_widest() -> None:
    assert (largest(2, 10, 510).subtasks, largest(5, 10, 510).subtasks) == (510, 510)
    assert largest(3, 2, 100).subtasks == 12
    # By hand: in threes 3 + 3 * 0, in twos 2 + 2 * 0; in twos of 6 there are two parts with two more each.
    assert [largest(3, 9, left).subtasks for left in (1, 2, 3, 5, 6)] == [0, 2, 3, 3, 6]


def test_the_roles_of_a_forecast_add_up() -> None:
    foretold = mdap.Agent("simulated_solver", k=2, validate="every", minimal="model").forecast(TASK)
    total = total_calls(foretold.by_role)
    assert (total.least, total.most) == (foretold.low, foretold.high)
    assert total.cap == 11 * total.most
    assert set(foretold.by_role) >= {"validator", "minimality"}


async def test_a_decomposer_that_fails_is_no_error_of_the_forecast_but_one_of_the_run() -> None:
    def _raises(task: str) -> Division:
        raise KeyError(task)

    def _other(task: str) -> Any:
        return "two parts"

    for decompose in (_raises, _other):
        agent = Agent(model(), k=1, decompose=decompose)
        assert agent.forecast(TASK).subtasks == 0
        result = await agent.run(TASK)
        assert (result.status, result.answer is mdap.ABSENT) == ("error", True)
        assert result.error.startswith(f"the task {TASK!r}: decomposer own:")


async def test_a_rule_of_minimality_that_fails_names_its_task() -> None:
    def _raises(task: str) -> bool:
        raise ValueError(task)

    result = await Agent(model(), k=1, minimal=_raises).run(TASK)
    assert (result.status, "minimal raised ValueError" in result.error) == ("error", True)


async def test_what_is_small_enough_is_never_divided_by_code_either() -> None:
    def _halves(task: str) -> Division:
        half = len(task) // 2
        return Division((Subtask(task[:half]), Subtask(task[half:])), "concat") if half else ATOMIC

    agent = Agent(
        model(solver=lambda role, request: section(request, "Task")),
        k=1,
        decompose=_halves,
        minimal=lambda task: len(task) < 4,
    )
    result = await agent.run("abcdefgh")
    assert (result.answer, result.statistics.subtasks) == ("abcdefgh", 6)
    assert (result.forecast.subtasks, result.forecast.is_exact, result.forecast.low) == (6, True, 4)


def test_options_out_of_range_are_refused_before_anything_is_foretold() -> None:
    with pytest.raises(UsageError, match="redraws"):
        mdap.Agent("simulated_solver", redraws=-1).forecast(TASK)
