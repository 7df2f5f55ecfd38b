"""What grows with what in the scaling laws, and that closed forms are sums over all ways in which votes can fall."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import islice, pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mdap.core import scaling
from mdap.core.errors import UsageError, VotingCannotHelp
from mdap.core.scaling.binomial import log_beta_tail
from mdap.core.scaling.gated import gated

SHARES = st.floats(0, 1)
HELPFUL = st.floats(0.501, 0.9999)
KS = st.integers(1, 60)
STEPS = st.integers(1, 10**12)
TARGETS = st.floats(0.01, 0.9999)
SLACK = 1 + 1e-9


def below(low: float, high: float) -> bool:
    """At most equal, but for rounding."""
    return low <= high * SLACK + 1e-300


# Two candidates, every sequence of votes.


def races(p: Fraction, k: int, most: int) -> dict[str, Fraction]:
    """How ahead_by_k ends within `most` votes, by walking the lead: right, wrong, open, and the votes up to there."""
    leads = {0: Fraction(1)}
    found = {"right": Fraction(0), "wrong": Fraction(0), "votes": Fraction(0)}
    for _ in range(most):
        found["votes"] += sum(leads.values())
        after: dict[int, Fraction] = {}
        for lead, share in leads.items():
            for next_, chance in ((lead + 1, p), (lead - 1, 1 - p)):
                after[next_] = after.get(next_, Fraction(0)) + share * chance
        found["right"] += after.pop(k, Fraction(0))
        found["wrong"] += after.pop(-k, Fraction(0))
        leads = after
    return {**found, "open": Fraction(sum(leads.values()))}


@pytest.mark.parametrize(("p", "k"), [(0.6, 1), (0.75, 2), (0.9, 3), (0.97, 4)])
def test_success_and_votes_of_ahead_by_k_are_the_limits_of_its_race(p: float, k: int) -> None:
    found = races(Fraction(p), k, 120)
    left = float(found["open"])
    assert float(found["right"]) <= scaling.step_success(p, k) <= float(found["right"]) + left + 1e-12
    assert float(found["wrong"]) <= scaling.step_failure(p, k) * SLACK
    # What is still open goes on for k^2 votes at most.
    assert float(found["votes"]) <= scaling.expected_votes(p, k) * SLACK
    assert scaling.expected_votes(p, k) <= float(found["votes"]) + left * k * k + 1e-9


@pytest.mark.parametrize(("p", "k"), [(0.6, 1), (0.75, 2), (0.9, 3)])
def test_undecided_shares_are_those_of_the_race(p: float, k: int) -> None:
    shares = list(islice(scaling.undecided_shares(p, k), 25))
    assert shares == pytest.approx([float(races(Fraction(p), k, n)["open"]) for n in range(1, 26)])
    assert all(before >= after for before, after in pairwise(shares))


@pytest.mark.parametrize("k", [1, 2, 3])
@given(p=HELPFUL)
def test_first_to_k_is_the_sum_over_all_sequences_of_votes(k: int, p: float) -> None:
    right = wrong = votes = 0.0
    for fall in product((True, False), repeat=2 * k - 1):
        counts, used = [0, 0], 0
        while max(counts) < k:
            counts[fall[used]] += 1
            used += 1
        # All falls that begin like this one are counted, each with its own share.
        share = math.prod(p if vote else 1 - p for vote in fall)
        right, wrong, votes = right + share * (counts[1] == k), wrong + share * (counts[0] == k), votes + share * used
    assert scaling.first_to_k_success(p, k) == pytest.approx(right, rel=1e-9)
    assert scaling.first_to_k_failure(p, k) == pytest.approx(wrong, rel=1e-6, abs=1e-15)
    assert scaling.first_to_k_votes(p, k) == pytest.approx(votes, rel=1e-9)


# Monotone.


@given(p=HELPFUL, k=KS, s=STEPS, m=st.sampled_from([1, 3]))
def test_a_longer_run_never_succeeds_more_often_nor_costs_less(p: float, k: int, s: int, m: int) -> None:
    s = max(s, m)
    assert scaling.log_run_failure(p, k, s, m) <= scaling.log_run_failure(p, k, 2 * s, m)
    assert scaling.run_success(p, k, 2 * s, m) <= scaling.run_success(p, k, s, m) * SLACK
    assert scaling.run_cost(p, k, 2 * s, m) == pytest.approx(2 * scaling.run_cost(p, k, s, m))
    assert scaling.single_call_success(p, 2 * s) <= scaling.single_call_success(p, s)


@given(p=HELPFUL, s=STEPS, t=TARGETS, higher=TARGETS)
def test_a_higher_target_and_a_longer_run_never_ask_for_less(p: float, s: int, t: float, higher: float) -> None:
    t, higher = sorted((t, higher))
    assert scaling.k_min(p, s, t) <= scaling.k_min(p, s, higher)
    assert scaling.k_min(p, s, t) <= scaling.k_min(p, 10 * s, t)
    assert scaling.p_needed(3, s, t) <= scaling.p_needed(3, s, higher)
    assert scaling.p_needed(3, s, t) >= scaling.p_needed(4, s, t)
    assert scaling.step_error_allowed(s, t) * SLACK >= scaling.step_error_allowed(s, higher)


@given(p=HELPFUL, k=KS, t=TARGETS, higher=TARGETS)
def test_a_longest_run_grows_with_k_and_shrinks_with_the_target(p: float, k: int, t: float, higher: float) -> None:
    t, higher = sorted((t, higher))
    assert scaling.longest_run(p, k, higher) <= scaling.longest_run(p, k, t)
    assert scaling.longest_run(p, k, t) <= scaling.longest_run(p, k + 1, t)


@given(p=HELPFUL, k=KS, s=st.integers(1, 10**9), c=st.floats(0.001, 100), v=st.floats(0.1, 1))
def test_cost_is_in_proportion_to_price_and_length_and_flags_make_it_dearer(
    p: float, k: int, s: int, c: float, v: float
) -> None:
    cost = scaling.run_cost(p, k, s)
    assert scaling.run_cost(p, k, s, c=c) == pytest.approx(c * cost)
    assert scaling.run_cost(p, k, s, v=v) == pytest.approx(cost / v)
    assert scaling.expected_samples(p, k, s, v) == pytest.approx(scaling.run_cost(p, k, s, v=v))
    assert math.exp(scaling.log_run_cost(p, k, s, c=c, v=v)) == pytest.approx(scaling.run_cost(p, k, s, c=c, v=v))
    # What is called an asymptote is never below: a ballot that may end for the wrong answer ends sooner.
    assert below(cost, scaling.run_cost_asymptote(p, k, s))


@given(p=HELPFUL, m=st.integers(1, 40))
def test_of_the_samples_of_a_subtask_those_in_the_race_are_all_right_or_wrong_in_one_step(p: float, m: int) -> None:
    right, wrong = scaling.p_vote(p, m), scaling.p_alt(p, m)
    assert 0 < right + wrong <= SLACK
    # The race is that of a single step, whatever m is (Eq. 12).
    assert right / (right + wrong) == pytest.approx(p)
    assert scaling.vote_cost(p, m) == pytest.approx(m / (right + wrong))


@given(price=st.tuples(*[st.floats(0, 100)] * 2), tokens=st.tuples(*[st.integers(0, 10**6)] * 2))
def test_the_price_of_a_sample_is_what_it_reads_and_what_it_writes(
    price: tuple[float, float], tokens: tuple[int, int]
) -> None:
    both = scaling.sample_price(price[0], tokens[0], price[1], tokens[1])
    reading, writing = (
        scaling.sample_price(price[0], tokens[0], 0, 0),
        scaling.sample_price(0, 0, price[1], tokens[1]),
    )
    assert both == pytest.approx(reading + writing)
    assert both >= 0


# Hard steps.


@given(p=HELPFUL, hard=st.floats(0.501, 0.999), share=SHARES, k=KS)
def test_a_mixture_lies_between_its_parts_and_is_one_of_them_at_its_ends(
    p: float, hard: float, share: float, k: int
) -> None:
    assume(hard <= p)
    easy, worse = scaling.step_failure(p, k), scaling.step_failure(hard, k)
    mixed = scaling.mixed_step_failure(p, k, share, hard)
    assert below(easy, mixed)
    assert below(mixed, worse)
    assert scaling.mixed_step_failure(p, k, 0, hard) == easy
    assert scaling.mixed_step_failure(p, k, 1, hard) == worse
    assert below(scaling.expected_votes(p, k), scaling.mixed_votes(p, k, share, hard))
    assert scaling.mixed_run_success(p, k, 7, share, hard) == pytest.approx((1 - mixed) ** 7)


@given(p=HELPFUL, k=KS, s=st.integers(1, 10**7), t=TARGETS)
def test_a_larger_k_bears_more_hard_steps(p: float, k: int, s: int, t: float) -> None:
    allowed, more = scaling.hard_share_allowed(p, k, s, t), scaling.hard_share_allowed(p, k + 1, s, t)
    assert 0 <= allowed <= more * SLACK
    assert more <= 1
    if 0 < allowed < 1:
        assert scaling.mixed_run_success(p, k, s, allowed) == pytest.approx(t, rel=1e-6)


@given(n=st.integers(1, 10**6), s=st.integers(1, 10**7), t=TARGETS)
def test_more_steps_without_a_hard_one_ask_for_fewer_equal_votes(n: int, s: int, t: float) -> None:
    assert 1 <= scaling.unanimous_votes_needed(2 * n, s, t) <= scaling.unanimous_votes_needed(n, s, t)
    votes = scaling.unanimous_votes_needed(n, s, t)
    error = scaling.unseen_hard_share(n) * (1 - scaling.HARD_P) ** votes
    assert error <= scaling.step_error_allowed(s, t) * SLACK
    assert votes == 1 or error / (1 - scaling.HARD_P) > scaling.step_error_allowed(s, t) / SLACK


# Rivals, judges and gates.


@given(p=st.floats(0.01, 0.999), q=st.floats(0.001, 0.5), k=KS, s=st.integers(1, 10**9), t=TARGETS)
def test_a_commoner_wrong_answer_asks_for_more_and_the_k_that_is_given_is_enough(
    p: float, q: float, k: int, s: int, t: float
) -> None:
    q = min(q, 1 - p)
    assume(q < p * 0.99)
    bound = scaling.step_failure_bound(p, q, k)
    assert 0 <= scaling.step_failure_bound(p, q, k + 1) <= bound <= 1
    enough = scaling.k_min_rivals(p, q, s, t)
    assert scaling.step_failure_bound(p, q, enough) <= scaling.step_error_allowed(s, t) * (1 + 1e-6)
    assert scaling.k_min_rivals(p, q, s, t) <= scaling.k_min_rivals(p, q, 10 * s, t)


def test_shares_too_small_for_a_quotient_still_have_a_bound() -> None:
    assert scaling.step_failure_bound(1e-310, 5e-324, 1) == pytest.approx(1.0)
    assert scaling.step_failure_bound(0.5, 5e-324, 1) == pytest.approx(0.5)
    with pytest.raises(VotingCannotHelp, match="as common as the right one"):
        scaling.step_failure_bound(0.4, 0.4, 3)


@given(p=SHARES, q=SHARES, more=SHARES, k=st.integers(1, 12))
def test_better_candidates_and_better_judges_never_make_a_question_worse(
    p: float, q: float, more: float, k: int
) -> None:
    found = scaling.judged_success(p, q, k)
    assert -1e-12 <= found <= 1 + 1e-12
    assert below(found - 1e-12, scaling.judged_success(p, max(q, more), k))
    # What is right of the one is wrong of the other: names of answers do not matter.
    assert scaling.judged_success(1 - p, 1 - q, k) == pytest.approx(1 - found, abs=1e-9)
    if q >= 0.5:
        assert below(found - 1e-9, scaling.judged_success(max(p, more), q, k))


@given(yes=SHARES, more=SHARES, k=st.integers(1, 6))
def test_judges_who_say_yes_more_often_accept_more_often_and_words_do_not_matter(
    yes: float, more: float, k: int
) -> None:
    found, other = gated(yes, k), gated(1 - yes, k)
    assert found.accepted + found.refused + found.contentious == pytest.approx(1)
    assert (found.accepted, found.refused) == pytest.approx((other.refused, other.accepted), abs=1e-9)
    assert k - 1e-9 <= found.votes <= 4 * k + 1e-9
    assert gated(max(yes, more), k).accepted >= found.accepted - 1e-9


# The tails on which the limits rest.


@given(x=st.floats(0.001, 0.999), a=st.integers(1, 40), b=st.integers(1, 40))
def test_the_tail_is_the_sum_of_a_binomial_and_has_its_mirror(x: float, a: int, b: int) -> None:
    n = a + b - 1
    exact = math.fsum(math.comb(n, i) * x**i * (1 - x) ** (n - i) for i in range(a, n + 1))
    assert math.exp(log_beta_tail(x, a, b)) == pytest.approx(exact, rel=1e-9, abs=1e-300)
    assert math.exp(log_beta_tail(x, a, b)) + math.exp(log_beta_tail(1 - x, b, a)) == pytest.approx(1, abs=1e-9)


def test_outside_of_its_range_a_tail_is_all_or_nothing() -> None:
    assert [log_beta_tail(x, 3, 4) for x in (-1, 0, 1, 2)] == [-math.inf, -math.inf, 0.0, 0.0]


@given(hits=st.integers(0, 200), more=st.integers(0, 200), confidence=st.floats(0.5, 0.999))
def test_an_upper_limit_is_above_its_share_and_grows_with_hits_and_confidence(
    hits: int, more: int, confidence: float
) -> None:
    trials = hits + more + 1
    limit = scaling.upper_share(hits, trials, confidence)
    assert hits / trials < limit < 1
    assert limit < scaling.upper_share(hits + 1, trials, confidence) * SLACK
    assert limit <= scaling.upper_share(hits, trials, (1 + confidence) / 2) * SLACK
    assert limit >= scaling.upper_share(hits, trials + 1, confidence) / SLACK


@pytest.mark.parametrize(("hits", "trials", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (1, 5, 0.0), (1, 5, 1.0)])
def test_what_has_no_limit_is_refused(hits: int, trials: int, confidence: float) -> None:
    with pytest.raises(UsageError, match=f"{hits} of {trials}"):
        scaling.upper_share(hits, trials, confidence)
