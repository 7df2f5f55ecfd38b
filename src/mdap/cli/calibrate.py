"""`mdap calibrate`, and `mdap compare`, which holds a run against a calibration."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from mdap.cli.options import (
    OUTPUT,
    UNCHANGED,
    UNSET,
    USUAL_MONEY,
    USUAL_PLACE,
    BaseUrl,
    Changeable,
    Fixed,
    Json,
    Money,
    Place,
    Quiet,
    Verbose,
    given,
    whole,
)
from mdap.cli.tapes import NO_TAPES, Tapes

if TYPE_CHECKING:
    from mdap.calibrating import Batching, Prospect
    from mdap.core.calibrated import Calibration
    from mdap.core.events import Event

BATCHES = Group("Batches", sort_key=4)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is drawn, for which run, and where it is kept."""

    samples: Annotated[int, Parameter(help="Calls of each model, at most.", converter=whole)] = 1000
    target: Annotated[float, Parameter(help="Probability that all steps of the run are to be right with.")] = 0.95
    steps: Annotated[
        int | None, Parameter(help="Steps of the run to come [default: those of the task]", converter=whole)
    ] = None
    output: Annotated[Path | None, Parameter(help="File to save to, for `mdap run --calibration`.", group=OUTPUT)] = (
        None
    )


USUAL_AIM = Aim()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ByBatch:
    """Whether calls go by the provider's batches."""

    batch: Annotated[
        bool,
        Parameter(
            negative="", group=BATCHES, show_default=False, help="Send calls by batches: half the price, within a day."
        ),
    ] = False
    # Of 26 hours: providers promise a day, and two hours are for those that come late.
    batch_wait: Annotated[
        float, Parameter(group=BATCHES, help="Seconds to wait for a batch; the same command then goes on with it.")
    ] = 93_600.0
    batch_anew: Annotated[
        bool,
        Parameter(
            negative="", group=BATCHES, show_default=False, help="Forget all batches that were submitted before."
        ),
    ] = False
    batch_file: Annotated[
        Path | None,
        Parameter(group=BATCHES, help="File that remembers batches [default: batches.jsonl beside the journal]"),
    ] = None

    @property
    def batching(self) -> Batching | None:
        """What the library is told."""
        if not self.batch:
            return None
        from mdap.calibrating import Batching
        from mdap.models.submissions import Patience

        # A calibration has no journal, so the list stands where that of a run is by default.
        file = self.batch_file or USUAL_PLACE.path.with_name("batches.jsonl")
        return Batching(file, self.batch_anew, Patience(limit=self.batch_wait))


ONE_BY_ONE = ByBatch()


def calibrate(
    task: Annotated[str, Parameter(help="Such as hanoi:disks=20, or package.module:Class for a class of your own.")],
    /,
    *,
    model: Annotated[
        list[str], Parameter(alias="-m", negative="", help="Such as micro; given again, compares models.")
    ],
    aim: Aim = USUAL_AIM,
    base_url: BaseUrl = None,
    changeable: Changeable = UNCHANGED,
    money: Money = USUAL_MONEY,
    fixed: Fixed = UNSET,
    tapes: Tapes = NO_TAPES,
    by_batch: ByBatch = ONE_BY_ONE,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Find out how often models are right on random steps of a task, and what k that takes.

    Says first what it will take. Then reports, for each kind of step: p, v, q, flags, whether wrong votes pile up on
    few steps, tokens and latency; recommends k for the target from the unfavourable end of each interval; and says
    what it cannot know. Where the commonest wrong answer may be commoner than the right one it refuses, with the
    reason: the exit code is 1 if it refuses every model, and 4 if a budget ended the drawing, or a batch took longer
    than --batch-wait.
    """
    from mdap.blocking import calibrate as calibrated
    from mdap.cli.base_url import with_base_url
    from mdap.cli.exits import CODES, say
    from mdap.core.errors import Stop

    chosen = [tapes.into(with_base_url(name, base_url)) for name in model]
    options: dict[str, Any] = {**given(changeable), **given(fixed), **money.options}
    try:
        with _shown(len(chosen) * aim.samples, verbose=verbose, quiet=quiet) as count:
            made = calibrated(
                task,
                chosen,
                samples=aim.samples,
                target=aim.target,
                steps=aim.steps,
                batch=by_batch.batching,
                on_prospect=None if quiet else _say_prospects,
                on_event=count,
                **options,
            )
    # Not an error: the batch goes on at the provider's, and so does the same command.
    except Stop as stop:
        say(f"stopped: {stop.message}")
        say(f"next:  {stop.remedy}")
        return CODES["stopped"]
    # Before it is shown: what was paid for must not depend on whether anybody reads on.
    if aim.output is not None:
        _save(made, aim.output)
    _print(made, json=json)
    return _ended(made, aim.output, fixed)


def _print(made: Calibration, *, json: bool) -> None:
    import msgspec

    from mdap.cli.calibration_report import print_calibration
    from mdap.cli.report import print_json

    if json:
        print_json(msgspec.to_builtins(made))
    else:
        print_calibration(made)


def _save(made: Calibration, output: Path) -> None:
    from mdap.core.errors import UsageError

    try:
        output.write_bytes(made.encode())
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error}", remedy="give --output a file that can be made") from None


def _ended(made: Calibration, output: Path | None, fixed: Fixed) -> int:
    """Say what is in the way of a run, and how to begin one; return the exit code."""
    from mdap.cli.exits import CODES, say

    for found in made.models:
        # The report says it, too, but under --json that is for a program.
        if found.verdict.refusal:
            say(f"refused: {found.model}: {found.verdict.refusal}")
        if found.stopped:
            say(f"budget: {found.model}: {found.stopped}")
    # One that votes can help is enough to begin a run with.
    helped = next((found for found in made.models if not found.verdict.refusal), None)
    if helped is None:
        say("next:  change the prompt, the model or the steps, or add an oracle; a larger k makes it worse")
        return CODES["error"]
    if output is not None:
        # Settings of the samples are those of the run, or its fingerprint would not be that of the calibration.
        named = {"red_flags": "flags"}
        settings = {named.get(name, name): value for name, value in given(fixed).items() if name != "seed"}
        # The word for a temperature that is not sent; as a flag, nothing would mean the default.
        flags = [f"--{name.replace('_', '-')} {'none' if value is None else value}" for name, value in settings.items()]
        words = ["mdap", "run", made.task, "--model", helped.model, "--calibration", str(output)]
        say(f"next:  {' '.join([shlex.join(words), *flags])}")
    return CODES["budget"] if any(found.stopped for found in made.models) else 0


def compare(
    run: Annotated[str, Parameter(help="Id of the run, or a beginning of it that no other run has.")],
    calibration: Annotated[Path, Parameter(help="File that `mdap calibrate --output` wrote.")],
    /,
    *,
    place: Place = USUAL_PLACE,
    json: Json = False,
) -> int:
    """Hold a run against a calibration: steps undecided after each vote.

    A count within the two ends is what steps as alike as the calibration saw them give in 99 of 100 runs. One that is
    above them, but below the end for hard steps, is what a share of hard steps too small to be seen gives.
    """
    from mdap import api
    from mdap.cli.calibration_report import compared, print_compared
    from mdap.cli.report import print_json
    from mdap.cli.stored import opened
    from mdap.core.verdict import undecided_after

    with opened(place) as journal:
        head = journal.head(run)
        took = undecided_after(sum(entry.votes) for entry in journal.decisions(head.id))
        steps = journal.history(head.id).book.steps
    figures = compared(head, steps, took, api.read_calibration(calibration))
    if json:
        print_json(figures)
    else:
        print_compared(figures)
    return 0


def _say_prospects(prospects: Sequence[Prospect]) -> None:
    from mdap.cli.exits import say

    for prospect in prospects:
        say(
            f"cost:  {prospect.model}: at most {prospect.calls:,} calls, about {prospect.tokens_in:,} tokens in, at "
            f"most {prospect.tokens_out_most:,} out{_usd(prospect)}; retries come on top"
        )


def _usd(prospect: Prospect) -> str:
    return "" if prospect.usd_most is None else f", about {prospect.usd_most:,.2f} USD at most"


@contextmanager
def _shown(total: int, *, verbose: int, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Count calls on standard error while they are made, if that is a terminal, and log as far as it is asked for."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mdap.cli.progress import logged
    from mdap.core.events import Called

    # Standard output is for the report alone.
    console = Console(stderr=True)
    columns = (TextColumn("calls"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        # By the same console as the bar, so that the log scrolls above it.
        logged(console, verbose),
        # In a file each state of a bar would be a line of its own.
        Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar,
    ):
        line = bar.add_task("calls", total=total)

        def _count(event: Event) -> None:
            # A call has ended: `change` is that of how many are in flight.
            if type(event) is Called and event.change < 0:
                bar.advance(line)

        yield _count
