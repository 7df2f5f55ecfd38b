"""Adaptive-Consistency, for comparison: stop once the leader would probably keep its lead over the second."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.rules.margins import Margins
from mdap.core.scaling.binomial import log_beta_tail
from mdap.core.spec import write_spec


class AdaptiveConsistency(msgspec.Struct, frozen=True):
    """The Beta rule of arXiv:2305.11860: votes a >= b, P(share > 1/2) under Beta(a+1, b+1) at least `confidence`.

    At `cap` votes the candidate with most of them wins; equals draw on. It promises nothing: the probability is that
    of one look, the rule looks after every vote, and what it is the probability of is the sampler's habit.
    """

    # The paper's own: 0.95, and at most 40 draws.
    confidence: float = 0.95
    cap: int = 40

    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.cap)
        # At one half a tie would do, and a confidence of 1 no number of votes reaches.
        if not 0.5 < self.confidence < 1:
            raise UsageError(f"confidence={self.confidence} is out of range", remedy="give more than 0.5, less than 1")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        # Left out where it is the default: one rule is to have one spec, since runs are compared by it.
        cap = self.cap if self.cap != 40 else None
        return write_spec("adaptive_consistency", {"cap": cap}, bare=str(self.confidence))

    @property
    def k(self) -> int:
        """The equal votes that decide."""
        return min(_sure(self.confidence).least(0), self.cap)

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes for the leader would decide."""
        first, lead = ballot.first, ballot.lead
        # `first - lead` are the votes of the second. Past the cap a tie needs one vote more; a lead of 1 makes that 0.
        return max(0, min(_sure(self.confidence).least(first - lead) - first, max(self.cap - ballot.votes, 1 - lead)))

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the leader is sure enough of its lead, or the cap is reached without a tie."""
        return bool(ballot.counts) and self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the leader's votes, and those that would decide against the second."""
        return Evidence(ballot.first, ballot.first + self.needed(ballot), "votes for the leader")


# Kept beside the rule and not in it: a rule is a plain value, equal to another of the same spec.
@lru_cache(maxsize=64)
def _sure(confidence: float) -> Margins:
    doubt = math.log1p(-confidence)
    return Margins(lambda first, second: log_beta_tail(0.5, first + 1, second + 1) <= doubt)
