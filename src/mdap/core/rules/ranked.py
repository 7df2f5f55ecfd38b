"""What the rules that read whole rankings share: a fixed number of ballots, and who of several stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.rules.majority import at_least_one_vote


class Ranked(msgspec.Struct, frozen=True):
    """A rule over n rankings: who stands in front of them all wins, of equals nobody, and one more ballot is drawn.

    It promises nothing: no theory of margins is known for rankings. A rule of this kind gives `name` and `front`.
    """

    n: int = 5

    name: ClassVar[str]
    ranks: ClassVar[bool] = True
    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return f"{self.name}:{self.n}"

    @property
    def k(self) -> int:
        """The number of ballots."""
        return self.n

    def front(self, ballot: Ballot) -> Sequence[Any]:
        """Return who stands in front, several where they are equal, in the order in which they appeared."""
        # And no abstract method: a Struct's metaclass and that of ABC exclude one another.
        raise NotImplementedError

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate in front, of equals the one that appeared first; None on an empty ballot."""
        return next(iter(self.front(ballot)), None)

    def needed(self, ballot: Ballot) -> int:
        """Return how many ballots are lacking; past n one more as long as several are in front."""
        return still_needed(ballot, self.n, self.front(ballot) if ballot.votes >= self.n else ())

    def decided(self, ballot: Ballot) -> bool:
        """Say whether all ballots are in and one candidate is in front."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the ballots that are in."""
        return Evidence(ballot.votes, ballot.votes + self.needed(ballot), "ballots")


def union(rankings: Iterable[Sequence[Any]]) -> list[Any]:
    """Return all candidates that some ballot ranks, in the order in which they appeared."""
    return list(dict.fromkeys(key for ranking in rankings for key in ranking))


def best(scores: Mapping[Any, float]) -> list[Any]:
    """Return those with the highest score; sums that differ by rounding alone are equal."""
    if not scores:
        return []
    most = max(scores.values())
    # Scores such as reciprocal ranks depend, in their last digit, on the order in which votes came in.
    return [key for key, score in scores.items() if score >= most - 1e-9]


def still_needed(ballot: Ballot, n: int, leaders: Sequence[Any]) -> int:
    """Return how many votes a window of n lacks; past it one more, as long as several lead."""
    if ballot.votes < n:
        return n - ballot.votes
    return 0 if len(leaders) == 1 else 1
