"""Stopping rules by name, and where the two of the paper differ."""

from __future__ import annotations

import itertools

import pytest

from mdap.core.ballot import Ballot, Rule
from mdap.core.errors import UsageError
from mdap.core.rules import RULES, AheadByK, FirstToK, rule


def race(judge: Rule, votes: str) -> tuple[str | None, int]:
    """The winner of votes cast one by one, and how many it took."""
    ballot = Ballot(judge)
    for number, vote in enumerate(votes, 1):
        ballot.cast(vote)
        if ballot.winner is not None:
            return ballot.winner, number
    return None, len(votes)


def test_a_b_a_b_a_is_undecided_by_ahead_by_3_and_won_by_first_to_3() -> None:
    assert race(AheadByK(3), "ababa") == (None, 5)
    assert race(FirstToK(3), "ababa") == ("a", 5)


def test_first_to_k_of_two_candidates_ends_within_2k_minus_1_votes() -> None:
    for k in (1, 2, 3, 4):
        lengths = {race(FirstToK(k), "".join(votes))[1] for votes in itertools.product("ab", repeat=2 * k - 1)}
        assert (min(lengths), max(lengths)) == (k, 2 * k - 1)
        assert all(race(FirstToK(k), "".join(v))[0] for v in itertools.product("ab", repeat=2 * k - 1))


def test_with_k_1_both_rules_take_the_first_vote() -> None:
    assert race(AheadByK(1), "ba") == race(FirstToK(1), "ba") == ("b", 1)


@pytest.mark.parametrize("name", ["ahead_by_k", "first_to_k", "majority", "esc", "rasc", "cisc", "borda", "irv", "mrr"])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_a_rule_is_read_back_from_its_spec(name: str, k: int) -> None:
    made = rule(f"{name}:{k}")
    assert (made.k, made.spec) == (k, f"{name}:{k}")
    assert rule(made.spec) == made == rule(f"{name}:{RULES[name][1]}={k}")


def test_without_a_number_a_rule_has_k_3() -> None:
    assert rule("ahead_by_k") == AheadByK(3)


@pytest.mark.parametrize("spec", ["ahead_by_k:0", "ahead_by_k:-2", "first_to_k:0"])
def test_a_margin_below_1_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=r"give k of 1 or more"):
        rule(spec)


@pytest.mark.parametrize("spec", ["ahead_by_k:2.5", "ahead_by_k:three", "ahead_by_k:True"])
def test_a_margin_that_is_no_integer_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=r"give k as int"):
        rule(spec)


def test_an_unknown_rule_names_what_there_is_and_what_was_probably_meant() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'ahead_by_k'\? there is: adaptive_consistency, ahead_by_k, "):
        rule("ahead_by:3")


def test_a_margin_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"given twice: 3 and 4"):
        rule("ahead_by_k:3,k=4")
