"""`mdap solve`: flags in, the answer to a task that was divided out. How tasks are divided is not known here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from mdap.cli.ask import ANY_TEXT, Shape
from mdap.cli.base_url import with_base_url
from mdap.cli.branched import COMMON, ROLES, Begin, Common, Model, addressed_to, drive, file_of, paired
from mdap.cli.options import OF_AGENT, Display, OfAgent, given, whole
from mdap.cli.texts import read_value, typed_text
from mdap.cli.tool_flags import Served, with_tools

if TYPE_CHECKING:
    from mdap.agent_result import AgentResult
    from mdap.cli.planned import Onward
    from mdap.core.formats import Format

_DIVISION, _VOTES = Group("Division", sort_key=2), Group("Votes", sort_key=3)
_Whole = int | None


@Parameter(name="*", group=ROLES)
@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who plays which role, and what all of them are told."""

    role: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            metavar="ROLE=MODEL",
            help="Who plays one role, in place of --model: decomposer, decomposition_discriminator, solver, "
            "solution_discriminator, composer, validator, minimality; repeatable.",
        ),
    ] = None
    template: Annotated[
        list[str] | None,
        Parameter(negative="", metavar="ROLE=FILE", help="File in place of a role's prompt; repeatable."),
    ] = None
    tell: Annotated[
        list[str] | None, Parameter(negative="", help="What all roles are told besides the task; repeatable.")
    ] = None
    directory: Annotated[Path | None, Parameter(help="The working directory that all roles are told.")] = None


@Parameter(name="*", group=_DIVISION)
@dataclass(frozen=True, kw_only=True)
class Dividing:
    """How tasks are divided."""

    decompose: Annotated[
        str | None,
        Parameter(
            help="Who divides: binary or nary:N (a model), numbered, sentences, sequential, simple (no model), none. "
            "[default: binary]"
        ),
    ] = None
    minimal: Annotated[
        str | None,
        Parameter(help="Which tasks are never divided: never, one_act, no_sequence, always, model. [default: never]"),
    ] = None
    max_depth: Annotated[
        _Whole, Parameter(help="At this depth a task is solved as it stands. [default: 10]", converter=whole)
    ] = None
    max_subtasks: Annotated[
        _Whole, Parameter(help="Subtasks at most, shared equally among parts. [default: 510]", converter=whole)
    ] = None


@Parameter(name="*", group=_VOTES)
@dataclass(frozen=True, kw_only=True)
class Judging:
    """How candidates are judged."""

    k: Annotated[_Whole, Parameter(help="Votes that decide, of 2k-1 judges. [default: 3]", converter=whole)] = None
    judge: Annotated[
        Literal["first_to_k", "ahead_by_k"] | None, Parameter(help="How judges decide. [default: first_to_k]")
    ] = None
    rounds: Annotated[
        _Whole, Parameter(help="Times that candidates are drawn for one question. [default: 3]", converter=whole)
    ] = None
    validate: Annotated[
        Literal["none", "answer", "every"] | None, Parameter(help="Whose answers are validated. [default: none]")
    ] = None
    key: Annotated[
        str | None, Parameter(help="Which answers are the same: folded, number:0.01, python. [default: equal ones]")
    ] = None


RECORDED = ("samples", "contested", "none")
Task = Annotated[
    str | None, Parameter(help="What is to be solved: words, or a task that is a problem, such as multiplication:5.")
]
File = Annotated[str | None, file_of("task")]
NOBODY, USUAL_DIVISION, USUAL_JUDGES = Cast(), Dividing(), Judging()


def solve(
    task: Task = None,
    /,
    *,
    model: Model = None,
    file: File = None,
    cast: Cast = NOBODY,
    dividing: Dividing = USUAL_DIVISION,
    judging: Judging = USUAL_JUDGES,
    shape: Shape = ANY_TEXT,
    common: Common = COMMON,
    fixed: OfAgent = OF_AGENT,
) -> int:
    """Divide a task, solve its parts and compose their results, each by votes.

    Each question has 2k-1 candidates; where they differ, judges choose. The range of calls is said before the first
    one. The answer alone is printed, or nothing if there is none (exit code 3). What was solved is kept: `mdap resume`
    goes on.
    """
    text = _problem(typed_text(task, file, "task", "solve"))
    options = _options(cast, dividing, judging, base_url=common.base_url)
    # One flag for two things, told apart by what is given: a class has a colon in its name.
    recorded = {"record": shape.record} if shape.record in RECORDED else {}
    options |= recorded | {"format": _format(shape), **given(fixed), **common.settings}
    chosen = None if model is None else with_base_url(model, common.base_url)
    return _drive(_beginning(text, chosen, options), common.display)


def resume_solving(onward: Onward) -> int:
    """Go on with a run of this command; return the exit code."""
    from mdap.core.errors import UsageError
    from mdap.tasks.question import format_of

    origin = onward.origin
    own = [str(origin[name]) for name in ("decompose", "minimal", "key") if str(origin[name]).startswith("own:")]
    own += origin["compositions"]
    if own:
        raise UsageError(
            f"{onward.run} was begun with {own[0].removeprefix('own:')}, a function, which the journal does not hold",
            remedy=f"go on with it where it was begun: agent.resume({onward.run!r})",
        )
    # `mdap resume` has the flags of all sorts of runs, and does not know yet of which one this is.
    unknown = onward.options.keys() & {"restarts", "attempts"}
    if unknown:
        raise UsageError(f"{min(unknown)} is for plans", remedy="a task that is divided has --rounds")
    kept = ("k", "max_depth", "max_subtasks", "decompose", "minimal", "judge", "rounds", "validate", "red_flags")
    options: dict[str, Any] = {name: origin[name] for name in (*kept, "name", "max_tokens", "prompts")}
    options |= {"format": format_of(origin["format"]), "key": origin["key"] or None, "context": origin["told"]}
    # Options last: what is said anew comes before what was.
    options |= {"roles": addressed_to(origin["roles"], onward.base_url), **onward.options}
    model = onward.model or origin["model"]
    chosen = None if model is None else with_base_url(model, onward.base_url)
    begin = _beginning(origin["task"], chosen, options, onward.run)
    return _drive(begin, onward.display)


def _beginning(task: str, model: str | None, options: dict[str, Any], run: str | None = None) -> Begin:
    """Return what begins, or goes on with, a run, given its journal and an observer."""
    from mdap.agents import Agent

    # What its logger would warn of is said here, once and with the run's end.
    silent = logging.getLogger("mdap.cli.solve")
    silent.disabled = True
    # Made here, before the journal is opened, so that all that was typed has been looked at; the tools of servers are
    # there only once their sessions are, which is in `_go`.
    served = isinstance(options.get("tools"), Served)
    made = Agent(model, logger=silent, **{**options, **({"tools": ()} if served else {})})

    def _begin(journal: Any, observer: Callable[[Any], None]) -> Coroutine[Any, Any, Any]:
        made.journal, made.on_event = journal, observer
        return with_tools({"tools": options.get("tools", ())}, _go)

    def _go(given: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        made.tools = given["tools"]
        return made.run(task, run=run)

    return _begin


def _options(cast: Cast, dividing: Dividing, judging: Judging, *, base_url: str | None) -> dict[str, Any]:
    """Return what the library is told of what was typed."""
    found = {f.name: getattr(one, f.name) for one in (dividing, judging) for f in fields(one)}
    found |= {"working_directory": cast.directory, "context": cast.tell}
    roles = addressed_to(paired(cast.role, "role", "solver", "MODEL"), base_url)
    named = {"roles": roles, "prompts": paired(cast.template, "template", "solver", "FILE")}
    # What was not typed is not passed on: its default is for the library to know.
    return {name: value for name, value in {**found, **named}.items() if value is not None and value != {}}


def _format(shape: Shape) -> Format | None:
    from mdap.core import formats
    from mdap.core.errors import UsageError
    from mdap.tasks.question import imported

    ways: dict[str, Callable[[Any], Format]] = {
        "schema": lambda path: formats.json_schema(read_value(path, "JSON Schema")),
        "record": lambda path: formats.record(imported(path)),
        "pattern": formats.pattern,
        "one_of": lambda options: formats.one_of(options.split(",")),
    }
    said = {f.name: getattr(shape, f.name) for f in fields(shape) if getattr(shape, f.name) is not None}
    # That was a setting of the journal's: see `solve`.
    if said.get("record") in RECORDED:
        del said["record"]
    if len(said) > 1:
        raise UsageError(f"{' and '.join(said)} are given: an answer has one format", remedy="give one of them")
    return next((ways[name](value) for name, value in said.items()), None)


def _problem(text: str) -> str:
    """Return the words of a problem that is named as a task, and any other text as it is."""
    from mdap.core.spec import parse_spec
    from mdap.tasks.catalog import TASKS
    from mdap.tasks.catalog import task as task_named

    name = text.partition(":")[0]
    # Words that merely begin as the name of a task does are the words of a task.
    if name not in TASKS or any(white in text for white in " \n"):
        return text
    problem = getattr(task_named(text), "problem", None) if parse_spec(text).name in TASKS else None
    return text if problem is None else str(problem)


def _drive(begin: Begin, display: Display) -> int:
    from mdap.agent_result import Foretold
    from mdap.cli.exits import say

    def _hear(event: Any) -> None:
        # At once: it comes before the first call, and says how many there may be.
        if type(event) is Foretold and not display.quiet:
            say(f"note:  {event.forecast}")

    def _told(result: AgentResult) -> None:
        _report(result, json=display.json)
        for warning in () if display.quiet else result.warnings:
            say(f"note:  {warning}")

    return drive(begin, display, _told, _hear)


def _report(result: AgentResult, *, json: bool) -> None:
    """Print the answer alone, or all that is known of it as JSON; nothing where there is none."""
    from mdap.cli.exits import unread
    from mdap.cli.report import print_json

    with unread(sys.stdout):
        if json:
            print_json(result.to_dict())
        elif result.ok and isinstance(result.answer, str):
            print(result.answer)
        elif result.ok:
            print_json(result.answer)
