"""What `mdap map` and `mdap show` say of a map: its rows by where they stand, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mdap.cli.exits import say
from mdap.cli.progress import OfRun
from mdap.cli.report import listed_acts, pairs, plain_console, print_json, told_act
from mdap.core.events import Event, RowSettled, StepDecided
from mdap.core.remedy import addressed

if TYPE_CHECKING:
    from mdap.cli.options import Display, Place
    from mdap.core.history import RunHead
    from mdap.protocols import Journal
    from mdap.rowio import Mapped


class RowProgress(OfRun):
    """The progress of a map: what counts as a step is a row."""

    def add(self, event: Event) -> None:
        """Fold one event in."""
        if isinstance(event, RowSettled):
            self.steps += 1
        # What the line counts as steps are rows here; of a row's steps only votes and samples are added.
        elif isinstance(event, StepDecided):
            self.samples += event.totals.samples
            self.votes += event.totals.votes
            self.contested += event.decision.contested
        else:
            super().add(event)


def report(result: Mapped, display: Display, ways: Sequence[str]) -> None:
    """Print what a map came to: as JSON, or for a person on standard error, where no row of the output can be.

    `ways` are the commands that go on with it; none where it is done.
    """
    if display.json:
        print_json(result.to_dict())
    elif not display.quiet:
        # A file without rows begins no run.
        name = f"{result.run}: " if result.run else ""
        say(f"{name}{result.status}, {told(result)}, {result.votes:,} votes, {result.seconds:,.2f} s")
    # Of other ends the rows themselves say why.
    if result.status in ("budget", "stopped"):
        say(f"{result.status}: {addressed(result.reason, result.run, display.flag)}")
    if result.counts.get("undecided"):
        say(f"next:  mdap inbox{display.flag}")
    for command in ways:
        say(f"next:  {command}")


def show_map(run: str, step: int | None, row: int | None, place: Place, *, json: bool) -> bool:
    """Print a map, or a row of it, and return True; print nothing and return False for a run of one task.

    Raises UsageError for a row, or a step of one, that was not asked.
    """
    from mdap.cli.map_row import show_row
    from mdap.cli.stored import opened
    from mdap.core.errors import UsageError
    from mdap.result import standing
    from mdap.rowio import is_map, mapped

    with opened(place) as journal:
        head = journal.head(run)
        if not is_map(head):
            return False
        if row is not None:
            show_row(journal, head, row, step, json=json)
            return True
        if step is not None:
            raise UsageError(f"{head.id} is a map of rows", remedy=f"name one: mdap show {head.id} --row 0{place.flag}")
        result = mapped(standing(journal, head.id))
        # Put into words while the journal is open.
        acts = [f"row {act.item}, {told_act(act)}" for act in journal.acts(head.id)]
    if json:
        print_json(result.to_dict() | {"done_about": acts})
    else:
        _print_map(result, head, acts)
    return True


def row_steps(journal: Journal, run: str) -> Iterator[dict[str, Any]]:
    """Yield one JSON object a decided step of a map: row, step, kind, action, votes; equal for equal maps."""
    for entry in journal.row_decisions(run):
        made = entry.decided
        yield {
            "row": entry.item,
            "step": made.step,
            "kind": made.kind,
            "action": made.action,
            "votes": list(made.votes),
        }


def told(result: Mapped) -> str:
    """Return the rows by where they stand, in words."""
    return ", ".join(f"{count:,} {name}" for name, count in result.counts.items()) or "no rows"


def _print_map(result: Mapped, head: RunHead, acts: list[str]) -> None:
    console = plain_console()
    console.print(f"{result.run}  {result.status}")
    rows = [
        ("rows", told(result)),
        ("task", head.task),
        ("model", head.model),
        ("rule", head.rule),
        ("steps", f"{result.steps:,}"),
        ("votes", f"{result.votes:,}"),
        ("samples", f"{result.samples:,}"),
        ("tokens", f"{result.tokens['in']:,} in, {result.tokens['out']:,} out"),
        ("time", f"{result.seconds:,.2f} s"),
        *((("reason", result.reason),) if result.reason else ()),
        *listed_acts(acts),
    ]
    console.print(pairs(rows))
