"""A process that drives runs in a shared journal, to be watched and killed: `python -m tests.journal.driver OPTIONS`.

It writes one line `RUN COUNT` to its standard output for each run and count of entries that it was told are durable.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path

from mdap.journal.sqlite import SqliteJournal
from tests.journal.story import head, story


def entries_in(path: Path, run: str) -> int:
    """How many entries of a run are in the file; 0 for a run that is not there."""
    with closing(sqlite3.connect(path)) as file:
        found = file.execute("SELECT entries FROM books JOIN runs ON number = run WHERE id = ?", (run,)).fetchone()
    return int(found[0]) if found else 0


def killer(name: str, nth: int) -> object:
    """A hook that ends this process at the `nth` passing of the point `name`."""
    passed = count(1)

    def on_point(point: str) -> None:
        if point == name and next(passed) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_point


def say(run: str, number: int) -> None:
    # One write a line: a kill must not leave half of it.
    os.write(sys.stdout.fileno(), f"{run} {number}\n".encode())


async def drive(journal: SqliteJournal, run: str, options: argparse.Namespace) -> None:
    done = entries_in(journal.path, run)
    for number, entry in enumerate(islice(story(), done, options.entries), done + 1):
        ticket = journal.append(run, entry)
        if options.lie:
            say(run, number)
        if number % options.every == 0:
            await journal.wait_durable(ticket)
            say(run, number)
        elif number % 3 == 0:
            await asyncio.sleep(0)


async def main(options: argparse.Namespace) -> None:
    name, _, nth = options.kill_at.partition(":")
    journal = SqliteJournal(options.path, on_point=killer(name, int(nth)) if name else None)  # type: ignore[arg-type]
    known = {found.id for found in journal.heads()}
    with closing(journal), ExitStack() as claims:
        for run in options.runs:
            if run not in known:
                journal.create(head(run))
            claims.enter_context(journal.claim(run))
            say(run, entries_in(journal.path, run))
        async with asyncio.TaskGroup() as group:
            for run in options.runs:
                group.create_task(drive(journal, run, options))
        if options.hold:
            await asyncio.sleep(60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--entries", type=int, default=10**9)
    parser.add_argument("--every", type=int, default=7, help="wait after every so many entries")
    parser.add_argument("--kill-at", default="", help="POINT:N")
    parser.add_argument("--hold", action="store_true", help="keep the runs claimed for a minute")
    parser.add_argument("--lie", action="store_true", help="say that entries are durable when they are appended")
    asyncio.run(main(parser.parse_args()))
