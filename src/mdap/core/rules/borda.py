"""Borda's count over n rankings, for comparison."""

from __future__ import annotations

from typing import Any, ClassVar

from mdap.core.ballot import Ballot
from mdap.core.rules.ranked import Ranked, best, union


class Borda(Ranked, frozen=True):
    """Of L candidates in all, rank i gets L - i points; those that a ballot leaves out share what is left (n ballots).

    arXiv:2505.10772 counts from each ballot's own length, so that a short ballot weighs less; over the union every
    ballot gives the same L(L-1)/2 points. Equals draw on. The winner may be a candidate that no vote puts first.
    It promises nothing: no theory of margins is known for rankings.
    """

    name: ClassVar[str] = "borda"

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

    def front(self, ballot: Ballot) -> list[Any]:
        """Return those with most points."""
        return best(self.points(ballot))
