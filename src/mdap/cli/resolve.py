"""`mdap resolve`: what a person says of an undecided step, into the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mdap.cli.options import USUAL_PLACE, Place, RunId, whole
from mdap.cli.texts import read_value

if TYPE_CHECKING:
    from mdap.core.records import Move
    from mdap.engine.taskview import TaskView
    from mdap.protocols import Journal


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Word:
    """What is said of a step; one of these."""

    accept: Annotated[str | None, Parameter(metavar="KEY", help="Decide for the candidate with this key.")] = None
    override: Annotated[
        str | None,
        Parameter(
            metavar="FILE",
            allow_leading_hyphen=True,
            help='Decide for an answer of your own: a file with {"action": ..., "next_state": ...}; - is standard '
            "input. Where the task computes the next state, the action is enough.",
        ),
    ] = None
    k: Annotated[
        int | None, Parameter(help="Go on voting by this margin, with as many samples again.", converter=whole)
    ] = None
    skip: Annotated[bool, Parameter(negative="", show_default=False, help="Leave the row of a map out.")] = False
    retry: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Make the call of a tool again: nobody knows how it ended."),
    ] = False
    outcome: Annotated[
        str | None,
        Parameter(
            metavar="FILE",
            allow_leading_hyphen=True,
            help="The call of a tool was made: a file with what it returned, as JSON; - is standard input.",
        ),
    ] = None


NO_WORD = Word()


def resolve(
    run: RunId,
    step: Annotated[int, Parameter(help="Step that waits, as `mdap inbox` shows it.", converter=whole)],
    /,
    *,
    row: Annotated[int | None, Parameter(help="Row of a map.", converter=whole)] = None,
    word: Word = NO_WORD,
    by: Annotated[str | None, Parameter(help="Who says so [default: your user name]")] = None,
    place: Place = USUAL_PLACE,
) -> int:
    """Say how an undecided step goes on; it is recorded who said so.

    What is accepted or overridden is decided, with the votes as they were, and is never asked again. A call of a tool
    of which nobody knows what came is made again (--retry), or its outcome is what you say (--outcome). The run then
    goes on with `mdap resume`.
    """
    import getpass

    from mdap import inbox
    from mdap.cli.exits import onward, say
    from mdap.cli.stored import opened
    from mdap.core.records import ABSENT

    with opened(place) as journal:
        head = journal.head(run)
        # Read before anything is written: a file without a move leaves the step as it is.
        move = None if word.override is None else _move(word.override)
        acted = inbox.resolve(
            journal,
            head.id,
            step,
            by=by or getpass.getuser(),
            row=row,
            accept=word.accept,
            override=move,
            k=word.k,
            skip=word.skip,
            retry=word.retry,
            # ABSENT and not None, for a tool may have returned null.
            outcome=ABSENT if word.outcome is None else read_value(Path(word.outcome), or_stdin=True),
            # Only an answer of one's own has yet to be checked; candidates were when they were votes.
            view=None if move is None else _view(journal, head.id, row),
        )
    where = "" if row is None else f" of row {row}"
    say(f"step {acted.step}{where}: {acted.act}, by {acted.by}")
    say(f"next:  {onward(head, place.flag)}")
    return 0


def _move(file: str) -> Move:
    from mdap.core.errors import UsageError
    from mdap.core.records import ABSENT, Move

    read = read_value(Path(file), or_stdin=True)
    if not isinstance(read, dict) or "action" not in read or not read.keys() <= {"action", "next_state"}:
        raise UsageError(f"{file} holds no move", remedy='write {"action": ..., "next_state": ...}')
    # Left out, the task computes it; null would be a state.
    return Move(read["action"], read.get("next_state", ABSENT))


def _view(journal: Journal, run: str, row: int | None) -> TaskView | None:
    """Return the task that an override is checked by; None for a branch, whose task the journal does not name."""
    from itertools import islice

    from mdap.cli.map import Lines, factory_of, origin_of
    from mdap.core.errors import UsageError
    from mdap.engine.taskview import TaskView
    from mdap.rowio import is_planned
    from mdap.tasks.catalog import restored
    from mdap.tools import readable

    head = journal.head(run)
    if row is None:
        # With the state that it began in, since a spec does not hold all that makes some tasks.
        return TaskView(readable(restored(head.task, journal.snapshot(run, 0).state), head.fingerprint))
    if is_planned(head):
        return None
    origin = origin_of(head)
    # The journal holds what a map's rows are made by and not the rows, so the file must be as it was.
    line = next(islice(Lines(Path(origin["file"])), row, None), None)
    if line is None:
        raise UsageError(f"{origin['file']} has no row {row}", remedy="put the rows back as they were")
    return TaskView(factory_of(origin)(line))
