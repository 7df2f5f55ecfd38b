"""Instant-runoff voting over n rankings, for comparison, with the transfers that make it one."""

from __future__ import annotations

from typing import Any, ClassVar

from mdap.core.ballot import Ballot
from mdap.core.rules.ranked import Ranked


class Irv(Ranked, frozen=True):
    """The candidate with fewest first places drops out, its ballots go to their next choice, until one has a majority.

    A majority is more than half of the n ballots that still rank a candidate. All that tie for fewest drop out at
    once, so that no order of appearance decides; where that would leave nobody, one more ballot is drawn.
    arXiv:2505.10772 describes transfers, its code has none: that is plurality. It promises nothing: no theory of
    margins is known for rankings.
    """

    name: ClassVar[str] = "irv"

    def front(self, ballot: Ballot) -> list[Any]:
        """Return who is left at the end of the runoff: one, or several that are equal."""
        # Two of the ranked answers may share a key: the better place counts.
        rankings = [list(dict.fromkeys(ranking)) for ranking in ballot.rankings]
        while rankings:
            firsts: dict[Any, int] = {}
            for ranking in rankings:
                firsts[ranking[0]] = firsts.get(ranking[0], 0) + 1
            most, fewest = max(firsts.values()), min(firsts.values())
            if 2 * most > len(rankings) or most == fewest:
                return [key for key, votes in firsts.items() if votes == most]
            # Whoever heads no ballot any more has fewest of all, and goes with them.
            left = {key for key, votes in firsts.items() if votes > fewest}
            rankings = [kept for ranking in rankings if (kept := [key for key in ranking if key in left])]
        return []
