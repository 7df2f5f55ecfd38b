"""How the results of subtasks make that of their task, by name and in code: exact, and never past a missing result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import TaskError
from mdap.core.foreign import Foreign
from mdap.core.plain import plain
from mdap.core.records import ABSENT
from mdap.core.spec import unknown
from mdap.planning.bounds import check_numbers

Combine: TypeAlias = Callable[[Sequence[Any]], Any]


class Part(msgspec.Struct, frozen=True):
    """The result of one subtask under its name; `value` is ABSENT where there is none yet."""

    name: str
    value: Any = ABSENT


def compose(how: str, parts: Sequence[Part], own: Mapping[str, Combine] = MappingProxyType({})) -> Any:
    """Return the result that `how` makes of those of the subtasks, in their order, as JSON values.

    By name: `identity` (of exactly one), `last`, `concatenate` (texts, a line each), `sequence` (an array), `merge`
    (objects, later keys win; what is none stands under its subtask's name), and the reductions `sum`, `product`, `min`,
    `max` (exact integers and decimals, numbers as text too), `and`, `or` (truth values, yes and no, numbers),
    `concat` (texts without anything between). `own` holds functions of one's own, which are given the values.

    Raises UsageError for another name, and TaskError for a missing result and one that does not fit.
    """
    if not is_known(how, own):
        raise unknown("composition", how, {*COMPOSITIONS, *own})
    # All first: a sum of what is there would pass for the sum.
    missing = [part.name for part in parts if part.value is ABSENT]
    if missing or not parts:
        of = f"of subtask {missing[0]}" if missing else "at all"
        raise TaskError(f"{how} has no result {of}", remedy="solve every subtask first")
    # One's own come first, and by their exact name: they may replace one that ships.
    name = how.strip().lower()
    if how in own:
        return _own(how, own[how], [part.value for part in parts])
    return COMPOSITIONS[ALIASES.get(name, name)](parts)


def is_known(how: str, own: Mapping[str, Combine] = MappingProxyType({})) -> bool:
    """Say whether `how` is the name of a composition, in any case, or the exact name of one of one's own."""
    name = how.strip().lower()
    return how in own or name in COMPOSITIONS or name in ALIASES


def exact_number(value: Any, where: str) -> int | Decimal:
    """Return a number exactly, from a number or its text; raises TaskError for what is none, truth values included."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str | float | Decimal):
        # The repr of float itself: that of a subclass, such as numpy's, is no number.
        text = float.__repr__(value) if isinstance(value, float) else str(value).strip()
        try:
            return int(text) if _is_whole(text) else _finite(text)
        except (ValueError, InvalidOperation):
            pass
    raise TaskError(f"{where}: {_shown(value)} is no number", remedy="let the subtask answer with a number alone")


def _is_whole(text: str) -> bool:
    digits = text[1:] if text[:1] in "+-" else text
    return digits.isascii() and digits.isdigit()


def _finite(text: str) -> Decimal:
    # Python reads 1_000 as a thousand; as a reply it is as unclear as 1,000.
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    # Decimal before any arithmetic: through a float, 0.1 and 0.2 would no longer make 0.3.
    number = Decimal(text)
    # An exponent of nine digits is nine letters in a reply, and a gigabyte as a number written out.
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError(number)
    return number


# Below the 4,300 digits that Python converts between integers and text.
_MOST_DIGITS = 4000


def _identity(parts: Sequence[Part]) -> Any:
    if len(parts) != 1:
        raise TaskError(
            f"identity has {len(parts)} results, and there is no saying which", remedy="compose by last, or sequence"
        )
    return parts[0].value


def _last(parts: Sequence[Part]) -> Any:
    return parts[-1].value


def _concatenate(parts: Sequence[Part]) -> str:
    lines = [line for part in parts for line in _lines(part.value)]
    last = len(lines) - 1
    # A text that ends its own line is not given another end.
    return "".join(
        line if not line or place == last or line.endswith("\n") else f"{line}\n" for place, line in enumerate(lines)
    )


def _lines(value: Any) -> list[str]:
    return [text for item in value for text in _lines(item)] if isinstance(value, list) else [_text(value)]


def _sequence(parts: Sequence[Part]) -> list[Any]:
    return [part.value for part in parts]


def _merge(parts: Sequence[Part]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        # By its name, so that a result which is no object is kept, not dropped.
        merged |= part.value if isinstance(part.value, dict) else {part.name: part.value}
    return merged


def _concat(parts: Sequence[Part]) -> str:
    return "".join(_text(part.value) for part in parts)


def _numbers(how: str, parts: Sequence[Part]) -> list[int | Decimal]:
    return [exact_number(part.value, f"{how}, subtask {part.name}") for part in parts]


def _reduced(how: str, parts: Sequence[Part]) -> int | str:
    numbers = _numbers(how, parts)
    if how in ("min", "max"):
        return _number_out((min if how == "min" else max)(numbers))
    with localcontext() as context:
        # Digits enough for every sum and product of these to be exact.
        context.prec = max(28, sum(_digits(number) for number in numbers) + len(numbers))
        total = numbers[0]
        for number in numbers[1:]:
            total = total + number if how == "sum" else total * number
    try:
        check_numbers(made := _number_out(total))
    except ValueError:
        raise TaskError(f"{how} comes to an integer of too many digits", remedy="compose them by sequence") from None
    return made


def _digits(number: int | Decimal) -> int:
    made = Decimal(number)
    _, digits, exponent = made.as_tuple()
    return len(digits) + abs(int(exponent))


def _number_out(number: int | Decimal) -> int | str:
    """JSON has no decimals: a float would round them, their text does not."""
    return number if isinstance(number, int) else f"{number:f}"


def _truths(how: str, parts: Sequence[Part]) -> bool:
    # Each is read, though one may settle it: a result that is no truth value is an error in any place.
    found = [_truth(part.value, f"{how}, subtask {part.name}") for part in parts]
    return all(found) if how == "and" else any(found)


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    # Other words are no numbers, and so an error: "maybe" is neither.
    return exact_number(value, where) != 0


_WORDS = {"true": True, "yes": True, "false": False, "no": False}


def _own(name: str, combine: Combine, values: Sequence[Any]) -> Any:
    with Foreign(f"composition {name!r}"):
        # Copies: what it does to them must not reach the results of the subtasks, which are decided.
        made = combine([plain(value) for value in values])
        check_numbers(made)
        return plain(made)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _shown(value: Any) -> str:
    text = _text(value)
    return repr(text if len(text) <= 60 else text[:60] + "...")


COMPOSITIONS: Mapping[str, Callable[[Sequence[Part]], Any]] = MappingProxyType(
    {
        "identity": _identity,
        "last": _last,
        "concatenate": _concatenate,
        "sequence": _sequence,
        "merge": _merge,
        **{how: partial(_reduced, how) for how in ("sum", "product", "min", "max")},
        **{how: partial(_truths, how) for how in ("and", "or")},
        "concat": _concat,
    }
)
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "add": "sum",
        "multiply": "product",
        "all": "and",
        "any": "or",
        "join": "concat",
        "object": "merge",
        "object_merge": "merge",
        "last_only": "last",
    }
)

__all__ = ["ALIASES", "COMPOSITIONS", "Combine", "Part", "compose", "exact_number", "is_known"]
