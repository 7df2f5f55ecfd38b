"""`mdap ledger`: every call of a run by its id, those whose reply was lost, and whether a server's own log agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mdap.cli.options import USUAL_PLACE, Json, Place, RunId

if TYPE_CHECKING:
    from mdap.core.records import Attempt
    from mdap.serve import Call


def ledger(
    run: RunId,
    /,
    *,
    log: Annotated[Path | None, Parameter(help="File of `mdap serve --log`: hold the ledger against it.")] = None,
    place: Place = USUAL_PLACE,
    json: Json = False,
) -> int:
    """List the calls of a run by id, the lost ones too; hold them against a server's log.

    A run lists its calls if it was started with --record samples. A call is unknown where no reply came that could be
    read, nor a status: it may be on the bill. With --log the calls that the server has answered are compared, id by id
    and token by token: the exit code is 1 where they differ.
    """
    import msgspec

    from mdap.cli.report import print_json
    from mdap.cli.stored import opened
    from mdap.core.errors import UsageError
    from mdap.serve import read_log

    with opened(place) as journal:
        head = journal.head(run)
        attempts = list(journal.attempts(head.id))
        # A run that drew nothing has no calls to list, and nothing is wrong with that.
        if not attempts and journal.history(head.id).book.totals.samples:
            raise UsageError(
                f"run {head.id} lists no calls", remedy="start a run with --record samples: `mdap run --help`"
            )
    told = {"run": head.id, **summary(attempts)}
    if log is not None:
        told["log"] = compared(attempts, read_log(log))
    if json:
        print_json(told | {"calls": [msgspec.to_builtins(attempt) for attempt in attempts]})
    else:
        _print(told, attempts)
    return 0 if log is None or told["log"]["agrees"] else 1


def summary(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """Return how many calls were answered, with their tokens, refused, never sent and unknown, by failure."""
    tokens, replies = {"in": 0, "out": 0}, 0
    # All kinds, also where nothing failed so: the keys of the JSON do not depend on how a run went.
    failures: dict[str, Counter[str]] = {name: Counter() for name in _KINDS}
    for attempt in attempts:
        if attempt.failure:
            failures[kind_of(attempt)][attempt.failure] += 1
            continue
        replies += 1
        tokens["in"] += attempt.tokens_in
        tokens["out"] += attempt.tokens_out
    return {"replies": replies, "tokens": tokens, **{name: dict(counts) for name, counts in failures.items()}}


_KINDS = ("refused", "unsent", "unknown")


def kind_of(attempt: Attempt) -> str:
    """Return what became of a failed attempt: refused with a status, unsent, or unknown."""
    return "unknown" if attempt.is_unknown else "refused" if attempt.status else "unsent"


def compared(attempts: Iterable[Attempt], log: Iterable[Call]) -> dict[str, Any]:
    """Return whether a server's log agrees with a ledger, and where it does not.

    It agrees if every reply of the ledger is in the log with the same tokens, and the ledger has an unknown call for
    each that the log has beyond that (one that was given up at once may never have arrived). `differ` are ids whose
    tokens are not the same, `absent` those that the log does not have; `lost` counts replies that the log says were
    made, or begun, and the ledger has not.
    """
    attempts = list(attempts)
    ours = _by_id((attempt.id, attempt.tokens_in, attempt.tokens_out) for attempt in attempts if not attempt.failure)
    # All others were refused with a status, which is no answer on either side.
    calls = [call for call in log if call.status in (0, 200)]
    theirs = _by_id(
        # What was lost on the way has an id that no client has read.
        (call.id, call.tokens_in, call.tokens_out)
        for call in calls
        if call.status == 200 and not call.lost
    )
    unknown = sum(attempt.is_unknown for attempt in attempts)
    differ = sorted(id for id in ours.keys() & theirs.keys() if ours[id] != theirs[id])
    absent = sorted(ours.keys() - theirs.keys())
    lost = sum(call.lost for call in calls) + len(theirs.keys() - ours.keys())
    # At most, for an unknown call may have been given up before it reached the server.
    agrees = not differ and not absent and lost <= unknown
    return {"agrees": agrees, "matched": len(ours) - len(absent) - len(differ)} | {
        "differ": differ,
        "absent": absent,
        "lost": lost,
        "unknown": unknown,
    }


def _by_id(calls: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    """Return the tokens by id; draws that shared a call, which are numbered behind a #, are one."""
    found: dict[str, tuple[int, int]] = {}
    for id, tokens_in, tokens_out in calls:
        name = id.partition("#")[0]
        before = found.get(name, (0, 0))
        found[name] = before[0] + tokens_in, before[1] + tokens_out
    return found


def _print(told: dict[str, Any], attempts: Iterable[Attempt]) -> None:
    from mdap.cli.report import plain_console

    # Ids are a server's own text: brackets in them are no markup.
    console = plain_console()
    for attempt in attempts:
        at = f"step {attempt.step} slot {attempt.slot}" + (f" redraw {attempt.redraw}" if attempt.redraw else "")
        if not attempt.failure:
            what = f"{attempt.id or 'no id'}  {attempt.tokens_in:,} in, {attempt.tokens_out:,} out"
        else:
            what = f"{kind_of(attempt)}: {attempt.failure}"
        console.print(f"{at}  {what}", soft_wrap=True)
    tokens = told["tokens"]
    console.print(f"replies  {told['replies']:,} ({tokens['in']:,} tokens in, {tokens['out']:,} out)")
    for name in _KINDS:
        counts = ", ".join(f"{kind} {count:,}" for kind, count in told[name].items())
        console.print(f"{name}  {sum(told[name].values()):,}{f' ({counts})' if counts else ''}", soft_wrap=True)
    if "log" in told:
        found = told["log"]
        verdict = "agrees" if found["agrees"] else "differs"
        console.print(
            f"the log {verdict}: {found['matched']:,} replies are equal, {len(found['differ']):,} are billed "
            f"otherwise, {len(found['absent']):,} are not in it; {found['lost']:,} of its calls have no reply here, "
            f"where {found['unknown']:,} are unknown",
            soft_wrap=True,
        )
        # A few are enough to begin looking; --json has all.
        for id in [*found["differ"], *found["absent"]][:10]:
            console.print(f"  {id}", soft_wrap=True)
