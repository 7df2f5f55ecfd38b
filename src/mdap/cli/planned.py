"""What `mdap show`, `export` and `resume` do with a run of branches: a plan, its execution, a solved tree."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mdap.cli.options import Display, Place

if TYPE_CHECKING:
    from mdap.branches import BranchStep, OpenStep, Planned
    from mdap.core.records import Sample
    from mdap.protocols import Journal

# How a run is gone on with, by its kind: module:function, called with an `Onward`; it returns the exit code.
RESUMERS: dict[str, str] = dict.fromkeys(("plan", "execute", "do"), "mdap.cli.doing:resume_doing") | {
    "solve": "mdap.cli.solve:resume_solving"
}
# Characters of an action in a list.
MOST_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Onward:
    """A run to be gone on with: what it was begun with, and what the command line says anew.

    `options` are those that a resume may change and that were given; `model` is None where none was.
    """

    run: str
    kind: str
    origin: dict[str, Any]
    display: Display
    options: dict[str, Any]
    model: str | None
    base_url: str | None


def is_planned(run: str, place: Place) -> bool:
    """Say whether the run that an id, or the beginning of one, names is made of branches."""
    from mdap import rowio
    from mdap.cli.stored import opened

    with opened(place) as journal:
        return rowio.is_planned(journal.head(run))


def resume_planned(
    run: str,
    options: dict[str, Any],
    display: Display,
    *,
    model: str | None,
    base_url: str | None,
) -> int:
    """Go on with a run of branches, and return the exit code; raises UsageError for one that a program began."""
    from mdap.cli.stored import opened
    from mdap.core.errors import UsageError
    from mdap.planned import origin_of

    with opened(display) as journal:
        head = journal.head(run)
        kind, origin = origin_of(journal, head.id)
    if kind not in RESUMERS:
        raise UsageError(
            f"{head.id} was begun by a program, which alone has its branches",
            remedy=f"go on with it there: mdap.planned.conducting(..., run={head.id!r})",
        )
    # By name, for these commands import what stands here: imported above, they would close a ring.
    module, _, name = RESUMERS[kind].partition(":")
    go_on = getattr(import_module(module), name)
    code: int = go_on(
        Onward(
            run=head.id,
            kind=kind,
            origin=origin,
            display=display,
            options=options,
            model=model,
            base_url=base_url,
        )
    )
    return code


def show_planned(run: str, step: int | None, row: int | None, place: Place, *, json: bool) -> bool:
    """Print a run of branches, and return True; print nothing and return False for a run of another sort.

    `step` and `row` choose steps, of which then all recorded samples are printed.
    """
    from mdap.branches import open_steps, planned, samples_of, steps_of
    from mdap.cli.exits import say_ways_on
    from mdap.cli.stored import opened
    from mdap.core.errors import UsageError
    from mdap.result import standing
    from mdap.rowio import is_planned

    with opened(place) as journal:
        head = journal.head(run)
        if not is_planned(head):
            return False
        result = planned(journal, head.id)

        def _is_chosen(item: int, at: int | None) -> bool:
            return (row is None or row == item) and (step is None or step == at)

        decided = [made for made in steps_of(journal, head.id) if _is_chosen(made.item, made.step)]
        left = [made for made in open_steps(journal, head.id) if _is_chosen(made.item, made.step)]
        # A run of which nothing was asked yet has an empty list; a step that was named has to be there.
        if not decided and not left and (step is not None or row is not None):
            raise UsageError(f"no such step of {head.id} was asked", remedy=f"mdap show {head.id}{place.flag}")
        samples: dict[tuple[int, int], list[Sample]] = {}
        # Those of all steps together would be most of the journal.
        if step is not None:
            for item in {*(made.item for made in decided), *(one.item for one in left)}:
                samples[item, step] = samples_of(journal, head.id, item, step)
        acts = _acts(journal, head.id)
        # As it stands: one whose process was killed has no end in the journal, and still wants a way on.
        book = standing(journal, head.id).book
    if json:
        _print_json(result, decided, left, samples, acts)
    else:
        _print(result, decided, left, samples, acts)
        say_ways_on(head, book, place.flag)
    return True


def _acts(journal: Journal, run: str) -> list[str]:
    from mdap.cli.report import told_act

    return [f"branch {act.item}, {told_act(act)}" for act in journal.acts(run)]


def _print_json(
    result: Planned,
    decided: list[BranchStep],
    left: list[OpenStep],
    samples: dict[tuple[int, int], list[Sample]],
    acts: list[str],
) -> None:
    import msgspec

    from mdap.cli.report import print_json

    def _with_samples(made: Any) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(made)
        found = samples.get((made.item, made.step))
        # Keys are bytes of no use to a reader.
        return told if found is None else told | {"samples": [_sample(sample) for sample in found]}

    print_json(
        result.to_dict()
        | {"steps": [_with_samples(made) for made in decided], "open": [_with_samples(made) for made in left]}
        | {"done_about": acts}
    )


def _sample(sample: Sample) -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(sample)
    return {name: value for name, value in told.items() if name not in ("key", "digest")}


def _print(
    result: Planned,
    decided: list[BranchStep],
    left: list[OpenStep],
    samples: dict[tuple[int, int], list[Sample]],
    acts: list[str],
) -> None:
    from mdap.cli.report import listed_acts, pairs, plain_console

    console = plain_console()
    console.print(f"{result.run}  {result.status}")
    total = result.total
    rows = [
        ("kind", result.kind),
        ("model", result.model),
        ("branches", ", ".join(f"{count:,} {name}" for name, count in result.branches.items()) or "none"),
        ("steps", f"{total.steps:,}"),
        ("votes", f"{total.votes:,}"),
        ("tokens", f"{total.tokens_in:,} in, {total.tokens_out:,} out"),
        *([("cost", f"${total.cost_usd:f}")] if total.cost_usd is not None else []),
        ("time", f"{result.seconds:,.2f} s"),
        *((name or "steps of no kind", _role(result, name)) for name in result.roles),
        *listed_acts(acts),
    ]
    console.print(pairs(rows))
    for made in decided:
        votes = " to ".join(map(str, made.votes)) or "none"
        console.print(
            f"branch {made.item}  step {made.step}  {made.kind}  votes {votes}  {_short(made.action)}", soft_wrap=True
        )
        _print_samples(samples.get((made.item, made.step), []))
    for one in left:
        where = f"branch {one.item}" + ("" if one.step is None else f"  step {one.step}  {one.kind}")
        console.print(f"{where}  {one.status}: {one.reason}", soft_wrap=True)
        _print_samples(samples.get((one.item, one.step), []) if one.step is not None else [])


def _role(result: Planned, kind: str) -> str:
    role = result.roles[kind]
    flagged = f", {sum(role.flagged.values()):,} flagged" if role.flagged else ""
    # A role without a model or a rule of its own has those of the run.
    asked = f"{result.models.get(kind) or result.model} by {result.rules.get(kind) or result.rule}"
    return f"{role.steps:,} steps, {role.calls:,} calls, {role.votes:,} votes{flagged}: {asked}"


def _print_samples(samples: list[Sample]) -> None:
    from mdap.cli.report import plain_console

    console = plain_console()
    for sample in samples:
        redraw = f" redraw {sample.redraw}" if sample.redraw else ""
        verdict = f"flag {sample.flag}: {sample.reason}" if sample.flag else "vote"
        console.print(f"    slot {sample.slot}{redraw}  {verdict}  {sample.text}", soft_wrap=True)


def _short(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
