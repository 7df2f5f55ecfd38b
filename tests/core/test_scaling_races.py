"""Races of several candidates, first_to_k, mixtures with hard steps: against exact sums and the product's ballots."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core import scaling
from mdap.core.ballot import Ballot, Rule
from mdap.core.errors import UsageError, VotingCannotHelp
from mdap.core.rules import AheadByK, FirstToK

HELPFUL = st.floats(0.501, 1 - 1e-12)
KS = st.integers(1, 200)
STEPS = st.integers(1, 10**16)
TARGETS = st.floats(0.01, 0.9999)


# ---- races --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "k"), [(0.501, 40), (0.7, 3), (0.9, 15), (0.9978, 4), (0.9, 90)])
def test_first_to_k_agrees_with_the_sum_over_all_ends(p: float, k: int) -> None:
    right, wrong = Fraction(p), 1 - Fraction(p)
    lost = sum(math.comb(k - 1 + j, j) * wrong**k * right**j for j in range(k))
    votes = sum((k + j) * math.comb(k - 1 + j, j) * (right**k * wrong**j + wrong**k * right**j) for j in range(k))
    assert scaling.first_to_k_failure(p, k) == pytest.approx(float(lost), rel=1e-11)
    assert scaling.first_to_k_votes(p, k) == pytest.approx(float(votes), rel=1e-11)


def test_first_to_k_is_right_for_ten_thousand_votes() -> None:
    with localcontext() as context:
        context.prec = 50
        right, wrong, k = Decimal.from_float(0.6), 1 - Decimal.from_float(0.6), 10_000
        term = total = wrong**k
        for j in range(1, k):
            term *= right * (k - 1 + j) / j
            total += term
        log_lost = float(total.ln())
    assert scaling.log_first_to_k_failure(0.6, k) == pytest.approx(log_lost, abs=1e-8)


@given(p=st.floats(0, 1), k=st.integers(1, 6))
def test_undecided_shares_fall_to_nothing_and_sum_to_the_expected_votes(p: float, k: int) -> None:
    shares = list(islice(scaling.undecided_shares(p, k), 2000))
    assert all(later <= sooner + 1e-12 for sooner, later in pairwise(shares))
    assert shares[: k - 1] == pytest.approx([1.0] * (k - 1))
    if p > 0.5:
        # A ballot casts vote n + 1 if it is undecided after n: the mean is the sum over n, from n = 0 on.
        assert 1 + math.fsum(shares) == pytest.approx(scaling.expected_votes(p, k), rel=1e-6)


@given(p=HELPFUL, k=KS, s=STEPS, t=TARGETS)
def test_with_one_rival_the_bound_for_several_is_the_law_itself(p: float, k: int, s: int, t: float) -> None:
    assert scaling.step_failure_bound(p, 1 - p, k) == pytest.approx(scaling.step_failure(p, k), rel=1e-9)
    assert scaling.k_min_rivals(p, 1 - p, s, t) == pytest.approx(scaling.k_min(p, s, t), abs=1)


@given(p=st.floats(0.3, 0.99), rivals=st.integers(1, 50), s=STEPS, t=TARGETS)
def test_wrong_votes_that_spread_need_a_smaller_k(p: float, rivals: int, s: int, t: float) -> None:
    q = (1 - p) / rivals
    if q < 0.99 * p:
        k = scaling.k_min_rivals(p, q, s, t)
        bound = scaling.step_failure_bound(p, q, k)
        assert s * math.log1p(-bound) >= math.log(t) * (1 + 1e-6)
        if p > 0.501:
            assert k <= scaling.k_min(p, s, t) + 1


def test_a_p_below_one_half_can_be_enough_where_rivals_disagree() -> None:
    k = scaling.k_min_rivals(0.4, 0.2, 1e6, 0.95)
    assert k == math.ceil(math.log(3 / scaling.step_error_allowed(1e6, 0.95)) / math.log(2))
    with pytest.raises(VotingCannotHelp, match=r"q=0\.4 is not below p=0\.3"):
        scaling.k_min_rivals(0.3, 0.4, 1e6, 0.95)


# ---- the product's ballots ----------------------------------------------------------------------------------------


class OneShort(AheadByK, frozen=True):
    """A rule that is broken on purpose: it decides at a lead of k - 1."""

    def needed(self, ballot: Ballot) -> int:
        return max(0, self.k - 1 - ballot.lead)

    def decided(self, ballot: Ballot) -> bool:
        return ballot.lead >= self.k - 1


def simulate(rule: Rule, p: float, races: int) -> tuple[float, float, float]:
    """Share of races that the right answer wins, mean votes, and share still undecided after `rule.k` votes."""
    rng = Random(f"{p} {rule.k}")
    won = votes = late = 0
    for _ in range(races):
        ballot = Ballot(rule)
        while needed := ballot.needed:
            for _ in range(needed):
                ballot.cast(rng.random() < p)
        won += ballot.winner is True
        votes += ballot.votes
        late += ballot.votes > rule.k
    return won / races, votes / races, late / races


RACES = 6000


def outside(observed: float, expected: float) -> bool:
    """Whether a share of RACES lies more than four standard errors from what it should be."""
    return abs(observed - expected) > 4 * math.sqrt(expected * (1 - expected) / RACES)


@pytest.mark.parametrize(("p", "k"), [(0.6, 4), (0.7, 3), (0.9, 2)])
def test_ballots_of_ahead_by_k_win_as_often_as_equation_9_says(p: float, k: int) -> None:
    won, votes, late = simulate(AheadByK(k), p, RACES)
    assert not outside(won, scaling.step_success(p, k))
    assert votes == pytest.approx(scaling.expected_votes(p, k), rel=0.05)
    assert not outside(late, list(islice(scaling.undecided_shares(p, k), k))[-1])


@pytest.mark.parametrize(("p", "k"), [(0.6, 4), (0.7, 3), (0.9, 2)])
@pytest.mark.parametrize("broken", [OneShort, FirstToK])
def test_a_rule_that_is_not_ahead_by_k_fails_equation_9(broken: Callable[[int], Any], p: float, k: int) -> None:
    won, votes, _ = simulate(broken(k), p, RACES)
    assert outside(won, scaling.step_success(p, k))
    assert votes != pytest.approx(scaling.expected_votes(p, k), rel=0.05)


@pytest.mark.parametrize(("p", "k"), [(0.6, 4), (0.7, 3)])
def test_ballots_of_first_to_k_win_as_often_as_its_own_law_says(p: float, k: int) -> None:
    won, votes, _ = simulate(FirstToK(k), p, RACES)
    assert not outside(won, scaling.first_to_k_success(p, k))
    assert votes == pytest.approx(scaling.first_to_k_votes(p, k), rel=0.02)
    assert outside(simulate(AheadByK(k), p, RACES)[0], scaling.first_to_k_success(p, k))


# ---- hard steps ---------------------------------------------------------------------------------------------------


@given(p=st.floats(0.56, 0.9999), share=st.floats(0, 1), s=st.integers(1, 10**9), t=TARGETS)
def test_the_least_k_of_a_mixture_lies_between_those_of_its_parts(p: float, share: float, s: int, t: float) -> None:
    k = scaling.mixed_k_min(p, s, t, share)
    assert scaling.k_min(p, s, t) - 1 <= k <= scaling.k_min(scaling.HARD_P, s, t) + 1
    assert scaling.mixed_run_success(p, k, s, share) >= t * (1 - 1e-6)
    assert k == 1 or scaling.mixed_step_failure(p, k - 1, share) > scaling.step_error_allowed(s, t)


def test_the_share_of_hard_steps_allowed_is_where_the_target_is_just_reached() -> None:
    share = scaling.hard_share_allowed(0.998, 3, 1e6, 0.95)
    assert scaling.mixed_run_success(0.998, 3, 10**6, share) == pytest.approx(0.95, rel=1e-6)
    assert scaling.hard_share_allowed(0.998, 2, 1e6, 0.95) == 0.0
    assert scaling.hard_share_allowed(0.998, 84, 1e6, 0.95) == 1.0


@pytest.mark.parametrize(("hits", "trials"), [(0, 31), (1, 31), (5, 1000), (30, 31), (400, 1000)])
def test_the_upper_limit_of_a_share_leaves_five_percent_below(hits: int, trials: int) -> None:
    limit = scaling.upper_share(hits, trials)
    at_most = math.fsum(math.comb(trials, i) * limit**i * (1 - limit) ** (trials - i) for i in range(hits + 1))
    assert at_most == pytest.approx(0.05, rel=1e-6)


def test_a_share_seen_everywhere_has_no_upper_limit_but_one() -> None:
    assert scaling.upper_share(7, 7) == 1.0
    with pytest.raises(UsageError, match="8 of 7"):
        scaling.upper_share(8, 7)
