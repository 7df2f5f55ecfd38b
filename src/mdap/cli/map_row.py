"""What `mdap show MAP --row N` prints: where one row of a map stands, and its steps. Nothing is asked here."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from json import dumps
from typing import TYPE_CHECKING, Any

from mdap.cli.report import listed_acts, pairs, plain_console, print_json, print_samples, told_act
from mdap.core.errors import UsageError
from mdap.stepview import shown_samples

if TYPE_CHECKING:
    from mdap.core.history import RunHead
    from mdap.protocols import Journal


def show_row(journal: Journal, head: RunHead, row: int, step: int | None, *, json: bool) -> None:
    """Print a row of a map, or one of its steps; raises UsageError for what was not asked."""
    found = row_of(journal, head, row, step)
    print_json(found) if json else _print(found)


def row_of(journal: Journal, head: RunHead, row: int, step: int | None = None) -> dict[str, Any]:
    """Return all that the journal knows of one row: its status and why, its steps in order, what was done about it.

    A step has kind, action and votes, the winner's first; one that is open has no action. `samples` are those recorded.
    """
    # They come from this row on to the last, and in order: the next row ends it.
    entries = takewhile(lambda entry: entry.item == row, journal.row_decisions(head.id, row))
    steps = [_decided(journal, head.id, row, entry.decided) for entry in entries]
    ended = next((one for one in journal.row_ends(head.id, row) if one.item == row), None)
    ballot = None if ended is None or ended.status == "done" else ended.ballot
    # A ballot that is still kept may be of a step that was decided since.
    if ballot is not None and ballot.step == len(steps):
        counts = Counter(vote.key for _, vote in ballot.votes)
        open_step = {"step": ballot.step, "kind": ballot.kind, "votes": sorted(counts.values(), reverse=True)}
        steps.append(open_step | {"state": ballot.state, "samples": shown_samples(ballot.samples)})
    if not steps and ended is None:
        raise UsageError(f"row {row} of {head.id} was not asked", remedy=f"mdap show {head.id}")
    chosen = [one for one in steps if step in (None, one["step"])]
    if not chosen and step is not None:
        raise UsageError(f"step {step} of row {row} was not asked", remedy=f"mdap show {head.id} --row {row}")
    # Every row that is not done says so once its map has ended; before, and after a kill, nobody has.
    usual = "done" if journal.history(head.id).book.status in ("done", "undecided", "error") else "begun"
    acts = [told_act(act) for act in journal.acts(head.id) if act.item == row]
    status, reason = (usual, "") if ended is None else (ended.status, ended.reason)
    return {"run": head.id, "row": row, "status": status, "reason": reason, "steps": chosen, "done_about": acts}


def _decided(journal: Journal, run: str, row: int, made: Any) -> dict[str, Any]:
    step = {"step": made.step, "kind": made.kind, "action": made.action, "votes": list(made.votes)}
    return step | {"samples": shown_samples(journal.row_samples(run, row, made.step))}


def _print(found: dict[str, Any]) -> None:
    console = plain_console()
    console.print(f"row {found['row']} of {found['run']}  {found['status']}")
    rows = [("reason", found["reason"])] if found["reason"] else []
    console.print(pairs([*rows, *listed_acts(found["done_about"])]))
    for step in found["steps"]:
        console.print(_head(step), soft_wrap=True)
        print_samples(step["samples"])


def _head(step: dict[str, Any]) -> str:
    votes = " to ".join(map(str, step["votes"])) or "none"
    kind = f"  {step['kind']}" if step["kind"] else ""
    what = dumps(step["action"], ensure_ascii=False) if "action" in step else "open"
    return f"step {step['step']}{kind}  votes {votes}  {what}"
