"""The prompt cache that a server claims to have: which leading part of a prompt earlier prompts began with."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from mdap.core.records import Message

BLOCK = 64
"""Characters of a block; what is shorter at a prompt's end is never cached."""


class Prefixes:
    """The beginnings of earlier prompts, in blocks, by model. Bounded: the oldest are forgotten first.

    The rule: a prompt's text, its messages one after the other with their roles, is cut into blocks of 64 characters.
    Cached are its leading blocks up to the first that no earlier prompt for the model had with all that precedes it;
    the other whole blocks are written. Tokens are taken to be spread evenly over the text, and are rounded down.
    """

    # Blocks of some 16 million characters, in some forty megabytes.
    def __init__(self, capacity: int = 262_144) -> None:
        self._capacity = capacity
        self._known: dict[bytes, None] = {}

    def count(self, model: str, messages: Sequence[Message]) -> tuple[float, float]:
        """Return the shares of the prompt's text that are cached and that are written now, and remember the prompt."""
        text = "".join(f"{message.role}\0{message.content}\0" for message in messages)
        known, running = self._known, blake2b(model.encode(errors="replace"), digest_size=16)
        cached = blocks = len(text) // BLOCK
        for index in range(blocks):
            running.update(text[index * BLOCK : (index + 1) * BLOCK].encode(errors="replace"))
            # Of all blocks up to here, so that the same text behind another beginning is not known.
            digest = running.digest()
            if digest in known:
                continue
            # The first gap counts: once old blocks are forgotten, those behind one may still be known.
            cached = min(cached, index)
            if len(known) >= self._capacity:
                del known[next(iter(known))]
            known[digest] = None
        # There is always some text: each message brings its role.
        return cached * BLOCK / len(text), (blocks - cached) * BLOCK / len(text)
