"""What `estimate` says before a run is what the scaling laws give, row by row, and nothing is called."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core import scaling
from mdap.core.errors import UsageError, VotingCannotHelp
from mdap.core.estimate import Estimate, cost_per_success, estimate
from mdap.core.scaling import Unaffordable

DISKS_20 = 2**20 - 1


def test_without_k_the_least_k_that_reaches_the_target_is_chosen() -> None:
    made = estimate(0.9978, DISKS_20)
    assert (made.k_min, made.chosen.k, made.t, made.v) == (3, 3, 0.95, 1.0)
    assert made.chosen.success == pytest.approx(0.988824, abs=6e-7)
    assert made.chosen.votes_per_step == pytest.approx(3.013258272)
    assert made.chosen.reaches_target


def test_calls_count_flagged_samples_and_tokens_follow_the_calls() -> None:
    made = estimate(0.9978, DISKS_20, v=0.968, n_in=577, n_out=538)
    assert round(made.chosen.calls) == 3_264_078
    assert made.chosen.tokens_in == pytest.approx(made.chosen.calls * 577)
    assert made.chosen.tokens_out == pytest.approx(made.chosen.calls * 538)


def test_the_table_begins_with_the_single_call_and_shows_one_k_too_few_and_one_too_many() -> None:
    made = estimate(0.9978, DISKS_20, v=0.5)
    assert [row.k for row in made.table] == [1, 2, 3, 4]
    assert [row.reaches_target for row in made.table] == [False, False, True, True]
    single = made.table[0]
    assert (single.success, single.calls, single.votes_per_step) == (0.9978**DISKS_20, 2 * DISKS_20, 1.0)


def test_a_k_that_was_asked_for_is_shown_even_if_it_misses_the_target() -> None:
    made = estimate(0.9, 1000, k=2)
    assert (made.chosen.k, made.k_min, made.chosen.reaches_target) == (2, 5, False)
    assert "k=2 misses t=0.95" in made.assumption
    assert made.hard_share == 0.0
    beyond = estimate(0.9, 1000, k=9)
    assert [row.k for row in beyond.table] == list(range(1, 11))


def test_a_long_table_is_thinned_but_keeps_the_rows_that_matter() -> None:
    made = estimate(0.51, 1e6, t=0.9, k=17)
    ks = [row.k for row in made.table]
    assert len(ks) <= 16
    assert {1, 17, 402} < set(ks)
    assert max(ks) > 402


def test_the_single_call_of_several_steps_is_right_only_if_all_its_steps_are() -> None:
    made = estimate(0.99, 1000, m=10)
    assert made.table[0].success == pytest.approx(0.99**1000)
    assert made.table[0].calls == 100
    assert made.chosen.success == pytest.approx(scaling.run_success(0.99, made.k_min, 1000, 10))
    assert made.chosen.calls == pytest.approx(scaling.expected_samples(0.99, made.k_min, 1000, m=10))


def test_a_single_call_of_several_steps_is_not_chosen_where_only_the_two_candidate_law_would_have_it_enough() -> None:
    assert scaling.k_min(0.99, 10, 0.95, 10) == 1
    made = estimate(0.99, 10, m=10)
    assert (made.k_min, made.chosen.reaches_target, made.table[0].reaches_target) == (2, True, False)


def test_a_failure_that_success_would_round_away_is_kept() -> None:
    row = estimate(0.9978, 10, k=8).chosen
    assert row.success == 1.0
    assert row.failure == pytest.approx(10 * scaling.step_failure(0.9978, 8))


def test_a_budget_is_answered_with_the_largest_k_that_fits() -> None:
    made = estimate(0.9978, DISKS_20, budget_calls=4.5e6)
    assert made.affordable == 4
    assert estimate(0.9978, DISKS_20, budget_calls=1.1e6).affordable == 1


def test_a_budget_below_one_call_a_step_is_answered_with_what_one_call_a_step_takes() -> None:
    made = estimate(0.9978, DISKS_20, v=0.968, budget_calls=1e6)
    assert made.affordable == Unaffordable(budget=1e6, least=DISKS_20 / 0.968)
    assert made.chosen.k == 3


@given(p=st.floats(0.6, 0.9999), s=st.integers(1, 10**9), m=st.sampled_from([1, 4]), each=st.floats(0.2, 50))
def test_what_is_affordable_is_a_row_within_the_budget(p: float, s: int, m: int, each: float) -> None:
    s *= m
    budget = each * s
    made = estimate(p, s, m=m, budget_calls=budget)
    if isinstance(made.affordable, Unaffordable):
        assert made.table[0].calls > budget
    else:
        assert made.affordable is not None
        assert estimate(p, s, m=m, k=made.affordable).chosen.calls <= budget * (1 + 1e-12)
        assert estimate(p, s, m=m, k=made.affordable + 1).chosen.calls > budget


@given(p=st.floats(0.56, 0.9999), s=st.integers(1, 10**12), t=st.floats(0.05, 0.999), m=st.sampled_from([1, 7]))
def test_rows_grow_better_and_dearer_and_reach_the_target_from_k_min_on(p: float, s: int, t: float, m: int) -> None:
    made = estimate(p, s * m, t=t, m=m)
    assert [row.failure for row in made.table] == sorted((row.failure for row in made.table), reverse=True)
    assert [row.calls for row in made.table] == sorted(row.calls for row in made.table)
    assert all(row.reaches_target == (row.k >= made.k_min) for row in made.table)


def test_the_assumption_names_p_the_worst_case_and_the_hard_steps_that_would_break_it() -> None:
    made = estimate(0.998, 1_000_000, k=3)
    assert made.hard_share == pytest.approx(1.2e-7, rel=0.02)
    assert made.assumption == (
        "Taken: every step has p=0.998, votes are independent, and all wrong votes name one answer (the worst case at "
        "this p); k=3 reaches t=0.95 only while less than about 1.2e-07 of the steps have p=0.55."
    )
    assert estimate(0.55, 1000).assumption.endswith("(the worst case at this p); k=50 reaches t=0.95.")
    assert estimate(0.9, 1, t=0.9).chosen.reaches_target


def test_an_estimate_becomes_a_plain_dict_and_comes_back() -> None:
    made = estimate(0.9, 1000, budget_calls=10)
    plain = msgspec.to_builtins(made)
    assert plain["affordable"] == {"budget": 10.0, "least": 1000.0}
    assert plain["table"][0]["k"] == 1
    assert msgspec.convert(plain, Estimate) == made
    assert "affordable" not in msgspec.to_builtins(estimate(0.9, 1000))


def test_voting_that_cannot_help_is_said_before_a_call_is_made() -> None:
    with pytest.raises(VotingCannotHelp, match=r"p=0\.4"):
        estimate(0.4, 1000)


@pytest.mark.parametrize(
    ("name", "value"),
    [("t", 1), ("v", 0), ("k", 0), ("m", 2000), ("n_in", -1), ("n_out", math.nan), ("budget_calls", 0)],
)
def test_arguments_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name}="):
        estimate(0.9, 1000, **{name: value})  # type: ignore[arg-type]


# arXiv:2511.09030, Fig. 6b: 1 - p, tokens in and out, prices of a million of them, k and cost of 20 disks at t = 0.95.
# The tokens in are not printed there: they follow from its costs (577 with OpenAI's tokenizer).
FIGURE_6B = [
    ("gpt-4.1-nano", 0.3571, 575, 842, 0.10, 0.4, 29, 41_900),
    ("gpt-4.1-mini at 1.0", 0.0040, 577, 580, 0.40, 1.6, 4, 4_900),
    ("gpt-4.1-mini at 0.1", 0.0022, 577, 538, 0.40, 1.6, 3, 3_500),
    ("o3-mini", 0.0018, 577, 535, 1.10, 4.4, 3, 9_400),
    ("haiku-4.5", 0.1839, 637, 588, 1.00, 5.0, 12, 71_200),
    ("gpt-oss-20B", 0.0358, 575, 1104, 0.05, 0.2, 6, 1_700),
    ("qwen-3", 0.2342, 590, 449, 0.20, 0.6, 15, 11_500),
    ("deepseek-v3.1", 0.0569, 580, 1004, 0.60, 1.7, 6, 14_600),
    ("kimi-k2", 0.0393, 578, 925, 1.00, 3.0, 6, 22_900),
]


@pytest.mark.parametrize(("model", "wrong", "n_in", "n_out", "price_in", "price_out", "k", "cost"), FIGURE_6B)
def test_figure_6b_of_the_paper_comes_out_within_2_percent(
    model: str, wrong: float, n_in: int, n_out: int, price_in: float, price_out: float, k: int, cost: float
) -> None:
    made = estimate(1 - wrong, DISKS_20, n_in=n_in, n_out=n_out, price_in=price_in, price_out=price_out)
    assert made.k_min == k
    assert made.chosen.money == pytest.approx(cost, rel=0.02), model


def test_without_the_tokens_in_figure_6b_does_not_come_out() -> None:
    money = estimate(0.9978, DISKS_20, n_out=538, price_in=0.4, price_out=1.6).chosen.money
    assert money is not None
    assert money < 0.8 * 3_500


def test_a_model_that_is_right_half_the_time_or_less_has_no_row_in_figure_6b() -> None:
    with pytest.raises(VotingCannotHelp):
        estimate(0.0, DISKS_20, n_in=575, n_out=434, price_in=0.06, price_out=0.06)


def test_the_cost_of_a_right_vote_ranks_models_as_the_paper_says() -> None:
    per_success = {
        model: cost_per_success(1 - wrong, (n_in * price_in + n_out * price_out) / 1e6)
        for model, wrong, n_in, n_out, price_in, price_out, _, _ in FIGURE_6B
    }
    cheapest = sorted(per_success, key=per_success.__getitem__)
    assert cheapest[:2] == ["gpt-oss-20B", "qwen-3"]
    # c/p leaves out k, which the whole run pays: qwen-3 then comes behind gpt-4.1-mini.
    cost = {row[0]: row[-1] for row in FIGURE_6B}
    assert per_success["qwen-3"] < per_success["gpt-4.1-mini at 0.1"]
    assert cost["qwen-3"] > cost["gpt-4.1-mini at 0.1"]


def test_money_and_time_are_absent_where_nothing_is_known_of_them() -> None:
    row = estimate(0.99, 100).chosen
    assert row.money is None
    assert row.seconds is None
    assert estimate(0.99, 100).cost_per_success is None
    assert estimate(0.99, 100, n_in=10, n_out=10, price_out=0.0).chosen.money == 0.0


def test_the_single_call_row_has_its_own_price_and_time() -> None:
    made = estimate(0.99, 100, n_in=1_000, price_in=2.0, latency=3.0)
    single = made.table[0]
    assert single.k == 1
    assert single.money == pytest.approx(0.2)
    assert single.seconds == pytest.approx(300)
    assert made.cost_per_success == pytest.approx(0.002 / 0.99)


def test_time_is_the_slowest_of_k_calls_and_what_contested_steps_still_take() -> None:
    made = estimate(0.998, 1_000, k=3, latency=1.0, sigma=0.6)
    # Rounds of three in the event simulation of this law: 1.866 seconds a step at p = 0.998.
    assert made.chosen.seconds == pytest.approx(1_866, rel=0.01)
    flagged = estimate(0.998, 1_000, k=3, v=0.5, latency=1.0, sigma=0.6)
    assert (flagged.chosen.seconds or 0) > (made.chosen.seconds or 0)


@pytest.mark.parametrize("bad", [{"price_in": -1}, {"latency": -0.5}, {"sigma": math.inf}, {"n_out": math.nan}])
def test_prices_and_latencies_below_0_or_without_end_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        estimate(0.99, 100, **bad)
