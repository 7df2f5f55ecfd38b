"""What goes wrong with a file: each is one clear error with a remedy, and nothing that was durable is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mdap.core.errors import JournalError
from mdap.core.history import Decided, Leased, Spend
from mdap.journal.sqlite import SqliteJournal
from tests.journal.contract import check
from tests.journal.driver import entries_in
from tests.journal.story import first, head

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def written(path: Path) -> Path:
    """A closed journal with 300 entries of r1."""
    with closing(SqliteJournal(path)) as journal:
        journal.create(head("r1"))
        for entry in first(300):
            journal.append("r1", entry)
    return path


def refused(path: Path) -> str:
    """The one error that opening the file gives; it names the file, and has a remedy."""
    with pytest.raises(JournalError) as caught:
        SqliteJournal(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
    return str(caught.value)


# Files that are no journal of ours.


@pytest.mark.parametrize("content", [b"not a database at all", b"\0" * 5000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "is not a journal" in refused(path)
    assert path.read_bytes() == content


def test_an_sqlite_file_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE runs (id TEXT)")
    before = path.read_bytes()
    assert "another program" in refused(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    with closing(SqliteJournal(path)) as journal:
        journal.create(head("r1"))
        assert journal.head("r1").id == "r1"


def test_a_file_of_a_newer_mdap_is_refused_with_both_versions_named(written: Path) -> None:
    with closing(sqlite3.connect(written)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
        file.execute("PRAGMA user_version=2")
    assert "format 2, but this mdap reads up to 1. upgrade mdap" in refused(written)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


def test_a_parent_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "runs.db"
    with closing(SqliteJournal(path)) as journal, pytest.raises(JournalError, match="cannot be made"):
        journal.create(head("r1"))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_torn_file_is_an_error_and_never_a_shorter_run(written: Path, share: float) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[: int(len(whole) * share)])
    wanted = r"is not a journal|is damaged|damaged record"
    with pytest.raises(JournalError, match=wanted), closing(SqliteJournal(written)) as journal:
        check(journal, "r1", first(300))


def test_a_record_that_another_program_changed_is_an_error(written: Path) -> None:
    with closing(sqlite3.connect(written)) as file, file:
        file.execute("UPDATE decisions SET action = '[1, 2' WHERE step = 100")
    with closing(SqliteJournal(written)) as journal:
        with pytest.raises(JournalError, match="damaged record"):
            list(journal.decisions("r1"))
        assert [entry.step for entry in journal.decisions("r1", 101)]


# A log that was torn by a power cut.


@pytest.fixture
def unfinished(path: Path, tmp_path: Path) -> Path:
    """A copy of a journal whose 40 commits, of 5 entries each, are all still in the log."""

    async def write(journal: SqliteJournal) -> None:
        for number, entry in enumerate(first(200), 1):
            ticket = journal.append("r1", entry)
            if number % 5 == 0:
                await journal.wait_durable(ticket)

    folder = tmp_path / "copy"
    folder.mkdir()
    with closing(SqliteJournal(path)) as journal:
        journal.create(head("r1"))
        asyncio.run(write(journal))
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", folder / f"runs.db{end}")
    return folder / "runs.db"


@pytest.mark.slow
def test_a_log_that_is_torn_anywhere_leaves_whole_commits_and_no_gap(unfinished: Path, tmp_path: Path) -> None:
    log = Path(f"{unfinished}-wal").read_bytes()
    found = []
    for number in range(60):
        torn = tmp_path / f"torn{number}.db"
        shutil.copy(unfinished, torn)
        Path(f"{torn}-wal").write_bytes(log[: len(log) * number // 59])
        with closing(SqliteJournal(torn)) as journal:
            if journal.heads():
                count = entries_in(torn, "r1")
                assert count % 5 == 0
                check(journal, "r1", first(count))
                found.append(count)
    assert found == sorted(found)
    assert len(set(found)) > 10
    assert found[-1] == 200


def test_a_log_with_a_flipped_bit_ends_before_that_commit(unfinished: Path) -> None:
    log = Path(f"{unfinished}-wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with closing(SqliteJournal(unfinished)) as journal:
        count = entries_in(unfinished, "r1")
        assert 0 < count < 200
        check(journal, "r1", first(count))


# Writes that fail.


async def lose(journal: SqliteJournal, ticket: int, match: str) -> None:
    """Assert that this ticket and whatever comes after it is refused, and that nothing claims to be durable."""
    before = journal.durable
    for _ in range(2):
        with pytest.raises(JournalError, match=match):
            await journal.wait_durable(ticket)
        with pytest.raises(JournalError, match=match):
            journal.append("r1", Leased(Spend()))
    assert journal.durable == before < ticket


async def test_a_file_that_stays_locked_fails_the_waiters_and_loses_nothing(written: Path) -> None:
    story = first(400)
    with closing(SqliteJournal(written, timeout=0.1)) as journal:
        with closing(sqlite3.connect(written, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            tickets = [journal.append("r1", entry) for entry in story[300:]]
            await lose(journal, tickets[0], "stayed locked by another program")
        check(journal, "r1", story[:300])
    with closing(SqliteJournal(written)) as again:
        for entry in story[300:]:
            again.append("r1", entry)
        check(again, "r1", story)


def test_a_loss_that_nobody_was_told_of_is_told_when_the_journal_is_closed(written: Path) -> None:
    with closing(sqlite3.connect(written, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal = SqliteJournal(written, timeout=0.1)
        for entry in first(301)[300:]:
            journal.append("r1", entry)
        with pytest.raises(JournalError, match="stayed locked"):
            journal.close()
        journal.close()


async def test_steps_that_another_program_wrote_are_never_overwritten(written: Path) -> None:
    with closing(SqliteJournal(written)) as journal:
        steps = journal.history("r1").book.steps
        with journal.claim("r1"):
            with closing(sqlite3.connect(written)) as file, file:
                file.execute("INSERT INTO decisions VALUES (1, ?, '\"theirs\"', 3, NULL, NULL)", (steps,))
            ticket = journal.append("r1", Decided(steps, "ours", (3,)))
            await lose(journal, ticket, "already holds")
        assert [entry.action for entry in journal.decisions("r1", steps)] == ["theirs"]


FILL = """
import asyncio, sys
from pathlib import Path
from mdap.core.errors import JournalError
from mdap.journal.sqlite import SqliteJournal
from tests.journal.contract import check
from tests.journal.driver import entries_in
from tests.journal.story import first, head
{limit}
async def fill(journal):
    confirmed = 0
    for number, entry in enumerate(first(60_000), 1):
        ticket = journal.append("r1", entry)
        if number % 50 == 0:
            await journal.wait_durable(ticket)
            confirmed = number
            print(confirmed, flush=True)

path = Path(sys.argv[1])
journal = SqliteJournal(path)
journal.create(head("r1"))
try:
    asyncio.run(fill(journal))
except JournalError as error:
    print(error, flush=True)
    try:
        journal.append("r1", first(1)[0])
    except JournalError as again:
        print("again:", again, flush=True)
journal.close()
{after}
"""
SMALL_DISK = (
    'import subprocess; subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "t", sys.argv[2]], check=True)'
)
SMALL_FILE = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, -1))"
COPY_OUT = "import shutil; [shutil.copy(file, sys.argv[3]) for file in path.parent.iterdir()]"


def fill(limit: str, path: Path, *words: str, own_mounts: bool = False, after: str = "") -> list[str]:
    """Run `FILL` in a process of its own and return its lines."""
    command = [*(["unshare", "--mount"] if own_mounts else []), sys.executable, "-c"]
    text = FILL.format(limit=limit, after=after)
    done = subprocess.run([*command, text, str(path), *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def can_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "t", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def goes_on(path: Path, confirmed: int) -> None:
    """Assert that the journal holds what was confirmed and takes more."""
    count = entries_in(path, "r1")
    assert 0 < confirmed <= count
    with closing(SqliteJournal(path)) as journal:
        check(journal, "r1", first(count))
        for entry in first(count + 100)[count:]:
            journal.append("r1", entry)
        check(journal, "r1", first(count + 100))


@pytest.mark.slow
def test_a_full_disk_is_said_and_keeps_what_was_durable(tmp_path: Path) -> None:
    small, saved = tmp_path / "small", tmp_path / "saved"
    small.mkdir()
    saved.mkdir()
    if not can_mount(small):
        pytest.skip("a small disk can only be mounted by root; the next test limits the file instead")
    *numbers, error, again = fill(
        SMALL_DISK, small / "runs.db", str(small), str(saved), own_mounts=True, after=COPY_OUT
    )
    assert "cannot grow: the disk is full" in error
    assert "mdap resume" in error
    assert again == f"again: {error}"
    goes_on(saved / "runs.db", int(numbers[-1]))


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_said_and_keeps_what_was_durable(path: Path) -> None:
    *numbers, error, again = fill(SMALL_FILE, path)
    assert "could not be read or written by the system" in error or "disk is full" in error
    assert again == f"again: {error}"
    goes_on(path, int(numbers[-1]))


# Folders and files that may not be written, seen by somebody who is not root.


def as_nobody(action: Callable[[], object]) -> str:
    """What `action` raises when the process has no rights of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        message = "nothing was raised"
        if os.getuid() == 0:
            os.setuid(NOBODY)
        try:
            action()
        except JournalError as error:
            message = str(error)
        finally:
            os.write(writing, message.encode())
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


@pytest.fixture
def open_to_all(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody can look into, of which only the owner can be forbidden to write."""
    base = Path(tempfile.gettempdir())
    for folder in (tmp_path, *(f for f in tmp_path.parents if f != base and f.is_relative_to(base))):
        folder.chmod(0o755)
    yield tmp_path
    tmp_path.chmod(0o755)


def make(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.create(head("new"))


def test_a_read_only_folder_is_said(open_to_all: Path) -> None:
    open_to_all.chmod(0o555)
    assert "cannot be opened" in as_nobody(lambda: make(open_to_all / "runs.db"))
    assert "cannot be made: Permission denied" in as_nobody(lambda: make(open_to_all / "deeper" / "runs.db"))


def test_a_read_only_file_is_said_and_left_as_it_is(written: Path, open_to_all: Path) -> None:
    before = written.read_bytes()
    written.chmod(0o444)
    open_to_all.chmod(0o555)
    assert "read-only" in as_nobody(lambda: make(written)) or "cannot be opened" in as_nobody(lambda: make(written))
    written.chmod(0o644)
    open_to_all.chmod(0o755)
    assert written.read_bytes() == before
    with closing(SqliteJournal(written)) as journal:
        check(journal, "r1", first(300))


def test_a_file_that_may_not_be_read_is_said(written: Path, open_to_all: Path) -> None:
    written.chmod(0o000)
    assert "cannot be opened" in as_nobody(lambda: make(written))
