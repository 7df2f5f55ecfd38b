"""`mdap run` and `mdap resume`: flags in, a call of the library out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from cyclopts import Parameter

from mdap.cli.base_url import with_base_url
from mdap.cli.options import (
    AS_BEFORE,
    RULE,
    UNCHANGED_CHAIN,
    UNSET,
    USUAL_DISPLAY,
    USUAL_MONEY,
    BaseUrl,
    CalibrationFile,
    Display,
    Fixed,
    K,
    Money,
    OfChain,
    ProbeFile,
    Refusals,
    RunId,
    given,
)
from mdap.cli.tapes import NO_TAPES, Tapes
from mdap.cli.tool_flags import NO_TOOLS, ToolFlags, with_tools

Mix = Annotated[
    list[str] | None, Parameter(negative="", help="A further model to draw votes from, in turn; repeatable.")
]
Fallback = Annotated[
    list[str] | None, Parameter(negative="", help="What takes over while a model keeps failing; repeatable.")
]
AcceptChanges = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Go on although task, prompt, model or flags are not the same any more."
    ),
]
RetryFailed = Annotated[
    bool, Parameter(negative="", show_default=False, help="Of a map: take up undecided and failed rows as well.")
]


def run(
    task: Annotated[str, Parameter(help="Such as hanoi:disks=5, or package.module:Class for a class of your own.")],
    /,
    *,
    model: Annotated[str, Parameter(alias="-m", help="Such as simulated:p=0.9 or openai:gpt-4.1-mini.")],
    mix: Mix = None,
    fallback: Fallback = None,
    k: K = None,
    rule: Annotated[str | None, Parameter(help=RULE)] = None,
    calibration: CalibrationFile = None,
    probe: ProbeFile = None,
    base_url: BaseUrl = None,
    changeable: OfChain = UNCHANGED_CHAIN,
    money: Money = USUAL_MONEY,
    fixed: Fixed = UNSET,
    display: Display = USUAL_DISPLAY,
    tapes: Tapes = NO_TAPES,
    tools: ToolFlags = NO_TOOLS,
) -> int:
    """Take a task from its start to its end.

    Every step is decided by votes, in the order in which they were asked for, or is openly undecided. A key for the
    model's server is taken from the environment (OPENAI_API_KEY). What was decided is in the journal before it is
    printed: after Ctrl-C, a kill or a budget, `mdap resume` goes on.
    """
    # Here, not above: `mdap run --help` needs none of it.
    from mdap import api
    from mdap.cli.driving import drive

    chosen = tapes.into(with_base_url(model, base_url))
    # Whoever may be asked is recorded, also who only takes over.
    mixed, next_ones = [[tapes.into(spec) for spec in specs or ()] for specs in (mix, fallback)]
    options: dict[str, Any] = {"mix": mixed, "fallback": next_ones, "probe": probe}
    options |= {**given(changeable), **given(fixed), **money.options, **tools.given}
    return drive(
        lambda journal, observers: with_tools(
            {**options, "journal": journal, "on_event": observers},
            lambda told: api.run(task, chosen, k=k, rule=rule, calibration=calibration, **told),
        ),
        display,
        # Named without a cassette: the command is about calls that are yet to be made.
        note=_assumed(task, with_base_url(model, base_url))
        if k is None and rule is None and calibration is None
        else "",
    )


def _assumed(task: str, model: str) -> str:
    import shlex

    from mdap import parts

    # Quoted, for a spec may hold what a shell reads, such as the sign of a fallback.
    return (
        f"k={parts.DEFAULT_K} is assumed: nothing says yet how often this model is right; "
        f"`mdap calibrate {shlex.quote(task)} --model {shlex.quote(model)}` finds that out"
    )


def resume(
    run: RunId,
    /,
    *,
    accept_changes: AcceptChanges = False,
    retry_failed: RetryFailed = False,
    refusals: Refusals = AS_BEFORE,
    model: Annotated[str | None, Parameter(alias="-m", help="Another model than the run's own.")] = None,
    calibration: CalibrationFile = None,
    probe: ProbeFile = None,
    base_url: BaseUrl = None,
    changeable: OfChain = UNCHANGED_CHAIN,
    money: Money = USUAL_MONEY,
    display: Display = USUAL_DISPLAY,
    tapes: Tapes = NO_TAPES,
    tools: ToolFlags = NO_TOOLS,
) -> int:
    """Go on with a run where its journal ends; a decided step is never asked again.

    Caps, budgets, timeouts and concurrency may change; what is not given stays as it was, and the defaults below are
    those of a new run. Anything else must be as it was, or be accepted.
    """
    from mdap.cli.driving import drive
    from mdap.cli.map import is_map, resume_map
    from mdap.cli.planned import is_planned, resume_planned
    from mdap.cli.stored import existing

    existing(display)
    settings = {**given(changeable), **money.options, **tools.given}
    # By sort, for the one command that goes on with runs of all sorts.
    of_chains = {"--accept-changes": accept_changes, "--probe": probe}
    of_maps = {"--retry-failed": retry_failed}
    of_both = {"--calibration": calibration, "--record-http": tapes.record_http, "--replay-http": tapes.replay_http}
    of_plans = {f"--{name}": True for name in refusals.given}
    if is_map(run, display):
        _refuse(run, "a map", of_chains | of_plans)
        settings |= {"calibration": calibration} if calibration is not None else {}
        return resume_map(run, model, base_url, settings, display, tapes, again=retry_failed)
    if is_planned(run, display):
        _refuse(run, "made of branches", of_chains | of_maps | of_both)
        settings |= refusals.given
        return resume_planned(run, settings, display, model=model, base_url=base_url)
    _refuse(run, "no plan, and nothing is refused in it", of_plans)
    _refuse(run, "no map, and has no rows", of_maps)
    settings |= {"calibration": calibration, "probe": probe, "accept_changes": accept_changes}

    return drive(_going_on(run, model, base_url, tapes, settings), display)


def _going_on(
    run: str, model: str | None, base_url: str | None, tapes: Tapes, settings: dict[str, Any]
) -> Callable[[Any, list[Callable[[Any], None]]], Coroutine[Any, Any, Any]]:
    """Return what goes on with a chain of steps, given its journal and observers."""
    from mdap import api

    def _start(journal: Any, observers: list[Callable[[Any], None]]) -> Coroutine[Any, Any, Any]:
        chosen = model
        # Else None, which leaves the run with the model that it has.
        if base_url is not None or tapes.is_given:
            chosen = tapes.into(with_base_url(model or journal.head(run).model, base_url))
        asked = {**settings, "journal": journal, "on_event": observers}
        return with_tools(asked, lambda told: api.resume(run, model=chosen, **told))

    return _start


def _refuse(run: str, what: str, flags: dict[str, Any]) -> None:
    """Raise UsageError for a flag that was given and means nothing to a run of this sort."""
    from mdap.core.errors import UsageError

    # Refused and not ignored: whoever gave a flag would believe that it holds.
    wrong = [name for name, value in flags.items() if value]
    if wrong:
        raise UsageError(f"{run} is {what}: {wrong[0]} is not for it", remedy=f"leave {wrong[0]} out")


__all__ = ["resume", "run", "with_base_url"]
