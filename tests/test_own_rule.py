"""A rule of one's own by `package.module:Class`: it decides, is stored by its spec, and is found again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mdap
from mdap.core.ballot import Ballot
from mdap.core.rules import bound_of
from mdap.journal import open_journal
from mdap.mcp.allowed import Allowed
from mdap.models.simulated import simulated
from mdap.parts import choose_rule, with_k

HERE = __name__


class Twice:
    """The first candidate with `n` votes more than twice those of all others together."""

    def __init__(self, n: int = 1) -> None:
        self.n = n
        self.spec = "twice"

    @property
    def k(self) -> int:
        return self.n

    def needed(self, ballot: Ballot) -> int:
        return max(0, self.n - 3 * ballot.first + 2 * ballot.votes)

    def decided(self, ballot: Ballot) -> bool:
        return ballot.votes > 0 and self.needed(ballot) == 0


class Broken(Twice):
    """Divides by the votes, of which there are none at first."""

    def needed(self, ballot: Ballot) -> int:
        return 1 // ballot.votes


class Nothing:
    """No rule at all."""


READY = Twice(4)


def test_it_decides_runs_by_its_options_and_promises_nothing() -> None:
    result = mdap.run("hanoi:disks=5", simulated(p=0.9, seed=2), rule=f"{HERE}:Twice,n=3")
    assert (result.status, result.wrong) == ("done", 0)
    assert result.rule == f"{HERE}:Twice,n=3"
    assert all(entry.votes[0] - 2 * sum(entry.votes[1:]) >= 3 for _, entry, _ in result.decisions)
    assert "no bound is known" in result.certificate.reason
    assert bound_of(choose_rule(None, f"{HERE}:Twice")) == "no bound"


def test_a_run_that_was_stopped_finds_its_rule_again() -> None:
    journal = open_journal(None)
    spec = f"{HERE}:Twice,n=3"
    first = mdap.run("hanoi:disks=5", "simulated:p=0.9,seed=2", rule=spec, journal=journal, budget_calls=40)
    assert first.status == "budget"
    whole = mdap.run("hanoi:disks=5", "simulated:p=0.9,seed=2", rule=spec)
    resumed = mdap.resume(first.run, journal=journal, budget_calls=None)
    assert list(resumed.export()) == list(whole.export())
    other = f"{HERE}:Twice,n=4"
    with pytest.raises(mdap.errors.FingerprintChanged, match="rule"):
        mdap.resume(first.run, journal=journal, rule=other)


def test_it_can_be_an_object_of_a_module_and_a_map_takes_it_too() -> None:
    rows = mdap.map(lambda disks: mdap.tasks.hanoi(disks=disks), [2, 3], simulated(p=0.9, seed=2), rule=f"{HERE}:READY")
    assert (rows.status, [row.status for row in rows.rows or ()]) == ("done", ["done", "done"])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("ahead_by_j:3", "unknown rule 'ahead_by_j'"),
        ("no_such_module.rules:Mine", "rule 'no_such_module.rules:Mine': there is no module"),
        (f"{HERE}:Twize", "unknown class in .*'Twize'.*did you mean 'Twice'"),
        (f"{HERE}:Twice,m=3", "unknown option of .* 'm'"),
        (f"{HERE}:Twice,n=three", "n='three' is not int"),
        (f"{HERE}:Nothing", "is no rule: it has no method needed"),
        (f"{HERE}:HERE", "is no rule: it has no method needed"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(spec: str, says: str) -> None:
    with pytest.raises(mdap.errors.UsageError) as error:
        mdap.run("hanoi:disks=2", simulated(p=1.0), rule=spec)
    assert re.search(says, f"{error.value.message} {error.value.remedy}")


def test_an_error_in_it_names_it() -> None:
    with pytest.raises(mdap.errors.TaskError, match=r"the rule .*Broken raised ZeroDivisionError"):
        mdap.run("hanoi:disks=2", simulated(p=1.0), rule=f"{HERE}:Broken")


def test_nobody_sets_its_k() -> None:
    with pytest.raises(mdap.errors.UsageError, match="has no k to be set"):
        with_k(choose_rule(None, f"{HERE}:Twice,n=3"), 4)


def test_a_client_of_a_server_cannot_name_one() -> None:
    allowed = Allowed()
    assert allowed.check_rule("posterior:0.95") == "posterior:0.95"
    with pytest.raises(mdap.errors.UsageError, match=r"^rule: 'os:system' is not allowed here") as error:
        allowed.check_rule("os:system")
    assert "ahead_by_k" in error.value.remedy


def test_the_command_line_takes_one_from_the_folder_it_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Two:\n    k = 2\n"
        "    def needed(self, ballot):\n        return max(0, 2 - ballot.lead)\n"
        "    def decided(self, ballot):\n        return ballot.lead >= 2\n"
    )
    command = [sys.executable, "-m", "mdap", "run", "hanoi:disks=3", "-m", "simulated:p=0.9,seed=1", "-q", "--json"]
    done = subprocess.run(
        [*command, "--rule", "mine:Two", "--journal", "j.db"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"rule":"mine:Two"' in done.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "mdap", "show", "hanoi", "--journal", "j.db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "mine:Two" in shown.stdout, shown.stderr
