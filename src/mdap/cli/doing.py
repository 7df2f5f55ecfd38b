"""`mdap plan`, `mdap execute` and `mdap do`: flags in, a plan or a final state out. Nothing is asked here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from mdap.cli.base_url import with_base_url
from mdap.cli.executor import Executor, executor_settings
from mdap.cli.options import (
    USUAL_MONEY,
    USUAL_PLACE,
    BaseUrl,
    Fixed,
    Json,
    Limits,
    Money,
    Place,
    Quiet,
    Verbose,
    given,
    whole,
)
from mdap.cli.tool_flags import NO_TOOLS, ToolFlags, with_tools

if TYPE_CHECKING:
    from mdap.cli.planned import Onward
    from mdap.doing import Execution, Plan
    from mdap.protocols import Journal

_ROLES, _PLAN, _WORK = Group("Roles", sort_key=1), Group("Plan", sort_key=2), Group("Execution", sort_key=2)
_Whole = int | None


@Parameter(name="*", group=_ROLES)
@dataclass(frozen=True, kw_only=True)
class Planners:
    """Who plans."""

    planning_model: Annotated[str | None, Parameter(help="Who proposes steps, in place of --model.")] = None
    plan_voting_model: Annotated[str | None, Parameter(help="Who judges proposals, in place of --model.")] = None


@Parameter(name="*", group=_ROLES)
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
File = Annotated[
    str | None,
    # A hyphen alone is standard input; cyclopts would take it for a flag that lacks its name.
    Parameter(alias="-f", allow_leading_hyphen=True, help="File that holds the prompt; - is standard input."),
]
Model = Annotated[str | None, Parameter(alias="-m", group=_ROLES, help="Who plays every role without a model.")]
# Made here and not in the signatures: it is one object for all calls either way, and here that can be seen.
USUAL, NOBODY, NOBODY_ELSE, ANY_PLAN, ANY_WAY, NO_LIMITS, UNSET = (
    Asked(), Planners(), Workers(), Planned(), Carried(), Limits(), Fixed(),
)  # fmt: skip


def plan(
    prompt: Prompt = None,
    /,
    *,
    model: Model = None,
    file: File = None,
    planners: Planners = NOBODY,
    asked: Asked = USUAL,
    planned: Planned = ANY_PLAN,
    base_url: BaseUrl = None,
    limits: Limits = NO_LIMITS,
    money: Money = USUAL_MONEY,
    fixed: Fixed = UNSET,
    place: Place = USUAL_PLACE,
    tools: ToolFlags = NO_TOOLS,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Make a plan: steps are proposed, judged and added until judges agree that it is complete.

    Judges answer Yes, No with a reason, or End; reasons go into the next proposal. The plan is printed as a JSON array
    of its steps, which `mdap execute` takes. After Ctrl-C, a kill or a budget, `mdap resume` goes on.
    """
    options = _options(asked, planners, planned, base_url=base_url, settings=_settings(limits, fixed, money, tools))
    begin = _beginning("plan", _text(prompt, file, "plan"), model, base_url, options)
    return _drive(begin, place, json=json, verbose=verbose, quiet=quiet)


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
    base_url: BaseUrl = None,
    limits: Limits = NO_LIMITS,
    money: Money = USUAL_MONEY,
    fixed: Fixed = UNSET,
    place: Place = USUAL_PLACE,
    tools: ToolFlags = NO_TOOLS,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Carry out a plan, and print the final state as it is.

    Steps that wait for nothing are carried out at the same time. What was carried out is kept: after a refusal,
    Ctrl-C, a kill or a budget, `mdap resume` goes on from the state before the batch that was not finished.
    """
    options = _options(asked, workers, carried, base_url=base_url, settings=_settings(limits, fixed, money, tools))
    # As text: what is wrong with a plan is for the library to say.
    steps = _read(plan, "the plan")
    begin = _beginning("execute", _text(prompt, file, "execute PLAN.json --prompt"), model, base_url, options, steps)
    return _drive(begin, place, json=json, verbose=verbose, quiet=quiet)


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
    base_url: BaseUrl = None,
    limits: Limits = NO_LIMITS,
    money: Money = USUAL_MONEY,
    fixed: Fixed = UNSET,
    place: Place = USUAL_PLACE,
    tools: ToolFlags = NO_TOOLS,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Make a plan and carry it out, in one run, and print the final state as it is.

    It is `mdap plan`, then `mdap execute`, under one budget and one journal.
    """
    settings = _settings(limits, fixed, money, tools)
    options = _options(asked, planners, workers, planned, carried, base_url=base_url, settings=settings)
    begin = _beginning("do", _text(prompt, file, "do"), model, base_url, options)
    return _drive(begin, place, json=json, verbose=verbose, quiet=quiet)


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
    roles = {name: with_base_url(spec, onward.base_url) for name, spec in models.items() if name != "model"}
    # In this order, since what is said anew comes before what was.
    options = {**brief, **onward.options, **roles, "run": onward.run}
    begin = _beginning(onward.kind, origin["prompt"], model, onward.base_url, options, origin["steps"])
    return _drive(begin, onward.place, json=onward.json, verbose=onward.verbose, quiet=onward.quiet)


_Begin = Callable[[Any, Callable[[Any], None]], Coroutine[Any, Any, Any]]


def _beginning(
    kind: str, prompt: str, model: str | None, base_url: str | None, options: dict[str, Any], steps: Any = ()
) -> _Begin:
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
    for name in [name for name in settings if name.endswith("_model")]:
        settings[name] = with_base_url(settings[name], base_url)
    # What was typed stands last, and so holds.
    return settings | options


def _settings(limits: Limits, fixed: Fixed, money: Money, tools: ToolFlags) -> dict[str, Any]:
    return {**given(limits), **given(fixed), **money.options, **tools.given}


def _options(*flags: Any, base_url: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what the library is told: what was typed, files read, the address put into the models of roles."""
    from mdap.core.errors import UsageError

    found = {field.name: getattr(one, field.name) for one in flags for field in fields(one)}
    found = {name: value for name, value in found.items() if value is not None}
    for name in [name for name in found if name.endswith("_model")]:
        found[name] = with_base_url(found[name], base_url)
    if "prepend" in found:
        # Two names, for the flag is a file and the library's option what stands in it.
        found["prepend_steps"] = _read(found.pop("prepend"), "the plan")
    if "start" in found:
        found["start"] = _state(_read(found["start"], "the state"), found.get("form", "text"))
    # At the first equals sign, since a path may hold more of them.
    pairs = [one.partition("=") for one in found.pop("template", [])]
    for name, _, path in pairs:
        if not path:
            raise UsageError(f"--template {name} names no file", remedy="write --template plan=FILE")
    return {**settings, **found, **({"templates": {name: path for name, _, path in pairs}} if pairs else {})}


def _state(text: str, form: str) -> Any:
    from mdap.core.errors import RedFlag, UsageError
    from mdap.core.strictjson import read_json

    if form == "text":
        return text
    try:
        return read_json(text)
    except RedFlag as error:
        raise UsageError(f"the state before the first step is {error}", remedy="name a JSON file") from None


def _text(prompt: str | None, file: str | None, command: str) -> str:
    from mdap.core.errors import UsageError

    if (prompt is None) == (file is None):
        raise UsageError(
            "the prompt is given twice" if prompt is not None else "there is no prompt",
            remedy=f'write mdap {command} "PROMPT" --model MODEL, or --file FILE in place of the prompt',
        )
    if file == "-":
        return sys.stdin.read()
    return str(prompt) if file is None else _read(Path(file), "the prompt")


def _read(path: Path, what: str) -> str:
    from mdap.core.errors import UsageError

    try:
        # Not read_text, which makes all line ends alike: a state is what stands in the file, to the byte.
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} cannot be read from {path}: {error}", remedy="name a UTF-8 text file") from None


def _drive(begin: _Begin, place: Place, *, json: bool, verbose: int, quiet: bool) -> int:
    """See a run through to its end, print what it came to, and return the exit code."""
    from mdap.cli.driving import until_stopped
    from mdap.cli.exits import CODES, onward, say, ways_on
    from mdap.cli.progress import Line, shown
    from mdap.core.errors import MdapError, Rejected
    from mdap.core.events import Progress, Started
    from mdap.core.remedy import addressed
    from mdap.journal import open_journal

    progress, begun = Progress(), []

    def _note(event: Any) -> None:
        if type(event) is Started:
            # Known from here on, so that whatever ends the run badly can be told with the command that goes on.
            begun.append(event.run)
        progress.add(event)

    line = Line(progress)
    with closing(open_journal(place.path)) as journal:
        try:
            with shown(line, verbose=verbose, quiet=quiet):
                outcome = until_stopped(begin(journal, _note), line, place)
        except asyncio.CancelledError:
            _print_left(journal, begun, json=json)
            say(f"interrupted; go on with `{onward(journal.head(begun[0]), place.flag)}`" if begun else "interrupted")
            return CODES["interrupted"]
        # An end that has a name: what was made until then is told like any other result.
        except Rejected as error:
            outcome = error.partial
        except MdapError:
            _print_left(journal, begun, json=json)
            if begun:
                say(f"what was decided is kept; then go on with `{onward(journal.head(begun[0]), place.flag)}`")
            raise
        book, head = journal.history(outcome.run).book, journal.head(outcome.run)
        # What an earlier resume has changed is in the book.
        settings = book.settings or head.settings
    _report(outcome, json=json)
    if outcome.status != "done":
        say(f"{outcome.status}: {addressed(outcome.reason, outcome.run, place.flag)}")
        for command in ways_on(outcome.run, book, settings, place.flag, head.tools):
            say(f"next:  {command}")
    code: int = CODES[outcome.status]
    return code


def _print_left(journal: Journal, begun: list[str], *, json: bool) -> None:
    """Print what the journal holds of a run that came to no end."""
    from mdap.branches import planned
    from mdap.cli.exits import unread
    from mdap.cli.report import print_json

    if json and begun:
        with unread(sys.stdout):
            print_json(planned(journal, begun[0]).to_dict())


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
