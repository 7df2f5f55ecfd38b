"""Gathers votes and elects nobody: proposals that are judged later. Nothing is judged here."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.rules.majority import at_least_one_vote


class Collect(msgspec.Struct, frozen=True):
    """Exactly n votes, and no winner among them: the task's `settle` makes of them what is decided.

    It promises nothing. With n of 1 it is one reply without red flags.
    """

    n: int = 1

    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"collect:{self.n}"

    @property
    def k(self) -> int:
        """The votes that are gathered."""
        return self.n

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes are still to be gathered."""
        # Equal proposals count each: n is how many are drawn (Algorithm 4), not how many differ.
        return max(0, self.n - ballot.votes)

    def decided(self, ballot: Ballot) -> bool:
        """Say no: votes that are gathered are not for or against one another."""
        return False

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the votes gathered."""
        return Evidence(ballot.votes, self.n, "votes gathered")
