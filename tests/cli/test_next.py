"""What a person is told to type next works as it is printed, where the journal is not the usual one, too."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from tests.cli.conftest import Said, Terminal
from tests.cli.test_runs import COUNTDOWN, SURE, countdown

ELSEWHERE = ("--journal", "my runs.db")


def commands(text: str) -> list[list[str]]:
    """Return the words of every command in backticks."""
    return [shlex.split(found) for found in re.findall(r"`mdap ([^`]*)`", text)]


def test_a_larger_k_is_tried_in_the_same_journal(mdap: Terminal) -> None:
    said = mdap("run", "hanoi:disks=6", "--model", "simulated:p=0.8,seed=1", "--k", "1", *ELSEWHERE)
    (words,) = [words for words in commands(said.err) if words[0] == "run"]
    assert (words[-4:-2], words[-2:]) == (["--rule", "ahead_by_k:2"], [*ELSEWHERE])
    mdap(*words)
    assert len(mdap("runs", "--json", *ELSEWHERE).json) == 2


def test_a_rule_without_a_k_to_be_raised_is_no_reason_to_break(mdap: Terminal) -> None:
    words = ("run", "hanoi:disks=6", "--model", "simulated:p=0.7,seed=1", "--rule", "majority:1")
    said = mdap(*words)
    assert said.code == 4
    assert "has a wrong decision in it" in said.err


def test_a_run_that_somebody_else_drives_is_to_be_resumed_in_its_own_journal(mdap: Terminal) -> None:
    mdap(*SURE, "--max-steps", "2", *ELSEWHERE)
    run = mdap("runs", "--json", *ELSEWHERE).json[0]["run"]
    held = (
        "import pathlib, sys; from mdap.journal.claim import RunLock; "
        "lock = RunLock(pathlib.Path(sys.argv[1]), sys.argv[2]); print(flush=True); input()"
    )
    words = [sys.executable, "-c", held, ELSEWHERE[1], run]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        said = mdap("resume", run, *ELSEWHERE)
        other.kill()
    assert said.code == 1
    told = next(line for line in said.err.splitlines() if line.startswith("next:"))
    assert told.endswith(f"mdap resume {run} --journal 'my runs.db'")


def test_an_undecided_step_is_looked_at_in_its_own_journal(mdap: Terminal) -> None:
    said = mdap(*SURE, "--max-samples", "2", *ELSEWHERE)
    shown, resumed = said.next
    assert mdap(*shown).code == 0
    assert mdap(*resumed).code == 0
    # In the reason, which the journal keeps, the run is named as well.
    (within,) = commands(said.err.splitlines()[0])
    assert within == shown


def test_a_missing_run_is_looked_for_in_the_same_journal(mdap: Terminal) -> None:
    mdap(*SURE, *ELSEWHERE)
    said = mdap("show", "nothing", *ELSEWHERE)
    assert said.err.splitlines()[-1].endswith("mdap runs --journal 'my runs.db'")


def test_an_empty_journal_is_told_of_with_a_command_that_fills_it(mdap: Terminal) -> None:
    (words,) = commands(mdap("runs", *ELSEWHERE).err)
    assert mdap(*words).code == 0
    assert len(mdap("runs", "--json", *ELSEWHERE).json) == 1


def test_a_journal_that_is_not_there_is_told_of_with_a_command_that_makes_it(mdap: Terminal) -> None:
    (words,) = commands(mdap("show", "x", *ELSEWHERE).err)
    assert mdap(*words).code == 0
    assert len(mdap("runs", "--json", *ELSEWHERE).json) == 1


@pytest.mark.parametrize("broken", ["def start(self):", "def prompt(self, state):"])
def test_an_error_before_the_run_began_does_not_speak_of_a_run_to_be_resumed(broken: str, mdap: Terminal) -> None:
    mdap.write("my_tasks", COUNTDOWN.replace(broken, f"{broken}\n        1 / 0"))
    said = mdap("run", "my_tasks:Countdown", "--model", "my_tasks:asked", "--k", "1")
    assert said.code == 1
    assert "raised ZeroDivisionError: division by zero" in said.err
    assert said.err.splitlines()[-1] == "next:  mend it and start again"
    assert "resume" not in said.err
    assert mdap("runs", "--json").json == []


def test_an_error_while_a_task_is_made_is_one_line_that_names_the_class(mdap: Terminal) -> None:
    mdap.write("my_tasks", COUNTDOWN.replace("self.first,", "open('no such file')\n        self.first,"))
    said = mdap("run", "my_tasks:Countdown", "--model", "my_tasks:asked", "--k", "1")
    assert said.code == 1
    assert "error: making my_tasks:Countdown raised FileNotFoundError" in said.err
    assert "my_tasks.py, line" in said.err
    assert said.err.splitlines()[-1] == "next:  mend it and start again"
    assert "Traceback" not in said.err


def test_an_error_in_a_run_names_the_run_to_be_resumed(mdap: Terminal) -> None:
    countdown(mdap)
    said = mdap("run", "my_tasks:Countdown,broken_at=2", "--model", "my_tasks:asked", "--k", "1", *ELSEWHERE)
    run = mdap("runs", "--json", *ELSEWHERE).json[0]["run"]
    assert f"next:  mend it and go on with `mdap resume {run} --journal 'my runs.db'`" in said.err
    assert {tuple(words) for words in said.next} == {("resume", run, *ELSEWHERE)}


def test_an_assumed_k_is_told_of_a_run_that_began_and_of_no_other(mdap: Terminal) -> None:
    said = mdap("run", "hanoi:disks=3", "--model", "simulated:q=1")
    assert (said.code, "assumed" in said.err) == (2, False)
    said = mdap("run", "hanoi:disks=3", "--model", "simulated:p=1")
    assert (said.code, said.err.count("k=3 is assumed")) == (0, 1)


PUT = ("Put these words: a, b, c", "--model", "simulated_planner:p=1.0,judge=1.0", "--k", "2")


def typed(said: Said) -> list[list[str]]:
    """The commands on the lines of their own, below what happened."""
    return [shlex.split(found) for found in re.findall(r"^next:  mdap (.*)$", said.err, re.MULTILINE)]


def test_what_shows_a_refused_plan_says_the_cap_to_be_raised(mdap: Terminal) -> None:
    mdap("plan", *PUT, "--plan-voting-model", "simulated_planner:judge=0.0", "--restarts", "0", *ELSEWHERE)
    said = mdap("show", "plan", *ELSEWHERE)
    (words,) = typed(said)
    assert words[-2:] == list(ELSEWHERE)
    assert words[2:4] == ["--restarts", "2"]
    assert "after 2 restarts" in mdap(*words).err


def test_what_shows_a_plan_beyond_its_budget_says_what_to_raise(mdap: Terminal) -> None:
    mdap("do", *PUT, "--budget-calls", "4", *ELSEWHERE)
    (words,) = typed(mdap("show", "do", *ELSEWHERE))
    assert words[2:] == ["--budget-calls", "8", *ELSEWHERE]


def test_a_map_beyond_its_budget_goes_on_by_what_is_printed(mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_text("1\n2\n3\n4\n", encoding="utf-8")
    mdap.write("five", "def five(prompt):\n    return '5'\n")
    words = ("--task", "tests.tool_support:order", "--model", "five:five", "--k", "2")
    said = mdap("map", "rows.jsonl", *words, "--budget-calls", "9", "-o", "out.jsonl", *ELSEWHERE)
    assert said.code == 4
    (found,) = typed(said)
    assert found[2:] == ["--budget-calls", "18", *ELSEWHERE]
    assert mdap(*found).code == 0


def test_a_switch_that_lets_a_run_go_on_is_printed_without_a_value(mdap: Terminal) -> None:
    mdap.write("alike", "def copy(prompt):\n    return 'the same ' * 200\n")
    said = mdap("plan", "Put: a", "--model", "alike:copy", "--k", "3", *ELSEWHERE)
    assert said.code == 4
    (words,) = typed(said)
    assert words[2:] == ["--allow-identical", *ELSEWHERE]
    # It goes on, as far as such replies lead.
    assert "all flagged" in mdap(*words).err
