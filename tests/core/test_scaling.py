"""The scaling laws against exact arithmetic, against the product's own ballots, and against bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core import scaling
from mdap.core.errors import UsageError, VotingCannotHelp

HELPFUL = st.floats(0.501, 1 - 1e-12)
KS = st.integers(1, 200)
STEPS = st.integers(1, 10**16)
TARGETS = st.floats(0.01, 0.9999)


def exact_odds(p: float, k: int) -> Decimal:
    """((1-p)/p)^k of the very number that the float is, to 60 digits; decimals have room for any exponent."""
    with localcontext() as context:
        context.prec = 60
        return ((1 - Decimal(p)) / Decimal(p)) ** k


# ---- the log domain -----------------------------------------------------------------------------------------------

EXTREMES = [
    (0.5 + 1e-9, 10_000, 10**6),
    (0.5000001, 10_000, 10**16),
    (0.51, 1, 1),
    (0.51, 10_000, 10**16),
    (0.9, 8, 10**6),
    (0.9, 10_000, 10**16),
    (0.9978, 3, 2**20 - 1),
    (0.999999, 2, 10**16),
    (1 - 1e-15, 1, 10**16),
    (1 - 2**-53, 10_000, 10**16),
]


@pytest.mark.parametrize(("p", "k", "s"), EXTREMES)
def test_success_and_failure_of_a_run_agree_with_sixty_digits(p: float, k: int, s: int) -> None:
    with localcontext() as context:
        context.prec = 60
        # ln(1 + x) loses no digits here only because x is kept beside it where 1 + x would swallow it.
        odds = exact_odds(p, k)
        hazard = s * ((1 + odds).ln() if odds > Decimal("1e-25") else odds - odds * odds / 2)
        failure = 1 - (-hazard).exp() if hazard > Decimal("1e-25") else hazard - hazard * hazard / 2
        log_failure, log_step = float(failure.ln()), float((odds / (1 + odds)).ln())
    assert scaling.log_run_success(p, k, s) == pytest.approx(-float(hazard), rel=1e-9)
    assert scaling.log_run_failure(p, k, s) == pytest.approx(log_failure, rel=1e-12, abs=1e-12)
    assert scaling.run_failure(p, k, s) == pytest.approx(float(failure), rel=1e-9, abs=1e-307)
    assert scaling.log_step_failure(p, k) == pytest.approx(log_step, rel=1e-12)


@pytest.mark.parametrize(("p", "k"), [(p, k) for p, k, _ in EXTREMES if k < 100])
def test_success_and_votes_of_a_step_agree_with_fractions(p: float, k: int) -> None:
    right = Fraction(p)
    success = right**k / (right**k + (1 - right) ** k)
    votes = k * (2 * success - 1) / (2 * right - 1)
    assert scaling.step_success(p, k) == pytest.approx(float(success), rel=1e-14)
    assert scaling.step_failure(p, k) == pytest.approx(float(1 - success), rel=1e-12)
    assert scaling.expected_votes(p, k) == pytest.approx(float(votes), rel=1e-13)


def test_a_failure_too_small_for_one_minus_success_is_still_exact() -> None:
    assert scaling.run_success(0.9978, 8, 1) == 1.0
    assert scaling.run_failure(0.9978, 8, 1) == pytest.approx(float(exact_odds(0.9978, 8)), rel=1e-12)
    assert scaling.log_run_failure(0.9, 10_000, 10**16) == pytest.approx(
        16 * math.log(10) - 1e4 * math.log(9), rel=1e-12
    )


def test_certain_votes_make_certain_runs() -> None:
    assert (scaling.run_success(1, 3, 1e16), scaling.run_failure(1, 3, 1e16)) == (1.0, 0.0)
    assert scaling.log_run_failure(1.0, 3, 1e16) == scaling.log_step_failure(1.0, 3) == -math.inf
    assert (scaling.k_min(1.0, 1e16, 0.999), scaling.expected_votes(1.0, 7)) == (1, 7.0)
    assert scaling.longest_run(1.0, 1, 0.95) == math.inf
    assert scaling.run_cost(1.0, 3, 10) == 30.0
    assert (scaling.first_to_k_success(1.0, 4), scaling.first_to_k_votes(1.0, 4)) == (1.0, 4.0)
    assert (scaling.step_failure_bound(1.0, 0.1, 2), scaling.k_min_rivals(1.0, 0.1, 1e6, 0.95)) == (0.0, 1)


def test_near_a_coin_the_votes_approach_k_squared() -> None:
    assert scaling.expected_votes(0.5 + 1e-13, 100) == pytest.approx(10_000, rel=1e-9)
    assert scaling.k_min(0.51, 1e6, 0.9) == 402


@given(p=HELPFUL, s=STEPS)
def test_at_k_1_a_run_is_one_of_single_calls(p: float, s: int) -> None:
    assert scaling.log_run_success(p, 1, s) == pytest.approx(scaling.log_single_call_success(p, s), rel=1e-9)
    assert scaling.expected_votes(p, 1) == pytest.approx(1, rel=1e-12)


def test_single_calls_take_any_p() -> None:
    assert scaling.single_call_success(0.5, 3) == pytest.approx(0.125)
    assert (scaling.single_call_success(0, 3), scaling.single_call_success(1, 3)) == (0.0, 1.0)


# ---- monotone -----------------------------------------------------------------------------------------------------


@given(p=HELPFUL, k=KS, s=STEPS)
def test_a_larger_k_never_makes_a_run_worse_nor_cheaper(p: float, k: int, s: int) -> None:
    assert scaling.log_run_failure(p, k + 1, s) <= scaling.log_run_failure(p, k, s)
    assert scaling.run_cost(p, k + 1, s) > scaling.run_cost(p, k, s)


@given(p=HELPFUL, better=HELPFUL, k=KS, s=STEPS, t=TARGETS)
def test_a_better_p_never_makes_a_run_worse_nor_asks_for_more(
    p: float, better: float, k: int, s: int, t: float
) -> None:
    p, better = sorted((p, better))
    assert scaling.log_run_failure(better, k, s) <= scaling.log_run_failure(p, k, s)
    assert scaling.k_min(better, s, t) <= scaling.k_min(p, s, t)
    assert scaling.expected_votes(better, k) <= scaling.expected_votes(p, k) * (1 + 1e-12)


@given(p=HELPFUL, k=st.integers(1, 60))
def test_first_to_k_errs_more_often_than_ahead_by_k_and_takes_fewer_votes(p: float, k: int) -> None:
    assert scaling.log_first_to_k_failure(p, k) >= scaling.log_step_failure(p, k) - 1e-9
    assert k * (1 - 1e-12) <= scaling.first_to_k_votes(p, k) <= 2 * k - 1 + 1e-9
    assert scaling.first_to_k_votes(p, k) <= scaling.expected_votes(p, k) * (1 + 1e-9)


def test_the_cost_of_the_least_k_is_not_monotone_in_the_size_of_a_subtask() -> None:
    def cost(p: float, m: int) -> float:
        return scaling.run_cost(p, scaling.k_min(p, 1e6, 0.9, m), 1e6, m)

    assert cost(0.99, 10) < cost(0.99, 1) < cost(0.99, 100)
    assert cost(0.999, 100) < cost(0.999, 1)


# ---- inverses -----------------------------------------------------------------------------------------------------


@given(p=HELPFUL, s=STEPS, t=TARGETS, m=st.sampled_from([1, 2, 10]))
def test_k_min_reaches_the_target_and_one_less_does_not(p: float, s: int, t: float, m: int) -> None:
    s = max(s, m)
    k = scaling.k_min(p, s, t, m)
    assert scaling.log_run_success(p, k, s, m) >= math.log(t) * (1 + 1e-9)
    assert k == 1 or scaling.log_run_success(p, k - 1, s, m) < math.log(t)


@given(k=KS, s=STEPS, t=TARGETS)
def test_the_p_needed_for_a_k_is_needed_and_enough(k: int, s: int, t: float) -> None:
    wrong = scaling.wrong_votes_allowed(k, s, t)
    assert scaling.p_needed(k, s, t) == 1 - wrong
    if 1e-6 < wrong < 0.499:
        assert scaling.run_success(1 - wrong, k, s) == pytest.approx(t, rel=1e-6)
        assert scaling.k_min(1 - wrong * (1 - 1e-6), s, t) <= k < scaling.k_min(1 - wrong * (1 + 1e-6), s, t)


def test_a_p_that_floats_cannot_hold_is_given_as_its_distance_from_one() -> None:
    assert scaling.p_needed(1, 10**18, 0.95) == 1.0
    assert scaling.wrong_votes_allowed(1, 10**18, 0.95) == pytest.approx(-math.log(0.95) / 1e18, rel=1e-12)
    assert scaling.wrong_votes_allowed(50, 1, 0.1) == 0.5


@given(p=HELPFUL, k=st.integers(1, 30), t=TARGETS, m=st.sampled_from([1, 5]))
def test_the_longest_run_reaches_the_target_and_one_subtask_more_does_not(p: float, k: int, t: float, m: int) -> None:
    longest = scaling.longest_run(p, k, t, m)
    if 0 < longest < 1e15:
        assert scaling.log_run_success(p, k, longest, m) >= math.log(t) * (1 + 1e-9)
        assert scaling.log_run_success(p, k, longest + m, m) < math.log(t) * (1 - 1e-12)
    if longest == 0:
        assert scaling.run_success(p, k, m, m) < t


def test_runs_without_an_end_in_sight_are_infinite() -> None:
    assert scaling.longest_run(0.9, 10_000, 0.95) == math.inf
    assert scaling.longest_run(0.6, 1, 0.95) == 0


def test_values_that_are_whole_on_paper_do_not_move_by_rounding() -> None:
    for p in (0.6, 0.7, 0.9, 0.95, 0.99, 0.999):
        assert scaling.k_min(p, 1, p) == 1
        assert scaling.longest_run(p, 1, p) == 1
        assert scaling.first_to_k_min(p, 1, p) == 1
    assert scaling.k_min(0.9, 1, 0.5) == scaling.k_min(0.9, 1, 1e-300) == 1


@given(p=HELPFUL, s=st.integers(1, 10**9), v=st.floats(0.1, 1), ballots=st.floats(0.5, 1e4))
def test_k_for_a_budget_is_affordable_and_the_next_is_not(p: float, s: int, v: float, ballots: float) -> None:
    budget = ballots * s
    k = scaling.k_for_budget(budget, p, s, v=v)
    if isinstance(k, scaling.Unaffordable):
        assert k.least == pytest.approx(s / v)
        assert k.budget < k.least
    else:
        assert scaling.run_cost(p, k, s, v=v) <= budget < scaling.run_cost(p, k + 1, s, v=v)


def test_a_budget_below_one_vote_a_step_is_answered_not_refused() -> None:
    answer = scaling.k_for_budget(99, 0.9, 100)
    assert isinstance(answer, scaling.Unaffordable)
    assert answer.budget == 99
    assert answer.least == pytest.approx(100)
    plenty = scaling.k_for_budget(1e300, 0.9, 100)
    assert isinstance(plenty, int)
    assert plenty > 10**18


@given(p=HELPFUL, s=st.integers(1, 10**12), t=TARGETS)
def test_first_to_k_min_reaches_the_target_and_one_less_does_not(p: float, s: int, t: float) -> None:
    k = scaling.first_to_k_min(p, s, t)
    assert scaling.log_first_to_k_run_success(p, k, s) >= math.log(t) * (1 + 1e-9)
    assert k == 1 or scaling.first_to_k_run_success(p, k - 1, s) < t


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.5, 0.3, 0.0, 0])
def test_p_of_one_half_or_less_is_refused_with_the_reason(p: float) -> None:
    for law in (scaling.step_success, scaling.expected_votes, scaling.first_to_k_success):
        with pytest.raises(VotingCannotHelp, match=r"more votes do not make a step right.*raise p above 0\.5"):
            law(p, 3)
    with pytest.raises(VotingCannotHelp):
        scaling.k_min(p, 10, 0.9)


BAD: list[tuple[str, Callable[[], object]]] = [
    ("p=nan", lambda: scaling.step_success(math.nan, 3)),
    ("p=1.5", lambda: scaling.step_success(1.5, 3)),
    ("p=-0.1", lambda: scaling.run_cost(-0.1, 3, 10)),
    ("p='0.9'", lambda: scaling.step_success("0.9", 3)),  # type: ignore[arg-type]
    ("p=True", lambda: scaling.step_success(True, 3)),
    ("k=0", lambda: scaling.step_success(0.9, 0)),
    ("k=2.5", lambda: scaling.expected_votes(0.9, 2.5)),
    ("s=0", lambda: scaling.run_success(0.9, 3, 0)),
    ("s=nan", lambda: scaling.k_min(0.9, math.nan, 0.9)),
    ("s=inf", lambda: scaling.k_min(0.9, math.inf, 0.9)),
    ("s=1e[+]300", lambda: scaling.k_min(0.9, 1e300, 0.9)),
    ("s is beyond", lambda: scaling.k_min(0.9, 10**400, 0.9)),
    ("t=1", lambda: scaling.k_min(0.9, 10, 1)),
    ("t=0", lambda: scaling.longest_run(0.9, 3, 0)),
    ("t=nan", lambda: scaling.p_needed(3, 10, math.nan)),
    ("m=11", lambda: scaling.run_success(0.9, 3, 10, 11)),
    ("m=0", lambda: scaling.p_vote(0.9, 0)),
    ("v=0", lambda: scaling.run_cost(0.9, 3, 10, v=0)),
    ("v=1.1", lambda: scaling.run_cost(0.9, 3, 10, v=1.1)),
    ("c=0", lambda: scaling.run_cost(0.9, 3, 10, c=0)),
    ("budget=inf", lambda: scaling.k_for_budget(math.inf, 0.9, 10)),
    ("q=0.2", lambda: scaling.step_failure_bound(0.9, 0.2, 3)),
    ("q=0", lambda: scaling.step_failure_bound(0.9, 0, 3)),
    ("hard_share=2", lambda: scaling.mixed_votes(0.9, 3, 2)),
    ("hard_p=1", lambda: scaling.unanimous_votes_needed(10, 1e6, 0.95, hard_p=1)),
    ("first_to_k needs more than", lambda: scaling.first_to_k_min(0.5 + 1e-6, 1e6, 0.95)),
]


@pytest.mark.parametrize(("message", "call"), BAD, ids=[message for message, _ in BAD])
def test_other_bad_input_is_refused_naming_the_value_and_the_remedy(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=f"^{message}") as raised:
        call()
    assert raised.value.remedy


def test_whole_floats_are_counts() -> None:
    assert scaling.k_min(0.9978, 1e6, 0.95) == scaling.k_min(0.9978, 10**6, 0.95)
    assert scaling.run_success(0.9, 3.0, 1e16) == scaling.run_success(0.9, 3, 10**16)


def test_costs_beyond_floats_are_infinite_and_their_logarithms_are_not() -> None:
    assert scaling.run_cost(0.9, 2, 1e6, 10_000) == scaling.vote_cost(0.9, 10_000) == math.inf
    votes = 2 * (2 * scaling.step_success(0.9, 2) - 1) / 0.8
    by_hand = (math.log(votes) + math.log(1e6) - 9999 * math.log(0.9)) / math.log(10)
    assert scaling.log_run_cost(0.9, 2, 1e6, 10_000) / math.log(10) == pytest.approx(by_hand, rel=1e-12)
    assert math.exp(scaling.log_run_cost(0.9, 3, 100, 5, 0.2, 0.9)) == pytest.approx(
        scaling.run_cost(0.9, 3, 100, 5, 0.2, 0.9)
    )
    assert scaling.subtask_cost(0.9, 3, 5) == pytest.approx(scaling.subtask_cost_asymptote(0.9, 3, 5), rel=0.01)
