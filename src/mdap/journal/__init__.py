"""Journals: where a run is kept. Which one is meant is decided here; how each keeps it is in its own file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mdap.protocols import Journal


def open_journal(path: str | os.PathLike[str] | None) -> Journal:
    """Return the journal in the file `path`, or for None one in memory that ends with the process.

    A file that does not exist yet is made by the first `create`. Raises JournalError for a file that is no journal.
    """
    if path is None:
        # Each is loaded only where it is meant: a run in memory needs no SQLite.
        from mdap.journal.memory import MemoryJournal

        return MemoryJournal()
    from mdap.journal.sqlite import SqliteJournal

    return SqliteJournal(path)


__all__ = ["open_journal"]
