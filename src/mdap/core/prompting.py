"""A prompt from its messages: the one place where its digest is worked out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from mdap.core.records import Message, Prompt


def prompt_of(messages: Sequence[Message]) -> Prompt:
    """Return messages with their digest."""
    # The zeros end role and content: words that move from one message to the next give another digest.
    text = "".join([f"{message.role}\0{message.content}\0" for message in messages])
    return Prompt(tuple(messages), blake2b(text.encode(), digest_size=16).hexdigest())
