"""The rule for long runs whose steps differ: a step is decided once the answer is unlikely enough to be wrong.

How likely that is, is judged by a prior over p which the run learns from its own ballots (`prior.py`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import count
from typing import ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.rules.aim import checked_aim, step_error
from mdap.core.rules.margins import Margins
from mdap.core.rules.outlook import Stops, rows, stops_at
from mdap.core.rules.prior import GRID, MEMORY, START, Prior, Weights
from mdap.core.spec import write_spec

# Stopping at posterior odds of delta errs in less than delta of steps, since the last vote overshoots. So delta may be
# 1 to 64 times the allowed error, as long as what is then predicted is within it.
_TIMES = tuple(math.exp2(i / 16) for i in range(97))
# High, since it decides nothing: every hard step that runs into it is left undecided.
CAP = 4000
# Part of the allowed error that ballots still open may add before the prediction takes all of it for granted.
LOOSE_END = 0.01
# exp(-40) is 4e-18, below the 1.1e-16 that a float adds to 1 at least.
_NOTHING = 40.0
_LOGS = tuple((math.log(p), math.log1p(-p)) for p in GRID)


class Posterior(msgspec.Struct, frozen=True):
    """Sum over rivals of the posterior odds that the rival is right and not the leader, at most delta.

    Among the rivals is one that stands for all answers which nobody has named yet. `target` is the probability that
    all of `steps` steps are right, so a step may err in 1 - target^(1/steps); without `steps` those of the task count,
    or a million. This rule itself judges by the prior of a run's beginning (uniform over p from 0.5 to 1: 23 equal
    votes at a million steps); `at` gives the rule by what the run has learned. `cap` votes decide nothing: the step is
    undecided. `memory`: how many of the newest steps it learns from.

    Promises: the predicted error of a step is at most the allowed one. The prediction takes votes to be independent,
    the commonest answer to be right, and the steps to be like those seen; it says nothing of steps with p below 0.5.
    """

    target: float = 0.95
    steps: int | None = None
    cap: int = CAP
    memory: int = MEMORY

    bound: ClassVar[str | None] = (
        "predicted error per step at most 1 - target^(1/steps), by a prior over p learned from the run's own ballots"
    )

    def __post_init__(self) -> None:
        checked_aim(self.target, self.steps)
        if self.cap < 1 or self.memory < 1:
            raise UsageError(f"cap={self.cap}, memory={self.memory} is out of range", remedy="give 1 or more")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        options = {
            "steps": self.steps,
            "cap": self.cap if self.cap != CAP else None,
            "memory": self.memory if self.memory != MEMORY else None,
        }
        return write_spec("posterior", options, bare=str(self.target))

    @property
    def step_error(self) -> float:
        """The error that a step may have."""
        return step_error(self.target, self.steps)

    @property
    def max_samples(self) -> int:
        """The samples a step that suit it, where the user names no cap."""
        return self.cap

    @property
    def k(self) -> int:
        """The equal votes that decide a step at the beginning of a run."""
        return self._start.k

    def for_run(self, steps: int | None) -> Posterior:
        """Return this rule for a run of so many steps, unless it says itself how many."""
        return self if self.steps is not None or steps is None else msgspec.structs.replace(self, steps=steps)

    def begin(self) -> Prior:
        """Return what is known before the first step."""
        return Prior(memory=self.memory)

    def at(self, index: int, kind: str, prior: Prior) -> Judged:
        """Return the rule that judges step `index`, of a kind, by what was learned at the last refresh.

        Where `prior.is_settled(index)` is false the step is judged ahead of its time, and has to be judged again.
        """
        return judged(self.spec, prior.weights(kind), self.step_error)

    @property
    def _start(self) -> Judged:
        return judged(self.spec, START, self.step_error)

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes for the leader would decide."""
        return self._start.needed(ballot)

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the odds against the leader are low enough."""
        return self._start.decided(ballot)

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the odds for the leader."""
        return self._start.evidence(ballot)


class Judged:
    """The rule that judges steps by one prior. Immutable; it remembers what it has worked out.

    `weights` are the shares of the values of `GRID`, `step_error` is what a step may err; `delta` follows from both.
    """

    bound: ClassVar[str | None] = Posterior.bound

    def __init__(self, spec: str, weights: Weights, step_error: float, delta: float | None = None) -> None:
        self.spec = spec
        self.weights = weights
        self.step_error = step_error
        self._logs = [(math.log(w), *logs) for w, logs in zip(weights, _LOGS, strict=True) if w > 0]
        self._known: dict[tuple[int, int], float] = {}
        self._margins: dict[float, Margins] = {}
        # From here on an answer that nobody has named yet adds nothing that a float would keep.
        self._named = next(n for n in count(1) if self.log_odds(n, 0) < math.log(step_error) - _NOTHING)
        self.delta = self._loosest() if delta is None else delta
        self.k = self.least(0)

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes for the leader would decide."""
        counts = sorted(ballot.counts.values(), reverse=True)
        if len(counts) < 2:
            return max(0, self.k - sum(counts))
        first, second = counts[0], counts[1]
        more = max(0, self.least(second) - first)
        if len(counts) == 2:
            return more
        # The margins know one rival. Further ones add to the odds, so that more votes than those may be needed.
        while self._against(first + more, counts[1:]) > self.delta:
            more += 1
        return more

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the odds against the leader are at most delta."""
        return bool(ballot.counts) and self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the odds for the leader, as their logarithm to base 10."""
        counts = sorted(ballot.counts.values(), reverse=True)
        odds = self._against(counts[0], counts[1:]) if counts else 1.0
        return Evidence(-math.log10(odds), -math.log10(self.delta), "powers of ten of posterior odds")

    def log_odds(self, first: int, second: int) -> float:
        """Return ln of the odds that a rival with `second` votes is right against a leader with `first`.

        E[p^second (1-p)^first] / E[p^first (1-p)^second] over the prior; with a known p it is ((1-p)/p)^lead.
        """
        # Kept: margins, predictions and ballots ask for the same few pairs over and over.
        known = self._known.get((first, second))
        if known is None:
            known = self._known[first, second] = self.log_mean(second, first) - self.log_mean(first, second)
        return known

    def log_mean(self, first: int, second: int) -> float:
        """Return ln E[p^first (1-p)^second] over the prior."""
        logs = [weight + first * right + second * wrong for weight, right, wrong in self._logs]
        # Taken out before exp: chances of a few hundred votes are 0 to a float.
        most = max(logs)
        return most + math.log(sum([math.exp(log - most) for log in logs]))

    def least(self, second: int) -> int:
        """Return the votes with which a candidate wins against one rival with `second` votes."""
        return self._least(second, self.delta)

    def stops(self, cap: int = CAP) -> Stops:
        """Return all ways in which ballots with one wrong alternative end."""
        return stops_at(self.least, cap)

    def predicted(self, delta: float, cap: int = CAP) -> float:
        """Return the share of steps that would be decided wrongly at this delta, by the prior itself.

        Exact but for ballots that have become too rare to matter, all of which are taken to err at delta.
        """
        error, still_open = 0.0, 1.0
        for number, _, _, ended in rows(lambda second: self._least(second, delta)):
            for second, share in ended:
                ways = math.log(share) + (number - 1) * math.log(2)
                lost = math.exp(ways + self.log_mean(second, number - second))
                error += lost
                still_open -= lost + math.exp(ways + self.log_mean(number - second, second))
            if number >= cap or error > self.step_error:
                break
            # The few that are still open err in at most delta of cases, since all end at odds of delta or less.
            if still_open * delta < LOOSE_END * self.step_error:
                return error + max(0.0, still_open) * delta
        return error

    def _loosest(self) -> float:
        """Return the largest multiple of the allowed error at which no more than that is predicted."""
        low, high = 0, len(_TIMES)
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.predicted(_TIMES[middle] * self.step_error) <= self.step_error
            low, high = (middle, high) if fits else (low, middle)
        # The search filled them for deltas that it did not choose.
        self._margins.clear()
        self._known.clear()
        return _TIMES[low] * self.step_error

    def _least(self, second: int, delta: float) -> int:
        margins = self._margins.get(delta)
        if margins is None:
            margins = self._margins[delta] = Margins(lambda first, second: self._wins(first, second, delta))
        return margins.least(second)

    def _wins(self, first: int, second: int, delta: float) -> bool:
        return self._against(first, [second] if second else []) <= delta

    def _against(self, first: int, rivals: list[int]) -> float:
        """Return the sum over rivals of the odds for them, an answer that nobody has named among them."""
        # exp overflows above 709, and odds of exp(700) against a leader decide nothing anyway.
        odds = sum([math.exp(min(700.0, self.log_odds(first, second))) for second in rivals])
        return odds if first > self._named else odds + math.exp(min(700.0, self.log_odds(first, 0)))


# The prior changes at refreshes alone, and to find delta takes a search: thousands of steps share one rule.
@lru_cache(maxsize=64)
def judged(spec: str, weights: Weights, step_error: float) -> Judged:
    """Return the rule that judges by this prior, made once."""
    return Judged(spec, weights, step_error)
