"""The journal in a file: the contract of every journal, and what only a file has: other processes, sizes, speed."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given

from mdap.core.errors import JournalError, RunBusy
from mdap.core.history import Decided, Entry, Snapshot
from mdap.core.records import Totals
from mdap.journal import open_journal
from mdap.journal.sqlite import SqliteJournal
from mdap.journal.writer import GATHER, LINGER
from mdap.protocols import Journal
from tests.journal.contract import JournalContract, any_run, check
from tests.journal.driver import entries_in
from tests.journal.story import first, fold, head, samples

ROOT = Path(__file__).parents[2]


class TestSqlite(JournalContract):
    @contextmanager
    def opened(self) -> Iterator[Journal]:
        with tempfile.TemporaryDirectory() as folder, closing(SqliteJournal(Path(folder) / "runs.db")) as journal:
            yield journal

    @contextmanager
    def reopened(self, journal: Journal) -> Iterator[Journal]:
        assert isinstance(journal, SqliteJournal)
        with closing(SqliteJournal(journal.path)) as again:
            yield again

    @given(any_run)
    def test_what_is_read_back_is_what_was_written(self, written: list[Entry]) -> None:
        self.reads_back(written)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "runs.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(path)) as journal:
        journal.create(head("r1"))
        yield journal


@contextmanager
def driver(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process of `tests.journal.driver`, ended with the context."""
    command = [sys.executable, "-m", "tests.journal.driver", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


# What is there, and when.


def test_a_path_opens_a_journal_in_that_file(path: Path) -> None:
    with closing(open_journal(str(path))) as journal:
        journal.create(head("r1"))
    assert path.exists()


def test_reading_a_journal_that_does_not_exist_makes_no_file(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        assert journal.heads() == []
        with pytest.raises(JournalError, match="holds no runs yet"):
            journal.history("r1")
    assert not path.parent.exists()


def test_closing_leaves_one_file_and_no_log_and_no_lock(journal: SqliteJournal) -> None:
    with journal.claim("r1"):
        for entry in first(100):
            journal.append("r1", entry)
        assert len(list(journal.path.parent.iterdir())) == 4  # the file, its log, the log's index, the run's lock
    journal.close()
    assert list(journal.path.parent.iterdir()) == [journal.path]


def test_what_a_closed_journal_holds_is_there_when_it_is_opened_again(journal: SqliteJournal) -> None:
    for entry in first(500):
        journal.append("r1", entry)
    journal.close()
    with closing(SqliteJournal(journal.path)) as again:
        check(again, "r1", first(500))


def test_the_file_tells_how_many_entries_it_holds(journal: SqliteJournal) -> None:
    for entry in first(77):
        journal.append("r1", entry)
    journal.close()
    assert entries_in(journal.path, "r1") == 77


# Group commit.


def counted(path: Path) -> tuple[SqliteJournal, list[str]]:
    points: list[str] = []
    journal = SqliteJournal(path, on_point=points.append)
    journal.create(head("r1"))
    return journal, points


async def test_entries_that_nobody_waits_for_share_commits(path: Path) -> None:
    journal, points = counted(path)
    began = time.perf_counter()
    tickets = [journal.append("r1", Decided(step, 1, (3,))) for step in range(2000)]
    await journal.wait_durable(tickets[-1])
    took = time.perf_counter() - began
    journal.close()
    # What lingers is written however little it is: on a busy machine that happens now and then.
    assert 1 <= points.count("after-commit") <= 2000 / GATHER + took / LINGER


async def test_who_waits_is_served_at_once(path: Path) -> None:
    journal, points = counted(path)
    for step in range(50):
        await journal.wait_durable(journal.append("r1", Decided(step, 1, (3,))))
    assert points.count("after-commit") == 50
    journal.close()


def test_an_entry_becomes_durable_though_nobody_waits_for_it(journal: SqliteJournal) -> None:
    ticket = journal.append("r1", Decided(0, 1, (3,)))
    give_up = time.monotonic() + 60
    while journal.durable < ticket:
        assert time.monotonic() < give_up
        time.sleep(0.001)
    with closing(SqliteJournal(journal.path)) as other:
        assert other.history("r1").book.steps == 1


def test_the_points_of_a_commit_are_passed_in_order(path: Path) -> None:
    journal, points = counted(path)
    journal.append("r1", Snapshot(0, None))
    journal.close()
    assert points == ["before-commit", "snapshot", "inside-commit", "after-commit", "checkpoint"]


def test_the_log_is_moved_into_the_file_while_the_run_goes_on(path: Path) -> None:
    journal, points = counted(path)
    log = Path(f"{path}-wal")
    for step in range(5_000):
        journal.append("r1", Decided(step, "x" * 2000, (3,)))
        if step % 100 == 0:
            assert journal.book("r1").steps == step + 1
    assert points.count("checkpoint") >= 2
    assert log.stat().st_size < 10e6
    journal.close()


async def test_append_returns_while_another_program_holds_the_file(journal: SqliteJournal) -> None:
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.perf_counter()
        tickets = [journal.append("r1", entry) for entry in first(200)]
        assert time.perf_counter() - began < 10  # one that waited for the file would give up after 30
        await asyncio.sleep(0.05)
        assert journal.durable == 0
        other.execute("ROLLBACK")
    await journal.wait_durable(tickets[-1])
    check(journal, "r1", first(200))


async def test_a_waiter_that_gave_up_keeps_nobody_else_waiting(journal: SqliteJournal) -> None:
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ticket = journal.append("r1", Decided(0, 1, (3,)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.wait_durable(ticket), 0.02)
        waiting = asyncio.ensure_future(journal.wait_durable(ticket))
        other.execute("ROLLBACK")
    await waiting
    assert journal.durable >= ticket


def test_a_waiter_whose_event_loop_has_closed_keeps_nobody_else_waiting(journal: SqliteJournal) -> None:
    async def leave(ticket: int) -> None:
        asyncio.get_running_loop().call_later(0.02, asyncio.get_running_loop().stop)
        await journal.wait_durable(ticket)

    loop = asyncio.new_event_loop()
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ticket = journal.append("r1", Decided(0, 1, (3,)))
        task = loop.create_task(leave(ticket))
        loop.run_forever()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
        other.execute("ROLLBACK")
    asyncio.run(journal.wait_durable(journal.append("r1", Decided(1, 1, (3,)))))


def test_a_run_is_created_while_another_one_is_written(journal: SqliteJournal) -> None:
    def write() -> None:
        for entry in first(3000):
            journal.append("r1", entry)

    thread = threading.Thread(target=write)
    thread.start()
    for number in range(20):
        journal.create(head(f"n{number}"))
    thread.join()
    assert len(journal.heads()) == 21
    assert journal.history("r1").book == fold(first(3000))


# Other processes.


def test_a_second_process_is_told_which_one_drives_the_run(path: Path) -> None:
    with driver(str(path), "r1", "--entries", "20", "--hold") as process:
        assert line(process) == "r1 0\n"
        with closing(SqliteJournal(path)) as journal:
            with (
                pytest.raises(RunBusy, match=rf"driven by process {process.pid} on .*mdap resume r1"),
                journal.claim("r1"),
            ):
                pytest.fail("two drivers")
            with pytest.raises(RunBusy, match=str(process.pid)):
                journal.append("r1", Decided(0, 1, (3,)))


def test_a_process_that_was_killed_leaves_its_run_free(path: Path) -> None:
    with driver(str(path), "r1", "--entries", "20", "--every", "1", "--hold") as process:
        while line(process) != "r1 20\n":
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with closing(SqliteJournal(path)) as journal, journal.claim("r1"):
            check(journal, "r1", first(20))


def test_a_run_is_driven_until_its_process_ends_however_it_ends(path: Path) -> None:
    with driver(str(path), "r1", "--entries", "20", "--hold") as process:
        assert line(process) == "r1 0\n"
        with closing(SqliteJournal(path)) as journal:
            assert journal.is_driven("r1")
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert list(path.parent.glob("*.lock"))
            assert not journal.is_driven("r1")


def test_asking_whether_a_run_is_driven_never_keeps_a_driver_from_it(journal: SqliteJournal) -> None:
    over = threading.Event()

    def ask() -> None:
        with closing(SqliteJournal(journal.path)) as other:
            while not over.is_set():
                other.is_driven("r1")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(100):
            with journal.claim("r1"):
                assert journal.is_driven("r1")
    finally:
        over.set()
        thread.join()


def test_appending_without_a_claim_holds_the_run_until_the_journal_is_closed(journal: SqliteJournal) -> None:
    journal.append("r1", Decided(0, 1, (3,)))
    with closing(SqliteJournal(journal.path)) as other:
        with pytest.raises(RunBusy, match=str(os.getpid())), other.claim("r1"):
            pytest.fail("two drivers")
        journal.close()
        with other.claim("r1"):
            other.append("r1", Decided(1, 1, (3,)))
            assert other.history("r1").book.steps == 2


def test_a_claim_begins_where_the_last_driver_ended(journal: SqliteJournal) -> None:
    story = first(60)
    with closing(SqliteJournal(journal.path)) as other:
        for number, entry in enumerate(story):
            driving = (journal, other)[number % 2]
            with driving.claim("r1"):
                driving.append("r1", entry)
        check(journal, "r1", story)


def test_a_claim_that_is_tried_by_many_threads_is_given_to_one_at_a_time(journal: SqliteJournal) -> None:
    steps: list[int] = []

    def race() -> None:
        with closing(SqliteJournal(journal.path)) as mine:
            for _ in range(20):
                try:
                    with mine.claim("r1"):
                        step = mine.history("r1").book.steps
                        mine.append("r1", Decided(step, 1, (3,)))
                        steps.append(step)
                except RunBusy:
                    time.sleep(0.001)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps == list(range(len(steps)))
    assert journal.history("r1").book.steps == len(steps) > 0


@pytest.mark.slow
def test_two_processes_drive_their_runs_in_one_file_and_a_third_reads(path: Path) -> None:
    with driver(str(path), "a1", "a2", "--entries", "900") as one, driver(str(path), "b1", "--entries", "900") as two:
        line(one)
        line(two)
        with closing(SqliteJournal(path)) as reader:
            looks = 0
            while one.poll() is None or two.poll() is None:
                looks += 1
                for found in reader.heads():
                    history = reader.history(found.id)
                    assert history.book.steps == history.snapshot.step + len(history.tail)
            one.communicate()
            two.communicate()
            assert looks > 1
            assert (one.returncode, two.returncode) == (0, 0)
            for run in ("a1", "a2", "b1"):
                check(reader, run, first(900))


def test_processes_that_make_the_file_at_the_same_time_agree_on_it(path: Path) -> None:
    path.parent.mkdir(parents=True)
    gate = threading.Barrier(8)

    def make(number: int) -> None:
        gate.wait()
        with closing(SqliteJournal(path)) as journal:
            journal.create(head(f"r{number}"))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(SqliteJournal(path)) as journal:
        assert len(journal.heads()) == 8


def test_a_half_read_run_keeps_nobody_from_emptying_the_log(journal: SqliteJournal) -> None:
    for step in range(5000):
        journal.append("r1", Decided(step, 1, (3,)))
    reading = journal.decisions("r1")
    next(reading)
    with closing(sqlite3.connect(journal.path, timeout=0)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert sum(1 for _ in reading) == 4999


# Sizes and speed: `decisions of a long run` are those of Hanoi with the paper's parser, about 1% contested.


async def fill(journal: SqliteJournal, run: str, steps: int) -> None:
    state = [list(range(20, 0, -1)), [], []]
    took = Totals(3, 3, 900, 60)
    with journal.claim(run):
        window: list[int] = []
        for step in range(steps):
            if step % 1024 == 0:
                journal.append(run, Snapshot(step, state))
            if step % 100 == 99:
                entry = Decided(step, [step % 20, 0, 2], (4, 1), totals=took, samples=samples(step, 5))
            else:
                entry = Decided(step, [step % 20, 0, 2], (3,), totals=took)
            window.append(journal.append(run, entry))
            if len(window) == 64:
                await journal.wait_durable(window[0])
                window = [ticket for ticket in window if ticket > journal.durable]
        await journal.wait_durable(journal.append(run, Snapshot(steps, state)))


async def test_a_step_takes_at_most_64_bytes_with_snapshots_and_contested_samples(journal: SqliteJournal) -> None:
    await fill(journal, "r1", 20_000)
    journal.close()
    assert journal.path.stat().st_size <= 64 * 20_000


@pytest.mark.slow
async def test_64_runs_that_go_on_together_take_no_more_room_than_one_after_another(journal: SqliteJournal) -> None:
    for run in range(64):
        journal.create(head(f"n{run}"))
    async with asyncio.TaskGroup() as group:
        for run in range(64):
            group.create_task(fill(journal, f"n{run}", 500))
    journal.close()
    assert journal.path.stat().st_size <= 64 * 64 * 500
