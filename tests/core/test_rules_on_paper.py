"""Rules held against their definitions, worked out here in whole numbers and fractions for every ballot drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.ballot import Ballot, Rule
from mdap.core.rules import rule
from mdap.core.rules.borda import Borda
from mdap.core.rules.irv import Irv
from mdap.core.rules.log_odds import CLIP, LogOdds
from mdap.core.rules.mrr import Mrr
from mdap.core.rules.rasc import equals_majority, equals_previous
from mdap.core.rules.weighing import BINS, Logged, calibration_error, check_weights, within_question

Rankings = Sequence[Sequence[str]]

VOTES = st.lists(st.sampled_from("abcd"), max_size=14)
RANKINGS = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=6), min_size=1, max_size=9)


def cast(judge: Any, votes: Sequence[str]) -> Ballot:
    ballot = Ballot(judge)
    for vote in votes:
        ballot.cast(vote)
    return ballot


def ranked(judge: Any, rankings: Rankings) -> Ballot:
    ballot = Ballot(judge)
    for ranking in rankings:
        ballot.cast(ranking[0], None, tuple(ranking))
    return ballot


# Rules that count: what is needed, by trying every way in which votes can go on.

COUNTING: dict[str, Callable[[tuple[int, ...]], bool]] = {
    # What ends a ballot with these votes, the most first and at least two of them.
    "ahead_by_k:1": lambda tally: tally[0] - tally[1] >= 1,
    "ahead_by_k:2": lambda tally: tally[0] - tally[1] >= 2,
    "ahead_by_k:4": lambda tally: tally[0] - tally[1] >= 4,
    "first_to_k:1": lambda tally: tally[0] >= 1,
    "first_to_k:3": lambda tally: tally[0] >= 3,
    "majority:1": lambda tally: 2 * tally[0] > sum(tally),
    "majority:4": lambda tally: sum(tally) >= 4 and 2 * tally[0] > sum(tally),
    "majority:5": lambda tally: sum(tally) >= 5 and 2 * tally[0] > sum(tally),
    "gate:2": lambda tally: tally[0] - tally[1] >= 2 or sum(tally) >= 8,
    "first_of:2": lambda tally: tally[0] >= 2 or sum(tally) >= 3,
    "collect:3": lambda tally: sum(tally) >= 3,
}


def tally_of(votes: Sequence[str]) -> tuple[int, ...]:
    return tuple(sorted([*Counter(votes).values(), 0, 0], reverse=True))


def fewest(ends: Callable[[tuple[int, ...]], bool], tally: tuple[int, ...]) -> int:
    """The least number of further votes after which a ballot may be over, over all votes that there can be."""
    reached, count = {tally}, 0
    while not any(map(ends, reached)):
        count += 1
        reached = {
            tuple(sorted((*one[:i], one[i] + 1, *one[i + 1 :], 0), reverse=True))
            for one in reached
            for i in range(len(one))
        }
        reached = {one[: len(one) - one.count(0) + 2] for one in reached}
    return count


@pytest.mark.parametrize("spec", sorted(COUNTING))
@given(votes=VOTES)
def test_needed_is_the_fewest_votes_after_which_a_ballot_can_be_over(spec: str, votes: list[str]) -> None:
    ends = COUNTING[spec]
    # A ballot goes no further than to its end.
    over = next((n for n in range(1, len(votes) + 1) if ends(tally_of(votes[:n]))), len(votes))
    votes = votes[:over]
    assert cast(rule(spec), votes).needed == fewest(ends, tally_of(votes))


@pytest.mark.parametrize("spec", [*sorted(COUNTING), "posterior:0.9,steps=100", "ppr:0.9,steps=10,labels=4"])
@given(votes=VOTES, data=st.data())
def test_of_rules_that_count_none_looks_at_the_order_of_votes(spec: str, votes: list[str], data: st.DataObject) -> None:
    judge = rule(spec)
    # The same candidates have to appear in the same order: who came first leads among equals.
    firsts = list(dict.fromkeys(votes))
    rest = list((Counter(votes) - Counter(firsts)).elements())
    before, after = cast(judge, [*firsts, *rest]), cast(judge, [*firsts, *data.draw(st.permutations(rest))])
    assert (before.needed, before.winner, before.leader, before.tally) == (
        after.needed,
        after.winner,
        after.leader,
        after.tally,
    )


@pytest.mark.parametrize(
    "spec", ["ahead_by_k:3", "first_to_k:3", "majority:5", "posterior:0.9,steps=100", "ppr:0.9,steps=10"]
)
@given(votes=VOTES.filter(bool))
def test_a_vote_for_who_leads_never_asks_for_more_and_one_vote_is_worth_one_at_most(
    spec: str, votes: list[str]
) -> None:
    judge = rule(spec)
    needs = [cast(judge, votes).needed]
    for _ in range(needs[0]):
        leader = cast(judge, votes).leader
        votes = [*votes, leader]
        needs.append(cast(judge, votes).needed)
    assert all(before - after in (0, 1) for before, after in pairwise(needs))
    # Of ppr, one that appeared earlier has an easier level, and may come to it sooner.
    assert needs[-1] == 0 or spec.startswith("ppr")


@given(votes=VOTES.filter(bool))
def test_of_equals_who_appeared_first_leads(votes: list[str]) -> None:
    counts = Counter(votes)
    first = next(vote for vote in votes if counts[vote] == max(counts.values()))
    ballot = cast(rule("ahead_by_k:3"), votes)
    assert (ballot.leader, ballot.tally[0], sum(ballot.tally)) == (first, counts[first], len(votes))
    others = [counts[name] for name in dict.fromkeys(votes) if name != first]
    assert list(ballot.tally[1:]) == others


# Rules that rank.


def borda_on_paper(rankings: Rankings) -> dict[str, Fraction]:
    """One point for each candidate that a ballot puts below, half a point for each that it does not compare."""
    names = {name for ranking in rankings for name in ranking}
    points = dict.fromkeys(names, Fraction(0))
    for ranking in rankings:
        place = {name: ranking.index(name) for name in ranking}
        for one in names:
            for other in names - {one}:
                mine, theirs = place.get(one), place.get(other)
                if mine is None and theirs is None:
                    points[one] += Fraction(1, 2)
                elif theirs is None or (mine is not None and mine < theirs):
                    points[one] += 1
    return points


def mrr_on_paper(rankings: Rankings) -> dict[str, Fraction]:
    points: dict[str, Fraction] = Counter()  # type: ignore[assignment]
    for ranking in rankings:
        for place, name in enumerate(dict.fromkeys(ranking)):
            points[name] += Fraction(1, place + 1)
    return points


def irv_on_paper(rankings: Rankings) -> set[str]:
    """Strike out the candidates with fewest first places, all at once, until one has more than half."""
    standing = {name for ranking in rankings for name in ranking}
    while True:
        heads = [next((name for name in ranking if name in standing), None) for ranking in rankings]
        firsts = Counter(name for name in heads if name is not None)
        most = max(firsts.values())
        leading = {name for name in firsts if firsts[name] == most}
        if 2 * most > sum(firsts.values()) or leading == set(firsts):
            return leading
        # Who heads no ballot goes with those that head fewest.
        standing = {name for name in firsts if firsts[name] > min(firsts.values())}


def best_of(points: dict[str, Fraction]) -> set[str]:
    return {name for name in points if points[name] == max(points.values())}


ON_PAPER: dict[type[Any], Callable[[Rankings], set[str]]] = {
    Borda: lambda rankings: best_of(borda_on_paper(rankings)),
    Mrr: lambda rankings: best_of(mrr_on_paper(rankings)),
    Irv: irv_on_paper,
}


@pytest.mark.parametrize("made", list(ON_PAPER))
@given(rankings=RANKINGS)
def test_who_stands_in_front_is_who_does_by_the_definition(made: type[Any], rankings: list[list[str]]) -> None:
    ballot = ranked(made(1), rankings)
    front = ON_PAPER[made](rankings)
    assert set(ballot.rule.front(ballot)) == front  # type: ignore[attr-defined]
    assert ballot.winner == (next(iter(front)) if len(front) == 1 else None)
    assert ballot.needed == (0 if len(front) == 1 else 1)


@pytest.mark.parametrize("made", list(ON_PAPER))
@given(rankings=RANKINGS, data=st.data())
def test_in_which_order_rankings_come_decides_nothing(
    made: type[Any], rankings: list[list[str]], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(rankings))
    first, second = ranked(made(3), rankings), ranked(made(3), other)
    assert (first.winner, first.needed) == (second.winner, second.needed)


@given(rankings=RANKINGS)
def test_every_ballot_gives_the_same_points_however_few_it_ranks(rankings: list[list[str]]) -> None:
    points = Borda(1).points(ranked(Borda(1), rankings))
    size = len(points)
    assert sum(points.values()) == len(rankings) * size * (size - 1) / 2
    assert points == {name: float(value) for name, value in borda_on_paper(rankings).items()}


@pytest.mark.parametrize("made", list(ON_PAPER))
@given(rankings=RANKINGS, count=st.integers(1, 5))
def test_a_candidate_that_all_put_first_wins_and_as_soon_as_all_ballots_are_in(
    made: type[Any], rankings: list[list[str]], count: int
) -> None:
    agreed = [["z", *ranking] for ranking in rankings]
    judge = made(len(agreed))
    assert [ranked(judge, agreed[:n]).winner for n in range(len(agreed))] == [None] * len(agreed)
    assert ranked(judge, agreed).winner == "z"
    assert ranked(made(len(agreed) + count), agreed).needed == count


# Rules that weigh.

SURE = st.floats(0, 1)
WEIGHED = st.lists(st.tuples(st.sampled_from("abc"), SURE), min_size=1, max_size=8)


def weighed(judge: Any, votes: Sequence[tuple[str, float]]) -> Ballot:
    ballot = Ballot(judge)
    for key, confidence in votes:
        ballot.cast(key, confidence)
    return ballot


@given(low=SURE, high=SURE, scale=st.floats(0.01, 1), shift=st.floats(-1, 1))
def test_a_surer_vote_weighs_no_less_and_none_more_than_the_clip(
    low: float, high: float, scale: float, shift: float
) -> None:
    judge = LogOdds(scale=scale, shift=shift)
    low, high = sorted((low, high))
    assert -CLIP <= judge.weight(low) <= judge.weight(high) <= CLIP
    assert (judge.weight(0.0), judge.weight(1.0)) == (-CLIP, CLIP)


@given(votes=WEIGHED, data=st.data())
def test_weights_are_sums_and_the_order_of_votes_decides_nothing(
    votes: list[tuple[str, float]], data: st.DataObject
) -> None:
    judge = LogOdds(0.9, 10)
    weights = judge.weights(weighed(judge, votes))
    assert weights == pytest.approx(
        {key: sum(judge.weight(c) for name, c in votes if name == key) for key in dict(votes)}
    )
    other = weighed(judge, data.draw(st.permutations(votes)))
    assert judge.weights(other) == pytest.approx(weights)


@given(votes=WEIGHED)
def test_a_vote_of_one_half_changes_no_weight_and_a_doubtful_one_takes_some_away(
    votes: list[tuple[str, float]],
) -> None:
    judge = LogOdds(0.9, 10)
    before = judge.weights(weighed(judge, votes))
    key = votes[0][0]
    assert judge.weights(weighed(judge, [*votes, (key, 0.5)]))[key] == pytest.approx(before[key])
    assert judge.weights(weighed(judge, [*votes, (key, 0.4)]))[key] < before[key]
    assert judge.weights(weighed(judge, [*votes, (key, 0.6)]))[key] > before[key]


@given(votes=st.lists(st.sampled_from("abc"), min_size=1, max_size=10))
def test_features_of_a_vote_look_at_what_came_before_it_alone(votes: list[str]) -> None:
    ballot = cast(rule("rasc:3"), votes)
    for number, vote in enumerate(votes):
        before = votes[:number]
        assert equals_previous(ballot, number) == (number > 0 and vote == votes[number - 1])
        leader = max(before, key=lambda name: (before.count(name), -before.index(name)), default=None)
        assert equals_majority(ballot, number) == (vote == leader)


# What confidences are worth.

LOGGED = st.lists(st.builds(Logged, st.integers(0, 3), SURE, st.booleans()), max_size=30)


@given(LOGGED)
def test_wqd_is_the_share_of_pairs_in_which_the_right_vote_is_surer(votes: list[Logged]) -> None:
    pairs = [
        (right.confidence > wrong.confidence) + (right.confidence == wrong.confidence) / 2
        for right in votes
        for wrong in votes
        if right.right and not wrong.right and right.question == wrong.question
    ]
    assert within_question(votes) == pytest.approx(sum(pairs) / len(pairs) if pairs else 0.5)
    turned = [Logged(vote.question, 1 - vote.confidence, vote.right) for vote in votes]
    # To take doubt for confidence turns it round, but for confidences that subtraction makes equal.
    if len({vote.confidence for vote in votes}) == len({vote.confidence for vote in turned}):
        assert within_question(turned) == pytest.approx(1 - within_question(votes))


@given(LOGGED)
def test_the_calibration_error_is_between_0_and_1_and_0_where_each_bin_is_as_right_as_it_says(
    votes: list[Logged],
) -> None:
    error = calibration_error([vote.confidence for vote in votes], [vote.right for vote in votes])
    assert 0 <= error <= 1
    honest = [(number / BINS, n < number) for number in range(BINS + 1) for n in range(BINS)]
    assert calibration_error(*zip(*honest, strict=True)) == pytest.approx(0, abs=1e-12)
    assert calibration_error([1.0] * 4, [False] * 4) == 1.0
    assert calibration_error([], []) == 0.0


@given(st.lists(st.tuples(SURE, st.booleans()), min_size=100, max_size=140), st.floats(0, 2))
def test_whatever_was_logged_the_scale_is_none_that_overrates_confidence(
    votes: list[tuple[float, bool]], price: float
) -> None:
    found = check_weights([Logged(n % 7, sure, right) for n, (sure, right) in enumerate(votes)], price)
    assert 0 <= found.scale <= 1
    assert (found.worth, found.votes) == (not found.reason, len(votes))
    assert found.wrong == sum(not right for _, right in votes)
    assert not found.worth or (found.gain > 1 + price and found.wqd > 0.5)
    # What it says can be taken over by the rule.
    if found.worth:
        assert LogOdds(scale=found.scale, shift=found.shift).k >= 1


# A rule that judges by a prior.


@cache
def judge_at(target: float) -> Rule:
    return rule(f"posterior:{target},steps=1000")


@pytest.mark.parametrize("second", range(4))
def test_a_higher_target_and_more_votes_against_ask_for_more(second: int) -> None:
    def needed(target: float, against: int) -> int:
        return cast(judge_at(target), ["b"] * against).needed if against else Ballot(judge_at(target)).needed

    targets = (0.5, 0.9, 0.99, 0.999)
    assert all(needed(low, second) <= needed(high, second) for low, high in pairwise(targets))

    def margin(against: int) -> int:
        """The votes over `against` others with which a candidate has won."""
        judge = judge_at(0.9)
        return next(n for n in range(1, 60) if cast(judge, ["b"] * against + ["a"] * (against + n)).winner == "a")

    assert margin(second) <= margin(second + 1)
