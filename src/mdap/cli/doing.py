"""`mdap plan`, `mdap execute` and `mdap do`: flags in, a plan or a final state out. Nothing is asked here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from mdap.cli.base_url import with_base_url
from mdap.cli.branched import COMMON, ROLES, Begin, Common, Model, addressed_to, drive, file_of, paired
from mdap.cli.executor import Executor, executor_settings
from mdap.cli.options import UNSET, Display, Fixed, given, whole
from mdap.cli.texts import read_text, typed_text
from mdap.cli.tool_flags import with_tools

if TYPE_CHECKING:
    from mdap.cli.planned import Onward
    from mdap.doing import Execution, Plan

_PLAN, _WORK = Group("Plan", sort_key=2), Group("Execution", sort_key=2)
_Whole = int | None


@Parameter(name="*", group=ROLES)
@dataclass(frozen=True, kw_only=True)
class Planners:
    """Who plans."""

    planning_model: Annotated[str | None, Parameter(help="Who proposes steps, in place of --model.")] = None
    plan_voting_model: Annotated[str | None, Parameter(help="Who judges proposals, in place of --model.")] = None


@Parameter(name="*", group=ROLES)
@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who carries out."""

    execution_model: Annotated[str | None, Parameter(help="Who carries out steps, in place of --model.")] = None
    execution_voting_model: Annotated[str | None, Parameter(help="Who judges states, in place of --model.")] = None


@Parameter(name="*", group=_PLAN)
@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a plan may be."""

    max_steps: Annotated[_Whole, Parameter(help="Steps of the plan at most. [default: 20]", converter=whole)] = None
    restarts: Annotated[
        _Whole, Parameter(help="Times that a plan is begun anew, after 5 refusals. [default: 2]", converter=whole)
    ] = None
    prepend: Annotated[Path | None, Parameter(help="File of a plan whose steps stand before all others.")] = None


@Parameter(name="*", group=_WORK)
@dataclass(frozen=True, kw_only=True)
class Carried:
    """How a plan is carried out."""

    execution: Annotated[
        Literal["judge", "race"] | None,
        Parameter(help="Judges say Yes or No to one new state, or several states race. [default: judge]"),
    ] = None
    form: Annotated[Literal["text", "json"] | None, Parameter(help="What the state is. [default: text]")] = None
    start: Annotated[Path | None, Parameter(help="File of the state before the first step. [default: empty]")] = None
    attempts: Annotated[_Whole, Parameter(help="Attempts at a batch of steps. [default: 5]", converter=whole)] = None
    candidates: Annotated[
        _Whole, Parameter(help="Free texts that race, for judges to choose from. [default: 3]", converter=whole)
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for by all three commands."""

    # None throughout, not the defaults of the library: what was not typed may stand in the settings of IgniteUI MAKER.
    batch_size: Annotated[_Whole, Parameter(help="Steps of a proposal or a change. [default: 2]", converter=whole)] = (
        None
    )
    k: Annotated[
        _Whole, Parameter(help="Votes by which a verdict has to lead; in a race 3. [default: 10]", converter=whole)
    ] = None
    format: Annotated[str | None, Parameter(help="What the result has to look like, in words.")] = None
    template: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="NAME=FILE",
            help="File in place of a prompt: plan, plan_vote, execute, execute_vote, execute_choose, join; repeatable.",
        ),
    ] = None
    executor: Executor = None


Prompt = Annotated[str | None, Parameter(help="What is to be done.")]
File = Annotated[str | None, file_of("prompt")]
# Made here and not in the signatures: it is one object for all calls either way, and here that can be seen.
USUAL, NOBODY, NOBODY_ELSE, ANY_PLAN, ANY_WAY = Asked(), Planners(), Workers(), Planned(), Carried()


def plan(
    prompt: Prompt = None,
    /,
    *,
    model: Model = None,
    file: File = None,
    planners: Planners = NOBODY,
    asked: Asked = USUAL,
    planned: Planned = ANY_PLAN,
    common: Common = COMMON,
    fixed: Fixed = UNSET,
) -> int:
    """Make a plan: steps are proposed, judged and added until judges agree that it is complete.

    Judges answer Yes, No with a reason, or End; reasons go into the next proposal. The plan is printed as a JSON array
    of its steps, which `mdap execute` takes. After Ctrl-C, a kill or a budget, `mdap resume` goes on.
    """
    options = _options(asked, planners, planned, fixed=fixed, common=common)
    begin = _beginning("plan", typed_text(prompt, file, "prompt", "plan"), model, common.base_url, options)
    return _drive(begin, common.display)


def execute(
    plan: Annotated[Path, Parameter(help="File of the plan: a JSON array of steps, as `mdap plan` prints it.")],
    /,
    *,
    prompt: Annotated[str | None, Parameter(help="What was planned for.")] = None,
    file: File = None,
    model: Model = None,
    workers: Workers = NOBODY_ELSE,
    asked: Asked = USUAL,
    carried: Carried = ANY_WAY,
    common: Common = COMMON,
    fixed: Fixed = UNSET,
) -> int:
    """Carry out a plan, and print the final state as it is.

    Steps that wait for nothing are carried out at the same time. What was carried out is kept: after a refusal,
    Ctrl-C, a kill or a budget, `mdap resume` goes on from the state before the batch that was not finished.
    """
    options = _options(asked, workers, carried, fixed=fixed, common=common)
    # As text: what is wrong with a plan is for the library to say.
    steps = read_text(plan, "the plan")
    purpose = typed_text(prompt, file, "prompt", "execute PLAN.json --prompt")
    return _drive(_beginning("execute", purpose, model, common.base_url, options, steps), common.display)


def do(
    prompt: Prompt = None,
    /,
    *,
    model: Model = None,
    file: File = None,
    planners: Planners = NOBODY,
    workers: Workers = NOBODY_ELSE,
    asked: Asked = USUAL,
    planned: Planned = ANY_PLAN,
    carried: Carried = ANY_WAY,
    common: Common = COMMON,
    fixed: Fixed = UNSET,
) -> int:
    """Make a plan and carry it out, in one run, and print the final state as it is.

    It is `mdap plan`, then `mdap execute`, under one budget and one journal.
    """
    options = _options(asked, planners, workers, planned, carried, fixed=fixed, common=common)
    begin = _beginning("do", typed_text(prompt, file, "prompt", "do"), model, common.base_url, options)
    return _drive(begin, common.display)


def resume_doing(onward: Onward) -> int:
    """Go on with a run of one of these commands; return the exit code."""
    from mdap.core.errors import UsageError
    from mdap.doing import FOREIGN
    from mdap.planning.atomic import not_atomic

    origin = onward.origin
    brief = dict(origin["brief"])
    # The journal holds the name of the check and not its code; the one that ships can be found again by it.
    if brief["check_step"] not in ("", not_atomic.__qualname__):
        raise UsageError(
            f"steps of {onward.run} are checked by {brief['check_step']}, which the journal does not hold",
            remedy=f"go on with it where it was begun: mdap.{onward.kind}(..., run={onward.run!r})",
        )
    brief["check_step"] = not_atomic if brief["check_step"] else None
    # A brief holds the defaults of what this kind of run has no use for, which would be refused as options.
    brief = {name: value for name, value in brief.items() if name not in FOREIGN[onward.kind]}
    models = {name: model for name, model in origin["models"].items() if model is not None}
    model = onward.model or models.pop("model", None)
    # With a model that is said anew, the old one is still among them.
    roles = addressed_to({name: spec for name, spec in models.items() if name != "model"}, onward.base_url)
    # In this order, since what is said anew comes before what was.
    options = {**brief, **onward.options, **roles, "run": onward.run}
    begin = _beginning(onward.kind, origin["prompt"], model, onward.base_url, options, origin["steps"])
    return _drive(begin, onward.display)


def _beginning(
    kind: str, prompt: str, model: str | None, base_url: str | None, options: dict[str, Any], steps: Any = ()
) -> Begin:
    """Return what begins, or goes on with, a run, given its journal and an observer."""
    from mdap import doing

    options = _with_executor(kind, model, base_url, dict(options))
    chosen = None if model is None else with_base_url(model, base_url)

    # Not begun at once: the journal is opened later, and a coroutine that nobody awaits complains.
    def _begin(journal: Any, observer: Callable[[Any], None]) -> Coroutine[Any, Any, Any]:
        asked = {**options, "journal": journal, "on_event": observer}
        return with_tools(asked, _go)

    def _go(asked: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        if kind == "execute":
            return doing.execute(steps, prompt, chosen, **asked)
        return doing.plan(prompt, chosen, **asked) if kind == "plan" else doing.do(prompt, chosen, **asked)

    return _begin


def _with_executor(kind: str, model: str | None, base_url: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the settings of IgniteUI MAKER for what was not given; keys go to where models look."""
    found = executor_settings(options.pop("executor", None), is_used=model is None)
    if found is None:
        return options
    settings = found.options(kind, models=model is None)
    settings |= addressed_to({name: settings[name] for name in settings if name.endswith("_model")}, base_url)
    # What was typed stands last, and so holds.
    return settings | options


def _options(*flags: Any, fixed: Fixed, common: Common) -> dict[str, Any]:
    """Return what the library is told: what was typed, files read, the address put into the models of roles."""
    found = {field.name: getattr(one, field.name) for one in flags for field in fields(one)}
    found = {name: value for name, value in found.items() if value is not None}
    found |= addressed_to({name: found[name] for name in found if name.endswith("_model")}, common.base_url)
    if "prepend" in found:
        # Two names, for the flag is a file and the library's option what stands in it.
        found["prepend_steps"] = read_text(found.pop("prepend"), "the plan")
    if "start" in found:
        found["start"] = _state(read_text(found["start"], "the state"), found.get("form", "text"))
    if templates := paired(found.pop("template", None), "template", "plan", "FILE"):
        found["templates"] = templates
    return {**common.settings, **given(fixed), **found}


def _state(text: str, form: str) -> Any:
    from mdap.core.errors import RedFlag, UsageError
    from mdap.core.strictjson import read_json

    if form == "text":
        return text
    try:
        return read_json(text)
    except RedFlag as error:
        raise UsageError(f"the state before the first step is {error}", remedy="name a JSON file") from None


def _drive(begin: Begin, display: Display) -> int:
    return drive(begin, display, lambda outcome: _report(outcome, json=display.json))


def _report(outcome: Plan | Execution, *, json: bool) -> None:
    """Print a plan, or a final state as it is; nothing of what has not come to its end, but as JSON."""
    from mdap.cli.exits import unread
    from mdap.cli.report import print_json

    with unread(sys.stdout):
        if json:
            print_json(outcome.to_dict())
        elif outcome.status == "done":
            # A plan has its own form in writing; an execution has a state.
            written = getattr(outcome, "json", None)
            state = written if written is not None else outcome.state  # type: ignore[union-attr]
            if not isinstance(state, str):
                print_json(state)
                return
            # Not print, which would end it with a line end of its own.
            sys.stdout.write(state)
            # A result that goes to a file or a pipe is what was decided, to the byte.
            if written is not None or (sys.stdout.isatty() and not state.endswith("\n")):
                sys.stdout.write("\n")
