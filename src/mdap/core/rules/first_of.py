"""The vote among judges of Algorithm 4: the first candidate with k of 2k - 1 votes, else nobody."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError


class FirstOf(msgspec.Struct, frozen=True):
    """First to k among at most 2k - 1 votes (arXiv:2511.09030, Appendix F); closed as soon as nobody can get there.

    Of two candidates one always wins. Of more, the votes may split: the ballot then closes without a winner, and what
    that comes to is the task's to say, in `settle`. It promises nothing: judges choose among what was proposed.
    """

    k: int = 3

    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k={self.k} is not a number of votes", remedy="give k of 1 or more")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"first_of:{self.k}"

    @property
    def most(self) -> int:
        """The votes at which a ballot closes at the latest."""
        # Of two candidates one then has k votes; with one vote less both could have k - 1.
        return 2 * self.k - 1

    def needed(self, ballot: Ballot) -> int:
        """Return k minus the votes of the leading candidate; 0 once it has them, or no longer can."""
        lacking = self.k - ballot.first
        # Closed early: no further vote could give anybody k, and each would be paid for.
        return 0 if lacking > self.most - ballot.votes else max(0, lacking)

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the leading candidate has k votes."""
        return ballot.first >= self.k

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the votes of the leading candidate."""
        return Evidence(ballot.first, self.k, f"votes, of {self.most} at most")
