"""A prompt from its messages: the one place where its digest is worked out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from mdap.core.records import Message, Prompt


def prompt_of(messages: Sequence[Message]) -> Prompt:
    """Return messages with their digest."""
    # Rules and format stand first and are the same in every step of a task, and are most of what there is to digest.
    if len(messages) > 1 and messages[0].role == "system":
        digest, rest = _digested(messages[0]).copy(), messages[1:]
    else:
        digest, rest = blake2b(digest_size=_SIZE), messages
    digest.update("".join([_text(message) for message in rest]).encode())
    return Prompt(tuple(messages), digest.hexdigest())


_SIZE = 16


def _text(message: Message) -> str:
    # The zeros end role and content: words that move from one message to the next give another digest.
    return f"{message.role}\0{message.content}\0"


# As many as tasks run at once, about; of any other, its digest is worked out again.
@lru_cache(maxsize=32)
def _digested(message: Message) -> blake2b:
    return blake2b(_text(message).encode(), digest_size=_SIZE)
