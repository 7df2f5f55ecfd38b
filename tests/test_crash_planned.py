"""A run of branches is killed at random moments and at every named point, and gone on with: nothing shows of it."""

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

from mdap.core.errors import BudgetReached
from mdap.core.records import Request, Response
from mdap.journal.sqlite import SqliteJournal
from mdap.planned import conducting
from tests.planned_support import ROLES, Essay, Speaker, decided

TOPICS = ("a", "b", "c")
Asked = tuple[int, int, int]


class Noted(Speaker):
    """A speaker that notes each draw in a file before it answers, so that a kill loses no note."""

    def __init__(self, notes: Path, wait: float) -> None:
        super().__init__()
        self.notes, self.wait = notes, wait

    async def complete(self, request: Request) -> Response:
        draw = request.draw
        with self.notes.open("a") as notes:
            notes.write(f"{draw.item} {draw.step} {draw.slot}\n")
        if self.wait:
            await asyncio.sleep(self.wait)
        return await super().complete(request)


def asked(notes: Path) -> list[Asked]:
    """The draws that were noted, without a last line that a kill cut short."""
    lines = notes.read_text().split("\n")[:-1] if notes.exists() else []
    return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in lines)]


async def live(path: Path, notes: Path, wait: float, on_point: Any) -> list[Any]:
    """A first branch, then three that rest on it at the same time: begun, or gone on with."""
    journal = SqliteJournal(path, on_point=on_point)
    heads = journal.heads()
    run = heads[0].id if heads else None
    try:
        async with conducting("essays", Noted(notes, wait), roles=ROLES, journal=journal, run=run) as conduct:
            first = await conduct.branch(0, Essay("first", 1))
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(conduct.branch(n, Essay(topic + first["text"][0])))
                    for n, topic in enumerate(TOPICS, 1)
                ]
            return [task.result() for task in tasks]
    finally:
        journal.close()


def one_life(path: Path, notes: Path, kill: Callable[[int], None], wait: float = 0.0, on_point: Any = None) -> bool:
    """Live in a child process until `kill` ends it; return whether it came to the end of the run."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if len(asyncio.run(live(path, notes, wait, on_point))) == 3 else 3
        finally:
            os._exit(code)
    kill(child)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code == 0


def durable(path: Path) -> list[tuple[Any, ...]]:
    """What the file holds as decided, by (item, step)."""
    if not path.exists():
        return []
    journal = SqliteJournal(path)
    try:
        heads = journal.heads()
        return decided(journal, heads[0].id) if heads else []
    finally:
        journal.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[Any, ...]], Counter[Asked]]:
    """The decisions and the draws of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert one_life(folder / "runs.db", folder / "notes", lambda child: None)
    draws = asked(folder / "notes")
    assert len(draws) == len(set(draws)), "an undisturbed run asks nothing twice"
    return durable(folder / "runs.db"), Counter(draws)


def check_equal(path: Path, notes: Path, lives: list[tuple[int, set[tuple[int, int]]]], whole: Any) -> None:
    """Check a finished run: same decisions, no durable step asked again, no draw that an undisturbed run does not ask.

    `lives` holds, for each life, how many notes there were and which steps were durable at its end.
    """
    expected, once = whole
    assert durable(path) == expected
    draws = asked(notes)
    begin, kept = 0, set[tuple[int, int]]()
    for end, steps in lives:
        repeated = [draw for draw in draws[begin:end] if draw[:2] in kept]
        assert not repeated, f"durable, and asked again: {repeated[:3]}"
        begin, kept = end, steps
    assert set(draws) == set(once)


def ended(path: Path, notes: Path) -> tuple[int, set[tuple[int, int]]]:
    return len(asked(notes)), {(item, step) for item, step, *_ in durable(path)}


@pytest.mark.parametrize("point", ["before-commit", "inside-commit", "after-commit"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_run_of_branches_killed_at_a_named_point_ends_as_if_it_never_was(
    point: str, nth: int, tmp_path: Path, whole: Any
) -> None:
    path, notes = tmp_path / "runs.db", tmp_path / "notes"
    seen = Counter[str]()

    def _die(name: str) -> None:
        seen[name] += 1
        if name == point and seen[name] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    assert not one_life(path, notes, lambda child: None, wait=0.006, on_point=_die), f"it never comes to {point} {nth}"
    lives = [ended(path, notes)]
    assert one_life(path, notes, lambda child: None)
    check_equal(path, notes, [*lives, ended(path, notes)], whole)


def test_a_run_of_branches_killed_at_random_moments_ends_as_if_it_never_was(tmp_path: Path, whole: Any) -> None:
    chance = random.Random(3)
    kills = 0
    for number in range(4):
        path, notes = tmp_path / f"{number}.db", tmp_path / f"{number}.notes"
        lives = list[tuple[int, set[tuple[int, int]]]]()
        is_done = False
        while not is_done:
            moment = chance.uniform(0.02, 0.12)

            def _kill(child: int, moment: float = moment) -> None:
                time.sleep(moment)
                os.kill(child, signal.SIGKILL)

            patient = len(lives) < 8
            is_done = one_life(path, notes, _kill if patient else lambda child: None, wait=0.004)
            kills += not is_done
            lives.append(ended(path, notes))
        check_equal(path, notes, lives, whole)
    assert kills > 4


def test_a_kill_counts_what_was_leased_and_the_budget_still_holds_for_all_roles(tmp_path: Path) -> None:
    path, notes = tmp_path / "runs.db", tmp_path / "notes"
    budget = 60

    async def _limited(run: str | None, on_point: Any = None) -> None:
        journal = SqliteJournal(path, on_point=on_point)
        ways: dict[str, Any] = {"roles": ROLES, "journal": journal, "run": run}
        if run is None:
            ways["budget_calls"] = budget
        try:
            async with conducting("essays", Noted(notes, 0.001), **ways) as conduct, asyncio.TaskGroup() as group:
                for number in range(10):
                    group.create_task(conduct.branch(number, Essay(f"t{number}")))
        finally:
            journal.close()

    def _die(name: str) -> None:
        if name == "after-commit" and len(asked(notes)) > 20:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_limited(None, _die))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    before = asked(notes)
    journal = SqliteJournal(path)
    run = journal.heads()[0].id
    assert journal.history(run).book.spent.calls >= len(before) > 20
    journal.close()
    with pytest.raises(BudgetReached):
        asyncio.run(_limited(run))
    assert len(asked(notes)) <= budget
