"""The journal in memory keeps the contract of every journal, and nothing when the process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given

from mdap.core.history import Decided, Entry
from mdap.journal import open_journal
from mdap.journal.memory import MemoryJournal
from mdap.protocols import Journal
from tests.journal.contract import JournalContract, any_run
from tests.journal.story import head


class TestMemory(JournalContract):
    @contextmanager
    def opened(self) -> Iterator[Journal]:
        journal = MemoryJournal()
        yield journal
        journal.close()

    @contextmanager
    def reopened(self, journal: Journal) -> Iterator[Journal]:
        yield journal

    @given(any_run)
    def test_what_is_read_back_is_what_was_written(self, written: list[Entry]) -> None:
        self.reads_back(written)


def test_without_a_path_the_journal_is_in_memory() -> None:
    assert isinstance(open_journal(None), MemoryJournal)


def test_what_is_appended_is_durable_at_once() -> None:
    journal = MemoryJournal()
    journal.create(head("r1"))
    assert journal.append("r1", Decided(0, 1, (3,))) == journal.durable == 1


def test_it_can_still_be_read_when_closed() -> None:
    journal = MemoryJournal()
    journal.create(head("r1"))
    journal.append("r1", Decided(0, 1, (3,)))
    journal.close()
    assert [entry.action for entry in journal.decisions("r1")] == [1]
