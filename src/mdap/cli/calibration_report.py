"""What `mdap calibrate` and `mdap compare` print on standard output. Nothing here draws, reads a file or judges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdap.cli.report import duration, pairs, plain_console
from mdap.core.calibrated import Calibration, ModelCalibration
from mdap.core.calibration import LEVEL, Clustering, Kind, Range, Sort
from mdap.core.errors import UsageError
from mdap.core.evidence import Share
from mdap.core.history import RunHead
from mdap.core.rules import AheadByK
from mdap.core.rules.weighing import Weighing
from mdap.core.scaling import HARD_P
from mdap.core.verdict import Projection, Round, Unseen, rounds
from mdap.tasks.rulebook import rule as rule_named

_STATES = {
    "sample": "states drawn by the task",
    "answer": "states along the task's own answers",
    "votes": "states of a short run by votes",
}
_TRUTH = {
    "answer": "right is what the task answers",
    "votes": "right is what votes with a large margin settled on, since the task has no answers: a step whose "
    "commonest answer is wrong looks right here",
}


def print_calibration(made: Calibration) -> None:
    """Print the report of a calibration."""
    console = plain_console()
    heat = "no temperature" if made.temperature is None else f"temperature {made.temperature:g}"
    console.print(f"{made.task}: {_STATES[made.states_from]}, {heat}; {_TRUTH[made.truth_from]}")
    for model in made.models:
        console.print()
        _print_model(console, model, made)
    if len(made.models) > 1:
        console.print()
        console.print(_ranking(made.models))


def _print_model(console: Console, model: ModelCalibration, made: Calibration) -> None:
    console.print(f"{model.model}: {model.calls:,} calls", style="bold")
    if model.unsettled:
        console.print(f"  {model.unsettled:,} states that votes could not settle count as wrong")
    console.print(_kinds_table(model.kinds))
    for kind in model.kinds:
        console.print(pairs(_kind_rows(kind, len(model.kinds))))
    if model.weighing is not None:
        console.print(pairs(_weighing_rows(model, model.weighing, made.target)))
    verdict = model.verdict
    if verdict.k is None:
        rows: list[tuple[str, str | Text]] = [("k", f"none: {verdict.refusal}")]
        # By this a reader sees whether votes cannot help, or only too few samples were drawn to say so.
        if verdict.k_if_exact:
            rows.append(("", f"(if every estimate were exact, k={verdict.k_if_exact})"))
        console.print(pairs(rows))
        return
    console.print(pairs(_verdict_rows(model, made)))
    if verdict.rounds:
        console.print(_rounds_table(verdict.rounds))


def _kinds_table(kinds: Sequence[Kind]) -> Table:
    table = _table("kind", "states", "p", "v", "q, at most", "tokens in, out")
    for kind in kinds:
        tokens = f"{kind.tokens_in:,.0f}, {kind.tokens_out:,.0f}"
        q = f"{kind.q.value:.2g}, {kind.q.high:.2g}"
        # Of a task without kinds all steps are of one that has no name.
        table.add_row(kind.name or "all", f"{kind.states:,}", _interval(kind.p), _interval(kind.v), q, tokens)
    return table


def _kind_rows(kind: Kind, kinds: int) -> list[tuple[str, str | Text]]:
    rows: list[tuple[str, str]] = []
    if kind.flags:
        rows.append(("flags", ", ".join(f"{name} {count:,}" for name, count in kind.flags.items())))
        rows.append(("flags again", _piled(kind.flagged, "flags")))
    rows.append(("wrong again", _piled(kind.wrong, "wrong votes")))
    # The first sort is that of the easy steps, or of all where none stand out.
    rows += [("hard steps", _hard(sort, kind.sorts[0])) for sort in kind.sorts[1:]]
    if kind.latency is not None:
        took = kind.latency
        rows.append(("latency", f"median {took.median:.3g} s, p90 {took.p90:.3g} s, sigma {took.sigma:.2f}"))
    if kind.timing is not None:
        # Divided by the number of kinds, for with more of them more seem timed by chance (Bonferroni).
        rows.append(("and truth", _timed(kind, LEVEL / kinds)))
    return [(f"{name} ({kind.name})" if kinds > 1 and kind.name else name, text) for name, text in rows]


def _hard(sort: Sort, easy: Sort) -> str:
    return (
        f"about {sort.share:.2g} of them (at most {sort.most:.2g}), with p={_range(sort.p)} and q up to "
        f"{sort.q.high:.2g}; the others have p={_range(easy.p)}"
    )


def _piled(clustering: Clustering, what: str) -> str:
    if not clustering.trials:
        return f"no {what} to look at again"
    seen = f"{clustering.hits:,} of {clustering.trials:,} on the {clustering.states:,} steps drawn again"
    if clustering.found:
        # A p-value can be smaller than any float; "below 0" would be a claim that nobody can make.
        return f"{seen}: {what} pile up on few steps (p-value below {max(clustering.p_value, 1e-300):.1g})"
    return f"{seen}: no sign that {what} pile up (p-value {clustering.p_value:.2g})"


def _timed(kind: Kind, level: float) -> str:
    timing = kind.timing
    assert timing is not None
    if timing.p_value >= level:
        return f"no sign that wrong votes ({timing.first:,}) take more or less time than right ones"
    more = "more" if timing.chance > 0.5 else "less"
    return (
        f"wrong votes take {more} time (chance {timing.chance:.2f}, p-value {timing.p_value:.1g}): votes must be "
        "counted in the order asked, and hedging would change results"
    )


def _weighing_rows(model: ModelCalibration, made: Weighing, target: float) -> list[tuple[str, str]]:
    figures = (
        f"WQD {made.wqd:.2f}; off by {made.raw_ece:.3f} as told, by {made.ece:.3f} scaled; a weighted vote says "
        f"{made.gain:.2f} times what a counted one says"
    )
    if not made.worth:
        return [("weights", f"not worth it: {made.reason}"), ("", figures if made.scale else "count votes instead")]
    # The weights hold for the source that the samples had, and only the fingerprint says which that was.
    source = msgspec.json.decode(model.fingerprint["settings"])["confidence"]
    return [("weights", f"worth it: --rule {log_odds_spec(made, target)} --confidence {source}"), ("", figures)]


def log_odds_spec(made: Weighing, target: float) -> str:
    """Return the rule that weighs as a calibration found; the scale is rounded down, to the safe side."""
    return f"log_odds:{target:g},scale={math.floor(made.scale * 1000) / 1000:g},shift={made.shift:.3f}"


def _verdict_rows(model: ModelCalibration, made: Calibration) -> list[tuple[str, str | Text]]:
    verdict = model.verdict
    # Where there is a k, both of these are there.
    assert verdict.projection is not None
    assert verdict.unseen is not None
    marked = ", from ln(p/q): p is 0.5 or less, and wrong answers are rarer than the right one" * verdict.by_rivals
    rows: list[tuple[str, str | Text]] = [
        ("k", f"{verdict.k} for {made.target:g} over {made.steps:,} steps{marked}"),
        ("", f"at the unfavourable ends of all intervals; {verdict.k_if_exact} if every estimate were exact"),
        *_projection_rows(verdict.projection),
        *_unseen_rows(verdict.unseen),
    ]
    amount = model.usd
    if amount is not None:
        # Behind k, its second line, and success, votes, calls and tokens: money stands next to what it pays for.
        rows.insert(6, ("USD", f"{amount.value:,.2f} ({amount.low:,.2f} to {amount.high:,.2f})"))
    if model.stopped:
        rows.append(("stopped", model.stopped))
    return rows


def _projection_rows(projection: Projection) -> list[tuple[str, str]]:
    rows = [
        ("success", f"at least {projection.success:.4g}, if the steps are as these samples were"),
        ("votes", f"{_range(projection.votes_per_step, 4)} a step"),
        ("calls", _count(projection.calls)),
        ("tokens", f"{_count(projection.tokens_in)} in; {_count(projection.tokens_out)} out"),
    ]
    if projection.seconds is not None:
        rows.append(("time", f"{_hours(projection.seconds)} of calls, one step after another"))
    return rows


def _unseen_rows(unseen: Unseen) -> list[tuple[str, str]]:
    text = (
        f"{unseen.states:,} steps cannot exclude that {unseen.share:.2g} of all are hard; with p={HARD_P} there the "
        f"run would succeed with {unseen.success:.2g}, and the target allows {unseen.allowed:.2g}. For certainty each "
        f"step would need {unseen.unanimous} votes against none"
    )
    return [("not known", text)]


def _rounds_table(rows: Sequence[Round]) -> Table:
    table = _table("undecided after", "at least", "expected", "at most", "at most, with unseen hard steps")
    # The rest says the same of ever fewer steps; --json has it.
    for row in rows[:8]:
        table.add_row(f"{row.votes} votes", f"{row.low:,}", f"{row.expected:,.1f}", f"{row.high:,}", f"{row.if_hard:,}")
    return table


def _ranking(models: Sequence[ModelCalibration]) -> Table:
    is_priced = any(model.usd_per_step is not None for model in models)
    table = _table("model", "k", "calls a step", "tokens a step", *(["USD a step"] * is_priced))
    for model in models:
        calls, projection = model.calls_per_step, model.verdict.projection
        if calls is None or projection is None:
            table.add_row(model.model, "none")
            continue
        price = "" if model.usd_per_step is None else f"{model.usd_per_step:.3g}"
        tokens = (projection.tokens_in.value + projection.tokens_out.value) / projection.calls.value * calls
        table.add_row(model.model, str(projection.k), f"{calls:.3f}", f"{tokens:,.0f}", *([price] * is_priced))
    return table


def compared(head: RunHead, steps: int, undecided: Sequence[int], calibration: Calibration) -> dict[str, Any]:
    """Return what was predicted for a run and what was seen, vote by vote.

    Raises FingerprintChanged where the calibration is of something else, UsageError where nothing was predicted.
    """
    fitting = calibration.fitting(head.fingerprint)
    judged = rule_named(head.rule)
    # Of this rule alone is it known how many steps each further vote decides.
    predicted = list(rounds(fitting.kinds, judged.k, steps)) if isinstance(judged, AheadByK) and steps else []
    if not predicted:
        raise UsageError(
            f"nothing is predicted for {steps} steps under {head.rule}",
            remedy="compare a run under ahead_by_k, with p above 0.5, that has decided steps",
        )
    rows = []
    for row in predicted:
        # Behind its end no step was left open.
        seen = undecided[row.votes - 1] if row.votes <= len(undecided) else 0
        place = "inside" if row.low <= seen <= row.high else "hard steps" if seen <= row.if_hard else "outside"
        rows.append({**msgspec.structs.asdict(row), "seen": seen, "place": "below" if seen < row.low else place})
    # Predictions end where no step is expected to be left.
    longest = predicted[-1].votes
    piled = any(kind.wrong.found for kind in fitting.kinds)
    beyond = undecided[longest] if len(undecided) > longest else 0
    return {"run": head.id, "rule": head.rule, "steps": steps, "piled": piled, "rounds": rows, "beyond": beyond}


def print_compared(figures: dict[str, Any]) -> None:
    """Print what `compared` returns."""
    console = plain_console()
    console.print(f"{figures['run']}: {figures['steps']:,} steps by {figures['rule']}")
    table = _table("undecided after", "at least", "expected", "at most", "with hard steps", "seen", "")
    for row in figures["rounds"]:
        table.add_row(
            f"{row['votes']} votes",
            f"{row['low']:,}",
            f"{row['expected']:,.1f}",
            f"{row['high']:,}",
            f"{row['if_hard']:,}",
            f"{row['seen']:,}",
            row["place"],
        )
    console.print(table)
    if figures["piled"]:
        console.print("the calibration had found that wrong votes pile up on few steps", soft_wrap=True)
    if figures["beyond"]:
        console.print(f"{figures['beyond']:,} steps took more votes than predicted for any", soft_wrap=True)


def _interval(share: Share) -> str:
    return f"{_truly(share.value)} ({_truly(share.low)} to {_truly(share.high)})"


def _truly(share: float) -> str:
    """Three digits of a share, or of what it lacks to 1: 0.99978 must not read as 1."""
    return f"{share:.3g}" if not 0.99 <= share < 1 else f"{share:.{2 - math.floor(math.log10(1 - share))}f}"


def _range(amount: Range, digits: int = 3) -> str:
    return f"{amount.value:.{digits}g} ({amount.low:.{digits}g} to {amount.high:.{digits}g})"


def _count(amount: Range) -> str:
    return f"{amount.value:,.0f} ({amount.low:,.0f} to {amount.high:,.0f})"


def _hours(seconds: Range) -> str:
    return f"{duration(seconds.value)} ({duration(seconds.low)} to {duration(seconds.high)})"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in names:
        table.add_column(name, justify="left" if name in ("kind", "model", "") else "right")
    return table
