"""`mdap export`: a run as JSON Lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from mdap.cli.options import USUAL_PLACE, Place, RunId, ToFile


def export(
    run: RunId,
    /,
    *,
    output: ToFile = None,
    place: Place = USUAL_PLACE,
) -> int:
    """Write the decisions of a run as JSON Lines; equal runs give equal bytes.

    One object a step: step, kind, action, next_state, votes; of a plan, item (its branch) in place of next_state, of a
    map, row. No time and no id is in it, so a run that was stopped and resumed gives what an uninterrupted one gives.
    """
    import msgspec

    from mdap.branches import steps_of
    from mdap.cli.map_report import row_steps
    from mdap.cli.stored import opened, read
    from mdap.rowio import is_map, is_planned

    encode = msgspec.json.Encoder().encode
    with opened(place) as journal:
        head = journal.head(run)
        if is_map(head):
            found: Iterable[Any] = row_steps(journal, head.id)
        else:
            found = steps_of(journal, head.id) if is_planned(head) else read(journal, head.id).result.export()
        if output is None:
            # As bytes, past the text layer: some systems change line ends there, and equal runs would differ.
            sys.stdout.flush()
            sys.stdout.buffer.writelines(encode(line) + b"\n" for line in found)
            sys.stdout.buffer.flush()
        else:
            with _made(output) as file:
                file.writelines(encode(line) + b"\n" for line in found)
    return 0


def _made(path: Path) -> BinaryIO:
    from mdap.core.errors import UsageError

    try:
        return path.open("wb")
    # Only of the opening: a disk that fills up while rows are written is no mistake of whoever typed the name.
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", remedy="name another --output") from None
