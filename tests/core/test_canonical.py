"""Canonical vote keys and the strict reader of JSON: which votes are the same candidate, and what is no vote at all."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from itertools import combinations
from math import nextafter
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.canonical import canonical, fold
from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Move
from mdap.core.strictjson import read_json

NUMBER = {"type": "number"}
HUGE = 10**5000 + 1


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    ADA = "ada"


@dataclasses.dataclass
class Row:
    a: int
    b: list[float]


class Record(msgspec.Struct):
    a: int
    b: list[float]


class Tagged(msgspec.Struct, tag="tagged", rename="camel"):
    some_value: int
    left_out: Any = msgspec.UNSET


class Listed(msgspec.Struct, array_like=True):
    x: int
    y: int


class TaggedList(msgspec.Struct, array_like=True, tag=7):
    x: int


class Point(NamedTuple):
    x: int
    y: int


class Dumped:
    """Dumps itself as records of validation libraries do."""

    def model_dump(self) -> dict[str, Any]:
        return {"a": 1, "b": [Decimal("2.0")]}


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """A value that Python's == compares as votes are compared: types told apart, -0.0 as 0.0."""
    if isinstance(value, dict):
        return {k: exact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [exact(v) for v in value]
    return (type(value), value)


def shuffled(value: Any) -> Any:
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        return {k: shuffled(value[k]) for k in reversed(value)}
    return [shuffled(v) for v in value] if isinstance(value, list) else value


def the_long_way(value: Any) -> Any:
    """The same value in types that the encoder's shortcut does not take."""
    if isinstance(value, dict):
        return MappingProxyType({k: the_long_way(v) for k, v in value.items()})
    return [the_long_way(v) for v in value] if isinstance(value, list) else value


# Laws


@given(values, values)
def test_forms_are_equal_exactly_when_values_are(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (exact(one) == exact(other))


@given(values)
def test_a_form_does_not_depend_on_the_order_of_keys_or_on_which_copy_it_is_of(value: Any) -> None:
    assert canonical(shuffled(value)) == canonical(value) == canonical(json.loads(json.dumps(value)))


@given(values)
def test_a_form_is_json_and_its_own_form_is_itself(value: Any) -> None:
    form = canonical(value)
    assert canonical(json.loads(form.decode("utf-8", "surrogatepass"))) == form


@given(values)
def test_the_shortcut_for_plain_values_gives_the_very_bytes_of_the_long_way(value: Any) -> None:
    assert canonical({"k": the_long_way(value)}) == canonical({"k": value})


@given(values)
def test_a_schema_that_says_nothing_changes_nothing(value: Any) -> None:
    assert canonical(value, {"title": "anything"}) == canonical(value)


@given(st.lists(st.integers() | st.text(max_size=2), max_size=6), st.randoms())
def test_as_a_set_a_list_has_one_form_in_any_order_and_with_any_repeats(items: list[Any], rng: Any) -> None:
    schema = {"type": "array", "uniqueItems": True}
    again = [*items, *items[:2]]
    rng.shuffle(again)
    assert canonical(again, schema) == canonical(items, schema) == canonical(set(items))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_equals_the_decimal_it_is_written_as_and_no_neighbour(number: float) -> None:
    assert canonical(number) == canonical(Decimal(repr(number))) == canonical(float(repr(number)))
    if number != 0:
        assert canonical(nextafter(number, 0)) != canonical(number)


# Numbers


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (1.0, True),
        (0, None),
        (9007199254740993, 9007199254740992),
        (9007199254740993, 9007199254740993.0),
        (2**64, 2**64 + 1),
        (Decimal("0.1"), Decimal("0.10000000000000000001")),
        (1, Decimal(1)),
        ("1", 1),
        ("null", None),
        ("[1]", [1]),
        ('{"a":1}', {"a": 1}),
        ([], {}),
        ([], set()),
        ([1], {1}),
        ([[1], 2], [[1, 2]]),
        ({"a": None}, {}),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ("é", "e\u0301"),
        ("a", "a "),
        ("\ud800", "?"),
        ("\ud83d\ude00", "\U0001f600"),
        (["a", "b"], ["a,b"]),
        (["a", "b"], ['a","b']),
    ],
)
def test_different_candidates_have_different_forms(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.0, -0.0),
        (1e2, 100.0),
        (Decimal("1.50"), 1.5),
        (Decimal("-0"), 0.0),
        (Decimal("1E+3"), 1000.0),
        ((1, (2,)), [1, [2]]),
        ({"b": 1, "a": 2}, OrderedDict(a=2, b=1)),
        ({1, 2, 3}, frozenset((3, 2, 1))),
        ({frozenset({1, 2}), 3}, {3, frozenset({2, 1})}),
    ],
)
def test_the_same_candidate_has_one_form(one: Any, other: Any) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize("same", [(1, 1.0, Decimal("1.00"), 1e0), (100, 1e2, Decimal("1E+2")), (0, 0.0, -0.0)])
@pytest.mark.parametrize("kind", ["number", "integer", ["number", "null"]])
def test_where_the_schema_says_number_one_value_has_one_form_however_it_is_written(same: Any, kind: Any) -> None:
    assert len({canonical(value, {"type": kind}) for value in same}) == 1


@pytest.mark.parametrize("other", [True, 9007199254740992, 9007199254740992.0, "9007199254740993", None])
def test_a_schema_of_numbers_still_rounds_nothing_and_takes_no_bool_or_text_for_a_number(other: Any) -> None:
    assert canonical(other, NUMBER) != canonical(9007199254740993, NUMBER)


def test_integers_past_the_digit_limit_of_the_interpreter_are_as_exact_as_any() -> None:
    assert canonical([HUGE]) == canonical([10**5000 + 1]) == b"[1" + b"0" * 4999 + b"1]"
    assert canonical([HUGE]) != canonical([HUGE + 1])
    assert canonical(10**5000, NUMBER) == canonical(Decimal("1E+5000"), NUMBER)


def test_a_power_of_ten_too_large_to_write_out_still_has_a_short_form() -> None:
    assert len(canonical(Decimal("1E+999999999"))) < 20


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("Infinity")])
def test_nan_and_infinities_are_refused_at_any_depth_and_by_any_schema(value: Any) -> None:
    for holder in (value, [1, value], {"a": [value]}, {value}):
        with pytest.raises(UsageError, match="no number that can be voted on"):
            canonical(holder)
    with pytest.raises(UsageError):
        canonical(value, NUMBER)


# Schemas

SCHEMA = {
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "count": {"$ref": "#/$defs/count"},
        "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        "pair": {"type": "array", "prefixItems": [{"type": "number"}, {}], "items": {"type": "number"}},
        "maybe": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"x": {"type": "number"}}}]},
    },
    "additionalProperties": {"type": "number"},
    "$defs": {"count": {"type": "integer"}},
}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"total": 1, "count": 2}, {"count": 2.0, "total": Decimal("1.0")}),
        ({"tags": ["x", "y", "x"]}, {"tags": ["y", "x"]}),
        ({"pair": [1, 1, 1]}, {"pair": [1.0, 1, 1.0]}),
        ({"maybe": {"x": 1}}, {"maybe": {"x": 1.0}}),
        ({"unnamed": 3}, {"unnamed": 3.0}),
    ],
)
def test_a_nested_schema_says_what_is_equal_where(one: Any, other: Any) -> None:
    assert canonical(one, SCHEMA) == canonical(other, SCHEMA)
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"pair": [1, 1]}, {"pair": [1, 1.0]}),
        ({"pair": [1, 2]}, {"pair": [2, 1]}),
        ({"maybe": None}, {"maybe": {}}),
        ({"tags": ["x"]}, {"tags": ["x", "y"]}),
    ],
)
def test_a_nested_schema_keeps_apart_what_it_does_not_call_equal(one: Any, other: Any) -> None:
    assert canonical(one, SCHEMA) != canonical(other, SCHEMA)


def test_the_older_form_of_items_as_a_list_and_boolean_schemas_are_read_too() -> None:
    assert canonical([1, 1], {"items": [NUMBER, True]}) == canonical([1.0, 1], {"items": [NUMBER, True]})
    assert canonical([1], {"items": True}) == canonical([1])


def test_sets_of_numbers_fold_what_the_schema_calls_equal() -> None:
    schema = {"uniqueItems": True, "items": NUMBER}
    assert canonical([1, 1.0, 2], schema) == canonical([2, 1], schema)


@pytest.mark.parametrize("reference", ["#/$defs/none", "other.json#/$defs/x", "#/$defs/a/b/c"])
def test_a_reference_that_leads_nowhere_is_named(reference: str) -> None:
    with pytest.raises(UsageError, match="schema has no"):
        canonical(1, {"$ref": reference, "$defs": {"a": NUMBER}})


def test_a_reference_in_a_ring_is_an_error_not_a_hang() -> None:
    with pytest.raises(UsageError, match="too deeply"):
        canonical(1, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})


def test_names_with_slashes_and_tildes_are_found_as_json_pointers_write_them() -> None:
    schema = {"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": NUMBER}}
    assert canonical(1, schema) == canonical(1.0, schema)


# Records and other types


@pytest.mark.parametrize(
    ("record", "plain"),
    [
        (Row(1, [2.0]), {"a": 1, "b": [2.0]}),
        (Record(1, [2.0]), {"a": 1, "b": [2.0]}),
        (Dumped(), {"a": 1, "b": [2.0]}),
        (Tagged(3), {"type": "tagged", "someValue": 3}),
        (Listed(1, 2), [1, 2]),
        (TaggedList(1), [7, 1]),
        (Move([1, 0, 2], None), {"action": [1, 0, 2], "next_state": None}),
        (Point(1, 2), [1, 2]),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        (Name.ADA, "ada"),
        ({Name.ADA: 1}, {"ada": 1}),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T03:04:00+01:00"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ([Row(1, []), {Colour.RED}], [{"a": 1, "b": []}, {"red"}]),
    ],
)
def test_typed_records_stand_for_the_json_that_they_encode_to(record: Any, plain: Any) -> None:
    assert canonical(record) == canonical(plain)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1: "a"}, "object key 1 is no string"),
        ({"a": {None: 1}}, "object key None"),
        ({("a",): 1}, "object key"),
        (b"abc", "bytes b'abc' are no JSON"),
        ([bytearray(2)], "bytes"),
        (object(), r"\(object\) cannot be voted on"),
        (1 + 2j, r"\(complex\) cannot be voted on"),
        (Row, r"\(type\) cannot be voted on"),
        (Dumped, r"\(type\) cannot be voted on"),
        (range(3), "range"),
    ],
)
def test_what_is_no_json_is_refused_by_name(value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        canonical(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(UsageError, match="holds itself"):
        canonical(ring)


def test_votes_of_every_kind_at_once_are_all_different() -> None:
    kinds: list[Any] = [
        None,
        True,
        False,
        0,
        1,
        0.0,
        1.0,
        "",
        "0",
        "1",
        [],
        [0],
        {},
        {"a": 0},
        set(),
        {0},
        [[]],
        [None],
        "[]",
    ]
    for one, other in combinations(kinds, 2):
        assert canonical(one) != canonical(other), (one, other)


# Folding


def test_folding_makes_wording_equal_where_a_task_asks_for_it() -> None:
    assert fold("  The\tCAFE\u0301 \n") == fold("the caf\u00e9") == "the caf\u00e9"
    assert fold({"Name": ["A  b", 1, None]}) == {"Name": ["a b", 1, None]}
    assert fold({"A", "a"}) == {"a"}
    assert fold(("A", 1.0)) == ["a", 1.0]


def test_each_way_of_folding_can_be_left_out() -> None:
    assert fold(" A  b ", case=False) == "A b"
    assert fold(" A  b ", space=False) == " a  b "
    assert fold("e\u0301", unicode="") == "e\u0301"
    assert fold("\ufb01", unicode="NFKC") == "fi"
    assert fold(Colour.RED) is Colour.RED


# The strict reader


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2]", [1, 2]),
        (' \n{"a": null}\r\n', {"a": None}),
        ("9007199254740993", 9007199254740993),
        ("1.0", 1.0),
        ('"```"', "```"),
        ("```json\n[1]\n```", [1]),
        ("```\n[1]\n```\n", [1]),
        ("```[1]```", [1]),
        ('```json\r\n{"code": "```x```"}\r\n```', {"code": "```x```"}),
        (r'"\ud83d\ude00"', "\U0001f600"),
    ],
)
def test_a_bare_value_or_one_fence_around_it_is_read(text: str, value: Any) -> None:
    assert read_json(text) == value
    assert type(read_json(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("The answer is [1]", "not JSON"),
        ("[1]\nThat is all.", "not JSON"),
        ("Here:\n```json\n[1]\n```", "not JSON"),
        ("```json\n[1]\n```\nDone.", "not JSON"),
        ("```json\n[1]\n```\n```json\n[1]\n```", "not JSON"),
        ("```json [1]```", "not JSON"),
        ("```json\n[1]", "not JSON"),
        ("[1,]", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("{a: 1}", "not JSON"),
        ("[1 2]", "not JSON"),
        ("01", "not JSON"),
        ("+1", "not JSON"),
        ("True", "not JSON"),
        ("\ufeff1", "not JSON"),
        ("\u00a01", "not JSON"),
        ("[\u0661]", "not JSON"),
        ('"a\nb"', "not JSON"),
        ('{"a": 1, "a": 1}', "key 'a' stands twice"),
        ('[{"b": {"a": 1, "b": 2, "a": 3}}]', "key 'a' stands twice"),
        ("[NaN]", "NaN is no JSON number"),
        ("-Infinity", "-Infinity is no JSON number"),
        ("1e999", "past the range"),
        (r'"\ud800"', "surrogate"),
        ("9" * 5000, "not a readable number"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_anything_else_is_a_red_flag_never_repaired(text: str, said: str) -> None:
    with pytest.raises(RedFlag, match=said) as flag:
        read_json(text)
    assert flag.value.name == "malformed"
    assert len(str(flag.value)) < 200


def test_decimals_are_read_with_every_digit_that_was_written() -> None:
    text = "[0.10000000000000000001, 1.50, 7]"
    assert read_json(text, decimals=True) == [Decimal("0.10000000000000000001"), Decimal("1.50"), 7]
    assert canonical(read_json(text, decimals=True)) != canonical(read_json(text))
    assert read_json("1e999", decimals=True) == Decimal("1e999")
    with pytest.raises(RedFlag, match="past the range of a decimal"):
        read_json("1e99999999999999999999", decimals=True)


@given(values)
def test_what_a_json_writer_wrote_is_read_as_it_was(value: Any) -> None:
    text = json.dumps(value)
    if json.dumps(value, ensure_ascii=False).isprintable():
        assert exact(read_json(text)) == exact(json.loads(text))
