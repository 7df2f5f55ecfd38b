"""Mean reciprocal rank over n rankings, for comparison."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.rules.ranked import best, still_needed


class Mrr(msgspec.Struct, frozen=True):
    """Rank i gets 1/i, the candidate with the largest sum over n ballots wins (arXiv:2505.10772); equals draw on.

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
        return f"mrr:{self.n}"

    @property
    def k(self) -> int:
        """The number of ballots."""
        return self.n

    def points(self, ballot: Ballot) -> dict[Any, float]:
        """Return the sum of reciprocal ranks of every candidate."""
        points: dict[Any, float] = {}
        for ranking in ballot.rankings:
            # Two of the ranked answers may share a key: the better place counts, and the next moves up.
            for place, key in enumerate(dict.fromkeys(ranking), 1):
                points[key] = points.get(key, 0.0) + 1 / place
        return points

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate with the largest sum, of equals the one that appeared first."""
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
