"""What the rules that read whole rankings share: a fixed number of ballots, and who of several stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mdap.core.ballot import Ballot


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
