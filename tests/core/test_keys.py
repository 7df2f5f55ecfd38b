"""Which answers the ready-made keys call the same, which they keep apart, and what they cannot read."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, UsageError
from mdap.core.keys import (
    Judged,
    NamedKey,
    by_schema,
    folded,
    judged,
    key_named,
    resolved,
    rounded,
    syntax_tree,
)


class Reading(msgspec.Struct, frozen=True):
    place: str
    metres: float


@dataclasses.dataclass
class Flags:
    on: bool
    count: int


def same(key: Any, left: Any, right: Any) -> bool:
    return canonical(key(left)) == canonical(key(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1.004", "1.00"),
        ("1", "1.0"),
        (" 2.5\n", "+2.50"),
        ("1e2", "100"),
        ("0.0", "-0"),
        ("2.675", "2.68"),
        ("-2.675", "-2.68"),
        (".5", "0.5"),
        ("5.", "5"),
        (3, 3.004),
        (0.1 + 0.2, 0.3),
        (Decimal("0.3"), 0.3),
        ([1.001, {"a": 2}], [1, {"a": 2.004}]),
        (Reading("A", 1.001), Reading("A", 1.0)),
    ],
)
def test_numbers_nearest_to_one_multiple_of_the_precision_are_equal(left: Any, right: Any) -> None:
    assert same(rounded("0.01"), left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1.004", "1.006"),
        ("1.00499999999999999999999999", "1.005"),
        (1, True),
        (0, False),
        (Reading("A", 1.0), Reading("B", 1.0)),
        (Flags(True, 1), Flags(True, 2)),
        (Flags(True, 1), Flags(False, 1)),
        (["1.001"], ["1.002"]),
        ([1, 2], [2, 1]),
    ],
)
def test_numbers_of_two_buckets_and_everything_that_is_no_number_are_kept_apart(left: Any, right: Any) -> None:
    assert not same(rounded("0.01"), left, right)


@pytest.mark.parametrize(
    ("number", "bucket"), [("2.5", 3), ("-2.5", -3), ("2.4999", 2), ("0.5", 1), ("-0.5", -1), ("0.4", 0), ("7", 7)]
)
def test_halfway_between_two_multiples_the_one_farther_from_zero_is_taken(number: str, bucket: int) -> None:
    assert rounded(1)(number) == bucket
    assert rounded(1)(Decimal(number)) == bucket


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
    st.sampled_from(["1", "0.01", "0.3", "7", "1e-6", "1000"]),
)
@example(Decimal("0.15"), Decimal("0.449"), "0.3")
def test_equal_buckets_mean_a_difference_of_at_most_the_precision_and_order_is_kept(
    left: Decimal, right: Decimal, precision: str
) -> None:
    key = rounded(precision)
    if key(left) == key(right):
        assert abs(Fraction(left) - Fraction(right)) <= Fraction(precision)
    elif left < right:
        assert key(left) < key(right)
    assert abs(Fraction(left) - key(left) * Fraction(precision)) <= Fraction(precision) / 2


@pytest.mark.parametrize(
    "text",
    ["", "twelve", "1,000", "1_000", "0x10", "1 2", "$3", "nan", "inf", "--1", "1e", "\u0661", "3 m", "1e9999999"],
)
def test_a_text_that_is_no_number_is_a_flag(text: str) -> None:
    with pytest.raises(RedFlag, match="no number"):
        rounded("0.01")(text)


@pytest.mark.parametrize("number", ["1e999999", "1e4002", float("inf"), float("nan"), [1, float("nan")]])
def test_a_number_that_would_fill_the_memory_or_is_none_is_a_flag(number: Any) -> None:
    with pytest.raises(RedFlag):
        rounded(1)(number)


def test_a_number_far_below_the_precision_is_nothing_and_costs_nothing() -> None:
    assert rounded(1)("1e-999999") == 0
    assert rounded("1e-3000")("0") == 0


@pytest.mark.parametrize("precision", ["0", "-1", "nan", "inf", "much", ""])
def test_a_precision_is_a_number_above_zero(precision: str) -> None:
    with pytest.raises(UsageError, match="not a number above 0"):
        rounded(precision)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("Paris", " paris\n", True),
        ("New  York", "new\tyork", True),
        ("Straße", "STRASSE", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("Paris.", "Paris", False),
        ("cafe", "café", False),
        ({"city": "PARIS", "n": 1}, {"n": 1, "city": "paris"}, True),
        (Reading("A", 1.0), Reading("a ", 1.0), True),
        (Reading("A", 1.0), Reading("A", 1.5), False),
    ],
)
def test_folded_text_has_no_case_and_no_white_space_of_its_own(left: Any, right: Any, equal: bool) -> None:
    assert same(folded, left, right) is equal


SAME_CODE = [
    ("x = 1", "x=1  # one\n"),
    ("x = (1)", "x = 1"),
    ("s = 'a'", 's = "a"'),
    ("f(a, b)", "f(\n    a,\n    b,\n)"),
    ("if a: b()", "if a:\n\tb()"),
    ("n = 1000", "n = 1_000"),
    ("s = '\\d'", "s = '\\\\d'"),
]
OTHER_CODE = [
    ("x = 1", "y = 1"),
    ("x = 1", "x = 1.0"),
    ("x = 1", "x = True"),
    ("a + b", "b + a"),
    ("def f(): 'doc'", "def f(): 'other'"),
    ("x = 1\ny = 2", "y = 2\nx = 1"),
    ("a - (b - c)", "a - b - c"),
]


@pytest.mark.parametrize(("left", "right"), SAME_CODE)
def test_code_that_differs_in_layout_alone_is_the_same(left: str, right: str) -> None:
    assert same(syntax_tree, left, right)


@pytest.mark.parametrize(("left", "right"), OTHER_CODE)
def test_code_with_another_syntax_tree_is_other_code(left: str, right: str) -> None:
    assert not same(syntax_tree, left, right)


@pytest.mark.parametrize(
    "code", ["x =", "  x\n y", "x = '\0'", "(" * 5000, "-" * 100_000 + "1", "print 1", "9" * 5000, 3, None, ["x"]]
)
def test_what_is_no_code_is_a_flag_however_it_breaks_the_parser(code: Any) -> None:
    with pytest.raises(RedFlag, match=r"[Pp]ython"):
        syntax_tree(code)


def test_parsing_code_warns_nobody_and_runs_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert syntax_tree(r"s = '\d'; assert (x, 'always true')")
    assert syntax_tree("raise SystemExit") == syntax_tree("raise SystemExit  # not now")


def test_a_digest_of_code_is_the_same_in_another_process() -> None:
    program = "from mdap.core.keys import syntax_tree; print(syntax_tree('x = {1, 2}'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == syntax_tree("x={1,2}")


EVENT = {
    "type": "object",
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "id": {"type": "string", "format": "uuid"},
        "price": {"type": "number"},
        "guests": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/instant"}},
        "note": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/instant"}]},
    },
    "additionalProperties": {"$ref": "#/$defs/instant"},
    "$defs": {"instant": {"type": "string", "format": "date-time"}},
}
NOON, NOON_IN_ROME = "2026-07-01T12:00:00Z", "2026-07-01T14:00:00.000+02:00"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"at": NOON}, {"at": NOON_IN_ROME}),
        ({"at": NOON}, {"at": "2026-07-01t12:00:00z"}),
        ({"steps": [NOON]}, {"steps": [NOON_IN_ROME]}),
        ({"note": NOON}, {"note": NOON_IN_ROME}),
        ({"else": NOON}, {"else": NOON_IN_ROME}),
        ({"price": 2}, {"price": 2.0}),
        ({"guests": ["a", "b"]}, {"guests": ["b", "a", "b"]}),
        ({"id": "0A" * 16}, {"id": "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a"}),
        ({"price": 1, "day": "2026-07-01"}, {"day": "2026-07-01", "price": 1}),
    ],
)
def test_json_that_says_the_same_under_its_schema_is_the_same(left: Any, right: Any) -> None:
    assert same(by_schema(EVENT), left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"at": NOON}, {"at": "2026-07-01T12:00:00+02:00"}),
        ({"at": NOON}, {"at": "2026-07-01T12:00:00"}),
        ({"at": "2026-07-01T12:00:00.12345678Z"}, {"at": "2026-07-01T12:00:00.12345679Z"}),
        ({"day": "2026-07-01"}, {"day": "2026-07-02"}),
        ({"day": NOON}, {"day": NOON_IN_ROME}),
        ({"steps": [NOON, "x"]}, {"steps": ["x", NOON]}),
        ({"price": 2}, {"price": "2"}),
        ({"note": None}, {}),
    ],
)
def test_json_that_says_something_else_is_another_answer(left: Any, right: Any) -> None:
    assert not same(by_schema(EVENT), left, right)


@given(
    st.integers(-(10**15), 10**15),
    st.integers(-14 * 60, 14 * 60),
    st.integers(-14 * 60, 14 * 60),
)
def test_an_instant_is_the_same_in_every_time_zone_and_no_other_instant_is(
    microseconds: int, here: int, there: int
) -> None:
    key = by_schema({"type": "string", "format": "date-time"})
    instant = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(microseconds=microseconds)
    written = [instant.astimezone(timezone(timedelta(minutes=zone))).isoformat() for zone in (here, there)]
    assert same(key, *written)
    later = (instant + timedelta(microseconds=1)).isoformat()
    assert not same(key, written[0], later)


def test_an_instant_at_the_end_of_the_calendar_stays_a_text() -> None:
    key = by_schema({"type": "string", "format": "date-time"})
    assert key("0001-01-01T00:00:00+14:00") == '"0001-01-01T00:00:00+14:00"'


def test_what_has_no_canonical_form_is_a_flag_and_does_not_end_the_run() -> None:
    with pytest.raises(RedFlag, match="no number"):
        by_schema({"type": "number"})(float("nan"))


@pytest.mark.parametrize("spec", ["folded", "python", "number:0.01"])
def test_a_key_named_by_a_text_knows_its_name(spec: str) -> None:
    key = key_named(spec)
    assert key.spec == spec
    assert resolved(spec) == resolved(key) or resolved(spec)[1] == resolved(key)[1] == spec


def test_a_named_key_does_what_its_name_says() -> None:
    assert same(key_named("folded"), "A", " a")
    assert same(key_named("number:5"), "12", "10")
    assert same(key_named("number"), "1.4", "1")
    assert same(key_named("python"), "x=1", "x = 1")


@pytest.mark.parametrize("spec", ["", "fold", "numbers:1", "python:3", "folded:x"])
def test_a_key_that_is_not_known_says_which_ones_there_are(spec: str) -> None:
    with pytest.raises(UsageError, match=r"there is: folded, judged:MODEL, number:0\.01, python"):
        key_named(spec)


def test_every_way_to_give_a_key_is_resolved_with_the_name_that_a_run_stores() -> None:
    assert resolved(None) == (None, "")
    assert resolved(len) == (len, "own:builtins:len")
    assert resolved("judged:openai:some-model") == (Judged("openai:some-model"), "")
    assert resolved(judged(len)) == (Judged(len), "")
    named = NamedKey("number:2", rounded(2))
    assert resolved(named) == (named, "number:2")
    with pytest.raises(UsageError, match="3 is no vote key"):
        resolved(3)  # type: ignore[arg-type]
