"""The progress line of a run, and the log lines above it. It reads a fold of the events; it is told of none of them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from mdap.core.events import Event, Progress, Started

REFRESHES = 8  # a second: a redraw takes a third of a millisecond, so the line costs a run 0.3%
WINDOW_S = 5.0  # over which the speed is taken
_BAR_FROM = 100  # columns; below it the words are short and the bar is left out


class OfRun(Progress):
    """The progress of a run, and its id: empty until it has begun."""

    run: str = ""

    def add(self, event: Event) -> None:
        """Fold one event in."""
        super().add(event)
        if isinstance(event, Started):
            # Known from here on, so that whatever ends the run badly can be told with the command that goes on.
            self.run = event.run


class Line:
    """The progress line: steps, speed, votes a step, flags, contested steps, calls in flight, time left."""

    def __init__(self, progress: Progress, now: Callable[[], float] = time.monotonic, unit: str = "step") -> None:
        self._progress = progress
        self._now = now
        self._unit = unit
        self._seen: deque[tuple[float, int]] = deque()
        self.is_stopping = False

    def text(self, width: int) -> Text:
        """Return the line for a terminal of `width` columns."""
        progress, speed = self._progress, self._speed()
        if self.is_stopping:
            return Text("stopping; Ctrl-C again quits at once", style="yellow", no_wrap=True)
        # Votes are counted from the beginning of this part of a run, and so steps must be.
        decided = progress.steps - progress.begun
        votes = f"{progress.votes / decided:.2f}" if decided else "-"
        left = _left(progress, speed)
        count = f"{progress.steps:,}" + (f"/{progress.total:,}" if progress.total else "")
        if width < _BAR_FROM:
            parts = [f"{count}", f"{speed:,.0f}/s", f"{votes} votes", f"{progress.flagged:,} flagged"]
            parts += [f"{progress.contested:,} contested", f"{progress.in_flight} calls", left]
            return Text(_fitting(parts, " ", width), no_wrap=True)
        parts = [
            f"{count} {self._unit}s",
            f"{speed:,.0f}/s",
            f"{votes} votes a {self._unit}",
            f"{progress.flagged:,} flagged",
        ]
        parts += [f"{progress.contested:,} contested", f"{progress.in_flight} in flight", left and f"{left} left"]
        words = _fitting(parts, " · ", width)
        return Text.assemble(_bar(progress, width - len(words) - 3), words, no_wrap=True)

    def _speed(self) -> float:
        now, steps = self._now(), self._progress.steps
        self._seen.append((now, steps))
        # It never runs empty: what was put in just now is not old.
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        began, before = self._seen[0]
        # At the first look no time has gone by.
        return (steps - before) / (now - began) if now > began else 0.0


def _fitting(parts: list[str], between: str, width: int) -> str:
    """Join the parts, as many as there is room for: calls go first, then flags, contested steps, speed, votes."""
    for least in (5, 3, 4, 1, 2, 6):
        if len(between.join(filter(None, parts))) < width:
            break
        parts[least] = ""
    # One column stays free: a line as wide as the terminal would make some of them wrap.
    return between.join(filter(None, parts))[: width - 1]


def _left(progress: Progress, speed: float) -> str:
    if not progress.total or not speed:
        return ""
    minutes, seconds = divmod(round((progress.total - progress.steps) / speed), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar(progress: Progress, width: int) -> Text:
    width = min(width, 30)
    if not progress.total or width < 4:
        return Text()
    full = width * progress.steps // progress.total
    return Text.assemble(("━" * full, "green"), ("━" * (width - full), "bright_black"), " ")


@contextmanager
def shown(line: Line, *, verbose: int, quiet: bool) -> Iterator[None]:
    """Show `line` on standard error while a run goes on, if that is a terminal, and the log as far as it is asked for.

    The line is drawn by a thread of its own a few times a second, so no event waits for the terminal.
    """
    console = Console(stderr=True)
    with logged(console, verbose):
        if quiet or not console.is_terminal:
            yield
            return
        with Live(
            console=console,
            get_renderable=lambda: line.text(console.width),
            refresh_per_second=REFRESHES,
            transient=True,
            # A result goes out as it is; rich would take it for text of its own.
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield


@contextmanager
def logged(console: Console, verbose: int) -> Iterator[None]:
    """Show the logger `mdap`: through the console where it is a terminal, so that the line stays below."""
    if not verbose:
        yield
        return
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, omit_repeated_times=False)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("mdap")
    # Put back at the end, since a process may run more than one command.
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
