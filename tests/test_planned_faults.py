"""Runs of branches where something is not as it should be: broken models, prompts that grow, tools, resumes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.errors import (
    BudgetReached,
    FingerprintChanged,
    ModelError,
    ModelRejected,
    Rejected,
    Undecided,
    UsageError,
)
from mdap.core.events import Warned
from mdap.core.records import Request, Response
from mdap.core.redflags import RedFlags
from mdap.core.secrets import keep_secret
from mdap.engine.blamed import blamed
from mdap.journal import open_journal
from mdap.planned import Conduct, Role, conducting
from mdap.roles import Ensemble
from mdap.tools import Toolbox
from tests.planned_support import ROLES, Essay, Speaker, decided
from tests.planning.support import NO, YES, steps
from tests.planning.support import Role as Scripted

# ---- models of somebody's own that break their contract ----


class Breaking(Speaker):
    """Raises `error` at its n-th call, n from 1; for `times` calls on end."""

    def __init__(self, error: BaseException, at: int = 1, times: int = 10**9) -> None:
        super().__init__("broken_one")
        self.error, self.at, self.times = error, at, times

    async def complete(self, request: Request) -> Response:
        self.asked.append((request.draw.item, request.draw.step, request.draw.slot))
        if self.at <= len(self.asked) < self.at + self.times:
            raise self.error
        return Response(self._said(request.state, request.draw.slot))


async def essay(model: Any, journal: Any = None, **options: Any) -> Any:
    async with conducting("essays", model, roles=ROLES, journal=journal, **options) as conduct:
        return await conduct.branch(0, Essay("a"))


async def test_what_a_model_object_raises_is_one_error_that_names_it() -> None:
    journal, model = open_journal(None), Breaking(ValueError("no such weights"), at=3)
    with pytest.raises(ModelError, match=r"broken_one raised ValueError: no such weights") as raised:
        await essay(model, journal)
    assert (raised.value.retryable, raised.value.blame, raised.value.step) == (False, "tool", 1)
    assert isinstance(raised.value.__cause__, ValueError)
    assert journal.history(raised.value.run).book.status == "error"
    assert f"mdap resume {raised.value.run}" in raised.value.remedy


async def test_a_run_that_its_model_broke_goes_on_once_that_is_mended() -> None:
    journal = open_journal(None)
    with pytest.raises(ModelError) as raised:
        await essay(Breaking(KeyError("weights"), at=4), journal)
    kept, mended = decided(journal, raised.value.run), Speaker("broken_one")
    state = await essay(mended, journal, run=raised.value.run)
    assert state["text"] == ["a 0.3", "a 1.3"]
    assert kept
    assert {(item, step) for item, step, *_ in kept}.isdisjoint((item, step) for item, step, _ in mended.asked)


def test_what_may_be_the_network_is_tried_again_and_counted() -> None:
    model = Breaking(ConnectionResetError("gone"), at=2, times=2)

    async def _conducted() -> Conduct:
        async with conducting("essays", model, roles=ROLES) as conduct:
            await conduct.branch(0, Essay("a"))
        return conduct

    retries = {kind: totals.retries for kind, totals in run_virtual(_conducted()).totals().items()}
    assert sum(count for found in retries.values() for count in found.values()) == 2
    assert {name for found in retries.values() for name in found} == {"failed"}


def test_a_model_that_never_gets_through_leaves_its_step_undecided() -> None:
    with pytest.raises(Undecided, match=r"3 calls failed, the last one: broken_one raised OSError: gone"):
        run_virtual(essay(Breaking(OSError("gone")), retries=2))


async def test_a_reply_that_is_none_is_an_error_that_names_the_model() -> None:
    class Texts(Speaker):
        async def complete(self, request: Request) -> Any:
            return (await super().complete(request)).text

    with pytest.raises(ModelError, match="speaker returned str, not a Response") as raised:
        await essay(Texts())
    assert not raised.value.retryable


async def test_an_error_of_mdap_passes_as_it_is() -> None:
    given = ModelRejected("no credit", kind="payment")
    with pytest.raises(ModelRejected) as raised:
        await essay(Breaking(given))
    assert raised.value is given


async def test_a_cancellation_inside_of_a_model_is_no_failure_of_its_own() -> None:
    journal = open_journal(None)
    with pytest.raises(asyncio.CancelledError):
        await essay(Breaking(asyncio.CancelledError()), journal)
    (head,) = journal.heads()
    assert journal.history(head.id).book.status == "interrupted"


async def test_keys_are_cut_out_of_what_a_model_object_raises() -> None:
    keep_secret(["sk-very-secret-1234"])
    with pytest.raises(ModelError) as raised:
        await essay(Breaking(ValueError("refused sk-very-secret-1234")))
    assert "refused [key]" in str(raised.value)
    assert "sk-very" not in str(raised.value)


async def test_an_attempt_that_broke_is_listed_where_samples_are_recorded() -> None:
    journal = open_journal(None)
    with pytest.raises(ModelError) as raised:
        await essay(Breaking(TypeError("odd"), at=2), journal, record="samples")
    assert [attempt.failure for attempt in journal.attempts(raised.value.run)] == [
        "",
        "failed",
        "failed",
    ], "of two judges who were asked at once"


async def test_a_wrapped_call_is_reusable_and_gives_the_reply_itself() -> None:
    replies = [Response("a"), Response("b")]

    async def _complete(request: Request) -> Response:
        return replies.pop(0)

    call: Any = blamed("twice", _complete)
    first, second = replies
    assert await call(None) is first
    assert await call(None) is second
    with pytest.raises(ModelError, match="twice raised IndexError: pop from empty list"):
        await call(None)


def test_an_agent_says_which_model_broke_and_on_which_task() -> None:
    result = mdap.Agent(Breaking(ValueError("kaput")), k=1).run("Count the stars.")
    assert (result.status, result.ok) == ("error", False)
    assert result.error.startswith("the task 'Count the stars.': ")
    assert "broken_one raised ValueError: kaput" in result.error
    assert f"`mdap resume {result.run}`" in result.error


@pytest.mark.parametrize("role", ["decomposer", "solver"])
def test_an_agent_whose_role_has_a_broken_model_names_that_one(role: str) -> None:
    broken = Breaking(ZeroDivisionError("kaput"))
    result = mdap.Agent("simulated_solver", k=1, roles={role: broken}).run("Multiply 12 by 3.")
    assert result.status == "error"
    assert "broken_one raised ZeroDivisionError: kaput" in result.error


async def test_a_plan_whose_judges_break_ends_with_one_error_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    class Judges(Scripted):
        async def complete(self, request: Request) -> Response:
            await super().complete(request)
            raise AssertionError("not today")

    planner = Scripted([steps("a"), "End"])
    options: dict[str, Any] = {"planning_model": planner, "k": 1, "journal": path}
    with pytest.raises(ModelError, match="role raised AssertionError: not today") as raised:
        await mdap.aio.plan("tidy up", plan_voting_model=Judges([YES]), **options)
    done = await mdap.aio.plan("tidy up", plan_voting_model=Scripted([YES]), run=raised.value.run, **options)
    assert [step.task for step in done.steps] == ["a"]
    assert len(planner.requests) == 2, "the first proposal was kept"


# ---- prompts that grow ----


def growing(count: int) -> list[str]:
    """A planner that proposes one long step after the other."""
    return [*(steps(f"write chapter {n} of the book about " + "words " * 14) for n in range(count)), "End"]


async def planned(model_context: int | None, heard: list[Any]) -> mdap.Plan:
    planner = Scripted(growing(40))
    if model_context is not None:
        planner.context = model_context  # type: ignore[attr-defined]
    return await mdap.aio.plan(
        "write a book",
        planning_model=planner,
        plan_voting_model=Scripted([YES]),
        k=1,
        batch_size=1,
        max_steps=60,
        on_event=heard.append,
    )


def warned(heard: Sequence[Any]) -> list[str]:
    return [event.message for event in heard if isinstance(event, Warned)]


async def test_a_plan_that_grows_step_by_step_is_no_reason_for_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    with caplog.at_level(logging.WARNING, "mdap"):
        plan = await planned(None, heard)
    assert len(plan.steps) == 40
    assert warned(heard) == []
    assert [record for record in caplog.records if "grow" in record.getMessage()] == []


async def test_a_plan_that_fills_half_of_the_context_is_told_of_once() -> None:
    heard: list[Any] = []
    plan = await planned(3000, heard)
    assert plan.status == "done"
    (said,) = warned(heard)
    assert "of the model's context of 3,000" in said


async def test_a_plan_past_the_context_is_refused_before_it_is_asked_for() -> None:
    with pytest.raises(ModelRejected, match="more than the model's context of 1,500") as raised:
        await planned(1500, [])
    assert raised.value.kind == "context"
    assert f"mdap resume {raised.value.run}" in raised.value.remedy


# ---- tools that a resume needs again ----


def search_files(pattern: str) -> list[str]:
    """Find files by a pattern."""
    return [f"{pattern}.md"]


def read_file(path: str) -> str:
    """Read a file."""
    return path


AGAIN = "give it its tools again: tools=[search_files,read_file]"


async def stopped(tools: Any, **options: Any) -> str:
    done = await mdap.aio.plan(
        "tidy up", planning_model=Scripted([steps("a")]), plan_voting_model=Scripted([YES]), tools=tools, **options
    )
    assert done.status != "done"
    return done.reason


async def test_the_reason_of_a_run_with_tools_says_which_it_needs_again() -> None:
    both = [search_files, read_file]
    assert (await stopped(both, budget_calls=2)).endswith(AGAIN)
    assert (await stopped(both, max_samples=1, k=2)).endswith(AGAIN)
    assert "tools" not in await stopped((), budget_calls=2)


async def test_a_refusal_says_them_too_beside_the_cap_that_it_names() -> None:
    with pytest.raises(Rejected) as refused:
        await mdap.aio.plan(
            "x",
            planning_model=Scripted([steps("a")]),
            plan_voting_model=Scripted([NO]),
            tools=[search_files],
            k=1,
            restarts=0,
        )
    run = refused.value.run
    assert f"`mdap resume {run} --restarts 2`" in refused.value.remedy
    assert refused.value.remedy.endswith("give it its tools again: tools=[search_files]")


async def test_tools_that_a_command_line_named_are_said_in_its_words() -> None:
    box = Toolbox([search_files], typed=" --tool desk:search_files --allow search")
    reason = await stopped(box, budget_calls=2)
    assert reason.endswith("give it its tools again: --tool desk:search_files --allow search")


def test_an_agents_run_keeps_how_a_command_line_named_its_tools(tmp_path: Path) -> None:
    typed = " --tool desk:search_files"
    box = Toolbox([search_files], typed=typed)
    agent = mdap.Agent(
        "simulated_solver", k=1, tools=box, journal=tmp_path / "runs.db", budget_calls=2, decompose="none"
    )
    agent.options["budget_calls"] = 0
    result = agent.run("Multiply 12 by 3.")
    assert result.status == "budget"
    assert result.error.endswith("give it its tools again: --tool desk:search_files")
    journal = open_journal(tmp_path / "runs.db")
    assert journal.head(result.run).tools == typed
    journal.close()


def test_an_agent_without_tools_speaks_of_none() -> None:
    result = mdap.Agent("simulated_solver", k=1, budget_calls=0).run("Multiply 12 by 3.")
    assert result.status == "budget"
    assert "tools" not in result.error


# ---- resumes that cannot be ----


async def test_a_branch_that_begins_otherwise_is_not_told_to_be_gone_on_with() -> None:
    journal = open_journal(None)
    with pytest.raises(BudgetReached) as stopped_there:
        await essay(Speaker(), journal, budget_calls=4)
    run = stopped_there.value.run
    with pytest.raises(FingerprintChanged) as refused:
        async with conducting("essays", Speaker(), roles=ROLES, journal=journal, run=run, budget_calls=99) as conduct:
            await conduct.branch(0, Essay("something else"))
    assert refused.value.remedy == "begin a new run"
    assert refused.value.run == run
    # The refusal is no end of the run: it goes on as what it was.
    async with conducting("essays", Speaker(), roles=ROLES, journal=journal, run=run, budget_calls=99) as conduct:
        assert (await conduct.branch(0, Essay("a")))["text"] == ["a 0.3", "a 1.3"]


@pytest.mark.parametrize("item", [-1, -(2**40)])
async def test_a_branch_below_zero_is_refused(item: int) -> None:
    async with conducting("essays", Speaker(), roles=ROLES) as conduct:
        with pytest.raises(UsageError, match=f"branch {item} is not to be had"):
            await conduct.branch(item, Essay("a"))


async def test_a_run_without_any_branch_is_done_and_asks_nobody() -> None:
    journal, model = open_journal(None), Speaker()
    async with conducting("essays", model, roles=ROLES, journal=journal) as conduct:
        assert conduct.totals() == {}
        assert conduct.total().steps == 0
        assert conduct.seconds >= 0
    book = journal.history(conduct.run).book
    assert (book.status, book.steps, model.asked) == ("done", 0, [])


async def test_an_error_of_the_conducting_code_that_is_not_mdaps_passes_and_ends_the_run_as_an_error() -> None:
    journal = open_journal(None)
    with pytest.raises(LookupError, match="mine"):
        async with conducting("essays", Speaker(), roles=ROLES, journal=journal) as conduct:
            raise LookupError("mine")
    assert journal.history(conduct.run).book.status == "error"


async def test_of_several_errors_at_once_the_first_is_raised() -> None:
    journal = open_journal(None)

    async def _fail(error: Exception) -> None:
        raise error

    async def _both() -> None:
        conducted = conducting("essays", Speaker(), roles=ROLES, journal=journal)
        async with conducted, asyncio.TaskGroup() as group:
            group.create_task(_fail(Undecided("this one")))
            group.create_task(_fail(UsageError("that one")))

    with pytest.raises(Undecided, match="this one") as raised:
        await _both()
    assert journal.history(raised.value.run).book.status == "undecided"


# ---- roles ----


async def test_one_object_is_one_model_whoever_has_it_and_equal_objects_are_two() -> None:
    ensemble, first, second = Ensemble(), Speaker(), Speaker()
    assert ensemble.model(first) is ensemble.model(first)
    assert ensemble.model(first) is not ensemble.model(second)
    await ensemble.close()
    assert (first.closed, second.closed) == (0, 0)


async def test_a_function_handed_in_for_two_roles_becomes_one_model() -> None:
    ensemble = Ensemble()

    def _says(prompt: str) -> str:
        return "yes:"

    assert ensemble.model(_says) is ensemble.model(_says)


def test_a_role_says_only_what_it_changes_and_none_is_a_value_of_its_own() -> None:
    assert Role().overrides() == {}
    assert Role(temperature=None, flag_tokens=None).overrides() == {"temperature": None, "flag_tokens": None}
    assert Role(max_samples=3, redraws=0).overrides() == {"max_samples": 3, "redraws": 0}


@pytest.mark.parametrize("flags", ["strict", []])
async def test_the_flags_of_a_role_are_its_own(flags: RedFlags) -> None:
    roles = {**ROLES, "propose": Role(rule="collect:1", flags=flags)}
    model = Speaker(says={"propose": "Wait, maybe a line"})
    found: dict[str, int] = {}
    async with conducting("essays", model, roles=roles, redraws=1) as conduct:
        try:
            await conduct.branch(0, Essay("a", 1))
        except Undecided:
            found = conduct.totals()["propose"].flagged
    assert bool(found) == (flags == "strict")
