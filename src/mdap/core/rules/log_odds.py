"""Votes weighed by what a calibrated confidence is worth: the logarithm of its odds."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.errors import UsageError
from mdap.core.rules.aim import checked_aim, step_error
from mdap.core.rules.weighted import confidences, logit
from mdap.core.spec import write_spec

# A single vote never counts for more than odds of 55 to 1, whatever it says of itself.
CLIP = 4.0


class LogOdds(msgspec.Struct, frozen=True):
    """Sum over rivals of exp(weight of the rival - weight of the leader), at most the error that a step may have.

    A vote weighs scale * logit(confidence) + shift, clipped at +-4; below a confidence of 1/2 it speaks against its own
    candidate. `scale` and `shift` come from `check_weights` on logged votes, which also says whether the weights are
    worth their price. Among the rivals is one that nobody has named.

    Promises: the error of a step is at most 1 - target^(1/steps) if the confidences, so scaled, are calibrated: of the
    votes with confidence c a share of c is right, on every kind of step. Overconfidence voids it.
    """

    target: float = 0.95
    steps: int | None = None
    scale: float = 1.0
    shift: float = 0.0

    weighs: ClassVar[bool] = True
    bound: ClassVar[str | None] = (
        "1 - target^(1/steps) per step if the confidences are calibrated on every kind of step"
    )

    def __post_init__(self) -> None:
        checked_aim(self.target, self.steps)
        # Below 0 the surest votes would count against their candidates.
        if not (self.scale >= 0 and math.isfinite(self.scale + self.shift)):
            raise UsageError(
                f"scale={self.scale}, shift={self.shift} is no calibration", remedy="give a scale of 0 or more"
            )
        # Nothing would ever decide: every step would run into its cap, at full price.
        if self.most <= 0:
            raise UsageError(f"shift={self.shift} lets no vote count", remedy="calibrate anew, or count votes instead")

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        options = {
            "steps": self.steps,
            "scale": self.scale if self.scale != 1 else None,
            "shift": self.shift if self.shift else None,
        }
        return write_spec("log_odds", options, bare=str(self.target))

    @property
    def step_error(self) -> float:
        """The error that a step may have."""
        return step_error(self.target, self.steps)

    @property
    def most(self) -> float:
        """The most that one vote can weigh."""
        # With any scale above 0 a confidence of 1 has infinite odds, and weighs the clip.
        return CLIP if self.scale > 0 else min(CLIP, self.shift)

    @property
    def k(self) -> int:
        """The equal votes that decide if all are as sure as can be."""
        return math.ceil(-math.log(self.step_error) / self.most)

    def for_run(self, steps: int | None) -> LogOdds:
        """Return this rule for a run of so many steps, unless it says itself how many."""
        return self if self.steps is not None or steps is None else msgspec.structs.replace(self, steps=steps)

    def weight(self, confidence: float) -> float:
        """Return what a vote with this confidence weighs."""
        # A scale of 0 times the infinite odds of a confidence of 1 would be NaN.
        if not self.scale:
            return self.most
        return max(-CLIP, min(CLIP, self.scale * logit(confidence) + self.shift))

    def weights(self, ballot: Ballot) -> dict[Any, float]:
        """Return the weight of every candidate."""
        weights: dict[Any, float] = {}
        for key, confidence in confidences(ballot, self.spec):
            weights[key] = weights.get(key, 0.0) + self.weight(confidence)
        return weights

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate that weighs most, of equals the one that appeared first."""
        weights = self.weights(ballot)
        return max(weights, key=weights.__getitem__, default=None)

    def needed(self, ballot: Ballot) -> int:
        """Return how many votes for the leader, each as sure as can be, would decide."""
        lacking = self._against(ballot) - math.log(self.step_error)
        # The small number keeps a quotient that is whole on paper from being rounded up to one vote more.
        return max(0, math.ceil(lacking / self.most - 1e-12)) if ballot.counts else self.k

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the odds against the leader are low enough."""
        return self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the odds for the leader."""
        return Evidence(-self._against(ballot), -math.log(self.step_error), "nats of odds")

    def _against(self, ballot: Ballot) -> float:
        """Return ln of the sum over rivals of the odds for them."""
        # The 0 stands for an answer that nobody has named yet. The leader's weight is taken out once: a rival may weigh
        # as much.
        weights = [0.0, *self.weights(ballot).values()]
        lead = max(weights[1:], default=0.0)
        weights.remove(lead) if len(weights) > 1 else None
        most = max(weights)
        return most - lead + math.log(math.fsum(math.exp(weight - most) for weight in weights))
