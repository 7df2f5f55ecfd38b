"""Runs that begin with a prompt or a plan: begun, taken up, and read from the journal without asking anybody."""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from mdap.core.errors import MdapError, Rejected, UsageError
from mdap.core.history import Resumed, RunHead
from mdap.journal import open_journal
from mdap.mcp import solved
from mdap.mcp.allowed import CLIENT
from mdap.mcp.desk import PATIENCE, Desk, Live, Observer
from mdap.models.client import Client, Mailbox
from mdap.protocols import Journal

if TYPE_CHECKING:
    from mdap import doing
    from mdap.agent_result import AgentResult

Outcome: TypeAlias = "doing.Plan | doing.Execution | AgentResult"
KINDS = ("plan", "execute", "do")


async def conduct(kind: str, prompt: str, steps: Any, model: Any, **options: Any) -> Outcome:
    """Return what a run of this kind comes to."""
    from mdap import doing  # when it is first needed: a server is to be there at once

    if kind == "execute":
        return await doing.execute(steps, prompt, model, **options)
    return await (doing.plan if kind == "plan" else doing.do)(prompt, model, **options)


async def begin(
    desk: Desk,
    kind: str,
    prompt: str,
    steps: str | None,
    model: str | None,
    observer: Observer | None = None,
    **options: Any,
) -> Live:
    """Begin a run of planning (`plan`), of carrying out `steps` (`execute`), or of both (`do`)."""
    spec, own = desk.allowed.planned(kind, model)
    # What a client says stands last, and so holds.
    options = {**own, **desk.checked(options)}
    box: Mailbox | None = None
    asked: Any = spec
    if spec == CLIENT:
        box = Mailbox()
        asked = Client(box)
        options = {"timeout": PATIENCE, **options}
    listening = [observer] if observer is not None else []
    return await desk.launch(
        lambda heard: conduct(
            kind, prompt, steps, asked, journal=desk.journal, on_event=[heard, *listening], **options
        ),
        box,
    )


async def take_up(desk: Desk, head: RunHead, changes: dict[str, Any]) -> Live:
    """Go on with a stored run; raises UsageError for one whose branches a program alone has."""
    box = Mailbox() if head.model == CLIENT else None
    go_on = _again(desk, head, desk.journal, box, desk.checked(changes))
    return await desk.launch(lambda heard: go_on(on_event=[heard]), box, head.id)


async def reached(desk: Desk, head: RunHead) -> Outcome:
    """Return what a run came to, or how far it came.

    The same code goes through what is decided, in a copy of the journal, and stops where it would have to ask.
    """
    copy = open_journal(None)
    try:
        copy.create(head)
        book = desk.journal.history(head.id).book
        # What an earlier resume changed is part of what the steps were decided under.
        if book.settings:
            copy.append(head.id, Resumed(book.settings, book.prices or {}))
        for entry in desk.journal.row_decisions(head.id):
            copy.append(head.id, entry)
        if head.task == solved.KIND:
            return await _apart(solved.reached(desk, head, copy))
        # With nothing to spend the first question that is not decided yet ends it.
        go_through = _again(desk, head, copy, Mailbox(), {"budget_calls": 0})
        try:
            return await _apart(go_through())
        except Rejected as error:
            # A refusal carries what there was before it.
            return _partial(error)
    finally:
        copy.close()


async def _apart(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Return what `work` returns, from a task of its own.

    On Python 3.11 a group of tasks in which one fails may leave its parent marked as being cancelled, and whoever
    answers the request would take that for a cancellation of the client.
    """
    made: list[Outcome] = []
    failed: list[MdapError] = []

    async def _kept() -> None:
        try:
            made.append(await work)
        except MdapError as error:
            failed.append(error)

    async with TaskGroup() as group:
        group.create_task(_kept())
    if failed:
        raise failed[0]
    return made[0]


def _partial(error: Rejected) -> Outcome:
    found: Any = error.partial
    if found is None:
        raise error
    outcome: Outcome = found
    return outcome


def _again(
    desk: Desk, head: RunHead, journal: Journal, box: Mailbox | None, changes: dict[str, Any]
) -> Callable[..., Coroutine[Any, Any, Outcome]]:
    """Return what conducts a stored run once more, as it was begun."""
    from mdap import doing
    from mdap.planned import origin_of

    kind, origin = origin_of(journal, head.id)
    if kind not in KINDS or "brief" not in origin:
        raise UsageError(f"run: {head.id} was begun by a program", remedy="go on with it there")
    desk.check_rule(head)
    brief = dict(origin["brief"])
    check = brief.pop("check_step", "not_atomic")
    # The journal holds its name and not its code; the one that ships can be found again by it.
    if check not in ("", "not_atomic"):
        raise UsageError(f"run: the steps of {head.id} are checked by {check}", remedy="go on with it in its program")
    if check == "":
        brief["check_step"] = None
    models: dict[str, Any] = {name: spec for name, spec in origin["models"].items() if spec is not None}
    # Another server, or the command line, may have begun it with what clients of this one may not use.
    for spec in models.values():
        desk.allowed.check_model(spec)
    if not models and head.model == CLIENT and box is not None:
        models["model"] = Client(box)
    elif not models:
        raise UsageError(f"run: {head.id} was begun with a model of a program", remedy="go on with it there")
    model = models.pop("model", None)
    # A stored brief holds the options of all kinds.
    kinds: dict[str, Any] = {"plan": doing.PlanOptions, "execute": doing.ExecuteOptions, "do": doing.DoOptions}
    brief = {name: value for name, value in brief.items() if name in kinds[kind].__optional_keys__}

    async def _conduct(**more: Any) -> Outcome:
        options = {**models, **brief, **changes, **more}
        return await conduct(kind, origin["prompt"], origin["steps"], model, journal=journal, run=head.id, **options)

    return _conduct


__all__ = ["Outcome", "begin", "reached", "take_up"]
