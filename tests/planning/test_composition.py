"""How results of subtasks make one: by name, exactly, and never past one that is missing."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import TaskError, UsageError
from mdap.core.records import ABSENT
from mdap.planning.composition import ALIASES, COMPOSITIONS, Part, compose, is_known

NAMES = sorted(COMPOSITIONS)


def parts(*values: Any) -> list[Part]:
    return [Part(str(number), value) for number, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("how", "values", "result"),
    [
        ("identity", ["a"], "a"),
        ("last", ["a", {"b": 1}], {"b": 1}),
        ("concatenate", ["a", "b"], "a\nb"),
        ("concatenate", ["a\n", "", "b", ["c", 1], {"k": [1]}], 'a\nb\nc\n1\n{"k":[1]}'),
        ("concatenate", [[], [[]]], ""),
        ("concatenate", [[], "a", []], "a"),
        ("sequence", ["a", 1, None], ["a", 1, None]),
        ("merge", [{"a": 1, "b": 1}, {"b": 2}, "text"], {"a": 1, "b": 2, "3": "text"}),
        ("sum", [1, "2", " 3 "], 6),
        ("sum", [9007199254740993, 1], 9007199254740994),
        ("sum", ["0.1", "0.2"], "0.3"),
        ("sum", [0.1, 0.2], "0.3"),
        ("product", ["99999999999999999999", "99999999999999999999"], 9999999999999999999800000000000000000001),
        ("product", ["1.000000000000000000000000000001", "3"], "3.000000000000000000000000000003"),
        ("min", ["10", 9, "9.5"], 9),
        ("max", ["10", 9, "10.5"], "10.5"),
        ("and", [True, "yes", 1, "TRUE"], True),
        ("and", [True, "no"], False),
        ("or", [0, "false", "0.0", 2], True),
        ("or", ["no", 0], False),
        ("concat", ["a", "b", 1], "ab1"),
    ],
)
def test_each_composition_by_name(how: str, values: list[Any], result: Any) -> None:
    composed = compose(how, parts(*values))
    assert composed == result
    assert type(composed) is type(result)


@pytest.mark.parametrize("how", NAMES)
def test_a_missing_result_is_an_error_for_every_composition(how: str) -> None:
    with pytest.raises(TaskError, match=f"{how} has no result of subtask b"):
        compose(how, [Part("a", 1), Part("b")])
    with pytest.raises(TaskError, match="no result at all"):
        compose(how, [])


@pytest.mark.parametrize("how", NAMES)
def test_null_is_a_result_and_not_a_missing_one(how: str) -> None:
    if how in ("identity", "last", "concatenate", "sequence", "merge", "concat"):
        compose(how, parts(None))
    else:
        with pytest.raises(TaskError, match="is no number"):
            compose(how, parts(None))


def test_names_count_in_any_case_and_under_their_other_names() -> None:
    assert compose(" SUM ", parts(1, 2)) == 3
    assert set(ALIASES.values()) <= set(COMPOSITIONS)
    for other, name in ALIASES.items():
        assert compose(other, parts({"a": 1}) if name == "merge" else parts(2)) == compose(
            name, parts({"a": 1}) if name == "merge" else parts(2)
        )


def test_an_unknown_name_lists_those_that_there_are() -> None:
    assert not is_known("median")
    with pytest.raises(UsageError, match=r"unknown composition 'median'.*concatenate"):
        compose("median", parts(1))


@pytest.mark.parametrize("value", ["seven", "", "1,000", "NaN", "Infinity", True, [1], "1e999999999", "0x10", "\uff11"])
def test_what_is_no_number_is_named_with_its_subtask(value: Any) -> None:
    with pytest.raises(TaskError, match=r"sum, subtask 2: .* is no number"):
        compose("sum", parts(1, value))


def test_identity_of_two_results_is_an_error_and_drops_none() -> None:
    with pytest.raises(TaskError, match="identity has 2 results"):
        compose("identity", parts(1, 2))


def test_a_composition_of_ones_own_is_given_the_values_and_keeps_its_case() -> None:
    own = {"Median": lambda values: sorted(values)[len(values) // 2], "bad": lambda values: values["x"]}
    assert compose("Median", parts(3, 1, 2), own) == 2
    assert not is_known("median", own)
    with pytest.raises(TaskError, match="composition 'bad' raised TypeError"):
        compose("bad", parts(1), own)
    assert compose("sum", parts(1), {"sum": lambda _: "mine"}) == "mine"


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=12)


@given(st.lists(st.integers() | decimals.map(str), min_size=1, max_size=8))
def test_sums_and_products_are_exact(values: list[Any]) -> None:
    numbers = [Fraction(value) for value in values]
    product = Fraction(1)
    for number in numbers:
        product *= number
    assert Fraction(compose("sum", parts(*values))) == sum(numbers)
    assert Fraction(compose("product", parts(*values))) == product
    assert Fraction(compose("max", parts(*values))) == max(numbers)


def test_a_twin_that_goes_through_floats_is_not_exact() -> None:
    values = ["9007199254740993", "0.1"]
    assert Decimal(compose("sum", parts(*values))) != Decimal(sum(float(value) for value in values))


def test_absent_is_no_json_value_that_a_model_could_say() -> None:
    assert Part("a").value is ABSENT
