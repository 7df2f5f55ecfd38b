"""Rate limits: requests and tokens a minute, as buckets that fill steadily. Told the time, never reading a clock."""

from __future__ import annotations

from collections.abc import Mapping

from mdap.serve.dialect import Fault, Level
from mdap.serve.words import pairs

KINDS = ("requests", "tokens")


def parse_rate(text: str) -> dict[str, float]:
    """Read "requests=600,tokens=200000" into limits a minute; raises UsageError naming the part that is wrong."""
    return pairs(
        text,
        "rate",
        KINDS,
        form="KIND=NUMBER",
        example='write it as "requests=600,tokens=200000"',
        # Below 1e12 a float still keeps the thousandths that flow in between two calls.
        number=lambda limit: 1 <= limit < 1e12 and limit == int(limit),
        is_="a whole number above 0",
    )


class Limits:
    """One bucket for each kind of limit, full at the start; what is taken comes back at the limit's rate.

    A request is taken while there is one left and any token left. Tokens are taken when the bill is known, so the
    bucket of tokens may go below nothing, and then admits no request until it is above it again.
    """

    def __init__(self, per_minute: Mapping[str, float]) -> None:
        self._limits = dict(per_minute)
        self._left = dict(per_minute)
        # Long ago, as it were: the first filling has nothing to fill.
        self._at = 0.0

    def admit(self, now: float) -> Fault | None:
        """Take one request, or return why it is beyond a limit, with the seconds to wait."""
        self._fill(now)
        for kind, left in self._left.items():
            # One of each: a request takes one, and how many tokens it takes is not known before it is answered.
            if left < 1:
                limit = self._limits[kind]
                wait = (1 - left) * 60 / limit
                text = f"Rate limit reached on {kind} per min: Limit {limit:.0f}. Please try again in {wait:.3f}s."
                return Fault(429, text, code=kind, wait=wait)
        if "requests" in self._left:
            self._left["requests"] -= 1
        return None

    def charge(self, tokens: int) -> None:
        """Take the tokens of a call that was admitted."""
        if "tokens" in self._left:
            self._left["tokens"] -= tokens

    def levels(self, now: float) -> dict[str, Level]:
        """Return where each limit stands."""
        self._fill(now)
        return {
            # What is overdrawn shows as nothing left: no vendor tells of less.
            kind: Level(int(limit), max(0, int(self._left[kind])), (limit - self._left[kind]) * 60 / limit)
            for kind, limit in self._limits.items()
        }

    def _fill(self, now: float) -> None:
        minutes, self._at = max(0.0, now - self._at) / 60, now
        for kind, limit in self._limits.items():
            self._left[kind] = min(limit, self._left[kind] + limit * minutes)
