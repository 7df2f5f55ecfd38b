"""`mdap runs`: what a journal holds."""

from __future__ import annotations

from typing import Any

from mdap.cli.options import USUAL_PLACE, Json, Place
from mdap.core.history import History, RunHead


def runs(*, place: Place = USUAL_PLACE, json: Json = False) -> int:
    """List the runs of a journal, the oldest first.

    With --json: one array with one object a run.
    """
    from mdap.cli.exits import onward, say
    from mdap.cli.report import print_json, print_runs
    from mdap.cli.stored import opened
    from mdap.result import standing

    listed: list[dict[str, Any]] = []
    heads: dict[str, RunHead] = {}
    # No journal is an empty list, on which no script has to stumble.
    if place.path.exists():
        with opened(place) as journal:
            heads = {head.id: head for head in journal.heads()}
            listed = [_row(standing(journal, run)) for run in heads]
    if json:
        print_json(listed)
    elif listed:
        print_runs(listed)
        # The newest alone: it is the one that somebody has most likely just broken off.
        for row in [row for row in listed if row["status"] == "interrupted"][-1:]:
            say(f"next:  {onward(heads[row['run']], place.flag)}")
    else:
        say(f"no runs in {place.path} yet; begin one with `mdap run hanoi:disks=5 --model simulated:p=0.9{place.flag}`")
    return 0


def _row(history: History) -> dict[str, Any]:
    head, book = history.head, history.book
    return {
        "run": head.id,
        "created": head.created,
        "task": head.task,
        "model": head.model,
        # The rule in force: a resume whose changes were accepted has begun an epoch.
        "rule": book.epochs[-1][1]["rule"] if book.epochs else head.rule,
        "status": book.status,
        "reason": book.reason,
        "steps": book.steps,
        "total": head.total,
        "samples": book.totals.samples,
        "votes": book.totals.votes,
        "seconds": book.seconds,
    }
