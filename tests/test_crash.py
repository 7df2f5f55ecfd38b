"""Runs are killed at random moments and at every named point, and resumed until done: nothing shows that they were."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mdap
from mdap.core.records import Request, Response
from mdap.engine.taskview import TaskView
from mdap.journal.sqlite import SqliteJournal
from mdap.models.simulated import Simulated, simulated

TASK = "hanoi:disks=8"
STEPS = 255
OPTIONS: dict[str, Any] = {"k": 3}
Asked = tuple[int, int, int]


class Noted:
    """A simulated model that notes each draw in a file before it answers, so that a kill loses no note."""

    def __init__(self, notes: Path, wait: float = 0.0) -> None:
        self.inner: Simulated = simulated(p=0.9, flags=0.1, seed=5)
        self.spec = self.inner.spec
        self.notes = notes
        self.wait = wait

    def bind(self, task: Any) -> Noted:
        """Return this model with its task."""
        self.inner = self.inner.bind(task)
        return self

    async def complete(self, request: Request) -> Response:
        """Note the draw, and answer."""
        draw = request.draw
        with self.notes.open("a") as notes:
            notes.write(f"{draw.step} {draw.slot} {draw.redraw}\n")
        if self.wait:
            await asyncio.sleep(self.wait)
        return await self.inner.complete(request)


def asked(notes: Path) -> list[Asked]:
    """Return the draws that were noted, without a last line that a kill cut short."""
    lines = notes.read_text().split("\n")[:-1] if notes.exists() else []
    return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in lines)]


async def live(journal: SqliteJournal, model: Noted, **options: Any) -> mdap.Result:
    """Start the run of this journal, or go on with it."""
    heads = journal.heads()
    try:
        if heads:
            return await mdap.aio.resume(heads[0].id, journal=journal, model=model)
        return await mdap.aio.run(TASK, model, journal=journal, **OPTIONS, **options)
    finally:
        journal.close()


def one_life(path: Path, notes: Path, kill: Callable[[int], None], on_point: Any = None, **options: Any) -> bool:
    """Live in a child process until `kill` ends it; return whether it came to the end of the run."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal = SqliteJournal(path, on_point=on_point)
            result = asyncio.run(live(journal, Noted(notes, options.pop("wait", 0.0)), **options))
            code = 0 if result.status == "done" else 3
        finally:
            os._exit(code)
    kill(child)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code == 0


def durable_steps(path: Path) -> int:
    """Return how many steps the file holds."""
    if not path.exists():
        return 0
    journal = SqliteJournal(path)
    try:
        heads = journal.heads()
        return journal.history(heads[0].id).book.steps if heads else 0
    finally:
        journal.close()


def export(path: Path) -> bytes:
    """Return the export of the only run of a file."""
    journal = SqliteJournal(path)
    try:
        view = TaskView(mdap.tasks.hanoi(disks=8))
        rows = mdap.Result(journal, journal.heads()[0].id, view).export()
        return b"\n".join(msgspec.json.encode(row) for row in rows)
    finally:
        journal.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Counter[Asked]]:
    """The export and the draws of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert one_life(folder / "runs.db", folder / "notes", lambda child: None)
    draws = asked(folder / "notes")
    assert len(draws) == len(set(draws)), "an undisturbed run asks nothing twice"
    return export(folder / "runs.db"), Counter(draws)


def check_equal(path: Path, notes: Path, lives: list[tuple[int, int]], whole: tuple[bytes, Counter[Asked]]) -> None:
    """Check a finished run: same export, no durable step asked again, extra calls only for what was not durable.

    `lives` holds, for each life, the notes and the durable steps at its end.
    """
    expected, once = whole
    assert export(path) == expected
    draws = asked(notes)
    begin = durable = 0
    for end, steps in lives:
        repeated = [draw for draw in draws[begin:end] if draw[0] < durable]
        assert not repeated, f"steps below {durable} were durable and asked again: {repeated[:3]}"
        begin, durable = end, steps
    extra = Counter(draws) - once
    assert set(extra) <= set(once), "a resumed run asks no draw that an undisturbed one does not ask"


def live_until_done(path: Path, notes: Path, lives: list[tuple[int, int]], **options: Any) -> None:
    """Let a run live undisturbed to its end."""
    assert one_life(path, notes, lambda child: None, **options)
    lives.append((len(asked(notes)), STEPS))


@pytest.mark.slow
def test_a_run_killed_at_two_hundred_random_moments_ends_as_if_it_never_was(
    tmp_path: Path, whole: tuple[bytes, Counter[Asked]]
) -> None:
    rng = random.Random(7)
    kills = rounds = 0
    while kills < 200:
        path, notes, lives = tmp_path / f"{rounds}.db", tmp_path / f"{rounds}.notes", list[tuple[int, int]]()
        done = False
        while not done and len(lives) < 60:
            moment = rng.expovariate(1 / 0.03)

            def kill(child: int, moment: float = moment) -> None:
                time.sleep(moment)
                os.kill(child, signal.SIGKILL)

            done = one_life(path, notes, kill, wait=rng.choice((0.0, 0.001)))
            kills += not done
            lives.append((len(asked(notes)), durable_steps(path)))
        if not done:
            live_until_done(path, notes, lives)
        check_equal(path, notes, lives, whole)
        rounds += 1
    assert rounds > 1


COMMITS = [(point, nth) for point in ("before-commit", "inside-commit", "after-commit") for nth in (1, 2, 4)]


@pytest.mark.parametrize(("point", "nth"), [*COMMITS, ("snapshot", 1), ("checkpoint", 1)])
def test_a_run_killed_at_a_named_point_of_its_journal_ends_as_if_it_never_was(
    point: str, nth: int, tmp_path: Path, whole: tuple[bytes, Counter[Asked]]
) -> None:
    path, notes, lives = tmp_path / "runs.db", tmp_path / "notes", list[tuple[int, int]]()
    seen = Counter[str]()

    def die(name: str) -> None:
        seen[name] += 1
        if name == point and seen[name] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    assert not one_life(path, notes, lambda child: None, on_point=die), f"no run ever comes to {point} {nth}"
    lives.append((len(asked(notes)), durable_steps(path)))
    live_until_done(path, notes, lives)
    check_equal(path, notes, lives, whole)


def test_a_kill_right_after_a_lease_counts_the_whole_lease_as_spent(tmp_path: Path) -> None:
    path, notes = tmp_path / "runs.db", tmp_path / "notes"

    def die(name: str) -> None:
        if name == "after-commit" and asked(notes):
            os.kill(os.getpid(), signal.SIGKILL)

    assert not one_life(path, notes, lambda child: None, on_point=die, budget_calls=5000)
    journal = SqliteJournal(path)
    spend = journal.history(journal.heads()[0].id).book.spend
    journal.close()
    assert len(asked(notes)) <= spend.calls <= len(asked(notes)) + 50
