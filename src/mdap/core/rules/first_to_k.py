"""Another rule than the paper's main one: the first candidate with k votes wins, whatever the others have."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError


class FirstToK(msgspec.Struct, frozen=True):
    """First-to-k (Appendix F; the replay of Figure 8). Decided within 2k - 1 votes of two candidates.

    Its error is larger than that of ahead_by_k at the same k; it is not first-to-ahead-by-k.
    """

    # As in the paper's replay of its run (Fig. 8), where first-to-3 decided all steps rightly as well.
    k: int = 3

    bound: ClassVar[str | None] = "I_(1-p)(k, k) per step, if every step of a kind has the same p above 0.5"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k={self.k} is not a number of votes", remedy="give k of 1 or more")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"first_to_k:{self.k}"

    def needed(self, ballot: Ballot) -> int:
        """Return k minus the votes of the leading candidate."""
        # Any other candidate needs more votes than the leader, so with fewer than these nothing can be decided.
        return max(0, self.k - ballot.first)

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the leading candidate has k votes."""
        return ballot.first >= self.k

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the votes of the leading candidate."""
        return Evidence(ballot.first, self.k, "votes")
