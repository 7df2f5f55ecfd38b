"""What samples prove: intervals of a share, and tests with exact or rank-based levels. Knows no votes and no models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

import msgspec

from mdap.core.scaling import upper_share
from mdap.core.scaling.binomial import log_beta_tail

CONFIDENCE = 0.95
# Of the level of a test by `excess`, what it spends on not knowing the first share.
NUISANCE = 0.1


class Share(msgspec.Struct, frozen=True):
    """A share that was seen `hits` times in `trials`; `low` and `high` are the two ends of its 95% interval."""

    hits: int
    trials: int
    value: float
    low: float
    high: float


def wilson(hits: int, trials: int, spread: float = 1.0) -> Share:
    """Return a share with Wilson's 95% interval (two-sided); 0 to 1 where there are no trials.

    `spread` is the factor by which the variance exceeds that of independent trials: so many fewer trials are taken to
    have been made (Kish's design effect).
    """
    if not trials:
        return Share(0, 0, 0.0, 0.0, 1.0)
    # Wilson's and not Wald's, which has no width where all are hits: and p near 1 is the rule here.
    share, size = hits / trials, trials / spread
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    # On paper the interval begins at 0 without hits, and ends at 1 where all are hits: rounding misses both by a hair.
    low = 0.0 if not hits else max(0.0, middle - half)
    high = 1.0 if hits == trials else min(1.0, middle + half)
    return Share(hits, trials, share, low, high)


def spread_of(groups: Sequence[tuple[int, int]]) -> float:
    """Return by how much hits that come in groups of (hits, trials) vary more than independent ones; at least 1.

    The ratio estimator's variance over the binomial one. One group alone says nothing: all its trials count as one.
    """
    trials = sum(size for _, size in groups)
    if len(groups) < 2:
        return float(max(1, trials))
    share = sum(hits for hits, _ in groups) / trials
    # The binomial variance is 0 then, and nothing can be compared with it.
    if not 0 < share < 1:
        return 1.0
    # One less than the groups in the denominator, since their share was estimated from them.
    between = sum((hits - share * size) ** 2 for hits, size in groups) * len(groups) / (len(groups) - 1)
    return max(1.0, between / (trials * share * (1 - share)))


def spread_from(groups: int, trials: int, hits: int, trials2: int, hits2: int, both: int) -> float:
    """Return `spread_of` from sums over the groups alone: of trials, hits, their squares and their products.

    Sums of whole numbers: nothing is lost by not holding the groups, however many there are.
    """
    if groups < 2:
        return float(max(1, trials))
    if not 0 < hits < trials:
        return 1.0
    # With share = hits / trials, times trials squared, so that the differences of large sums are exact.
    between = hits2 * trials * trials - 2 * hits * trials * both + hits * hits * trials2
    return max(1.0, between * groups / ((groups - 1) * trials * hits * (trials - hits)))


def at_least(hits: int, trials: int, share: float) -> float:
    """Return the probability of `hits` or more in `trials` of probability `share`, exact."""
    if hits <= 0:
        return 1.0
    # A binomial tail is an incomplete beta function (DLMF 8.17.5).
    return math.exp(log_beta_tail(share, hits, trials - hits + 1)) if hits <= trials else 0.0


def excess(hits: int, trials: int, before: tuple[int, int], level: float = 0.05) -> float:
    """Return the p-value of `hits` in `trials` if their share were no larger than that of `before`: (hits, trials).

    Valid at `level` for any numbers, also where how many trials are made depends on what was seen before: the worst
    case over all shares that `before` does not exclude at a tenth of the level, plus that tenth (Berger and Boos,
    1994). The tail of a binomial grows with its share, so the worst case is the upper end.
    """
    if not trials or not before[1]:
        return 1.0
    spent = NUISANCE * level
    return min(1.0, at_least(hits, trials, upper_share(*before, 1 - spent)) + spent)


class Tendency(msgspec.Struct, frozen=True):
    """Whether one group of values tends to exceed another.

    `chance`: probability that a value of the first exceeds one of the second, ties split (0.5: neither does).
    `p_value`: two-sided, of a chance as far from 0.5 in groups of one law.
    """

    chance: float
    p_value: float
    first: int
    second: int


def tendency(first: Sequence[float], second: Sequence[float]) -> Tendency:
    """Return the Wilcoxon-Mann-Whitney comparison of two groups, by the normal law with ties and continuity.

    With fewer than 5 values in a group there is no evidence to speak of: the p-value is 1.
    """
    m, n = len(first), len(second)
    ranks, ties = _ranks([*first, *second])
    above = math.fsum(ranks[:m]) - m * (m + 1) / 2
    chance = above / (m * n) if m * n else 0.5
    if min(m, n) < LEAST:
        return Tendency(chance, 1.0, m, n)
    size = m + n
    # That of the sum of ranks, less what equal values take from it: untimed calls and coarse clocks give many.
    variance = m * n / 12 * (size + 1 - ties / (size * (size - 1)))
    # The continuity correction: ranks move in steps, the normal law does not.
    off = max(0.0, abs(above - m * n / 2) - 0.5)
    p_value = 2 * NormalDist().cdf(-off / math.sqrt(variance)) if variance > 0 else 1.0
    return Tendency(chance, p_value, m, n)


# Below, the normal law stands for ranks too badly for a p-value that others act upon.
LEAST = 5


def _ranks(values: Sequence[float]) -> tuple[list[float], float]:
    """Ranks from 1, equal values sharing the mean of theirs, and the sum of t^3 - t over the ties."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, ties, at = [0.0] * len(values), 0.0, 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for index in order[at:end]:
            ranks[index] = (at + end + 1) / 2
        ties += (end - at) ** 3 - (end - at)
        at = end
    return ranks, ties


class Latency(msgspec.Struct, frozen=True):
    """How long calls take, in seconds: median and p90 as seen, `sigma` and `scale` of the lognormal law fitted to them.

    The law's median is `scale`; its logarithm has the standard deviation `sigma`.
    """

    calls: int
    median: float
    p90: float
    sigma: float
    scale: float

    def slowest_of(self, calls: int) -> float:
        """Return the expected seconds until the last of `calls` calls made at once has ended, under the fitted law."""
        # The mean of a quantile function is its integral; 400 midpoints hold it to 1% for sigma up to 1.5.
        normal, points = NormalDist(), 400
        heights = (normal.inv_cdf(((i + 0.5) / points) ** (1 / calls)) for i in range(points))
        return self.scale * fmean(math.exp(self.sigma * height) for height in heights)

    def of_step(self, k: int, votes: float, v: float = 1.0) -> float:
        """Return the expected seconds of a step of `votes` votes at margin k, each vote being a sample with chance v.

        k calls at once, then what a contested step still needs, two at a time: that makes one wrong vote good, the
        commonest case. A flag among the first costs one call more.
        """
        after = max(0.0, votes - k) / 2
        return self.slowest_of(k) + after * self.slowest_of(2) + (1 - v**k) * self.slowest_of(1)


def latency(seconds: Sequence[float]) -> Latency | None:
    """Return what the latencies of some calls come to; None where there are none above 0."""
    # 0 stands for a call that nobody timed, and has no logarithm.
    taken = sorted(value for value in seconds if value > 0)
    if not taken:
        return None
    logs = [math.log(value) for value in taken]
    mean = fmean(logs)
    sigma = math.sqrt(math.fsum((x - mean) ** 2 for x in logs) / max(1, len(logs) - 1))
    return Latency(len(taken), _quantile(taken, 0.5), _quantile(taken, 0.9), sigma, math.exp(mean))


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
