"""The tally of one step, checked against counting by hand and against a slow reading of the paper's rule."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.ballot import Ballot, Rule
from mdap.core.rules import AheadByK, FirstToK

RULES = st.one_of(st.integers(1, 6).map(AheadByK), st.integers(1, 6).map(FirstToK))
VOTES = st.lists(st.sampled_from("abcd"), max_size=30)


def cast(rule: Rule, votes: str | list[str]) -> Ballot:
    ballot = Ballot(rule)
    for vote in votes:
        ballot.cast(vote)
    return ballot


def test_an_empty_ballot_has_no_leader_no_winner_and_no_lead() -> None:
    ballot = Ballot(AheadByK(3))
    assert (ballot.votes, ballot.first, ballot.lead, ballot.leader, ballot.winner) == (0, 0, 0, None, None)
    assert (ballot.needed, ballot.tally) == (3, ())


def test_one_candidate_without_rivals_wins_at_k_votes() -> None:
    assert [cast(AheadByK(3), "a" * n).winner for n in range(4)] == [None, None, None, "a"]


def test_the_lead_is_over_the_second_candidate_and_not_over_the_rest() -> None:
    ballot = cast(AheadByK(3), "aaabbcc")
    assert (ballot.lead, ballot.needed, ballot.winner, ballot.tally) == (1, 2, None, (3, 2, 2))


def test_of_equals_the_one_that_appeared_first_leads() -> None:
    assert cast(AheadByK(2), "ba").leader == "b"
    assert cast(AheadByK(2), "abba").leader == "a"
    assert cast(AheadByK(2), "baab").tally == (2, 2)


def test_the_tally_names_the_leader_first_and_the_others_as_they_appeared() -> None:
    assert cast(AheadByK(5), "cabbbd").tally == (3, 1, 1, 1)
    assert list(cast(AheadByK(5), "cabbbd").counts) == ["c", "a", "b", "d"]


@pytest.mark.parametrize("order", sorted(set(permutations("aab"))))
def test_who_leads_does_not_depend_on_the_order_unless_candidates_are_equal(order: tuple[str, ...]) -> None:
    assert cast(AheadByK(3), list(order)).leader == "a"


@given(RULES, VOTES)
def test_needed_is_nought_exactly_when_there_is_a_winner(rule: Rule, votes: list[str]) -> None:
    ballot = cast(rule, votes)
    assert (ballot.needed == 0) == (ballot.winner is not None)
    assert ballot.winner in (None, ballot.leader)


@given(RULES, VOTES, st.lists(st.sampled_from("abcde"), min_size=6, max_size=6))
def test_needed_is_exact_no_fewer_votes_can_decide_and_as_many_can(
    rule: Rule, votes: list[str], more: list[str]
) -> None:
    ballot = cast(rule, votes)
    needed = ballot.needed
    if not needed:
        return
    for vote in more[: needed - 1]:
        ballot.cast(vote)
        assert ballot.winner is None
    leading = cast(rule, votes)
    for _ in range(needed):
        assert leading.winner is None
        leading.cast(leading.leader or "a")
    assert leading.winner is not None


@given(st.integers(1, 5), VOTES)
def test_ahead_by_k_is_what_the_paper_says_read_slowly(k: int, votes: list[str]) -> None:
    counts = {name: votes.count(name) for name in votes}
    winners = [a for a in counts if counts[a] >= k + max((counts[b] for b in counts if b != a), default=0)]
    ballot = cast(AheadByK(k), votes)
    assert ballot.winner == (winners[0] if winners else None)
    assert len(winners) <= 1


@given(RULES, VOTES)
def test_every_vote_is_in_the_tally_once(rule: Rule, votes: list[str]) -> None:
    ballot = cast(rule, votes)
    assert sum(ballot.tally) == ballot.votes == len(votes)
    assert ballot.first == max(ballot.tally, default=0)
