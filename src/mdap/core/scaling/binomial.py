"""Exact binomial tails, at any size, and the confidence limit that rests on them. Knows nothing of votes."""

from __future__ import annotations

import math

from mdap.core.errors import UsageError


def log_beta_tail(x: float, a: float, b: float) -> float:
    """Return ln I_x(a, b), the regularised incomplete beta function, for x from 0 to 1 and a, b > 0.

    For whole a and b it is the probability that a successes of probability x come before b failures. The continued
    fraction is that of DLMF 8.17.22; a tail of 1e-1000 is as exact as one of 0.1.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x >= 1 else -math.inf
    # The fraction converges fast on this side alone (DLMF 8.17.22); the other follows by symmetry.
    if x > (a + 1) / (a + b + 2):
        return math.log(-math.expm1(log_beta_tail(1 - x, b, a)))
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b)
    return front + math.log(_fraction(x, a, b))


def upper_share(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided Clopper-Pearson limit: the largest share that `hits` of `trials` do not rule out.

    The true share is at or below it in at least `confidence` of all samples, however few the hits; 0 hits give about
    3/trials at 95%. Raises UsageError unless 0 <= hits <= trials and 0 < confidence < 1.
    """
    if not 0 <= hits <= trials or not 0 < confidence < 1:
        raise UsageError(
            f"{hits} of {trials} at confidence {confidence} has no limit",
            remedy="give 0 <= hits <= trials and a confidence strictly between 0 and 1",
        )
    if hits == trials:
        return 1.0
    level = math.log1p(-confidence)
    if hits == 0:
        # In closed form: the share at which (1 - share)^trials is 1 - confidence.
        return -math.expm1(level / trials)
    low, high = hits / trials, 1.0
    # Relative to the limit, so that a share of 1e-9 has as many digits as one of 0.1.
    while high - low > 1e-12 * low:
        middle = (low + high) / 2
        if log_beta_tail(1 - middle, trials - hits, hits + 1) > level:
            low = middle
        else:
            high = middle
    return high


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction from its front (the modified Lentz method)."""
    # Lentz's method puts it where a denominator is 0.
    tiny = 1e-300
    d = 1 / (1 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    # Convergence takes of the order of sqrt(a + b) terms; the bound is far beyond it.
    for i in range(1, 1000 + 20 * math.isqrt(int(a + b))):
        even = i * (b - i) * x / ((a + 2 * i - 1) * (a + 2 * i))
        odd = -(a + i) * (a + b + i) * x / ((a + 2 * i) * (a + 2 * i + 1))
        change = 1.0
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= (change := d * c)
        # Some units of a float's last digit: no further term would change what is returned.
        if abs(change - 1) < 1e-15:
            return value
    raise ArithmeticError(f"the incomplete beta function did not converge at x={x}, a={a}, b={b}")
