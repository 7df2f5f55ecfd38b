"""Journals that are not there, not ours, locked or read-only, as somebody at the command line meets them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Terminal

RUN = ("run", "hanoi:disks=3", "--model", "simulated:p=1", "--k", "1", "--quiet")
READING = ("runs", "inbox", "show", "metrics", "export", "ledger")


def words_of(name: str, run: str) -> tuple[str, ...]:
    return (name,) if name in ("runs", "inbox") else (name, run)


@pytest.mark.parametrize("name", READING)
def test_a_file_that_is_no_journal_is_named_and_left_as_it_is(name: str, mdap: Terminal) -> None:
    other = mdap.folder / "notes.txt"
    other.write_text("Dear diary, " * 100, encoding="utf-8")
    said = mdap(*words_of(name, "x"), "--journal", "notes.txt")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: journal notes.txt is not a journal")
    assert "next:  choose another with --journal" in said.err
    assert "Traceback" not in said.err
    assert other.read_text(encoding="utf-8") == "Dear diary, " * 100


def test_a_run_does_not_write_over_a_file_that_is_no_journal(mdap: Terminal) -> None:
    (mdap.folder / "notes.txt").write_text("Dear diary, " * 100, encoding="utf-8")
    said = mdap(*RUN, "--journal", "notes.txt")
    assert (said.code, said.out) == (1, "")
    assert (mdap.folder / "notes.txt").read_text(encoding="utf-8").startswith("Dear diary")


@pytest.mark.parametrize("command", [RUN, ("runs",)], ids=["run", "runs"])
def test_a_folder_is_no_journal_and_a_file_in_it_is_proposed(command: tuple[str, ...], mdap: Terminal) -> None:
    (mdap.folder / "folder").mkdir()
    said = mdap(*command, "--journal", "folder")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[0] == "error: journal folder is a folder"
    assert said.err.splitlines()[-1] == "next:  name a file in it: --journal folder/runs.db"


def test_a_journal_in_folders_that_are_not_there_yet_is_made_with_them(mdap: Terminal) -> None:
    assert mdap(*RUN, "--journal", "a/b/c.db").code == 0
    assert len(mdap("runs", "--json", "--journal", "a/b/c.db").json) == 1


def test_a_variable_that_names_no_file_leaves_the_usual_journal(
    mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MDAP_JOURNAL", "")
    mdap(*RUN)
    assert (mdap.folder / ".mdap" / "runs.db").exists()


@pytest.mark.parametrize("name", READING)
def test_what_only_reads_does_so_while_another_program_writes(name: str, mdap: Terminal) -> None:
    mdap(*RUN, "--record", "samples")
    run = mdap.last()
    before = mdap(*words_of(name, run))
    with sqlite3.connect(mdap.folder / ".mdap" / "runs.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        said = mdap(*words_of(name, run))
        other.execute("ROLLBACK")
    other.close()
    assert said == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="who may do anything can write to any file")
def test_a_journal_that_cannot_be_written_is_told_with_what_to_do(mdap: Terminal) -> None:
    mdap(*RUN)
    place = mdap.folder / ".mdap"
    for path in (*place.iterdir(), place):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        said = mdap(*RUN)
    finally:
        place.chmod(0o700)
    assert (said.code, said.out) == (1, "")
    assert "writable" in said.err


def test_a_journal_that_was_moved_is_read_where_it_is_now(mdap: Terminal) -> None:
    mdap(*RUN)
    run, before = mdap.last(), mdap("export", mdap.last()).out
    shutil.move(mdap.folder / ".mdap" / "runs.db", mdap.folder / "moved.db")
    assert mdap("export", run, "--journal", "moved.db").out == before
    assert mdap("runs", "--json").json == []


@pytest.mark.parametrize("name", ["my runs.db", "C:\\runs\\mine.db", "läufe-走.db", "it's.db", "--odd.db", "$HOME.db"])
def test_whatever_a_journal_is_called_the_printed_command_finds_it(name: str, mdap: Terminal) -> None:
    said = mdap(*RUN[:-1], "--budget-calls", "4", f"--journal={name}")
    assert said.code == 4
    assert Path(mdap.folder / name).exists()
    assert mdap(*said.next[-1], "--quiet").code == 0


def test_a_run_that_is_driven_is_shown_as_running_and_not_gone_on_with_twice(mdap: Terminal) -> None:
    mdap.write(
        "looking",
        "import subprocess, sys\n\n\n"
        "def look(prompt: str) -> str:\n"
        "    words = [sys.executable, '-m', 'mdap', 'runs', '--json']\n"
        "    seen = subprocess.run(words, capture_output=True, text=True).stdout\n"
        "    return 'running' if '\"status\":\"running\"' in seen else seen\n",
    )
    assert mdap("ask", "How does this run stand?", "--model", "looking:look", "--k", "1", "-q").out == "running\n"


def test_the_beginning_of_an_id_that_two_runs_have_names_neither(mdap: Terminal) -> None:
    mdap(*RUN)
    mdap(*RUN)
    said = mdap("show", "hanoi-")
    assert said.code != 0
    assert all(run["run"] in said.err for run in mdap("runs", "--json").json)
