"""Runs are killed while they ask ahead, and resumed until done: what was asked ahead leaves no trace in decisions."""

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

import pytest

import mdap
from mdap.core.records import Request, Response
from mdap.journal.sqlite import SqliteJournal
from mdap.models.simulated import Simulated, simulated
from tests.test_crash import asked, durable_steps, export

TASK = "hanoi:disks=8"
STEPS = 255
# Each of them is the point named lookahead: so many steps ahead of the one that is decided a call has just begun.
POINTS = [(1, 1), (3, 1), (3, 40), (8, 5)]


class Noted:
    """A simulated model that notes each draw before it answers, and says how far ahead of all others a call is."""

    def __init__(self, notes: Path, on_ahead: Callable[[int], None]) -> None:
        self.inner: Simulated = simulated(p=0.9, flags=0.1, seed=5)
        self.spec = self.inner.spec
        self.notes = notes
        self.on_ahead = on_ahead
        self.open = Counter[int]()

    def bind(self, task: Any) -> Noted:
        """Return this model with its task."""
        self.inner = self.inner.bind(task)
        return self

    async def complete(self, request: Request) -> Response:
        """Note the draw, wait a little, and answer."""
        draw = request.draw
        with self.notes.open("a") as notes:
            notes.write(f"{draw.step} {draw.slot} {draw.redraw}\n")
        self.open[draw.step] += 1
        self.on_ahead(draw.step - min(+self.open))
        try:
            await asyncio.sleep(0.0005)
            return await self.inner.complete(request)
        finally:
            self.open[draw.step] -= 1


async def live(journal: SqliteJournal, model: Noted) -> mdap.Result:
    """Start the run of this journal with a draft, so that it asks ahead at once, or go on with it."""
    heads = journal.heads()
    try:
        if heads:
            return await mdap.aio.resume(heads[0].id, journal=journal, model=model)
        return await mdap.aio.run(TASK, model, journal=journal, k=3, draft="task")
    finally:
        journal.close()


def one_life(path: Path, notes: Path, on_ahead: Callable[[int], None], kill: Callable[[int], None]) -> bool:
    """Live in a child process until it is killed; return whether it came to the end of the run."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            result = asyncio.run(live(SqliteJournal(path), Noted(notes, on_ahead)))
            code = 0 if result.status == "done" else 3
        finally:
            os._exit(code)
    kill(child)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code == 0


def nothing(_: int) -> None:
    """Let it be."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The export of a run that nobody disturbed and that never asked ahead."""
    path = tmp_path_factory.mktemp("plain") / "runs.db"
    journal = SqliteJournal(path)
    mdap.run(TASK, simulated(p=0.9, flags=0.1, seed=5), k=3, journal=journal, lookahead=0)
    journal.close()
    return export(path)


def check(path: Path, notes: Path, lives: list[tuple[int, int]], plain: bytes) -> None:
    """Check a finished run: the export of the plain one, and no step asked again in a life that began after it."""
    assert export(path) == plain
    draws = asked(notes)
    begin = durable = 0
    for end, steps in lives:
        repeated = [draw for draw in draws[begin:end] if draw[0] < durable]
        assert not repeated, f"steps below {durable} were durable and asked again: {repeated[:3]}"
        begin, durable = end, steps


@pytest.mark.parametrize(("far", "nth"), POINTS)
def test_a_run_killed_so_many_steps_ahead_ends_as_if_it_never_was(
    far: int, nth: int, tmp_path: Path, plain: bytes
) -> None:
    path, notes, lives, seen = tmp_path / "runs.db", tmp_path / "notes", list[tuple[int, int]](), Counter[str]()

    def die(steps: int) -> None:
        seen["far"] += steps >= far
        if seen["far"] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    assert not one_life(path, notes, die, nothing), f"no call ever is {far} steps ahead"
    assert max(step for step, _, _ in asked(notes)) >= durable_steps(path) + far
    lives.append((len(asked(notes)), durable_steps(path)))
    assert one_life(path, notes, nothing, nothing)
    lives.append((len(asked(notes)), STEPS))
    check(path, notes, lives, plain)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_while_it_looks_ahead_ends_as_if_it_never_was(
    tmp_path: Path, plain: bytes
) -> None:
    rng = random.Random(11)
    kills = rounds = ahead = 0
    while kills < 60:
        path, notes, lives = tmp_path / f"{rounds}.db", tmp_path / f"{rounds}.notes", list[tuple[int, int]]()
        done = False
        while not done and len(lives) < 40:
            moment = rng.expovariate(1 / 0.05)

            def kill(child: int, moment: float = moment) -> None:
                time.sleep(moment)
                os.kill(child, signal.SIGKILL)

            done = one_life(path, notes, nothing, kill)
            kills += not done
            lives.append((len(asked(notes)), durable_steps(path)))
            ahead += max((step for step, _, _ in asked(notes)), default=0) > lives[-1][1] + 1
        if not done:
            assert one_life(path, notes, nothing, nothing)
            lives.append((len(asked(notes)), STEPS))
        check(path, notes, lives, plain)
        rounds += 1
    assert ahead > 10, "many of them were killed with calls under way for steps ahead"
