"""What a few hard steps among many easy ones do to ahead_by_k, and how little a calibration can rule them out.

The laws of success.py let every step have the same p; here a share of the steps has another, lower one.
"""

from __future__ import annotations

import math

from mdap.core.errors import UsageError
from mdap.core.scaling.binomial import upper_share
from mdap.core.scaling.checks import probability, whole
from mdap.core.scaling.cost import expected_votes
from mdap.core.scaling.success import log_odds_allowed, step_failure

# The p of a hard step that the product's examples and certificates reckon with: barely better than a coin.
HARD_P = 0.55


def mixed_step_failure(p: float, k: float, hard_share: float, hard_p: float = HARD_P) -> float:
    """Return the probability that a step drawn at random is wrong, where `hard_share` of the steps have `hard_p`."""
    share = probability("hard_share", hard_share)
    return share * step_failure(hard_p, k) + (1 - share) * step_failure(p, k)


def mixed_votes(p: float, k: float, hard_share: float, hard_p: float = HARD_P) -> float:
    """Return the exact expected votes of a step drawn at random, where `hard_share` of the steps have `hard_p`."""
    share = probability("hard_share", hard_share)
    return share * expected_votes(hard_p, k) + (1 - share) * expected_votes(p, k)


def mixed_run_success(p: float, k: float, s: float, hard_share: float, hard_p: float = HARD_P) -> float:
    """Return the probability that all `s` steps are right, each of them hard with probability `hard_share`."""
    return math.exp(whole("s", s) * math.log1p(-mixed_step_failure(p, k, hard_share, hard_p)))


def mixed_k_min(p: float, s: float, t: float, hard_share: float, hard_p: float = HARD_P) -> int:
    """Return the least k that reaches the target although `hard_share` of the steps, unmarked, have `hard_p`."""
    allowed = step_error_allowed(s, t)
    # It ends: `step_failure` takes no p of 0.5 or less, so that both parts fall as k grows.
    k = 1
    while mixed_step_failure(p, k, hard_share, hard_p) > allowed:
        k *= 2
    low = k // 2
    while k - low > 1:
        middle = (low + k) // 2
        low, k = (middle, k) if mixed_step_failure(p, middle, hard_share, hard_p) > allowed else (low, middle)
    return k


def step_error_allowed(s: float, t: float, m: float = 1) -> float:
    """Return 1 - t^(m/s), the error per decided subtask (m = 1: per step) that a target leaves."""
    # exp overflows above 709, where the share is 1 to a float long since.
    odds = math.exp(min(700.0, log_odds_allowed(s, t, m)))
    return odds / (1 + odds)


def hard_share_allowed(p: float, k: float, s: float, t: float, m: float = 1, hard_p: float = HARD_P) -> float:
    """Return the largest share of hard steps with which k still reaches the target; 0 where it misses it anyway.

    A prediction from p alone rests on the share being below this, which a calibration of n steps can support only
    down to about 3/n (`unseen_hard_share`).
    """
    easy, hard, allowed = step_failure(p, k), step_failure(hard_p, k), step_error_allowed(s, t, m)
    if easy > allowed:
        return 0.0
    return 1.0 if hard <= allowed else (allowed - easy) / (hard - easy)


def unseen_hard_share(n: float, confidence: float = 0.95) -> float:
    """Return the share of hard steps that `n` steps without a hard one cannot rule out: about 3/n at 95%."""
    return upper_share(0, whole("n", n), confidence)


def unanimous_votes_needed(n: float, s: float, t: float, hard_p: float = HARD_P) -> int:
    """Return how many equal votes must stand against no other, after `n` steps without a hard one, for the target.

    A hard step that was not noticed gives that many equal wrong votes with probability (1 - hard_p)^votes.
    """
    if not 0 < probability("hard_p", hard_p) < 1:
        raise UsageError(f"hard_p={hard_p!r} is not strictly between 0 and 1", remedy="give a share such as 0.55")
    excess = math.log(step_error_allowed(s, t)) - math.log(unseen_hard_share(n))
    return max(1, math.ceil(excess / math.log1p(-hard_p)))
