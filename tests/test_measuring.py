"""The metrics of a run: the figures that are printed elsewhere, and those of its steps, flags and ballots."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap
from mdap.clock import run_virtual
from mdap.core.errors import JournalError, UsageError
from mdap.core.evidence import spread_from, spread_of
from mdap.core.metrics import RunMetrics, StepMetrics, read_metrics
from mdap.journal import open_journal
from mdap.measuring import Reading, metrics
from mdap.models.simulated import simulated
from mdap.protocols import Journal
from mdap.result import Result
from tests.engine.support import SHAPES, Applied, Chancy, Pairs, TypedApplied, plain_run
from tests.mapping_support import Count, Sum, sums
from tests.planning.support import YES, Role, steps

PRICE = {"chancy": {"input": "0.40", "output": "1.60"}}


def chancy(task: Pairs | None = None, **options: Any) -> tuple[Result, Journal]:
    journal = open_journal(None)
    model = Chancy(p=0.7, flags=0.3)
    settings = {"record": "samples", "redraws": 50, "k": 3, "seed": 4, **options}
    return run_virtual(plain_run(task or Pairs(), model, journal=journal, **settings)), journal


def as_json(record: RunMetrics) -> bytes:
    return msgspec.json.encode(record)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_steps": 5},
        {"max_samples": 3},
        {"prices": PRICE},
        {"record": "none"},
        {"rule": "posterior:0.9", "k": None},
    ],
)
def test_the_same_numbers_stand_in_the_metrics_and_in_the_result(options: dict[str, Any]) -> None:
    result, journal = chancy(**options)
    found = msgspec.to_builtins(metrics(journal, result.run, task=Pairs()))
    printed = {name: value for name, value in result.to_dict().items() if name not in ("result", "wrong", "cost")}
    assert {name: found.get(name) for name in printed} == printed
    if "prices" in options:
        cost = result.to_dict()["cost"]
        assert {name: found["cost"][name] for name in cost} == msgspec.to_builtins(cost)
    else:
        assert "cost" not in found


@pytest.mark.parametrize("steps", [False, True])
def test_the_metrics_read_back_from_json_are_the_same_record(steps: bool) -> None:
    result, journal = chancy(prices=PRICE, max_steps=8)
    found = metrics(journal, result.run, task=Pairs(), steps=steps)
    assert read_metrics(as_json(found)) == found
    assert read_metrics(as_json(found).decode()) == found
    assert bool(found.each) == steps


@pytest.mark.parametrize("text", ["", "{}", '{"run": 1}', "[]", b"\xff"])
def test_what_is_no_metrics_is_refused(text: str | bytes) -> None:
    with pytest.raises(UsageError, match="no metrics"):
        read_metrics(text)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_steps_of_a_run_add_up_to_its_totals(shape: type[Pairs]) -> None:
    result, journal = chancy(shape(), prices=PRICE)
    found = metrics(journal, result.run, task=shape(), steps=True)
    each = found.each
    assert [step.step for step in each] == list(range(found.steps))
    assert sum(step.samples or 0 for step in each) == found.samples
    assert sum(sum(step.votes) for step in each) == found.votes == found.ballots.votes
    assert sum((Counter(step.flagged or {}) for step in each), Counter()) == Counter(found.flagged)
    assert sum(step.tokens_in or 0 for step in each) == found.tokens["in"]
    assert sum(step.tokens_out or 0 for step in each) == found.tokens["out"]
    assert found.cost is not None
    assert sum(round(1e9 * float(step.usd or 0)) for step in each) == round(1e9 * float(found.cost.usd))


def test_a_step_says_how_sure_its_decision_is() -> None:
    result, journal = chancy(k=2)
    found = metrics(journal, result.run, task=Pairs(), steps=True)
    for step in found.each:
        assert step.share == step.votes[0] / sum(step.votes)
    unanimous, torn = (next(s for s in found.each if (len(s.votes) > 1) == contested) for contested in (False, True))
    assert unanimous.share == 1.0
    assert torn.share is not None
    assert torn.share < 1
    # Votes that did not fall for the winner do not matter for the posterior, its lead does: 2 in both.
    assert unanimous.posterior == torn.posterior


def test_a_posterior_is_absent_where_the_rule_has_no_bound_or_votes_may_be_coin_flips() -> None:
    by_plurality, journal = chancy(rule="adaptive_consistency", k=None)
    assert {step.posterior for step in metrics(journal, by_plurality.run, steps=True).each} == {None}
    single, journal = chancy(k=1)
    assert {step.posterior for step in metrics(journal, single.run, steps=True).each} == {None}


def test_an_open_ballot_is_a_step_of_its_own_and_no_decided_one() -> None:
    result, journal = chancy(max_samples=4, k=4)
    found = metrics(journal, result.run, task=Pairs(), steps=True)
    assert result.status == "undecided"
    assert [step.status for step in found.each] == ["decided"] * found.steps + ["open"]
    last = found.each[-1]
    assert (last.samples, found.undecided) == (4, 1)
    assert found.samples == sum(step.samples or 0 for step in found.each)
    # The open ballot's votes are in the run's total and divided by no decided step.
    assert found.ballots.votes == found.votes - sum(last.votes)
    assert found.ballots.steps == found.steps
    assert found.undecided_share == 1 / (found.steps + 1)


def test_no_step_at_all_divides_by_nothing() -> None:
    result, journal = chancy(max_samples=2, k=4)
    found = metrics(journal, result.run, task=Pairs())
    assert (found.steps, found.votes_per_step, found.ballots.votes_per_step, found.ballots.least) == (0, 0, 0, 0)
    assert found.undecided_share == 1.0
    assert found.ballots.effective_votes == 0


def test_a_flag_s_precision_counts_known_answers_only() -> None:
    result, journal = chancy(Applied(30), prices=PRICE)
    found = {flag.name: flag for flag in metrics(journal, result.run, task=Applied(30)).flags}
    assert set(found) == set(result.flagged) == {"truncated", "malformed"}
    # Half of the flagged replies are cut and still readable, the others say nothing.
    cut, babble = found["truncated"], found["malformed"]
    assert (babble.wrong, babble.right, babble.precision) == (0, 0, None)
    assert babble.unknown == babble.recorded == babble.count
    assert cut.wrong + cut.right == cut.count
    assert cut.right > cut.wrong > 0
    assert cut.precision == cut.wrong / cut.count
    won = lost = 0
    for _, entry, move in result.decisions:
        for sample in result.samples_of(entry.step):
            if sample.flag == "truncated":
                same = msgspec.json.decode(sample.text) == move.action
                won, lost = won + same, lost + (not same)
    assert (cut.right, cut.wrong) == (won, lost)


def test_without_the_task_no_answer_of_a_flagged_sample_is_known() -> None:
    result, journal = chancy()
    (cut,) = [flag for flag in metrics(journal, result.run).flags if flag.name == "truncated"]
    assert (cut.unknown, cut.precision) == (cut.recorded, None)


def test_a_flag_is_counted_in_full_and_analysed_as_far_as_samples_were_recorded() -> None:
    result, journal = chancy(record="contested")
    found = metrics(journal, result.run, task=Pairs(), steps=True)
    assert {flag.name: flag.count for flag in found.flags} == result.flagged
    assert sum(flag.recorded for flag in found.flags) < sum(result.flagged.values())
    for step in found.each:
        assert (step.samples is None) == (len(step.votes) == 1)
    nothing, journal = chancy(record="none")
    assert {flag.recorded for flag in metrics(journal, nothing.run, task=Pairs()).flags} == {0}


def test_the_commonest_flag_comes_first_and_shares_are_of_all_samples() -> None:
    result, journal = chancy()
    found = metrics(journal, result.run)
    assert [flag.count for flag in found.flags] == sorted(result.flagged.values(), reverse=True)
    assert [flag.share for flag in found.flags] == [flag.count / result.samples for flag in found.flags]
    assert found.flag_share == pytest.approx(sum(flag.share for flag in found.flags))


groups = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30)


@given(groups)
def test_the_design_effect_from_sums_is_that_from_the_groups(drawn: list[tuple[int, int]]) -> None:
    given_groups = [(hits, hits + misses) for hits, misses in drawn if hits + misses]
    sums_of = [
        sum(size for _, size in given_groups),
        sum(hits for hits, _ in given_groups),
        sum(size * size for _, size in given_groups),
        sum(hits * hits for hits, _ in given_groups),
        sum(hits * size for hits, size in given_groups),
    ]
    assert spread_from(len(given_groups), *sums_of) == pytest.approx(spread_of(given_groups))


def test_votes_that_agree_within_a_step_and_not_between_steps_are_worth_fewer() -> None:
    even, journal = chancy(Pairs(60), k=2)
    alike = metrics(journal, even.run).ballots
    assert 0.9 * alike.votes < alike.effective_votes <= alike.votes
    journal = open_journal(None)
    hard = simulated(p=1, hard=0.2, p_hard=0.55, seed=3)
    uneven = mdap.run("hanoi:disks=6", hard, rule="majority:9", journal=journal, record="none")
    torn = metrics(journal, uneven.run).ballots
    assert torn.effective_votes < 0.7 * torn.votes


def test_a_map_is_measured_by_row_and_step() -> None:
    journal = open_journal(None)
    result = mdap.map(Sum, sums(20), simulated(p=0.8, flags=0.2, seed=2), k=2, journal=journal, record="samples")
    found = metrics(journal, result.run, steps=True)
    printed = result.to_dict()
    counts = printed.pop("counts")
    assert found.rows == counts
    assert {name: msgspec.to_builtins(found)[name] for name in printed} == printed
    assert [step.item for step in found.each] == list(range(20))
    assert sum(step.samples or 0 for step in found.each) == found.samples
    assert all(flag.unknown == flag.recorded == flag.count for flag in found.flags)
    assert read_metrics(as_json(found)) == found


def test_a_row_that_waits_is_an_open_step() -> None:
    journal = open_journal(None)
    model = simulated(p=0.55, seed=2)
    result = mdap.map(Count, sums(6)[1:], model, k=3, journal=journal, max_samples=4, record="samples")
    found = metrics(journal, result.run, steps=True)
    waiting = [step for step in found.each if step.status == "open"]
    assert len(waiting) == found.undecided == result.counts["undecided"] > 0
    assert {step.samples for step in waiting} == {4}
    assert found.samples == sum(step.samples or 0 for step in found.each)


def test_a_plan_is_measured_by_branch_and_its_gates_promise_nothing() -> None:
    journal = open_journal(None)
    planner, judge = Role([steps("a", "b"), "End"]), Role([YES])
    plan = mdap.plan("x", planning_model=planner, plan_voting_model=judge, k=9, journal=journal, record="samples")
    found = metrics(journal, plan.run, steps=True)
    total = sum(role.samples for role in plan.totals.values())
    assert (found.samples, sum(step.samples or 0 for step in found.each)) == (total, total)
    assert [(step.item, step.kind) for step in found.each] == [(0, "planning"), (0, "plan_voting")] * 2
    assert {step.posterior for step in found.each} == {None}
    assert (found.k, found.predicted_success) == (None, None)
    assert read_metrics(as_json(found)) == found


def test_steps_are_read_as_they_are_asked_for() -> None:
    result, journal = chancy()
    steps = Reading(journal, result.run).steps()
    first = next(steps)
    assert isinstance(first, StepMetrics)
    assert (first.step, first.item) == (0, None)


def test_a_typed_task_s_flags_are_judged_as_those_of_any_other() -> None:
    result, journal = chancy(TypedApplied(12))
    (cut,) = [f for f in metrics(journal, result.run, task=TypedApplied(12)).flags if f.name == "truncated"]
    assert cut.precision is not None


def test_a_run_that_is_not_there_has_no_metrics() -> None:
    with pytest.raises(JournalError):
        metrics(open_journal(None), "nowhere")
