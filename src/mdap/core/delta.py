"""Differences between two states, so that a journal grows with what changed and not with the size of the state."""

from __future__ import annotations

from typing import Any

from mdap.core.errors import JournalError

# A delta is one of: ["=", value] replaces; ["d", {key: delta}, [removed keys]] changes an object;
# ["l", head, tail, [items]] keeps `head` items at the start and `tail` at the end of a list, with `items` between;
# ["i", {index: delta}] changes items of a list of unchanged length.
Delta = list[Any]


def diff(old: Any, new: Any) -> Delta:
    """Return a delta that `patch` turns `old` into `new` with. Both are JSON values."""
    if isinstance(old, dict) and isinstance(new, dict):
        changed = {
            k: diff(old[k], v) if k in old else ["=", v] for k, v in new.items() if not _same(old.get(k, _NONE), v)
        }
        delta: Delta = ["d", changed, [k for k in old if k not in new]]
        if list(patch(old, delta)) != list(new):
            return ["=", new]
        return delta
    if isinstance(old, list) and isinstance(new, list):
        return _diff_lists(old, new)
    return ["=", new]


def patch(old: Any, delta: Delta) -> Any:
    """Return the state that `delta` makes of `old`; raises JournalError for what is no delta. `old` stays as it is."""
    match delta:
        case ["=", value]:
            return value
        case ["d", dict(changed), list(removed)] if isinstance(old, dict):
            new = {k: v for k, v in old.items() if k not in removed}
            new.update({k: patch(old.get(k), d) for k, d in changed.items()})
            return new
        case ["l", int(head), int(tail), list(items)] if isinstance(old, list):
            return [*old[:head], *items, *old[len(old) - tail :]]
        case ["i", dict(changed)] if isinstance(old, list):
            new_list = list(old)
            for index, inner in changed.items():
                new_list[int(index)] = patch(old[int(index)], inner)
            return new_list
    raise JournalError(f"not a delta of this state: {delta!r}", remedy="the file was written by something else")


_NONE = object()


def _same(a: Any, b: Any) -> bool:
    """Equal, and equal in type all the way down: 1, 1.0 and True differ."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _diff_lists(old: list[Any], new: list[Any]) -> Delta:
    shorter = min(len(old), len(new))
    if len(old) == len(new) and any(isinstance(x, dict | list) for x in new):
        pairs = zip(old, new, strict=True)
        return ["i", {str(i): diff(a, b) for i, (a, b) in enumerate(pairs) if not _same(a, b)}]
    head = next((i for i in range(shorter) if not _same(old[i], new[i])), shorter)
    tail = next((i for i in range(shorter - head) if not _same(old[-1 - i], new[-1 - i])), shorter - head)
    return ["l", head, tail, new[head : len(new) - tail]]
