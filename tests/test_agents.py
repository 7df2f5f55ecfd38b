"""`mdap.Agent` as its user sees it: options, figures, warnings, both forms, and going on after an end that is none."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.agents import Agent as AsyncAgent
from mdap.core.errors import FingerprintChanged, ModelRejected, UsageError
from mdap.core.events import StepDecided
from mdap.core.records import Request, Response, Usage
from mdap.journal import open_journal
from mdap.models.catalog import as_model
from mdap.models.scripted import scripted
from mdap.serve import serve
from tests.planning.roles_of_arithmetic import model, right, role_of, section

TASK = "Multiply 123 by 45."
MISTAKEN = "simulated_solver:decomposer=0.1,solver=0.2,composer=0.1,judge=0.1"


def test_it_blocks_and_has_an_async_twin_that_does_not() -> None:
    blocking = mdap.Agent("simulated_solver", k=2).run(TASK)
    awaited = asyncio.run(mdap.aio.Agent("simulated_solver", k=2).run(TASK))
    assert blocking.answer == awaited.answer == "5535"
    assert isinstance(mdap.Agent("simulated_solver"), AsyncAgent)


async def test_the_blocking_form_works_where_a_loop_runs_already() -> None:
    assert mdap.Agent("simulated_solver", k=1).run(TASK).ok


def test_its_defaults_are_the_documented_ones() -> None:
    agent = mdap.Agent("simulated_solver")
    assert (agent.k, agent.max_depth, agent.max_tokens, agent.name) == (3, 10, 2048, "agent")
    assert (agent.rounds, agent.judge, agent.validate, agent.decompose) == (3, "first_to_k", "none", "binary")


def test_requests_have_the_cap_of_tokens_that_was_asked_for() -> None:
    of = model()
    mdap.Agent(of, k=1, max_tokens=99).run("Multiply 3 by 4.")
    assert {request.max_tokens for request in of.requests} == {99}
    mdap.Agent(of, k=1).run("Multiply 3 by 4.")
    assert of.requests[-1].max_tokens == 2048


def test_the_figures_of_a_run_add_up() -> None:
    result = mdap.Agent(MISTAKEN, k=3, max_depth=5, seed=4).run("Multiply 12345 by 6789.")
    found = result.statistics
    assert found.subtasks == 2 * found.decompositions
    assert found.atomic_executions == found.decompositions + 1
    assert found.votes == sum(role.votes for role in found.roles.values())
    assert found.steps == sum(role.steps for role in found.roles.values()) == result.steps == result.iterations
    assert found.calls == found.samples == found.votes + found.red_flags
    assert 0 < found.error_rate < found.dissent_rate < 1
    assert found.seconds > 0
    assert found.tokens["in"] > found.tokens["out"] > 0
    assert found.cost_usd is None


def test_a_run_of_perfect_agreement_has_no_error_rate() -> None:
    found = mdap.Agent("simulated_solver", k=3).run(TASK).statistics
    assert (found.error_rate, found.dissent_rate, found.red_flags) == (0, 0, 0)


def test_costs_are_exact_and_hold_a_budget(tmp_path: Path) -> None:
    prices = {"simulated_solver": {"input": 1, "output": 2}}
    whole = mdap.Agent("simulated_solver", k=1, prices=prices).run(TASK)
    tokens = whole.statistics.tokens
    assert whole.statistics.cost_usd is not None
    assert float(whole.statistics.cost_usd) == pytest.approx((tokens["in"] + 2 * tokens["out"]) / 1e6)
    small = mdap.Agent("simulated_solver", k=1, prices=prices, budget_usd="0.0001").run(TASK)
    assert (small.status, small.ok) == ("budget", False)


def test_the_result_is_one_json_object() -> None:
    result = mdap.Agent("simulated_solver", k=1).run(TASK)
    read = json.loads(json.dumps(result.to_dict()))
    assert (read["answer"], read["status"], read["statistics"]["subtasks"]) == ("5535", "done", 2)
    assert read["tree"]["parts"][0]["task"] == "Multiply 12 by 45."


# Warnings and the log


def noisy(request: Request) -> Response:
    """Flagged at first, and no two answers alike but for the judges."""
    role = role_of(request)
    if request.draw.redraw == 0 and request.draw.slot == 0:
        return Response("...", "length")
    said = f"about {request.draw.slot}" if role == "solver" else right(role, request)
    return Response('{"choice": 1}' if role == "solution_discriminator" else said, usage=Usage(1, 1))


def test_many_flags_and_many_votes_are_warned_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mdap.agent"):
        result = mdap.Agent(scripted(lambda request: noisy(request)), k=4, name="clerk").run("Multiply 3 by 4.")
    votes, flags = result.warnings
    assert votes.startswith("11 votes for 1 tasks solved as they stand, more than 10 each")
    assert "samples were red-flagged, more than 10%" in flags
    assert caplog.messages == [f"clerk: {votes}", f"clerk: {flags}"]


def test_a_quiet_run_warns_of_nothing_and_logs_its_subtasks_where_it_is_told_to() -> None:
    heard: list[str] = []
    logger = logging.getLogger("test.agent")
    logger.setLevel(logging.INFO)
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    result = mdap.Agent("simulated_solver", k=1, name="clerk", logger=logger).run(TASK)
    assert result.warnings == ()
    assert heard[0] == "clerk: the task divided into 2"
    assert heard[-1] == "clerk: the task solved"
    assert not [line for line in heard if "123" in line or "5535" in line]


# Going on


def test_what_a_budget_stopped_is_gone_on_with_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    plain = mdap.Agent(MISTAKEN, k=3, seed=2, max_depth=5).run("Multiply 1234 by 5678.")
    agent = mdap.Agent(MISTAKEN, k=3, seed=2, max_depth=5, journal=tmp_path / "runs.db", budget_calls=60)
    stopped = agent.run("Multiply 1234 by 5678.")
    assert (stopped.status, stopped.statistics.calls) == ("budget", 60)
    agent.options["budget_calls"] = 100_000
    asked_again: list[Any] = []
    agent.on_event = lambda event: asked_again.append(event) if isinstance(event, StepDecided) else None
    done = agent.resume(stopped.run)
    assert (done.run, done.status, done.answer) == (stopped.run, "done", plain.answer)
    assert done.statistics.steps == plain.statistics.steps
    assert done.tree == plain.tree
    # What was in flight at the stop is all that is drawn anew.
    assert plain.statistics.calls <= done.statistics.calls <= plain.statistics.calls + 64
    assert 0 < len(asked_again) < done.statistics.steps


def test_equal_runs_are_equal_whatever_is_in_flight() -> None:
    runs = [mdap.Agent(MISTAKEN, k=2, seed=9, in_flight=most).run("Multiply 1234 by 5678.") for most in (1, 3, 64)]
    assert len({json.dumps(run.to_dict()["tree"]) for run in runs}) == 1
    assert len({run.statistics.calls for run in runs}) == 1


def test_an_undecided_task_goes_on_with_more_rounds(tmp_path: Path) -> None:
    def _reply(request: Request) -> str:
        role = role_of(request)
        if role == "solver":
            return f"{request.draw.step}{request.draw.slot}"
        if role == "solution_discriminator":
            return json.dumps({"choice": request.draw.slot + 1 if request.draw.step < 4 else 1, "reason": ""})
        return right(role, request)

    of = scripted(lambda request: _reply(request))
    agent = mdap.Agent(of, k=2, rounds=2, journal=tmp_path / "runs.db")
    first = agent.run("Multiply 3 by 4.")
    calls = len(of.requests)
    assert first.status == "undecided"
    agent.rounds = 3
    done = agent.resume(first.run)
    assert (done.status, done.answer) == ("done", "40")
    assert len(of.requests) == calls + 3 + 2


def test_a_run_is_taken_up_only_by_the_same_agent(tmp_path: Path) -> None:
    agent = mdap.Agent(model(), k=2, journal=tmp_path / "runs.db", budget_calls=4)
    stopped = agent.run(TASK)
    agent.options["budget_calls"] = 1000
    with pytest.raises(FingerprintChanged, match="origin task"):
        agent.run("Multiply 12 by 3.", run=stopped.run)
    agent.k = 3
    with pytest.raises(FingerprintChanged, match=r"origin k\b"):
        agent.resume(stopped.run)
    agent.k = 2
    assert agent.resume(stopped.run).answer == "5535"


def test_a_run_of_another_sort_is_not_an_agents(tmp_path: Path) -> None:
    other = mdap.run("hanoi:disks=3", "simulated:p=1", journal=tmp_path / "runs.db")
    with pytest.raises(UsageError, match="not made of branches"):
        mdap.Agent(model(), journal=tmp_path / "runs.db").resume(other.run)


async def test_a_cancelled_run_is_interrupted_and_goes_on(tmp_path: Path) -> None:
    slow, waits = asyncio.Event(), asyncio.Event()

    async def _reply(request: Request) -> str:
        if role_of(request) == "composer" and not slow.is_set():
            waits.set()
            await slow.wait()
        return right(role_of(request), request)

    of = scripted(lambda request: _reply(request))
    agent = AsyncAgent(of, k=1, journal=tmp_path / "runs.db")
    running = asyncio.create_task(agent.run("Multiply 12 by 3."))
    await waits.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    journal = open_journal(tmp_path / "runs.db")
    (head,) = journal.heads()
    assert journal.history(head.id).book.status == "interrupted"
    journal.close()
    slow.set()
    before = len(of.requests)
    done = await agent.resume(head.id)
    assert (done.status, done.answer) == ("done", "36")
    assert [role_of(request) for request in of.requests[before:]] == ["composer"]


def test_functions_of_ones_own_are_given_again_at_a_resume(tmp_path: Path) -> None:
    own = {"tenfold": lambda values: str(10 * int(values[0]) + int(values[1]))}

    def _divide(role: str, request: Request) -> str:
        from tests.planning.roles_of_arithmetic import divided

        return divided(section(request, "Task"), "tenfold")

    agent = mdap.Agent(model(decomposer=_divide), k=1, compositions=own, journal=tmp_path / "runs.db", budget_calls=3)
    stopped = agent.run("Multiply 12 by 5.")
    assert stopped.status == "budget"
    agent.options["budget_calls"] = 99
    assert agent.resume(stopped.run).answer == "60"


# Over the wire


async def test_served_roles_see_text_alone_and_come_to_the_same_answer_under_chaos() -> None:
    model, task = as_model(MISTAKEN), "Multiply 1234 by 567."
    alone = await AsyncAgent(model, k=2, seed=3).run(task)
    async with await serve(model, chaos="429=0.05,drop=0.02", seed=1) as server:
        served = AsyncAgent("openai:any,base_url=" + server.url, k=2, seed=3, free=True)
        result = await served.run(task)
    assert result.status == "done"
    assert result.answer == alone.answer
    assert result.tree == alone.tree
    assert sum(sum(role.retries.values()) for role in result.statistics.roles.values()) > 0


@pytest.mark.parametrize("n", [1, 60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_long_list_is_sorted_whole_by_roles_that_see_a_few_numbers_at_a_time(n: int) -> None:
    problem = mdap.tasks.sorting(n, 2)
    result = mdap.Agent("simulated_solver:solver=0.02,judge=0.02", k=3).run(problem.problem)
    assert json.loads(result.answer) == sorted(problem.numbers)
    assert result.statistics.atomic_executions > n / 4


# What cannot be is refused before a run begins


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("half a \ud83d", {}, "halves of characters"),
        (TASK, {"k": 150}, "k=150 takes 299 candidates"),
        (TASK, {"k": 5, "max_samples": 8}, "more than max_samples=8"),
        (" ".join(["Do it."] * 30), {"decompose": "sentences"}, "30 parts, 20 at most"),
        (TASK, {"max_depth": 1000, "max_subtasks": 10**40}, "more subtasks than can be numbered"),
    ],
)
def test_what_could_only_fail_is_refused_and_leaves_no_run(
    task: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    of = model()
    with pytest.raises(UsageError, match=said):
        mdap.Agent(of, journal=tmp_path / "runs.db", **options).run(task)
    journal = open_journal(tmp_path / "runs.db")
    assert journal.heads() == []
    journal.close()
    assert not of.requests


def test_a_depth_that_the_subtasks_do_not_reach_is_no_error() -> None:
    assert mdap.Agent("simulated_solver", k=1, max_depth=1000).run(TASK).answer == "5535"


def test_a_cap_that_a_run_was_begun_with_is_in_force_when_it_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    stopped = mdap.Agent("simulated_solver", k=120, max_samples=500, journal=path, budget_calls=9).run(TASK)
    assert stopped.status == "budget"
    assert mdap.Agent("simulated_solver", k=120, journal=path, budget_calls=10**6).resume(stopped.run).ok


def test_a_model_that_fails_is_no_success_and_the_error_names_its_subtask(tmp_path: Path) -> None:
    fails = [True]

    def _solver(role: str, request: Request) -> str:
        if section(request, "Task") == "Multiply 3 by 45." and fails[0]:
            raise ModelRejected("the key is no key")
        return right(role, request)

    of = model(solver=_solver)
    agent = mdap.Agent(of, k=1, journal=tmp_path / "runs.db", in_flight=1)
    failed = agent.run("Multiply 23 by 45.")
    assert (failed.status, failed.ok, failed.answer is mdap.ABSENT) == ("error", False, True)
    assert failed.error.startswith("subtask 2 'Multiply 3 by 45.': ")
    assert failed.tree is not None
    assert [part.status for part in failed.tree.parts] == ["solved", "error"]
    fails[0] = False
    assert agent.resume(failed.run).answer == "1035"
