"""Ask a fixed number of times and take the answer that more than half of the votes name."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError


class Majority(msgspec.Struct, frozen=True):
    """At least n votes, all of them drawn, and more than half of all that were cast.

    Where n votes have no majority, more are drawn until there is one: the plurality never stands in for it.
    Error against one alternative for odd n: the binomial tail P(wrong votes > n/2), larger than that of ahead_by_k at
    as many votes.
    """

    n: int = 5

    bound: ClassVar[str | None] = "P(Binomial(n, 1-p) > n/2) per step for odd n, if every step has the same p above 0.5"

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"majority:{self.n}"

    @property
    def k(self) -> int:
        """The votes of the fixed window."""
        return self.n

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes the window lacks, or the leader lacks of more than half."""
        votes = ballot.votes
        # A vote for the leader adds one to its votes and to all: x of them are enough from 2(first + x) > votes + x on.
        return max(0, self.n - votes, votes - 2 * ballot.first + 1)

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the window is full and the leader has more than half."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the votes of the leader; more than half of all, and of n, are needed."""
        return Evidence(ballot.votes, ballot.votes + self.needed(ballot), "votes, with a majority")


def at_least_one_vote(n: int) -> None:
    """Raise UsageError unless n is a number of votes."""
    if n < 1:
        raise UsageError(f"n={n} is not a number of votes", remedy="give n of 1 or more")
