"""What a run would take and how likely it would be right, from p, v, s and t alone. No call is ever made here."""

from __future__ import annotations

import math

import msgspec

from mdap.core.evidence import Latency
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
    sample_price,
    single_call_success,
)
from mdap.core.scaling.checks import not_negative, positive, positive_share, split, whole
from mdap.core.scaling.success import ROUNDING

# The table shows every k up to here; past it, about as many rows as fit on a screen.
ROWS = 12


class Row(msgspec.Struct, frozen=True):
    """A run at one k: `votes_per_step` is per ballot where a ballot decides m steps; calls and tokens are expected.

    `failure` is the probability of any wrong step, accurate where `success` reads 1. Retries are not in `calls`.
    `money` is in the unit of the prices, `seconds` those of the calls, one step after another; None where no price, or
    no latency, was given.
    """

    k: int
    success: float
    failure: float
    votes_per_step: float
    calls: float
    tokens_in: float
    tokens_out: float
    reaches_target: bool
    money: float | None = None
    seconds: float | None = None


class Rates(msgspec.Struct, frozen=True):
    """What one call takes: tokens in and out, prices per million tokens, and latency in seconds.

    `sigma` is that of the lognormal law of the latencies, `latency` its median.
    """

    n_in: float = 0
    n_out: float = 0
    price_in: float | None = None
    price_out: float | None = None
    latency: float | None = None
    sigma: float = 0.0

    @property
    def price(self) -> float | None:
        """The price of one call (Eq. 20); None without prices."""
        if self.price_in is None and self.price_out is None:
            return None
        # With one price given the other is taken for nothing; without any the cost is unknown, and not 0.
        return sample_price(self.price_in or 0.0, self.n_in, self.price_out or 0.0, self.n_out) / 1e6


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `estimate` finds; `msgspec.to_builtins` makes a dict of it.

    `k_min` is the least k that reaches the target; `chosen` the row of the k that was asked for, else of k_min.
    `table` begins with the single call, k = 1. `affordable`: the largest k within the budget, or that there is none;
    absent without a budget. `cost_per_success`: what a right vote costs, by which the paper chooses among models;
    absent without prices. `hard_share`: the largest share of steps with p = 0.55 with which `chosen` would still reach
    the target. `assumption`: the sentence to print beside the figures.
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
    cost_per_success: float | None = None


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
    price_in: float | None = None,
    price_out: float | None = None,
    latency: float | None = None,
    sigma: float = 0.0,
) -> Estimate:
    """Return k, success, votes, calls, tokens, money and time of a run of `s` steps under ahead_by_k, and a table.

    `n_in` and `n_out` are tokens per call; `m` steps are asked of each call; prices are per million tokens, `latency`
    is the median of a call in seconds, and `sigma` that of its lognormal law. Equations 8, 13, 14 and 19 of
    arXiv:2511.09030, exact for independent votes against one alternative. Raises VotingCannotHelp for p of 0.5 or
    less, UsageError for other numbers out of range.
    """
    steps, size = split(s, m)
    least = k_min(p, steps, t, size)
    # Eq. 14 has only two candidates; with m > 1 a single call may be wrong in other ways as well (see `_row`).
    rates = checked_rates(Rates(n_in, n_out, price_in, price_out, latency, sigma))
    if least == 1 and not _row(p, 1, steps, size, v, t, rates).reaches_target:
        least = 2
    picked = least if k is None else whole("k", k)
    shown = sorted({least, picked, *_shown(max(least, picked))})
    table = tuple(_row(p, i, steps, size, v, t, rates) for i in shown)
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
        cost_per_success=None if rates.price is None else cost_per_success(p, rates.price),
    )


def cost_per_success(p: float, price: float) -> float:
    """Return c/p, what one right vote costs where a call costs `price`: of two models the lower one is to be preferred.

    The rule of arXiv:2511.09030, section 3.2. It leaves out k, which falls as p rises: `estimate` has both.
    """
    return not_negative("price", price) / positive_share("p", p)


def checked_rates(rates: Rates) -> Rates:
    """Return the same rates; raises UsageError for one that is negative or not finite."""
    for name in rates.__struct_fields__:
        if getattr(rates, name) is not None:
            not_negative(name, getattr(rates, name))
    return rates


def _shown(largest: int) -> list[int]:
    """Return the k of the table's rows: all up to one past `largest`, or so many of them, evenly spread."""
    # Spread evenly and not as powers: what one looks for in the table is where it begins to be enough.
    apart = max(1, math.ceil(largest / ROWS))
    return [1, *range(apart, largest + apart + 1, apart)]


def _row(p: float, k: int, s: int, m: int, v: float, t: float, rates: Rates) -> Row:
    if k == 1:
        # The first vote decides, wrong answers of every sort included: Eq. 8. Eq. 13 agrees with it only for m = 1.
        calls, votes = s / m / positive_share("v", v), 1.0
        # expm1 keeps the digits of a failure that 1 - success would round to 0.
        success, failure = single_call_success(p, s), -math.expm1(log_single_call_success(p, s))
    else:
        calls, votes = expected_samples(p, k, s, v, m), expected_votes(p, k)
        success, failure = run_success(p, k, s, m), run_failure(p, k, s, m)
    # With the grace that `k_min` rounds by: else the k that it gives could miss its own target by the last digit.
    reaches = success >= t * (1 - ROUNDING)
    money = None if rates.price is None else calls * rates.price
    seconds = None
    if rates.latency is not None:
        # Only the law is asked for, which is `sigma` and `scale`: nothing was measured that the other fields could
        # hold.
        law = Latency(0, rates.latency, rates.latency, rates.sigma, rates.latency)
        seconds = s / m * law.of_step(k, votes, v)
    return Row(k, success, failure, votes, calls, calls * rates.n_in, calls * rates.n_out, reaches, money, seconds)


def _affordable(budget: float, p: float, s: int, m: int, v: float) -> int | Unaffordable:
    # The law of Eq. 17 leaves out the wrong answers that a single call would take, so k = 1 is priced as in the table.
    # At 1/m a step a sample costs 1, so that the budget counts calls.
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
