"""What the scaling laws accept, said once. Formulas never live here."""

from __future__ import annotations

import math
from numbers import Real

from mdap.core.errors import UsageError, VotingCannotHelp

# Steps are counted in 64 bits wherever they are stored, so a longer run could not be kept.
MOST = 2**63 - 1


def number(name: str, value: float) -> float:
    """Return `value` as a float; raises UsageError for what is no number, NaN included."""
    try:
        # True is 1 to Python; as a p or a k it is a slip.
        known = isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
    # isnan makes a float of an integer first.
    except OverflowError:
        raise UsageError(f"{name} is beyond 1.8e308", remedy=f"give a smaller {name}") from None
    if not known:
        raise UsageError(f"{name}={value!r} is not a number", remedy=f"give {name} as a number")
    return float(value)


def whole(name: str, value: float) -> int:
    """Return a count of 1 or more as an int; a float such as 1e6 is taken if it is whole. Raises UsageError."""
    # The range is that of the value as given: as a float, MOST is 2**63 already.
    if not number(name, value).is_integer() or not 1 <= value <= MOST:
        raise UsageError(
            f"{name}={value!r} is not a count", remedy=f"give {name} as a whole number from 1 to 2**63 - 1"
        )
    return int(value)


def positive(name: str, value: float) -> float:
    """Return a finite number above 0; raises UsageError."""
    if not 0 < number(name, value) < math.inf:
        raise UsageError(f"{name}={value!r} is not above 0", remedy=f"give {name} as a finite number above 0")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """Return a finite number of 0 or more; raises UsageError."""
    if not 0 <= number(name, value) < math.inf:
        raise UsageError(f"{name}={value!r} is below 0 or infinite", remedy=f"give {name} as 0 or more")
    return float(value)


def probability(name: str, value: float) -> float:
    """Return a number from 0 to 1; raises UsageError."""
    if not 0 <= number(name, value) <= 1:
        raise UsageError(f"{name}={value!r} is not a probability", remedy=f"give {name} as a number from 0 to 1")
    return float(value)


def positive_share(name: str, value: float) -> float:
    """Return a number above 0 and at most 1; raises UsageError."""
    if probability(name, value) == 0:
        raise UsageError(f"{name}={value!r} leaves nothing to count", remedy=f"give {name} above 0, at most 1")
    return float(value)


def target(t: float) -> float:
    """Return a success rate that can be aimed at, strictly between 0 and 1; raises UsageError."""
    # Above 0 as well: ln t is what all formulas begin with.
    if not 0 < number("t", t) < 1:
        raise UsageError(
            f"t={t!r} cannot be a target", remedy="give t strictly between 0 and 1, such as 0.95: certainty has no k"
        )
    return float(t)


def helpful(p: float) -> float:
    """Return a p above 0.5.

    Raises VotingCannotHelp at 0.5 or below: the formulas let all wrong votes name one answer, and then that answer
    is at least as common as the right one, so that more votes make the result worse or leave it a coin toss.
    """
    if probability("p", p) <= 0.5:
        raise VotingCannotHelp(
            f"p={p!r} is 0.5 or less: if wrong votes agree with one another, more votes do not make a step right",
            remedy="raise p above 0.5 with another prompt, another model or smaller steps; a larger k cannot",
        )
    return float(p)


def split(s: float, m: float) -> tuple[int, int]:
    """Return steps and steps per subtask as ints; raises UsageError where a subtask is longer than the run."""
    steps, size = whole("s", s), whole("m", m)
    if size > steps:
        raise UsageError(f"m={size} is more than s={steps} steps", remedy="give m of at most s")
    return steps, size
