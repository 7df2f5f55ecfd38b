"""Borda's count over n rankings, for comparison."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.rules.ranked import best, still_needed, union


class Borda(msgspec.Struct, frozen=True):
    """Of L candidates in all, rank i gets L - i points; those that a ballot leaves out share what is left (n ballots).

    arXiv:2505.10772 counts from each ballot's own length, so that a short ballot weighs less; over the union every
    ballot gives the same L(L-1)/2 points. Equals draw on. The winner may be a candidate that no vote puts first.
    It promises nothing: no theory of margins is known for rankings.
    """

    n: int = 5

    ranks: ClassVar[bool] = True
    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"borda:{self.n}"

    @property
    def k(self) -> int:
        """The number of ballots."""
        return self.n

    def points(self, ballot: Ballot) -> dict[Any, float]:
        """Return the points of every candidate."""
        names = union(ballot.rankings)
        points = dict.fromkeys(names, 0.0)
        for ranking in ballot.rankings:
            # Two of the ranked answers may share a key: the better place counts.
            ranked = dict.fromkeys(ranking)
            for place, key in enumerate(ranked, 1):
                points[key] += len(names) - place
            left = len(names) - len(ranked)
            for key in points.keys() - ranked.keys():
                # The places that are left give left - 1 down to 0 points, shared out evenly.
                points[key] += (left - 1) / 2
        return points

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate with most points, of equals the one that appeared first."""
        return next(iter(best(self.points(ballot))), None)

    def needed(self, ballot: Ballot) -> int:
        """Return how many ballots are lacking; past n one more as long as several lead."""
        return still_needed(ballot, self.n, best(self.points(ballot)) if ballot.votes >= self.n else ())

    def decided(self, ballot: Ballot) -> bool:
        """Say whether all ballots are in and one candidate leads."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the ballots that are in."""
        return Evidence(ballot.votes, ballot.votes + self.needed(ballot), "ballots")
