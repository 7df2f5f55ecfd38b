"""Mean reciprocal rank over n rankings, for comparison."""

from __future__ import annotations

from typing import Any, ClassVar

from mdap.core.ballot import Ballot
from mdap.core.rules.ranked import Ranked, best


class Mrr(Ranked, frozen=True):
    """Rank i gets 1/i, the candidate with the largest sum over n ballots wins (arXiv:2505.10772); equals draw on.

    It promises nothing: no theory of margins is known for rankings.
    """

    name: ClassVar[str] = "mrr"

    def points(self, ballot: Ballot) -> dict[Any, float]:
        """Return the sum of reciprocal ranks of every candidate."""
        points: dict[Any, float] = {}
        for ranking in ballot.rankings:
            # Two of the ranked answers may share a key: the better place counts, and the next moves up.
            for place, key in enumerate(dict.fromkeys(ranking), 1):
                points[key] = points.get(key, 0.0) + 1 / place
        return points

    def front(self, ballot: Ballot) -> list[Any]:
        """Return those with most points."""
        return best(self.points(ballot))
