"""Runs as a journal holds them: how commands that only read find one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from mdap.cli.options import Place
from mdap.core.errors import JournalError, UsageError
from mdap.engine.taskview import TaskView
from mdap.journal import open_journal
from mdap.protocols import Journal
from mdap.result import Result
from mdap.rowio import is_map, is_planned
from mdap.stepview import Stored
from mdap.tasks.catalog import task
from mdap.tools import readable


def existing(place: Place) -> None:
    """Raise JournalError if there is no journal yet: reading must not make an empty one."""
    if not place.path.exists():
        raise JournalError(
            f"there is no journal at {place.path}",
            remedy="name it with --journal or MDAP_JOURNAL, or begin one with `mdap run hanoi:disks=5 --model "
            f"simulated:p=0.9{place.flag}`",
        )


@contextmanager
def opened(place: Place) -> Iterator[Journal]:
    """Give the journal that is there, to read from; raises JournalError if there is none."""
    existing(place)
    with closing(open_journal(place.path)) as journal:
        yield journal


@contextmanager
def stored_run(run: str, place: Place) -> Iterator[Stored]:
    """Give the run that an id, or the beginning of one, names."""
    with opened(place) as journal:
        yield read(journal, journal.head(run).id)


def read(journal: Journal, run: str) -> Stored:
    """Return the run with this id; raises UsageError for a map or branches, which are no chain of steps."""
    head = journal.head(run)
    # Here, once for all that walk a chain: of these no start state is stored.
    if is_map(head):
        raise UsageError(f"{run} is a map of rows", remedy=f"its rows are in its output; mdap show {run} counts them")
    if is_planned(head):
        raise UsageError(f"{run} is a run of branches", remedy=f"its steps are listed by mdap show {run}")
    epochs = journal.history(head.id).book.epochs
    # The task in force: a resume whose changes were accepted has begun an epoch with its own.
    view = TaskView(readable(task(epochs[-1][1]["task"] if epochs else head.task), head.fingerprint))
    return Stored(journal, Result(journal, run, view), view)
