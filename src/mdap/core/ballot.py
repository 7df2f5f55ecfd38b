"""The tally of one step. Votes are cast in the order in which they were asked for; the rule says when it is decided."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import msgspec


class Evidence(msgspec.Struct, frozen=True):
    """How far a ballot is from its decision, on the rule's own scale: it is decided once `has` reaches `needs`."""

    has: float
    needs: float
    unit: str

    def __str__(self) -> str:
        return f"{self.has:.4g} of {self.needs:.4g} {self.unit}"


class Rule(Protocol):
    """When a ballot is decided. Immutable: all that it judges is in the ballot.

    Optional, found by presence:
    `bound: str | None` (what it promises of its errors, in one sentence; absent or None: nothing is promised, and a
    certificate says "no bound"), `step_error: float` (where it decides at a given error, the most that its predicted
    error of one step can be), `leading(ballot) -> key` (who leads, where that is not the candidate with most votes),
    `evidence(ballot) -> Evidence`, `max_samples: int` (the samples a step that suit it, where the user names no cap),
    `weighs: bool` (every vote must have a confidence), `ranks: bool` (it reads whole rankings),
    `for_run(steps) -> Rule` (the same rule for a run of so many steps, None if unknown).
    A rule that learns from the run's own decisions has `begin() -> Prior`, a record that encodes to JSON, and
    `at(index, kind, prior) -> Rule`, the rule that judges one step; see `mdap.core.rules.posterior`.
    """

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line, such as ahead_by_k:3."""

    @property
    def k(self) -> int:
        """The margin, or the number of votes, that the rule asks for: what an empty ballot needs."""

    def needed(self, ballot: Ballot) -> int:
        """Return how many further votes are needed at least before a decision is possible; 0 once decided.

        Exact: with fewer votes no candidate can win, and a winner can only appear at the last of them. 0 without a
        winner says that the rule closes the ballot all the same: what it comes to is for the task's `settle` to say.
        """

    # Beside `needed`, which is 0 as well where a ballot is closed without a winner.
    def decided(self, ballot: Ballot) -> bool:
        """Say whether the candidate that leads has won."""


class Ballot:
    """Counts votes by key. Keys are any hashable values; the first candidate to appear leads a tie.

    What else came with a vote stands beside it: `order` holds the keys as they were cast, `confidences` a number from 0
    to 1 or None for each, `rankings` the keys that the vote ranks, best first; a vote without a ranking ranks its own.
    """

    __slots__ = ("_leading", "confidences", "counts", "order", "rankings", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.counts: dict[Any, int] = {}
        # The counts alone would not do: windows (esc) and scores (rasc) depend on the order of the votes.
        self.order: list[Any] = []
        self.confidences: list[float | None] = []
        self.rankings: list[Sequence[Any]] = []
        self._leading = getattr(rule, "leading", None)

    def cast(self, key: Hashable, confidence: float | None = None, ranking: Sequence[Any] = ()) -> None:
        """Count one vote, with what came with it."""
        self.counts[key] = self.counts.get(key, 0) + 1
        self.order.append(key)
        self.confidences.append(confidence)
        self.rankings.append(ranking or (key,))

    @property
    def votes(self) -> int:
        """All votes cast."""
        return len(self.order)

    @property
    def first(self) -> int:
        """Votes of the candidate with most; 0 without votes."""
        return max(self.counts.values(), default=0)

    @property
    def lead(self) -> int:
        """Votes of the first candidate minus those of the second; the second of one candidate has 0."""
        counts = self.counts.values()
        # Nearly every ballot has one candidate, all the way through: its votes are the lead.
        if len(counts) < 2:
            return sum(counts)
        # The last two of the ascending order, from the end.
        first, second = sorted(counts)[:-3:-1]
        return first - second

    @property
    def leader(self) -> Any:
        """Key of the candidate that leads, of equals the one that appeared first; None without votes.

        That is the one with most votes, unless the rule weighs or ranks.
        """
        if self._leading is not None:
            return self._leading(self)
        # max takes the first of equals and a dict keeps its order: so whoever appeared first leads a tie.
        return max(self.counts, key=self.counts.__getitem__, default=None)

    @property
    def needed(self) -> int:
        """Further votes needed at least before a decision is possible; 0 once decided, or closed without a winner."""
        return self.rule.needed(self)

    @property
    def winner(self) -> Any:
        """Key of the winner, or None while undecided."""
        return self.leader if self.rule.decided(self) else None

    @property
    def tally(self) -> tuple[int, ...]:
        """Votes of the leader, then of the others in the order in which they appeared."""
        if len(self.counts) == 1 and self._leading is None:
            return tuple(self.counts.values())
        # A copy, since the leader is taken out. The default is for rules that rank: who leads by ranks may be no vote's
        # first choice, and so have no count.
        counts = dict(self.counts)
        return (counts.pop(self.leader, 0), *counts.values()) if counts else ()
