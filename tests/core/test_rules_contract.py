"""Every rule keeps the contract of rules; and the contract rejects rules that break it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mdap.core.ballot import Ballot, Evidence, Rule
from mdap.core.errors import UsageError
from mdap.core.rules import RULES, bound_of, rule
from tests.core.rule_contract import RuleContract


class TestAheadByK(RuleContract):
    SPEC = "ahead_by_k:3"


class TestFirstToK(RuleContract):
    SPEC = "first_to_k:3"


class TestMajority(RuleContract):
    SPEC = "majority:5"


class TestMajorityOfAnEvenNumber(RuleContract):
    SPEC = "majority:4"


class TestPosterior(RuleContract):
    SPEC = "posterior:0.9,steps=1000"


class TestPpr(RuleContract):
    SPEC = "ppr:0.9,steps=100,labels=4"


class TestPprOfUnknownLabels(RuleContract):
    SPEC = "ppr:0.9,steps=10"


class TestLogOdds(RuleContract):
    SPEC = "log_odds:0.9,steps=1000"


class TestLogOddsScaled(RuleContract):
    SPEC = "log_odds:0.9,steps=100,scale=0.5,shift=0.25"


class TestAdaptiveConsistency(RuleContract):
    SPEC = "adaptive_consistency:0.95"


class TestEsc(RuleContract):
    SPEC = "esc:4,cap=22"


class TestRasc(RuleContract):
    SPEC = "rasc:4,threshold=0.6,cap=15"


class TestCisc(RuleContract):
    SPEC = "cisc:5,temperature=0.2"


class TestBorda(RuleContract):
    SPEC = "borda:5"


class TestIrv(RuleContract):
    SPEC = "irv:5"


class TestMrr(RuleContract):
    SPEC = "mrr:5"


class TestGate(RuleContract):
    SPEC = "gate:3"
    CLOSES = 12


class TestGateOfOne(RuleContract):
    SPEC = "gate:1"
    CLOSES = 4


class TestFirstOf(RuleContract):
    SPEC = "first_of:3"

    def is_closed(self, ballot: Ballot) -> bool:
        return ballot.winner is None and 3 - ballot.first > 5 - ballot.votes


class TestFirstOfOne(RuleContract):
    SPEC = "first_of:1"


class TestCollect(RuleContract):
    SPEC = "collect:4"
    CLOSES = 4
    ELECTS = False


class TestCollectOne(RuleContract):
    SPEC = "collect:1"
    CLOSES = 1
    ELECTS = False


def test_every_rule_of_the_catalogue_is_held_to_the_contract() -> None:
    held = {rule(made.SPEC).spec.partition(":")[0] for made in RuleContract.__subclasses__()}
    assert held == set(RULES)


def test_the_rules_without_a_bound_are_those_that_are_for_comparison_or_elect_no_answer() -> None:
    without = {name for name in RULES if bound_of(rule(name)) == "no bound"}
    assert without == {
        "adaptive_consistency",
        "esc",
        "rasc",
        "cisc",
        "borda",
        "irv",
        "mrr",
        "first_of",
        "gate",
        "collect",
    }


@pytest.mark.parametrize(
    ("spec", "votes", "needed", "winner"),
    [
        ("gate:2", "", 2, None),
        ("gate:2", "ny", 2, None),
        ("gate:2", "nyy", 1, None),
        ("gate:2", "nyyy", 0, "y"),
        ("gate:2", "yye", 1, None),
        ("gate:2", "eyee", 0, "e"),
        ("gate:2", "nynyny", 2, None),
        ("gate:2", "nynynyn", 1, None),
        ("gate:2", "nynynynn", 0, "n"),
        ("gate:2", "nynynyny", 0, None),
        ("gate:2", "nyenyeny", 0, None),
        ("gate:1", "e", 0, "e"),
        ("first_of:2", "ab", 1, None),
        ("first_of:2", "aba", 0, "a"),
        ("first_of:2", "abc", 0, None),
        ("first_of:3", "abca", 1, None),
        ("first_of:3", "abcaa", 0, "a"),
        ("first_of:3", "abcd", 0, None),
        ("collect:3", "ab", 1, None),
        ("collect:3", "abc", 0, None),
        ("collect:3", "aaa", 0, None),
        ("collect:1", "a", 0, None),
    ],
)
def test_a_rule_that_may_elect_nobody_says_when_it_is_closed(
    spec: str, votes: str, needed: int, winner: str | None
) -> None:
    ballot = Ballot(rule(spec))
    for vote in votes:
        ballot.cast(vote)
    assert (ballot.needed, ballot.winner) == (needed, winner)


# ---- the contract rejects --------------------------------------------------------------------------------------------


class Broken(msgspec.Struct, frozen=True):
    """Ahead by 3, but for what a subclass breaks."""

    k: int = 3
    bound = "some"

    @property
    def spec(self) -> str:
        return "ahead_by_k:3"

    def needed(self, ballot: Ballot) -> int:
        return max(0, 3 - ballot.lead)

    def decided(self, ballot: Ballot) -> bool:
        return ballot.lead >= 3

    def evidence(self, ballot: Ballot) -> Evidence:
        return Evidence(ballot.lead, 3, "votes")


class AsksTooMuch(Broken, frozen=True):
    def needed(self, ballot: Ballot) -> int:
        return 0 if ballot.lead >= 3 else 4 - ballot.lead


class AsksTooLittle(Broken, frozen=True):
    def needed(self, ballot: Ballot) -> int:
        return 0 if ballot.lead >= 3 else 1


class DecidesByName(Broken, frozen=True):
    def decided(self, ballot: Ballot) -> bool:
        return ballot.lead >= (2 if ballot.leader == "b" else 3)


class TakesPluralityAtTen(Broken, frozen=True):
    def decided(self, ballot: Ballot) -> bool:
        return ballot.lead >= 3 or ballot.votes >= 10


class Meddles(Broken, frozen=True):
    def decided(self, ballot: Ballot) -> bool:
        ballot.counts["a"] = ballot.counts.get("a", 0) + 1
        return ballot.lead >= 3


class Overstates(Broken, frozen=True):
    def evidence(self, ballot: Ballot) -> Evidence:
        return Evidence(ballot.first, 3, "votes")


@pytest.mark.parametrize("twin", [AsksTooMuch, AsksTooLittle, DecidesByName, TakesPluralityAtTen, Meddles, Overstates])
def test_the_contract_rejects_a_rule_that_breaks_it(twin: type[Broken]) -> None:
    assert not failures(Broken())
    assert failures(twin())


def failures(judge: Rule) -> list[str]:
    """The tests of the contract that a rule fails."""
    suite: Any = RuleContract()
    failed = []
    for name in dir(RuleContract):
        if not name.startswith("test_") or name == "test_it_is_read_back_from_its_spec":
            continue
        test = getattr(suite, name)
        seeded = [(judge, seed) for seed in range(10)] if "seed" in test.__code__.co_varnames[:3] else [(judge,)]
        for arguments in seeded:
            try:
                test(*arguments)
            except (AssertionError, RecursionError):
                failed.append(name)
                break
    return [name for name in failed if name != "test_it_says_what_it_promises_or_that_it_promises_nothing"]


# ---- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("majority:0", "give n of 1 or more"),
        ("posterior:1.0", "between 0 and 1"),
        ("posterior:0.9,steps=0", "steps of 1 or more"),
        ("posterior:0.9,cap=0", "give 1 or more"),
        ("ppr:0", "between 0 and 1"),
        ("ppr:0.9,labels=1", "give 2 or more, 0 if unknown"),
        ("log_odds:0.9,scale=-1", "scale of 0 or more"),
        ("log_odds:0.9,scale=nan", "scale of 0 or more"),
        ("log_odds:0.9,scale=0", "count votes instead"),
        ("adaptive_consistency:0.5", "more than 0.5"),
        ("esc:0", "give n of 1 or more"),
        ("rasc:5,threshold=2", "from 0 to 1"),
        ("cisc:5,temperature=0", "such as 0.2"),
        ("rasc:5,score=x", "option of rasc"),
        ("gate:0", "give k of 1 or more"),
        ("collect:0", "give n of 1 or more"),
    ],
)
def test_an_option_out_of_range_is_refused_with_what_to_give(spec: str, remedy: str) -> None:
    with pytest.raises(UsageError) as refused:
        rule(spec)
    assert remedy in str(refused.value)


@pytest.mark.parametrize("spec", ["log_odds:0.9,steps=10", "cisc:3"])
@pytest.mark.parametrize("confidence", [None, -0.1, 1.1])
def test_a_rule_that_weighs_refuses_votes_without_a_confidence(spec: str, confidence: float | None) -> None:
    ballot = Ballot(rule(spec))
    for _ in range(3):
        ballot.cast("a", confidence)
    with pytest.raises(UsageError, match="choose where confidences come from"):
        _ = ballot.winner


def test_a_run_s_length_is_taken_over_unless_the_rule_names_one() -> None:
    for name in ("posterior", "ppr", "log_odds"):
        made: Any = rule(f"{name}:0.9")
        assert made.for_run(1000).spec == f"{name}:0.9,steps=1000"
        assert made.for_run(None) == made
        assert made.step_error == made.for_run(1_000_000).step_error
        named: Any = rule(f"{name}:0.9,steps=7")
        assert named.for_run(1000) == named
