"""Texts of all sorts through the command line: other scripts, line ends of Windows, halves of characters, markup."""

from __future__ import annotations

import io
import json
import sys

import msgspec
import pytest

from mdap.tasks.hanoi import hanoi
from tests.cli.conftest import Terminal

TEXTS = [
    "naïve café",
    "走れメロス",
    "שלום עולם",
    "👩‍👩‍👧 🏳️‍🌈",
    "e\u0301 is not \u00e9",
    "[bold]not bold[/bold] :smile: `tick`",
    "\\back\\slash %s {brace} $HOME ~",
    "tab\there",
    "\"quoted\" and 'quoted'",
    "-leading-hyphen",
    "a\x00b",
]
OWN = """
def echo(prompt: str) -> str:
    return prompt


def ends(prompt: str) -> str:
    return repr(prompt)
"""


@pytest.fixture
def mdap(mdap: Terminal) -> Terminal:
    """A terminal in a folder with models that repeat what they are asked."""
    mdap.write("own", OWN)
    return mdap


def ask(mdap: Terminal, *words: str) -> str:
    said = mdap("ask", *words, "--model", "own:echo", "--k", "2", "--quiet")
    assert said.code == 0, said
    return said.out


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_text_goes_out_as_it_came_in(text: str, mdap: Terminal) -> None:
    (mdap.folder / "prompt.txt").write_bytes(text.encode())
    assert ask(mdap, "--file", "prompt.txt") == f"{text}\n"
    told = json.loads(ask(mdap, "--file", "prompt.txt", "--json"))
    assert (told["answer"], told["ballot"]) == (text, [{"value": text, "votes": 2}])


@pytest.mark.parametrize("text", TEXTS[:-1], ids=ascii)
def test_a_text_is_shown_and_exported_as_it_is(text: str, mdap: Terminal) -> None:
    (mdap.folder / "prompt.txt").write_bytes(text.encode())
    ask(mdap, "--file", "prompt.txt")
    run = mdap.last()
    (sample, _) = mdap("show", run, "--step", "0", "--json").json["samples"]
    assert sample["text"] == text
    (line,) = mdap("export", run).out.splitlines()
    assert json.loads(line)["action"] == text
    if "\t" not in text:  # which a terminal shows as blanks
        assert text in mdap("show", run, "--step", "0").out


@pytest.mark.parametrize("command", ["ask", "plan", "do", "solve"])
def test_line_ends_of_windows_are_part_of_what_is_asked(command: str, mdap: Terminal) -> None:
    mdap.write("told", "def told(prompt: str) -> str:\n    print(repr(prompt))\n    return 'no'\n")
    (mdap.folder / "prompt.txt").write_bytes(b"first\r\nsecond")
    asked = mdap(command, "--file", "prompt.txt", "--model", "told:told", "--redraws", "0", "--k", "1").out
    assert r"first\r\nsecond" in asked


def test_rows_with_line_ends_of_windows_are_rows_and_blank_lines_none(mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_bytes(b'{"n": "a"}\r\n\r\n{"n": "b\\r\\n"}\r\n')
    said = mdap("map", "rows.jsonl", "--prompt", "{n}", "--model", "own:ends", "--k", "1")
    results = [json.loads(line) for line in said.out.splitlines()]
    assert [row["status"] for row in results] == ["done", "done"]
    assert r"'b\\r\\n'" in said.out


def test_a_mark_of_byte_order_is_told_as_the_error_of_its_own_row(mdap: Terminal) -> None:
    (mdap.folder / "rows.jsonl").write_bytes('\ufeff{"n": 1}\n{"n": 2}\n'.encode())
    said = mdap("map", "rows.jsonl", "--prompt", "{n}", "--model", "own:echo", "--k", "1")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["status"] for row in rows] == ["error", "done"]
    assert "not JSON" in rows[0]["reason"]
    assert said.code == 1


@pytest.mark.parametrize("command", ["ask", "plan", "do", "solve"])
def test_standard_input_that_is_no_text_is_a_usage_error(
    command: str, mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    said = mdap(command, "--file", "-", "--model", "own:echo")
    assert (said.code, said.out) == (2, "")
    assert "cannot be read from -" in said.err
    assert "next:  name a UTF-8 text file" in said.err


@pytest.mark.parametrize("command", ["ask", "plan", "do", "solve"])
def test_halves_of_characters_are_refused_before_anything_is_asked(command: str, mdap: Terminal) -> None:
    said = mdap(command, "half \udcff of one", "--model", "own:echo", "--k", "1")
    assert said.code in (1, 2)
    assert said.out == ""
    assert "Traceback" not in said.err
    assert all(run["samples"] == 0 for run in mdap("runs", "--json").json)


def test_an_override_may_come_from_standard_input(mdap: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    task = hanoi(1)
    said = mdap("run", "hanoi:disks=1", "--model", "simulated:p=0.9,flags=1", "--max-samples", "2", "--k", "1")
    assert said.code == 3
    run = mdap.last()
    monkeypatch.setattr(sys, "stdin", io.StringIO("{"))
    said = mdap("resolve", run, "0", "--override", "-")
    assert (said.code, said.out) == (2, "")
    assert "no JSON can be read from -" in said.err
    move = msgspec.json.encode(task.answer(task.start())).decode()
    monkeypatch.setattr(sys, "stdin", io.StringIO(move))
    said = mdap("resolve", run, "0", "--override", "-")
    assert said.code == 0, said
    done = mdap(*said.next[-1], "--json", "--quiet").json
    assert (done["status"], done["wrong"], done["votes"]) == ("done", 0, 0)


def test_who_resolved_a_step_is_kept_in_any_script(mdap: Terminal) -> None:
    mdap.write("yes", "def yes(prompt: str) -> str:\n    return 'yes'\n")
    assert mdap("ask", "Sure?", "--model", "yes:yes", "--k", "3", "--max-samples", "2").code == 3
    run = mdap.last()
    (waiting,) = mdap("inbox", "--json").json
    (key,) = [candidate["key"] for candidate in waiting["candidates"]]
    said = mdap("resolve", run, "0", "--accept", key, "--by", "Zoë [admin]")
    assert said.err.splitlines()[0].endswith(", by Zoë [admin]")
    assert "by Zoë [admin]" in mdap("show", run).out
    assert mdap(*said.next[-1], "--json", "-q").json["result"]["answer"] == "yes"
