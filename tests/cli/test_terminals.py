"""What a terminal makes of the output: its width, its colours, a reader that leaves, and a log above the line."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys

import pytest
from rich.cells import cell_len

from tests.cli.conftest import Terminal
from tests.cli.screen import shown_on

RUN = ("run", "hanoi:disks=4", "--model", "simulated:p=0.8,flags=0.1,seed=3", "--k", "2", "--record", "samples")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PLAIN: dict[str, str] = {"TERM": "xterm-256color"}


def seen(mdap: Terminal, *words: str, env: dict[str, str] = PLAIN) -> str:
    """What a command writes where standard output and standard error are one terminal."""
    ours, theirs = pty.openpty()
    # NO_COLOR is what the tests have, and not what a person has.
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "TERM")}
    with subprocess.Popen(
        [sys.executable, "-m", "mdap", *words],
        cwd=mdap.folder,
        env=inherited | env,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ):
        said = shown_on(ours, theirs)
    return said.decode()


@pytest.fixture
def told(mdap: Terminal) -> Terminal:
    """A terminal in a folder with one run, all of whose samples are recorded."""
    mdap(*RUN)
    return mdap


@pytest.mark.slow
def test_a_status_is_coloured_on_a_terminal_unless_no_colour_is_wanted(told: Terminal) -> None:
    run = told.last()
    assert COLOUR.search(seen(told, "show", run))
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = seen(told, "show", run, env=PLAIN | env)
        # Bold is no colour: what is left may be set in it.
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", plain), env
        assert "done" in plain


def test_nothing_is_coloured_in_a_pipe(told: Terminal) -> None:
    run = told.last()
    for words in (("show", run), ("runs",), ("metrics", run), ("ledger", run), ("models",)):
        assert "\x1b" not in told(*words).out


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize(
    "command", [("show",), ("show", "--step", "1"), ("metrics",), ("metrics", "--flags", "strict")], ids=" ".join
)
def test_a_narrow_terminal_folds_values_and_loses_none(
    command: tuple[str, ...], width: int, told: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (command[0], told.last(), *command[1:])
    monkeypatch.setenv("COLUMNS", "400")
    wide = told(*words).out
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = told(*words).out
    assert max(cell_len(line) for line in narrow.splitlines()) <= width
    assert "".join(narrow.split()) == "".join(wide.split())


def test_an_estimate_fits_eighty_columns_with_every_figure_it_may_have(
    mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ("--p", "0.98", "--steps", "1e6", "--tokens-in", "500", "--tokens-out", "100", "--latency", "1")
    said = mdap("estimate", *words, "--price-in", "1", "--price-out", "4", "--sigma", "0.6", "--budget-calls", "1e9")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    for word in ("money", "time", "budget", "assumption"):
        assert word in said.out
    assert "…" not in said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("show", "RUN", "--step", "1"),
        ("show", "RUN", "--json"),
        ("metrics", "RUN", "--steps"),
        ("ledger", "RUN"),
        ("runs",),
        ("models",),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_seen_enough_is_no_error(words: tuple[str, ...], told: Terminal) -> None:
    command = shlex.join([sys.executable, "-m", "mdap", *(told.last() if word == "RUN" else word for word in words)])
    # One byte, and gone before the rest is written.
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}"],
        cwd=told.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.slow
def test_the_log_scrolls_above_the_line_on_a_terminal(mdap: Terminal) -> None:
    said = seen(mdap, *RUN, "-v", env=PLAIN | {"COLUMNS": "100"})
    assert re.search(r"INFO\s+run hanoi-\w+: hanoi:disks=4 with", COLOUR.sub("", said))
    assert "flag " in said
    assert "15 of 15" in said


def test_verbose_logs_once_however_many_commands_a_process_runs(mdap: Terminal) -> None:
    for _ in range(2):
        assert mdap(*RUN, "-v").err.count("ended: done") == 1
    assert "ended" not in mdap(*RUN).err


@pytest.mark.slow
def test_an_answer_ends_its_line_on_a_terminal_and_is_to_the_byte_in_a_pipe(mdap: Terminal) -> None:
    words = ("do", "Put these words on lines of their own, in this order: alpha, beta", "--k", "1", "-q")
    model = ("--model", "simulated_planner:p=1.0,judge=1.0")
    assert seen(mdap, *words, *model).replace("\r\n", "\n") == "alpha\nbeta\n"
    assert mdap(*words, *model).out == "alpha\nbeta"


@pytest.mark.slow
def test_json_is_one_line_on_a_terminal_of_any_width(told: Terminal) -> None:
    shown = seen(told, "show", told.last(), "--json", env=PLAIN | {"COLUMNS": "20"})
    assert shown.count("\n") == 1
    assert shown.startswith('{"run":')


def test_the_list_of_runs_has_whole_ids_and_specs_in_a_pipe(told: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    (line,) = told("runs").out.splitlines()[1:]
    assert line.split()[0] == told.last()
    assert "simulated:p=0.8,flags=0.1,seed=3" in line
