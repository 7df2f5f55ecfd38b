"""`mdap inbox`: the steps that wait for a person, each with what was asked, what was answered, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mdap.cli.options import USUAL_PLACE, Json, Place

if TYPE_CHECKING:
    from mdap.inbox import Waiting


def inbox(
    run: Annotated[str | None, Parameter(help="Id of one run, or a beginning of it [default: all runs]")] = None,
    /,
    *,
    place: Place = USUAL_PLACE,
    json: Json = False,
) -> int:
    """List the steps that wait for a person.

    Those are the steps that their caps left undecided, with what was asked, the answers by their votes, and why none
    of them has won; and calls of tools that were begun and of which nobody knows what came. `mdap resolve` says how one
    goes on. With --json: one array with one object a step.
    """
    import msgspec

    from mdap.cli.exits import say
    from mdap.cli.report import print_json
    from mdap.cli.stored import opened
    from mdap.inbox import waiting

    listed: list[Waiting] = []
    # No journal is an empty inbox; a run that is asked for by its name is missed.
    if place.path.exists() or run is not None:
        with opened(place) as journal:
            listed = list(waiting(journal, run and journal.head(run).id))
    if json:
        print_json([msgspec.to_builtins(found) for found in listed])
        return 0
    for found in listed:
        _print(found, place)
    if not listed:
        say("nothing waits for anybody")
    return 0


def _print(found: Waiting, place: Place) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from mdap.cli.report import pairs, plain_console

    console = plain_console()
    row = "" if found.row is None else f" --row {found.row}"
    console.print(f"step {found.step} of {found.run}" + (f", row {found.row}" if row else ""))
    rows: list[tuple[str, Any]] = [("why", found.why)]
    if found.call:
        rows.append(("call", found.call))
    if found.remedies:
        rows.append(("tried", ", ".join(found.remedies)))
    console.print(pairs(rows))
    for message in found.messages:
        console.print(Padding(Text(f"{message.role}: {message.content}"), (0, 0, 0, 4)))
    for candidate in found.candidates:
        answer = _compact(candidate.action)
        console.print(pairs([(candidate.key, f"{candidate.votes} votes: {answer}")]))
    # Offered, never taken: a plurality is decided for by nobody but a person.
    said = [f" --accept {found.candidates[0].key}" if found.candidates else " --override FILE"]
    # Whether the call was made nobody here knows, so both ways are shown.
    for words in (" --retry", " --outcome FILE") if found.call else said:
        # Unbroken, whatever the width: a command is there to be copied.
        console.print(f"  next: mdap resolve {found.run} {found.step}{row}{words}{place.flag}", soft_wrap=True)


def _compact(value: Any) -> str:
    import json

    import msgspec

    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
