"""A task of plain functions, for those who have a step function and want no class. What they do is not known here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mdap.core import formats
from mdap.core.errors import RedFlag, UsageError
from mdap.core.plain import plain
from mdap.core.records import ABSENT, Message, Move, State
from mdap.protocols import Task


def task(
    *,
    start: Any,
    prompt: Callable[[State], str | Sequence[Message]],
    parse: Callable[[str, State], Any],
    is_done: Callable[[State], bool],
    apply: Callable[[State, Any], State] | None = None,
    steps: int | None = None,
    kind: Callable[[State], str] | None = None,
    key: Callable[[Move], Any] | None = None,
    check: Callable[[State, Move], str | None] | None = None,
    answer: Callable[[State], Move | None] | None = None,
    write: Callable[[Move], str] | None = None,
    mistakes: Callable[[State], list[Move]] | None = None,
    read: Callable[[Sequence[Message]], State] | None = None,
    sample: Callable[[Any], State] | None = None,
    settle: Callable[[State, Sequence[Move], Move | None], Move | None] | None = None,
    paraphrases: Callable[[State], list[Any]] | None = None,
    draft: Callable[[State], Move | None] | None = None,
    schema: Mapping[str, Any] | None = None,
    reply_schema: Mapping[str, Any] | None = None,
    state_schema: Any = None,
    name: str = "",
    version: str | int = "",
) -> Task:
    """Return a task that is made of these functions: what each of them does is said by `mdap.protocols.Task`.

    `start` is the first state, or a function that gives it. `parse` may return a Move; else what it returns is the
    action where `apply` is given, and the next state where it is not. It refuses a reply by RedFlag or ValueError.
    `state_schema`, a JSON Schema or a record type, holds for every state: a reply that leads to one that breaks it is
    red-flagged. `name` stands for the task in a journal: by default the name of `parse`, with `module:NAME` of a task
    that stands in a module the command line finds it again. `version` is part of what makes two runs the same. Raises
    UsageError for a start state that breaks the schema.
    """
    if not name:
        name = f"task:{getattr(parse, '__module__', '')}.{getattr(parse, '__qualname__', 'parse')}"
    given = {
        "apply": apply,
        "steps": steps,
        "kind": kind,
        "key": key,
        "check": check,
        "answer": answer,
        "write": write,
        "mistakes": mistakes,
        "read": read,
        "sample": sample,
        "settle": settle,
        "paraphrases": paraphrases,
        "draft": draft,
        "schema": schema,
        "reply_schema": reply_schema,
    }
    made = OfFunctions(start, prompt, parse, is_done, _reader(state_schema), name, version)
    for method, function in given.items():
        if function is not None:
            setattr(made, method, function)  # only what was given: the engine finds methods by presence
    made.check_start()
    return made


class OfFunctions:
    """A task of plain functions: see `task`. It has those optional methods alone that it was given."""

    def __init__(
        self,
        start: Any,
        prompt: Callable[[State], str | Sequence[Message]],
        parse: Callable[[str, State], Any],
        is_done: Callable[[State], bool],
        read_state: Callable[[str], Any] | None,
        spec: str,
        version: str | int,
    ) -> None:
        self.spec = spec
        self.version = version
        self._start = start
        self._prompt, self._parse, self._is_done = prompt, parse, is_done
        # What reads replies against a schema reads states, too: there is one meaning of fitting.
        self._read_state = read_state

    def check_start(self) -> None:
        """Raise UsageError for a first state that is none."""
        try:
            self._hold(self.start())
        # A flag would blame a reply; the first state is the caller's own.
        except RedFlag as flag:
            raise UsageError(f"the first state breaks its schema: {flag.message}", remedy="mend one of them") from None

    def start(self) -> State:
        """Return the first state."""
        return self._start() if callable(self._start) else self._start

    def is_done(self, state: State) -> bool:
        """Say whether the task ends in this state."""
        return self._is_done(state)

    def prompt(self, state: State) -> str | Sequence[Message]:
        """Return what a model is asked in this state."""
        return self._prompt(state)

    def parse(self, text: str, state: State) -> Move:
        """Read a reply; raises RedFlag for one that leads to a state that breaks the schema."""
        # By presence: `task` has set on the object what it was given.
        said, apply = self._parse(text, state), getattr(self, "apply", None)
        move = said if isinstance(said, Move) else Move(said, said if apply is None else ABSENT)
        if self._read_state is not None:
            # With `apply` the reply names no state, and the one that it leads to is looked at before anybody votes for
            # it.
            after = apply(state, move.action) if move.next_state is ABSENT and apply is not None else move.next_state
            self._hold(after)
        return move

    def _hold(self, state: State) -> None:
        if self._read_state is not None and state is not ABSENT:
            # As the journal writes it: a record that was made in code is held to what it will be read back as.
            self._read_state(json.dumps(plain(state), ensure_ascii=False))


def _reader(schema: Any) -> Callable[[str], Any] | None:
    if schema is None:
        return None
    return (formats.json_schema(schema) if isinstance(schema, Mapping) else formats.record(schema)).read
