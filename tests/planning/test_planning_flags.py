"""Red flags of a preset in the roles of a plan: those who plan and those who vote have other lengths."""

from __future__ import annotations

from typing import Any

import mdap
from mdap.core.records import Request
from mdap.journal import open_journal
from tests.planning.support import YES, Role, steps


async def test_a_strict_planner_says_a_hundred_characters_or_end_and_a_strict_judge_two() -> None:
    def _plans(request: Request) -> str:
        if '0. {"task"' in request.messages[-1].content:
            return "End"
        return steps("wait", extraContext="x" * 100) if request.draw.redraw else steps("wait")

    def _judges(request: Request) -> str:
        return YES if request.draw.redraw or request.draw.slot else "?"

    asked: dict[str, Any] = {"planning_model": Role(_plans), "plan_voting_model": Role(_judges), "k": 2}
    journal = open_journal(None)
    strict = await mdap.aio.plan("tidy up", red_flags="strict", journal=journal, **asked)
    assert [step.task for step in strict.steps] == ["wait"]
    assert strict.totals["planning"].flagged == {"too_short": 1}
    assert strict.totals["plan_voting"].flagged == {"too_short": 2}
    again = await mdap.aio.plan("tidy up", journal=journal, run=strict.run, **asked)
    assert again.steps == strict.steps
    paper = await mdap.aio.plan("tidy up", **asked)
    assert "too_short" not in paper.totals["planning"].flagged
