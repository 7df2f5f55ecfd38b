"""The life of a run at a terminal: progress, Ctrl-C, the closing table, the last line that says how to go on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, TypeVar

from mdap.cli.exits import CODES, failed, onward, say, unread, ways_on
from mdap.cli.options import Display, Place
from mdap.cli.progress import Line, OfRun, shown
from mdap.cli.report import hints, print_json, print_result
from mdap.cli.stored import read
from mdap.core.errors import MdapError, Rejected
from mdap.core.events import Event, Progress, Started
from mdap.core.remedy import addressed
from mdap.journal import open_journal
from mdap.protocols import Journal
from mdap.result import Result

T = TypeVar("T")
CLEAR_LINE = "\r\x1b[2K"
Start = Callable[[Journal, list[Callable[[Event], None]]], Coroutine[Any, Any, Result]]


def drive(start: Start, display: Display, *, report: Callable[[Result], None] | None = None, note: str = "") -> int:
    """Open the journal, see a run through to its end, print what it came to, and return the exit code.

    `start` is given the journal and the observers. For JSON standard output holds one object whenever a run began,
    also when it ended in an error or was interrupted. `report`, if given, prints a result in place of all that. `note`
    is what a person should know once the run has begun.
    """
    # The journal's writer waits this long for a busy engine to let it at a batch; Python's own 5 ms are half a commit.
    sys.setswitchinterval(0.0005)
    progress, begun = Progress(), []

    def _note(event: Event) -> None:
        if type(event) is Started:
            begun.append(event.run)
            # Not before: about a command that cannot be run there is nothing else to be said.
            if note and not display.quiet:
                # In place of the progress line, which is drawn anew below.
                say(f"{CLEAR_LINE if sys.stderr.isatty() else ''}note:  {note}")

    # Every event has its price: without a line to draw, the first is all that anybody wants to know of.
    _note.once = True  # type: ignore[attr-defined]
    observers: list[Callable[[Any], None]] = (
        [_note] if display.quiet or not sys.stderr.isatty() else [_note, progress.add]
    )
    line = Line(progress)
    with closing(open_journal(display.path)) as journal:
        try:
            with shown(line, verbose=display.verbose, quiet=display.quiet):
                result = until_stopped(start(journal, observers), line, display)
        except asyncio.CancelledError:
            return _interrupted(journal, begun, display)
        except MdapError as error:
            # Without a run nothing is to be gone on with: an error like that of any command.
            if not begun:
                raise
            return _broken(journal, begun[0], error, display)
        with unread(sys.stdout):
            if report is not None:
                report(result)
            elif display.json:
                print_json(result.to_dict())
            else:
                print_result(result)
        return _ended(result, display, quiet=display.quiet or report is not None)


def watched(
    work: Coroutine[Any, Any, T],
    journal: Journal,
    progress: OfRun,
    display: Display,
    *,
    unit: str = "step",
    left: Callable[[Journal, str], None] | None = None,
) -> T | None:
    """Return what a run came to, seen through to its end under a progress line; None if it was interrupted.

    How to go on is said then, and before any other error that ended it is raised. `left` prints what the journal holds
    of a run that came to no end.
    """
    line = Line(progress, unit=unit)
    try:
        with shown(line, verbose=display.verbose, quiet=display.quiet):
            return until_stopped(work, line, display)
    # An end that has a name: what was made until then is told like any other result.
    except Rejected as error:
        partial: T = error.partial
        return partial
    except asyncio.CancelledError:
        if left is not None and progress.run:
            left(journal, progress.run)
        way = f"; go on with `{onward(journal.head(progress.run), display.flag)}`" if progress.run else ""
        say(f"interrupted{way}")
        return None
    except MdapError as error:
        if progress.run:
            if left is not None:
                left(journal, progress.run)
            # Whoever raised it could not know which run it was.
            error.remedy = addressed(error.remedy, progress.run)
            say(f"what was decided is kept; then go on with `{onward(journal.head(progress.run), display.flag)}`")
        raise


def until_stopped(work: Coroutine[Any, Any, T], line: Line, place: Place) -> T:
    """Run `work`; the first Ctrl-C or SIGTERM cancels it, the second ends the process at once."""

    async def _main() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def _stop(number: int, frame: FrameType | None) -> None:
            if line.is_stopping:
                # Not sys.exit: threads that still wait for a call would keep the process. The journal is whole.
                os.write(2, b"\nquit at once; what was durable is kept: see `mdap runs%s`\n" % place.flag.encode())
                os._exit(CODES["interrupted"])
            line.is_stopping = True
            # Threadsafe although it is the same thread: nothing else wakes a loop that sleeps until something arrives.
            loop.call_soon_threadsafe(task.cancel)

        # Within the task, since asyncio.run has put a handler of its own for SIGINT around it.
        with _signals(_stop):
            return await work

    return asyncio.run(_main())


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # Handlers of the process, not of the loop: they are heard even while a task's own code keeps the loop busy.
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _ended(result: Result, place: Place, *, quiet: bool) -> int:
    """Say how to go on from an end that is not `done`, and return the exit code."""
    if result.status != "done":
        say(f"{result.status}: {addressed(result.reason, result.run, place.flag)}")
        say(_durable(result.book.steps, result.head.total))
    for hint in hints(result, place.flag) if not quiet else ():
        say(f"note:  {hint}")
    for command in ways_on(result.head, result.book, place.flag):
        say(f"next:  {command}")
    return CODES[result.status]


def _interrupted(journal: Journal, begun: list[str], display: Display) -> int:
    if not begun:
        say("interrupted before the run began")
        return CODES["interrupted"]
    run = begun[0]
    history = journal.history(run)
    _print_left(journal, run, json=display.json)
    durable = _durable(history.book.steps, history.head.total)
    say(f"interrupted: {durable}; go on with `{onward(history.head, display.flag)}`")
    return CODES["interrupted"]


def _broken(journal: Journal, run: str, error: MdapError, display: Display) -> int:
    history = journal.history(run)
    _print_left(journal, run, json=display.json)
    code = failed(error, verbose=display.verbose > 0, run=run, flag=display.flag)
    say(f"{_durable(history.book.steps, history.head.total)}; then go on with `{onward(history.head, display.flag)}`")
    return code


def _print_left(journal: Journal, run: str, *, json: bool) -> None:
    if json:
        with unread(sys.stdout):
            print_json(read(journal, run).result.to_dict())


def _durable(steps: int, total: int | None) -> str:
    return f"{steps:,} of {total:,} steps are durable" if total else f"{steps:,} steps are durable"
