"""Reads JSON out of a reply as it stands. What is malformed is a red flag; nothing here repairs or searches."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from mdap.core.errors import RedFlag

# The white space of JSON (RFC 8259); that of `str.strip` includes no-break spaces and more.
_WHITE = " \t\r\n"
# The info string ends with its line; without it the value may share the line with the fences.
_FENCE = re.compile(r"```(?:[\w+-]*[ \t]*\r?\n)?(.*)```", re.DOTALL)


def read_json(text: str, *, decimals: bool = False) -> Any:
    """Return the value that a reply consists of: bare JSON, or exactly one fence of three back-ticks around it.

    Integers are exact. Other numbers are floats, or with `decimals` Decimals with every digit that was written.
    Raises RedFlag (malformed) for anything before or after the value, a second fence, a duplicate object key, NaN,
    infinities and numbers past the range of a float, a lone surrogate, nesting too deep to read.
    """
    body = unfenced(text).strip(_WHITE)
    try:
        value = (_DECIMALS if decimals else _FLOATS).decode(body)
        # Half a surrogate pair can only come of an escape: text that was read as UTF-8 holds none.
        if "\\u" in body:
            json.dumps(value, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError as error:
        raise RedFlag(f"not JSON: {error.msg} at character {error.pos} of {_shown(body)}") from None
    except UnicodeEncodeError:
        raise RedFlag("a string holds half a surrogate pair") from None
    except RecursionError:
        raise RedFlag("the JSON is nested too deeply") from None
    except ValueError as error:  # an integer of more digits than the interpreter converts
        raise RedFlag(f"not a readable number: {error}") from None
    return value


def unfenced(text: str) -> str:
    """Return `text` without outer white space, or what stands in the one fence of three back-ticks that it consists of.

    A fence is taken off whole or not at all: anything before or after it leaves the text as it is.
    """
    bare = text.strip(_WHITE)
    fenced = _FENCE.fullmatch(bare)
    return bare if fenced is None else fenced[1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    # A dict keeps the last of equal keys, so it is shorter than what was written.
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise RedFlag(f"object key {twice!r} stands twice")
    return found


def _constant(name: str) -> NoReturn:
    raise RedFlag(f"{name} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise RedFlag(f"{_shown(text)} is past the range of a float")
    return number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise RedFlag(f"{_shown(text)} is past the range of a decimal") from None


def _decoder(number: Callable[[str], Any]) -> json.JSONDecoder:
    # By itself `json` takes NaN and Infinity, reads 1e999 as infinite, and lets the last of equal keys win.
    return json.JSONDecoder(object_pairs_hook=_object, parse_float=number, parse_constant=_constant)


_FLOATS, _DECIMALS = _decoder(_float), _decoder(_decimal)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
