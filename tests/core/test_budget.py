"""Budgets as arithmetic: what is reserved, settled and leased, checked against any order of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.budget import LEASE_SHARE, Budget, Limits
from mdap.core.errors import BudgetReached
from mdap.core.history import Spend

# (tokens of the next call, share of them really used, how many calls settle before it)
CALLS = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1), st.integers(0, 3)), max_size=60)


def test_a_reservation_beyond_the_limit_is_refused_with_the_figures() -> None:
    budget = Budget(Limits(tokens=100), Spend(tokens=60))
    budget.reserve(30)
    with pytest.raises(BudgetReached, match=r"90 tokens taken \+ 11 for the next call > 100.*--budget-tokens"):
        budget.reserve(11)
    assert budget.fits(10)


def test_calls_of_earlier_segments_count() -> None:
    budget = Budget(Limits(calls=3), Spend(calls=2))
    budget.reserve(0)
    with pytest.raises(BudgetReached, match=r"3 calls taken \+ 1 for the next call > 3"):
        budget.check(0)


def test_what_was_reserved_and_not_used_fits_again_once_settled() -> None:
    budget = Budget(Limits(tokens=100), Spend())
    budget.reserve(100)
    assert not budget.fits(1)
    budget.settle(100, 40)
    assert budget.fits(60)
    assert not budget.fits(61)


def test_a_call_that_was_never_made_is_given_back_whole() -> None:
    budget = Budget(Limits(calls=1, tokens=50), Spend())
    budget.reserve(50)
    budget.release(50)
    assert (budget.spent, budget.calls_open, budget.tokens_open) == (Spend(), 0, 0)
    budget.reserve(50)


def test_without_limits_everything_fits_and_no_lease_is_needed() -> None:
    budget = Budget(Limits(), Spend())
    for _ in range(50):
        budget.reserve(10**9)
    assert not budget.is_counted
    assert budget.next_lease(1e9) is None


def test_the_budget_keeps_its_own_copy_of_what_was_spent() -> None:
    spent = Spend(calls=1)
    budget = Budget(Limits(calls=5), spent)
    budget.reserve(0)
    budget.settle(0, 0)
    assert (spent.calls, budget.spent.calls) == (1, 2)


@given(CALLS, st.integers(0, 40), st.integers(0, 600))
def test_whatever_is_asked_neither_limit_is_ever_overshot(
    calls: list[tuple[int, float, int]], most_calls: int, most_tokens: int
) -> None:
    budget = Budget(Limits(calls=most_calls, tokens=most_tokens), Spend())
    in_flight: list[tuple[int, int]] = []
    for tokens, share, ending in calls:
        for reserved, used in in_flight[:ending]:
            budget.settle(reserved, used)
        del in_flight[:ending]
        fitted = budget.fits(tokens)
        try:
            budget.reserve(tokens)
        except BudgetReached:
            assert not fitted
        else:
            in_flight.append((tokens, int(tokens * share)))
        assert budget.spent.calls + budget.calls_open <= most_calls
        assert budget.spent.tokens + budget.tokens_open <= most_tokens
    for reserved, used in in_flight:
        budget.settle(reserved, used)
    assert (budget.calls_open, budget.tokens_open) == (0, 0)


@given(CALLS, st.integers(1, 5_000), st.integers(1, 5_000), st.booleans(), st.booleans())
def test_a_lease_covers_what_is_reserved_and_sets_aside_at_most_one_percent_more(
    calls: list[tuple[int, float, int]], most_calls: int, most_tokens: int, count_calls: bool, count_tokens: bool
) -> None:
    limits = Limits(calls=most_calls if count_calls else None, tokens=most_tokens if count_tokens else None)
    budget = Budget(limits, Spend())
    for tokens, share, _ in calls:
        if not budget.fits(tokens):
            break
        budget.reserve(tokens)
        lease, before = budget.next_lease(0.0), budget.lease
        if lease is not None:
            budget.lease = lease
        for now, old, taken, limit in (
            (budget.lease.calls, before.calls, budget.spent.calls + budget.calls_open, limits.calls),
            (budget.lease.tokens, before.tokens, budget.spent.tokens + budget.tokens_open, limits.tokens),
        ):
            if limit is not None:
                assert taken <= now <= limit
                assert now <= max(taken, old + limit * LEASE_SHARE)
        budget.settle(tokens, int(tokens * share))


def test_a_budget_of_tokens_alone_writes_a_lease_a_block_and_not_one_a_call() -> None:
    budget, leases = Budget(Limits(tokens=100_000), Spend()), 0
    for _ in range(1_000):
        budget.reserve(100)
        lease = budget.next_lease(0.0)
        if lease is not None:
            budget.lease, leases = lease, leases + 1
        budget.settle(100, 100)
    assert leases == 100


def test_a_budget_of_calls_alone_writes_a_lease_a_block_though_tokens_are_reported() -> None:
    budget, leases = Budget(Limits(calls=1_000), Spend()), 0
    for _ in range(1_000):
        budget.reserve(0)
        lease = budget.next_lease(0.0)
        if lease is not None:
            budget.lease, leases = lease, leases + 1
        budget.settle(0, 500)
    assert leases == 100


def test_a_lease_of_time_covers_what_has_passed() -> None:
    budget = Budget(Limits(seconds=100.0), Spend(seconds=10.0))
    assert budget.next_lease(0.0) is None
    lease = budget.next_lease(0.5)
    assert lease is not None
    assert lease.seconds == pytest.approx(11.0)
    budget.lease = lease
    assert budget.next_lease(0.9) is None
    assert budget.next_lease(95.0) == Spend(0, 0, 105.0)
