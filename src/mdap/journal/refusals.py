"""What every journal says of runs that it does not have and of entries that do not fit; no journal is known here."""

from __future__ import annotations

from mdap.core.errors import JournalError
from mdap.core.history import RunHead

# More names than these nobody reads in an error.
_NAMED = 10


def gap(run: str, what: str, step: int, wanted: int) -> JournalError:
    """Return the error for an entry of `step` where the next step is `wanted`."""
    return JournalError(
        f"{what} of step {step} does not follow: the next step of run {run} is {wanted}",
        remedy="append the steps in order, each once",
        step=step,
    )


def missing(run: str, heads: list[RunHead], where: str) -> JournalError:
    """Return the error for a run that the journal at `where` does not hold, naming the newest that it does."""
    if not heads:
        return JournalError(
            f"no run {run}: {where} holds no runs yet",
            remedy="start one: mdap run hanoi:disks=5 --model simulated:p=0.9",
        )
    # From the end: of many, the newest are the likeliest to be meant.
    newest = ", ".join(head.id for head in heads[: -_NAMED - 1 : -1])
    more = ", ..." if len(heads) > _NAMED else ""
    return JournalError(f"no run {run} in {where}", remedy=f"there is: {newest}{more}; for all of them type: mdap runs")


def pick(prefix: str, heads: list[RunHead], where: str) -> RunHead:
    """Return the run with this id, or the only one whose id begins so; raises JournalError if there is not one."""
    found = [head for head in heads if head.id.startswith(prefix)]
    for head in found:
        # A whole id may also be the beginning of another.
        if head.id == prefix:
            return head
    if len(found) > 1:
        names = ", ".join(head.id for head in found[:_NAMED])
        raise JournalError(f"{len(found)} runs of {where} begin with {prefix!r}: {names}", remedy="give more of the id")
    if not found:
        raise missing(prefix, heads, where)
    return found[0]
