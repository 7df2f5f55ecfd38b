"""Reads JSON out of a reply by mending it: it exists so that the harm of mending can be measured; never a default.

A reply that is cut or malformed comes more often than others from a model that has lost its thread, so what strict
reading discards would be worse than the average vote (arXiv:2511.09030, section 4.4).
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from mdap.core.errors import RedFlag
from mdap.core.strictjson import read_json


def repair_json(text: str) -> Any:
    """Return what strict reading gives or, where that refuses, the value of the text once it was mended.

    Mending looks into the first fence, if there is one, cuts to the first brace or bracket and what closes it, drops
    commas that nothing follows, and closes strings, brackets and braces that were left open. Of a duplicate key the
    last value counts. Raises RedFlag (malformed) where no object or array comes of it.
    """
    with suppress(RedFlag):
        return read_json(text)
    try:
        # Written and read again: what has no exact form, such as NaN, is refused here as well.
        return read_json(json.dumps(json.loads(_mended(text))))
    except (ValueError, RecursionError) as error:
        raise RedFlag(f"not JSON, and not to be mended: {error}") from None


# A reply that was cut has no second fence.
_FENCE = re.compile(r"```[\w+-]*[ \t]*\r?\n?(.*?)(?:```|\Z)", re.DOTALL)
# A whole string, to be kept, or a comma that nothing follows.
_LOOSE_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,\s*(?=[}\]]|\Z)', re.DOTALL)
_CLOSER = {"{": "}", "[": "]"}


def _mended(text: str) -> str:
    fenced = _FENCE.search(text)
    body = fenced[1] if fenced else text
    # Whichever comes first: to begin at a brace would lose the array around it.
    start = min((at for at in map(body.find, "{[") if at >= 0), default=len(body))
    kept, closers = _closed(body[start:])
    return _LOOSE_COMMA.sub(lambda found: found[1] or "", kept) + "".join(reversed(closers))


def _closed(body: str) -> tuple[str, list[str]]:
    """Return `body` up to where its first bracket closes, an open string closed, and the closers still missing."""
    closers: list[str] = []
    in_string = escaped = False
    for at, sign in enumerate(body):
        if in_string:
            in_string = escaped or sign != '"'
            escaped = sign == "\\" and not escaped
        elif sign == '"':
            in_string = True
        elif sign in _CLOSER:
            closers.append(_CLOSER[sign])
        elif closers and sign == closers[-1]:
            closers.pop()
            if not closers:
                return body[: at + 1], []
    # A lone backslash would escape the quote that closes the string.
    return (body[:-1] if escaped else body) + '"' * in_string, closers
