"""`mdap plan`, `mdap execute` and `mdap do` at the command line, and against a server under chaos."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from mdap.models import simulated_planner
from mdap.serve import Server, read_log, serve
from tests.cli.beside import beside
from tests.cli.conftest import Terminal

TASK = "Put these words on lines of their own, in this order: alpha, beta, gamma, delta"
SURE = ("--model", "simulated_planner:p=1.0,judge=1.0", "--k", "2")
LIST = "alpha\nbeta\ngamma\ndelta"


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    """A server of a planner that also judges and carries out, each sometimes wrongly."""

    @asynccontextmanager
    async def made() -> Any:
        async with await serve(simulated_planner(p=0.8, judge=0.85, seed=4), **options) as server:
            yield server

    with beside(made) as server:
        yield server


def test_a_plan_is_printed_alone_and_its_file_can_be_carried_out(mdap: Terminal) -> None:
    said = mdap("plan", TASK, *SURE)
    assert (said.code, said.err) == (0, "")
    steps = json.loads(said.out)
    assert [step["requiredSteps"] for step in steps] == [[], [0], [1], [2]]
    (mdap.folder / "plan.json").write_text(said.out)
    done = mdap("execute", "plan.json", "--prompt", TASK, *SURE)
    assert (done.code, done.out, done.err) == (0, LIST, "")


@pytest.mark.parametrize("form", [("--form", "text"), ("--form", "json")])
@pytest.mark.parametrize("way", [("--execution", "judge"), ("--execution", "race")])
def test_the_final_state_is_printed_as_it_is(form: tuple[str, str], way: tuple[str, str], mdap: Terminal) -> None:
    said = mdap("do", TASK, *SURE, *form, *way)
    assert (said.code, said.err) == (0, "")
    assert said.out == (LIST if form[1] == "text" else json.dumps(LIST.split("\n"), separators=(",", ":")) + "\n")


def test_with_json_everything_is_one_object(mdap: Terminal) -> None:
    whole = mdap("do", TASK, *SURE, "--json").json
    assert (whole["status"], whole["state"], whole["completed"]) == ("done", LIST, [0, 1, 2, 3])
    assert whole["plan"]["steps"] == whole["steps"]
    assert set(whole["totals"]) == {"planning", "plan_voting", "execution", "execution_voting"}
    plan = mdap("plan", TASK, *SURE, "--json").json
    assert (plan["complete"], len(plan["steps"])) == (True, 4)


def test_prompts_plans_and_states_are_read_from_files(mdap: Terminal) -> None:
    for name, text in {
        "task": TASK,
        "start": "first\n",
        "before.json": '[{"task": "Append the line \\"alpha\\""}]',
    }.items():
        (mdap.folder / name).write_text(text)
    plan = mdap("plan", "--file", "task", "--prepend", "before.json", *SURE)
    assert next(step["task"] for step in json.loads(plan.out)) == 'Append the line "alpha"'
    (mdap.folder / "plan.json").write_text(plan.out)
    done = mdap("execute", "plan.json", "-f", "task", "--start", "start", *SURE)
    assert done.out == f"first\n\n{LIST}"


def test_each_role_may_have_a_model_and_each_prompt_a_file(mdap: Terminal) -> None:
    (mdap.folder / "mine.txt").write_text("Say End about {prompt}.")
    mdap.write("only_end", "def end(prompt: str) -> str:\n    assert prompt == 'Say End about x.'\n    return 'End'\n")
    roles = ("--planning-model", "only_end:end", "--plan-voting-model", "only_yes:yes")
    mdap.write("only_yes", 'def yes(prompt: str) -> str:\n    return \'{"verdict": "Yes"}\'\n')
    said = mdap("plan", "x", *roles, "--template", "plan=mine.txt", "--k", "1")
    assert (said.code, said.out) == (0, "[]\n")


def test_each_budget_that_is_printed_is_twice_the_one_before(mdap: Terminal) -> None:
    said = mdap("do", TASK, *SURE, "--budget-calls", "3")
    for budget in ("6", "12"):
        (again,) = [words for words in said.next if "--budget-calls" in words]
        assert again[again.index("--budget-calls") + 1] == budget
        said = mdap(*again)
        assert (said.code, said.out) == (4, "")


def test_a_budget_prints_nothing_and_the_command_to_go_on_does(mdap: Terminal) -> None:
    said = mdap("do", TASK, *SURE, "--budget-calls", "9")
    assert (said.code, said.out) == (4, "")
    (again,) = [words for words in said.next if "--budget-calls" in words]
    done = mdap(*again)
    while done.code == 4:
        done = mdap(*[words for words in done.next if "--budget-calls" in words][-1])
    assert (done.code, done.out) == (0, LIST)
    assert "budget" not in done.err


NO = 'def no(prompt: str) -> str:\n    return \'{"verdict": "No", "reason": "never"}\'\n'


def test_refusals_end_with_the_reasons_and_a_command_that_allows_more_of_them(mdap: Terminal) -> None:
    mdap.write("only_no", NO)
    words = ("--plan-voting-model", "only_no:no", "--k", "1", "--restarts", "0", "--journal", "my runs.db")
    said = mdap("plan", TASK, "--model", "simulated_planner", *words)
    assert (said.code, said.out) == (3, "")
    assert "never" in said.err
    again = mdap(*said.next[-1])
    assert (again.code, again.out) == (3, "")
    assert "after 2 restarts" in again.err
    assert mdap("show", mdap_run(mdap), "--journal", "my runs.db").code == 0


def mdap_run(mdap: Terminal) -> str:
    """The id of the newest run of a journal with a blank in its name."""
    return str(mdap("runs", "--json", "--journal", "my runs.db").json[-1]["run"])


def test_attempts_that_were_refused_go_on_from_the_state_before_them(mdap: Terminal) -> None:
    (mdap.folder / "plan.json").write_text('["Append the line \\"a\\"", "Append the line \\"b\\""]')
    mdap.write("only_no", NO)
    words = ("--execution-voting-model", "only_no:no", "--k", "1", "--attempts", "1", "--batch-size", "1", "--json")
    said = mdap("execute", "plan.json", "--prompt", "x: a, b", "--model", "simulated_planner:p=1.0", *words)
    assert said.code == 3
    assert (said.json["status"], said.json["state"], said.json["reasons"]) == ("undecided", "", ["never"])
    again = mdap(*said.next[-1])
    assert (again.code, again.out) == (3, "")
    assert "2 attempts were refused" in again.err


def test_a_full_plan_that_is_not_complete_goes_on_with_more_steps(mdap: Terminal) -> None:
    said = mdap("plan", TASK, *SURE, "--max-steps", "2")
    assert (said.code, said.out) == (3, "")
    assert "as many as it may" in said.err
    done = mdap(*said.next[-1])
    assert (done.code, len(json.loads(done.out))) == (0, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan",), "there is no prompt"),
        (("plan", ""), "the prompt is empty"),
        (("plan", "x", "--file", "y"), "the prompt is given twice"),
        (("plan", "x", "--k", "0"), "k=0"),
        (("do", "x", "--template", "plan"), "names no file"),
        (("do", "x", "--template", "plan=absent"), "absent"),
        (("do", "x", "--prepend", "absent"), "absent"),
        (("do", "x", "--form", "json", "--start", "bad.json"), "not JSON"),
        (("execute", "absent.json", "--prompt", "x"), "absent.json"),
        (("execute", "bad.json", "--prompt", "x"), "not JSON"),
        (("execute", "cycle.json", "--prompt", "x"), "require one another"),
        (("execute", "empty.json", "--prompt", "x"), "has no task"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_before_a_run_begins(
    words: tuple[str, ...], said: str, mdap: Terminal
) -> None:
    (mdap.folder / "bad.json").write_text("nothing")
    (mdap.folder / "cycle.json").write_text('[{"task": "a", "requiredSteps": [0]}]')
    (mdap.folder / "empty.json").write_text("[{}]")
    refused = mdap(*words, "--model", "simulated_planner")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert "next:" in refused.err


def test_no_model_at_all_is_refused(mdap: Terminal) -> None:
    assert mdap("do", "x").code == 2


def test_caps_of_plans_are_none_of_other_runs(mdap: Terminal) -> None:
    mdap("run", "hanoi:disks=2", "--model", "simulated:p=1.0", "--k", "1", "-q")
    said = mdap("resume", mdap.last(), "--restarts", "3")
    assert (said.code, said.out) == (2, "")
    assert "no plan" in said.err


SLOW = """
import asyncio


async def slow(prompt: str) -> str:
    print("asked", flush=True)
    await asyncio.sleep(60)
    return "End"
"""


def test_an_interrupted_plan_says_how_to_go_on_and_prints_its_object(mdap: Terminal) -> None:
    mdap.write("slow_planner", SLOW)
    process = mdap.start("plan", "x", "--model", "slow_planner:slow", "--json")
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    told = json.loads(out)
    assert (told["kind"], told["status"]) == ("plan", "interrupted")
    assert f"mdap resume {told['run']}" in err


def test_an_error_of_a_model_prints_the_object_and_keeps_what_was_decided(mdap: Terminal) -> None:
    mdap.write("broken", "def broken(prompt: str) -> str:\n    return 1 / 0\n")
    (mdap.folder / "plan.json").write_text('["Append the line \\"a\\""]')
    words = ("--model", "simulated_planner:p=1.0", "--execution-voting-model", "broken:broken", "--json")
    said = mdap("execute", "plan.json", "--prompt", "x: a", *words)
    assert (said.code, said.json["status"]) == (1, "error")
    assert said.json["total"]["samples"] == 1
    assert f"mdap resume {said.json['run']}" in said.err


CHAOS = "429=0.04,500=0.03,drop=0.02,truncate=0.02,garbage=0.02,cut=0.03,babble=0.03"


def test_a_served_planner_and_judge_come_to_a_result_under_chaos(mdap: Terminal) -> None:
    log = mdap.folder / "calls.jsonl"
    with serving(chaos=CHAOS, seed=3, log=log) as server:
        words = ("--model", "openai:any", "--base-url", server.url, "--seed", "2", "--k", "4")
        said = mdap("do", TASK, *words, "--json")
    assert (said.code, said.json["state"]) == (0, LIST)
    totals = said.json["totals"].values()
    assert sum(sum(role["retries"].values()) for role in totals) > 0
    assert sum(sum(role["flagged"].values()) for role in totals) > 0
    struck = {word for call in read_log(log) for word in call.chaos.split(",") if word}
    assert struck >= {"429", "cut", "babble"}


def test_with_the_keys_of_igniteui_maker_alone_its_default_models_play_all_roles(
    mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set, so that what the command puts there is gone after the test.
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(token="sk-1") as server:
        monkeypatch.setenv("EXECUTOR__aiproviderkeys__OpenAI", "sk-1")
        said = mdap("do", TASK, "--base-url", server.url, "--k", "4", "--json")
        assert (said.code, said.json["state"]) == (0, LIST)
        assert "gpt-5.1" in mdap("runs", "--json").json[-1]["model"]
        settings = {"Executor": {"Clients": {"Planning": {"Model": "any"}}, "Format": "one a line"}}
        (mdap.folder / "appsettings.json").write_text(json.dumps(settings))
        told = mdap("plan", TASK, "--executor", "appsettings.json", "--base-url", server.url, "--k", "4", "--json")
        assert told.code == 0
        assert "openai:any" in mdap("runs", "--json").json[-1]["model"]


def test_votes_are_what_makes_the_served_result_right(mdap: Terminal) -> None:
    """Without them, by single words of the same planner and judges, the same task ends wrong for some seeds."""
    ends = []
    for seed in range(6):
        said = mdap(
            "do", TASK, "--model", "simulated_planner:p=0.6,judge=0.6", "--k", "1", "--seed", str(seed), "--json"
        )
        ends.append(said.json.get("state"))
    assert any(end != LIST for end in ends)
