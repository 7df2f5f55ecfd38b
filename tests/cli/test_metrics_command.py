"""`mdap metrics`: the same figures as everywhere, as a table, as one record, and step by step."""

from __future__ import annotations

import json

from mdap.core.metrics import read_metrics
from tests.cli.conftest import Terminal

HANOI = ("run", "hanoi:disks=5", "--model", "simulated:p=0.8,flags=0.1,seed=1", "--k", "3", "--record", "samples")


def test_metrics_run_and_show_print_the_same_numbers(mdap: Terminal) -> None:
    ran = mdap(*HANOI, "--json").json
    shown = mdap("show", ran["run"], "--json").json
    found = mdap("metrics", ran["run"], "--json").json
    for name in ran.keys() - {"result", "wrong", "us_per_step"}:
        assert found[name] == ran[name] == shown[name], name


def test_the_record_holds_its_steps_where_they_are_asked_for(mdap: Terminal) -> None:
    run = mdap(*HANOI, "--json").json["run"]
    whole = read_metrics(mdap("metrics", run, "--json", "--steps").out)
    lines = [json.loads(line) for line in mdap("metrics", run, "--steps").out.splitlines()]
    assert len(whole.each) == len(lines) == whole.steps == 31
    assert [step.step for step in whole.each] == [line["step"] for line in lines]
    assert mdap("metrics", run, "--json").json["flags"] == mdap("metrics", run, "--json", "--steps").json["flags"]


def test_a_person_is_shown_flags_and_effective_votes(mdap: Terminal) -> None:
    run = mdap(*HANOI, "--json").json["run"]
    said = mdap("metrics", run[:-2])
    assert said.code == 0
    for word in ("effective", "truncated", "unknown in", "contested", "predicted"):
        assert word in said.out


def test_an_unknown_run_is_an_error_that_names_what_there_is(mdap: Terminal) -> None:
    run = mdap(*HANOI, "--json").json["run"]
    said = mdap("metrics", "nowhere")
    assert said.code == 1
    assert run in said.err


HESITANT = """
def clerk(prompt):
    clerk.asked = getattr(clerk, "asked", 0) + 1
    if clerk.asked % 5 == 0:
        return "On second thought, 7"
    return "On second thought, 42" if clerk.asked == 7 else "42"
"""


def test_red_flags_are_tried_on_what_a_run_recorded_and_each_says_how_precise_it_is(mdap: Terminal) -> None:
    mdap.write("hesitant", HESITANT)
    words = ("--model", "hesitant:clerk", "--k", "9", "--free", "--in-flight", "1", "-q")
    assert mdap("ask", "How many?", *words).code == 0
    run = mdap.last()
    said = mdap("metrics", run, "--flags", "strict")
    assert said.code == 0
    assert "precision 100.00%" in said.out
    found = mdap("metrics", run, "--flags", "strict", "--json").json
    assert found["run"] == run
    (spoken,) = [one for one in found["by_flag"] if one["name"] == "phrases"]
    assert (spoken["flagged"], spoken["precision"]) == (3, 1.0)
    assert 0 < found["base"] < 1
    assert found["together"]["flagged"] == sum(one["flagged"] for one in found["by_flag"])
    assert mdap("metrics", run, "--flags", "paper", "--json").json["together"]["flagged"] == 0


def test_without_recorded_samples_it_says_how_to_have_them(mdap: Terminal) -> None:
    assert mdap("run", "hanoi:disks=3", "--model", "simulated:p=1", "--k", "1", "--record", "none", "-q").code == 0
    said = mdap("metrics", mdap.last(), "--flags", "relaxed")
    assert (said.code, "--record samples" in said.err) == (0, True)
    assert mdap("metrics", mdap.last(), "--flags", "relaxed", "--steps").code == 2
    assert mdap("metrics", mdap.last(), "--flags", "lenient").code == 2
