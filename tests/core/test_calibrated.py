"""A calibration's figures in calls and money: which model is cheapest, what a run costs, and what a refusal leaves."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.calibrated import Calibration, ModelCalibration, comparable, decode, ranked
from mdap.core.calibration import Drawn, kinds_of
from mdap.core.errors import UsageError, VotingCannotHelp
from mdap.core.prices import FREE, UnitPrices
from mdap.core.verdict import judge
from tests.core.drawing import RIGHT

PRICES = UnitPrices(Decimal("2.00"), Decimal("8.00"))


def model(name: str, right: int = 98, flagged: int = 0, prices: UnitPrices | None = None) -> ModelCalibration:
    """The figures of a model that was right in so many of 100 votes."""
    samples = [
        Drawn(n, "", "right" if n < right else "wrong", RIGHT if n < right else b"1", tokens_in=100, tokens_out=10)
        for n in range(100)
    ]
    samples += [Drawn(100 + n, "", "flagged", flag="malformed", tokens_in=100, tokens_out=10) for n in range(flagged)]
    kinds = kinds_of(samples)
    return ModelCalibration(name, name, {}, len(samples), kinds, judge(kinds, 31, 0.95), prices=prices)


def test_a_decided_step_takes_its_votes_and_what_is_flagged_on_the_way() -> None:
    clean, flagged = model("a"), model("b", flagged=100)
    assert clean.verdict.projection is not None
    assert clean.k == flagged.k
    assert clean.calls_per_step == pytest.approx(clean.verdict.projection.votes_per_step.value)
    assert clean.calls_per_step is not None
    assert flagged.calls_per_step == pytest.approx(2 * clean.calls_per_step)


def test_money_is_that_of_all_tokens_and_of_a_step_its_part() -> None:
    made = model("a", prices=PRICES)
    projection, usd = made.verdict.projection, made.usd
    assert projection is not None
    assert usd is not None
    for end in ("low", "value", "high"):
        tokens_in, tokens_out = getattr(projection.tokens_in, end), getattr(projection.tokens_out, end)
        assert getattr(usd, end) == pytest.approx((2 * tokens_in + 8 * tokens_out) / 1e6)
    assert usd.low <= usd.value <= usd.high
    assert made.usd_per_step == pytest.approx(usd.value / 31, rel=1e-6)


def test_without_a_price_nothing_is_said_of_money_and_what_is_free_costs_nothing() -> None:
    assert (model("a").usd, model("a").usd_per_step) == (None, None)
    free = model("a", prices=FREE).usd
    assert free is not None
    assert (free.low, free.high) == (0.0, 0.0)


def test_a_refused_model_has_neither_k_nor_figures_and_says_what_to_do() -> None:
    refused = model("coin", right=40, prices=PRICES)
    assert (refused.verdict.k, refused.calls_per_step, refused.usd, refused.usd_per_step) == (None, None, None, None)
    with pytest.raises(VotingCannotHelp, match=r"^coin: ") as caught:
        _ = refused.k
    assert "a larger k makes it worse" in caught.value.remedy


def test_models_stand_by_price_where_all_have_one_else_by_calls_and_refused_ones_last() -> None:
    cheap = UnitPrices(Decimal("0.10"), Decimal("0.40"))
    dear_and_sure, cheap_and_flagged = model("sure", prices=PRICES), model("flagged", flagged=50, prices=cheap)
    refused = model("coin", right=40, prices=FREE)
    for order in permutations([dear_and_sure, cheap_and_flagged, refused]):
        assert [made.model for made in ranked(order)] == ["flagged", "sure", "coin"]
    unpriced = msgspec.structs.replace(cheap_and_flagged, prices=None)
    for order in permutations([dear_and_sure, unpriced, refused]):
        assert [made.model for made in ranked(order)] == ["sure", "flagged", "coin"]


def test_equal_models_keep_their_order_and_none_are_no_error() -> None:
    assert [made.model for made in ranked([model("b"), model("a")])] == ["b", "a"]
    assert ranked([]) == ()


def calibration(*models: ModelCalibration) -> Calibration:
    return Calibration("t", 0.95, 31, 100, 0, None, "sample", "answer", models)


def test_a_calibration_of_several_models_is_read_back_with_every_figure() -> None:
    made = calibration(model("a", prices=PRICES), model("coin", right=40))
    assert decode(made.encode()) == made
    assert made.encode().count(b"\n") == 1


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_a_damaged_calibration_is_refused_and_never_half_read(junk: bytes, at: int) -> None:
    whole = calibration(model("a")).encode()
    cut = whole[: at % (len(whole) - 2)]
    for data in (junk, cut, cut + junk[:5]):
        with pytest.raises(UsageError):
            decode(data)


@pytest.mark.parametrize("more", [b'"version": 2', b'"models": []', b'"version": "1"', b'"x": ' + b"[" * 100_000])
def test_a_calibration_that_means_something_else_is_refused(more: bytes) -> None:
    whole = calibration(model("a")).encode().strip()
    # Of equal keys in an object the last counts.
    with pytest.raises(UsageError, match="calibration"):
        decode(whole[:-1] + b", " + more + b"}")


def test_what_a_calibration_does_not_depend_on_is_left_out_of_the_comparison() -> None:
    told = {"task": "t", "model": "m", "rule": "r", "settings": '{"seed":1,"hedge":2,"max_tokens":9}'}
    assert comparable(told) == {"task": "t", "settings": '{"max_tokens":9}'}
    assert comparable({"settings": "{}"}) == {"settings": "{}"}
