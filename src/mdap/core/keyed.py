"""Randomness by key: the same key gives the same numbers in any process, order and version. No shared stream."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

# Size and byte order are named: a machine's own differ, and a run is to be the same on all of them.
_KEY = Struct("<qqq")
# The longest digest of BLAKE2b has 64 bytes: 8 words are the most that one key can give.
_WORDS = [Struct(f"<{count}Q") for count in range(9)]
_SPREAD = 0x9E3779B1  # odd, close to 2**32 divided by the golden ratio
_SEED_MASK = 0x7FFFFFFF  # 31 bits: every server that takes a seed takes these


def draw_seed(seed: int, item: int, step: int, slot: int, redraw: int) -> int:
    """Return the seed of one draw, 0 to 2**31 - 1, from the run's seed and the draw's coordinates.

    No two draws of one step share a seed: a server that answers by seed cannot answer two votes with one reply.
    """
    # Slot and redraw stay out of the digest: of hashes of 31 bits two draws of one step would now and then meet.
    # Cantor's pairing numbers the draws of a step; an odd factor spreads them over all seeds without two meeting.
    number = (slot + redraw) * (slot + redraw + 1) // 2 + redraw
    return (_step_seed(seed, item, step) + number * _SPREAD) & _SEED_MASK


# As many steps as are open at once: all draws of one share this number.
@lru_cache(maxsize=256)
def _step_seed(seed: int, item: int, step: int) -> int:
    return int.from_bytes(blake2b(_KEY.pack(seed, item, step), digest_size=8).digest(), "little")


def uniforms(key: bytes, count: int = 8) -> tuple[float, ...]:
    """Return `count` numbers in [0, 1), at most 8, that depend on `key` alone (53 bits each)."""
    words = _WORDS[count].unpack(blake2b(key, digest_size=8 * count).digest())
    # 53 bits are what a float holds exactly: with all 64 the largest words would round up to 1.0.
    return tuple([(word >> 11) * 2.0**-53 for word in words])
