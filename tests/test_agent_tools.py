"""An agent whose solver calls tools: calls are candidates like answers, are made once, and are asked about if lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.agents import Agent
from mdap.branches import planned
from mdap.core.errors import FingerprintChanged, UsageError
from mdap.core.history import Acted
from mdap.core.records import Request
from mdap.inbox import resolve, waiting
from mdap.journal import open_journal
from mdap.measuring import metrics
from mdap.models.scripted import Scripted
from mdap.tools import Toolbox
from tests.engine.support import Watched
from tests.planning.roles_of_arithmetic import asked, candidates, factors, model, right, section
from tests.tool_support import Ledger, call

TASK = "Multiply 3 by 4."
CAME = "came of it:"


def search_files(pattern: str, most: int = 5) -> list[str]:
    """Find files by a pattern."""
    return [f"{pattern}.md"][:most]


def looks(says: Callable[[Request], str] | None = None) -> Scripted:
    """Roles whose solver looks once before it answers."""

    def _solver(role: str, request: Request) -> str:
        if CAME in request.messages[-1].content:
            return right(role, request)
        return call("search_files", f"draw {request.draw.slot}", pattern="a") if says is None else says(request)

    return model(solver=_solver)


def solved_with(of: Scripted, tools: Any = (search_files,), **options: Any) -> mdap.agents.AgentResult:
    return mdap.Agent(of, k=2, tools=tools, **options).run(TASK)


def test_a_leaf_calls_a_tool_once_and_its_solver_sees_what_came_of_it() -> None:
    made: list[str] = []

    def search_files(pattern: str) -> list[str]:
        """Find files by a pattern."""
        made.append(pattern)
        return ["a.md"]

    of = looks()
    result = solved_with(of, [search_files])
    assert (result.answer, made) == ("12", ["a"])
    first, last = asked(of, "solver")[0], asked(of, "solver")[-1]
    assert "- search_files: Find files by a pattern." in first.messages[-1].content
    assert '{"status": "ok", "value": ["a.md"]}' in last.messages[-1].content
    assert {name: role.steps for name, role in result.statistics.roles.items()} == {
        "decomposer": 1,
        "solver": 2,
        "tool": 1,
    }
    assert result.steps == 4


def test_every_role_is_told_of_the_tools_and_the_solver_alone_may_call_them() -> None:
    of = looks()
    result = mdap.Agent(of, k=1, tools=[search_files]).run("Multiply 12 by 3.")
    assert result.answer == "36"
    for request in of.requests:
        assert "Tool: search_files: Find files by a pattern." in section(request, "Context")
    assert {"You may call" in r.messages[-1].content for r in asked(of, "composer") + asked(of, "decomposer")} == {
        False
    }


def test_a_call_that_only_some_draw_is_a_candidate_for_judges() -> None:
    def _solver(role: str, request: Request) -> str:
        if request.draw.slot == 0 and CAME not in request.messages[-1].content:
            return call("search_files", "to be sure", pattern="b")
        return right(role, request)

    def _judge(role: str, request: Request) -> str:
        shown = candidates(request)
        picked = next((n for n, one in enumerate(shown, 1) if isinstance(one, dict)), 1)
        return json.dumps({"choice": picked, "reason": ""})

    of = model(solver=_solver, solution_discriminator=_judge)
    result = solved_with(of)
    assert result.answer == "12"
    (judged,) = {r.messages[-1].content for r in asked(of, "solution_discriminator")}
    assert '{"call": {"tool": "search_files", "arguments": {"pattern": "b", "most": 5}' in judged
    assert "asks for that tool to be called" in judged

    def _against(role: str, request: Request) -> str:
        answer = next(n for n, one in enumerate(candidates(request), 1) if isinstance(one, str))
        return json.dumps({"choice": answer, "reason": ""})

    without = solved_with(model(solver=_solver, solution_discriminator=_against))
    assert (without.answer, "tool" in without.statistics.roles) == ("12", False)


def test_calls_are_the_same_by_tool_and_arguments_with_defaults_and_not_by_their_reasons() -> None:
    def _solver(request: Request) -> str:
        arguments: list[dict[str, Any]] = [{"pattern": "a"}, {"pattern": "a", "most": 5}, {"most": 5, "pattern": "a"}]
        return call("search_files", f"why {request.draw.slot}", **arguments[request.draw.slot])

    of = looks(_solver)
    assert solved_with(of).answer == "12"
    assert not asked(of, "solution_discriminator")


def test_after_three_calls_the_fourth_comes_to_a_limit_and_more_are_red_flags() -> None:
    made: list[int] = []

    def search_files(place: int) -> int:
        """Look at a place."""
        made.append(place)
        return place

    def _solver(role: str, request: Request) -> str:
        said = request.messages[-1].content
        places = said.count("status")
        if places > 3 and request.draw.redraw:
            return right(role, request)
        return call("search_files", place=places)

    of = model(solver=_solver)
    result = solved_with(of, [search_files])
    assert (result.answer, made) == ("12", [0, 1, 2])
    assert '"status": "limit"' in asked(of, "solver")[-1].messages[-1].content
    assert result.statistics.flags == {"tool": 3}


def test_an_endless_caller_ends_undecided() -> None:
    of = model(solver=lambda role, request: call("search_files", pattern="a"))
    result = solved_with(of, max_samples=9, redraws=1)
    assert (result.status, result.answer is mdap.ABSENT) == ("undecided", True)
    assert result.error.startswith(f"the task {TASK!r}")
    assert len(of.requests) < 60


@pytest.mark.parametrize("answer", [call("rm", path="/"), call("search_files", pattern=3), '{"tool": "search_files"}'])
def test_a_call_that_cannot_be_made_is_a_red_flag(answer: str) -> None:
    of = model(solver=lambda role, request: right(role, request) if request.draw.redraw else answer)
    result = solved_with(of)
    assert (result.answer, sum(result.statistics.flags.values())) == ("12", 3)


def test_what_a_tool_raises_goes_into_the_next_prompt() -> None:
    def search_files(pattern: str) -> str:
        """Find files by a pattern."""
        raise OSError("no disk")

    of = looks()
    assert solved_with(of, [search_files]).answer == "12"
    assert "no disk" in asked(of, "solver")[-1].messages[-1].content


def test_a_tool_that_may_change_something_has_to_be_allowed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "paid.txt")
    with pytest.raises(UsageError, match="category custom, which is not allowed"):
        mdap.Agent("simulated_solver", tools=[ledger.pay])
    of = looks(lambda request: call("pay", amount=4))
    assert solved_with(of, [ledger.pay], allow=["custom"]).answer == "12"
    assert len(ledger.paid) == 1
    of = looks(lambda request: call("pay", amount=4))
    assert solved_with(of, Toolbox([ledger.pay], allow=["custom"])).answer == "12"


def test_judges_and_validators_see_what_was_called() -> None:
    of = looks()
    assert solved_with(of, validate="answer").answer == "12"
    assert CAME in asked(of, "validator")[0].messages[-1].content


def test_an_answer_in_json_is_no_call_and_the_mark_of_calls_is_no_answer() -> None:
    mark = '{"mdap:tools": {"tool": "search_files", "arguments": {"pattern": "a"}, "rationale": ""}}'
    of = model(solver=lambda role, request: '{"product": 12}' if request.draw.redraw else mark)
    result = solved_with(of, format=mdap.core.formats.json_value(), redraws=3)
    assert result.answer == {"product": 12}


def test_the_figures_of_a_run_with_tools_are_those_of_its_metrics(tmp_path: Path) -> None:
    result = solved_with(looks(), journal=tmp_path / "runs.db")
    found, stored = metrics(tmp_path / "runs.db", result.run), result.statistics
    assert (found.steps, found.votes, found.samples) == (stored.steps, stored.votes, stored.samples)
    assert (found.tokens, found.flagged) == (stored.tokens, stored.flags)
    assert found.seconds == pytest.approx(stored.seconds)
    journal = open_journal(tmp_path / "runs.db")
    assert planned(journal, result.run).total.steps == stored.steps
    journal.close()


async def test_a_resume_calls_nothing_again_and_needs_the_same_tools() -> None:
    journal = open_journal(None)
    ask = Agent(looks(), k=2, tools=[search_files], journal=journal)
    first = await ask.run(TASK)
    assert len(journal.acts(first.run)) == 1
    again = await ask.resume(first.run)
    assert (again.answer, again.tree, len(journal.acts(first.run))) == ("12", first.tree, 1)
    ask.tools = ()
    with pytest.raises(FingerprintChanged, match="tools"):
        await ask.resume(first.run)


async def test_a_call_that_a_kill_cut_off_is_asked_about_and_never_repeated(tmp_path: Path) -> None:
    ledger, watched = Ledger(tmp_path / "paid.txt"), Watched()

    def _agent(journal: Any) -> Agent:
        def _solver(role: str, request: Request) -> str:
            if CAME in request.messages[-1].content:
                return right(role, request)
            return call("pay", amount=factors(section(request, "Task"))[0])

        return Agent(model(solver=_solver), k=1, tools=[ledger.pay], allow=["custom"], journal=journal)

    whole = await _agent(watched).run("Multiply 12 by 3.")
    assert (whole.answer, len(ledger.paid)) == ("36", 2)
    begun = next(n for n, entry in enumerate(watched.entries, 1) if isinstance(entry, Acted))
    left = watched.killed_after(begun)
    result = await _agent(left).resume(whole.run)
    assert (result.status, result.answer is mdap.ABSENT) == ("undecided", True)
    assert "nobody knows what came of it" in result.error
    (lost,) = waiting(left)
    assert (lost.call, len([line for line in ledger.paid if line.startswith("1 ")])) == ('pay {"amount":1}', 1)
    resolve(left, whole.run, lost.step, by="Ann", row=lost.row, outcome="paid 1")
    done = await _agent(left).resume(whole.run)
    assert (done.status, done.answer) == ("done", "36")
    assert len([line for line in ledger.paid if line.startswith("1 ")]) == 1
