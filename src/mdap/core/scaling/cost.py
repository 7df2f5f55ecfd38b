"""What a run under ahead_by_k takes: votes, samples, and cost in the caller's unit. Success rates live in success.py.

Equations are those of arXiv:2511.09030. What the paper gives up to a constant (Theta) or for large k (~) is called
an asymptote here; the other functions are exact for independent votes against one alternative.
"""

from __future__ import annotations

import math

import msgspec

from mdap.core.scaling.checks import MOST, helpful, positive, positive_share, split, whole
from mdap.core.scaling.success import log_against


class Unaffordable(msgspec.Struct, frozen=True):
    """The answer that a budget is too small for any k: `least` is the expected cost at k = 1."""

    budget: float
    least: float


def expected_votes(p: float, k: float) -> float:
    """Return the exact expected votes of one ballot, k (2 p_sub - 1)/(2p - 1), from k to k^2.

    The expected duration of the gambler's ruin between -k and k; it stands inside Eq. 16. Two candidates.
    """
    # 2 p_sub - 1 is tanh of half the log odds, which keeps its accuracy where p_sub is near 0.5.
    return whole("k", k) * math.tanh(-k * log_against(p) / 2) / (2 * p - 1)


def expected_votes_asymptote(p: float, k: float) -> float:
    """Return the asymptote k/(2p - 1) of the expected votes: what they come to once p_sub is near 1 (Eq. 16)."""
    return whole("k", k) / (2 * helpful(p) - 1)


def sample_cost(c: float, m: float = 1) -> float:
    """Return c_sample = c m, what one sample of m steps costs at c a step (Eq. 15)."""
    return positive("c", c) * whole("m", m)


def sample_price(c_in: float, n_in: float, c_out: float, n_out: float) -> float:
    """Return c_sample = c_in n_in + c_out n_out, prices per token times tokens of one sample (Eq. 20).

    The result is in the unit of the prices; where they are per million tokens, divide by 1e6.
    """
    return c_in * n_in + c_out * n_out


def vote_cost(p: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> float:
    """Return c_vote = c m / (v p^(m-1)), the cost of one vote that counts in the race (Eq. 15, with v of Eq. 19).

    Samples that name neither candidate of the race are wasted, and so are flagged ones. inf beyond 1.8e308.
    """
    try:
        # As the reciprocal's logarithm: p^(m-1) may be 0 to a float, and nothing divides by that.
        wasted = math.exp(-(whole("m", m) - 1) * math.log(helpful(p)))
    except OverflowError:
        return math.inf
    return sample_cost(c, m) * wasted / positive_share("v", v)


def subtask_cost(p: float, k: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> float:
    """Return the exact expected cost c_sub of one decided subtask of m steps (Eq. 16, with v of Eq. 19)."""
    return vote_cost(p, m, c, v) * expected_votes(p, k)


def subtask_cost_asymptote(p: float, k: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> float:
    """Return the asymptote c m k / (p^(m-1) (2p - 1)) of the cost of one subtask (right side of Eq. 16)."""
    return vote_cost(p, m, c, v) * expected_votes_asymptote(p, k)


def run_cost(p: float, k: float, s: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> float:
    """Return the exact expected cost c_full = (s/m) c_sub of a run (Eq. 17); inf beyond 1.8e308.

    With m = 1 it is what Eq. 18 describes the growth of, and with v < 1, the share of samples that are votes, Eq. 19
    before its approximation. k is an integer, so the least k that a target needs (`k_min`) can make a larger m
    cheaper: the cost at that k is not monotone in m.
    """
    steps, size = split(s, m)
    return steps / size * subtask_cost(p, k, m, c, v)


def run_cost_asymptote(p: float, k: float, s: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> float:
    """Return the asymptote c s k / (v p^(m-1) (2p - 1)) of a run's cost (right sides of Eq. 17 to 19)."""
    steps, size = split(s, m)
    return steps / size * subtask_cost_asymptote(p, k, m, c, v)


def log_run_cost(p: float, k: float, s: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> float:
    """Return the natural logarithm of `run_cost`, right where the cost itself would be inf (Eq. 17)."""
    steps, size = split(s, m)
    # The one factor that a float can lose, p^(m-1), never leaves its logarithm.
    wasted = -(size - 1) * math.log(helpful(p))
    return wasted + math.log(steps * positive("c", c) / positive_share("v", v)) + math.log(expected_votes(p, k))


def expected_samples(p: float, k: float, s: float, v: float = 1.0, m: float = 1) -> float:
    """Return the expected model calls of a run, flagged and wasted ones included (Eq. 19, exact, counted in samples).

    Retries after a provider's error come on top.
    """
    # At c = 1 one sample of m steps costs m, so that the quotient counts samples.
    return run_cost(p, k, s, m, 1.0, v) / whole("m", m)


def k_for_budget(budget: float, p: float, s: float, m: float = 1, c: float = 1.0, v: float = 1.0) -> int | Unaffordable:
    """Return the largest k whose expected cost is within `budget` (Eq. 17 solved for k), or that there is none."""
    limit = positive("budget", budget)
    if run_cost(p, 1, s, m, c, v) > limit:
        return Unaffordable(limit, run_cost(p, 1, s, m, c, v))
    # Cost rises with k, so the search may double and then halve; where it is infinite it is above every budget.
    within, beyond = 1, 2
    while beyond < MOST and run_cost(p, beyond, s, m, c, v) <= limit:
        within, beyond = beyond, min(MOST, 2 * beyond)
    while beyond - within > 1:
        middle = (within + beyond) // 2
        if run_cost(p, middle, s, m, c, v) <= limit:
            within = middle
        else:
            beyond = middle
    return within
