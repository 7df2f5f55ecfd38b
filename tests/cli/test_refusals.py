"""What is refused before anything is asked: every flag out of its range, every file that is none, every wrong run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdap.cli.app import COMMANDS
from tests.cli.conftest import Said, Terminal

RUN = ("run", "hanoi:disks=2", "--model", "simulated:p=1", "--k", "1")
ASK = ("ask", "What?", "--model", "ollama:any", "--k", "1")
PLAN = ("plan", "Do it", "--model", "simulated_planner")
EXECUTE = ("execute", "plan.json", "--prompt", "Do it", "--model", "simulated_planner")
DO = ("do", "Do it", "--model", "simulated_planner")
SOLVE = ("solve", "Do it", "--model", "simulated_solver")
ESTIMATE = ("estimate", "--p", "0.9", "--steps", "10")
CALIBRATE = ("calibrate", "hanoi:disks=3", "--model", "simulated:p=0.9")
# Commands that take a run, with what else they need.
OF_A_RUN = {
    "show": (),
    "metrics": (),
    "export": (),
    "ledger": (),
    "inbox": (),
    "resume": (),
    "resolve": ("0", "--accept", "A"),
    "compare": ("report.json",),
}


def refused(said: Said, *told: str) -> None:
    """Check that a command refused what was typed: no result, one error, a remedy, and no traceback."""
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "\nnext:  " in said.err
    assert "Traceback" not in said.err
    for words in told:
        assert words in said.err


def untouched(mdap: Terminal) -> bool:
    """Whether no run was begun."""
    return not (mdap.folder / ".mdap" / "runs.db").exists() or mdap("runs", "--json").json == []


@pytest.mark.parametrize(
    ("flag", "value", "least"),
    [
        ("--max-samples", "0", "1 or more"),
        ("--max-samples", "-1", "1 or more"),
        ("--redraws", "-1", "0 or more"),
        ("--retries", "-1", "0 or more"),
        ("--in-flight", "0", "1 or more"),
        ("--max-steps", "0", "1 or more"),
        ("--budget-calls", "-1", "0 or more"),
        ("--budget-tokens", "-1", "0 or more"),
        ("--budget-seconds", "nan", "0 or more"),
        ("--rpm", "0", "1 or more"),
        ("--tpm", "0", "1 or more"),
        ("--lookahead", "-1", "0 or more"),
        ("--hedge", "-1", "0 or more"),
        ("--context", "0", "1 or more"),
        ("--max-tokens", "0", "1 or more"),
        ("--flag-tokens", "0", "1 or more"),
        ("--first-temperature", "-1", "0 or more"),
        ("--temperature", "nan", "0 or more"),
        ("--timeout", "-1", "above 0"),
        ("--timeout", "nan", "above 0"),
        ("--timeout", "inf", "above 0"),
        ("--budget-usd", "much", "such as 10"),
        ("--budget-usd", "nan", "such as 10"),
        ("--budget-usd", "-1", "such as 10"),
    ],
)
def test_a_setting_out_of_its_range_is_told_with_the_range(flag: str, value: str, least: str, mdap: Terminal) -> None:
    told = mdap(*RUN, flag, value)
    name = {"--rpm": "requests_per_minute", "--tpm": "tokens_per_minute"}.get(flag, flag[2:].replace("-", "_"))
    refused(told, f"error: {name}=", least)
    assert untouched(mdap)


@pytest.mark.parametrize("command", [ASK, PLAN, EXECUTE, DO, SOLVE], ids=lambda words: str(words[0]))
@pytest.mark.parametrize("flag", [("--max-samples", "0"), ("--timeout", "nan"), ("--budget-usd", "much")])
def test_every_command_that_asks_models_has_the_ranges_of_a_run(
    command: tuple[str, ...], flag: tuple[str, str], mdap: Terminal
) -> None:
    (mdap.folder / "plan.json").write_text('[{"task": "Do it"}]', encoding="utf-8")
    refused(mdap(*command, *flag), f"{flag[0][2:].replace('-', '_')}=")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*RUN, "--mix", ""), "has no name"),
        ((*RUN, "--record-http", "tape"), "makes no calls over HTTP"),
        ((*RUN, "--tool", "shutil"), "names no function"),
        ((*RUN, "--tool", "shutil:nothing"), "has no attribute 'nothing'"),
        ((*RUN, "--allow", "web"), "allows nothing"),
        ((*RUN, "--tool-server", "=x"), "names no server"),
        ((*RUN, "--tool-server", "name="), "names no server"),
        ((*RUN, "--tool-server", "name='one quote"), "names no server"),
        (("run", "hanoi:disks=-1", "--model", "simulated"), "1 to 60 disks"),
        (("run", "hanoi:disks=2,disks=3", "--model", "simulated"), "stands twice"),
        (("run", "os:path", "--model", "simulated"), "is no task"),
        (("run", "", "--model", "simulated"), "has no name"),
        ((*ASK, "--pattern", "["), "no regular expression"),
        ((*ASK, "--one-of", "yes"), "no choice"),
        ((*ASK, "--one-of", "yes,yes"), "no choice"),
        ((*ASK, "--key", "number:x"), "number:0.01"),
        ((*ASK, "--p", "2"), "from 0 to 1"),
        ((*ASK, "--record", "nowhere:City"), "nowhere:City"),
        (("ask", " \n ", "--model", "simulated"), "the prompt is empty"),
        ((*PLAN, "--batch-size", "0"), "1 or more"),
        ((*PLAN, "--k", "0"), "k=0"),
        ((*PLAN, "--max-steps", "0"), "1 or more"),
        ((*PLAN, "--restarts", "-1"), "0 or more"),
        ((*PLAN, "--template", "plan"), "--template plan=FILE"),
        ((*PLAN, "--template", "poem=x"), "unknown prompt of planning 'poem'"),
        ((*DO, "--attempts", "0"), "1 or more"),
        (("plan", "Do it"), "no model is named"),
        ((*SOLVE, "--decompose", "nary:0"), "2 to 20"),
        ((*SOLVE, "--max-depth", "-1"), "0 or more"),
        ((*SOLVE, "--key", "similar"), "unknown key"),
        ((*SOLVE, "--template", "poet=x"), "unknown role 'poet'"),
        ((*SOLVE, "--record", "nowhere:City"), "nowhere:City"),
        ((*ESTIMATE, "--k", "0"), "k=0"),
        ((*ESTIMATE, "--v", "0"), "v above 0"),
        ((*ESTIMATE, "--target", "1"), "strictly between 0 and 1"),
        ((*ESTIMATE, "--latency", "-1"), "0 or more"),
        ((*ESTIMATE, "--price-in", "-1"), "0 or more"),
        (("estimate", "--p", "nan", "--steps", "3"), "p=nan"),
        (("estimate", "--p", "0.9", "--steps", "inf"), '"inf"'),
        (("estimate", "plan", "--steps", "3", "--batch-size", "0"), "batch_size=0"),
        (("estimate", "agent", "--depth", "500"), "more than 1,000,000,000,000 subtasks"),
        (("estimate", "planet"), '"planet"'),
        ((*CALIBRATE, "--samples", "0"), "samples=0"),
        ((*CALIBRATE, "--target", "2"), "strictly between 0 and 1"),
        (("serve", "simulated", "--rate", "often"), "KIND=NUMBER"),
        (("serve", "simulated", "--refuse", "everything"), "unknown parameter to refuse"),
        (("serve", "simulated", "--batch-delay", "-1"), "batch delay -1.0"),
        (("serve", "simulated", "--port", "-1"), "port=-1"),
        (("probe", "simulated"), "nothing to probe"),
        (("models", "nobody"), "unknown server 'nobody'"),
        (("mcp", "--stdio", "--http"), "give one of them"),
        (("mcp", "--runs", "0"), "runs=0"),
        (("mcp", "--http", "--port", "99999"), "port=99999"),
        (("mcp", "--http", "--host", "0.0.0.0"), "there is no token"),
        (("mcp", "--allow-task", "nowhere:Task"), "nowhere:Task"),
        (("mcp", "--allow-model", "nobody"), "unknown model 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_named_before_a_run_begins(words: tuple[str, ...], told: str, mdap: Terminal) -> None:
    refused(mdap(*words), told)
    assert untouched(mdap)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--remedy", "prayer"), "unknown remedy 'prayer'"),
        (("--remedy", "samples:some"), "samples:400"),
        (("--draft", "nobody"), "unknown model 'nobody'"),
        (("--hedge", "1", "--leader-first"), "exclude one another"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_before_a_call_is_made(
    words: tuple[str, ...], told: str, mdap: Terminal
) -> None:
    refused(mdap(*RUN, *words), told)
    assert all(run["samples"] == 0 for run in mdap("runs", "--json").json)


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, "--prices", "{}"),
        (*RUN, "--calibration", "{}"),
        (*RUN, "--probe", "{}"),
        ("run", "hanoi:disks=2", "--model", "openai:x", "--k", "1", "--replay-http", "{}"),
        (*ASK, "--schema", "{}"),
        ("ask", "--file", "{}", "--model", "simulated"),
        ("plan", "--file", "{}", "--model", "simulated_planner"),
        (*PLAN, "--prepend", "{}"),
        (*PLAN, "--template", "plan={}"),
        (*PLAN, "--executor", "{}"),
        ("execute", "{}", "--prompt", "x", "--model", "simulated_planner"),
        (*DO, "--start", "{}"),
        ("solve", "--file", "{}", "--model", "simulated_solver"),
        (*SOLVE, "--schema", "{}"),
        (*SOLVE, "--template", "solver={}"),
        ("map", "{}", "--model", "simulated", "--prompt", "x"),
        ("map", "rows.jsonl", "--model", "simulated", "--prompt-file", "{}"),
        ("mcp", "--executor", "{}"),
    ],
)
@pytest.mark.parametrize("file", ["absent", ".", "C:\\absent\\x.json"], ids=["absent", "folder", "windows"])
def test_a_file_that_is_none_is_named_whatever_it_was_for(words: tuple[str, ...], file: str, mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    said = mdap(*(word.replace("{}", file) for word in words))
    # A map is known by the whole path of its file.
    told = str(mdap.folder / file) if words[:2] == ("map", "{}") else file
    # What Python itself says of a file has each backslash twice.
    refused(Said(said.code, said.out, said.err.replace("\\\\", "\\")), told)
    assert untouched(mdap)


@pytest.mark.parametrize("command", [("ask",), ("plan",), ("do",), ("solve",), ("execute", "plan.json")])
def test_a_text_is_given_once(command: tuple[str, ...], mdap: Terminal) -> None:
    for name in ("x.txt", "plan.json"):
        (mdap.folder / name).write_text("[]", encoding="utf-8")
    model = ("--model", "simulated_planner")
    refused(mdap(*command, *model), "there is no ", "or --file FILE")
    typed = ("--prompt", "x") if command[0] == "execute" else ("x",)
    refused(mdap(*command, *typed, "--file", "x.txt", *model), "is given twice", "or --file FILE")


def test_a_schema_in_which_a_name_stands_twice_is_no_schema(mdap: Terminal) -> None:
    (mdap.folder / "twice.json").write_text('{"type": "string", "type": "number"}', encoding="utf-8")
    refused(mdap(*ASK, "--schema", "twice.json"), "no JSON Schema can be read from twice.json", "type")


@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_run_that_is_not_there_is_told_with_those_that_are(name: str, mdap: Terminal) -> None:
    mdap(*RUN)
    mdap(*CALIBRATE, "--samples", "20", "--output", "report.json", "--quiet")
    said = mdap(name, "absent", *OF_A_RUN[name])
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: no run absent in journal .mdap/runs.db\n")
    assert f"next:  there is: {mdap.last()}" in said.err


def test_the_commands_that_take_a_run_are_all_tested_for_one_that_is_not_there(mdap: Terminal) -> None:
    takers = {name for name in COMMANDS if "* RUN" in mdap(name, "--help").out or "RUN  " in mdap(name, "--help").out}
    assert takers == set(OF_A_RUN)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "--step", "99"), "steps 0 to 2 are decided"),
        (("show", "--step", "-1"), "steps 0 to 2 are decided"),
        (("show", "--row", "0"), "has no rows"),
        (("metrics", "--steps", "--flags", "paper"), "leave --steps or --flags out"),
        (("resume", "--retry-failed"), "is no map"),
        (("resume", "--restarts", "3"), "is no plan"),
        (("resume", "--max-samples", "0"), "1 or more"),
        (("resume", "--model", "nobody"), "unknown model 'nobody'"),
        (("resolve", "0"), "say one thing about the step"),
        (("resolve", "0", "--accept", "A", "--skip"), "say one thing about the step"),
        (("resolve", "0", "--accept", "A"), "does not wait for anybody"),
        (("resolve", "0", "--retry"), "does not wait for anybody"),
        (("resolve", "0", "--override", "absent"), "no JSON can be read from absent"),
        (("resolve", "0", "--outcome", "absent"), "no JSON can be read from absent"),
        (("resolve", "0", "--override", "list.json"), "holds no move"),
        (("resolve", "0", "--override", "more.json"), "holds no move"),
        (("ledger", "--log", "absent"), "cannot read the log absent"),
        (("compare", "absent"), "cannot read the calibration"),
        (("compare", "list.json"), "not a calibration"),
    ],
)
def test_what_a_run_has_no_use_for_is_refused_and_changes_nothing(
    words: tuple[str, ...], told: str, mdap: Terminal
) -> None:
    (mdap.folder / "list.json").write_text("[]", encoding="utf-8")
    (mdap.folder / "more.json").write_text('{"action": 1, "why": 2}', encoding="utf-8")
    mdap(*RUN, "--record", "samples")
    run = mdap.last()
    before = mdap("export", run).out
    refused(mdap(words[0], run, *words[1:]), told)
    assert mdap("export", run).out == before
    assert len(mdap("runs", "--json").json) == 1


@pytest.mark.parametrize("path", ["absent/x.jsonl", "."])
def test_rows_and_decisions_are_written_to_a_file_that_can_be_made_or_nowhere(path: str, mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_text('{"n": 1}\n', encoding="utf-8")
    mdap.write("own", "def echo(prompt: str) -> str:\n    return prompt\n")
    words = ("map", "rows.jsonl", "--model", "own:echo", "--prompt", "{n}", "--k", "1")
    refused(mdap(*words, "--output", path), "cannot be written", "name another --output")
    mdap(*RUN)
    refused(mdap("export", mdap.last(), "--output", path), f"error: {Path(path)} cannot be written", "--output")


def test_an_export_to_a_file_is_what_standard_output_would_have_been(mdap: Terminal) -> None:
    mdap(*RUN)
    assert mdap("export", mdap.last(), "-o", "out.jsonl").out == ""
    written = (mdap.folder / "out.jsonl").read_text(encoding="utf-8")
    assert written == mdap("export", mdap.last()).out
    assert [json.loads(line)["step"] for line in written.splitlines()] == [0, 1, 2]
