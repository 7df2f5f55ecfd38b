"""`mdap ask` as its user sees it: the answer alone on standard output, exit codes, and a way on that works."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.conftest import Said, Terminal

MODELS = """
import json

import msgspec

from mdap.core.records import Request, Response, Usage


class City(msgspec.Struct):
    name: str
    people: int


def asked(request: Request) -> Response:
    # The prompt says, word by word, what is replied to slot 0, 1, 2 and so on.
    said = request.messages[-1].content.split("\\n\\n")[0].split("|")
    return Response(said[request.draw.slot % len(said)], usage=Usage(10, 2))


def cut(request: Request) -> Response:
    return Response("yes", "length")


def echo(prompt: str) -> str:
    return prompt


def judging(prompt: str) -> str:
    answers = json.loads(prompt.split("Answers:\\n")[1].split("\\n\\nAnswer with")[0])
    return json.dumps({"groups": [[int(number) for number in answers]]})
"""


@pytest.fixture
def mdap(mdap: Terminal) -> Terminal:
    """A terminal in a folder with models of the user's own."""
    mdap.write("own", MODELS)
    return mdap


def ask(mdap: Terminal, prompt: str, *words: str) -> Said:
    return mdap("ask", prompt, "--model", "own:asked", *words)


def test_the_answer_stands_alone_on_standard_output(mdap: Terminal) -> None:
    said = ask(mdap, "no|yes|yes|yes", "--one-of", "yes,no", "--k", "2")
    assert (said.code, said.out, said.err) == (0, "yes\n", "")


def test_the_assumed_k_is_told_unless_quiet(mdap: Terminal) -> None:
    assert "k=3 is assumed" in ask(mdap, "yes").err
    assert ask(mdap, "yes", "--quiet").err == ""


def test_an_undecided_question_prints_no_answer_and_the_way_on_leads_to_one(mdap: Terminal) -> None:
    said = ask(mdap, "yes|no|yes|yes|yes|yes", "--k", "3", "--max-samples", "3")
    assert (said.code, said.out) == (3, "")
    assert "3 samples, votes [2, 1], lead 1" in said.err
    show, resume = said.next[0], next(words for words in said.next if words[0] == "resume")
    shown = mdap(*show)
    assert shown.code == 0
    assert "yes|no|yes" in mdap(*show, "--json").json["messages"][0]["content"]
    resumed = mdap(*resume, "--json")
    assert (resumed.code, resumed.json["result"]) == (0, {"answer": "yes"})


def test_json_holds_the_ballot_the_flags_the_tokens_and_the_probability_with_its_assumption(mdap: Terminal) -> None:
    found: dict[str, Any] = ask(mdap, "no|yes|yes|yes", "--k", "2", "--json", "--p", "0.9").json
    assert found["answer"] == "yes"
    assert found["ballot"] == [{"value": "yes", "votes": 3}, {"value": "no", "votes": 1}]
    assert found["probability"] == pytest.approx(0.81 / 0.82)
    assert "p=0.9 as given" in found["assumption"]
    assert found["tokens"] == {"in": 40, "out": 8}
    assert (found["flags"], found["samples"], found["share"], found["rule"]) == ({}, 4, 0.75, "ahead_by_k:2")
    assert (found["status"], found["run"]) == ("done", mdap.last())
    assert "judged" not in found


def test_json_of_an_undecided_question_has_a_ballot_and_no_answer(mdap: Terminal) -> None:
    said = ask(mdap, "a|b", "--k", "2", "--max-samples", "2", "--json")
    found = said.json
    assert said.code == 3
    assert "answer" not in found
    assert [candidate["votes"] for candidate in found["ballot"]] == [1, 1]
    assert found["probability"] is None


def test_a_reply_out_of_format_is_shown_as_flagged_with_its_reason(mdap: Terminal) -> None:
    said = ask(mdap, "I say yes", "--one-of", "yes,no", "--k", "1", "--redraws", "1")
    assert (said.code, said.out) == (3, "")
    assert "none of yes, no" in mdap("show", mdap.last(), "--step", "0").out


@pytest.mark.parametrize(
    ("words", "prompt", "out"),
    [
        (["--pattern", r"[A-Z]+-\d"], "AB-1", "AB-1\n"),
        (["--key", "folded"], "Paris|PARIS ", "Paris\n"),
        (["--key", "number:0.1"], "1.04|1.01", "1.04\n"),
        (["--key", "python"], "x = (1)|x=1 # one", "x = (1)\n"),
        (["--record", "own:City"], '{"name": "Rome", "people": 3}', '{"name":"Rome","people":3}\n'),
    ],
)
def test_formats_and_keys_are_one_flag_each(mdap: Terminal, words: list[str], prompt: str, out: str) -> None:
    said = ask(mdap, prompt, "--k", "2", *words)
    assert (said.code, said.out) == (0, out)


def test_a_schema_is_a_file_of_json(mdap: Terminal) -> None:
    (mdap.folder / "list.json").write_text('{"type": "array", "uniqueItems": true}', encoding="utf-8")
    said = ask(mdap, "[1, 2]|[2, 1]", "--schema", "list.json", "--k", "2")
    assert (said.code, said.out) == (0, "[1,2]\n")


@pytest.mark.slow
def test_the_prompt_is_a_file_or_standard_input(mdap: Terminal) -> None:
    (mdap.folder / "prompt.txt").write_text("yes", encoding="utf-8")
    assert mdap("ask", "--file", "prompt.txt", "-m", "own:asked", "--k", "1").out == "yes\n"
    command = [sys.executable, "-m", "mdap", "ask", "--file", "-", "-m", "own:echo", "--k", "1"]
    done = subprocess.run(command, cwd=mdap.folder, input="from a pipe", capture_output=True, text=True, check=True)
    assert done.stdout == "from a pipe\n"


def test_groups_that_a_model_judged_are_told_as_no_proof_in_every_output(mdap: Terminal) -> None:
    words = ("--key", "judged:own:judging", "--k", "2")
    said = ask(mdap, "twelve|a dozen", *words)
    assert (said.code, said.out) == (0, "twelve\n")
    assert "own:judging grouped the answers: this is no proof" in said.err
    found = ask(mdap, "twelve|a dozen", *words, "--json", "--p", "0.9").json
    assert found["judged"]["note"] == "groups judged by a model: not a proof"
    assert found["probability"] is None
    assert mdap("show", mdap.last(), "--json").json["task"] == "question:judged=on"


def test_truncated_replies_that_leave_a_question_open_name_the_cap(mdap: Terminal) -> None:
    said = mdap("ask", "?", "--model", "own:cut", "--k", "1", "--redraws", "2")
    assert said.code == 3
    assert "3 of 3 replies were truncated: raise --max-tokens" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "own:asked"], "there is no prompt"),
        (["yes", "--file", "prompt.txt", "--model", "own:asked"], "the prompt is given twice"),
        (["--file", "absent.txt", "--model", "own:asked"], "cannot be read from absent.txt"),
        (["yes", "--model", "own:asked", "--schema", "absent.json"], "no JSON Schema can be read from absent.json"),
        (["yes", "--model", "own:asked", "--record", "own:Town"], "there is no 'own:Town'"),
        (["yes", "--model", "own:asked", "--one-of", "yes"], "leaves no choice"),
        (["yes", "--model", "own:asked", "--pattern", "("], "no regular expression"),
        (["yes", "--model", "own:asked", "--key", "nearly"], "unknown key 'nearly'"),
        (["yes", "--model", "own:asked", "--pattern", "a", "--one-of", "a,b"], "pattern and one_of are given"),
        (["yes", "--model", "own:asked", "--p", "1.5"], "p=1.5 is not a probability"),
    ],
)
def test_a_wrong_word_is_refused_with_exit_code_2_before_a_run_begins(
    mdap: Terminal, words: list[str], message: str
) -> None:
    said = mdap("ask", *words)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "next:" in said.err
    assert json.loads(mdap("runs", "--json").out) == []


def test_a_p_at_which_voting_cannot_help_is_an_error_before_a_run_begins(mdap: Terminal) -> None:
    said = ask(mdap, "yes", "--p", "0.4")
    assert said.code == 1
    assert "more votes do not make a step right" in said.err
    assert mdap("runs", "--json").json == []


def test_budgets_and_draws_are_those_of_a_run(mdap: Terminal) -> None:
    said = ask(mdap, "a|b|a|a", "--k", "2", "--budget-calls", "2", "--max-tokens", "9", "--seed", "4")
    assert (said.code, said.out) == (4, "")
    assert "stopped at the budget" in said.err
    settings = mdap("show", mdap.last(), "--json").json
    assert settings["status"] == "budget"
