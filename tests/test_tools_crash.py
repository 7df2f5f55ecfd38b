"""A process that is killed before, inside or after what a tool does: it is never done twice unless a person says so."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.inbox import resolve, waiting
from mdap.journal.sqlite import SqliteJournal
from mdap.tools import SIDE_EFFECTS, Toolbox
from tests.tool_support import Clerk, Ledger, Order


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Ledger):
    """A ledger that is killed at a point of its first payment."""

    def __init__(self, path: Path, point: str) -> None:
        super().__init__(path)
        self.point = point

    def pay(self, amount: int, idempotency_key: str) -> str:
        """Pay an amount."""
        if self.point == "before":
            kill()
        if self.point == "inside":
            with self.path.open("a") as file:
                file.write(f"half {idempotency_key}\n")
            kill()
        said = super().pay(amount, idempotency_key)
        if self.point == "after":
            kill()
        return said


async def live(journal: SqliteJournal, ledger: Ledger) -> mdap.Result:
    heads = journal.heads()
    tools = Toolbox([ledger.pay], allow=SIDE_EFFECTS)
    model: Any = Clerk("pay", amount=3)
    try:
        if heads:
            return await mdap.aio.resume(heads[0].id, journal=journal, task=Order(), model=model, tools=tools)
        return await mdap.aio.run(Order(), model, journal=journal, k=2, tools=tools)
    finally:
        journal.close()


def one_life(path: Path, ledger: Ledger, on_point: Callable[[str], None] | None = None) -> int:
    """Live in a child process; return 0 for done, 3 for undecided, or the signal that ended it, negative."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            result = asyncio.run(live(SqliteJournal(path, on_point=on_point), ledger))
            code = {"done": 0, "undecided": 3}.get(result.status, 1)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def said(path: Path, **words: Any) -> None:
    """What a person says of the one call that waits."""
    journal = SqliteJournal(path)
    try:
        (found,) = waiting(journal)
        assert found.call == 'pay {"amount":3}'
        resolve(journal, found.run, found.step, by="Ann", **words)
    finally:
        journal.close()


@pytest.mark.parametrize("point", ["before", "inside", "after"])
@pytest.mark.parametrize("way", ["retry", "outcome"])
def test_a_kill_around_the_effect_is_asked_about_and_never_repeated_silently(
    tmp_path: Path, point: str, way: str
) -> None:
    path, ledger = tmp_path / "runs.db", Ledger(tmp_path / "paid")
    assert one_life(path, Deadly(ledger.path, point)) == -signal.SIGKILL
    done = {"before": 0, "inside": 1, "after": 1}[point]
    for _ in range(3):
        assert one_life(path, ledger) == 3
        assert len(ledger.paid) == done
    said(path, **({"retry": True} if way == "retry" else {"outcome": "paid 3"}))
    assert len(ledger.paid) == done
    assert one_life(path, ledger) == 0
    # The second step pays once; the first one again only where a person has said so.
    made = done + 1 if way == "retry" else done
    assert len(ledger.paid) == made + 1
    keys = [line.rpartition(" ")[2] for line in ledger.paid]
    # What is repeated has the same key, by which the tool itself can know it again.
    assert len(set(keys)) == len(keys) - (point != "before" and way == "retry")


def test_a_kill_at_any_commit_pays_at_most_once_a_step_and_asks_where_nobody_can_know(tmp_path: Path) -> None:
    asked, paid = 0, 0
    for point in ("before-commit", "inside-commit", "after-commit"):
        for number in range(1, 9):
            path, ledger = tmp_path / f"{point}{number}.db", Ledger(tmp_path / f"{point}{number}.paid")
            left = [number]

            def _on_point(name: str, point: str = point, left: list[int] = left) -> None:
                left[0] -= name == point
                if not left[0]:
                    kill()

            if one_life(path, ledger, _on_point) == 0:
                assert len(ledger.paid) == 2
                continue
            code = one_life(path, ledger)
            if code == 3:
                asked += 1
                said(path, outcome="paid 3")
                code = one_life(path, ledger)
            assert code == 0
            assert len(ledger.paid) <= 2
            assert len(set(ledger.paid)) == len(ledger.paid)
            paid += len(ledger.paid)
    assert asked > 0
    assert paid > 10
