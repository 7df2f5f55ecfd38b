"""Instant-runoff voting over n rankings, for comparison, with the transfers that make it one."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.rules.ranked import still_needed


class Irv(msgspec.Struct, frozen=True):
    """The candidate with fewest first places drops out, its ballots go to their next choice, until one has a majority.

    A majority is more than half of the n ballots that still rank a candidate. All that tie for fewest drop out at
    once, so that no order of appearance decides; where that would leave nobody, one more ballot is drawn.
    arXiv:2505.10772 describes transfers, its code has none: that is plurality. It promises nothing: no theory of
    margins is known for rankings.
    """

    n: int = 5

    ranks: ClassVar[bool] = True
    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"irv:{self.n}"

    @property
    def k(self) -> int:
        """The number of ballots."""
        return self.n

    def survivors(self, ballot: Ballot) -> list[Any]:
        """Return who is left at the end of the runoff: one, or several that are equal."""
        # Two of the ranked answers may share a key: the better place counts.
        rankings = [list(dict.fromkeys(ranking)) for ranking in ballot.rankings]
        while rankings:
            firsts: dict[Any, int] = {}
            for ranking in rankings:
                firsts[ranking[0]] = firsts.get(ranking[0], 0) + 1
            most, fewest = max(firsts.values()), min(firsts.values())
            if 2 * most > len(rankings) or most == fewest:
                return [key for key, votes in firsts.items() if votes == most]
            # Whoever heads no ballot any more has fewest of all, and goes with them.
            left = {key for key, votes in firsts.items() if votes > fewest}
            rankings = [kept for ranking in rankings if (kept := [key for key in ranking if key in left])]
        return []

    def leading(self, ballot: Ballot) -> Any:
        """Return the winner of the runoff, of equals the one that appeared first."""
        return next(iter(self.survivors(ballot)), None)

    def needed(self, ballot: Ballot) -> int:
        """Return how many ballots are lacking; past n one more as long as the runoff ends in a tie."""
        return still_needed(ballot, self.n, self.survivors(ballot) if ballot.votes >= self.n else ())

    def decided(self, ballot: Ballot) -> bool:
        """Say whether all ballots are in and the runoff has one winner."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the ballots that are in."""
        return Evidence(ballot.votes, ballot.votes + self.needed(ballot), "ballots")
