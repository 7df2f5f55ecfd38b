"""Intervals and tests against figures worked out by hand or by their exact sums."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.evidence import at_least, excess, latency, spread_of, tendency, wilson


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    share = wilson(81, 263)
    assert (share.value, share.low, share.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)


def test_no_trials_exclude_no_share_and_all_hits_do_not_exclude_1() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
    assert wilson(800, 800).high == 1.0
    assert wilson(800, 800).low == pytest.approx(800 / (800 + 1.959964**2))
    assert wilson(0, 800).low == 0.0


@given(hits=st.integers(0, 500), more=st.integers(0, 500))
def test_an_interval_holds_its_share_and_widens_with_the_spread(hits: int, more: int) -> None:
    share, wider = wilson(hits, hits + more), wilson(hits, hits + more, 3.0)
    assert 0 <= wider.low <= share.low <= share.value <= share.high <= wider.high <= 1 or hits + more == 0


@pytest.mark.slow
def test_wilsons_interval_covers_the_share_about_as_often_as_it_says() -> None:
    for true in (0.5, 0.9, 0.99):
        chance = Random(f"cover {true}")
        covered = 0
        for _ in range(1000):
            share = wilson(sum(chance.random() < true for _ in range(400)), 400)
            covered += share.low <= true <= share.high
        assert 925 <= covered <= 985, true


def test_the_spread_of_groups_is_1_for_even_ones_and_their_size_for_all_or_nothing() -> None:
    assert spread_of([(5, 10)] * 8) == 1.0
    all_or_nothing = [(10, 10), (0, 10)] * 50
    assert spread_of(all_or_nothing) == pytest.approx(10, rel=0.02)
    assert spread_of([(3, 10)]) == 10.0
    assert spread_of([(0, 10), (0, 10)]) == 1.0


def test_the_tail_of_a_binomial_is_its_exact_sum() -> None:
    exact = math.fsum(math.comb(20, n) * 0.3**n * 0.7 ** (20 - n) for n in range(9, 21))
    assert at_least(9, 20, 0.3) == pytest.approx(exact, rel=1e-12)
    assert (at_least(0, 20, 0.3), at_least(21, 20, 0.3)) == (1.0, 0.0)


def test_an_excess_is_believed_only_beyond_what_the_first_share_leaves_open() -> None:
    assert excess(30, 80, (10, 800)) == pytest.approx(0.005)
    assert excess(3, 80, (10, 800)) > 0.3
    assert excess(5, 5, (0, 3)) > 0.05  # three trials before say next to nothing
    assert excess(0, 0, (10, 800)) == excess(3, 10, (0, 0)) == 1.0


def test_ranks_of_two_groups_are_compared_as_by_hand() -> None:
    # 1 2 3 4 5 | 6 7 8 9 10: no value of the first exceeds one of the second; z = 12/sqrt(25*11/12).
    found = tendency([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    assert found.chance == 0.0
    assert found.p_value == pytest.approx(math.erfc(12 / math.sqrt(25 * 11 / 12) / math.sqrt(2)), rel=1e-9)
    assert tendency([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]).p_value == pytest.approx(found.p_value)


def test_ties_count_as_half_and_equal_values_are_no_evidence() -> None:
    found = tendency([1.0] * 6, [1.0] * 7)
    assert (found.chance, found.p_value) == (0.5, 1.0)


def test_fewer_than_five_values_in_a_group_are_no_evidence() -> None:
    assert tendency([1, 2, 3, 4], [5] * 100).p_value == 1.0
    assert tendency([], [1.0]).chance == 0.5


def test_latency_is_told_by_quantiles_and_a_lognormal_law() -> None:
    chance = Random(3)
    seconds = [chance.lognormvariate(math.log(2.0), 0.6) for _ in range(20_000)]
    found = latency(seconds)
    assert found is not None
    assert found.median == pytest.approx(2.0, rel=0.02)
    assert found.p90 == pytest.approx(2.0 * math.exp(0.6 * 1.28155), rel=0.03)
    assert found.sigma == pytest.approx(0.6, rel=0.02)
    of_three = fmean(max(seconds[i : i + 3]) for i in range(0, 19_998, 3))
    assert found.slowest_of(3) == pytest.approx(of_three, rel=0.03)
    assert latency([0.0, 0.0]) is None


def test_a_step_takes_its_slowest_first_vote_and_then_what_is_contested_or_flagged() -> None:
    found = latency([1.0, 1.0])
    assert found is not None
    assert found.of_step(3, 3.0) == pytest.approx(1.0)
    assert found.of_step(3, 5.0) == pytest.approx(2.0)
    assert found.of_step(3, 3.0, 0.5) == pytest.approx(1.0 + 1 - 0.125)
