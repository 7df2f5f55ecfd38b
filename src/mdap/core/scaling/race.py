"""Races that are not the paper's closed form: first_to_k, ballots still open after n votes, and several rivals.

`first_to_k` is another rule than ahead_by_k; no function here mixes the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mdap.core.errors import UsageError, VotingCannotHelp
from mdap.core.scaling.binomial import log_beta_tail
from mdap.core.scaling.checks import helpful, positive_share, probability, target, whole
from mdap.core.scaling.success import ROUNDING, log_odds_allowed

# Beyond it the tails lose digits to rounding, and nobody casts that many votes on one step.
MOST_VOTES = 10_000_000


def first_to_k_success(p: float, k: float) -> float:
    """Return the probability that the right answer has k votes before the one alternative has (exact)."""
    return -math.expm1(log_first_to_k_failure(p, k))


def first_to_k_failure(p: float, k: float) -> float:
    """Return the probability that the one alternative has k votes first, with full relative accuracy."""
    return math.exp(log_first_to_k_failure(p, k))


def log_first_to_k_failure(p: float, k: float) -> float:
    """Return ln of the probability that the one alternative has k votes first: ln I_(1-p)(k, k).

    More rivals that share the same wrong votes only help the right answer.
    """
    return log_beta_tail(1 - helpful(p), whole("k", k), k)


def first_to_k_votes(p: float, k: float) -> float:
    """Return the exact expected votes of one first_to_k ballot between two candidates, from k to 2k - 1.

    To end with k right votes after n, weighted by n, is k/p times to have k + 1 right ones before k wrong ones.
    """
    wins = -k * math.expm1(log_beta_tail(1 - helpful(p), whole("k", k), k + 1)) / p
    return wins + (k * math.exp(log_beta_tail(1 - p, k + 1, k)) / (1 - p) if p < 1 else 0.0)


def log_first_to_k_run_success(p: float, k: float, s: float) -> float:
    """Return ln of the probability that all `s` steps are right under first_to_k."""
    return whole("s", s) * math.log1p(-first_to_k_failure(p, k))


def first_to_k_run_success(p: float, k: float, s: float) -> float:
    """Return the probability that all `s` steps are right under first_to_k (two candidates, exact)."""
    return math.exp(log_first_to_k_run_success(p, k, s))


def first_to_k_min(p: float, s: float, t: float) -> int:
    """Return the least k of first_to_k with which all `s` steps are right with probability `t`.

    Raises UsageError where that is more than 10,000,000 votes, as happens very near p = 0.5.
    """
    # A logarithm below 0: this is a hair less, for targets that a k reaches exactly on paper.
    goal = math.log(target(t)) * (1 + ROUNDING)
    short, enough = 0, 1
    while log_first_to_k_run_success(p, enough, s) < goal:
        short, enough = enough, 2 * enough
        if enough > MOST_VOTES:
            raise UsageError(
                f"first_to_k needs more than {MOST_VOTES} votes a step at p={p!r}", remedy="use ahead_by_k, or raise p"
            )
    while enough - short > 1:
        middle = (short + enough) // 2
        if log_first_to_k_run_success(p, middle, s) < goal:
            short = middle
        else:
            enough = middle
    return enough


def undecided_shares(p: float, k: float) -> Iterator[float]:
    """Yield the share of ahead_by_k ballots still undecided after 1, 2, 3, ... votes, without end.

    Two candidates, exact; p may be any from 0 to 1. Work per vote is of the order of k.
    """
    # Leads from -(k-1) to k-1 are open: what leaves this width is decided.
    right, width = probability("p", p), 2 * whole("k", k) - 1
    leads = [0.0] * width
    leads[int(k) - 1] = 1.0
    while True:
        # Nothing comes back over either edge: what was there is decided.
        padded = [0.0, *leads, 0.0]
        leads = [padded[i] * right + padded[i + 2] * (1 - right) for i in range(width)]
        yield math.fsum(leads)


def step_failure_bound(p: float, q: float, k: float) -> float:
    """Return a bound on the probability that ahead_by_k decides wrongly, with any number of rivals; p may be below 0.5.

    `q` is the share of the commonest wrong answer. With several alternatives no closed form exists; for each rival
    of share q_j, wrong results are (q_j/p)^(lead) times as likely as right ones, hence odds of at most
    sum_j (q_j/p)^k <= ((1-p)/q) (q/p)^k. Equal to Eq. 9 where q = 1 - p. Raises VotingCannotHelp for q >= p.
    """
    # Without wrong votes there are no rivals, and ln((1-p)/q) does not exist.
    if p == 1:
        return 0.0
    # exp overflows above 709, where the bound is 1 to a float long since.
    odds = math.exp(min(700.0, _log_rivals(p, q) + whole("k", k) * (math.log(q) - math.log(p))))
    return odds / (1 + odds)


def k_min_rivals(p: float, q: float, s: float, t: float) -> int:
    """Return a k that reaches the target with any number of rivals, from the per-vote evidence ln(p/q).

    `q` is the share of the commonest wrong answer; the k is enough by `step_failure_bound`, not always least, and
    equals Eq. 14 where q = 1 - p. q differs between steps: one that was estimated on easy steps is unsafe for others.
    Raises VotingCannotHelp for q >= p.
    """
    allowed = log_odds_allowed(s, t)
    if p == 1:
        return 1
    log_rivals = _log_rivals(p, q)
    # Each vote of lead is worth ln(p/q), of which the rivals, if there are several, eat up ln((1-p)/q) once.
    return max(1, math.ceil((log_rivals - allowed) / (math.log(p) - math.log(q)) * (1 - ROUNDING)))


def _log_rivals(p: float, q: float) -> float:
    """Return ln((1-p)/q): how many rivals as strong as the commonest the wrong votes can make up."""
    # With one rival q is 1 - p, which as a float may come out a digit smaller.
    if positive_share("q", q) > (1 - positive_share("p", p)) * (1 + ROUNDING):
        raise UsageError(
            f"q={q!r} is more than 1 - p = {1 - p:g}", remedy="give q as a share of all votes, at most 1 - p"
        )
    if q >= p:
        raise VotingCannotHelp(
            f"q={q!r} is not below p={p!r}: a wrong answer is as common as the right one",
            remedy="change the prompt, the model or the step; a larger k settles on the wrong answer",
        )
    # Not the logarithm of the quotient, which may be beyond a float.
    return math.log(1 - p) - math.log(q)
