"""What `mdap plan`, `execute`, `do` and `solve` share: flags and the life of their runs, not what they ask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from mdap.cli.base_url import with_base_url
from mdap.cli.options import NO_LIMITS, USUAL_DISPLAY, USUAL_MONEY, BaseUrl, Display, Limits, Money, given
from mdap.cli.tool_flags import NO_TOOLS, ToolFlags

if TYPE_CHECKING:
    from mdap.protocols import Journal

ROLES = Group("Roles", sort_key=1)
Model = Annotated[str | None, Parameter(alias="-m", group=ROLES, help="Who plays every role without a model.")]
# What begins, or goes on with, a run, given its journal and an observer.
Begin = Callable[[Any, Callable[[Any], None]], Coroutine[Any, Any, Any]]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """The flags that all of them have."""

    base_url: BaseUrl = None
    limits: Limits = NO_LIMITS
    money: Money = USUAL_MONEY
    display: Display = USUAL_DISPLAY
    tools: ToolFlags = NO_TOOLS

    @property
    def settings(self) -> dict[str, Any]:
        """What the library is told of it, but for the base URL; raises UsageError for tools that are not there."""
        return {**given(self.limits), **self.money.options, **self.tools.given}


COMMON = Common()


def file_of(what: str) -> Parameter:
    """Return the flag of a file that holds what would else be typed."""
    # A hyphen alone is standard input; cyclopts would take it for a flag that lacks its name.
    return Parameter(alias="-f", allow_leading_hyphen=True, help=f"File that holds the {what}; - is standard input.")


def addressed_to(models: Mapping[str, str], base_url: str | None) -> dict[str, str]:
    """Return the specs of the models of roles with this base URL in them."""
    return {role: with_base_url(model, base_url) for role, model in models.items()}


def paired(typed: Iterable[str] | None, flag: str, of: str, what: str) -> dict[str, str]:
    """Return what was typed as NAME=VALUE by its names; raises UsageError, with the name `of` as an example."""
    from mdap.core.errors import UsageError

    # At the first equals sign, since the spec of a model, or a path, may hold more of them.
    pairs = [one.partition("=") for one in typed or ()]
    for name, _, value in pairs:
        if not value:
            raise UsageError(f"--{flag} {name} names no {what.lower()}", remedy=f"write --{flag} {of}={what}")
    return {name: value for name, _, value in pairs}


def drive(
    begin: Begin, display: Display, report: Callable[[Any], None], hear: Callable[[Any], None] | None = None
) -> int:
    """See a run through to its end, let `report` print what it came to, and return the exit code.

    `hear` is told of every event before the progress line is.
    """
    from mdap.cli.driving import watched
    from mdap.cli.exits import CODES, say_ways_on
    from mdap.cli.progress import OfRun
    from mdap.journal import open_journal

    progress = OfRun()

    def _note(event: Any) -> None:
        if hear is not None:
            hear(event)
        progress.add(event)

    with closing(open_journal(display.path)) as journal:
        left = _print_left if display.json else None
        outcome = watched(begin(journal, _note), journal, progress, display, left=left)
        if outcome is None:
            return CODES["interrupted"]
        head, book = journal.head(outcome.run), journal.history(outcome.run).book
    # With the journal closed: whoever reads the result slowly keeps nobody else from it.
    report(outcome)
    say_ways_on(head, book, display.flag)
    code: int = CODES[outcome.status]
    return code


def _print_left(journal: Journal, run: str) -> None:
    """Print what the journal holds of a run that came to no end."""
    from mdap.branches import planned
    from mdap.cli.exits import unread
    from mdap.cli.report import print_json

    with unread(sys.stdout):
        print_json(planned(journal, run).to_dict())
