"""How often a question is answered right by candidates and judges (Algorithm 4), exactly, under stated assumptions."""

from __future__ import annotations

import math

from mdap.core.errors import UsageError


def judged_success(p: float, q: float, k: int) -> float:
    """Return the probability that 2k - 1 candidates and judges, first to k of 2k - 1 votes, come to the right answer.

    A candidate is right with probability `p`, else it is the one wrong answer that there is; a judge names the right
    one of two with probability `q`; all are independent. Equal candidates are one before they are judged, so that all
    right is right and all wrong is wrong without a judge (arXiv:2511.09030, Appendix F, with candidates made distinct):

        p^n + (1 - p^n - (1-p)^n) * P(Binomial(n, q) >= k), n = 2k - 1

    Raises UsageError for probabilities outside of 0 to 1, and for k below 1.
    """
    # Any probabilities: judges who are mostly wrong are just what one may want to see the effect of.
    if not (0 <= p <= 1 and 0 <= q <= 1):
        raise UsageError(f"p={p!r} and q={q!r} have to be probabilities", remedy="give both from 0 to 1")
    if k < 1:
        raise UsageError(f"k={k} is not a number of votes", remedy="give k of 1 or more")
    # As many candidates as votes: 2k - 1 is where of two answers one must have k (Algorithm 4).
    drawn = 2 * k - 1
    all_right, all_wrong = p**drawn, (1 - p) ** drawn
    chosen = sum(math.comb(drawn, right) * q**right * (1 - q) ** (drawn - right) for right in range(k, drawn + 1))
    # Among equal candidates there is nothing to choose, whatever judges are worth.
    return all_right + (1 - all_right - all_wrong) * chosen
