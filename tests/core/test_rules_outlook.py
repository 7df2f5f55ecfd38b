"""The exact recursion over rules: against formulas, against every sequence of votes, against simulated ballots."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest

from mdap.core.ballot import Ballot, Rule
from mdap.core.rules import AheadByK, Esc, Majority, rule
from mdap.core.rules.outlook import Outlook, between, matched, outlook, stops, stops_in_order
from mdap.core.scaling import expected_votes, first_to_k_failure, first_to_k_votes, step_failure

SPECS = ["ahead_by_k:3", "first_to_k:3", "majority:5", "majority:4", "adaptive_consistency:0.9,cap=9", "rasc:3,cap=7"]


def enumerated(judge: Rule, p: float, cap: int) -> Outlook:
    """The same by brute force: every sequence of votes up to the cap."""
    error = votes = undecided = 0.0
    for sequence in itertools.product((True, False), repeat=cap):
        ballot = Ballot(judge)
        for right in sequence:
            ballot.cast(right, 0.5)
            if ballot.winner is not None:
                break
        likelihood = math.prod(p if right else 1 - p for right in sequence)
        error += likelihood * (ballot.winner is False)
        undecided += likelihood * (ballot.winner is None)
        votes += likelihood * ballot.votes
    return Outlook(error, votes, undecided)


def assert_close(made: Outlook, expected: Outlook) -> None:
    assert made.error == pytest.approx(expected.error, rel=1e-9)
    assert made.votes == pytest.approx(expected.votes, rel=1e-9)
    assert made.undecided == pytest.approx(expected.undecided, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spec", [*SPECS, "posterior:0.9,steps=10"])
@pytest.mark.parametrize("p", [0.45, 0.8])
def test_it_is_what_enumerating_all_votes_gives(spec: str, p: float) -> None:
    assert_close(outlook(rule(spec), p, 9), enumerated(rule(spec), p, 9))


@pytest.mark.parametrize("judge", [Esc(3, cap=9), Esc(2, cap=6), AheadByK(3)])
def test_with_an_order_that_matters_too(judge: Rule) -> None:
    def recent(ballot: Ballot) -> tuple[object, ...]:
        return tuple(judge.window(ballot)) if isinstance(judge, Esc) else ()

    assert_close(stops_in_order(judge, 9, recent).outlook(0.7), enumerated(judge, 0.7, 9))


def test_to_forget_the_order_where_it_matters_is_noticed() -> None:
    forgetful = stops_in_order(Esc(3, cap=9), 9, lambda ballot: ()).outlook(0.7)
    assert abs(forgetful.votes - enumerated(Esc(3, cap=9), 0.7, 9).votes) > 0.01


@pytest.mark.parametrize(("p", "k"), [(0.6, 10), (0.9, 8), (0.99, 4), (0.998, 3)])
def test_it_agrees_with_the_closed_forms_of_the_races(p: float, k: int) -> None:
    ahead, first = outlook(AheadByK(k), p, 3000), outlook(rule(f"first_to_k:{k}"), p)
    assert (ahead.error, ahead.votes) == pytest.approx((step_failure(p, k), expected_votes(p, k)), rel=1e-9)
    assert (first.error, first.votes) == pytest.approx((first_to_k_failure(p, k), first_to_k_votes(p, k)), rel=1e-9)


def test_the_mean_votes_of_ahead_by_3_at_998_are_3_012() -> None:
    assert outlook(AheadByK(3), 0.998).votes == pytest.approx(3.012, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [*SPECS, "posterior:0.9,steps=100"])
def test_simulated_ballots_err_as_often_as_it_says(spec: str) -> None:
    p, ballots, judge, chance = 0.7, 4000, rule(spec), Random(5)
    expected, wrong, votes = outlook(judge, p, 2000), 0, 0
    for _ in range(ballots):
        ballot = Ballot(judge)
        while ballot.winner is None:
            ballot.cast(chance.random() < p, 0.5)
        wrong += ballot.winner is False
        votes += ballot.votes
    sigma = math.sqrt(expected.error * (1 - expected.error) / ballots)
    assert abs(wrong / ballots - expected.error) < 4 * sigma
    assert votes / ballots == pytest.approx(expected.votes, rel=0.05)
    # The twin: of a p that is off by 0.05 the figures would be seen not to be.
    off = outlook(judge, p - 0.05, 2000)
    assert abs(wrong / ballots - off.error) > 4 * sigma or abs(votes / ballots - off.votes) > 0.05 * off.votes


@pytest.mark.parametrize("spec", ["ahead_by_k:4", "posterior:0.9,steps=100", "adaptive_consistency"])
def test_errors_need_not_happen_to_be_measured(spec: str) -> None:
    """The identity for label-blind rules: P(wrong) = E[1{right} ((1-p)/p)^lead], from ballots that end right."""
    p, judge, chance, total = 0.9, rule(spec), Random(8), 0.0
    for _ in range(3000):
        ballot = Ballot(judge)
        while ballot.winner is None:
            ballot.cast(chance.random() < p)
        if ballot.winner:
            total += ((1 - p) / p) ** (2 * ballot.first - ballot.votes)
    assert total / 3000 == pytest.approx(outlook(judge, p).error, rel=0.1)


def test_a_mixture_is_the_mean_over_its_sorts() -> None:
    found = stops(AheadByK(3), 2000)
    easy, hard = found.outlook(0.998), found.outlook(0.55)
    both = found.mixed([(0.75, 0.998), (0.25, 0.55)])
    assert both.votes == pytest.approx(0.75 * easy.votes + 0.25 * hard.votes)
    assert both.error == pytest.approx(0.75 * easy.error + 0.25 * hard.error)


def test_ballots_still_open_at_the_cap_are_undecided_and_count_their_votes() -> None:
    made = outlook(AheadByK(3), 0.5, 4)
    # Of 16 sequences 2 end after 3 votes; nobody can be 3 ahead after 4.
    assert_close(made, Outlook(2 / 16, 3 * 4 / 16 + 4 * 12 / 16, 12 / 16))
    assert stops(Majority(3), 2).ends == ()


def test_votes_at_an_exact_error_lie_between_those_of_two_settings() -> None:
    loose, strict = outlook(AheadByK(2), 0.9), outlook(AheadByK(3), 0.9)
    assert between(strict, loose, loose.error) == pytest.approx(loose.votes)
    assert between(strict, loose, strict.error) == pytest.approx(strict.votes)
    middle = (loose.error + strict.error) / 2
    assert matched([loose, strict], middle) == pytest.approx((loose.votes + strict.votes) / 2)
    assert matched([strict], middle) == strict.votes
    with pytest.raises(ValueError, match="none of 1 settings"):
        matched([loose], strict.error)
