"""What a rule has learned is in the journal: a run taken up again goes on with it, and need not read all that was."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.history import Decided, Learned, Snapshot
from mdap.core.rules import Posterior
from mdap.core.rules.prior import Prior
from mdap.engine.ruling import Ruling
from mdap.engine.taskview import TaskView
from mdap.journal.sqlite import SqliteJournal
from tests.engine.support import Chancy, Pairs, Watched

STEPS = 4000
RULE = "posterior:0.5,steps=100"


def model() -> Any:
    return Chancy(p=0.96)


async def begun(journal: Any = None) -> mdap.Result:
    return await mdap.aio.run(Pairs(STEPS), model(), rule=RULE, journal=journal, record="none")


def exported(result: mdap.Result) -> bytes:
    return b"\n".join(msgspec.json.encode(line) for line in result.export())


@cache
def whole() -> tuple[bytes, Watched]:
    """The export of a run that nobody disturbed, and all that it journaled."""
    journal = Watched()
    result = run_virtual(begun(journal))
    assert (result.status, result.steps) == ("done", STEPS)
    return exported(result), journal


class Counting(Watched):
    """A journal that counts the decisions that are read from it one by one."""

    read = 0

    def decisions(self, run: str, start: int = 0) -> Iterator[Decided]:
        for entry in super().decisions(run, start):
            self.read += 1
            yield entry


def test_it_is_written_with_each_snapshot_and_holds_the_decisions_before_it() -> None:
    entries = whole()[1].entries
    learned = {place: entry for place, entry in enumerate(entries) if isinstance(entry, Learned)}
    assert [entry.step for entry in learned.values()] == [1024, 2048, 3072]
    for place, entry in learned.items():
        assert isinstance(entries[place - 1], Snapshot)
        assert msgspec.convert(entry.prior, Prior).steps == entry.step


# Right before and after what was learned is written at step 1,024, before and after a refresh, and at the end.
@pytest.mark.parametrize("entries", [1, 1027, 1028, 3003, STEPS])
def test_a_run_that_was_killed_decides_as_if_it_had_never_been(entries: int) -> None:
    journal = whole()[1].killed_after(entries)
    run = journal.heads()[0].id
    resumed = run_virtual(mdap.aio.resume(run, journal=journal, task=Pairs(STEPS), model=model()))
    assert exported(resumed) == whole()[0]


def taken_up(journal: Any, *, learned: bool = True) -> Prior:
    """What the rule of a stopped run knows when the run is taken up."""
    run = journal.heads()[0].id
    history = journal.history(run)
    if not learned:
        history.learned = None
    prior: Prior = Ruling(Posterior(0.5, 100), None, history, lambda start: journal.decisions(run, start)).prior
    return prior


@pytest.mark.parametrize("entries", [500, 1026, 1027, 1028, 1800, 2060, 3002, 3003, 3077, 4000])
def test_a_resume_knows_the_same_whether_it_reads_what_was_learned_or_all_decisions(entries: int) -> None:
    journal = Counting(whole()[1].killed_after(entries))
    stored = msgspec.json.encode(taken_up(journal))
    assert journal.read <= min(entries, 1024)
    assert stored == msgspec.json.encode(taken_up(journal, learned=False))


def test_what_was_learned_wrongly_would_show() -> None:
    # The twin: were the stored prior not used, or another one, the run would not notice; so it is spoiled here.
    journal = whole()[1].killed_after(1400)
    run = journal.heads()[0].id
    spoiled = Prior(steps=1024)
    for _ in range(1024):
        spoiled.learn("", (40, 30))
    journal.append(run, Learned(1024, msgspec.structs.replace(spoiled, steps=1024)))
    resumed = run_virtual(mdap.aio.resume(run, journal=journal, task=Pairs(STEPS), model=model()))
    assert exported(resumed) != whole()[0]


def test_what_another_rule_had_learned_is_not_taken_over() -> None:
    journal = whole()[1].killed_after(1400)
    run = journal.heads()[0].id
    other = mdap.aio.resume(
        run,
        journal=journal,
        task=Pairs(STEPS),
        model=model(),
        rule="posterior:0.5,steps=100,memory=500",
        accept_changes=True,
    )
    first = run_virtual(other)
    assert first.status == "done"
    history = journal.history(run)
    ruling = Ruling(Posterior(0.5, 100, memory=500), None, history, lambda at: journal.decisions(run, at))
    assert ruling.prior.memory == 500


def one_life(path: Path, wait: float) -> bool:
    """Live in a child process that is killed after so many seconds; return whether it came to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal = SqliteJournal(path)
            heads = journal.heads()
            work = (
                mdap.aio.resume(heads[0].id, journal=journal, task=Pairs(STEPS), model=model())
                if heads
                else begun(journal)
            )
            code = 0 if asyncio.run(work).status == "done" else 3
            journal.close()
        finally:
            os._exit(code)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code == 0


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_decides_as_if_it_had_never_been(tmp_path: Path) -> None:
    chance, path, lives = random.Random(3), tmp_path / "runs.db", 1
    while not one_life(path, chance.uniform(0.05, 0.25) * (1 + lives / 10)):
        lives += 1
    assert lives >= 3
    journal = SqliteJournal(path)
    try:
        view = mdap.Result(journal, journal.heads()[0].id, TaskView(Pairs(STEPS)))
        assert exported(view) == whole()[0]
    finally:
        journal.close()
