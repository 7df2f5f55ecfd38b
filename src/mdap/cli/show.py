"""`mdap show`: a run as it stands, or all that is known of one of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mdap.cli.options import USUAL_PLACE, Json, Place, RunId, whole

if TYPE_CHECKING:
    from mdap.stepview import Stored


def show(
    run: RunId,
    /,
    *,
    step: Annotated[int | None, Parameter(help="Step to look at; the first one is 0.", converter=whole)] = None,
    row: Annotated[int | None, Parameter(help="The row of a map, or branch of a plan.", converter=whole)] = None,
    place: Place = USUAL_PLACE,
    json: Json = False,
) -> int:
    """Show a run, or with --step everything that is known of one of its steps.

    That is the state, what was asked, the ballot, and every recorded sample with its text, its vote or why it was
    flagged. Samples of contested and undecided steps are recorded; --record samples, at the start, records all.
    """
    from mdap.cli.exits import say_ways_on
    from mdap.cli.map_report import show_map
    from mdap.cli.planned import show_planned
    from mdap.cli.report import print_json, print_result, print_step
    from mdap.cli.stored import stored_run
    from mdap.core.errors import UsageError
    from mdap.stepview import step_of

    # Each of these prints a run of its own sort and leaves all others alone.
    if show_planned(run, step, row, place, json=json):
        return 0
    if show_map(run, step, row, place, json=json):
        return 0
    if row is not None:
        raise UsageError(f"{run} has no rows", remedy="leave --row out")
    with stored_run(run, place) as stored:
        if step is not None:
            found = step_of(stored, step)
            # Added here, since it is in words, and words are not for the library.
            found["done_about"] = [done for about, done in done_about(stored) if about == step]
            print_json(found) if json else print_step(found)
        elif json:
            print_json(stored.result.to_dict())
        else:
            print_result(stored.result, [done for _, done in done_about(stored)])
            say_ways_on(stored.result.head, stored.result.book, place.flag)
    return 0


def done_about(stored: Stored) -> list[tuple[int, str]]:
    """Return what was done about steps that their caps had left undecided, each with its step, in words."""
    from mdap.cli.report import told_act

    return [(act.step, told_act(act)) for act in stored.journal.acts(stored.result.run)]
