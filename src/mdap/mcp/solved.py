"""Runs that divide a task, solve its parts and compose their results: begun, taken up, and read without asking."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mdap.core.errors import UsageError
from mdap.core.history import RunHead
from mdap.mcp.allowed import CLIENT
from mdap.mcp.desk import PATIENCE, Desk, Live
from mdap.models.client import Client, Mailbox
from mdap.protocols import Journal

if TYPE_CHECKING:
    from mdap.agent_result import AgentResult

KIND = "solve"
# What a resume begins an agent with again, as its origin has it.
_KEPT = ("k", "max_depth", "max_subtasks", "decompose", "minimal", "judge", "rounds", "validate", "red_flags")
_AS_THEY_WERE = (*_KEPT, "name", "max_tokens", "prompts")


async def begin(desk: Desk, task: str, model: str | None, **options: Any) -> Live:
    """Begin to divide and solve a task; `options` are those of `mdap.Agent`."""
    from mdap.core import formats  # here and below when it is first needed: a server is to be there at once

    spec = desk.allowed.check_model(model)
    options = desk.checked(options)
    box = Mailbox() if spec == CLIENT else None
    if box is not None:
        # What the client says stands last, and so holds.
        options = {"timeout": PATIENCE, **options}
    if "one_of" in options:
        options["format"] = formats.one_of(options.pop("one_of"))
    asked = spec if box is None else Client(box)
    return await desk.launch(_conducting(desk.journal, task, asked, options), box)


async def take_up(desk: Desk, head: RunHead, changes: dict[str, Any]) -> Live:
    """Go on with a stored run; raises UsageError for one that needs what a program alone has."""
    box = Mailbox() if head.model == CLIENT else None
    return await desk.launch(_again(desk, head, desk.journal, box, desk.checked(changes)), box, head.id)


async def reached(desk: Desk, head: RunHead, copy: Journal) -> AgentResult:
    """Return what a run came to, or how far it came, from a copy of its journal; nobody is asked."""
    return await _again(desk, head, copy, Mailbox(), {"budget_calls": 0})(lambda _: None)


def _again(
    desk: Desk, head: RunHead, journal: Journal, box: Mailbox | None, changes: dict[str, Any]
) -> Callable[[Any], Coroutine[Any, Any, AgentResult]]:
    """Return what conducts a stored run once more, as it was begun."""
    from mdap.planned import origin_of
    from mdap.tasks.question import format_of

    _, origin = origin_of(journal, head.id)
    own = [name for name in ("decompose", "minimal", "key") if str(origin[name]).startswith("own:")]
    if own or origin["compositions"] or origin.get("tools"):
        raise UsageError(f"run: {head.id} was begun with functions of a program", remedy="go on with it there")
    for spec in origin["roles"].values():
        desk.allowed.check_model(spec)
    model: Any = origin["model"]
    if model is not None:
        desk.allowed.check_model(model)
    elif head.model == CLIENT and box is not None:
        model = Client(box)
    elif not origin["roles"]:
        raise UsageError(f"run: {head.id} was begun with a model of a program", remedy="go on with it there")
    options = {name: origin[name] for name in _AS_THEY_WERE} | {"roles": origin["roles"], "context": origin["told"]}
    options |= {"format": format_of(origin["format"]), "key": origin["key"] or None, **changes}
    return _conducting(journal, origin["task"], model, options, head.id)


def _conducting(
    journal: Journal, task: str, model: Any, options: dict[str, Any], run: str | None = None
) -> Callable[[Any], Coroutine[Any, Any, AgentResult]]:
    from mdap.agents import Agent

    # Before anything is begun: what cannot be is said by this.
    agent = Agent(model, journal=journal, **options)

    def _begin(heard: Any) -> Coroutine[Any, Any, AgentResult]:
        agent.on_event = [heard]
        return agent.run(task, run=run)

    return _begin


__all__ = ["KIND", "begin", "reached", "take_up"]
