"""Tools in runs of several roles: each role may call them, and a run goes on from what they said."""

from __future__ import annotations

from typing import Any

import pytest

import mdap
from mdap.core.errors import FingerprintChanged, Undecided
from mdap.core.history import Acted
from mdap.core.records import Request
from mdap.inbox import resolve, waiting
from mdap.journal import open_journal
from mdap.planned import Role as Part
from mdap.planned import conducting
from tests.engine.support import Watched
from tests.planned_support import ROLES, Essay
from tests.planning.support import YES, Role, steps
from tests.tool_support import call

PARTS: dict[str, Part] = {**ROLES, "judge": Part(rule="gate:1")}


def search_files(pattern: str) -> list[str]:
    """Find files by a pattern."""
    return [f"{pattern}.md"]


def author(request: Request) -> str:
    """Looks once before each line that it proposes, and judges Yes."""
    asked = request.messages[-1].content
    if asked.startswith("Is "):
        return "yes:"
    return "a line" if "came of it:" in asked else call("search_files", pattern="a")


async def essay(journal: Any, run: str | None = None, tools: Any = (search_files,)) -> tuple[str, Any]:
    async with conducting("essays", Role(author), roles=PARTS, journal=journal, run=run, tools=tools) as conduct:
        return conduct.run, await conduct.branch(3, Essay("a", 2))


async def test_a_role_calls_a_tool_and_goes_on_from_what_it_said() -> None:
    journal = open_journal(None)
    run, state = await essay(journal)
    assert state == {"topic": "a", "text": ["a line", "a line"], "proposed": None, "reasons": []}
    kinds = [row.decided.kind for row in journal.row_decisions(run)]
    assert kinds == ["propose", "tool", "propose", "judge"] * 2
    assert [act.reason for act in journal.acts(run)] == ['search_files {"pattern":"a"}'] * 2


async def test_a_resume_without_the_tools_is_refused_and_one_with_them_calls_nothing_again() -> None:
    journal = open_journal(None)
    run, state = await essay(journal)
    with pytest.raises(FingerprintChanged, match="tools: search_files"):
        await essay(journal, run, tools=())
    assert (await essay(journal, run))[1] == state
    assert len(journal.acts(run)) == 2


async def test_an_unknown_outcome_of_a_branch_is_asked_about() -> None:
    watched = Watched()
    run, state = await essay(watched)
    begun = next(n for n, entry in enumerate(watched.entries, 1) if isinstance(entry, Acted))
    left = watched.killed_after(begun)
    for _ in range(2):
        with pytest.raises(Undecided, match="nobody knows what came of it") as unknown:
            await essay(left, run)
        assert f"mdap resolve {run} 1 --row 3 --retry" in unknown.value.remedy
    (found,) = waiting(left)
    assert (found.row, found.step, found.call) == (3, 1, 'search_files {"pattern":"a"}')
    resolve(left, run, 1, by="Ann", row=3, retry=True)
    assert (await essay(left, run))[1] == state


async def test_a_planner_may_look_before_it_proposes_and_no_event_is_made_of_it() -> None:
    def _plans(request: Request) -> str:
        asked = request.messages[-1].content
        if "came of it:" not in asked:
            return call("search_files", pattern="notes")
        return "End" if '0. {"task"' in asked else steps("read notes.md")

    events: list[Any] = []
    planner, judge = Role(_plans), Role([YES])
    plan = await mdap.aio.plan(
        "tidy up", planning_model=planner, plan_voting_model=judge, k=2, tools=[search_files], on_event=events.append
    )
    assert [step.task for step in plan.steps] == ["read notes.md"]
    assert '"value": ["notes.md"]' in planner.prompts[1]
    assert sum(type(event).__name__ == "StepsProposed" for event in events) == 2
