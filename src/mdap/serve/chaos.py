"""Faults on purpose: which word of chaos strikes which call. Keyed by the call itself, never by time or order."""

from __future__ import annotations

import math

import msgspec

from mdap.core.errors import UsageError
from mdap.core.keyed import uniforms
from mdap.serve.words import pairs

# Faults of one attempt, which a client answers by asking again: two statuses, no answer at all, a closed connection,
# a body cut short, a body that is not JSON.
OF_ATTEMPTS = ("429", "500", "hang", "drop", "truncate", "garbage")
# Faults of the reply itself, which a voter flags: finish reason length, and words without an answer.
OF_REPLIES = ("cut", "babble")


class Chaos(msgspec.Struct, frozen=True):
    """How often each word strikes: shares of all attempts for the first kind, of all replies for the second."""

    rates: dict[str, float]
    seed: int = 0

    def of_attempt(self, digest: bytes, attempt: int) -> str | None:
        """Return the fault of this attempt at the request with this digest, or None.

        A repeated attempt draws anew and shifts no other call.
        """
        return self._strikes(OF_ATTEMPTS, b"attempt %d %b %d" % (self.seed, digest, attempt))

    def of_reply(self, digest: bytes, seed: int) -> str | None:
        """Return the fault of the reply to this request and seed, or None.

        It is the same at each attempt: what is finally answered does not depend on how often it was asked.
        """
        return self._strikes(OF_REPLIES, b"reply %d %b %d" % (self.seed, digest, seed))

    def _strikes(self, words: tuple[str, ...], key: bytes) -> str | None:
        # One number for all words: at most one strikes, and each as often as its share says.
        at = uniforms(key, 1)[0]
        for word in words:
            at -= self.rates.get(word, 0.0)
            if at < 0:
                return word
        return None


def parse_chaos(text: str) -> dict[str, float]:
    """Read "WORD=SHARE,..." into shares by word; raises UsageError naming the part that is wrong and what there is."""
    rates = pairs(
        text,
        "chaos",
        OF_ATTEMPTS + OF_REPLIES,
        form="WORD=SHARE",
        example='write it as "429=0.05,drop=0.01,cut=0.03"',
        number=lambda share: 0 <= share <= 1,
        is_="a share between 0 and 1",
    )
    total = math.fsum(rates.values())
    # Shares in decimals may add up to a trifle more than 1.
    if total > 1 + 1e-9:
        raise UsageError(f"the shares of chaos add up to {total:g}, more than 1", remedy="lower some of them")
    return rates


class Attempts:
    """How often each body was asked before. Bounded: what was not asked for the longest time is forgotten first."""

    # More bodies than are ever under way together, in some ten megabytes.
    def __init__(self, capacity: int = 65_536) -> None:
        self._capacity = capacity
        self._counts: dict[bytes, int] = {}

    def count(self, digest: bytes) -> int:
        """Return which attempt this is, counted from 1."""
        # Taken out and put back last, so that the first is always what was not asked for the longest time.
        attempt = self._counts.pop(digest, 0) + 1
        if len(self._counts) >= self._capacity:
            del self._counts[next(iter(self._counts))]
        self._counts[digest] = attempt
        return attempt
