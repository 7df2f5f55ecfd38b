"""The small languages of the server's options: "WORD=NUMBER,..." and "WORD,...". Nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from mdap.core.errors import UsageError
from mdap.core.spec import unknown


def pairs(
    text: str, what: str, known: Collection[str], *, form: str, example: str, number: Callable[[float], bool], is_: str
) -> dict[str, float]:
    """Read "WORD=NUMBER,..." into numbers by word; raises UsageError naming the part that is wrong and what there is.

    `form`, `example` and `is_` are words for the messages; `number` says which numbers will do.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        word, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign:
            raise UsageError(f"{what} {part.strip()!r} is not {form}", remedy=example)
        if word not in known:
            raise unknown(f"{what} word", word, known)
        if word in found:
            raise UsageError(f"{what} word {word!r} stands twice", remedy="give it once")
        try:
            found[word] = float(value)
        except ValueError:
            # No number at all fails every comparison, and so what `number` asks.
            found[word] = math.nan
        if not number(found[word]):
            raise UsageError(f"{what} {word}={value!r} is not {is_}", remedy=example)
    return found


def words(text: str, what: str, known: Collection[str]) -> frozenset[str]:
    """Read "WORD,..."; raises UsageError naming the word that is unknown and what there is."""
    found = [part.strip() for part in text.split(",")]
    for word in found:
        if word not in known:
            raise unknown(what, word, known)
    # A word that stands twice says the same twice; two numbers for one word would not, and `pairs` refuses them.
    return frozenset(found)
