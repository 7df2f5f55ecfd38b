"""Prices as arithmetic: whole numbers, exact, rounded up; and amounts of money as a person writes and reads them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.errors import UsageError
from mdap.core.prices import FREE, NANO, Tariff, UnitPrices, amount_of, nano, shown, usd
from mdap.core.records import Usage

MONEY = st.decimals(0, 1_000, places=6)
PRICES = st.builds(UnitPrices, MONEY, MONEY, st.none() | MONEY, st.none() | MONEY)
TOKENS = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens_in = draw(TOKENS)
    cached = draw(st.integers(0, tokens_in))
    return Usage(tokens_in, draw(TOKENS), cached, draw(st.integers(0, tokens_in - cached)))


def exactly(prices: UnitPrices, usage: Usage) -> Fraction:
    cached = prices.input if prices.cached is None else prices.cached
    written = prices.input if prices.cache_write is None else prices.cache_write
    plain = usage.tokens_in - usage.cached - usage.cache_written
    parts = ((plain, prices.input), (usage.cached, cached), (usage.cache_written, written))
    total = sum(Fraction(tokens) * Fraction(price) for tokens, price in (*parts, (usage.tokens_out, prices.output)))
    return Fraction(total) / 10**6


@given(PRICES, usages())
def test_a_cost_is_exact_but_for_one_rounding_up_to_a_whole_nano_dollar(prices: UnitPrices, usage: Usage) -> None:
    assert Tariff(prices).cost(usage) == ceil(exactly(prices, usage) * NANO)


@given(PRICES, usages(), TOKENS, TOKENS)
def test_no_call_costs_more_than_the_most_that_its_bounds_can(
    prices: UnitPrices, usage: Usage, more_in: int, more_out: int
) -> None:
    tariff = Tariff(prices)
    assert tariff.cost(usage) <= tariff.most(usage.tokens_in + more_in, usage.tokens_out + more_out)


def test_a_published_price_gives_the_published_cost() -> None:
    # USD 0.40 in, 0.10 cached and 1.60 out per million tokens: 1,000 in, of which 400 cached, and 100 out.
    tariff = Tariff(UnitPrices(Decimal("0.40"), Decimal("1.60"), Decimal("0.10")))
    assert tariff.cost(Usage(1_000, 100, cached=400)) == 600 * 400 + 400 * 100 + 100 * 1_600


def test_a_long_prompt_costs_what_long_prompts_cost_all_of_it() -> None:
    long = UnitPrices(Decimal(6), Decimal(20))
    tariff = Tariff(UnitPrices(Decimal(3), Decimal(15), long_from=200_000, long=long))
    assert tariff.cost(Usage(199_999, 1)) == 199_999 * 3_000 + 15_000
    assert tariff.cost(Usage(200_000, 1)) == 200_000 * 6_000 + 20_000
    assert tariff.most(200_000, 1) == tariff.cost(Usage(200_000, 1))
    cheaper = Tariff(UnitPrices(Decimal(3), Decimal(15), long_from=10, long=FREE))
    assert cheaper.most(20, 0) == 60_000, "fewer tokens than the bound may cost more"


def test_what_is_free_costs_nothing() -> None:
    assert Tariff(FREE).cost(Usage(10**9, 10**9)) == Tariff(FREE).most(10**9, 10**9) == 0


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity"])
def test_a_price_that_is_none_is_refused(price: str) -> None:
    with pytest.raises(UsageError, match="is no price"):
        UnitPrices(Decimal(price), Decimal(1))


def test_a_price_survives_a_journal_to_the_last_digit() -> None:
    prices = UnitPrices(Decimal("0.0375"), Decimal("1.60"), source="given", long_from=5, long=FREE)
    assert msgspec.json.decode(msgspec.json.encode(prices), type=UnitPrices) == prices


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (9_980_000_000, "$9.98"),
        (34_500, "$0.0000345"),
        (1, "$0.000000001"),
        (1_234_500_000_000, "$1,234.50"),
    ],
)
def test_money_is_shown_with_cents_and_every_digit_that_counts(amount: int, text: str) -> None:
    assert shown(amount) == text


@given(st.integers(0, 10**18))
def test_nano_dollars_and_usd_are_the_same_amount(amount: int) -> None:
    assert nano(usd(amount)) == amount


def test_a_budget_below_a_nano_dollar_is_cut_off_and_never_rounded_up() -> None:
    assert nano(Decimal("0.0000000019")) == 1


@pytest.mark.parametrize(("given_as", "is_"), [(10, "10"), ("2.50", "2.50"), (0.1, "0.1"), (Decimal("1e-7"), "1E-7")])
def test_an_amount_is_what_was_written(given_as: Any, is_: str) -> None:
    assert amount_of(given_as) == Decimal(is_)


@pytest.mark.parametrize("given_as", ["ten", "-1", "NaN", float("inf"), True, "", "$5"])
def test_what_is_no_amount_is_refused_by_its_value(given_as: Any) -> None:
    with pytest.raises(UsageError, match=r"budget_usd=.* is no amount of USD"):
        amount_of(given_as)
