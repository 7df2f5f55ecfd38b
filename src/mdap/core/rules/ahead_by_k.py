"""The paper's rule: the first candidate to lead every other by k votes wins (Algorithm 2)."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError


class AheadByK(msgspec.Struct, frozen=True):
    """First-to-ahead-by-k. The maximum over no rivals is 0, so k equal votes win.

    Error against one alternative: 1/(1 + (p/(1-p))^k), Eq. 9; this is Wald's sequential probability ratio test: where
    all steps have one p, no rule with that error needs fewer votes. Some steps harder than the rest void the bound.
    """

    # What the paper's run of 1,048,575 steps took; for any other task it is an assumption.
    k: int = 3

    bound: ClassVar[str | None] = "1/(1 + (p/(1-p))^k) per step, if every step of a kind has the same p above 0.5"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k={self.k} is not a margin", remedy="give k of 1 or more")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"ahead_by_k:{self.k}"

    def needed(self, ballot: Ballot) -> int:
        """Return k minus the lead."""
        # One vote adds one to the lead at most, so with fewer nothing can be decided, and none of these is drawn in
        # vain.
        return max(0, self.k - ballot.lead)

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the lead is k."""
        return ballot.lead >= self.k

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the lead."""
        return Evidence(ballot.lead, self.k, "votes of lead")
