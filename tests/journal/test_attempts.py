"""Attempts at calls in the journal's file: what a file from before they were listed does. The contract has the rest."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mdap.core.history import Attempted
from mdap.core.records import Attempt
from mdap.journal.sqlite import SqliteJournal
from tests.journal.story import head


def test_a_file_from_before_attempts_were_listed_has_none_and_takes_them_from_then_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    with closing(SqliteJournal(path)) as journal:
        journal.create(head("r1"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE attempts")
    with closing(SqliteJournal(path)) as journal:
        assert list(journal.attempts("r1")) == []
        listed = Attempt(3, 1, 0, failure="dropped")
        journal.append("r1", Attempted(listed))
        assert list(journal.attempts("r1")) == [listed]
