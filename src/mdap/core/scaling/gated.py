"""What judges who vote Yes or No come to, exactly, if they were independent. No rule is decided here."""

from __future__ import annotations

import msgspec

from mdap.core.errors import UsageError

# The rule `gate:K` closes a ballot at so many times k votes: judges disagree then, and more of them would go on to.
CONTENTIOUS = 4


class Gated(msgspec.Struct, frozen=True):
    """How often a proposal is accepted, refused, and contentious, and how many votes that takes on average."""

    accepted: float
    refused: float
    contentious: float
    votes: float


def gated(yes: float, k: int, most: int | None = None) -> Gated:
    """Return what becomes of a proposal to which each judge says Yes with probability `yes`, else No.

    The first word to lead by `k` wins; at `most` votes (4k, as in the rule `gate:K`) the ballot closes without one.
    Judges are independent here, which those of one model are not: read it as the best that can be hoped for. Computed
    vote by vote, without rounding but that of floats. Raises UsageError for no probability, and for k below 1.
    """
    if not 0 <= yes <= 1:
        raise UsageError(f"yes={yes!r} is no probability", remedy="give it from 0 to 1")
    if k < 1:
        raise UsageError(f"k={k} is not a margin", remedy="give k of 1 or more")
    leads = {0: 1.0}
    accepted = refused = votes = 0.0
    for _ in range(CONTENTIOUS * k if most is None else most):
        votes += sum(leads.values())
        # Ballots of one lead go on alike, whichever votes led there: so 2k - 1 chances hold them all.
        after: dict[int, float] = {}
        for lead, chance in leads.items():
            after[lead + 1] = after.get(lead + 1, 0.0) + chance * yes
            after[lead - 1] = after.get(lead - 1, 0.0) + chance * (1 - yes)
        # Taken out of the walk: a verdict that leads by k ends the ballot, and cannot fall back.
        accepted += after.pop(k, 0.0)
        refused += after.pop(-k, 0.0)
        leads = after
    return Gated(accepted, refused, sum(leads.values()), votes)
