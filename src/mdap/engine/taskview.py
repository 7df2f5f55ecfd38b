"""A task with its optional parts looked up once, and the guards around its methods. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, TaskError, UsageError
from mdap.core.foreign import Foreign
from mdap.core.plain import encode, exact, plain
from mdap.core.prompting import prompt_of
from mdap.core.records import ABSENT, Message, Move, Prompt, State, Vote
from mdap.core.tooling import Outcome, ToolIntent
from mdap.engine.judging import Judge
from mdap.protocols import Task


class TaskView:
    """What the engine uses of a task. An error in one of its methods becomes a TaskError that names the method."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.apply: Callable[[State, Any], State] | None = getattr(task, "apply", None)
        self.vote_on: str = getattr(task, "vote_on", "pair" if self.apply is None else "action")
        self.check: Callable[[State, Move], str | None] | None = getattr(task, "check", None)
        self.key: Callable[[Move], Any] | None = getattr(task, "key", None)
        self.schema: Mapping[str, Any] | None = getattr(task, "schema", None)
        self._reply_schema: Any = getattr(task, "reply_schema", None)
        self._has_schemas = callable(self._reply_schema)
        self.judge: Judge | None = getattr(task, "judge", None)
        self.state_type: Any = getattr(task, "state_type", None)
        self.action_type: Any = getattr(task, "action_type", None)
        # Its own only if the task has one: what a ballot comes to is then not simply its winner.
        self.settle = self._settled if getattr(task, "settle", None) is not None else None
        self.rank: Callable[[str, State], Sequence[Move]] | None = getattr(task, "rank", None)
        # Of such a task the pair is its own key, if it is JSON as it stands.
        self._is_untyped = (
            self.vote_on == "pair" and self.schema is self.key is self.state_type is self.action_type is None
        )
        self._kind: Callable[[State], str] | None = getattr(task, "kind", None)
        self._effect: Callable[[State], ToolIntent | None] | None = getattr(task, "effect", None)
        # `apply` between stored values: what a journal is read back with.
        self.replay: Callable[[Any, Any], Any] | None = None if self.apply is None else self._replay
        methods = ("start", "is_done", "kind", "prompt", "parse", "check", "apply", "key", "settle", "rank", "effect")
        named = (*methods, "observe", "reply_schema")
        # Made once: most of them are entered at every step.
        self._in = {name: Foreign(f"{type(task).__name__}.{name}") for name in named}
        if self.vote_on not in ("action", "pair") or (self.vote_on == "action" and self.apply is None):
            raise TaskError(
                f"vote_on={self.vote_on!r} of {type(task).__name__} is not possible",
                remedy="it is 'pair', or 'action' for a task with apply",
            )

    @property
    def identity(self) -> tuple[str, str]:
        """How the task is written, or its class, and its version: what a fingerprint holds of it."""
        kind = type(self.task)
        spec = getattr(self.task, "spec", f"{kind.__module__}:{kind.__qualname__}")
        return spec, str(getattr(self.task, "version", ""))

    def load(self, state: Any) -> State:
        """Return a stored state as the task wants it: a record if it names `state_type`, else JSON values."""
        return _typed(state, self.state_type)

    def loaded(self, move: Move) -> Move:
        """Return a stored move as the task wants it."""
        return Move(_typed(move.action, self.action_type), self.load(move.next_state))

    def start(self) -> State:
        """Return the start state."""
        with self._in["start"]:
            # By way of JSON values: the first segment is to see what a resume will read back.
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

    def reply_schema(self, state: State) -> Mapping[str, Any] | None:
        """Return the JSON Schema that a provider which can is to hold a reply to; None where it is free text."""
        if not self._has_schemas:
            found: Mapping[str, Any] | None = self._reply_schema
            return found
        with self._in["reply_schema"]:
            made: Mapping[str, Any] | None = self._reply_schema(state)
        return made

    @property
    def has_effects(self) -> bool:
        """Whether states of this task may wait for a call of a tool."""
        return self._effect is not None

    def effect(self, state: State) -> ToolIntent | None:
        """Return the call of a tool that this state waits for, in place of a vote."""
        if self._effect is None:
            return None
        with self._in["effect"]:
            return self._effect(state)

    def observe(self, state: State, intent: ToolIntent, outcome: Outcome) -> State:
        """Return the state in which it goes on once the call has come to something."""
        task: Any = self.task
        with self._in["observe"]:
            return self.load(plain(task.observe(state, intent, outcome)))

    def prompt(self, state: State) -> Prompt:
        """Return the messages for a state with their digest."""
        with self._in["prompt"]:
            return rendered(self.task.prompt(state), self._in["prompt"].what)

    def read(self, text: str, state: State) -> Vote:
        """Return the vote that a reply is; raises RedFlag if the task's parser or oracle refuses it."""
        if self.rank is not None:
            return self._ranked(text, state)
        with self._in["parse"]:
            move = self._parse(text, state)
            known = exact([move.action, move.next_state]) if self._is_untyped else None
        if known is None:
            return self.vote(move, state)
        self._check(move, state)
        form, (action, after) = known
        return Vote(form, Move(action, after))

    def _ranked(self, text: str, state: State) -> Vote:
        """Return the vote for the first of the moves that a reply ranks; one that is refused refuses the reply."""
        assert self.rank is not None
        with self._in["rank"]:
            try:
                moves = self.rank(text, state)
            except (ValueError, msgspec.DecodeError, RecursionError) as error:
                raise RedFlag(str(error)) from error
        # One that is named twice has the first of its places.
        votes: dict[bytes, Move] = {}
        for vote in [self.vote(move, state) for move in moves]:
            votes.setdefault(vote.key, vote.move)
        if not votes:
            raise RedFlag("the reply ranks nothing")
        keys, ranked = tuple(votes), tuple(votes.values())
        return Vote(keys[0], ranked[0], ranking=keys, ranked=ranked)

    def vote(self, move: Move, state: State) -> Vote:
        """Return the vote that a move is; raises RedFlag if the oracle refuses it."""
        self._check(move, state)
        return self._vote(move, state)

    def agrees(self, move: Move, right: Move) -> bool:
        """Say whether a decided move is the right one, as votes are compared."""
        if self.key is not None:
            return canonical(self.key(move)) == canonical(self.key(right))
        voted, right_voted = (m.action if self.vote_on == "action" else (m.action, m.next_state) for m in (move, right))
        # Most are equal to the byte, and that is several times cheaper to see than two canonical forms.
        if encode(voted) == encode(right_voted):
            return True
        return canonical(plain(voted), self.schema) == canonical(plain(right_voted), self.schema)

    def follows(self, state: State, move: Move) -> bool:
        """Say whether a replay by `apply` gives exactly this next state, so that it need not be stored."""
        if self.apply is None:
            return False
        try:
            with self._in["apply"]:
                # By bytes: values that are merely equal (1, 1.0, True; other orders of keys) would be replayed changed.
                after, decided = self.apply(state, move.action), encode(move.next_state)
                # As it is, it is usually the same already; only what is not JSON yet has to be made so.
                return encode(after) == decided or encode(plain(after)) == decided
        except TaskError:
            # Votes were on the pair: the action may be one that `apply` knows no next state for.
            return False

    def _check(self, move: Move, state: State) -> None:
        if self.check is None:
            return
        with self._in["check"]:
            reason = self.check(state, move)
        if reason:
            raise RedFlag(reason, name="illegal")

    def _parse(self, text: str, state: State) -> Move:
        try:
            move = self.task.parse(text, state)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            # A parser written with int() or a JSON decoder refuses a reply by these: the reply's fault, not a bug.
            raise RedFlag(str(error)) from error
        if not isinstance(move, Move):
            raise TaskError(
                f"{self._in['parse'].what} returned {_named(move)}, not a Move",
                remedy="return mdap.Move(action, next_state), or raise mdap.RedFlag(reason) for a reply that is none; "
                "then go on with `mdap resume RUN`",
            )
        return move

    def _vote(self, move: Move, state: State) -> Vote:
        with self._in["parse"]:
            action = self._given(move.action, self.action_type)
            after = ABSENT if move.next_state is ABSENT else self._given(move.next_state, self.state_type)
        # Without a type, what was given is voted on: on the way through JSON a NaN would become null.
        voted: Any = move.action if self.action_type is None else action
        if self.apply is not None and self.vote_on == "action":
            after = self._next(state, action, after)
        elif after is ABSENT:
            raise TaskError(
                f"{self._in['parse'].what} gave no next state, and votes are on the pair",
                remedy="return Move(action, next_state), or give the task `apply`",
            )
        else:
            voted = (voted, move.next_state if self.state_type is None else after)
        loaded = Move(action, after)
        if self.key is None:
            return Vote(self._form(voted, self.schema), loaded)
        with self._in["key"]:
            voted = self.key(loaded)
        return Vote(self._form(voted), loaded)

    def _settled(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move | None:
        """Return what a closed ballot comes to, as a journal would give it back; None: it is undecided."""
        task: Any = self.task
        with self._in["settle"]:
            move: Move | None = task.settle(state, votes, winner)
            if move is None or move is winner:
                return move
            action = _typed(plain(move.action), self.action_type)
            if self.apply is not None and self.vote_on == "action":
                after = ABSENT
            elif move.next_state is ABSENT:
                raise TaskError(
                    f"{self._in['settle'].what} gave no next state, and votes are on the pair",
                    remedy="return Move(action, next_state), or give the task `apply`",
                )
            else:
                after = self.load(plain(move.next_state))
        # By `apply` wherever a replay does: a next state that settling gave beside it could not be read back.
        return Move(action, self._next(state, action, ABSENT) if after is ABSENT else after)

    def _given(self, value: Any, kind: Any) -> Any:
        """Return a value of a reply as a journal would give it back; raises RedFlag if it is not of its type."""
        try:
            return _typed(plain(value), kind)
        except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
            raise RedFlag(str(error)) from error

    def _next(self, state: State, action: Any, said: State) -> State:
        """Return the state that `apply` gives; raises RedFlag if the reply said (was not ABSENT) another one."""
        assert self.apply is not None
        with self._in["apply"]:
            # From the action as it is stored, never as it was parsed, so that a replay computes the same.
            after = self.load(plain(self.apply(state, action)))
        if said is not ABSENT and self._form(said) != self._form(after):
            raise RedFlag("the next state does not follow from the action", name="illegal")
        return after

    def _replay(self, state: Any, action: Any) -> Any:
        assert self.apply is not None
        # Where a state waited for a tool, what is stored as the action is what came of the call.
        intent = None if self._effect is None else self.effect(self.load(state))
        if intent is not None:
            return plain(self.observe(self.load(state), intent, _typed(action, Outcome)))
        with self._in["apply"]:
            return plain(self.apply(self.load(state), _typed(action, self.action_type)))

    def _form(self, value: Any, schema: Mapping[str, Any] | None = None) -> bytes:
        try:
            return canonical(value, schema)
        except UsageError as error:
            # A value without a canonical form (NaN, say) came out of a reply, and cannot be counted.
            raise RedFlag(error.message) from error


def _typed(value: Any, kind: Any) -> Any:
    return value if kind is None else msgspec.convert(value, kind)


def _named(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} ({repr(value)[:60]})"


def rendered(given: str | Sequence[Message], what: str = "paraphrases") -> Prompt:
    """Return what a task wants to ask, text or messages, as a prompt; raises TaskError if `what` gave neither."""
    if not isinstance(given, str):
        # By type first: once a step, and several times cheaper than asking an abstract class.
        messages_given = given if type(given) in (list, tuple) else list(given) if isinstance(given, Iterable) else []
        if {*map(type, messages_given)} != {Message}:
            raise TaskError(
                f"{what} returned {_named(given)}, neither a text nor messages",
                remedy="return the prompt as a text, or as a list of mdap.Message(role, content); "
                "then go on with `mdap resume RUN`",
            )
        given = messages_given
    return prompt_of((Message("user", given),) if isinstance(given, str) else given)
