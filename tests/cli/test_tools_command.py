"""Runs that call tools, at the command line: shown, measured, exported, and gone on with as a person says."""

from __future__ import annotations

import json
from typing import Any

import pytest

import mdap as library
from mdap.core.history import Acted
from mdap.journal.sqlite import SqliteJournal
from mdap.tools import Toolbox
from tests.cli.conftest import Terminal
from tests.engine.support import Watched
from tests.tool_support import Clerk, Order


def price(item: str) -> int:
    """Look up what an item costs."""
    return len(item)


BOX = Toolbox([price], allow=["custom"])


def ran(mdap: Terminal, **options: Any) -> str:
    """A run in the folder's journal."""
    path = mdap.folder / ".mdap" / "runs.db"
    return library.run(Order(), Clerk("price", item="pen"), k=2, journal=path, tools=BOX, **options).run


def killed(mdap: Terminal) -> str:
    """A run whose process was killed within its first call, and that was resumed once."""
    watched = Watched()
    library.run(Order(), Clerk("price", item="pen"), k=2, journal=watched, tools=BOX)
    begun = next(n for n, entry in enumerate(watched.entries, 1) if isinstance(entry, Acted))
    assert watched.head_given is not None
    run = watched.head_given.id
    journal = SqliteJournal(mdap.folder / ".mdap" / "runs.db")
    journal.create(watched.head_given)
    with journal.claim(run):
        for entry in watched.entries[:begun]:
            journal.append(run, entry)
    journal.close()
    assert resumed(mdap, run).status == "undecided"
    return run


def resumed(mdap: Terminal, run: str) -> library.Result:
    path = mdap.folder / ".mdap" / "runs.db"
    return library.resume(run, journal=path, model=Clerk("price", item="pen"), tools=BOX)


def test_a_run_with_tools_is_shown_exported_and_measured(mdap: Terminal) -> None:
    run = ran(mdap, record="samples")
    shown = mdap("show", run)
    assert shown.code == 0
    assert 'step 1: call: price {"item":"pen"}' in shown.out
    step = mdap("show", run, "--step", "1", "--json").json
    assert (step["votes"], step["action"]) == ([], {"status": "ok", "value": 3})
    assert mdap("show", run, "--step", "2").code == 0
    lines = [json.loads(line) for line in mdap("export", run).out.splitlines()]
    assert [line["kind"] for line in lines] == ["", "tool", ""] * 2
    found = mdap("metrics", run, "--json").json
    assert (found["steps"], found["ballots"]["steps"]) == (6, 4)


def test_an_unknown_outcome_is_in_the_inbox_with_the_commands_that_go_on(mdap: Terminal) -> None:
    run = killed(mdap)
    said = mdap("inbox")
    assert 'price {"item":"pen"}' in said.out
    assert f"next: mdap resolve {run} 1 --retry" in said.out
    assert f"next: mdap resolve {run} 1 --outcome FILE" in said.out
    assert mdap("inbox", "--json").json[0]["call"] == 'price {"item":"pen"}'
    refused = mdap("resolve", run, "1", "--k", "4")
    assert refused.code == 2
    assert "--retry" in refused.err


@pytest.mark.parametrize("way", ["--retry", "--outcome"])
def test_a_person_says_how_a_call_goes_on(mdap: Terminal, way: str) -> None:
    run = killed(mdap)
    (mdap.folder / "what.json").write_text("3", encoding="utf-8")
    words = [way] if way == "--retry" else [way, "what.json"]
    said = mdap("resolve", run, "1", *words, "--by", "Ann")
    assert said.code == 0
    assert f"mdap resume {run}" in said.err
    assert mdap("inbox").out == ""
    assert resumed(mdap, run).state["sum"] == 10
    assert f"{way[2:]}, by Ann" in mdap("show", run).out


def test_an_outcome_that_is_no_json_is_refused(mdap: Terminal) -> None:
    run = killed(mdap)
    (mdap.folder / "what.json").write_text("three", encoding="utf-8")
    said = mdap("resolve", run, "1", "--outcome", "what.json")
    assert said.code == 2
    assert "what.json" in said.err


def test_tools_are_named_on_the_command_line_and_again_at_a_resume(mdap: Terminal) -> None:
    words = ("run", "tests.tool_support:Order", "--model", "tests.tool_support:clerk", "--k", "2")
    refused = mdap(*words, "--tool", "tests.tool_support:look")
    assert refused.code == 2
    assert "custom, which is not allowed" in refused.err
    tools = ("--tool", "tests.tool_support:look", "--allow", "custom")
    stopped = mdap(*words, *tools, "--max-steps", "1", "--json")
    assert stopped.code == 4
    run = stopped.json["run"]
    without = mdap("resume", run, "--max-steps", "9", "--accept-changes")
    assert without.code != 0
    assert f"mdap resume {run} --tool tests.tool_support:look --allow custom" in without.err
    done = mdap("resume", run, "--max-steps", "9", *tools, "--json")
    assert (done.code, done.json["result"]["sum"]) == (0, 10)
    assert mdap("run", "x", "--model", "y", "--tool", "tests.tool_support:nothing").code == 2


TOOLS = ("--tool", "tests.tool_support:look", "--allow", "custom")


def test_rows_of_a_map_call_tools_that_are_named_again_at_a_resume(mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_text("1\n2\n3\n", encoding="utf-8")
    words = (
        "map",
        "rows.jsonl",
        "--task",
        "tests.tool_support:order",
        "--model",
        "tests.tool_support:clerk",
        "--k",
        "2",
    )
    assert "custom, which is not allowed" in mdap(*words, "--tool", "tests.tool_support:look").err
    stopped = mdap(*words, *TOOLS, "--budget-calls", "9", "-o", "out.jsonl", "--json")
    assert stopped.code == 4
    run = stopped.json["run"]
    without = mdap("resume", run, "--budget-calls", "99")
    assert without.code != 0
    assert f"mdap resume {run} --tool tests.tool_support:look --allow custom" in without.err
    done = mdap("resume", run, "--budget-calls", "99", *TOOLS)
    assert done.code == 0
    rows = [json.loads(line) for line in (mdap.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["result"]["sum"] for row in rows] == [10, 10, 10]


@pytest.mark.parametrize("command", ["plan", "execute", "do"])
def test_roles_call_tools_that_are_named_again_at_a_resume(mdap: Terminal, command: str) -> None:
    (mdap.folder / "plan.json").write_text('["Append the line \\"a\\"", "Append the line \\"b\\""]', encoding="utf-8")
    prompt = "Put these words on lines of their own: a, b, c"
    asked = ("plan.json", "--prompt", prompt) if command == "execute" else (prompt,)
    words = (command, *asked, "--model", "simulated_planner:p=1.0,judge=1.0", "--k", "2", "--batch-size", "1")
    stopped = mdap(*words, *TOOLS, "--budget-calls", "4", "--json")
    assert stopped.code == 4
    run = stopped.json["run"]
    without = mdap("resume", run, "--budget-calls", "99")
    assert without.code != 0
    assert f"mdap resume {run} --tool tests.tool_support:look --allow custom" in without.err
    assert mdap("resume", run, "--budget-calls", "99", *TOOLS).code == 0


def test_a_category_without_a_tool_is_refused(mdap: Terminal) -> None:
    said = mdap("do", "x", "--model", "simulated_planner", "--allow", "web")
    assert said.code == 2
    assert "--allow web without a tool allows nothing" in said.err


def test_a_run_keeps_how_its_tools_were_named_and_says_so_with_each_command_that_goes_on(mdap: Terminal) -> None:
    words = ("run", "tests.tool_support:Order", "--model", "tests.tool_support:clerk", "--k", "2", "--journal", "j.db")
    stopped = mdap(*words, *TOOLS, "--max-steps", "1")
    run = mdap("runs", "--json", "--journal", "j.db").json[0]["run"]
    told = ["resume", run, "--max-steps", "2", *TOOLS, "--journal", "j.db"]
    assert stopped.next[-1] == told
    assert mdap("show", run, "--journal", "j.db").next == [told]
    without = mdap("resume", run, "--max-steps", "9", "--journal", "j.db").next
    assert without[0] == ["resume", run, *TOOLS, "--journal", "j.db"]
    assert mdap("resume", run, "--max-steps", "9", *TOOLS, "--journal", "j.db").code == 0


@pytest.mark.parametrize("command", ["map", "do"])
def test_so_do_maps_and_plans(mdap: Terminal, command: str) -> None:
    (mdap.folder / "rows.jsonl").write_text("1\n2\n3\n", encoding="utf-8")
    words = {
        "map": ("rows.jsonl", "--task", "tests.tool_support:order", "--model", "tests.tool_support:clerk", "-o", "o"),
        "do": ("Put these words: a, b, c", "--model", "simulated_planner:p=1.0,judge=1.0"),
    }[command]
    stopped = mdap(command, *words, "--k", "2", *TOOLS, "--budget-calls", "7")
    (told,) = [words for words in stopped.next if "--budget-calls" in words]
    assert told[2:] == ["--budget-calls", "14", *TOOLS]
    again = mdap(*told)
    for _ in range(3):
        again = mdap(*again.next[-1]) if again.code == 4 else again
    assert again.code == 0


def test_rows_that_are_to_be_tried_again_are_so_with_their_tools(mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_text("1\n", encoding="utf-8")
    mdap.write("vague", "def vague(prompt):\n    return 'I do not know'\n")
    words = ("map", "rows.jsonl", "--task", "tests.tool_support:order", "--model", "vague:vague", "-o", "o")
    said = mdap(*words, *TOOLS, "--redraws", "1")
    assert said.code == 3
    assert said.next[-1][2:] == [*TOOLS, "--retry-failed"]
    assert mdap(*said.next[-1]).code == 3
