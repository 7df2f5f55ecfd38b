"""Makes the events of planning out of what the engine tells of decided steps. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mdap.core.records import Decision
from mdap.planning.events import (
    ExecutionVoted,
    PlanningEvent,
    PlanRestarted,
    PlanVoted,
    StepsAdded,
    StepsProposed,
    StepsRejected,
    Votes,
)
from mdap.planning.execution_task import EXECUTION_VOTING
from mdap.planning.plan_task import PLAN_VOTING, PLANNING
from mdap.planning.steps import PlanStep, plan_error, read_step
from mdap.planning.tool_task import asks_for_tool
from mdap.planning.verdicts import CONTENTIOUS, END, NO, YES


def told(decision: Decision, k: int) -> Iterator[PlanningEvent]:
    """Yield what a decided step of a plan, or of its execution, means; nothing for what else was decided.

    `k` is the margin of the judges.
    """
    action, after = decision.move.action, decision.move.next_state
    # A call is no proposal and no verdict, whichever role asked for it.
    if asks_for_tool(action):
        return
    if decision.kind == PLANNING:
        yield from _proposed(action, after)
    elif decision.kind == PLAN_VOTING:
        yield from _judged(action, after, k)
    elif decision.kind == EXECUTION_VOTING:
        yield _voted(action, after, k)


def _proposed(action: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[PlanningEvent]:
    plan = _steps(after["steps"])
    # Told with the first proposal after it, for that is the decision by which it happened.
    if after["is_anew"]:
        yield PlanRestarted(after["restarts"], plan)
    yield StepsProposed(_steps(action["steps"]), action["ends"], plan)


def _judged(action: Mapping[str, Any], after: Mapping[str, Any], k: int) -> Iterator[PlanningEvent]:
    counts, verdict = action["votes"], action["verdict"]
    steps = _steps(after["judged"]["steps"])
    yield PlanVoted(Votes(k, counts[YES], counts[NO], counts[END]), verdict, steps)
    if verdict in (NO, CONTENTIOUS):
        yield StepsRejected(steps, tuple(action["reasons"]), verdict, after["rejections"])
    else:
        # Judges said that nothing was missing: what was proposed is not added.
        dropped = verdict == END and not after["judged"]["ends"]
        yield StepsAdded(() if dropped else steps, _steps(after["steps"]), after["is_complete"])


def _voted(action: Mapping[str, Any], after: Mapping[str, Any], k: int) -> PlanningEvent:
    counts, choice = action["votes"], action["choice"]
    accepted = choice not in (0, CONTENTIOUS)
    verdict = CONTENTIOUS if choice == CONTENTIOUS else YES if accepted else NO
    # Of several refused candidates the first stands for all.
    state = after["result"][0] if accepted else after["judged"][0]
    attempt = len(after["refused"]) + (1 if accepted else 0)
    return ExecutionVoted(
        Votes(k, sum(counts[1:]), counts[0], 0), tuple(counts), verdict, tuple(action["reasons"]), attempt, state
    )


def _steps(stored: Sequence[Mapping[str, Any]]) -> tuple[PlanStep, ...]:
    return tuple(read_step(step, place, plan_error) for place, step in enumerate(stored))
