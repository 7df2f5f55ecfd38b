"""What a run would take and how likely it would be right, from p, v, s and t alone. No call is ever made here."""

from __future__ import annotations

import math

import msgspec

from mdap.core.scaling import (
    HARD_P,
    Unaffordable,
    expected_samples,
    expected_votes,
    hard_share_allowed,
    k_for_budget,
    k_min,
    log_single_call_success,
    run_failure,
    run_success,
    single_call_success,
)
from mdap.core.scaling.checks import not_negative, positive, positive_share, split, whole
from mdap.core.scaling.success import ROUNDING

# The table shows every k up to here; past it, about as many rows as fit on a screen.
ROWS = 12


class Row(msgspec.Struct, frozen=True):
    """A run at one k: `votes_per_step` is per ballot where a ballot decides m steps; calls and tokens are expected.

    `failure` is the probability of any wrong step, accurate where `success` reads 1. Retries are not in `calls`.
    """

    k: int
    success: float
    failure: float
    votes_per_step: float
    calls: float
    tokens_in: float
    tokens_out: float
    reaches_target: bool


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `estimate` finds; `msgspec.to_builtins` makes a dict of it.

    `k_min` is the least k that reaches the target; `chosen` the row of the k that was asked for, else of k_min.
    `table` begins with the single call, k = 1. `affordable`: the largest k within the budget, or that there is none;
    absent without a budget. `hard_share`: the largest share of steps with p = 0.55 with which `chosen` would still
    reach the target. `assumption`: the sentence to print beside the figures.
    """

    p: float
    v: float
    s: int
    t: float
    m: int
    k_min: int
    chosen: Row
    table: tuple[Row, ...]
    hard_share: float
    assumption: str
    budget_calls: float | None = None
    affordable: int | Unaffordable | None = None


def estimate(
    p: float,
    s: float,
    *,
    t: float = 0.95,
    v: float = 1.0,
    k: int | None = None,
    m: float = 1,
    n_in: float = 0,
    n_out: float = 0,
    budget_calls: float | None = None,
) -> Estimate:
    """Return k, success, votes, calls and tokens of a run of `s` steps under ahead_by_k, and a table over k.

    `n_in` and `n_out` are tokens per call; `m` steps are asked of each call. Equations 8, 13, 14 and 19 of
    arXiv:2511.09030, exact for independent votes against one alternative. Raises VotingCannotHelp for p of 0.5 or
    less, UsageError for other numbers out of range.
    """
    steps, size = split(s, m)
    least = k_min(p, steps, t, size)
    # Eq. 14 has only two candidates; with m > 1 a single call may be wrong in other ways as well (see `_row`).
    if least == 1 and not _row(p, 1, steps, size, v, t, 0, 0).reaches_target:
        least = 2
    picked = least if k is None else whole("k", k)
    shown = sorted({least, picked, *_shown(max(least, picked))})
    table = tuple(
        _row(p, i, steps, size, v, t, not_negative("n_in", n_in), not_negative("n_out", n_out)) for i in shown
    )
    chosen, hard_share = table[shown.index(picked)], hard_share_allowed(p, picked, steps, t, size)
    return Estimate(
        p=float(p),
        v=float(v),
        s=steps,
        t=float(t),
        m=size,
        k_min=least,
        chosen=chosen,
        table=table,
        hard_share=hard_share,
        assumption=_assumption(p, t, chosen, hard_share),
        budget_calls=budget_calls,
        affordable=None if budget_calls is None else _affordable(budget_calls, p, steps, size, v),
    )


def _shown(largest: int) -> list[int]:
    """Return the k of the table's rows: all up to one past `largest`, or so many of them, evenly spread."""
    apart = max(1, math.ceil(largest / ROWS))
    return [1, *range(apart, largest + apart + 1, apart)]


def _row(p: float, k: int, s: int, m: int, v: float, t: float, n_in: float, n_out: float) -> Row:
    if k == 1:
        # The first vote decides, wrong answers of every sort included: Eq. 8. Eq. 13 agrees with it only for m = 1.
        calls, votes = s / m / positive_share("v", v), 1.0
        success, failure = single_call_success(p, s), -math.expm1(log_single_call_success(p, s))
    else:
        calls, votes = expected_samples(p, k, s, v, m), expected_votes(p, k)
        success, failure = run_success(p, k, s, m), run_failure(p, k, s, m)
    return Row(k, success, failure, votes, calls, calls * n_in, calls * n_out, success >= t * (1 - ROUNDING))


def _affordable(budget: float, p: float, s: int, m: int, v: float) -> int | Unaffordable:
    # The law of Eq. 17 leaves out the wrong answers that a single call would take, so k = 1 is priced as in the table.
    found = k_for_budget(positive("budget_calls", budget), p, s, m, 1 / m, v)
    if isinstance(found, Unaffordable):
        return 1 if s / m / v <= budget else Unaffordable(budget, s / m / v)
    return found


def _assumption(p: float, t: float, chosen: Row, hard_share: float) -> str:
    """Say in one sentence what the figures rest on."""
    reach = f"k={chosen.k} {'reaches' if chosen.reaches_target else 'misses'} t={t:g}"
    if chosen.reaches_target and hard_share < 1:
        reach += f" only while less than about {hard_share:.2g} of the steps have p={HARD_P}"
    return (
        f"Taken: every step has p={p:g}, votes are independent, and all wrong votes name one answer (the worst case at "
        f"this p); {reach}."
    )
