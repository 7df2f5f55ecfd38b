"""What the commands print on standard output: JSON, or tables for a person. Nothing here reads a journal or a clock."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mdap.core.errors import UsageError
from mdap.core.estimate import Estimate
from mdap.core.history import Acted
from mdap.core.prices import shown
from mdap.core.rules import rule as rule_named
from mdap.core.scaling import Unaffordable
from mdap.core.tooling import is_about_tool
from mdap.parts import with_k
from mdap.result import Result

STYLES = {"done": "green", "running": "cyan", "undecided": "yellow", "budget": "yellow", "stopped": "yellow"}
# From this share and this number of replies on, truncation is no accident but a cap that is too low.
MUCH_TRUNCATED = 0.05
NO_ACCIDENT = 5
# Characters of a state in a table.
MOST_SHOWN = 200
# Lines of what was done about undecided steps.
MOST_ACTS = 20


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    print(msgspec.json.encode(value).decode())


def print_result(result: Result, acts: Sequence[str] = ()) -> None:
    """Print the closing table of a run; `acts` are what was done about its undecided steps, in words."""
    console = plain_console()
    console.print(Text.assemble(result.run, "  ", (result.status, STYLES.get(result.status, "red"))))
    rows = [
        ("task", result.head.task),
        ("model", result.head.model),
        ("rule", result.rule),
        ("steps", f"{result.steps:,}" + (f" of {result.head.total:,}" if result.head.total else "")),
        *_wrong(result),
        ("result" if result.status == "done" else "state", _cut(_compact(result.state))),
        ("votes", f"{result.votes:,}" + (f" ({result.votes_per_step:.3f} a step)" if result.steps else "")),
        ("contested", f"{sum(seen.contested for seen in result.book.kinds.values()):,}"),
        ("samples", f"{result.samples:,}"),
        *([("second calls", f"{second:,}, for confidences")] if (second := result.book.totals.second_calls) else []),
        ("flagged", _counted(result.flagged)),
        ("retries", _counted(result.retries)),
        ("tokens", f"{result.tokens['in']:,} in, {result.tokens['out']:,} out"),
        *([("cost", shown(result.book.spent.nano))] if result.prices else []),
        (
            "time",
            f"{result.seconds:,.2f} s" + (f" ({result.us_per_step:,.0f} us a step)" if result.us_per_step else ""),
        ),
        *_predicted(result),
        *listed_acts(acts),
    ]
    console.print(pairs(rows))


def told_act(act: Acted) -> str:
    """Return what was done about an undecided step, and by whom, in words."""
    if is_about_tool(act):
        by = f", by {act.by}, {act.at}" if act.by else ""
        return f"step {act.step}: {act.act.partition(':')[0]}{by}: {act.reason}"
    votes = " to ".join(map(str, act.votes)) or "none"
    return f"step {act.step} at votes {votes}: {act.act}" + (f", by {act.by}, {act.at}" if act.by else "")


def listed_acts(acts: Sequence[str]) -> list[tuple[str, str]]:
    """Return rows of a table that list what was done about undecided steps, the first of them."""
    more = [f"... and {len(acts) - MOST_ACTS:,} more"] if len(acts) > MOST_ACTS else []
    return [("" if place else "remedies", told) for place, told in enumerate([*acts[:MOST_ACTS], *more])]


def _wrong(result: Result) -> list[tuple[str, str | Text]]:
    # Absent where the task has no answers: what nobody can tell is not zero.
    figures = result.to_dict()
    if "wrong" not in figures:
        return []
    wrong = figures["wrong"]
    return [("wrong", Text(f"{wrong:,}", style="green" if not wrong else "bold red"))]


def _predicted(result: Result) -> list[tuple[str, str]]:
    certificate = result.certificate
    if certificate.predicted_success is None:
        return [("predicted", f"nothing: {certificate.reason}")]
    return [
        ("predicted", f"{certificate.predicted_success:.4g}: probability that every decided step is right"),
        ("", certificate.assumption),
    ]


def hints(result: Result, flag: str = "") -> list[str]:
    """Return what a person should be told about the figures of a run; each names the command to type.

    `flag` names the journal in it, where it is not the default one.
    """
    settings = result.book.settings or result.head.settings
    again = f"mdap run {shlex.quote(result.head.task)} --model {shlex.quote(result.head.model)}"
    told = []
    share = result.flagged.get("truncated", 0) / max(1, result.samples)
    if share >= MUCH_TRUNCATED and result.flagged["truncated"] >= NO_ACCIDENT:
        cap = settings["max_tokens"]
        told.append(
            f"{share:.0%} of the replies were truncated at --max-tokens {cap}: that is the limit, not a format error; "
            f"`{again} --max-tokens {2 * cap}{flag}` begins anew"
        )
    if result.status == "stopped" and result.steps == result.head.total:
        stricter = _stricter(result.rule)
        # Nothing here knows whether it is: where a wrong answer is the commonest one, a larger k only makes it surer.
        rarer = (
            f"; where right answers are the commonest, a larger k makes that rarer: `{again} --rule {stricter}{flag}`"
            if stricter
            else ""
        )
        told.append(f"a task of {result.steps:,} steps that is not done after them has a wrong decision in it{rarer}")
    return told


def _stricter(rule: str) -> str:
    """Return the same rule with a larger k, or nothing where a rule has none."""
    try:
        return shlex.quote(with_k(rule_named(rule), rule_named(rule).k + 1).spec)
    except UsageError:
        return ""


def print_runs(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the list of runs."""
    cells = [
        (
            row["run"],
            row["status"],
            f"{row['steps']:,}" + (f"/{row['total']:,}" if row["total"] else ""),
            # From the month to the minute: year and seconds seldom tell two runs apart, and width is short.
            row["created"][5:16].replace("T", " "),
            row["task"],
            row["model"],
        )
        for row in rows
    ]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, name in enumerate(("run", "status", "steps", "begun (UTC)", "task", "model")):
        # An id that is cut short cannot be typed; the specs, last, give way.
        widest = max(len(name), *(len(row[place]) for row in cells)) if name not in ("task", "model") else None
        table.add_column(name, justify="right" if name == "steps" else "left", no_wrap=True, min_width=widest)
    for row in cells:
        table.add_row(row[0], Text(row[1], style=STYLES.get(row[1], "red")), *map(Text, row[2:]))
    console = plain_console()
    if not console.is_terminal:
        # Whoever reads from a pipe has no width, and can make nothing of half a spec.
        console.width = sum(max(len(row[place]) for row in cells) for place in range(6)) + 80
    console.print(table)


def print_step(step: Mapping[str, Any]) -> None:
    """Print one step: its ballot, the decision or why there is none, and every recorded sample."""
    console = plain_console()
    of = f"step {step['step']} of {step['run']}"
    votes = " to ".join(map(str, step["votes"])) or "none"
    if step["status"] == "decided":
        console.print(f"{of}: decided by {step['rule']}, votes {votes}")
    else:
        console.print(f"{of}: undecided by {step['rule']}, votes {votes}")
    rows = [("kind", step["kind"])] if step["kind"] else []
    rows.append(("state", _compact(step["state"])))
    if step["status"] == "decided":
        rows += [("action", _compact(step["action"])), ("next state", _compact(step["next_state"]))]
    rows += listed_acts(step["done_about"])
    console.print(pairs(rows))
    samples = step["samples"]
    if not samples:
        console.print(_unrecorded(step))
    print_samples(samples)


def print_samples(samples: Iterable[Mapping[str, Any]]) -> None:
    """Print the recorded samples of one step: each by its slot and redraw, with its vote or flag, and its text."""
    console = plain_console()
    for sample in samples:
        console.print(_sample_head(sample))
        console.print(Padding(Text(sample["text"] or "(empty)"), (0, 0, 0, 4)))


def _unrecorded(step: Mapping[str, Any]) -> str:
    kept = {
        "contested": "the journal keeps those of contested and undecided steps",
        "none": "the run was begun with --record none",
        "samples": "it was decided before they were recorded",
    }[step["record"]]
    return f"  no sample is recorded: {kept}; `mdap run ... --record samples` keeps all of them"


def _sample_head(sample: Mapping[str, Any]) -> Text:
    name = f"{sample['slot']}.{sample['redraw']}" if sample["redraw"] else f"{sample['slot']}"
    if "flag" in sample:
        said = (f"flagged {sample['flag']}: {sample['reason']}", "yellow")
    else:
        # The first candidate is the one that won, or leads.
        said = (f"vote for {letter(sample['candidate'])}", "green" if sample["candidate"] == 0 else "red")
    cost = f"  ({sample['tokens_out']:,} tokens, {sample['latency']:.2f} s)" if sample["tokens_out"] else ""
    model = f"  {sample['model']}" if "model" in sample else ""
    sure = f", confidence {sample['confidence']:.2f}" if "confidence" in sample else ""
    return Text.assemble(("  #" + name, "bold"), " ", said, sure, cost, model)


def letter(candidate: int) -> str:
    """Return the name of a candidate by its number: A to Z, then AA and so on."""
    name = ""
    while candidate >= 0:
        name = chr(ord("A") + candidate % 26) + name
        # Less one, for these names have no zero: AA follows on Z.
        candidate = candidate // 26 - 1
    return name


def print_estimate(made: Estimate) -> None:
    """Print what a run would take, and the table over k."""
    console = plain_console()
    chosen = made.chosen
    reaches = "" if chosen.reaches_target else f"; it takes k={made.k_min}"
    rows: list[tuple[str, str | Text]] = [
        (
            "run",
            f"{made.s:,} steps, p={made.p:g}, v={made.v:g}, target {made.t:g}"
            + (f", m={made.m}" if made.m > 1 else ""),
        ),
        ("k", f"{chosen.k}" + ("" if chosen.k != made.k_min else ", the least that reaches the target") + reaches),
        ("success", _share(chosen.success, chosen.failure)),
        ("votes", f"{chosen.votes_per_step:.4g} a step"),
        ("calls", _large(chosen.calls)),
        *(
            [("tokens", f"{_large(chosen.tokens_in)} in, {_large(chosen.tokens_out)} out")]
            if chosen.tokens_in + chosen.tokens_out
            else []
        ),
        *(
            [("money", f"{chosen.money:,.2f}; a right vote costs {made.cost_per_success:.3g}")]
            if chosen.money is not None
            else []
        ),
        *(
            [("time", f"{duration(chosen.seconds)} of calls, one step after another")]
            if chosen.seconds is not None
            else []
        ),
        *_affordable(made),
        ("assumption", made.assumption),
    ]
    console.print(pairs(rows))
    console.print()
    console.print(_estimates(made))


def _estimates(made: Estimate) -> Table:
    chosen = made.chosen
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    names = ["k", "success", "votes a step", "calls"]
    # On a narrow terminal there is no room for both; the tokens of the chosen k stand above.
    if chosen.tokens_in + chosen.tokens_out and chosen.money is None:
        names += ["tokens in", "tokens out"]
    if chosen.money is not None:
        names.append("money")
    if chosen.seconds is not None:
        names.append("time")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in made.table:
        cells = [str(row.k), _share(row.success, row.failure), f"{row.votes_per_step:.4g}", _large(row.calls)]
        if "tokens in" in names:
            cells += [_large(row.tokens_in), _large(row.tokens_out)]
        if row.money is not None:
            cells.append(f"{row.money:,.2f}")
        if row.seconds is not None:
            cells.append(duration(row.seconds))
        table.add_row(*cells, style="bold" if row.k == chosen.k else None)
    return table


def _affordable(made: Estimate) -> list[tuple[str, str | Text]]:
    if made.affordable is None:
        return []
    if isinstance(made.affordable, Unaffordable):
        return [
            (
                "budget",
                f"{_large(made.affordable.budget)} calls are too few: even k=1 takes {_large(made.affordable.least)}",
            )
        ]
    return [("budget", f"{_large(made.budget_calls or 0)} calls pay for k={made.affordable}")]


def _share(success: float, failure: float) -> str:
    """Return a probability of success without rounding it up to 1."""
    return f"1 - {failure:.2g}" if 0 < failure < 1e-3 else f"{success:.4g}"


def duration(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least one."""
    unit, size = next((unit for unit in _UNITS if seconds >= unit[1]), ("s", 1))
    return f"{seconds / size:,.3g} {unit}"


_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60))


def _large(count: float) -> str:
    # Beyond that a float has hardly any digits left that are true.
    return f"{count:,.0f}" if count < 1e15 else f"{count:.4g}"


def _counted(counts: Mapping[str, int]) -> str:
    if not counts:
        return "none"
    names = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{sum(counts.values()):,}: {names}"


def _cut(text: str) -> str:
    # `--json` has all of it: a state can be a whole document.
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


def _compact(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


def pairs(rows: Sequence[tuple[str, str | Text]]) -> Padding:
    """Return names and values in two columns, values wrapped."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        # Text, not str: names and replies may hold what rich would take for markup.
        grid.add_row(name, Text(value) if isinstance(value, str) else value)
    return Padding(grid, (0, 0, 0, 2), expand=False)


def plain_console() -> Console:
    """Return standard output as it is printed to: no markup, and nothing coloured that was not asked for."""
    return _Plain(highlight=False, markup=False, emoji=False)


class _Plain(Console):
    """A console that leaves it to the command what the end of its reader means; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error as it is."""
        raise  # the BrokenPipeError that rich has just caught
