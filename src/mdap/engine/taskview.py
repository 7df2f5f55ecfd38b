"""A task with its optional parts looked up once, and the guards around its methods. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, TaskError, UsageError
from mdap.core.foreign import Foreign
from mdap.core.records import ABSENT, Message, Move, Prompt, State, Vote
from mdap.protocols import Task

_plain = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def plain(value: Any) -> Any:
    """Return `value` as JSON values: what a journal gives back, so that a resumed run sees the same types."""
    return _plain.decode(_encoder.encode(value))


class TaskView:
    """What the engine uses of a task. An error in one of its methods becomes a TaskError that names the method."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.apply: Callable[[State, Any], State] | None = getattr(task, "apply", None)
        self.vote_on: str = getattr(task, "vote_on", "pair" if self.apply is None else "action")
        self.check: Callable[[State, Move], str | None] | None = getattr(task, "check", None)
        self.key: Callable[[Move], Any] | None = getattr(task, "key", None)
        self.schema: Mapping[str, Any] | None = getattr(task, "schema", None)
        self.state_type: Any = getattr(task, "state_type", None)
        self.action_type: Any = getattr(task, "action_type", None)
        self._kind: Callable[[State], str] | None = getattr(task, "kind", None)
        methods = ("start", "is_done", "kind", "prompt", "parse", "check", "apply", "key")
        self._in = {name: Foreign(f"{type(task).__name__}.{name}") for name in methods}
        if self.vote_on not in ("action", "pair") or (self.vote_on == "action" and self.apply is None):
            raise TaskError(
                f"vote_on={self.vote_on!r} of {type(task).__name__} is not possible",
                remedy="it is 'pair', or 'action' for a task with apply",
            )

    def load(self, state: Any) -> State:
        """Return a stored state as the task wants it: a record if it names `state_type`, else JSON values."""
        return state if self.state_type is None else msgspec.convert(state, self.state_type)

    def loaded(self, move: Move) -> Move:
        """Return a stored move as the task wants it."""
        action = move.action if self.action_type is None else msgspec.convert(move.action, self.action_type)
        return Move(action, self.load(move.next_state))

    def start(self) -> State:
        """Return the start state."""
        with self._in["start"]:
            return self.load(plain(self.task.start()))

    def is_done(self, state: State) -> bool:
        """Say whether the task ends in this state."""
        with self._in["is_done"]:
            return bool(self.task.is_done(state))

    def kind(self, state: State) -> str:
        """Return the kind of step that this state asks for."""
        if self._kind is None:
            return ""
        with self._in["kind"]:
            return self._kind(state)

    def prompt(self, state: State) -> Prompt:
        """Return the messages for a state with their digest."""
        with self._in["prompt"]:
            given = self.task.prompt(state)
        messages = (Message("user", given),) if isinstance(given, str) else tuple(given)
        digest = blake2b(digest_size=16)
        for message in messages:
            digest.update(f"{message.role}\0{message.content}\0".encode())
        return Prompt(messages, digest.hexdigest())

    def read(self, text: str, state: State) -> Vote:
        """Return the vote that a reply is; raises RedFlag if the task's parser or oracle refuses it."""
        with self._in["parse"]:
            move = self._parse(text, state)
        with self._in["check"]:
            reason = None if self.check is None else self.check(state, move)
        if reason:
            raise RedFlag(reason, name="illegal")
        return self._vote(move, state)

    def agrees(self, move: Move, right: Move) -> bool:
        """Say whether a decided move is the right one, as votes are compared."""
        if self.key is not None:
            return canonical(self.key(move)) == canonical(self.key(right))
        pair, right_pair = [
            (m.action,) if self.vote_on == "action" else (m.action, m.next_state) for m in (move, right)
        ]
        # Most are equal to the byte, and that is several times cheaper to see than two canonical forms.
        if _encoder.encode(pair) == _encoder.encode(right_pair):
            return True
        return canonical(plain(pair), self.schema) == canonical(plain(right_pair), self.schema)

    def _parse(self, text: str, state: State) -> Move:
        try:
            return self.task.parse(text, state)
        except (ValueError, msgspec.DecodeError) as error:
            # A parser written with int() or a JSON decoder refuses a reply by these: the reply's fault, not a bug.
            raise RedFlag(str(error)) from error

    def _vote(self, move: Move, state: State) -> Vote:
        with self._in["parse"]:
            action, after = plain(move.action), None if move.next_state is ABSENT else plain(move.next_state)
        voted: Any = (action, after)
        if self.apply is not None and self.vote_on == "action":
            with self._in["apply"]:
                follows = plain(self.apply(state, move.action))
            if move.next_state is not ABSENT and self._form(after) != self._form(follows):
                raise RedFlag("the next state does not follow from the action", name="illegal")
            after, voted = follows, action
        loaded = self.loaded(Move(action, after))
        if self.key is None:
            return Vote(self._form(voted, self.schema), loaded)
        with self._in["key"]:
            voted = self.key(loaded)
        return Vote(self._form(voted), loaded)

    def _form(self, value: Any, schema: Mapping[str, Any] | None = None) -> bytes:
        try:
            return canonical(value, schema)
        except UsageError as error:
            # A value without a canonical form (NaN, say) came out of a reply, and cannot be counted.
            raise RedFlag(error.message) from error
