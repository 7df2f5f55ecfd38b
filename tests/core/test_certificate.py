"""A certificate claims what the ballots support and no more; each claim has a run that must be refused it."""

from __future__ import annotations

import math
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core import scaling
from mdap.core.ballot import Ballot, Rule
from mdap.core.certificate import Certificate, certify, lowest_p, unexcluded_hard_share
from mdap.core.errors import UsageError
from mdap.core.history import Seen
from mdap.core.rules import AheadByK, FirstToK

KINDS = ("ahead_by_k", "first_to_k")


def unanimous(steps: int, k: int) -> Seen:
    """So many ballots of k equal votes."""
    return Seen(steps=steps, agreed=k * steps)


def simulate(rng: Random, rule: Rule, shares: tuple[float, ...], steps: int) -> Seen:
    """The ballots of `steps` steps whose votes fall on the candidates with these shares."""
    seen = Seen(steps=steps)
    for _ in range(steps):
        ballot = Ballot(rule)
        while ballot.needed:
            for key in rng.choices(range(len(shares)), shares, k=ballot.needed):
                ballot.cast(key)
        winners, *others = ballot.tally
        seen.agreed += winners
        seen.dissent += sum(others)
        seen.contested += bool(others)
    return seen


# ---- what is predicted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_all_unanimous_ballots_put_p_where_so_much_unanimity_has_one_chance_in_twenty(kind: str) -> None:
    made = certify(f"{kind}:3", {"": unanimous(31, 3)})
    assert made.p is not None
    assert (made.p**3 + (1 - made.p) ** 3) ** 31 == pytest.approx(0.05)
    failure = {"ahead_by_k": scaling.step_failure, "first_to_k": scaling.first_to_k_failure}[kind](made.p, 3)
    assert made.predicted_success == pytest.approx((1 - failure) ** 31)
    assert made.hard_share == pytest.approx((1 - 0.05 ** (1 / 31)) / (1 - 0.55**3 - 0.45**3))


def test_the_prediction_of_ahead_by_k_is_equation_9_at_the_lower_end_of_p() -> None:
    seen = Seen(steps=1000, agreed=3020, dissent=20, contested=18)
    made = certify(AheadByK(3), {"": seen})
    assert made.p is not None
    assert made.p < 3020 / 3040
    assert made.predicted_success == pytest.approx(scaling.run_success(made.p, 3, 1000))
    odds = [20 * math.log(p * (1 - p)) + 1000 * math.log(p**3 + (1 - p) ** 3) for p in (made.p, 0.99342)]
    assert math.exp(odds[0] - odds[1]) == pytest.approx(1 / 20, rel=1e-3)


def test_kinds_are_judged_each_by_its_own_p() -> None:
    easy, harder = unanimous(10_000, 4), Seen(steps=500, agreed=2050, dissent=50, contested=45)
    both = certify("ahead_by_k:4", {"easy": easy, "harder": harder})
    alone = [certify("ahead_by_k:4", {"": seen}) for seen in (easy, harder)]
    assert (both.steps, both.contested) == (10_500, 45)
    assert both.p == min(lowest_p(AheadByK(4), seen) for seen in (easy, harder))
    product = math.prod(made.predicted_success or 0 for made in alone)
    assert both.predicted_success == pytest.approx(product)
    assert both.floor == pytest.approx(math.prod(made.floor or 0 for made in alone))
    pooled = Seen(steps=10_500, agreed=42_050, dissent=50, contested=45)
    assert (certify("ahead_by_k:4", {"": pooled}).predicted_success or 0) > product


def test_a_kind_without_decisions_changes_nothing() -> None:
    alone = certify("ahead_by_k:3", {"a": unanimous(31, 3)})
    assert certify("ahead_by_k:3", {"a": unanimous(31, 3), "b": Seen()}) == alone


def test_undecided_steps_count_against_p_and_are_named() -> None:
    seen = {"": unanimous(100, 3)}
    without, made = certify("ahead_by_k:3", seen), certify("ahead_by_k:3", seen, undecided=1)
    assert (made.p or 1) < (without.p or 0)
    assert (made.predicted_success or 1) < (without.predicted_success or 0)
    assert "1 undecided left out" in made.assumption
    first = [certify("first_to_k:3", seen, undecided).p or 0 for undecided in (0, 1)]
    assert first[1] < first[0]


@given(k=st.integers(2, 12), steps=st.integers(1, 10_000), dissent=st.integers(0, 500), undecided=st.integers(0, 3))
def test_more_dissent_never_raises_any_figure(k: int, steps: int, dissent: int, undecided: int) -> None:
    made = []
    for votes in (dissent, dissent + 1):
        seen = Seen(steps=steps, agreed=k * steps + votes, dissent=votes, contested=min(votes, steps))
        made.append(certify(AheadByK(k), {"": seen}, undecided))
    less, more = made
    assert (more.p or 0.5) <= (less.p or 0.5)
    assert (more.predicted_success or 0) <= (less.predicted_success or 0)
    assert (more.floor or 0) <= (less.floor or 0)
    assert (less.floor or 0) <= (less.predicted_success or 0)


# ---- what is not claimed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_with_k_1_nothing_was_learned_however_long_the_run(kind: str) -> None:
    made = certify(f"{kind}:1", {"": unanimous(1_000_000, 1)})
    assert made.predicted_success is made.floor is made.p is None
    assert "no vote could disagree" in made.reason
    assert made.assumption == ""
    assert unexcluded_hard_share(1, unanimous(1_000_000, 1)) == 1.0


def test_a_run_without_decisions_predicts_nothing() -> None:
    for kinds in ({}, {"": Seen()}):
        made = certify("ahead_by_k:3", kinds, undecided=1)
        assert made == Certificate(0, 0, 1, reason="no step was decided, so there is nothing to predict")


def test_one_or_two_unanimous_ballots_are_no_evidence() -> None:
    # Coin flips give three equal votes one time in four: two such steps have one chance in sixteen, over 5%.
    assert certify("ahead_by_k:3", {"": unanimous(2, 3)}).predicted_success is None
    assert certify("ahead_by_k:3", {"": unanimous(3, 3)}).predicted_success is not None


@pytest.mark.parametrize("rule", [AheadByK(2), AheadByK(3), AheadByK(6), FirstToK(3)], ids=lambda rule: str(rule.spec))
def test_coin_flips_are_refused_a_prediction_by_name(rule: Rule) -> None:
    refused = [certify(rule, {"toss": simulate(Random(seed), rule, (0.5, 0.5), 40)}) for seed in range(200)]
    assert sum(made.predicted_success is None for made in refused) >= 190
    assert "of kind 'toss'" in next(made.reason for made in refused if made.reason)


def test_the_pooled_share_of_agreeing_votes_would_take_coin_flips_for_a_model_that_is_often_right() -> None:
    seen = simulate(Random(1), AheadByK(2), (0.5, 0.5), 2000)
    assert seen.agreed / (seen.agreed + seen.dissent) == pytest.approx(0.75, abs=0.02)
    assert lowest_p(AheadByK(2), seen) < 0.57


def test_a_kind_that_another_rule_decided_is_refused() -> None:
    made = certify("ahead_by_k:4", {"": unanimous(10, 4), "b": unanimous(10, 3)})
    assert made.predicted_success is None
    assert "10 steps of kind 'b' have 30 votes for winners: ahead_by_k:4 asks for 4 each" in made.reason


class Coin(msgspec.Struct, frozen=True):
    """A rule without a bound."""

    spec: str = "coin"
    k: int = 3

    def needed(self, ballot: Ballot) -> int:
        return max(0, 3 - ballot.votes)

    def decided(self, ballot: Ballot) -> bool:
        return ballot.votes >= 3


def test_a_rule_without_a_bound_is_said_to_have_none() -> None:
    made = certify(Coin(), {"": unanimous(10, 3)})
    assert (made.predicted_success, made.reason) == (None, "no bound is known for the rule coin")


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(UsageError, match="ahead_by_k"):
        certify("ahead_of_k:3", {})


# ---- coverage -----------------------------------------------------------------------------------------------------

COVERED = [
    (AheadByK(2), (0.6, 0.4), 60),
    (AheadByK(3), (0.9, 0.1), 60),
    (AheadByK(3), (0.98, 0.02), 100),
    (AheadByK(6), (0.7, 0.3), 30),
    (AheadByK(3), (0.8, *[0.04] * 5), 60),
    (AheadByK(4), (0.6, *[0.1] * 4), 60),
    (FirstToK(3), (0.8, 0.2), 60),
    (FirstToK(3), (0.8, *[0.04] * 5), 60),
]


@pytest.mark.parametrize(("rule", "shares", "steps"), COVERED)
def test_p_is_at_or_above_its_lower_end_in_95_of_100_runs(rule: Rule, shares: tuple[float, ...], steps: int) -> None:
    ends = [lowest_p(rule, simulate(Random(seed), rule, shares, steps)) for seed in range(300)]
    # 285 less four standard errors: a limit that covers exactly 95% is rejected once in 30,000.
    assert sum(end <= shares[0] for end in ends) >= 285 - 4 * math.sqrt(300 * 0.95 * 0.05)
    # A limit that is always 0.5 would cover too: it has to say something where there is something to say.
    if shares[0] >= 0.8:
        assert sum(ends) / 300 > 0.6


def pooled_end(seen: Seen) -> float:
    """The limit that is wrong on purpose: Clopper-Pearson on votes inside decided ballots."""
    return 1 - scaling.upper_share(seen.dissent, seen.agreed + seen.dissent)


def test_a_lower_end_from_pooled_votes_fails_to_cover() -> None:
    ends = [pooled_end(simulate(Random(seed), AheadByK(2), (0.6, 0.4), 60)) for seed in range(100)]
    assert sum(end <= 0.6 for end in ends) < 50


def test_the_lower_end_comes_near_p_in_a_long_run() -> None:
    seen = Seen(steps=1_048_575, agreed=3_145_725 + 731, dissent=731, contested=710)
    share = 731 / (seen.agreed + 731)
    assert 1 - lowest_p(AheadByK(3), seen) == pytest.approx(share, rel=0.12)
    assert 1 - lowest_p(AheadByK(3), seen) > share


def test_runs_whose_steps_fail_are_predicted_to_fail() -> None:
    made = certify("ahead_by_k:2", {"": simulate(Random(3), AheadByK(2), (0.75, 0.25), 500)})
    assert (made.predicted_success or 0) < scaling.run_success(0.75, 2, 500) < 1e-15


# ---- what is printed ----------------------------------------------------------------------------------------------


def test_the_floor_reckons_with_the_hard_steps_that_were_not_seen() -> None:
    steps, k = 100_000, 3
    made = certify("ahead_by_k:3", {"": unanimous(steps, k)})
    hard = -math.log(0.05) / (1 - 0.55**k - 0.45**k)
    assert made.hard_share == pytest.approx(hard / steps, rel=1e-3)
    assert made.floor == pytest.approx(math.exp(-hard * scaling.step_failure(0.55, k)), rel=1e-2)
    assert (made.predicted_success or 0) > 0.9999


def test_the_assumption_is_one_sentence_that_names_what_was_seen_and_what_is_taken_on_trust() -> None:
    seen = Seen(steps=1000, agreed=3020, dissent=20, contested=18)
    made = certify("ahead_by_k:3", {"": seen})
    assert made.assumption == (
        "Predicted from 18 contested ballots in 1000 (at 95% at most 0.0109 of the votes are wrong), taking it that "
        "votes are independent, that the commonest answer of a step is the right one and that steps of a kind are "
        "equally hard; if a share of 0.0358 of them, which the count of contested ballots does not exclude, had "
        "p=0.55, it would be 2.9e-06."
    )
    assert "below 1e-300" in certify("ahead_by_k:3", {"": Seen(10**6, 3_010_000, 10_000, 9_000)}).assumption


@given(steps=st.integers(3, 10**6), contested=st.integers(0, 100))
def test_printed_bounds_are_rounded_to_the_safe_side(steps: int, contested: int) -> None:
    contested = min(contested, steps // 10)
    made = certify("ahead_by_k:3", {"": Seen(steps, 3 * steps + contested, contested, contested)})
    if made.p is None or not made.floor:
        return
    words = made.assumption.replace(",", "").split()
    assert float(words[words.index("most") + 1]) >= 1 - made.p
    assert float(words[-1].rstrip(".")) <= made.floor


def test_absent_figures_are_absent_keys() -> None:
    encoded = msgspec.to_builtins(certify("ahead_by_k:1", {"": unanimous(5, 1)}))
    assert set(encoded) == {"steps", "contested", "undecided", "reason"}
    assert set(msgspec.to_builtins(certify("ahead_by_k:3", {"": unanimous(5, 3)}))) == {
        "steps",
        "contested",
        "undecided",
        "predicted_success",
        "floor",
        "p",
        "hard_share",
        "assumption",
    }
