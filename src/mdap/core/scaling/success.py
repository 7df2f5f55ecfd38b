"""How likely a step and a run are right under ahead_by_k, and what k, p or length a target asks for. No costs here.

Equations are those of arXiv:2511.09030. All hold for independent votes with the same p at every step, and against
ONE alternative that takes every wrong vote. Several alternatives have no closed form; they are easier for a given p,
since wrong votes that disagree help no rival (see `race.step_failure_bound`). Everything is worked out as logarithms:
a rate of 1e-300 is as exact as one of 0.1.
"""

from __future__ import annotations

import math

from mdap.core.scaling.checks import helpful, probability, split, target, whole

# Below exp(-37) a sum 1 + x is 1 in double precision, and log1p(x), 1 - exp(-x) are x.
NEGLIGIBLE = -37.0
# Values that are whole on paper (p = t = 0.9, s = 1 asks for k = 1) must not move by one through rounding.
ROUNDING = 1e-12


def log_against(p: float) -> float:
    """Return ln((1-p)/p), which is negative; -inf at p = 1. Raises VotingCannotHelp for p of 0.5 or less."""
    # 2p - 1 is exact in floating point here, and atanh keeps its relative accuracy near 0.5 as well as near 1.
    lead = 2 * helpful(p) - 1
    return -2 * math.atanh(lead) if lead < 1 else -math.inf


def single_call_success(p: float, s: float) -> float:
    """Return the probability that `s` single calls are all right, p^s (Eq. 8). p may be any from 0 to 1."""
    return math.exp(log_single_call_success(p, s))


def log_single_call_success(p: float, s: float) -> float:
    """Return ln(p^s), the logarithm of Eq. 8; -inf at p = 0."""
    steps = whole("s", s)
    return steps * math.log(p) if probability("p", p) > 0 else -math.inf


def p_vote(p: float, m: float = 1) -> float:
    """Return the probability p^m that a sample has all m steps of a subtask right (Eq. 10)."""
    return probability("p", p) ** whole("m", m)


def p_alt(p: float, m: float = 1) -> float:
    """Return (1-p) p^(m-1), the probability of the one alternative: m - 1 steps right, the same step wrong (Eq. 11)."""
    return (1 - probability("p", p)) * float(p) ** (whole("m", m) - 1)


def step_success(p: float, k: float) -> float:
    """Return the probability that ahead_by_k decides for the right answer, 1/(1 + ((1-p)/p)^k) (Eq. 9).

    The same holds for a subtask of m steps, since m cancels (Eq. 12, p_sub). At k = 1 it is p.
    """
    # By the odds: of a large k the powers p^k and (1-p)^k are both 0 to a float.
    return math.exp(-math.log1p(math.exp(whole("k", k) * log_against(p))))


def step_failure(p: float, k: float) -> float:
    """Return 1 - p_sub with full relative accuracy, however small (Eq. 9, 12)."""
    return math.exp(log_step_failure(p, k))


def log_step_failure(p: float, k: float) -> float:
    """Return ln(1 - p_sub), right where 1 - p_sub itself would be 0 (Eq. 9, 12)."""
    odds = whole("k", k) * log_against(p)
    return odds - math.log1p(math.exp(odds))


def run_success(p: float, k: float, s: float, m: float = 1) -> float:
    """Return the probability that all `s` steps are right, (1 + ((1-p)/p)^k)^(-s/m) (Eq. 13, p_full).

    `m` steps are asked of each sample; s/m is taken as it is, also where it is no whole number.
    """
    return math.exp(log_run_success(p, k, s, m))


def log_run_success(p: float, k: float, s: float, m: float = 1) -> float:
    """Return ln(p_full), right where p_full itself would be 0 or 1 (Eq. 13)."""
    return -math.exp(_log_hazard(p, k, s, m))


def run_failure(p: float, k: float, s: float, m: float = 1) -> float:
    """Return the probability that any step is wrong, 1 - p_full, with full relative accuracy (Eq. 13)."""
    return math.exp(log_run_failure(p, k, s, m))


def log_run_failure(p: float, k: float, s: float, m: float = 1) -> float:
    """Return ln(1 - p_full), right where 1 - p_full itself would be 0 (Eq. 13)."""
    hazard = _log_hazard(p, k, s, m)
    return hazard if hazard < NEGLIGIBLE else math.log(-math.expm1(-math.exp(hazard)))


def k_min(p: float, s: float, t: float, m: float = 1) -> int:
    """Return the least k with which a run of `s` steps is all right with probability `t` (Eq. 14, 23).

    ceil(ln(t^(-m/s) - 1) / ln((1-p)/p)), and at least 1, which the formula alone does not give (t = 0.5, s = 1).
    It assumes that EVERY step has this p: a few harder steps ask for a far larger k (`hard.mixed_k_min`).
    """
    against, allowed = log_against(p), log_odds_allowed(s, t, m)
    # Both logarithms are below 0 for any target worth the name; where t^(-m/s) - 1 is above 1, one vote is enough.
    return max(1, math.ceil(allowed / against * (1 - ROUNDING)))


def log_odds_allowed(s: float, t: float, m: float = 1) -> float:
    """Return ln(t^(-m/s) - 1): the odds against a step's result that a target leaves (Eq. 21-23)."""
    steps, size = split(s, m)
    hazard = -math.log(target(t)) * (size / steps)
    # Above 700 expm1 would overflow, and the 1 that is subtracted no longer counts.
    return math.log(math.expm1(hazard)) if hazard < 700 else hazard


def wrong_votes_allowed(k: float, s: float, t: float, m: float = 1) -> float:
    """Return the largest 1 - p with which k reaches the target (Eq. 14 solved for p), at most 0.5.

    0.5 means that any p above 0.5 is enough.
    """
    # Odds above 1 would allow for a p below 0.5, where votes decide for the wrong answer.
    odds = min(0.0, log_odds_allowed(s, t, m) / whole("k", k))
    return math.exp(odds) / (1 + math.exp(odds))


def p_needed(k: float, s: float, t: float, m: float = 1) -> float:
    """Return the least p with which k reaches the target (Eq. 14 solved for p); 0.5: any p above 0.5 is enough.

    Rounds to 1.0 where less than 1e-16 may be wrong; `wrong_votes_allowed` is exact there.
    """
    return 1 - wrong_votes_allowed(k, s, t, m)


def longest_run(p: float, k: float, t: float, m: float = 1) -> float:
    """Return the largest number of steps that are all right with probability `t` (Eq. 13 solved for s).

    A whole number, a multiple of `m`, as a float: it may exceed any count; inf at p = 1; 0 where not even one
    subtask reaches the target.
    """
    size = whole("m", m)
    log_ratio = math.log(-math.log(target(t))) - _log_hazard(p, k, 1, 1)
    # exp overflows above 709.
    if log_ratio > 700:
        return math.inf
    return float(size * math.floor(math.exp(log_ratio) * (1 + ROUNDING)))


def _log_hazard(p: float, k: float, s: float, m: float) -> float:
    """Return ln(-ln p_full), from which success and failure follow without loss."""
    steps, size = split(s, m)
    odds = whole("k", k) * log_against(p)
    return math.log(steps / size) + (odds if odds < NEGLIGIBLE else math.log(math.log1p(math.exp(odds))))
