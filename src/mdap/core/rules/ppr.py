"""The rule that takes nothing on trust about p: it finds the commonest answer of the sampler, whatever its share."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.rules.aim import checked_aim, step_error
from mdap.core.rules.margins import Margins
from mdap.core.spec import write_spec

# With labels that are not known beforehand the i-th to appear has 1/(i(i+1)) of the error: these add up to 1. A label
# appears with one vote, where a test that only asks whether it is the commoner of a pair stands at 3/2 at most.
_HEAD_START = 1.5


class Ppr(msgspec.Struct, frozen=True):
    """PPR-1v1 (Jain et al., AISTATS 2022): the leader beats each rival in a test that holds at every look.

    Leader a, rival b: the density of Beta(a+1, b+1) at 1/2 is at most delta/(K-1), K being the number of answers that
    are possible (`labels`) and delta the error that a step may have, 1 - target^(1/steps). Equal votes decide once
    (n+1)/2^n is so small. Where K is not known (the default) the i-th answer to appear wins at the level
    delta/(1.5 i(i+1)): as each answer's level is fixed when it appears, the levels add up to delta over any number of
    answers.

    Promises: with probability 1 - delta at least, the winner is the commonest answer of the sampler, for any shares
    and any p. That this is the right answer, it does not promise.
    """

    target: float = 0.95
    steps: int | None = None
    labels: int = 0

    bound: ClassVar[str | None] = (
        "1 - target^(1/steps) per step that the winner is not the sampler's commonest answer, whatever p is"
    )

    def __post_init__(self) -> None:
        checked_aim(self.target, self.steps)
        if self.labels < 0 or self.labels == 1:
            raise UsageError(f"labels={self.labels} is not a number of answers", remedy="give 2 or more, 0 if unknown")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return write_spec("ppr", {"steps": self.steps, "labels": self.labels or None}, bare=str(self.target))

    @property
    def step_error(self) -> float:
        """The error that a step may have."""
        return step_error(self.target, self.steps)

    @property
    def k(self) -> int:
        """The equal votes that decide."""
        return self._least(0, 1)

    def for_run(self, steps: int | None) -> Ppr:
        """Return this rule for a run of so many steps, unless it says itself how many."""
        return self if self.steps is not None or steps is None else msgspec.structs.replace(self, steps=steps)

    def needed(self, ballot: Ballot) -> int:
        """Return the fewest votes with which one of the candidates would win."""
        counts = list(ballot.counts.values())
        if not counts:
            return self.k
        # The 0 is the rival of a leader who has none.
        ordered = [*sorted(counts, reverse=True), 0]
        # One that appeared earlier has an easier level, and may need fewer votes than the leader; one yet unseen, not.
        return min(
            max(0, self._least(ordered[1] if count == ordered[0] else ordered[0], place) - count)
            for place, count in enumerate(counts, 1)
        )

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the leader beats the second candidate at its level."""
        return self._gap(ballot) <= 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the evidence of the leader over the second candidate."""
        counts, place = _first_two(ballot)
        needs = -self._level(place)
        return Evidence(-log_density(*counts), needs, "nats of evidence for the commonest answer")

    def _gap(self, ballot: Ballot) -> float:
        counts, place = _first_two(ballot)
        return log_density(*counts) - self._level(place)

    def _level(self, place: int) -> float:
        """Return ln of the level at which the candidate that was the `place`-th to appear wins."""
        share = 1 / (self.labels - 1) if self.labels else 1 / (_HEAD_START * place * (place + 1))
        return math.log(self.step_error * share)

    def _least(self, second: int, place: int) -> int:
        return _margins(self._level(place)).least(second)


def log_density(first: int, second: int) -> float:
    """Return ln of the density of Beta(first+1, second+1) at 1/2."""
    total = first + second
    # By lgamma: the factorials of a few hundred votes are beyond a float.
    return math.lgamma(total + 2) - math.lgamma(first + 1) - math.lgamma(second + 1) - total * math.log(2)


def _first_two(ballot: Ballot) -> tuple[tuple[int, int], int]:
    """Return the votes of the first two candidates, and as which the leader appeared (from 1)."""
    counts = list(ballot.counts.values())
    if not counts:
        return (0, 0), 1
    ordered = [*sorted(counts, reverse=True), 0]
    return (ordered[0], ordered[1]), 1 + counts.index(ordered[0])


# One for each level: those of the first candidates to appear, of all the runs that a process has.
@lru_cache(maxsize=64)
def _margins(level: float) -> Margins:
    # The density is lower with every vote of the leader; a tie has the highest, and wins nothing at any level.
    return Margins(lambda first, second: first > second and log_density(first, second) <= level)
