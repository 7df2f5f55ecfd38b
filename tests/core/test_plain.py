"""What is stored of a value is the same in every process, and keeps the order that somebody gave it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from mdap.core.plain import plain


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
