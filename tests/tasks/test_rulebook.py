"""Rules by name: those that ship, one's own from a module, and what is none of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdap.core.ballot import Ballot
from mdap.core.errors import MdapError, UsageError
from mdap.core.rules import RULES
from mdap.tasks.rulebook import OwnRule, rule

MODULE = '''
"""A person's own rules."""

K = 5


class Twice:
    """Two votes in a row, for whomever."""

    def __init__(self, k: int = 2) -> None:
        self.k = k

    bound = "none that I know of"

    def needed(self, ballot):
        return 0 if self.decided(ballot) else 1 if ballot.votes else self.k

    def decided(self, ballot):
        return len(ballot.order) > 1 and ballot.order[-1] == ballot.order[-2]


class Outer:
    class Inner(Twice):
        """Found by its path."""


class Mute:
    k = 1


class Keyless:
    def needed(self, ballot): return 0
    def decided(self, ballot): return True


class Broken(Twice):
    def needed(self, ballot): return "many"
    def decided(self, ballot): return ballot.nonsense


class Costly(Twice):
    def __init__(self) -> None:
        raise OSError("no key")


made = Twice(3)
'''


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_rules.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_rules", raising=False)


def cast(spec: str, votes: str) -> Ballot:
    ballot = Ballot(rule(spec))
    for vote in votes:
        ballot.cast(vote)
    return ballot


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_shipped_rule_is_found_by_its_name_alone(name: str) -> None:
    made = rule(name)
    assert made.spec.partition(":")[0] == name
    assert not isinstance(made, OwnRule)


@pytest.mark.parametrize("spec", ["own_rules:Twice", "own_rules:Outer.Inner", "own_rules:Twice,k=2"])
def test_a_rule_of_ones_own_decides_as_it_says_under_the_spec_that_names_it(spec: str) -> None:
    made = rule(spec)
    assert (made.spec, made.k) == (spec, 2)
    assert [cast(spec, votes).needed for votes in ("", "a", "ab", "abb")] == [2, 1, 1, 0]
    assert cast(spec, "abb").winner == "b"
    assert cast(spec, "ab").winner is None


def test_an_object_of_a_module_is_taken_as_it_is_and_options_make_another() -> None:
    assert rule("own_rules:made").k == 3
    assert rule("own_rules:Twice,k=4").k == 4


def test_what_a_rule_lacks_is_lacking_and_what_it_has_is_there() -> None:
    made = rule("own_rules:Twice")
    assert getattr(made, "bound", None) == "none that I know of"
    assert not hasattr(made, "leading")
    assert not hasattr(made, "weighs")


def test_two_rules_are_one_where_their_specs_are() -> None:
    assert rule("own_rules:Twice") == rule("own_rules:Twice") != rule("own_rules:Twice,k=2")
    assert len({rule("own_rules:Twice"), rule("own_rules:Twice"), rule("own_rules:made")}) == 2
    assert rule("own_rules:Twice") != rule("ahead_by_k:2")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("ahead_by", "did you mean 'ahead_by_k'"),
        ("own_rules:Twise", "did you mean 'Twice'"),
        ("own_rules:Twice,n=2", "'n'"),
        ("own_rulez:Twice", "own_rulez"),
        ("own_rules:Mute", "no method needed"),
        ("own_rules:K", "no method needed"),
        ("own_rules:Keyless", "it has no k"),
        ("own_rules:Outer.Missing", "Missing"),
    ],
)
def test_what_is_no_rule_is_named_before_a_vote_is_paid_for(spec: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        rule(spec)
    assert says in f"{caught.value.message} {caught.value.remedy}"


def test_the_error_of_somebodys_own_code_names_it() -> None:
    with pytest.raises(MdapError, match=r"own_rules:Costly raised OSError: no key"):
        rule("own_rules:Costly")
    broken = cast("own_rules:Broken", "a")
    with pytest.raises(MdapError, match="the rule own_rules:Broken"):
        _ = broken.needed
    with pytest.raises(MdapError, match="nonsense"):
        _ = broken.winner
