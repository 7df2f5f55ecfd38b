"""What a JSON value may be, wherever planning reads or is given one: how deeply nested, and of which numbers. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from mdap.core.errors import RedFlag

# What compares, encodes and shows a value takes some frames a level, of the interpreter's thousand: what can be read
# could still end the run later, and blame the task for it.
MOST_DEPTH = 100


def shallow(value: Any) -> Any:
    """Return a JSON value as it is; raises RedFlag where it is nested more than 100 deep."""
    level, depth = [value], 0
    # By levels, not by calls: a value that is too deep for the interpreter is what this is for.
    while level := [inner for one in level if isinstance(one, list | dict) for inner in _inside(one)]:
        depth += 1
        if depth > MOST_DEPTH:
            raise RedFlag(f"the JSON is nested more than {MOST_DEPTH} deep")
    return value


def check_numbers(value: Any) -> None:
    """Raise ValueError for NaN, an infinity or an integer of too many digits, anywhere in what JSON can hold.

    The last is one that the interpreter writes down for nobody, as it reads none of a reply: above 4,300 digits.
    """
    # Not left to a journal: it would make null of NaN, without a word.
    json.dumps(msgspec.to_builtins(value), allow_nan=False)


def _inside(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
