"""`mdap metrics`: a run in figures, as a table, as one JSON record, or step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mdap.cli.options import USUAL_PLACE, Json, Place, RunId

if TYPE_CHECKING:
    from mdap.core.metrics import FlagMetrics, RunMetrics
    from mdap.flagging import DryRun, FlagPrecision
    from mdap.measuring import Reading


def metrics(
    run: RunId,
    /,
    *,
    steps: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="The figures of each step: one JSON object a line, or within the one object of --json.",
        ),
    ] = False,
    flags: Annotated[
        Literal["paper", "strict", "relaxed"] | None,
        Parameter(
            show_default=False,
            help="Try these red flags on the recorded samples: what they would discard, and how much of that is wrong.",
        ),
    ] = None,
    place: Place = USUAL_PLACE,
    json: Json = False,
) -> int:
    """Print a run, a map or a plan in figures.

    Totals are those of `mdap show`. Beside them: the decided ballots with their effective votes, and each red flag with
    what became of the answers that it discarded, as far as samples were recorded (--record samples, at the start,
    records all). With --json: one record, which `mdap.core.metrics.read_metrics` reads back. With --flags nothing is
    asked and nothing changes: precision beside what discarding at random would have.
    """
    from mdap.cli.report import print_json
    from mdap.cli.stored import opened
    from mdap.core.errors import UsageError
    from mdap.measuring import Reading

    if flags is not None and steps:
        raise UsageError("red flags are tried on a run as a whole", remedy="leave --steps or --flags out")
    with opened(place) as journal:
        if flags is not None:
            from mdap.flagging import dry_run

            tried = dry_run(journal, run, flags)
            _print_tried_json(tried) if json else _print_tried(tried, flags)
            return 0
        reading = Reading(journal, run)
        if steps and not json:
            # A line as soon as its step is read: who looks for one in a long run need not wait for the last.
            for step in reading.steps():
                print_json(step)
            return 0
        if steps:
            _print_each(reading)
            return 0
        found = reading.fold.result(reading.read_on())
    print_json(found) if json else _print(found)
    return 0


def _print_each(reading: Reading) -> None:
    """Print the record with its steps, written as they are read: nobody has to hold a million of them."""
    import sys

    import msgspec

    out, first = sys.stdout, True
    out.write('{"each":[')
    for step in reading.steps():
        out.write(("" if first else ",") + msgspec.json.encode(step).decode())
        first = False
    # The totals are known once all steps are folded in, and stand behind them.
    out.write("]," + msgspec.json.encode(reading.fold.result()).decode()[1:] + "\n")


def _print(found: RunMetrics) -> None:
    from mdap.cli.report import pairs, plain_console

    console = plain_console()
    console.print(f"{found.run}  {found.status}")
    ballots = found.ballots
    rows = [
        ("steps", f"{found.steps:,}" + (f", {found.undecided:,} undecided" if found.undecided else "")),
        *([("rows", ", ".join(f"{count:,} {name}" for name, count in found.rows.items()))] if found.rows else []),
        ("samples", f"{found.samples:,}"),
        ("votes", f"{found.votes:,}" + (f" ({found.votes_per_step:.3f} a step)" if found.steps else "")),
        ("ballots", f"{ballots.steps:,} decided by {ballots.least} to {ballots.most} votes each"),
        ("", f"{ballots.contested:,} contested, {ballots.dissent:,} votes lost"),
        ("effective", f"{ballots.effective_votes:,.0f} of {ballots.votes:,} votes"),
        ("flagged", f"{sum(found.flagged.values()):,} ({found.flag_share:.2%} of the samples)"),
        ("tokens", f"{found.tokens['in']:,} in, {found.tokens['out']:,} out"),
        ("time", f"{found.seconds:,.2f} s"),
    ]
    if found.cost is not None:
        each = "" if found.cost.per_step is None else f" (${found.cost.per_step} a step)"
        rows.append(("cost", f"${found.cost.usd}{each}"))
    if found.predicted_success is not None:
        rows.append(("predicted", f"{found.predicted_success:.4g}: probability that every decided step is right"))
    console.print(pairs([*rows, *(_flag(flag) for flag in found.flags)]))


def _flag(flag: FlagMetrics) -> tuple[str, str]:
    told = f"{flag.count:,} ({flag.share:.2%} of the samples), {flag.recorded:,} recorded in {flag.steps:,} steps"
    # Of samples that were not kept nothing but their number is known.
    if flag.recorded:
        told += f": the answer was wrong in {flag.wrong:,}, right in {flag.right:,}, unknown in {flag.unknown:,}"
    return f"  {flag.name}", told if flag.precision is None else f"{told}; precision {flag.precision:.2%}"


def _print_tried_json(tried: DryRun) -> None:
    import msgspec

    from mdap.cli.report import print_json

    def _told(one: FlagPrecision) -> dict[str, object]:
        # These two are reckoned, not stored, and would be left out.
        return {**msgspec.to_builtins(one), "unknown": one.unknown, "precision": one.precision}

    whole = {**msgspec.to_builtins(tried), "base": tried.base, "together": _told(tried.together)}
    print_json(whole | {"by_flag": [_told(one) for one in tried.by_flag]})


def _print_tried(tried: DryRun, preset: str) -> None:
    from mdap.cli.exits import say
    from mdap.cli.report import pairs, plain_console

    console = plain_console()
    console.print(f"{tried.run}  {preset} red flags, tried on recorded samples")
    known = f"{tried.wrong:,} wrong, {tried.right:,} right"
    # Beside every precision: where most answers are wrong, any flag looks good.
    random = "" if tried.base is None else f"; discarded at random: precision {tried.base:.2%}"
    rows = [("samples", f"{tried.samples:,} recorded: {known}{random}")]
    rows += [(f"  {one.name}", _tried(one)) for one in (*tried.by_flag, tried.together)]
    console.print(pairs(rows))
    if not tried.samples:
        say("note:  no samples are recorded; a run that is begun with --record samples has all of them")


def _tried(one: FlagPrecision) -> str:
    if not one.flagged:
        return "would discard nothing"
    told = f"would discard {one.flagged:,}: {one.wrong:,} wrong, {one.right:,} right, {one.unknown:,} unknown"
    return told if one.precision is None else f"{told}; precision {one.precision:.2%}"
