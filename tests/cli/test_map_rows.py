"""mdap show and mdap export of a map: its rows one by one, and all that was decided of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import Terminal
from tests.cli.test_map_command import TASK


@pytest.fixture
def run(mdap: Terminal) -> str:
    """The id of a map of eight rows of which some are undecided and one is none."""
    mdap.write("shop", TASK)
    lines = [json.dumps({"a": n, "b": 1}) for n in range(7)]
    (mdap.folder / "rows.jsonl").write_text("\n".join([*lines, "nonsense"]) + "\n")
    words = ("--model", "simulated:p=0.6,seed=3", "--output", "out.jsonl", "--max-samples", "6")
    mdap("map", "rows.jsonl", "--task", "shop:Sum", *words)
    (found,) = json.loads(mdap("runs", "--json").out)
    return str(found["run"])


def rows(mdap: Terminal) -> list[Any]:
    return [json.loads(line) for line in (mdap.folder / "out.jsonl").read_text().splitlines()]


def first(mdap: Terminal, status: str) -> int:
    return next(int(row["row"]) for row in rows(mdap) if row["status"] == status)


def test_a_done_row_is_shown_with_its_decision_and_its_votes(mdap: Terminal, run: str) -> None:
    row = first(mdap, "done")
    shown = json.loads(mdap("show", run, "--row", str(row), "--json").out)
    (step,) = shown["steps"]
    assert (shown["row"], shown["status"], step["step"]) == (row, "done", 0)
    assert step["action"] == rows(mdap)[row]["result"]["sum"]
    assert sum(step["votes"]) == rows(mdap)[row]["agreed"] + rows(mdap)[row]["dissent"]
    told = mdap("show", run, "--row", str(row)).out
    assert f"row {row} of {run}  done" in told
    assert f"  {step['action']}" in told


def test_an_undecided_row_is_shown_with_its_open_ballot_every_sample_and_why(mdap: Terminal, run: str) -> None:
    row = first(mdap, "undecided")
    shown = json.loads(mdap("show", run, "--row", str(row), "--json").out)
    (step,) = shown["steps"]
    assert shown["status"] == "undecided"
    assert "6 samples" in shown["reason"]
    assert "action" not in step
    assert len(step["samples"]) == sum(step["votes"]) == 6
    told = mdap("show", run, "--row", str(row), "--step", "0").out
    assert told.count("vote for") == 6
    assert "6 samples" in told


def test_a_row_that_was_none_is_shown_with_the_reason(mdap: Terminal, run: str) -> None:
    told = mdap("show", run, "--row", "7").out
    assert "error" in told
    assert "not JSON" in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--row", "8"), "row 8 of map-.* was not asked"),
        (("--row", "0", "--step", "3"), "step 3 of row 0 was not asked"),
        (("--step", "3"), "is a map of rows.*--row 0"),
    ],
)
def test_what_was_not_asked_is_refused_by_name(mdap: Terminal, run: str, words: tuple[str, ...], says: str) -> None:
    said = mdap("show", run, *words)
    assert said.code == 2
    assert re.search(says, said.err.replace("\n", " "))


def test_a_run_of_one_task_has_no_rows(mdap: Terminal) -> None:
    mdap("run", "hanoi:disks=2", "--model", "simulated:p=1")
    said = mdap("show", "hanoi", "--row", "0")
    assert said.code == 2
    assert "has no rows" in said.err


def test_an_export_has_every_decided_step_by_row_and_is_equal_for_equal_maps(mdap: Terminal, run: str) -> None:
    lines = [json.loads(line) for line in mdap("export", run).out.splitlines()]
    done = [row for row in rows(mdap) if row["status"] == "done"]
    assert [(line["row"], line["step"], line["action"]) for line in lines] == [
        (row["row"], 0, row["result"]["sum"]) for row in done
    ]
    words = ("--model", "simulated:p=0.6,seed=3", "--output", "again.jsonl", "--max-samples", "6", "--in-flight", "1")
    mdap("map", "rows.jsonl", "--task", "shop:Sum", *words)
    other = next(found["run"] for found in json.loads(mdap("runs", "--json").out) if found["run"] != run)
    assert mdap("export", other).out == mdap("export", run).out


@pytest.mark.parametrize("words", [("--accept-changes",), ("--restarts", "3"), ("--probe", "p.toml")])
def test_a_flag_that_means_nothing_to_a_map_is_refused_at_its_resume(
    mdap: Terminal, run: str, words: tuple[str, ...]
) -> None:
    said = mdap("resume", run, *words)
    assert said.code == 2
    assert f"{words[0]} is not for it" in said.err
