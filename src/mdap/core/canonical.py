"""When two votes are the same candidate: a value's canonical form, equal exactly when the values are the same.

Never a judgement of meaning, and never a guess: what has no exact form is refused.
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from mdap.core.errors import UsageError

Schema: TypeAlias = Mapping[str, Any]


def canonical(value: Any, schema: Schema | None = None) -> bytes:
    """Return the bytes that `value` shares with every equal value and with no other.

    Integers are exact at any size; floats stand for the shortest decimal that reads back to them, and Decimals of that
    value are equal to them; 0.0 and -0.0 are equal. An integer never equals a float (1 and 1.0), unless `schema` says
    number or integer there; a bool never equals a number. Object keys are sorted, arrays ordered, tuples are arrays,
    sets are unordered, strings verbatim. Dataclasses, msgspec Structs, objects with `model_dump`, Enums, dates, times
    and UUIDs stand for the JSON that they encode to. For JSON values the form is itself JSON.

    `schema` is a JSON Schema, of which `type`, `properties`, `additionalProperties`, `items`, `prefixItems`,
    `uniqueItems` (then an array is a set), `anyOf` and `oneOf` (the first branch whose type fits) and local `$ref` are
    read. Raises UsageError for NaN, infinities, bytes, object keys that are no strings, and whatever is no JSON.
    """
    try:
        if schema is None and _is_plain(value):
            # Lone surrogates, and integers past the interpreter's digit limit, have only the long way.
            with suppress(UnicodeEncodeError, ValueError):
                return _encode(value)
        return _form(value, schema or {}, schema or {})
    except RecursionError:
        raise UsageError("a value is nested too deeply, or holds itself", remedy="vote on something flatter") from None


def fold(value: Any, *, case: bool = True, space: bool = True, unicode: str = "NFC") -> Any:
    """Return `value` with every string in it folded, for a task's `key` where wording may differ.

    `case` folds case, `space` makes each run of white space one blank and strips the ends, `unicode` is a normal form
    (NFC, NFKC, ...; empty: none). Object keys, numbers and the rest stay as they are.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        text = unicodedata.normalize(unicode, value) if unicode else value  # type: ignore[arg-type]
        text = text.casefold() if case else text
        return " ".join(text.split()) if space else text
    if isinstance(value, Mapping):
        return {k: fold(v, case=case, space=space, unicode=unicode) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        folded = (fold(v, case=case, space=space, unicode=unicode) for v in value)
        return list(folded) if isinstance(value, list | tuple) else set(folded)
    return value


_encode = msgspec.json.Encoder(order="deterministic").encode
# No floats: written as they are, 0.0 and -0.0 would be two, and no Decimal would equal them.
_SCALARS = frozenset({int, str, bool, type(None)})


def _is_plain(value: Any) -> bool:
    """Whether msgspec's own encoding is already canonical: no floats, sets or records anywhere, and string keys."""
    kind = type(value)
    if kind is list or kind is tuple:
        # One set of types a list, not one call an item: most keys are short lists of integers.
        return set(map(type, value)) <= _SCALARS or all(map(_is_plain, value))
    if kind is dict:
        return set(map(type, value)) <= {str} and _is_plain(list(value.values()))
    return kind in _SCALARS


def _form(value: Any, schema: Schema, root: Schema) -> bytes:
    value = _json(value)
    schema = narrow(schema, value, root)
    match value:
        # Before the numbers: to Python a bool is an int.
        case None | bool():
            return _encode(value)
        case str():
            return _string(value)
        case int() | float() | Decimal():
            return _number(value, exact=not {"number", "integer"} & set(_types(schema)))
        case dict():
            return _object(value, schema, root)
        case _:
            return _array(value, schema, root)


def _string(value: str) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8 form; its escape would equal that of a proper pair, its raw code does not.
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _number(value: int | float | Decimal, *, exact: bool) -> bytes:
    """`exact`: integers apart from the rest, as plain digits. Otherwise digits without end zeros, e, power of ten."""
    if exact and isinstance(value, int):
        # Through Decimal, since str refuses integers of more than 4,300 digits.
        return str(Decimal(value)).encode()
    # float.__repr__: a float of numpy has a repr of its own, which is no number.
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise UsageError(f"{value!r} is no number that can be voted on", remedy="let `parse` flag NaN and infinities")
    text = "".join(map(str, digits)).rstrip("0")
    if not text:
        return b"0e0"
    return f"{'-' * sign}{text}e{exponent + len(digits) - len(text)}".encode()


def _object(value: dict[Any, Any], schema: Schema, root: Schema) -> bytes:
    for key in value:
        if not isinstance(key, str):
            raise UsageError(f"object key {key!r} is no string", remedy="write keys as strings, or vote on pairs")
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    # str.__str__: the text itself, where a key is an Enum that is also a string.
    # By code points, as msgspec sorts: a value gets the same bytes whichever way it is written.
    items = sorted(((str.__str__(k), v) for k, v in value.items()), key=lambda item: item[0])
    parts = (_string(k) + b":" + _form(v, properties.get(k, others), root) for k, v in items)
    return b"{" + b",".join(parts) + b"}"


def _array(value: list[Any] | set[Any] | frozenset[Any], schema: Schema, root: Schema) -> bytes:
    first, rest = schema.get("prefixItems", ()), schema.get("items", {})
    if isinstance(rest, list):  # what drafts before 2020-12 call prefixItems
        first, rest = rest, {}
    items = [_form(v, first[i] if i < len(first) else rest, root) for i, v in enumerate(value)]
    if isinstance(value, list) and schema.get("uniqueItems") is not True:
        return b"[" + b",".join(items) + b"]"
    # No JSON brackets: a set is not the list of its items in some order.
    return b"<" + b",".join(sorted(set(items))) + b">"


def _json(value: Any) -> Any:
    """One layer of `value` as None, bool, number, str, dict, list or set; raises UsageError for anything else."""
    # Before the rest: a member may be a str or an int as well, and stands for its value.
    if isinstance(value, Enum):
        return _json(value.value)
    if value is None or isinstance(value, str | int | float | Decimal | list | dict | set | frozenset):
        return value
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise UsageError(f"bytes {bytes(value[:20])!r} are no JSON", remedy="decode them, or vote on their base64 text")
    return _record(value)


def _record(value: Any) -> dict[str, Any] | list[Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    # By the method: pydantic need not be installed.
    dump: Callable[[], Any] | None = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dict(dump())
    raise UsageError(
        f"{value!r} ({type(value).__name__}) cannot be voted on",
        remedy="vote on JSON values or typed records, or give the task a `key` that returns some",
    )


def _struct(value: msgspec.Struct) -> dict[str, Any] | list[Any]:
    config = value.__struct_config__
    values = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return values if config.tag is None else [config.tag, *values]
    pairs = zip(value.__struct_encode_fields__, values, strict=True)
    # As it is encoded, a field that is UNSET is not there.
    fields = {name: v for name, v in pairs if v is not msgspec.UNSET}
    return fields if config.tag is None else {str(config.tag_field): config.tag, **fields}


def _types(schema: Schema) -> tuple[str, ...]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


def narrow(schema: Any, value: Any, root: Schema) -> Schema:
    """Return the schema that speaks of `value`: references followed, the first fitting branch of anyOf, oneOf taken."""
    if not isinstance(schema, Mapping):
        return {}
    if "$ref" in schema:
        return narrow(_referred(schema["$ref"], root), value, root)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        narrowed = narrow(branch, value, root)
        kinds = _types(narrowed)
        # A branch that names no type rules none out.
        if not kinds or set(kinds) & _kinds(value):
            return narrowed
    return schema


def _kinds(value: Any) -> set[str]:
    """The JSON Schema types that a value may count as."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case str():
            return {"string"}
        case int() | float() | Decimal():
            # Both for all: 1.0 is an integer to JSON Schema, and 1 a number.
            return {"number", "integer"}
        case dict():
            return {"object"}
        case _:
            return {"array"}


def _referred(reference: str, root: Schema) -> Any:
    found: Any = root
    _, hash_, pointer = reference.partition("#")
    for part in pointer.split("/")[1:]:
        # In this order (RFC 6901, section 4): the other one would make a slash of ~01.
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None or not hash_ or not reference.startswith("#"):
        raise UsageError(f"schema has no {reference!r}", remedy="refer to #/$defs/NAME within the same schema")
    return found
