"""Runs of branches as a journal holds them: what each role took, where each branch stands, and what was decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from mdap.core.history import RunHead
from mdap.core.records import Sample, Status
from mdap.protocols import Journal
from mdap.result import standing
from mdap.roles import RoleTotals, total_of, totals_of
from mdap.rowio import PLANNED


class Planned(msgspec.Struct, frozen=True):
    """What a run of branches came to. `branches` counts them by where they stand, `roles` are by the kind of steps.

    `rules` and `models` are those of the roles that have their own; `seconds` is that of all segments.
    """

    run: str
    kind: str
    status: Status
    reason: str
    model: str
    rule: str
    models: dict[str, str]
    rules: dict[str, str]
    branches: dict[str, int]
    total: RoleTotals
    roles: dict[str, RoleTotals]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints; costs in USD are text, for a number of JSON would round them."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made


class BranchStep(msgspec.Struct, frozen=True):
    """One decided step of a branch; the winner's votes come first."""

    item: int
    step: int
    kind: str
    action: Any
    votes: tuple[int, ...]


class OpenStep(msgspec.Struct, frozen=True):
    """Where a branch stands that is not done, and the votes on the step that was left open, the most first."""

    item: int
    status: str
    reason: str
    step: int | None = None
    kind: str = ""
    # Counts alone: keys of votes may quote what was asked.
    votes: tuple[int, ...] = ()


def planned(journal: Journal, run: str) -> Planned:
    """Return what a run of branches came to so far."""
    history = standing(journal, run)
    head, book = history.head, history.book
    # While it runs, and after a kill, nobody has counted them yet.
    is_cut_off = journal.history(run).book.status == "running"
    priced = bool(head.prices if book.prices is None else book.prices)
    about = head.settings[PLANNED]
    return Planned(
        run=head.id,
        kind=head.task,
        status=book.status,
        reason=book.reason,
        model=head.model,
        rule=head.rule,
        models=about["models"],
        rules=about["rules"],
        branches=_branches(journal, head) if is_cut_off else book.rows,
        total=total_of(book, priced=priced),
        roles=totals_of(book, priced=priced),
        seconds=book.seconds,
    )


def steps_of(journal: Journal, run: str) -> Iterator[BranchStep]:
    """Yield the decided steps of all branches, by branch and step: equal for equal runs."""
    for entry in journal.row_decisions(run):
        made = entry.decided
        yield BranchStep(entry.item, made.step, made.kind, made.action, made.votes)


def open_steps(journal: Journal, run: str) -> Iterator[OpenStep]:
    """Yield the branches that are not done, each with the ballot that it left open, if it left one."""
    for ended in journal.row_ends(run):
        # A branch that was left and came to its end later has an entry that says so.
        if ended.status == "done":
            continue
        if ended.ballot is None:
            yield OpenStep(ended.item, ended.status, ended.reason)
            continue
        counts = Counter(vote.key for _, vote in ended.ballot.votes)
        votes = tuple(sorted(counts.values(), reverse=True))
        yield OpenStep(ended.item, ended.status, ended.reason, ended.ballot.step, ended.ballot.kind, votes)


def samples_of(journal: Journal, run: str, item: int, step: int) -> list[Sample]:
    """Return the recorded samples of a step of a branch, decided or left open."""
    found = journal.row_samples(run, item, step)
    # The first that comes may be of a later branch: one that is simply done has no entry.
    left = next((ended for ended in journal.row_ends(run, item) if ended.item == item), None)
    # What a ballot that is open has drawn is in its own entry, not among the samples of decided steps.
    if not found and left is not None and left.ballot is not None and left.ballot.step == step:
        return list(left.ballot.samples)
    return found


def _branches(journal: Journal, head: RunHead) -> dict[str, int]:
    """Count the branches by where they stand; one that is not said to stand anywhere has begun, and may be done."""
    counts = Counter(ended.status for ended in journal.row_ends(head.id) if ended.status != "done")
    elsewhere = {ended.item for ended in journal.row_ends(head.id) if ended.status != "done"}
    begun = {entry.item for entry in journal.row_decisions(head.id)} - elsewhere
    return {"begun": len(begun), **dict(sorted(counts.items()))} if begun else dict(sorted(counts.items()))
