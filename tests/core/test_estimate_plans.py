"""What plans and agents take: the range of calls, its cost, and the k that a budget pays for."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.ballot import Ballot
from mdap.core.errors import UsageError, VotingCannotHelp
from mdap.core.estimate import Rates
from mdap.core.estimate_plans import Caps, PlannedEstimate, estimate_agent, estimate_plan
from mdap.core.keyed import uniforms
from mdap.core.rules.first_to_k import FirstToK
from mdap.core.scaling import Unaffordable


@pytest.mark.parametrize(("steps", "batch", "k", "calls"), [(20, 3, 10, 165), (1, 1, 1, 6), (20, 2, 10, 231)])
def test_a_plan_that_goes_well_takes_two_gates_a_batch_and_one_for_its_end(
    steps: int, batch: int, k: int, calls: int
) -> None:
    assert estimate_plan(steps, batch_size=batch, k=k).calls.least == calls


def test_the_most_of_a_plan_uses_up_every_cap() -> None:
    made = estimate_plan(4, batch_size=2, k=3, caps=Caps(rejections=5, restarts=2, attempts=5, redraws=10))
    # Two batches and the end of the plan, 5 proposals each in 3 plans; 5 attempts at each of 2 batches.
    assert made.calls.most == 3 * 5 * 3 * (1 + 12) + 2 * 5 * (1 + 12)
    assert made.calls.cap == 11 * made.calls.most


def test_a_full_tree_of_depth_5_has_the_calls_of_algorithm_4() -> None:
    # 188 N calls, N = 2k-1 candidates and as many votes (arXiv:2511.09030, Algorithm 4).
    for k in (2, 8):
        assert estimate_agent(k=k, depth=5, caps=Caps(rounds=1)).calls.most == 188 * (2 * k - 1)


def test_a_task_that_is_not_split_takes_two_questions_that_nobody_has_to_judge() -> None:
    assert estimate_agent(k=3, depth=10).calls.least == 2 * 5


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 12), st.floats(0.51, 1.0))
def test_what_is_expected_lies_between_the_least_and_the_most(steps: int, batch: int, k: int, p: float) -> None:
    made = estimate_plan(steps, batch_size=batch, k=k, p=p)
    assert made.expected is not None
    assert made.calls.least <= made.expected * (1 + 1e-9)
    assert made.expected <= made.calls.most <= made.calls.cap


def test_sure_votes_are_expected_to_take_the_least() -> None:
    made = estimate_plan(20, k=10, p=1.0)
    assert made.expected == pytest.approx(made.calls.least)


def test_flagged_samples_make_more_calls() -> None:
    sure, half = estimate_plan(9, p=0.9).expected, estimate_plan(9, p=0.9, v=0.5).expected
    assert sure is not None
    assert half == pytest.approx(2 * sure)


@pytest.mark.parametrize(("k", "p"), [(2, 0.7), (3, 0.7), (5, 0.9)])
def test_the_expected_votes_of_an_agent_are_those_of_a_race_to_k(k: int, p: float) -> None:
    made = estimate_agent(k=k, depth=1, fan_out=1, p=p)
    # One split, one leaf, one composition: three ballots, each with 2k-1 candidates.
    assert made.expected is not None
    votes, races = made.expected / 3 - (2 * k - 1), 4000
    seen = 0
    for race in range(races):
        ballot = Ballot(FirstToK(k))
        for chance in (uniforms(b"race %d %d" % (race, draw), 1)[0] for draw in range(2 * k)):
            if ballot.needed:
                ballot.cast(chance < p)
        seen += ballot.votes
    assert votes == pytest.approx(seen / races, rel=0.02)


def test_one_candidate_alone_is_judged_by_nobody() -> None:
    made = estimate_agent(k=1, depth=1, p=0.7, caps=Caps(rounds=1))
    assert set(made.by_role) == {"decomposer", "solver", "composer"}
    assert (made.calls.least, made.calls.most, made.expected) == (2, 4, 4)


@given(st.integers(1, 40), st.integers(1, 5), st.floats(1, 1e6))
def test_the_affordable_k_is_the_largest_whose_least_calls_fit(steps: int, batch: int, budget: float) -> None:
    made = estimate_plan(steps, batch_size=batch, budget_calls=budget)
    if isinstance(made.affordable, Unaffordable):
        assert made.affordable.least == estimate_plan(steps, batch_size=batch, k=1).calls.least > budget
        assert made.safe is None
        return
    assert made.affordable is not None
    assert estimate_plan(steps, batch_size=batch, k=made.affordable).calls.least <= budget
    assert estimate_plan(steps, batch_size=batch, k=made.affordable + 1).calls.least > budget
    if made.safe is not None:
        assert estimate_plan(steps, batch_size=batch, k=made.safe).calls.most <= budget
        assert estimate_plan(steps, batch_size=batch, k=made.safe + 1).calls.most > budget


def test_money_is_the_price_of_a_call_times_the_calls() -> None:
    made = estimate_plan(4, k=2, rates=Rates(1000, 100, 0.4, 1.6))
    assert made.money is not None
    assert made.money.least == pytest.approx(made.calls.least * (1000 * 0.4 + 100 * 1.6) / 1e6)
    assert estimate_plan(4, k=2).money is None


def test_the_roles_add_up_and_the_record_reads_back() -> None:
    for made in (estimate_plan(7, budget_calls=500), estimate_agent(p=0.8, budget_calls=3)):
        for name in ("least", "most", "cap"):
            assert sum(getattr(calls, name) for calls in made.by_role.values()) == getattr(made.calls, name)
        assert msgspec.json.decode(msgspec.json.encode(made), type=PlannedEstimate) == made


@pytest.mark.parametrize("given", [{"steps": 0}, {"steps": 2.5}, {"k": 0}, {"batch_size": 0}, {"budget_calls": 0}])
def test_numbers_out_of_range_are_refused_by_name(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        estimate_plan(**{"steps": 3, **given})  # type: ignore[arg-type]


def test_a_tree_that_nobody_could_pay_for_is_refused_before_it_is_counted() -> None:
    with pytest.raises(UsageError, match="depth=1000"):
        estimate_agent(depth=1000)
    assert estimate_agent(depth=1000, fan_out=1).counts["leaves"] == 1


def test_coin_flips_are_expected_to_end_nowhere() -> None:
    with pytest.raises(VotingCannotHelp):
        estimate_plan(3, p=0.5)
    with pytest.raises(VotingCannotHelp):
        estimate_agent(p=0.4)
