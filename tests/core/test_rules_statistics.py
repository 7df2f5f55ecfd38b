"""What the rules promise, measured on simulated ballots; each beside a twin that breaks the promise and is caught."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from mdap.core.ballot import Ballot, Rule
from mdap.core.rules import AdaptiveConsistency, Borda, Cisc, Irv, LogOdds, Mrr, Ppr, Rasc
from mdap.core.rules.weighing import Logged, check_weights, within_question
from tests.core.rule_contract import Cast

Draw = Callable[[Random], Cast]


def wrong_share(judge: Rule, draw: Draw, ballots: int, seed: int = 1) -> float:
    """The share of ballots that are decided for another than "a"."""
    chance, wrong = Random(seed), 0
    for _ in range(ballots):
        ballot = Ballot(judge)
        while needed := min(ballot.needed, 20_000 - ballot.votes):
            for _ in range(needed):
                ballot.cast(*draw(chance))
        wrong += ballot.winner not in (None, "a")
    return wrong / ballots


def most(share: float, ballots: int) -> float:
    """Four standard deviations above a share: exceeded once in 30,000 times by chance."""
    return share + 4 * math.sqrt(share * (1 - share) / ballots)


# ---- ppr: the commonest answer, whatever its share -------------------------------------------------------------------


def shares(**odds: float) -> Draw:
    names, weights = list(odds), list(odds.values())

    def draw(chance: Random) -> Cast:
        return chance.choices(names, weights)[0], 0.5, ()

    return draw


CLOSE = {
    "pair": shares(a=0.56, b=0.44),
    "three": shares(a=0.4, b=0.3, c=0.3),
    "many": shares(a=0.2, b=0.1, c=0.1, d=0.1),
}


@pytest.mark.parametrize("labels", [4, 0])
@pytest.mark.parametrize("law", CLOSE)
def test_ppr_finds_the_commonest_answer_as_often_as_it_says_without_a_majority(law: str, labels: int) -> None:
    assert wrong_share(Ppr(0.8, 1, labels), CLOSE[law], 120) <= most(0.2, 120)


def test_a_test_that_is_not_made_for_many_looks_is_wrong_more_often_than_it_says() -> None:
    # Adaptive-Consistency at 80% looks after every vote as if that look were the only one.
    assert wrong_share(AdaptiveConsistency(0.8, 10**6), CLOSE["pair"], 200) > most(0.2, 200)


# ---- log_odds: calibrated confidences --------------------------------------------------------------------------------


def confident(overstated: float = 1.0) -> Draw:
    """Votes right as often as they are confident; the confidence told is `overstated` times as sure in log-odds."""

    def draw(chance: Random) -> Cast:
        share = chance.choice((0.55, 0.75, 0.95))
        odds = overstated * math.log(share / (1 - share))
        return ("a" if chance.random() < share else "b"), 1 / (1 + math.exp(-odds)), ()

    return draw


def test_log_odds_keeps_its_error_with_calibrated_confidences_and_not_with_overconfident_ones() -> None:
    judge = LogOdds(0.95, 1)
    assert wrong_share(judge, confident(), 3000) <= most(0.05, 3000)
    assert wrong_share(judge, confident(3.0), 3000) > most(0.05, 3000)


def logged(overstated: float, votes: int = 3000, told: bool = True) -> list[Logged]:
    chance, draw, found = Random(4), confident(overstated), []
    for number in range(votes):
        key, confidence, _ = draw(chance)
        found.append(Logged(number // 10, confidence if told else chance.random(), key == "a"))
    return found


def test_the_calibration_check_shrinks_overconfidence_so_that_the_error_is_kept() -> None:
    made = check_weights(logged(3.0))
    assert made.worth
    assert made.raw_ece > 0.05 > made.ece
    assert made.scale == pytest.approx(1 / 3, rel=0.25)
    mended = LogOdds(0.95, 1, made.scale, made.shift)
    assert wrong_share(mended, confident(3.0), 3000) <= most(0.05, 3000)


def test_calibrated_confidences_are_worth_it_unless_they_cost_too_much() -> None:
    made = check_weights(logged(1.0))
    assert made.worth
    assert made.scale == pytest.approx(1, abs=0.15)
    assert made.scale <= 1
    assert made.gain > 1.2
    assert made.wqd > 0.6
    dear = check_weights(logged(1.0), price=2.0)
    assert not dear.worth
    assert "cost 3.00 times as much" in dear.reason


def test_confidences_that_tell_nothing_are_not_worth_it() -> None:
    refused = [check_weights(logged(1.0, told=False)), check_weights([Logged(0, 0.75, i % 4 > 0) for i in range(400)])]
    assert [made.worth for made in refused] == [False, False]
    assert all(made.reason for made in refused)
    assert refused[0].scale < 0.1


def test_few_votes_or_few_wrong_ones_say_too_little() -> None:
    for votes in ([], logged(1.0, 50), [Logged(0, 0.9, right=True)] * 500):
        made = check_weights(votes)
        assert not made.worth
        assert "say too little" in made.reason
        assert made.scale == 0


def test_wqd_compares_right_and_wrong_votes_on_the_same_question_alone() -> None:
    votes = [
        Logged(1, 0.9, right=True),
        Logged(1, 0.4, right=False),
        Logged(2, 0.2, right=True),
        Logged(3, 0.99, right=False),
    ]
    assert within_question(votes) == 1.0
    assert within_question([*votes, Logged(1, 0.9, right=False)]) == 0.75
    assert within_question([Logged(1, 0.9, right=True)]) == 0.5


def test_cisc_with_informative_confidences_errs_less_than_counting_the_same_votes() -> None:
    weighed, counted = (wrong_share(judge, confident(), 4000) for judge in (Cisc(5, 0.2), Cisc(5, 1e6)))
    assert most(weighed, 4000) < counted
    # The twin: at a temperature at which all weights are equal nothing is gained.
    assert counted == pytest.approx(wrong_share(Rasc(5, 0.0), lambda chance: (confident()(chance)[0], 1.0, ()), 4000))


def test_rasc_with_scores_that_tell_right_from_wrong_errs_less_than_with_flat_ones() -> None:
    scored = wrong_share(Rasc(5, 0.6), confident(), 4000)
    flat = wrong_share(Rasc(5), lambda chance: (confident()(chance)[0], 1.0, ()), 4000)
    assert most(scored, 4000) < flat


# ---- rankings: Plackett-Luce, 5 candidates, 5 ballots, all wrong first places on one ---------------------------------


def ranking(chance: Random, cut: int = 5) -> Cast:
    first = "a" if chance.random() < 0.6 else "b"
    weights = {"a": 0.6, "b": 0.1, "c": 0.1, "d": 0.1, "e": 0.1}
    order = [first]
    del weights[first]
    while weights:
        order.append(chance.choices(list(weights), list(weights.values()))[0])
        del weights[order[-1]]
    return first, 1.0, tuple(order[:cut])


@pytest.mark.parametrize(("judge", "error"), [(Rasc(5), 0.313), (Borda(5), 0.173), (Mrr(5), 0.297), (Irv(5), 0.313)])
def test_rankings_err_as_often_as_was_found_for_the_published_rules(judge: Rule, error: float) -> None:
    assert wrong_share(judge, ranking, 3000) == pytest.approx(error, abs=4 * math.sqrt(error * (1 - error) / 3000))


def test_without_second_places_borda_is_no_better_than_plurality() -> None:
    first_alone = wrong_share(Borda(5), lambda chance: ranking(chance, 1), 1500)
    assert first_alone == pytest.approx(wrong_share(Rasc(5), ranking, 1500), abs=0.05)
    assert first_alone > most(wrong_share(Borda(5), ranking, 1500), 1500)


def scattered(chance: Random, cut: int = 5) -> Cast:
    """Three near-equal wrong answers split the first places; who errs puts the right one second."""
    first = chance.choices("abcd", (0.3, 0.24, 0.23, 0.23))[0]
    order = [first, *(["a"] if first != "a" else []), *(name for name in "bcd" if name != first)]
    return first, 1.0, tuple(order[:cut])


def test_a_runoff_with_transfers_finds_what_a_scattered_plurality_misses() -> None:
    with_transfers = wrong_share(Irv(9), scattered, 1500)
    without = wrong_share(Irv(9), lambda chance: scattered(chance, 1), 1500)
    assert most(with_transfers, 1500) < without
