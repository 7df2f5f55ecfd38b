"""A process that writes is killed, at every named point and at random moments: what it confirmed is in the file,
without a gap, and the book is the fold of exactly what is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from mdap.journal.sqlite import SqliteJournal
from tests.journal.contract import check
from tests.journal.driver import entries_in
from tests.journal.story import first

ROOT = Path(__file__).parents[2]
RUNS = ("r1", "r2", "r3")


class Lost(AssertionError):
    """Something was confirmed as durable and is not in the file."""


class Killed(NamedTuple):
    """What a killed process had confirmed: run and count of entries."""

    confirmed: dict[str, int]


def kill(path: Path, *words: str, after: float | None = None) -> Killed:
    """Drive the runs until the process kills itself, or until `after` seconds from its first confirmation on."""
    command = [sys.executable, "-m", "tests.journal.driver", str(path), *RUNS, *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in RUNS]
        if after is not None:
            time.sleep(after)
            process.kill()
        lines = [*head, *process.stdout.readlines()]
    assert process.returncode == -signal.SIGKILL
    confirmed = dict.fromkeys(RUNS, 0)
    for run, _, number in (line.partition(" ") for line in lines):
        confirmed[run] = int(number)
    return Killed(confirmed)


def verify(path: Path, killed: Killed) -> int:
    """Return how many entries are in the file; raises Lost or AssertionError if they are not what they must be."""
    total = 0
    with closing(SqliteJournal(path)) as journal:
        for run, confirmed in killed.confirmed.items():
            count = entries_in(path, run)
            if count < confirmed:
                raise Lost(f"{run}: {confirmed} entries were confirmed, {count} are there")
            check(journal, run, first(count))
            total += count
    return total


@pytest.mark.parametrize("point", ["before-commit", "inside-commit", "after-commit", "snapshot", "checkpoint"])
def test_a_kill_at_a_named_point_loses_nothing_that_was_confirmed(tmp_path: Path, point: str) -> None:
    path = tmp_path / "runs.db"
    nth = "1" if point == "checkpoint" else "20"
    every = "1" if point == "checkpoint" else "7"
    killed = kill(path, "--kill-at", f"{point}:{nth}", "--every", every)
    assert verify(path, killed) > 0


def test_a_kill_between_the_writes_of_a_commit_and_its_end_undoes_them_all(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    kill(path, "--kill-at", "inside-commit:1")
    assert verify(path, Killed(dict.fromkeys(RUNS, 0))) == 0


def test_a_commit_that_was_not_confirmed_yet_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    killed = kill(path, "--kill-at", "after-commit:1")
    assert verify(path, killed) > 0
    assert killed.confirmed == dict.fromkeys(RUNS, 0)


def kill_again_and_again(path: Path, times: int, *words: str) -> None:
    """Kill at random moments; each process goes on where the last one was killed."""
    chance = random.Random(7)
    before = kills = 0
    # On a busy machine a life may be too short to write anything, so there are as many as it takes.
    while kills < times or before <= 10 * times:
        kills += 1
        killed = kill(path, *words, after=chance.uniform(0, 0.12))
        count = verify(path, killed)
        assert count >= before
        before = count
        assert kills < 10 * times, "hardly anything is written"


def test_a_few_random_kills_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "runs.db", 4)


@pytest.mark.slow
def test_forty_random_kills_in_a_row_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "runs.db", 40)


def test_a_journal_that_confirmed_too_early_would_be_found_out(tmp_path: Path) -> None:
    killed = kill(tmp_path / "runs.db", "--kill-at", "before-commit:5", "--lie")
    with pytest.raises(Lost):
        verify(tmp_path / "runs.db", killed)
