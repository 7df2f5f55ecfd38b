"""`mdap solve` as it is typed: what it prints, which code it ends with, and how it goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Terminal

SOLVER = "simulated_solver:decomposer=0.1,solver=0.1,composer=0.1,judge=0.05"
PRODUCT = "Multiply 12345 by 678."


def test_the_answer_stands_alone_and_the_range_of_calls_is_said_first(mdap: Terminal) -> None:
    said = mdap("solve", PRODUCT, "--model", "simulated_solver", "--k", "2")
    assert (said.code, said.out) == (0, "8369910\n")
    assert said.err.startswith("note:  6 to 13,788 calls")
    assert mdap("solve", PRODUCT, "--model", "simulated_solver", "--k", "2", "-q").err == ""


def test_all_that_is_known_is_one_json_object(mdap: Terminal) -> None:
    found = mdap("solve", PRODUCT, "--model", "simulated_solver", "--json", "-q").json
    assert (found["answer"], found["status"], found["error"]) == ("8369910", "done", "")
    assert found["statistics"]["atomic_executions"] == 6
    assert found["tree"]["parts"][0]["task"] == "Multiply 123 by 678."
    assert found["run"] == mdap.last()


def test_a_problem_can_be_named_and_words_that_name_none_are_the_task(mdap: Terminal) -> None:
    named = mdap("solve", "multiplication:digits=5,seed=3", "--model", "simulated_solver", "--k", "1", "-q")
    assert named.out == "3126737862\n"
    words = mdap("solve", "multiplication: what is it?", "--model", "simulated_solver", "--k", "1")
    assert (words.code, "cannot read what it is asked" in words.err) == (1, True)


def test_the_task_can_stand_in_a_file(mdap: Terminal) -> None:
    (mdap.folder / "task.txt").write_text(PRODUCT, encoding="utf-8")
    assert mdap("solve", "--file", "task.txt", "--model", "simulated_solver", "-q").out == "8369910\n"
    assert mdap("solve", PRODUCT, "--file", "task.txt", "--model", "simulated_solver").code == 2
    assert mdap("solve", "--model", "simulated_solver").code == 2
    assert mdap("solve", "--file", "absent.txt", "--model", "simulated_solver").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("", "--model", SOLVER),
        (PRODUCT,),
        (PRODUCT, "--model", SOLVER, "--k", "0"),
        (PRODUCT, "--model", SOLVER, "--decompose", "tree"),
        (PRODUCT, "--model", SOLVER, "--role", "solver"),
        (PRODUCT, "--model", SOLVER, "--role", "poet=simulated_solver"),
        (PRODUCT, "--model", SOLVER, "--pattern", "[a"),
        (PRODUCT, "--model", SOLVER, "--flags", "lenient"),
        (PRODUCT, "--model", SOLVER, "--pattern", "a", "--one-of", "a,b"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy_before_any_call(mdap: Terminal, words: tuple[str, ...]) -> None:
    said = mdap("solve", *words)
    assert said.code == 2
    assert said.out == ""
    assert "next:" in said.err


@pytest.mark.parametrize("flag", [("--hedge", "1"), ("--confidence", "logprobs")])
def test_flags_that_dividing_has_no_use_for_are_neither_offered_nor_taken(
    mdap: Terminal, flag: tuple[str, str]
) -> None:
    assert flag[0] not in mdap("solve", "--help").out
    said = mdap("solve", PRODUCT, "--model", SOLVER, *flag)
    assert (said.code, said.out) == (2, "")
    assert f"Unknown option: {flag[0]}" in said.err
    assert not (mdap.folder / ".mdap").exists()


def test_with_json_a_run_that_ends_in_an_error_prints_what_was_solved_until_then(mdap: Terminal) -> None:
    mdap.write("broken", "def broken(prompt: str) -> str:\n    raise ValueError('no')\n")
    said = mdap("solve", PRODUCT, "--model", "broken:broken", "--json")
    assert (said.code, said.json["status"], said.json["run"]) == (1, "error", mdap.last())


def test_an_undecided_task_prints_nothing_and_ends_with_3(mdap: Terminal) -> None:
    said = mdap("solve", PRODUCT, "--model", "simulated_solver:flags=1", "--redraws", "1")
    assert (said.code, said.out) == (3, "")
    assert "undecided: the task 'Multiply 12345 by 678.'" in said.err
    assert said.next


def test_a_budget_is_gone_on_with_by_the_command_that_is_printed(mdap: Terminal) -> None:
    options = ("--k", "3", "--flags", "strict", "--pattern", r"\d+", "--tell", "Be exact.", "--max-tokens", "900")
    said = mdap("solve", PRODUCT, "--model", SOLVER, *options, "--budget-calls", "40", "-q")
    assert (said.code, said.out) == (4, "")
    for _ in range(12):
        if said.code != 4:
            break
        said = mdap(*said.next[-1], "-q")
    assert (said.code, said.out) == (0, "8369910\n")


def test_samples_are_recorded_for_flags_to_be_tried_on_and_a_class_is_a_format(mdap: Terminal) -> None:
    words = ("solve", PRODUCT, "--model", "simulated_solver:solver=0.3,flags=0.05", "--k", "2", "--seed", "3", "-q")
    found = mdap(*words, "--record", "samples", "--json").json
    tried = mdap("metrics", found["run"], "--flags", "strict", "--json").json
    assert tried["samples"] == found["statistics"]["samples"]
    metrics = mdap("metrics", found["run"], "--json").json
    assert metrics["steps"] == found["statistics"]["steps"]
    assert metrics["flagged"] == found["statistics"]["flags"]
    few = mdap(*words, "--json").json
    assert mdap("metrics", few["run"], "--flags", "strict", "--json").json["samples"] < tried["samples"]
    assert mdap(*words, "--record", "builtins:int").code in (0, 1, 3)
    assert mdap(*words, "--record", "builtins:int", "--pattern", "a").code == 2


def test_roles_and_prompts_of_ones_own(mdap: Terminal) -> None:
    said = mdap(
        "solve", PRODUCT, "--model", "simulated_solver:solver=1", "--role", "solver=simulated_solver", "--k", "1", "-q"
    )
    assert said.out == "8369910\n"
    (mdap.folder / "solver.txt").write_text("Tell.\n\n## Task\n{task}\n", encoding="utf-8")
    said = mdap("solve", PRODUCT, "--model", "simulated_solver", "--template", "solver=solver.txt", "--k", "1")
    assert (said.code, "'Tell." in said.err) == (1, True)


def test_without_a_model_that_divides_the_parts_are_solved_in_order(mdap: Terminal) -> None:
    task = "1) Multiply 3 by 4.\n2) Multiply 5 by 6."
    said = mdap("solve", task, "--model", "simulated_solver", "--k", "1", "--decompose", "sequential", "-q")
    assert said.out == '["12","30"]\n'


def test_a_run_shows_its_roles(mdap: Terminal) -> None:
    mdap("solve", PRODUCT, "--model", SOLVER, "--k", "2", "-q")
    shown = mdap("show", mdap.last())
    assert shown.code == 0
    for role in ("decomposer", "solver", "composer"):
        assert role in shown.out


@pytest.mark.slow
def test_a_killed_run_goes_on_where_its_journal_ends(mdap: Terminal) -> None:
    words = ("solve", "sorting:n=500,seed=1", "--model", SOLVER, "--k", "3", "--max-depth", "9", "-q")
    whole = mdap(*words, "--json").json
    killed = 0
    for wait in (0.7, 0.9, 1.1, 1.3):
        process = mdap.start(*words)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        last = mdap("runs", "--json").json[-1]
        if last["status"] != "interrupted":  # before its run began, or once it was done
            continue
        killed += 1
        done = mdap("resume", last["run"], "--json", "-q")
        assert done.code == 0, done.err
        assert done.json["answer"] == whole["answer"]
        assert done.json["statistics"]["steps"] == whole["statistics"]["steps"]
    assert killed > 0


def test_the_command_line_of_a_function_is_not_taken_up(mdap: Terminal, tmp_path: Path) -> None:
    import mdap as library
    from mdap.planning.decomposers import sentences

    agent = library.Agent(
        "simulated_solver", k=1, decompose=sentences, journal=mdap.folder / ".mdap" / "runs.db", budget_calls=1
    )
    stopped = agent.run("Multiply 2 by 3. Multiply 3 by 4.")
    assert stopped.status == "budget"
    said = mdap("resume", stopped.run, "--budget-calls", "9")
    assert (said.code, "sentences, a function" in said.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "hanoi:disks=5", "--model", "simulated:p=0.99"),
        ("solve", PRODUCT, "--model", "simulated_solver", "--k", "1"),
        ("do", "Lines: alpha, beta, gamma", "--model", "simulated_planner", "--k", "2"),
    ],
)
def test_a_preset_of_flags_is_known_again_at_a_resume(mdap: Terminal, words: tuple[str, ...]) -> None:
    stopped = mdap(*words, "--flags", "strict", "--budget-calls", "6", "-q")
    assert stopped.code == 4, stopped.err
    assert mdap("resume", mdap.last(), "--budget-calls", "5000", "-q").code == 0


def test_an_answer_can_be_held_to_a_preset_of_flags(mdap: Terminal) -> None:
    mdap.write("doubting", "def clerk(prompt):\n    return 'Wait, maybe 7'\n")
    asked = ("ask", "How many?", "--model", "doubting:clerk", "--k", "1", "--redraws", "1", "-q")
    assert mdap(*asked).code == 0
    assert mdap(*asked, "--flags", "strict").code == 3


def test_solvers_call_tools_that_are_named_again_at_a_resume(mdap: Terminal) -> None:
    mdap.write(
        "desk",
        "from pathlib import Path\n\n\n"
        "def multiply(a: int, b: int) -> int:\n"
        '    """Multiply two numbers."""\n'
        "    with Path('made.txt').open('a') as file:\n"
        "        file.write(f'{a} {b}\\n')\n"
        "    return a * b\n\n\n"
        "def clerk(prompt: str) -> str:\n"
        "    if 'came of it:' in prompt:\n"
        "        return prompt.partition('\"value\": ')[2].partition('}')[0]\n"
        '    return \'{"tool": "multiply", "arguments": {"a": 3, "b": 4}}\'\n',
    )
    task = "1) Multiply 3 by 4.\n2) Multiply 3 by 4."
    words = ("solve", task, "--model", "desk:clerk", "--k", "1", "--free", "--decompose", "sequential")
    assert "custom, which is not allowed" in mdap(*words, "--tool", "desk:multiply").err
    tools = ("--tool", "desk:multiply", "--allow", "custom")
    stopped = mdap(*words, *tools, "--budget-calls", "3", "-q")
    assert (stopped.code, stopped.out) == (4, "")
    without = mdap("resume", mdap.last(), "--budget-calls", "9")
    assert without.code != 0
    assert f"mdap resume {mdap.last()} --tool desk:multiply --allow custom" in without.err
    done = mdap("resume", mdap.last(), "--budget-calls", "9", *tools, "-q")
    assert (done.code, done.out) == (0, '["12","12"]\n')
    assert (mdap.folder / "made.txt").read_text(encoding="utf-8") == "3 4\n3 4\n"
