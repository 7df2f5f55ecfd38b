"""What is stored of a value is the same in every process, and keeps the order that somebody gave it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.canonical import canonical
from mdap.core.plain import exact, plain

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@dataclass
class Row:
    """A record with a set in it."""

    name: str
    tags: set[str]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({"b": 1, "a": 2}, {"b": 1, "a": 2}),
        ({"b", "a"}, ["a", "b"]),
        ({"z": {3, 1, 2}, "a": [frozenset({"y", "x"})]}, {"z": [1, 2, 3], "a": [["x", "y"]]}),
        (Row("r", {"q", "p"}), {"name": "r", "tags": ["p", "q"]}),
        (2**70, 2**70),
    ],
)
def test_a_value_is_stored_as_json_with_sets_in_order_and_keys_as_given(value: Any, stored: Any) -> None:
    assert plain(value) == stored
    assert list(plain(value)) == list(stored) if isinstance(stored, dict) else True


def test_a_set_is_stored_alike_in_processes_that_hash_differently() -> None:
    code = "from mdap.core.plain import plain; print(plain({'words': set('the quick brown fox jumps'.split())}))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    ]
    assert len(set(runs)) == 1


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        plain({"x": object()})


@given(st.lists(JSON))
def test_what_json_gives_back_has_its_canonical_form_at_once_and_a_copy_in_the_order_of_its_keys(value: Any) -> None:
    found = exact(value)
    # Half of a surrogate pair has no encoding, and so the long way.
    if found is not None:
        form, copy = found
        assert form == canonical(value)
        assert msgspec.json.encode(copy) == msgspec.json.encode(plain(value))
        assert copy is not value


class Point(msgspec.Struct):
    """A record."""

    x: int


@pytest.mark.parametrize(
    "other",
    [
        *(
            1.0,
            -0.0,
            float("nan"),
            float("inf"),
            (1, 2),
            {1, 2},
            frozenset(),
            Point(1),
            Row("r", set()),
            b"x",
            "\ud800",
        ),
        *({"a": (1,)}, {1: 2}, [[{3}]], object(), 1 + 2j),
    ],
)
def test_what_json_would_change_or_write_in_two_ways_has_the_long_way(other: Any) -> None:
    assert exact([other]) is None
    assert exact([[{"a": other}]]) is None


def test_a_value_that_holds_itself_has_the_long_way() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert exact(loop) is None
