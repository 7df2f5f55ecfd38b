"""Brings JSON objects that branches of a plan have changed apart from one another together, where code can. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdap.core.canonical import canonical
from mdap.core.records import ABSENT


def merged(base: Any, parts: Sequence[Any]) -> Any:
    """Return one object with what each of `parts` changed in `base`; ABSENT where two of them changed the same thing.

    Objects are merged key by key, at any depth; a key that a part has left out is left out. Anything but an object is
    one thing. Keys keep the order of the base, then that of the parts.
    """
    result = base
    for part in parts:
        # One after the other, each against the same base: three branches need no rule of their own.
        result = _both(base, result, part)
        if result is ABSENT:
            return ABSENT
    return result


def _both(base: Any, left: Any, right: Any) -> Any:
    if _equal(left, right) or _equal(right, base):
        return left
    if _equal(left, base):
        return right
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return ABSENT
    # Both have made an object of what was none: they are joined by their keys.
    before = base if isinstance(base, dict) else {}
    found = {}
    for key in dict.fromkeys([*before, *left, *right]):
        value = _both(before.get(key, _GONE), left.get(key, _GONE), right.get(key, _GONE))
        if value is ABSENT:
            return ABSENT
        if value is not _GONE:
            found[key] = value
    return found


_GONE = object()


def _equal(one: Any, other: Any) -> bool:
    if one is _GONE or other is _GONE:
        return one is other
    # 1 and True are equal in Python, and are not the same state.
    return canonical(one) == canonical(other)
