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
