"""How a rate differs from step to step: mixtures of points and Beta laws, their exact moments and quantiles.

Pure arithmetic: what the rate is a rate of, and what chance is made of, is for others.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

import msgspec

_CELLS = 2048  # of a quantile table: rates come out within 0.1% for shapes from 0.3 on; takes 3 ms to build


class Part(msgspec.Struct, frozen=True):
    """A `share` of all steps whose rates have this `mean`: the same for all (`shape` 0), or Beta with a = `shape`.

    The b of the Beta follows from the mean: b = a (1 - mean) / mean.
    """

    share: float
    mean: float
    shape: float = 0.0

    @property
    def b(self) -> float:
        """The second parameter of the Beta."""
        return self.shape * (1.0 - self.mean) / self.mean

    def moment(self, events: int, others: int) -> float:
        """Return E[x^events (1-x)^others]: the chance of one given order of so many events and others."""
        if not self.shape:
            return self.mean**events * (1.0 - self.mean) ** others
        a, b = self.shape, self.b
        # Factor by factor, as in Polya's urn: no digit is lost in a quotient of Beta functions.
        chance = 1.0
        for i in range(events):
            chance *= (a + i) / (a + b + i)
        for i in range(others):
            chance *= (b + i) / (a + b + events + i)
        return chance

    def quantile(self, u: float) -> float:
        """Return the rate that a share `u` of these steps stays below."""
        return beta_quantile(self.shape, self.b, u) if self.shape else self.mean


class Rates:
    """A law of rates over steps: the parts, and rate 0 on all other steps."""

    def __init__(self, parts: Sequence[Part]) -> None:
        # A part that never happens is what is left over anyway, and has no Beta: its b would be infinite.
        self.parts = tuple(part for part in parts if part.share > 0.0 and part.mean > 0.0)
        # Each summed anew: ends that are added up one by one drift, and shares that make 1 would leave a gap.
        self._ends = [math.fsum(p.share for p in self.parts[: i + 1]) for i in range(len(self.parts))]

    @property
    def mean(self) -> float:
        """The rate over all steps."""
        return math.fsum(part.share * part.mean for part in self.parts)

    def moment(self, events: int, others: int) -> float:
        """Return E[x^events (1-x)^others] over all steps."""
        # On all other steps nothing ever happens, so they count where no event is asked for.
        never = 0.0 if events or not self.parts else max(0.0, 1.0 - self._ends[-1])
        if not self.parts:
            return float(events == 0)
        return never + math.fsum(part.share * part.moment(events, others) for part in self.parts)

    def rate(self, which: float, height: float) -> float:
        """Return the rate of a step that drew `which` for its part and `height` within it, both in [0, 1)."""
        index = bisect_right(self._ends, which)
        return self.parts[index].quantile(height) if index < len(self.parts) else 0.0


def beta_quantile(a: float, b: float, u: float) -> float:
    """Return the rate that a share `u` of Beta(a, b) stays below."""
    # The one Beta with a closed form that is needed, 1 - (1 - u)^(1/b): that of the paper's wrong votes.
    if a == 1.0:
        return -math.expm1(math.log1p(-u) / b)
    low, cell, sums = _table(a, b)
    # A number close to 1 may meet the very last sum, behind which there is no cell.
    index = min(bisect_right(sums, u), _CELLS) - 1
    logit = low + cell * (index + (u - sums[index]) / (sums[index + 1] - sums[index]))
    return 1.0 / (1.0 + math.exp(-logit))


# A law asks for the same few tables at every step.
@lru_cache(maxsize=32)
def _table(a: float, b: float) -> tuple[float, float, list[float]]:
    """The distribution function of Beta(a, b) at equal distances of the logit: the first, the distance, the values.

    On that scale the density is smooth with one peak, whatever a and b, and falls at least as fast as exp(-a|t|) to
    the left and exp(-bt) to the right of it; Simpson's rule in each cell.
    """
    peak, width = math.log(a / b), 9.0 * math.sqrt(1.0 / a + 1.0 / b)
    # Beyond these the tails hold some exp(-40), less than the smallest step between two uniform numbers, 2^-53.
    low, high = min(peak, 0.0) - 40.0 / a - width, max(peak, 0.0) + 40.0 / b + width
    cell = (high - low) / _CELLS
    # Heights are taken relative to the peak, since those of steep laws would all underflow.
    top = _log_density(a, b, peak)
    heights = [math.exp(_log_density(a, b, low + cell * i / 2) - top) for i in range(2 * _CELLS + 1)]
    sums = [0.0]
    for i in range(0, 2 * _CELLS, 2):
        sums.append(sums[-1] + heights[i] + 4.0 * heights[i + 1] + heights[i + 2])
    return low, cell, [value / sums[-1] for value in sums]


def _log_density(a: float, b: float, logit: float) -> float:
    # log x = -log(1 + exp(-t)) and log(1-x) = -log(1 + exp(t)), each by its form that cannot overflow.
    shared = math.log1p(math.exp(-abs(logit)))
    return -a * (max(-logit, 0.0) + shared) - b * (max(logit, 0.0) + shared)
