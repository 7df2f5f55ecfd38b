"""The tools that a run may call: Python callables with what a model is told of them, and the policy over them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import UsageError
from mdap.core.tooling import Outcome, ToolIntent
from mdap.engine.tools import MOST_BYTES, TIMEOUT, Hand
from mdap.planning.intents import (
    CATEGORIES,
    KEY_PARAMETER,
    READ_ONLY,
    SIDE_EFFECTS,
    Category,
    ToolSchema,
    allowed,
    schema_of,
)
from mdap.planning.tool_task import ROUNDS, ToolTask
from mdap.protocols import Task
from mdap.tasks.catalog import task as task_named


class Tool(msgspec.Struct, frozen=True):
    """A tool: what a model is told of it, and what carries its calls out."""

    schema: ToolSchema
    hand: Hand


GivenTools: TypeAlias = "Toolbox | Sequence[Tool | Callable[..., Any]]"


def tool(
    call: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    category: Category | None = None,
    timeout: float = TIMEOUT,
    most_bytes: int = MOST_BYTES,
) -> Tool:
    """Return a callable as a tool; its arguments are described by its type hints, itself by its docstring.

    It may be asynchronous; one that is not runs in a thread. `category` is told by its name where it is not given, and
    is `custom` where that says nothing. It has `timeout` seconds, and what it returns may take `most_bytes` as JSON.
    A parameter `idempotency_key` is given the key of the call, which no other call has. Raises UsageError for a
    callable that does not say what it takes or does.
    """
    for option, value in (("timeout", timeout), ("most_bytes", most_bytes)):
        # Written so that NaN fails it, too.
        if not 0 < value < float("inf"):
            raise UsageError(f"{option}={value} is out of range", remedy=f"give {option} above 0")
    schema = schema_of(call, name=name, description=description, category=category)
    takes_key = KEY_PARAMETER in inspect.signature(call).parameters
    hand = Hand(call, schema.load, timeout, most_bytes, KEY_PARAMETER if takes_key else "")
    return Tool(schema, hand)


class Toolbox:
    """Tools under one policy: those whose categories are in `allow`, at most `rounds` calls a step.

    `typed` are the flags that name them at a command line, if one did: a run keeps them for whoever goes on with it.
    Raises UsageError for a tool that the policy does not let be called, and for two of one name.
    """

    def __init__(
        self,
        tools: Sequence[Tool | Callable[..., Any]],
        *,
        allow: Collection[str] = READ_ONLY,
        rounds: int = ROUNDS,
        typed: str = "",
    ) -> None:
        # To Python, True is an int, and would pass for 1.
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise UsageError(f"rounds={rounds!r} is out of range", remedy="give 1 or more calls a step")
        made = [one if isinstance(one, Tool) else tool(one) for one in tools]
        self.schemas = allowed([one.schema for one in made], allow)
        self.rounds, self.typed = rounds, typed
        self.hands = {one.schema.name: one.hand for one in made}

    def around(self, task: Task | str) -> Task:
        """Return a task whose replies may call these tools; raises UsageError for one that has `effect` of its own."""
        inner = task_named(task)
        # Around nothing there is no layer: prompts and fingerprint stay the task's own.
        if not self.schemas:
            return inner
        if hasattr(inner, "effect"):
            raise UsageError(
                f"{type(inner).__name__} says by itself what it calls", remedy="give it `hands`, or leave out `effect`"
            )
        return ToolTask(inner, self.schemas, self.hands, self.rounds)


def toolbox(tools: GivenTools) -> Toolbox:
    """Return what was given as a toolbox; a sequence of tools is one that only reads."""
    return tools if isinstance(tools, Toolbox) else Toolbox(tools)


def typed(tools: GivenTools) -> str:
    """Return the flags that name the tools at a command line; empty where a program gave them."""
    return tools.typed if isinstance(tools, Toolbox) else ""


def task_with(tools: GivenTools, task: Task | str) -> Task | str:
    """Return `task` with tools, or as it is where there are none."""
    return toolbox(tools).around(task) if tools else task


def factory_with(tools: GivenTools, factory: Callable[[Any], Task | str]) -> Callable[[Any], Task | str]:
    """Return what makes the tasks of rows, each with tools; `factory` itself where there are none."""
    return _Furnished(toolbox(tools), factory) if tools else factory


class _Furnished:
    """A task factory whose tasks may call tools; it goes by the name of the one that it furnishes."""

    def __init__(self, box: Toolbox, factory: Callable[[Any], Task | str]) -> None:
        self._box, self._factory = box, factory
        kind = factory if hasattr(factory, "__qualname__") else type(factory)
        # A map is known by this name at a resume; tools are told of beside it.
        self.spec = getattr(factory, "spec", f"{kind.__module__}:{kind.__qualname__}")

    def __call__(self, item: Any) -> Task:
        return self._box.around(self._factory(item))


def readable(task: Task, fingerprint: dict[str, str]) -> Task:
    """Return the task of a stored run as one that reads its states, where calls of tools are among them."""
    # Without a tool: it reads what calls have left in the states, and offers none.
    return ToolTask(task, {}) if "tools" in fingerprint and not hasattr(task, "effect") else task


__all__ = [
    "CATEGORIES",
    "READ_ONLY",
    "SIDE_EFFECTS",
    "Category",
    "Outcome",
    "Tool",
    "ToolIntent",
    "Toolbox",
    "factory_with",
    "readable",
    "task_with",
    "tool",
    "toolbox",
    "typed",
]
