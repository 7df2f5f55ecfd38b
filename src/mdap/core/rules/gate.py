"""A gate for proposals: judges vote until one verdict leads by k, or the ballot closes as contentious."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.scaling.gated import CONTENTIOUS


class Gate(msgspec.Struct, frozen=True):
    """The first verdict to lead every other by k wins; at 4k votes the ballot closes without a winner.

    It promises nothing: votes are verdicts on one proposal, not answers, and a ballot that closes says only that judges
    disagree. What that comes to is the task's to say, in `settle`.
    """

    k: int = 3

    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k={self.k} is not a margin", remedy="give k of 1 or more")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"gate:{self.k}"

    @property
    def most(self) -> int:
        """The votes at which a ballot closes without a winner."""
        return CONTENTIOUS * self.k

    def needed(self, ballot: Ballot) -> int:
        """Return k minus the lead, or how many votes are left until the ballot closes, if that is fewer."""
        # Both ends count: a batch that runs past the closing would be drawn in vain.
        return max(0, min(self.k - ballot.lead, self.most - ballot.votes))

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the lead is k."""
        return ballot.lead >= self.k

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the lead."""
        return Evidence(ballot.lead, self.k, f"votes of lead, closed at {self.most} votes")
