"""A task with its optional parts looked up once, and the guards around its methods. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import MdapError, RedFlag, TaskError
from mdap.core.records import ABSENT, Message, Move, Prompt, State, Step, Vote
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
        return self.load(plain(self._guard("start", self.task.start)))

    def is_done(self, state: State) -> bool:
        """Say whether the task ends in this state."""
        return bool(self._guard("is_done", self.task.is_done, state))

    def kind(self, state: State) -> str:
        """Return the kind of step that this state asks for."""
        return "" if self._kind is None else self._guard("kind", self._kind, state)

    def prompt(self, step: Step) -> Prompt:
        """Return the messages of a step with their digest."""
        try:
            given: str | Sequence[Message] = self.task.prompt(step.state)
        except Exception as error:
            raise self._broken("prompt", error, step.index) from error
        messages = (Message("user", given),) if isinstance(given, str) else tuple(given)
        digest = blake2b(digest_size=16)
        for message in messages:
            digest.update(f"{message.role}\0{message.content}\0".encode())
        return Prompt(messages, digest.hexdigest())

    def read(self, text: str, step: Step) -> Vote:
        """Return the vote that a reply is; raises RedFlag if the task's parser or oracle refuses it."""
        try:
            move = self.task.parse(text, step.state)
            reason = None if self.check is None else self.check(step.state, move)
            if reason:
                raise RedFlag(reason, name="illegal")
            return self._vote(move, step.state)
        except RedFlag:
            raise
        except (ValueError, MdapError) as error:
            # A parser written with int() or json.loads() refuses a reply by ValueError: the reply's fault, not a bug.
            raise RedFlag(str(error)) from error
        except Exception as error:
            raise self._broken("parse, check or apply", error, step.index) from error

    def _vote(self, move: Move, state: State) -> Vote:
        action = plain(move.action)
        if self.vote_on == "pair" or self.apply is None:
            after = plain(move.next_state)
            voted: Any = (action, after)
        else:
            after = plain(self.apply(state, move.action))
            if move.next_state is not ABSENT and canonical(plain(move.next_state)) != canonical(after):
                raise RedFlag("the next state does not follow from the action", name="illegal")
            voted = action
        loaded = self.loaded(Move(action, after))
        key = canonical(voted, self.schema) if self.key is None else canonical(self.key(loaded))
        return Vote(key, loaded)

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

    def _guard(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            raise self._broken(name, error, None) from error

    def _broken(self, name: str, error: Exception, step: int | None) -> MdapError:
        if isinstance(error, MdapError):
            return error
        return TaskError(
            f"{type(self.task).__name__}.{name} raised {type(error).__name__}: {error}",
            remedy="mend the task and go on with `mdap resume`",
            step=step,
        )
