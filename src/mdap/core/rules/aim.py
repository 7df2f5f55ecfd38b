"""From the success that a whole run is to have to the error that each of its steps may have."""

from __future__ import annotations

import math

from mdap.core.errors import UsageError

# What is assumed of a run that does not know how long it will be: fewer steps only make it safer than it need be.
ASSUMED_STEPS = 1_000_000


def step_error(target: float, steps: int | None) -> float:
    """Return 1 - target^(1/steps), the error that each of `steps` steps may have (None: of a million)."""
    # By expm1: of 5e-8, what 0.95 leaves each of a million steps, 1 - x would keep half the digits.
    return -math.expm1(math.log(target) / (ASSUMED_STEPS if steps is None else steps))


def checked_aim(target: float, steps: int | None) -> None:
    """Raise UsageError unless 0 < target < 1 and steps is at least 1."""
    if not 0 < target < 1:
        raise UsageError(f"target={target} is not a probability", remedy="give a target between 0 and 1, such as 0.95")
    if steps is not None and steps < 1:
        raise UsageError(f"steps={steps} is not a number of steps", remedy="give steps of 1 or more")
