"""What every stopping rule keeps: one suite, inherited by a class for each rule. It collects nothing by itself."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from mdap.core.ballot import Ballot, Evidence, Rule
from mdap.core.rules import bound_of, rule

Cast = tuple[str, float, tuple[str, ...]]


def draw(chance: Random, names: str) -> Cast:
    """One vote with all that may come with it: names early in the list are likelier."""
    key = names[min(int(chance.expovariate(0.9)), len(names) - 1)]
    others = [name for name in names if name != key]
    chance.shuffle(others)
    return key, chance.uniform(0.3, 1.0), (key, *others[: chance.randrange(len(others) + 1)])


def cast(judge: Rule, votes: Sequence[Cast]) -> Ballot:
    ballot = Ballot(judge)
    for key, confidence, ranking in votes:
        ballot.cast(key, confidence, ranking)
    return ballot


def voted(judge: Rule, chance: Random, names: str, most: int) -> list[Cast]:
    """Votes drawn one by one until the rule decides, or closes the ballot, or `most` of them."""
    votes: list[Cast] = []
    while len(votes) < most and cast(judge, votes).winner is None and cast(judge, votes).needed:
        votes.append(draw(chance, names))
    return votes


class RuleContract:
    """`SPEC` names the rule; `SURE` is a vote that moves it as far as one vote can, for the candidate named.

    `CLOSES`: the votes at which a rule that may elect nobody closes the ballot; `ELECTS`: whether it ever elects.
    """

    SPEC: str
    MOST = 60
    CLOSES: int | None = None
    ELECTS = True

    def is_closed(self, ballot: Ballot) -> bool:
        """Whether the rule has closed the ballot without a winner."""
        return ballot.votes == self.CLOSES and ballot.winner is None

    @pytest.fixture
    def judge(self) -> Rule:
        return rule(self.SPEC)

    def sure(self, key: str) -> Cast:
        return key, 1.0, (key,)

    def test_it_is_read_back_from_its_spec(self, judge: Rule) -> None:
        assert rule(judge.spec) == judge
        assert rule(judge.spec).spec == judge.spec

    def test_an_empty_ballot_is_undecided_and_needs_k_votes(self, judge: Rule) -> None:
        ballot = Ballot(judge)
        assert (ballot.winner, ballot.leader, ballot.tally) == (None, None, ())
        assert ballot.needed == judge.k >= 1

    def test_k_sure_votes_for_one_candidate_decide_and_fewer_do_not(self, judge: Rule) -> None:
        votes = [self.sure("a")] * judge.k
        assert [cast(judge, votes[:n]).winner for n in range(judge.k)] == [None] * judge.k
        assert cast(judge, votes).winner == ("a" if self.ELECTS else None)
        assert cast(judge, votes).needed == 0

    @pytest.mark.parametrize("seed", range(20))
    def test_needed_is_nought_exactly_when_there_is_a_winner_and_it_is_the_leader(self, judge: Rule, seed: int) -> None:
        chance = Random(seed)
        votes: list[Cast] = []
        while len(votes) < self.MOST:
            ballot = cast(judge, votes)
            assert (ballot.winner is not None) == judge.decided(ballot)
            assert (ballot.needed == 0) == (judge.decided(ballot) or self.is_closed(ballot))
            assert ballot.winner in (None, ballot.leader)
            if ballot.needed == 0:
                break
            votes.append(draw(chance, "abcd"))

    @pytest.mark.parametrize("seed", range(20))
    def test_fewer_votes_than_needed_never_decide(self, judge: Rule, seed: int) -> None:
        chance = Random(seed)
        votes = voted(judge, chance, "abcd", chance.randrange(self.MOST))
        needed = cast(judge, votes).needed
        for _ in range(5):
            more = [draw(chance, "abcde") for _ in range(min(needed, 40) - 1)]
            sure = [self.sure(chance.choice("abcde")) for _ in range(min(needed, 40) - 1)]
            for further in (more, sure):
                for n in range(1, len(further) + 1):
                    assert cast(judge, [*votes, *further[:n]]).winner is None

    @pytest.mark.parametrize("seed", range(20))
    def test_as_many_votes_as_needed_can_decide(self, judge: Rule, seed: int) -> None:
        chance = Random(seed)
        votes = voted(judge, chance, "abc", chance.randrange(self.MOST))
        ballot = cast(judge, votes)
        candidates = [*ballot.counts, "new"]
        full = [cast(judge, [*votes, *[self.sure(key)] * ballot.needed]) for key in candidates]
        assert any(made.winner is not None or self.is_closed(made) for made in full)

    @pytest.mark.parametrize("seed", range(10))
    def test_names_do_not_matter(self, judge: Rule, seed: int) -> None:
        votes = voted(judge, Random(seed), "abcd", self.MOST)
        other = dict(zip("abcd", "zyxw", strict=True))
        renamed = [(other[key], c, tuple(other[name] for name in ranking)) for key, c, ranking in votes]
        before, after = cast(judge, votes), cast(judge, renamed)
        assert after.winner == (None if before.winner is None else other[before.winner])
        assert (after.needed, after.tally) == (before.needed, before.tally)

    @pytest.mark.parametrize("seed", range(5))
    def test_judging_changes_nothing(self, judge: Rule, seed: int) -> None:
        ballot = cast(judge, voted(judge, Random(seed), "abc", 20))
        before = (dict(ballot.counts), list(ballot.order), list(ballot.confidences), list(ballot.rankings))
        first: list[Any] = [ballot.needed, ballot.winner, ballot.leader, ballot.tally, self.evidence(judge, ballot)]
        again: list[Any] = [ballot.needed, ballot.winner, ballot.leader, ballot.tally, self.evidence(judge, ballot)]
        assert first == again
        assert before == (ballot.counts, ballot.order, ballot.confidences, ballot.rankings)

    def evidence(self, judge: Rule, ballot: Ballot) -> Evidence:
        found: Evidence = judge.evidence(ballot)  # type: ignore[attr-defined]
        return found

    @pytest.mark.parametrize("seed", range(10))
    def test_the_evidence_suffices_exactly_when_the_ballot_is_decided(self, judge: Rule, seed: int) -> None:
        votes = voted(judge, Random(seed), "abc", self.MOST)
        for n in range(len(votes) + 1):
            ballot = cast(judge, votes[:n])
            evidence = self.evidence(judge, ballot)
            decided = ballot.winner is not None or (self.is_closed(ballot) and not self.ELECTS)
            assert (evidence.has >= evidence.needs) == decided
            assert evidence.unit in str(evidence)

    def test_it_says_what_it_promises_or_that_it_promises_nothing(self, judge: Rule) -> None:
        assert bound_of(judge) == (getattr(judge, "bound", None) or "no bound")
        assert "promises nothing" in str(type(judge).__doc__) or bound_of(judge) != "no bound"

    def test_the_tally_holds_every_vote_once(self, judge: Rule) -> None:
        ballot = cast(judge, voted(judge, Random(1), "abcd", 30))
        assert sum(ballot.tally) == ballot.votes
