"""Early-stopping self-consistency (ESC), for comparison: stop at the first window of votes that all agree."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from mdap.core.ballot import Ballot, Evidence
from mdap.core.rules.majority import at_least_one_vote
from mdap.core.spec import write_spec


class Esc(msgspec.Struct, frozen=True):
    """Windows of w votes (arXiv:2401.10480): the first unanimous one decides, else the most votes of `cap` do.

    A unanimous window decides for its own candidate, which need not have most votes in all. Equals at the cap draw on,
    window or not. It promises nothing: w equal votes are all its evidence, whatever came before.
    """

    # The paper's own window and limit.
    w: int = 5
    cap: int = 40

    bound: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        at_least_one_vote(self.w)
        at_least_one_vote(self.cap)

    @property
    def spec(self) -> str:
        """The rule as it is written on a command line."""
        return write_spec("esc", {"cap": self.cap if self.cap != 40 else None}, bare=str(self.w))

    @property
    def k(self) -> int:
        """The votes of one window."""
        return min(self.w, self.cap)

    def window(self, ballot: Ballot) -> list[Any]:
        """Return the votes of the newest window, which may be just full: all that matters of the order of votes."""
        return ballot.order[(ballot.votes - 1) // self.w * self.w :] if ballot.votes else []

    def leading(self, ballot: Ballot) -> Any:
        """Return the candidate of a unanimous window, else the one with most votes."""
        if self._agreed(ballot):
            return ballot.order[-1]
        # Of equals the first, which is for show: a tie at the cap draws one vote more.
        return max(ballot.counts, key=ballot.counts.__getitem__, default=None)

    def needed(self, ballot: Ballot) -> int:
        """Return the votes up to the next end at which a window can agree, or up to the cap."""
        if self._agreed(ballot):
            return 0
        votes = ballot.votes
        if votes >= self.cap:
            return 0 if ballot.lead else 1
        window = self.window(ballot) if votes % self.w else []
        # A window in which two votes differ can no longer decide: the end of the next one is the earliest.
        end = votes - len(window) + (self.w if len(set(window)) <= 1 else 2 * self.w)
        return min(end, self.cap) - votes

    def decided(self, ballot: Ballot) -> bool:
        """Say whether a window has just agreed, or the cap is reached without a tie."""
        return bool(ballot.counts) and self.needed(ballot) == 0

    def evidence(self, ballot: Ballot) -> Evidence:
        """Return the votes, and the earliest at which a window can agree."""
        return Evidence(ballot.votes, ballot.votes + self.needed(ballot), "votes, with a window that agrees")

    def _agreed(self, ballot: Ballot) -> bool:
        votes = ballot.votes
        # Past the cap, where only ties get, windows decide nothing.
        return 0 < votes <= self.cap and votes % self.w == 0 and len(set(self.window(ballot))) == 1
