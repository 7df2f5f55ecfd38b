"""What the rules that weigh votes by a confidence share."""

from __future__ import annotations

import math
from typing import Any

from mdap.core.ballot import Ballot
from mdap.core.errors import UsageError


def confidences(ballot: Ballot, rule: str) -> list[tuple[Any, float]]:
    """Return (key, confidence) of every vote, in order; raises UsageError where a vote has none from 0 to 1."""
    pairs = []
    for number, (key, confidence) in enumerate(zip(ballot.order, ballot.confidences, strict=True), 1):
        # Nothing stands in for a missing one: a weight made up would count beside those that were measured.
        if confidence is None or not 0 <= confidence <= 1:
            raise UsageError(
                f"vote {number} has the confidence {confidence}, and {rule} weighs votes by theirs",
                remedy="choose where confidences come from, or a rule that counts, such as ahead_by_k",
            )
        pairs.append((key, confidence))
    return pairs


def logit(share: float) -> float:
    """Return ln(share/(1-share)); infinite at 0 and 1."""
    if share <= 0 or share >= 1:
        # No error: whoever weighs by it clips it to what one vote may count for.
        return math.inf if share >= 1 else -math.inf
    return math.log(share) - math.log1p(-share)
