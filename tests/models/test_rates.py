"""Laws of rates: moments, quantiles, and the draws of a rate from two even numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.models.rates import Part, Rates, beta_quantile

EVEN = [(i + 0.5) / 4_000 for i in range(4_000)]
SHAPES = st.floats(0.3, 50.0)


@given(SHAPES, SHAPES, st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1.0, exclude_max=True))
def test_a_quantile_is_a_rate_and_grows_with_its_share(a: float, b: float, u: float, v: float) -> None:
    low, high = sorted((beta_quantile(a, b, u), beta_quantile(a, b, v)))
    assert 0.0 <= low <= high <= 1.0
    assert (beta_quantile(a, b, u) <= beta_quantile(a, b, v)) == (u <= v or low == high)


@pytest.mark.parametrize(("a", "b"), [(1.25, 18.0), (0.3, 5.0), (2.0, 23.0), (24.0, 57.0), (1.0, 248.0), (5.0, 0.8)])
def test_quantiles_have_the_moments_of_the_beta_law(a: float, b: float) -> None:
    rates = [beta_quantile(a, b, u) for u in EVEN]
    assert math.fsum(rates) / len(rates) == pytest.approx(a / (a + b), rel=2e-3)
    second = a * (a + 1) / ((a + b) * (a + b + 1))
    assert math.fsum(x * x for x in rates) / len(rates) == pytest.approx(second, rel=5e-3)


@pytest.mark.parametrize("a", [0.5, 1.0, 2.0, 7.0])
def test_quantiles_agree_with_the_closed_form_where_there_is_one(a: float) -> None:
    for u in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert beta_quantile(a, 1.0, u) == pytest.approx(u ** (1 / a), rel=1e-3)
        assert beta_quantile(1.0, a, u) == pytest.approx(1 - (1 - u) ** (1 / a), rel=1e-9)


def test_the_arcsine_law_has_its_known_quantiles() -> None:
    for u in (0.05, 0.3, 0.5, 0.8):
        assert beta_quantile(0.5, 0.5, u) == pytest.approx(math.sin(math.pi * u / 2) ** 2, rel=1e-3)


@given(st.floats(0.01, 0.6), st.floats(0.3, 20.0), st.integers(0, 4), st.integers(0, 4))
def test_the_moments_of_a_part_add_up_over_the_next_event(mean: float, shape: float, events: int, others: int) -> None:
    for part in (Part(1.0, mean), Part(1.0, mean, shape)):
        both = part.moment(events + 1, others) + part.moment(events, others + 1)
        assert both == pytest.approx(part.moment(events, others))
        assert part.moment(1, 0) == pytest.approx(mean)


def test_steps_outside_of_all_parts_have_rate_zero() -> None:
    rates = Rates([Part(0.2, 0.5), Part(0.3, 0.1, shape=1.0)])
    assert rates.mean == pytest.approx(0.13)
    assert rates.moment(0, 7) == pytest.approx(0.5 + 0.2 * 0.5**7 + 0.3 * Part(1.0, 0.1, 1.0).moment(0, 7))
    assert [rates.rate(u, 0.5) for u in (0.0, 0.19, 0.51, 0.99)] == [0.5, 0.5, 0.0, 0.0]
    assert rates.rate(0.3, 0.5) == pytest.approx(1 - 0.5 ** (1 / 9))
    assert math.fsum(rates.rate(u, u) for u in EVEN) / len(EVEN) < 0.5


@pytest.mark.parametrize("parts", [[], [Part(0.5, 0.0)], [Part(0.0, 0.5)]])
def test_a_law_without_parts_is_rate_zero_everywhere(parts: list[Part]) -> None:
    rates = Rates(parts)
    assert (rates.mean, rates.rate(0.3, 0.3), rates.moment(0, 9), rates.moment(1, 0)) == (0.0, 0.0, 1.0, 0.0)
