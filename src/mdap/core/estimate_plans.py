"""What a plan, or solving by an agent, may take: from counts and caps alone, before any call is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from mdap.core.agent_calls import DEFAULT_DEPTH, Calls, Questions, agent_calls, total_calls
from mdap.core.errors import UsageError
from mdap.core.estimate import Rates, checked_rates
from mdap.core.scaling import Unaffordable, expected_votes
from mdap.core.scaling.checks import helpful, not_negative, positive, positive_share, whole
from mdap.core.scaling.gated import CONTENTIOUS

# The search for a k has to end even where money is no object.
MOST_K = 1_000_000
# More than can ever be asked: past it the figures would say nothing but that.
MOST_LEAVES = 10**12


class Money(msgspec.Struct, frozen=True):
    """What the calls of a range cost, in the unit of the prices."""

    least: float
    most: float
    cap: float


class PlannedEstimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a plan or an agent takes; `msgspec.to_builtins` makes a dict of it.

    `calls` is the sum of `by_role`. `expected`: where a probability p was given, the calls of a run in which every
    proposal is good and votes are right with p. `affordable`: the largest k whose least calls are within the budget,
    or that there is none; `safe`: the largest whose most are, absent where there is none. `assumption`: the sentence to
    print beside the figures.
    """

    what: Literal["plan", "agent"]
    k: int
    counts: dict[str, int]
    calls: Calls
    by_role: dict[str, Calls]
    assumption: str
    expected: float | None = None
    money: Money | None = None
    budget_calls: float | None = None
    affordable: int | Unaffordable | None = None
    safe: int | None = None


class Caps(msgspec.Struct, frozen=True):
    """The caps that bound the worst case, with the defaults of a run.

    `rejections` in a row begin a plan anew, `restarts` times; a batch has `attempts`; a vote is redrawn `redraws`
    times. An agent asks for fresh candidates `rounds` times in all where a ballot has no majority.
    """

    rejections: int = 5
    restarts: int = 2
    attempts: int = 5
    redraws: int = 10
    rounds: int = 3


def estimate_plan(
    steps: float,
    *,
    k: int = 10,
    batch_size: int = 2,
    p: float | None = None,
    v: float = 1.0,
    caps: Caps | None = None,
    rates: Rates | None = None,
    budget_calls: float | None = None,
) -> PlannedEstimate:
    """Return what planning and carrying out `steps` steps takes, `batch_size` at a time, each gate at lead k.

    The least: each batch and the end of the plan are proposed once and judged by k equal verdicts, then each batch is
    carried out once and judged so: 2 ceil(N/b) (1+k) + (1+k) calls. The most: all caps are used up, each gate at 4k
    votes. Raises UsageError for numbers out of range, VotingCannotHelp for p of 0.5 or less.
    """
    size, batch, bounds = whole("steps", steps), whole("batch_size", batch_size), _checked(caps)
    batches = math.ceil(size / batch)

    def _roles(margin: int) -> dict[str, Calls]:
        # A plan that is begun anew has used up its rejections; each of its batches may have come close.
        proposals = (batches + 1) * bounds.rejections * (bounds.restarts + 1)
        attempts = batches * bounds.attempts
        return {
            "planning": _times(batches + 1, 1, proposals, 1, bounds),
            "plan_voting": _times(batches + 1, margin, proposals, CONTENTIOUS * margin, bounds),
            "execution": _times(batches, 1, attempts, 1, bounds),
            "execution_voting": _times(batches, margin, attempts, CONTENTIOUS * margin, bounds),
        }

    def _expected(margin: int, right: float) -> float:
        # A gate closes there, however long the race would still go on.
        votes = min(expected_votes(right, margin), CONTENTIOUS * margin)
        # Each batch is planned and carried out, and the end of the plan is proposed as well.
        return (2 * batches + 1) * (1 + votes)

    assumption = (
        "Least: every proposal is accepted by verdicts that all agree. Most: every cap is used up, with no reply "
        f"flagged; cap: each vote redrawn {bounds.redraws} times as well. Which of them a model comes near to is not "
        "known before it was asked."
    )
    counts = {"steps": size, "batch_size": batch, "batches": batches}
    return _estimated("plan", k, counts, _roles, _expected, p, v, rates, budget_calls, assumption)


def estimate_agent(
    *,
    k: int = 3,
    depth: int = DEFAULT_DEPTH,
    fan_out: int = 2,
    p: float | None = None,
    v: float = 1.0,
    caps: Caps | None = None,
    rates: Rates | None = None,
    budget_calls: float | None = None,
) -> PlannedEstimate:
    """Return what an agent takes that splits a task into `fan_out` subtasks at most, `depth` times over.

    Every question has 2k-1 candidates; where they differ, the first to k of as many votes wins (arXiv:2511.09030,
    Algorithm 4). The least: the task is not split, and all candidates agree. The most: a full tree of this depth, each
    ballot with all its votes, and fresh candidates as often as the cap allows. Raises UsageError for numbers out of
    range.
    """
    levels, width, bounds = whole("depth", depth), whole("fan_out", fan_out), _checked(caps)
    # By logarithms: the power itself could have millions of digits.
    if levels * math.log(width) > math.log(MOST_LEAVES):
        raise UsageError(
            f"depth={levels} with fan_out={width} is more than {MOST_LEAVES:,} subtasks", remedy="give smaller ones"
        )
    leaves = width**levels
    # The sum of a geometric series, which for a width of 1 would divide by 0.
    nodes = levels if width == 1 else (leaves - 1) // (width - 1)

    def _roles(margin: int) -> dict[str, Calls]:
        # Whether a task is to be divided is asked of one that stays whole, too.
        least, most = Questions(divisions=1), Questions(divisions=nodes, leaves=leaves, composed=nodes)
        calls = agent_calls(least, most, margin, rounds=bounds.rounds, redraws=bounds.redraws)
        return {role: of for role, of in calls.items() if of.cap}

    def _expected(margin: int, right: float) -> float:
        # A split asks how to divide and how to compose, a leaf for its solution.
        ballots: int = 2 * nodes + leaves
        # One candidate alone is judged by nobody.
        votes = _first_to(margin, helpful(right)) if margin > 1 else 0
        return ballots * (2 * margin - 1 + votes)

    assumption = (
        "Least: the task is not split at all, and candidates agree, so that nobody judges them. Most: it is split "
        f"{levels} times over into {width} each, with no reply flagged, and every ballot asks for candidates "
        f"{bounds.rounds} times; cap: each vote redrawn {bounds.redraws} times as well."
    )
    counts = {"depth": levels, "fan_out": width, "splits": nodes, "leaves": leaves}
    return _estimated("agent", k, counts, _roles, _expected, p, v, rates, budget_calls, assumption)


def _estimated(
    what: Literal["plan", "agent"],
    k: int,
    counts: dict[str, int],
    roles: Callable[[int], dict[str, Calls]],
    expected: Callable[[int, float], float],
    p: float | None,
    v: float,
    rates: Rates | None,
    budget: float | None,
    assumption: str,
) -> PlannedEstimate:
    by_role = roles(whole("k", k))
    calls = total_calls(by_role)
    price = None if rates is None else checked_rates(rates).price
    named: dict[str, Any] = {}
    if budget is not None:
        limit = positive("budget_calls", budget)
        # The answer that nothing is affordable names the price of the cheapest: that of k = 1.
        least = total_calls(roles(1)).least
        best = _largest(lambda margin: total_calls(roles(margin)).least <= limit)
        named = {
            "budget_calls": limit,
            "affordable": Unaffordable(limit, least) if best is None else best,
            "safe": _largest(lambda margin: total_calls(roles(margin)).most <= limit),
        }
    return PlannedEstimate(
        what,
        k,
        counts,
        calls,
        by_role,
        assumption,
        expected=None if p is None else expected(k, p) / positive_share("v", v),
        money=None if price is None else Money(*(count * price for count in msgspec.structs.astuple(calls))),
        **named,
    )


def _checked(caps: Caps | None) -> Caps:
    bounds = caps or Caps()
    for name in bounds.__struct_fields__:
        not_negative(name, getattr(bounds, name))
    whole("attempts", bounds.attempts)
    whole("rounds", bounds.rounds)
    return bounds


def _times(ballots: int, votes: int, most_ballots: int, most_votes: int, caps: Caps) -> Calls:
    most = most_ballots * most_votes
    return Calls(ballots * votes, most, most * (1 + caps.redraws))


def _largest(fits: Callable[[int], bool]) -> int | None:
    """Return the largest k that fits, None where not even 1 does; what fits one fits every smaller one."""
    if not fits(1):
        return None
    within, beyond = 1, 2
    while beyond < MOST_K and fits(beyond):
        within, beyond = beyond, 2 * beyond
    while beyond - within > 1:
        middle = (within + beyond) // 2
        within, beyond = (middle, beyond) if fits(middle) else (within, middle)
    return within


def _first_to(k: int, p: float) -> float:
    """Return the expected votes until one of two candidates has k, exact: the sum over t of P(none has k after t)."""
    if p == 1:
        return float(k)
    total = 0.0
    for votes in range(2 * k - 1):
        for right in range(max(0, votes - k + 1), min(k - 1, votes) + 1):
            # By lgamma: the binomials of large k are beyond a float.
            ways = math.lgamma(votes + 1) - math.lgamma(right + 1) - math.lgamma(votes - right + 1)
            total += math.exp(ways + right * math.log(p) + (votes - right) * math.log1p(-p))
    return total
