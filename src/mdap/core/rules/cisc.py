"""Confidence-informed self-consistency (CISC), for comparison: n votes, weighed by a softmax of their confidences."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.rules.ranked import best, still_needed
from mdap.core.rules.weighted import confidences
from mdap.core.spec import write_spec


class Cisc(msgspec.Struct, frozen=True):
    """Weights exp(c/temperature), normalised over the n votes; the candidate with the largest sum wins.

    arXiv:2502.06233; the temperature is to be tuned for each model and each source of confidence, the default is none
    of theirs. Equals draw on. It promises nothing: the budget is fixed, and no error follows from such weights.
    """

    n: int = 5
    temperature: float = 1.0

    weighs: ClassVar[bool] = True
    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.n)
        # Written so that NaN is refused as well: no comparison with it holds.
        if not self.temperature > 0:
            raise UsageError(f"temperature={self.temperature} is not above 0", remedy="give one such as 0.2")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        # Left out where it is the default: one rule is to have one spec, since runs are compared by it.
        temperature = self.temperature if self.temperature != 1 else None
        return write_spec("cisc", {"temperature": temperature}, bare=str(self.n))

    @property
    def k(self) -> int:
        """The number of votes."""
        return self.n

    def weights(self, ballot: Ballot) -> dict[Any, float]:
        """Return the weight of every candidate; they add up to 1."""
        votes = confidences(ballot, self.spec)
        # Taken off before exp, it cancels in the quotient: at a low temperature exp would overflow.
        most = max((confidence for _, confidence in votes), default=0.0)
        weights: dict[Any, float] = {}
        for key, confidence in votes:
            weights[key] = weights.get(key, 0.0) + math.exp((confidence - most) / self.temperature)
        total = math.fsum(weights.values())
        # Never by 0: the surest vote has exp(0).
        return {key: weight / total for key, weight in weights.items()}

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate with the largest weight, of equals the one that appeared first."""
        return next(iter(best(self.weights(ballot))), None)

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes are lacking; past n one more as long as several lead."""
        return still_needed(ballot, self.n, best(self.weights(ballot)) if ballot.votes >= self.n else ())

    def decided(self, ballot: Ballot) -> bool:
        """Say whether all votes are in and one candidate leads."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the votes that are in."""
        return Evidence(ballot.votes, ballot.votes + self.needed(ballot), "votes")
