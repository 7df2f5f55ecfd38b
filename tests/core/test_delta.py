"""Differences between states: what patching gives back, how small they are, and what is no difference at all."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.delta import diff, patch
from mdap.core.errors import JournalError

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, 0.5]) | st.sampled_from("ab")
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=10,
)
long_lists = st.lists(st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2), max_size=12)


class Point(msgspec.Struct):
    x: float


def text(value: Any) -> bytes:
    """What an export would show: types, signs and order of keys told apart."""
    return msgspec.json.encode(value)


def journaled(delta: Any) -> Any:
    """The delta as it comes back from a file."""
    return msgspec.json.decode(msgspec.json.encode(delta))


@given(values, values)
def test_patching_the_old_state_gives_the_new_one_to_the_byte(old: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    assert text(patch(old, journaled(diff(old, new)))) == text(new)
    assert text(old) == text(before)


@given(long_lists, long_lists)
def test_lists_that_share_much_are_patched_to_the_byte(old: Any, new: Any) -> None:
    assert text(patch(old, journaled(diff(old, new)))) == text(new)


@given(values)
def test_a_state_that_stays_costs_a_few_bytes_however_large_it_is(state: Any) -> None:
    delta = diff({"state": state}, {"state": copy.deepcopy(state)})
    assert delta == ["d", {}, []]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (0.0, -0.0),
        ([1, 2], [1, 2.0]),
        ([0.0], [-0.0]),
        ({"a": 1}, {"a": True}),
        ({"a": {"b": [1]}}, {"a": {"b": [1.0]}}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]),
        ({"a": 1, "b": 2}, {"c": 3, "a": 1, "b": 2}),
        ({"a": None}, {}),
        ({}, {"a": None}),
        ([], {}),
        ([1, 1, 1], [1, 1]),
        ([1, 1], [1, 1, 1]),
        ([[1]], [1]),
        (None, []),
    ],
)
def test_what_merely_looks_equal_is_told_apart(old: Any, new: Any) -> None:
    assert text(patch(old, diff(old, new))) == text(new) != text(old)


def test_a_record_in_a_state_is_replaced_and_never_taken_for_equal_by_its_own_comparison() -> None:
    old, new = {"at": Point(1)}, {"at": Point(1.0)}
    assert old == new
    assert type(patch(old, diff(old, new))["at"].x) is float


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([*range(1000)], [*range(1001)]),
        ([*range(1000)], [*range(999)]),
        ([*range(1000)], [*range(1, 1000)]),
        ([*range(1000)], [*range(500), -1, *range(501, 1000)]),
        ([[i] for i in range(1000)], [[i] if i != 500 else [-1] for i in range(1000)]),
        ([[i] for i in range(1000)], [[i] for i in range(1, 1000)]),
        ({str(i): i for i in range(1000)}, {str(i): i if i else -1 for i in range(1000)}),
        ({str(i): [[i]] for i in range(1000)}, {str(i): [[i] if i else []] for i in range(1000)}),
        ({"deep": {"list": [{"n": i} for i in range(1000)]}}, {"deep": {"list": [{"n": i or 7} for i in range(1000)]}}),
    ],
)
def test_a_small_change_in_a_large_state_is_a_small_delta(old: Any, new: Any) -> None:
    delta = diff(old, new)
    assert patch(old, delta) == new
    assert len(text(delta)) < 75 < len(text(new)) / 50


@pytest.mark.parametrize(
    ("old", "delta"),
    [
        ({}, None),
        ({}, []),
        ({}, ["?", 1]),
        ({}, ["="]),
        ({}, ["=", 1, 2]),
        ({}, "=1"),
        ([], ["d", {}, []]),
        ({}, ["l", 0, 0, []]),
        ({}, ["i", {}]),
        ({}, ["d", {"a": ["d", {}, []]}, []]),
        ({}, ["d", {"a": 5}, []]),
        ([1], ["l", 1, 1, []]),
        ([1], ["l", -1, 0, []]),
        ([1], ["l", 0, -1, []]),
        ([1], ["l", 0, 0, 5]),
        ([1], ["i", {"1": ["=", 2]}]),
        ([1], ["i", {"-1": ["=", 2]}]),
        ([1], ["i", {"one": ["=", 2]}]),
        ([1], ["i", {"\u0660": ["=", 2]}]),
    ],
)
def test_what_is_no_delta_of_this_state_is_a_journal_error(old: Any, delta: Any) -> None:
    with pytest.raises(JournalError, match="not a delta of this state"):
        patch(old, delta)


def test_parts_that_did_not_change_are_shared_and_not_copied() -> None:
    old = {"kept": [1, 2, 3], "changed": 1}
    assert patch(old, diff(old, {**old, "changed": 2}))["kept"] is old["kept"]
