"""The tally of one step. Votes are cast in the order in which they were asked for; the rule says when it is decided."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol


class Rule(Protocol):
    """When a ballot is decided. Immutable: all that it judges is in the ballot."""

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line, such as ahead_by_k:3."""

    @property
    def k(self) -> int:
        """The margin, or the number of votes, that the rule asks for."""

    def needed(self, ballot: Ballot) -> int:
        """Return how many further votes are needed at least before a decision is possible; 0 once decided.

        Exact: with fewer votes no candidate can win, and a winner can only appear at the last of them.
        """

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the candidate that leads has won."""


class Ballot:
    """Counts votes by key. Keys are any hashable values; the first candidate to appear leads a tie."""

    __slots__ = ("counts", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.counts: dict[Any, int] = {}

    def cast(self, key: Hashable) -> None:
        """Count one vote."""
        self.counts[key] = self.counts.get(key, 0) + 1

    @property
    def votes(self) -> int:
        """All votes cast."""
        return sum(self.counts.values())

    @property
    def first(self) -> int:
        """Votes of the leading candidate; 0 without votes."""
        return max(self.counts.values(), default=0)

    @property
    def lead(self) -> int:
        """Votes of the first candidate minus those of the second; the second of one candidate has 0."""
        if len(self.counts) < 2:
            return self.first
        first, second = sorted(self.counts.values())[:-3:-1]
        return first - second

    @property
    def leader(self) -> Any:
        """Key of the candidate with most votes, of equals the one that appeared first; None without votes."""
        return max(self.counts, key=self.counts.__getitem__, default=None)

    @property
    def needed(self) -> int:
        """Further votes needed at least before a decision is possible; 0 once decided."""
        return self.rule.needed(self)

    @property
    def winner(self) -> Any:
        """Key of the winner, or None while undecided."""
        return self.leader if self.rule.decided(self) else None

    @property
    def tally(self) -> tuple[int, ...]:
        """Votes of the leader, then of the others in the order in which they appeared."""
        counts = dict(self.counts)
        return (counts.pop(self.leader), *counts.values()) if counts else ()
