"""The posterior rule and the prior that it learns: what it predicts holds, what it learns is a fold of decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from mdap.core.ballot import Ballot, Rule
from mdap.core.certificate import certify
from mdap.core.history import Seen
from mdap.core.rules import AheadByK, Posterior, rule
from mdap.core.rules.outlook import stops
from mdap.core.rules.posterior import Judged
from mdap.core.rules.prior import GRID, START, Memory, Prior, Weights, is_refresh, last_refresh, learned

EPS = Posterior().step_error


def weights(**shares: float) -> Weights:
    """Shares of values of the grid, named p998 for 0.998."""
    known = {float(f"0.{name[1:]}"): share for name, share in shares.items()}
    assert known.keys() <= set(GRID)
    return tuple(known.get(p, 0.0) for p in GRID)


MIXED = weights(p998=0.999, p55=0.001)
SORTS = [(0.999, 0.998), (0.001, 0.55)]


# ---- judging ---------------------------------------------------------------------------------------------------------


def test_a_million_steps_begin_with_24_equal_votes_or_one_less() -> None:
    # Uniform over p the odds against n equal votes are 2^-(n+1); allowed are 5.1e-8, and up to 64 times that at delta.
    assert rule("posterior").k in (23, 24)


@pytest.mark.parametrize("p", [0.6, 0.9, 0.998])
def test_with_one_known_p_it_is_ahead_by_k(p: float) -> None:
    judged = Judged("", tuple(float(value == p) for value in GRID), EPS, 1e-6)
    odds = math.log(p / (1 - p))
    # The answer that nobody named is a second rival: it costs at most a vote, and nothing once votes disagree.
    k = math.ceil(math.log(1e6) / odds)
    assert judged.k == k
    assert {judged.least(second) - second for second in range(1, 40)} <= {k, k + 1}
    assert judged.least(39) - 39 == k


def test_after_a_dissent_more_margin_is_asked_for_because_the_step_may_be_hard() -> None:
    judged = Judged("", MIXED, EPS)
    margins = [judged.least(second) - second for second in (0, 1, 2, 5, 50)]
    assert margins[:2] == [13, 19]
    assert margins == sorted(margins)
    assert margins[-1] > 60


def test_the_odds_are_those_of_the_integral_over_the_prior() -> None:
    judged = Judged("", MIXED, EPS)
    against = 0.999 * 0.998 * 0.002**3 + 0.001 * 0.55 * 0.45**3
    for_it = 0.999 * 0.998**3 * 0.002 + 0.001 * 0.55**3 * 0.45
    assert judged.log_odds(3, 1) == pytest.approx(math.log(against / for_it))


def test_several_rivals_add_up() -> None:
    judged = Judged("", MIXED, EPS)
    needed = []
    for others in ("", "b", "bc", "bcde"):
        ballot = Ballot(judged)
        for vote in "aaa" + others:
            ballot.cast(vote)
        needed.append(ballot.needed)
        for _ in range(ballot.needed - 1):
            ballot.cast("a")
            assert ballot.winner is None
        ballot.cast("a")
        assert ballot.winner == "a"
    assert needed == sorted(needed)
    assert needed[0] < needed[1] < needed[3]


PRIORS = [(START, 0.01), (MIXED, 1e-4), (weights(p9=1.0), 1e-4), (weights(p99=0.99, p6=0.01), 1e-6)]


@pytest.mark.parametrize(("prior", "allowed"), PRIORS, ids=["start", "mixed", "alike", "far"])
def test_what_it_predicts_is_what_happens_if_the_prior_is_true_and_is_allowed(prior: Weights, allowed: float) -> None:
    judged = Judged("", prior, allowed)
    truth = judged.stops(4000).mixed([(share, p) for share, p in zip(prior, GRID, strict=True) if share])
    # It may add a hundredth of what is allowed for ballots that it does not follow to their end.
    assert truth.error <= judged.predicted(judged.delta) * (1 + 1e-9) <= truth.error + 0.0101 * allowed
    assert judged.predicted(judged.delta) <= allowed
    assert 1 <= judged.delta / allowed <= 64.01


def test_a_prior_that_knows_no_hard_steps_misses_the_target_where_there_are_some() -> None:
    right, wrong = Judged("", MIXED, EPS), Judged("", weights(p998=1.0), EPS)
    assert right.stops().mixed(SORTS).error <= EPS
    assert wrong.k == 3
    assert wrong.stops().mixed(SORTS).error > 1000 * EPS


def test_with_hard_steps_it_needs_a_quarter_of_the_votes_of_ahead_by_k_at_the_same_error() -> None:
    made = Judged("", MIXED, EPS).stops().mixed(SORTS)
    k = next(k for k in range(40, 60) if stops(AheadByK(k), 3000).mixed(SORTS).error <= EPS)
    assert k == 50
    assert made.votes < 14.1 < stops(AheadByK(k), 3000).mixed(SORTS).votes / 3.5


def test_simulated_ballots_of_a_true_prior_err_no_more_than_allowed_and_those_of_a_false_one_do() -> None:
    def wrong(judge: Rule) -> int:
        chance, count = Random(3), 0
        for _ in range(3000):
            p = chance.choices(GRID, START)[0]
            ballot = Ballot(judge)
            while needed := min(ballot.needed, 2000 - ballot.votes):
                for _ in range(needed):
                    ballot.cast(chance.random() < p)
            count += ballot.winner is False
        return count

    allowed = 0.05
    # Expected are at most 150; four standard deviations more are 198.
    assert wrong(Judged("", START, allowed)) <= 150 + 4 * math.sqrt(150 * 0.95)
    assert wrong(AheadByK(2)) > 198


# ---- learning --------------------------------------------------------------------------------------------------------


def tallies(judge: Any, sorts: Sequence[tuple[float, float]], steps: int, seed: int = 1) -> list[tuple[int, int]]:
    """Tallies of simulated steps, leader first."""
    chance, found = Random(seed), []
    for _ in range(steps):
        p = chance.choices([p for _, p in sorts], [share for share, _ in sorts])[0]
        ballot = Ballot(judge)
        while needed := min(ballot.needed, 4000 - ballot.votes):
            for _ in range(needed):
                ballot.cast(chance.random() < p)
        found.append((ballot.first, ballot.votes - ballot.first))
    return found


def test_the_start_is_uniform_over_p_from_one_half_to_1() -> None:
    assert sum(START) == pytest.approx(1)
    assert sum(share for share, p in zip(START, GRID, strict=True) if p < 0.75) == pytest.approx(0.45)


@pytest.mark.parametrize(("p", "low", "high"), [(0.9, 0.85, 0.95), (0.998, 0.99, 1.0)])
def test_it_learns_a_common_p_to_its_neighbourhood(p: float, low: float, high: float) -> None:
    prior = Prior()
    for tally in tallies(rule("posterior:0.9,steps=1000"), [(1.0, p)], 3000):
        prior.learn("", tally)
    shares = list(zip(GRID, prior.weights(""), strict=True))
    assert sum(share * value for value, share in shares) == pytest.approx(p, abs=0.005)
    assert sum(share for value, share in shares if low <= value <= high) > 0.98


def test_it_learns_how_many_steps_are_hard_and_would_not_from_uncontested_ballots_alone() -> None:
    sorts = [(0.97, 0.998), (0.03, 0.55)]
    seen = tallies(rule("posterior:0.9,steps=100"), sorts, 3000)

    def hard(kept: list[tuple[int, int]]) -> float:
        prior = Prior()
        for tally in kept:
            prior.learn("", tally)
        for memory in prior.kinds.values():
            memory.refresh(prior.memory)
        return sum(share for value, share in zip(GRID, prior.weights(""), strict=True) if value <= 0.65)

    assert hard(seen) == pytest.approx(0.03, abs=0.012)
    # The twin: who learns from agreement alone sees no hard steps.
    assert hard([tally for tally in seen if not tally[1]]) < 0.005


def test_what_was_learned_decides_with_fewer_votes_on_easy_steps_and_keeps_the_target() -> None:
    judge = Posterior(0.95, 1_000_000)
    prior = judge.begin()
    ks = [judge.at(0, "", prior).k]
    for tally in tallies(judge, SORTS, 1000):
        prior.learn("", tally)
        if prior.steps in (100, 300, 1000):
            ks.append(judge.at(prior.steps, "", prior).k)
    assert max(ks[1:]) <= ks[0] - 8
    assert judge.at(1000, "", prior).step_error == judge.step_error


def test_the_prior_changes_at_fixed_indices_alone() -> None:
    assert [n for n in range(1, 20_001) if is_refresh(n)] == [100, 300, 1000, 3000, 5000, 10_000, 15_000, 20_000]
    assert [last_refresh(n) for n in (0, 99, 100, 299, 3000, 4999, 5000, 9999, 10_000)] == [
        *(0, 0, 100, 100, 3000, 3000, 5000, 5000, 10_000)
    ]
    prior, before = Prior(), START
    for step in range(1, 1001):
        prior.learn("", (9, step % 2))
        assert (prior.weights("") != before) == is_refresh(step)
        before = prior.weights("")


def test_a_step_past_the_next_refresh_is_judged_ahead_of_its_time_and_says_so() -> None:
    prior = Prior()
    for _ in range(98):
        prior.learn("", (5,))
    assert prior.is_settled(98)
    assert prior.is_settled(99)
    assert not prior.is_settled(100)
    prior.learn("", (5,))
    prior.learn("", (5,))
    assert prior.is_settled(100)
    assert not prior.is_settled(99)


def test_kinds_of_steps_are_learned_apart_and_one_never_seen_begins_anew() -> None:
    prior = Prior()
    for step in range(100):
        prior.learn("easy" if step % 2 else "hard", (9, 0) if step % 2 else (9, 6))
    mean = {k: sum(w * p for w, p in zip(prior.weights(k), GRID, strict=True)) for k in ("easy", "hard", "new")}
    assert mean["easy"] > 0.95 > 0.7 > mean["hard"]
    assert prior.weights("new") == START


@pytest.mark.parametrize("stop", [1, 99, 100, 101, 950, 1000])
def test_a_prior_written_down_and_read_back_goes_on_as_if_it_had_never_stopped(stop: int) -> None:
    chance = Random(6)
    seen = [(chance.choice("ab"), (10 + chance.randrange(3), chance.randrange(4))) for _ in range(1100)]
    whole, parted = Prior(), Prior()
    for number, (kind, tally) in enumerate(seen):
        if number == stop:
            parted = msgspec.json.decode(msgspec.json.encode(parted), type=Prior)
        whole.learn(kind, tally)
        parted.learn(kind, tally)
    assert parted == whole
    assert msgspec.json.encode(parted) == msgspec.json.encode(whole)
    judge = Posterior(0.95, 1_000_000)
    assert [judge.at(1100, "a", made).least(5) for made in (whole, parted)] == [judge.at(1100, "a", whole).least(5)] * 2


def test_it_forgets_the_oldest_blocks_and_stays_small() -> None:
    prior = Prior(memory=12_000)
    for step in range(40_000):
        prior.learn("", (6, int(step < 20_000)))
    memory = prior.kinds[""]
    assert sum(sum(block.values()) for block in memory.blocks) == 10_000
    assert all("6:1" not in block for block in memory.blocks)
    assert len(msgspec.json.encode(prior)) < 2000


def test_the_order_of_tallies_within_a_block_does_not_matter() -> None:
    chance = Random(2)
    seen = [(9, chance.randrange(3)) for _ in range(100)]
    first, second = Prior(), Prior()
    for one, other in zip(seen, sorted(seen), strict=True):
        first.learn("", one)
        second.learn("", other)
    assert first.weights("") == second.weights("")


def test_an_em_round_never_makes_the_tallies_less_likely() -> None:
    seen = {"13:0": 950, "14:1": 40, "40:22": 3, "90:70": 7}

    def fit(shares: Weights) -> float:
        total = 0.0
        for name, steps in seen.items():
            a, b = map(int, name.split(":"))
            terms = (w * (p**a * (1 - p) ** b + p**b * (1 - p) ** a) for w, p in zip(shares, GRID, strict=True))
            total += steps * math.log(math.fsum(terms))
        # What EM climbs is the posterior: the pseudo-counts have their part in it.
        return total + sum(c * math.log(w) for c, w in zip(START, shares, strict=True))

    assert fit(learned([seen])) > fit(START)
    assert fit(learned([seen], learned([seen]))) >= fit(learned([seen])) - 1e-9
    assert sum(learned([seen])) == pytest.approx(1)
    assert Memory().weights == START


# ---- what a certificate says -----------------------------------------------------------------------------------------


def test_the_certificate_of_a_promise_is_the_promise_over_the_steps_decided() -> None:
    made = certify("posterior:0.95,steps=1000", {"": Seen(steps=500, agreed=9000, dissent=20, contested=15)})
    assert made.predicted_success == pytest.approx(0.95**0.5)
    assert "learned from the run's own ballots" in made.assumption
    assert (made.p, made.floor) == (None, None)


def test_the_certificate_of_a_rule_without_a_bound_says_no_bound() -> None:
    for spec in ("esc", "rasc", "cisc", "borda", "irv", "mrr", "adaptive_consistency"):
        made = certify(spec, {"": Seen(steps=500, agreed=2500)})
        assert made.predicted_success is None
        assert made.reason.startswith("no bound")


def test_a_majority_is_certified_by_its_own_race() -> None:
    made = certify("majority:5", {"": Seen(steps=1000, agreed=4995, dissent=5, contested=5)})
    assert 0 < (made.predicted_success or 0) < 1
    assert (made.p or 0) < 0.999
