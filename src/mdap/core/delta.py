"""Differences between two states, so that a journal grows with what changed and not with the size of the state."""

from __future__ import annotations

from typing import Any

from mdap.core.errors import JournalError

# A delta is one of: ["=", value] replaces; ["d", {key: delta}, [removed keys]] changes an object;
# ["l", head, tail, [items]] keeps `head` items at the start and `tail` at the end of a list, with `items` between;
# ["i", {index: delta}] changes items of a list of unchanged length.
Delta = list[Any]


def diff(old: Any, new: Any) -> Delta:
    """Return a delta that `patch` turns `old` into `new` with, types, signs and order of keys included.

    Both are JSON values; anything else in them is replaced whole.
    """
    if type(old) is dict and type(new) is dict:
        kept = [k for k in old if k in new]
        if kept != list(new)[: len(kept)]:  # patching keeps old keys in place and adds new ones at the end
            return ["=", new]
        changed = {k: diff(old[k], v) if k in old else ["=", v] for k, v in new.items() if not _same(old, new, k)}
        return ["d", changed, [k for k in old if k not in new]]
    if type(old) is list and type(new) is list:
        return _diff_lists(old, new)
    return ["=", new]


def patch(old: Any, delta: Delta) -> Any:
    """Return the state that `delta` makes of `old`; raises JournalError for what is no delta. `old` stays as it is.

    Parts that did not change are shared with `old`.
    """
    match delta:
        case ["=", value]:
            return value
        case ["d", dict(changed), list(removed)] if isinstance(old, dict):
            gone = {k for k in removed if isinstance(k, str)}
            new = {k: v for k, v in old.items() if k not in gone}
            # A key that is new has a delta that replaces, and does not look at what was there.
            return new | {k: patch(old.get(k), inner) for k, inner in changed.items()}
        case ["l", int(head), int(tail), list(items)] if isinstance(old, list) and _fits(head, tail, len(old)):
            return [*old[:head], *items, *old[len(old) - tail :]]
        case ["i", dict(changed)] if isinstance(old, list) and all(_is_index(i, len(old)) for i in changed):
            new_list = list(old)
            for index, inner in changed.items():
                new_list[int(index)] = patch(old[int(index)], inner)
            return new_list
    raise JournalError(f"not a delta of this state: {delta!r}", remedy="the file was written by something else")


def _same(old: dict[str, Any], new: dict[str, Any], key: str) -> bool:
    return key in old and _equal(old[key], new[key])


def _equal(a: Any, b: Any) -> bool:
    """Equal, and equal in type all the way down: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return list(a) == list(b) and all(_equal(a[k], b[k]) for k in a)
    if type(a) is list:
        return len(a) == len(b) and all(map(_equal, a, b))
    # repr tells 0.0 from -0.0, and finds NaN equal to itself, which == does not.
    if type(a) is float:
        return repr(a) == repr(b)
    # A record's own == may take 1 for 1.0: called different, it is merely stored once more.
    return type(a) in (int, str, bool) and a == b


def _diff_lists(old: list[Any], new: list[Any]) -> Delta:
    shorter = min(len(old), len(new))
    if len(old) == len(new) and any(isinstance(x, dict | list) for x in new):
        # Item by item where items have parts: of a list of lists, such as pegs, mostly a few change within.
        pairs = zip(old, new, strict=True)
        # Indices as text, since the keys of an object in JSON are.
        return ["i", {str(i): diff(a, b) for i, (a, b) in enumerate(pairs) if not _equal(a, b)}]
    head = next((i for i in range(shorter) if not _equal(old[i], new[i])), shorter)
    # Only in what `head` left over: an item that matches from both ends must not be kept twice.
    tail = next((i for i in range(shorter - head) if not _equal(old[-1 - i], new[-1 - i])), shorter - head)
    # By the ends: what grows at one of them, as a log or a stack does, costs what was added.
    return ["l", head, tail, new[head : len(new) - tail]]


# A slice takes any numbers, so a damaged delta would give a wrong state without a word.
def _fits(head: int, tail: int, size: int) -> bool:
    return head >= 0 and tail >= 0 and head + tail <= size


def _is_index(text: Any, size: int) -> bool:
    # `isdigit` alone is true of ², which int refuses.
    return isinstance(text, str) and text.isascii() and text.isdigit() and int(text) < size
