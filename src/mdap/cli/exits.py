"""How a command ends: exit codes, and what is printed when something failed: what happened, and what to type next."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TextIO

from mdap.core.errors import MdapError, UsageError
from mdap.core.history import Book, RunHead
from mdap.core.records import Status
from mdap.core.remedy import addressed
from mdap.core.secrets import keep_secret, redacted, secrets_in
from mdap.core.settings import CHANGEABLE

CODES: dict[Status, int] = {
    "done": 0,
    "error": 1,
    "running": 1,
    "undecided": 3,
    "budget": 4,
    "stopped": 4,
    "interrupted": 130,
}

_RAISING = re.compile(r"`(mdap resume [^`]+ --(?:restarts|attempts|rounds|max-steps) [^`]+)`")


def failed(error: MdapError, *, verbose: bool = False, run: str = "", flag: str = "") -> int:
    """Print an error, after its traceback if `verbose`, and return its exit code: 2 for a wrong argument, else 1.

    The commands in it name the run, and the journal by `flag`, where it is not the default one. What is no error of
    mdap is a bug: Python itself then shows the traceback and ends with 1.
    """
    # The text may be that of a user's own code, which has read a key from here.
    keep_secret(secrets_in(os.environ))
    if verbose:
        print(redacted("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    say_error(error, run, flag)
    return 2 if isinstance(error, UsageError) else 1


def say_error(error: MdapError, run: str = "", flag: str = "") -> None:
    """Print what happened, where in a user's own code it came from, and what to do next."""
    say(f"error: {addressed(error.message, run, flag)}")
    cause = error.__cause__
    if cause is not None and not isinstance(cause, MdapError):
        # The innermost frame, where it was raised. A slice, for an error that was made and never raised has no frame.
        for frame in traceback.extract_tb(cause.__traceback__)[-1:]:
            say(f"  at:  {frame.filename}, line {frame.lineno}, in {frame.name}")
    if error.remedy:
        say(f"next:  {addressed(error.remedy, run, flag)}")


def say(text: str) -> None:
    """Print one line for a person on standard error, if anybody still reads it."""
    with unread(sys.stderr):
        print(redacted(text), file=sys.stderr, flush=True)


@contextmanager
def unread(stream: TextIO) -> Iterator[None]:
    """Let a reader of `stream` that has seen enough (`| head`) not change how a run ended: the rest goes nowhere."""
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        hush(stream)


def hush(stream: TextIO) -> None:
    """Send what is left of a stream, and all that follows, nowhere; Python would try it again at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def onward(head: RunHead, flag: str) -> str:
    """Return the command that goes on with a run as it was, its tools named again."""
    return f"mdap resume {head.id}{head.tools}{flag}"


def say_ways_on(head: RunHead, book: Book, flag: str) -> None:
    """Say why a run is not done, and what to type next; nothing of one that is, or that another process drives."""
    if book.status in ("done", "running"):
        return
    say(f"{book.status}: {addressed(book.reason, head.id, flag)}")
    for command in ways_on(head, book, flag):
        say(f"next:  {command}")


def ways_on(head: RunHead, book: Book, flag: str = "") -> list[str]:
    """Return the commands that go on from where a run ended, the likeliest first; none if it is done.

    `flag` names the journal where it is not the default one.
    """
    if book.status == "done":
        return []
    run, reason = head.id, book.reason
    # A refusal names the cap to be raised, and how far; the settings do not know of it.
    named = _RAISING.findall(addressed(reason, run, flag))
    if named:
        return [f"{command}{head.tools}" for command in named]
    # The reason of an undecided run begins with its step.
    step = re.match(r"step (\d+)", reason)
    looks = [f"mdap show {run} --step {step[1]}{flag}"] if book.status == "undecided" and step else []
    # What the run was stopped by, as its reason names it; a limit that nobody had set is doubled from where it was met.
    raised = next((name for name in re.findall(r"--([a-z-]+)", reason) if name.replace("-", "_") in CHANGEABLE), None)
    # Those in force: what an earlier resume has changed is in the book, and told the same twice nobody would get on.
    settings = book.settings or head.settings
    now = settings.get(raised.replace("-", "_")) if raised else None
    now = book.steps if raised == "max-steps" and now is None else now
    # A switch is given by its name alone.
    larger = "" if now is None else f" --{raised}" if isinstance(now, bool) else f" --{raised} {_doubled(now)}"
    return [*looks, f"mdap resume {run}{larger}{head.tools}{flag}"]


def _doubled(now: Any) -> str:
    if isinstance(now, str):  # USD, as exact as they were given
        # Twice nothing is nothing, and a run would stop where it is.
        return f"{2 * Decimal(now) or 1:f}"
    return f"{max(1, 2 * now)}"
