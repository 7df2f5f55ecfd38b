"""The options of a run: defaults, ranges, and which of them a resume may change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mdap.core.errors import UsageError
from mdap.core.settings import CHANGEABLE, Settings


def test_the_defaults_are_the_documented_ones() -> None:
    assert msgspec.structs.asdict(Settings()) == {
        "max_samples": 200,
        "redraws": 10,
        "retries": 5,
        "timeout": 60.0,
        "max_tokens": 750,
        "flag_tokens": None,
        "in_flight": 64,
        "first_temperature": 0.0,
        "temperature": 0.1,
        "max_steps": None,
        "budget_calls": None,
        "budget_tokens": None,
        "budget_seconds": None,
        "seed": 0,
        "record": "contested",
        "budget_usd": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "allow_identical": False,
        "share_draws": False,
        "remedies": (),
        "lookahead": 8,
        "draft": None,
        "leader_first": False,
        "hedge": 0,
        "context": None,
        "confidence": None,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_samples", 0),
        ("redraws", -1),
        ("retries", -1),
        ("timeout", 0),
        ("timeout", float("inf")),
        ("timeout", float("nan")),
        ("max_tokens", 0),
        ("flag_tokens", 0),
        ("in_flight", 0),
        ("max_steps", 0),
        ("context", 0),
        ("first_temperature", -0.1),
        ("temperature", float("nan")),
        ("budget_calls", -1),
        ("budget_tokens", -1),
        ("budget_seconds", float("nan")),
        ("budget_seconds", float("inf")),
        ("temperature", float("inf")),
        ("max_samples", 2.5),
        ("budget_calls", 99.6),
        ("redraws", True),
        ("seed", 2**63),
        ("record", "all"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name}="):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("redraws", 0), ("retries", 0), ("budget_calls", 0), ("temperature", None), ("seed", -(2**63))]
)
def test_the_ends_of_a_range_are_in_it(name: str, value: Any) -> None:
    assert getattr(Settings(**{name: value}), name) == value


def test_every_setting_either_may_change_or_belongs_to_the_identity_or_is_record() -> None:
    identity = set(Settings(share_draws=True, hedge=1, confidence="ask").identity())
    assert set(Settings.__struct_fields__) >= CHANGEABLE
    assert identity | CHANGEABLE | {"record"} == set(Settings.__struct_fields__)
    assert not identity & CHANGEABLE


def test_two_settings_that_differ_in_what_may_change_have_one_identity() -> None:
    assert Settings(max_samples=5, budget_calls=7, in_flight=1, record="samples").identity() == Settings().identity()
    assert Settings(seed=1).identity() != Settings().identity()
    assert Settings(temperature=None).identity() != Settings().identity()
