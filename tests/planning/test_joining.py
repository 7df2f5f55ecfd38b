"""What branches changed apart from one another, brought together by code."""

from __future__ import annotations

from typing import Any

import pytest

from mdap.core.records import ABSENT
from mdap.planning.joining import merged


@pytest.mark.parametrize(
    ("base", "parts", "result"),
    [
        ({}, [{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ({"a": 1, "b": 1}, [{"a": 2, "b": 1}, {"a": 1, "b": 3}], {"a": 2, "b": 3}),
        ({"a": 1}, [{}, {"a": 1, "b": 2}], {"b": 2}),
        ({"x": {"y": 1}}, [{"x": {"y": 1, "z": 2}}, {"x": {"y": 5}}], {"x": {"y": 5, "z": 2}}),
        ({}, [{"a": 1}, {"a": 1}], {"a": 1}),
        ([1], [[1], [1, 2]], [1, 2]),
        ({}, [{"a": 1}, {"b": 1}, {"c": 1}], {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_changes_of_different_things_stand_together(base: Any, parts: list[Any], result: Any) -> None:
    assert merged(base, parts) == result


@pytest.mark.parametrize(
    ("base", "parts"),
    [
        ({"a": 1}, [{"a": 2}, {"a": 3}]),
        ({"a": 1}, [{}, {"a": 2}]),
        ({}, [{"a": 1}, {"a": True}]),
        ([], [[1], [2]]),
        ("", ["x", "y"]),
    ],
)
def test_two_changes_of_the_same_thing_are_not_for_code_to_decide(base: Any, parts: list[Any]) -> None:
    assert merged(base, parts) is ABSENT
