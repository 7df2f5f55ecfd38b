"""Ready-made vote keys: what two equal votes share. Each is a pure function of one value, so equality is transitive.

No key runs code, asks a model or compares two values; what a key cannot read is a red flag.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from hashlib import blake2b
from math import floor
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from mdap.core.canonical import Schema, canonical, fold, narrow
from mdap.core.errors import RedFlag, UsageError
from mdap.core.spec import unknown

Key: TypeAlias = Callable[[Any], Any]


class NamedKey(msgspec.Struct, frozen=True):
    """A key and the text that names it, such as number:0.01; it is called with a value."""

    spec: str
    of: Key

    def __call__(self, value: Any) -> Any:
        """Return what `value` shares with the values that count as the same."""
        return self.of(value)


class Judged(msgspec.Struct, frozen=True):
    """Stands where a key does, for candidates that a model puts into groups: outside of every guarantee."""

    model: Any


def judged(model: Any) -> Judged:
    """Return, in place of a key, that `model` groups the candidates: opt-in, and no proof.

    `model` is a spec, a model or a callable. It is asked about all candidates in one call, which gives a partition, so
    that equality stays transitive; but what it calls equal may differ from call to call, and may be wrong.
    """
    return Judged(model)


def key_named(spec: str) -> NamedKey:
    """Return the key that `spec` names: folded, python, or number:PRECISION such as number:0.01.

    Raises UsageError for another name, and for a precision that is no number above 0.
    """
    name, _, option = spec.partition(":")
    if spec == "folded":
        return NamedKey(spec, folded)
    if spec == "python":
        return NamedKey(spec, syntax_tree)
    if name == "number":
        return NamedKey(spec, rounded(option or "1"))
    raise unknown("key", spec, ("folded", "number:0.01", "python", "judged:MODEL"))


def resolved(key: str | Key | Judged | None) -> tuple[Key | Judged | None, str]:
    """Return the key that is meant, and the text that a run's fingerprint names it by; raises UsageError for none.

    `judged:MODEL` stands for `judged("MODEL")`, whose name is the model's own business.
    """
    match key:
        case None:
            return None, ""
        # Before other names: what follows is the spec of a model, with colons and options of its own.
        case str() if key.startswith("judged:"):
            return Judged(key.removeprefix("judged:")), ""
        case str():
            return key_named(key), key
        case NamedKey():
            return key, key.spec
        case Judged():
            return key, ""
    if not callable(key):
        raise UsageError(f"{key!r} is no vote key", remedy="give folded, number:0.01, python, or a function of a value")
    # By where it stands: the journal holds no function, but a resume with another one is noticed.
    return key, f"own:{getattr(key, '__module__', '')}:{getattr(key, '__qualname__', type(key).__qualname__)}"


def folded(value: Any) -> Any:
    """Return `value` with the strings in it folded: case, white space and Unicode composition (NFC) do not count."""
    return fold(builtins(value))


def rounded(precision: str | int | Decimal) -> Key:
    """Return the key by which numbers are equal that are nearest to the same multiple of `precision`.

    A bucket reaches half a precision to either side of its multiple; halfway between two, the one farther from zero is
    taken (2.5 at precision 1 belongs to 3, -2.5 to -3). Equal keys mean a difference of at most the
    precision. The converse does not hold: two numbers on either side of an edge differ however close they are, and no
    rule could mend that without calling a chain of neighbours equal. The arithmetic is decimal and exact.

    A text is read as one number, blanks around it aside; anything else is a red flag. In records, objects and arrays
    all numbers are rounded and texts stay as they are. Raises UsageError for a precision that is no number above 0.
    """
    unit = _precision(precision)

    def _key(value: Any) -> Any:
        plain = builtins(value)
        return _bucket(_number(plain), unit) if isinstance(plain, str) else _mapped(plain, unit)

    return _key


def syntax_tree(code: Any) -> str:
    """Return a digest (32 hex digits of BLAKE2b) of the syntax tree of Python code, without its positions.

    Layout, comments, quotes and parentheses that change nothing do not count; names, order and docstrings do. The
    code is parsed in the grammar of this interpreter and never run. Raises RedFlag for what does not parse.
    """
    if not isinstance(code, str):
        raise RedFlag(f"{type(code).__name__} is no Python code")
    try:
        with warnings.catch_warnings():
            # An invalid escape is the code's own business, not something to tell whoever votes on it.
            warnings.simplefilter("ignore")
            tree = ast.dump(ast.parse(code))
    except SyntaxError as error:
        raise RedFlag(f"no Python: {error.msg} on line {error.lineno}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, numbers past all limits, deep nesting
        raise RedFlag(f"no Python that can be read: {error}") from None
    return blake2b(tree.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def by_schema(schema: Schema) -> Key:
    """Return the key by which JSON values are equal that say the same under a JSON Schema.

    Where it says number, 1 and 1.0 are equal; where it says uniqueItems, an array is a set; where its format is
    date-time, instants are compared, whatever their time zone; a uuid is of no case. All else is exact.
    """

    def _key(value: Any) -> str:
        try:
            form = canonical(_dated(builtins(value), schema, schema), schema)
        except UsageError as error:
            raise RedFlag(error.message) from error
        # A text again, since keys are JSON values; half of a surrogate pair comes back in this way alone.
        return form.decode("utf-8", "surrogatepass")

    return _key


def builtins(value: Any) -> Any:
    """Return a record, typed or not, as dicts, lists, sets and plain values; Decimals, dates and the like stay."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump()
    if isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__"):
        # Left to itself msgspec makes texts of these three, and a key could no longer tell a number or an instant.
        return msgspec.to_builtins(value, builtin_types=(Decimal, datetime, UUID), order="deterministic")
    return value


# Six digits of exponent: Decimal takes many more, and an exact fraction of such a number would fill the memory.
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,6})?", re.ASCII)
# Orders of magnitude between a number and its precision: past these an exponent alone would fill the memory.
_WIDEST = 4000


def _precision(given: str | int | Decimal) -> Decimal:
    try:
        unit = Decimal(str(given))
    except InvalidOperation:
        unit = Decimal(0)
    if not (unit.is_finite() and unit > 0):
        raise UsageError(f"precision {str(given)!r} is not a number above 0", remedy="write number:0.01")
    return unit


def _number(text: str) -> Decimal:
    if not _DECIMAL.fullmatch(text.strip()):
        raise RedFlag(f"{text[:60]!r} is no number")
    return Decimal(text.strip())


def _bucket(number: int | float | Decimal, unit: Decimal) -> int:
    """Return which multiple of `unit` is nearest, halves away from zero."""
    # By its repr: 0.1 is meant as a tenth, and what the float holds may lie on the other side of an edge.
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    if not exact.is_finite():
        raise RedFlag(f"{number} is no number that can be rounded")
    orders = exact.adjusted() - unit.adjusted()
    if orders > _WIDEST:
        raise RedFlag(f"a number is {orders} orders of magnitude above its precision")
    # Less than a tenth of the precision by magnitude alone, and so below a half of it.
    if not exact or orders < -1:
        return 0
    # By fractions: a quotient of Decimals is rounded to 28 digits.
    multiple = floor(abs(Fraction(exact)) / Fraction(unit) + Fraction(1, 2))
    return multiple if exact > 0 else -multiple


def _mapped(value: Any, unit: Decimal) -> Any:
    match value:
        # Before the numbers: to Python a bool is an int, and it is not to be rounded.
        case bool():
            return value
        case int() | float() | Decimal():
            return _bucket(value, unit)
        case Mapping():
            return {name: _mapped(item, unit) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return type(value)(_mapped(item, unit) for item in value)
    return value


def _dated(value: Any, schema: Any, root: Schema) -> Any:
    """Return `value` with instants and uuids in one way of writing, where `schema` says that they are some."""
    said = narrow(schema, value, root)
    if isinstance(value, str):
        return _one_way(value, said.get("format"))
    if isinstance(value, Mapping):
        properties, others = said.get("properties", {}), said.get("additionalProperties", {})
        return {name: _dated(item, properties.get(name, others), root) for name, item in value.items()}
    if isinstance(value, list | tuple):
        first, rest = said.get("prefixItems", ()), said.get("items", {})
        if isinstance(rest, list):  # what drafts before 2020-12 call prefixItems
            first, rest = rest, {}
        return [_dated(v, first[i] if i < len(first) else rest, root) for i, v in enumerate(value)]
    return value


def _one_way(text: str, kind: Any) -> str:
    with suppress(ValueError, OverflowError):  # an instant before the year 1 or after 9999
        if kind == "uuid":
            return str(UUID(text))
        # More than microseconds, or no time zone: no exact instant, so the text stays as it is.
        if kind == "date-time" and not re.search(r"\.\d{7}", text):
            # RFC 3339 allows a small t and z; `fromisoformat` refuses that z.
            instant = datetime.fromisoformat(text.upper())
            return text if instant.tzinfo is None else instant.astimezone(UTC).isoformat()
    return text
