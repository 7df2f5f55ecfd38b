"""The progress line: what it says at every width, when it is drawn, and that it costs a run next to nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mdap.cli.progress import Line
from mdap.core.events import Called, Flagged, Progress, Started, StepDecided
from mdap.core.records import Decision, Move, Totals
from tests.cli.screen import shown_on

MOVE = Move(1, 2)


def decided(step: int, *, contested: bool = False) -> StepDecided:
    votes = (4, 1) if contested else (3,)
    return StepDecided(Decision(step, MOVE, votes), Totals(samples=sum(votes) + 1, votes=sum(votes)))


class Hand:
    """A clock whose hand is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def halfway(total: int | None) -> tuple[Line, Hand]:
    progress, hand = Progress(), Hand()
    line = Line(progress, hand)
    for event in (Started("r", "t", "m", "ahead_by_k:3", 0, total, Totals()), Called(1), Called(1)):
        progress.add(event)
    line.text(120)
    for step in range(512):
        progress.add(decided(step, contested=step == 7))
    progress.add(Flagged(7, 0, 0, "malformed", "no move"))
    hand.at = 2.0
    return line, hand


def test_the_line_says_steps_speed_votes_flags_contested_calls_and_time_left() -> None:
    said = halfway(1023)[0].text(120).plain
    assert said.endswith(
        "512/1,023 steps · 256/s · 3.00 votes a step · 1 flagged · 1 contested · 2 in flight · 0:02 left"
    )
    assert "━" in said


@pytest.mark.parametrize("width", [20, 40, 80, 99, 100, 120, 200])
@pytest.mark.parametrize("total", [1023, 10**12, None])
def test_the_line_never_wraps(width: int, total: int | None) -> None:
    assert halfway(total)[0].text(width).cell_len < width


def test_80_columns_have_room_for_a_million_steps() -> None:
    line, _ = halfway(1_048_575)
    said = line.text(80).plain
    assert said.startswith("512/1,048,575 ")
    assert said.endswith("1:08:14")


def test_where_room_is_short_steps_and_time_left_stay_and_lesser_figures_go() -> None:
    said = halfway(1_048_575)[0].text(40).plain
    assert said == "512/1,048,575 256/s 3.00 votes 1:08:14"


def test_a_run_without_a_known_end_has_neither_bar_nor_time_left() -> None:
    said = halfway(None)[0].text(120).plain
    assert said.startswith("512 steps")
    assert "left" not in said


def test_time_left_follows_the_speed_of_the_last_seconds() -> None:
    line, hand = halfway(1023)
    for hand.at in (5.0, 8.0, 11.0):
        line.text(120)
    assert "left" not in line.text(120).plain, "nothing was decided for longer than the window"


def test_after_the_first_ctrl_c_the_line_says_what_a_second_one_does() -> None:
    line, _ = halfway(1023)
    line.is_stopping = True
    assert "Ctrl-C again quits at once" in line.text(80).plain


def run_on_terminal(folder: Path, *words: str) -> str:
    """What a command writes to standard error where that is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "mdap", *words],
        cwd=folder,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "110"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        said = shown_on(ours, theirs)
        assert process.wait() == 0, said.decode()
    return said.decode()


@pytest.mark.slow
def test_the_line_is_drawn_on_a_terminal_and_gone_at_the_end(tmp_path: Path) -> None:
    said = run_on_terminal(tmp_path, "run", "hanoi:disks=10", "--model", "simulated:p=0.98", "--k", "3", "--json")
    assert "1,023 steps" in said
    assert "votes a step" in said
    assert said.rstrip("\r\n").endswith(("\x1b[2K", "\x1b[?25h")), "the last thing written takes the line away"


def test_nothing_is_drawn_where_nobody_looks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mdap", "run", "hanoi:disks=6", "--model", "simulated:p=0.98", "--k", "3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "63 of 63" in done.stdout


def test_quiet_draws_nothing_even_on_a_terminal(tmp_path: Path) -> None:
    assert run_on_terminal(tmp_path, "run", "hanoi:disks=3", "--model", "simulated:p=0.98", "--quiet") == ""
