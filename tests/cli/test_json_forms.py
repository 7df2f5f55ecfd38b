"""`--json` of every command: one line with one value, the same figures that people are shown, and nothing besides."""

from __future__ import annotations

import json

import msgspec
import pytest

from mdap.cli.app import COMMANDS
from mdap.core.metrics import read_metrics
from mdap.serve import Call
from tests.cli.conftest import Said, Terminal

RUN = ("run", "hanoi:disks=4", "--model", "simulated:p=0.8,flags=0.1,seed=3", "--k", "2", "--record", "samples", "-q")
OWN = """
from mdap.core.records import Request, Response, Usage


def echo(prompt: str) -> str:
    return prompt


def numbered(request: Request) -> Response:
    return Response("yes", usage=Usage(10, 2), id=f"call-{request.draw.slot}")
"""
# What each command needs besides --json, on the runs that `kept` has made; RUN, PLAN, MAP and OPEN stand for their ids.
FORMS: dict[str, tuple[str, ...]] = {
    "run": RUN[1:],
    "resume": ("RUN",),
    "map": ("rows.jsonl", "--prompt", "{n}", "--model", "own:echo", "--k", "1", "-o", "out.jsonl"),
    "inbox": (),
    "plan": (
        "Put these words on lines of their own, in this order: a, b",
        "--model",
        "simulated_planner:p=1.0,judge=1.0",
    ),
    "execute": (
        "plan.json",
        "--prompt",
        "Put these words on lines of their own, in this order: a",
        "-m",
        "simulated_planner",
    ),
    "do": (
        "Put these words on lines of their own, in this order: a, b",
        "--model",
        "simulated_planner:p=1.0,judge=1.0",
    ),
    "solve": ("Multiply 12 by 34.", "--model", "simulated_solver", "--k", "1"),
    "ask": ("yes", "--model", "own:echo", "--k", "1"),
    "runs": (),
    "show": ("RUN",),
    "metrics": ("RUN",),
    "ledger": ("RUN",),
    "estimate": ("--p", "0.9", "--steps", "100"),
    "calibrate": ("hanoi:disks=3", "--model", "simulated:p=0.99", "--samples", "200"),
    "compare": ("RUN", "report.json"),
    "models": (),
}
# They write files, serve, or need a server to ask.
WITHOUT = {"resolve", "export", "serve", "mcp", "probe"}


@pytest.fixture
def kept(mdap: Terminal) -> Terminal:
    """A terminal in a folder with a run, a plan, rows, and a model that repeats what it is asked."""
    mdap.write("own", OWN)
    (mdap.folder / "rows.jsonl").write_text('{"n": 1}\n{"n": 2}\n', encoding="utf-8")
    (mdap.folder / "plan.json").write_text("[]", encoding="utf-8")
    return mdap


def said_of(kept: Terminal, name: str, *more: str) -> Said:
    words = FORMS[name]
    if name == "compare":
        kept(*("calibrate", "hanoi:disks=4", "--model", RUN[3], "--samples", "40", "--output", "report.json", "-q"))
    if "RUN" in words:
        kept(*RUN)
    return kept(name, *(kept.last() if word == "RUN" else word for word in words), "--json", *more)


def test_every_command_has_a_json_form_that_is_tested_here() -> None:
    assert FORMS.keys() | WITHOUT == COMMANDS.keys()


@pytest.mark.parametrize("name", FORMS)
def test_json_is_one_line_with_one_value(name: str, kept: Terminal) -> None:
    said = said_of(kept, name)
    assert said.code == 0, said
    assert said.out.endswith("\n")
    assert isinstance(said.json, list if name in ("runs", "inbox") else dict) or name == "models"
    assert "\x1b" not in said.out


@pytest.mark.parametrize("name", ["run", "resume", "map", "plan", "execute", "do", "solve", "ask"])
def test_quiet_json_leaves_standard_error_empty(name: str, kept: Terminal) -> None:
    said = said_of(kept, name, *(() if "-q" in FORMS[name] else ("--quiet",)))
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("name", ["plan", "execute", "do", "solve", "ask"])
def test_what_was_printed_at_the_end_is_what_the_journal_says_later(name: str, kept: Terminal) -> None:
    printed = said_of(kept, name).json
    shown = kept("show", kept.last(), "--json").json
    assert (printed["run"], printed["status"]) == (shown["run"], shown["status"]) == (kept.last(), "done")


def test_a_run_of_branches_names_the_same_totals_for_people_and_for_programs(kept: Terminal) -> None:
    said_of(kept, "do")
    told, shown = kept("show", kept.last(), "--json").json, kept("show", kept.last()).out
    assert f"{told['total']['steps']:,}" in next(line for line in shown.splitlines() if " steps " in f" {line} ")
    step = kept("show", kept.last(), "--row", "0", "--step", "0", "--json").json
    assert {made["item"] for made in step["steps"]} == {0}
    assert all("key" not in sample for made in step["steps"] for sample in made["samples"])


def test_a_map_and_its_rows_are_counted_the_same_everywhere(kept: Terminal) -> None:
    printed = said_of(kept, "map").json
    run = kept.last()
    shown = kept("show", run, "--json").json
    assert printed["counts"] == shown["counts"] == {"done": 2}
    for row in (0, 1):
        one = kept("show", run, "--row", str(row), "--json").json
        assert (one["row"], one["status"], len(one["steps"])) == (row, "done", 1)
    assert "row 1 of" in kept("show", run, "--row", "1").out
    refused = kept("show", run, "--row", "9")
    assert (refused.code, refused.out) == (2, "")


def test_a_map_without_rows_is_done_and_names_no_run(kept: Terminal) -> None:
    (kept.folder / "rows.jsonl").write_text("\n\r\n", encoding="utf-8")
    said = kept("map", *FORMS["map"])
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("done, no rows, 0 votes")
    assert kept("runs", "--json").json == []
    told = kept("map", *FORMS["map"], "--json").json
    assert (told["status"], told["run"]) == ("done", "")


def test_metrics_can_be_read_back_and_with_steps_hold_each_of_them(kept: Terminal) -> None:
    whole = said_of(kept, "metrics")
    run = kept.last()
    found = read_metrics(whole.out)
    assert (found.run, found.steps) == (run, 15)
    each = kept("metrics", run, "--steps", "--json").json
    assert [step["step"] for step in each["each"]] == list(range(15))
    assert {name: value for name, value in each.items() if name != "each"} == whole.json
    lines = [json.loads(line) for line in kept("metrics", run, "--steps").out.splitlines()]
    assert lines == each["each"]


def test_flags_that_are_tried_are_told_alike_as_a_table_and_as_json(kept: Terminal) -> None:
    kept(*RUN)
    run = kept.last()
    told, shown = (
        kept("metrics", run, "--flags", "strict", "--json").json,
        kept("metrics", run, "--flags", "strict").out,
    )
    assert f"{told['samples']:,} recorded: {told['wrong']:,} wrong, {told['right']:,} right" in shown
    assert told["together"]["flagged"] == sum(flag["flagged"] for flag in told["by_flag"])
    assert told["base"] == told["wrong"] / (told["wrong"] + told["right"])
    kept(*RUN[:-3], "--record", "none", "-q")
    empty = kept("metrics", kept.last(), "--flags", "strict")
    assert empty.code == 0
    assert "note:  no samples are recorded" in empty.err


def logged(kept: Terminal, *calls: tuple[str, int, int]) -> None:
    """Write what a server would have logged of calls, each with its id and its tokens in and out."""
    lines = [
        Call(order=place, request="", dialect="openai", id=name, status=200, tokens_in=tokens_in, tokens_out=tokens_out)
        for place, (name, tokens_in, tokens_out) in enumerate(calls)
    ]
    (kept.folder / "calls.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def test_a_ledger_lists_each_call_and_sums_them_up(kept: Terminal) -> None:
    told = said_of(kept, "ledger").json
    shown = kept("ledger", kept.last()).out.splitlines()
    assert len(told["calls"]) == told["replies"] == len([line for line in shown if line.startswith("step ")])
    assert told["tokens"]["out"] == sum(call["tokens_out"] for call in told["calls"])
    assert f"replies  {told['replies']:,} ({told['tokens']['in']:,} tokens in" in "\n".join(shown)
    assert "redraw 1" in "\n".join(shown), "a flagged sample was drawn again"


def test_a_ledger_without_recorded_samples_says_how_to_have_one(kept: Terminal) -> None:
    kept(*RUN[:-3], "-q")
    said = kept("ledger", kept.last())
    assert (said.code, said.out) == (2, "")
    assert "--record samples" in said.err


def test_a_log_that_agrees_ends_with_0_and_one_that_differs_with_1_and_the_ids(kept: Terminal) -> None:
    kept("ask", "yes", "--model", "own:numbered", "--k", "2", "-q")
    run = kept.last()
    logged(kept, ("call-0", 10, 2), ("call-1", 10, 2))
    agreeing = kept("ledger", run, "--log", "calls.jsonl")
    assert agreeing.code == 0
    assert "the log agrees: 2 replies are equal" in agreeing.out
    logged(kept, ("call-0", 10, 3), ("call-[2]", 10, 2))
    differing = kept("ledger", run, "--log", "calls.jsonl")
    assert differing.code == 1
    assert (
        "the log differs: 0 replies are equal, 1 are billed otherwise, 1 are not in it; 1 of its calls" in differing.out
    )
    assert differing.out.splitlines()[-2:] == ["  call-0", "  call-1"]
    told = kept("ledger", run, "--log", "calls.jsonl", "--json")
    assert (told.code, told.json["log"]["agrees"]) == (1, False)
    assert (told.json["log"]["differ"], told.json["log"]["absent"]) == (["call-0"], ["call-1"])


def test_a_run_that_made_no_call_has_an_empty_ledger(kept: Terminal) -> None:
    kept("ask", "yes", "--model", "own:echo", "--k", "1", "--budget-calls", "0")
    said = kept("ledger", kept.last())
    assert said.code == 0
    assert said.out.splitlines()[0] == "replies  0 (0 tokens in, 0 out)"
