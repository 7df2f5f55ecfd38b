"""Reasoning-aware self-consistency (RASC), for comparison: stop once n votes score as sufficient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.rules.ranked import best
from mdap.core.spec import write_spec

# Something about vote number i (from 0) of a ballot, from the votes up to it.
Feature: TypeAlias = Callable[[Ballot, int], float]


class Sufficiency(msgspec.Struct, frozen=True):
    """The score of a vote, sigmoid(bias + sum of coefficient times feature).

    There are no coefficients to start from: those that were published call a reply with an error in its format more
    sufficient, and one that agrees with others less. Fit them to votes of one's own.
    """

    bias: float
    coefficients: dict[str, float]
    features: Mapping[str, Feature]

    def __call__(self, ballot: Ballot, number: int) -> float:
        """Return the score of one vote, 0 to 1."""
        told = self.bias + math.fsum(c * self.features[name](ballot, number) for name, c in self.coefficients.items())
        # exp overflows above 709.
        return 1 / (1 + math.exp(-told)) if told > -700 else 0.0


def equals_previous(ballot: Ballot, number: int) -> float:
    """Return 1 if a vote names what the vote before it named, else 0."""
    return float(number > 0 and ballot.order[number] == ballot.order[number - 1])


def equals_majority(ballot: Ballot, number: int) -> float:
    """Return 1 if a vote names the candidate that led before it, else 0; of equals the first to appear leads."""
    before = ballot.order[:number]
    # In the order of appearance, so that of equals max takes the first.
    return float(bool(before) and ballot.order[number] == max(dict.fromkeys(before), key=before.count))


# Of the paper's features those that a ballot alone can tell; the others compare texts, which are not in it.
FEATURES: dict[str, Feature] = {"equals_previous": equals_previous, "equals_majority": equals_majority}


def own_confidence(ballot: Ballot, number: int) -> float:
    """Return the confidence of a vote as its score, 1 where it has none: then every vote is sufficient."""
    confidence = ballot.confidences[number]
    return 1.0 if confidence is None else confidence


class Rasc(msgspec.Struct, frozen=True):
    """Votes that score `threshold` or more go into a buffer; once it holds n, the largest sum of scores in it wins.

    arXiv:2408.17017. At `cap` votes the buffer decides as it is, or all votes if it is empty. Equals draw on. `score`
    is what a vote is worth, such as a `Sufficiency` with the features and coefficients of one's own; by default its
    confidence. It promises nothing: n votes are never undercut, and nobody asks whether they agree.
    """

    # The paper's own: 5 votes that score one half or more, and at most 40 draws.
    n: int = 5
    threshold: float = 0.5
    cap: int = 40
    score: Feature = own_confidence

    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)
        at_least_one_vote(self.cap)
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold={self.threshold} is not a score", remedy="give a threshold from 0 to 1")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line; a score of one's own is not part of it."""
        options = {
            "threshold": self.threshold if self.threshold != 0.5 else None,
            "cap": self.cap if self.cap != 40 else None,
        }
        return write_spec("rasc", options, bare=str(self.n))

    @property
    def k(self) -> int:
        """The votes that fill the buffer if all are sufficient."""
        return min(self.n, self.cap)

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate with the largest sum of scores, of equals the one that appeared first."""
        return next(iter(best(self._sums(ballot)[0])), None)

    def needed(self, ballot: Ballot) -> int:
        """Return how many sufficient votes the buffer lacks, or how many votes the cap leaves, if that is fewer."""
        sums, buffered = self._sums(ballot)
        lacking = min(self.n - buffered, self.cap - ballot.votes)
        if lacking > 0:
            return lacking
        # Of equals none wins by having come first.
        return 0 if len(best(sums)) == 1 else 1

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the buffer is full, or the cap reached, and one candidate leads."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the sufficient votes."""
        buffered = self._sums(ballot)[1]
        return Evidence(buffered, buffered + self.needed(ballot), "sufficient votes")

    def _sums(self, ballot: Ballot) -> tuple[dict[Any, float], int]:
        """Return the sum of scores of each candidate in the buffer (in all votes while it is empty), and its size."""
        scored = [(key, self.score(ballot, number)) for number, key in enumerate(ballot.order)]
        buffer = [(key, score) for key, score in scored if score >= self.threshold]
        sums: dict[Any, float] = {}
        # As the paper has it: at the cap an empty buffer leaves nothing better to go by than all votes.
        for key, score in buffer or scored:
            sums[key] = sums.get(key, 0.0) + score
        return sums, len(buffer)


def rasc(n: int = 5, threshold: float = 0.5, cap: int = 40) -> Rasc:
    """Return the rule with the votes' own confidences as scores: what can be said on a command line."""
    return Rasc(n, threshold, cap)
