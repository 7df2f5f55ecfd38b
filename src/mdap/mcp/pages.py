"""Answers in pages: none is longer than a client reads. What is in them is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mdap.core.errors import UsageError

# Clients cut a reply at 25,000 tokens. No tokenizer makes more tokens than there are bytes, so this many are never cut.
MOST_BYTES = 24_000
# What stands around a page: names, figures, the way to the next one.
_FRAME = 4_000


def text_of(value: Any) -> str:
    """Return a value as compact JSON, which is what every tool answers with."""
    return msgspec.json.encode(value).decode()


def size_of(value: Any) -> int:
    """Return how many bytes a value takes in an answer."""
    return len(msgspec.json.encode(value))


def listed(
    items: Iterable[Any], offset: int, limit: int, *, shrink: Callable[[Any], Any] | None = None
) -> dict[str, Any]:
    """Return up to `limit` of `items`, which begin at `offset`, as many as fit, and `next_offset` where there are more.

    `shrink` makes an item that would not fit into a page alone into one that does.
    """
    shown: list[Any] = []
    left = MOST_BYTES - _FRAME
    for item in items:
        size = size_of(item)
        if size > MOST_BYTES - _FRAME and shrink is not None:
            item = shrink(item)
            size = size_of(item)
        if len(shown) == limit or (shown and size > left):
            return {"items": shown, "offset": offset, "next_offset": offset + len(shown)}
        shown.append(item)
        left -= size + 1
    return {"items": shown, "offset": offset}


def part_of(text: str, offset: int, most: int = MOST_BYTES - _FRAME) -> dict[str, Any]:
    """Return a part of a text from character `offset` on, at most `most` bytes as JSON, and where the next one begins.

    Raises UsageError for an offset past its end.
    """
    if not 0 <= offset <= len(text):
        raise UsageError(f"offset: {offset} is past the end", remedy=f"the text has {len(text):,} characters")
    end = min(len(text), offset + most)
    while size_of(text[offset:end]) > most:
        # Escapes and wide characters take several bytes; halving ends after a few looks.
        end = offset + max(1, (end - offset) * 2 // 3)
    made: dict[str, Any] = {"text": text[offset:end], "offset": offset, "characters": len(text)}
    return made if end == len(text) else made | {"next_offset": end}


def shortened(text: str, most: int = 1_000) -> str:
    """Return a text cut to `most` characters, with a mark that says so."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
