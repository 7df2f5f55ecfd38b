"""A task whose replies may ask for tools: a state machine around any task. What is called, and by whom, is not here.

While a call waits, its state holds it; once it has come to something, that stands in the next state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, TaskError
from mdap.core.plain import plain
from mdap.core.records import ABSENT, Message, Move, State
from mdap.core.tooling import Outcome, ToolIntent
from mdap.planning.intents import ToolSchema, read_intent
from mdap.protocols import Task

# As many as brainwires-mdap lets calls follow one another.
ROUNDS: Final = 3
KIND: Final = "tool"
# A state, or an action, that holds a call is marked by this key; no task's own has it.
MARK: Final = "mdap:tools"
# Optional parts that stay as they are. Not `steps`: calls are steps, too, and nobody knows how many there will be.
_KEPT = frozenset({"version", "judge"})
_ABOUT = """You may call one of these tools before you answer:
{tools}
To call one, reply with a JSON object of this form and nothing else:
{form}
Otherwise answer as asked above."""
_FORM = '{"tool": "NAME", "arguments": {...}, "rationale": "why, in one sentence"}'
_OVER = "No tool can be called any more: answer as asked above."


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a state holds beside the task's own: the `pending` call, those that were made, and how many `rounds`."""

    rounds: int = 0
    pending: ToolIntent | None = None
    calls: tuple[tuple[ToolIntent, Outcome], ...] = ()


class ToolTask:
    """`inner`, with tools. At most `rounds` calls a step; one more comes to the outcome `limit` and is not made.

    Results go into the next state: by `inner.observe(state, intent, outcome) -> state`, where the task has it, else
    they are kept beside the state and shown in the prompt until the step has its answer. Votes for calls are on tool
    and arguments, those for answers as `inner` has them. Without `tools` it only reads the states of such a run.
    `hands` are what carries the calls out, by name, for the engine alone.
    """

    def __init__(
        self,
        inner: Task,
        tools: Mapping[str, ToolSchema],
        hands: Mapping[str, Any] | None = None,
        rounds: int = ROUNDS,
    ) -> None:
        self.inner, self.tools, self.rounds = inner, dict(tools), rounds
        self.hands = {} if hands is None else dict(hands)
        given: Any = inner
        # By the name of what it is made around, so that a command finds that again.
        self.spec = str(getattr(given, "spec", f"{type(inner).__module__}:{type(inner).__qualname__}"))
        self._apply: Callable[[State, Any], State] | None = getattr(given, "apply", None)
        self.vote_on: str = getattr(given, "vote_on", "pair" if self._apply is None else "action")
        self._state_type: Any = getattr(given, "state_type", None)
        self._action_type: Any = getattr(given, "action_type", None)
        # Set on the object and only where the task has them: optional parts are found by presence.
        if self._apply is not None:
            self.apply = self._applied
        if getattr(given, "check", None) is not None:
            self.check = self._checked
        if getattr(given, "settle", None) is not None:
            self.settle = self._settled
        if getattr(given, "in_form", None) is not None:
            self.in_form = self._in_form
        if getattr(given, "restored", None) is not None:
            self.restored = self._restored

    def __getattr__(self, name: str) -> Any:
        if name in _KEPT:
            return getattr(self.inner, name)
        raise AttributeError(name)

    @property
    def tool_names(self) -> str:
        """The tools, as a run's fingerprint names them."""
        return ",".join(self.tools)

    def start(self) -> State:
        """Return the state that the task begins in."""
        return plain(self.inner.start())

    def is_done(self, state: State) -> bool:
        """Say whether the task ends here; never while a call waits."""
        held, own = _held(state)
        return held.pending is None and bool(self.inner.is_done(self._load(own)))

    def kind(self, state: State) -> str:
        """Return `tool` while a call waits, else the task's own kind."""
        held, own = _held(state)
        if held.pending is not None:
            return KIND
        kind: Callable[[State], str] | None = getattr(self.inner, "kind", None)
        return "" if kind is None else kind(self._load(own))

    def prompt(self, state: State) -> Sequence[Message]:
        """Return the task's own prompt, with the tools and what came of earlier calls at its end."""
        held, own = _held(state)
        given = self.inner.prompt(self._load(own))
        asked = (Message("user", given),) if isinstance(given, str) else tuple(given)
        said = told(held, self.tools, self.rounds)
        if not said:
            return asked
        last = Message(asked[-1].role, f"{asked[-1].content}\n\n{said}")
        return (*asked[:-1], last)

    def parse(self, text: str, state: State) -> Move:
        """Read a reply: a call, or what the task makes of it; raises RedFlag for a call that cannot be made."""
        held, own = _held(state)
        # Without tools even a call is an answer, as it is in a run that never had any.
        intent = read_intent(text) if self.tools else None
        if intent is None:
            move = self.inner.parse(text, self._load(own))
            action = plain(move.action) if self._action_type is not None else move.action
            typed = move.next_state is not ABSENT and self._state_type is not None
            return Move(action, plain(move.next_state) if typed else move.next_state)
        known = known_call(intent, held, self.tools, self.rounds)
        after = ABSENT if self.vote_on == "action" else self._asked_for(known, held, own)
        return Move({MARK: msgspec.to_builtins(known)}, after)

    def key(self, move: Move) -> Any:
        """Return what two equal votes share."""
        intent = _intent(move.action)
        if intent is not None:
            schema = self.tools.get(intent.tool)
            # A task that only reads the states of such a run has no tools.
            given = canonical(intent.arguments).decode() if schema is None else schema.key(intent.arguments)
            # Without the rationale, and marked, so that no answer can equal a call.
            return [MARK, intent.tool, given]
        own: Callable[[Move], Any] | None = getattr(self.inner, "key", None)
        if own is not None:
            return own(self._typed(move))
        voted = move.action if self.vote_on == "action" else (move.action, move.next_state)
        return canonical(voted, getattr(self.inner, "schema", None)).decode("utf-8", "surrogatepass")

    def effect(self, state: State) -> ToolIntent | None:
        """Return the call that this state waits for, None where a vote is next."""
        return _held(state)[0].pending

    def observe(self, state: State, intent: ToolIntent, outcome: Outcome) -> State:
        """Return the state in which the step goes on."""
        held, own = _held(state)
        observe: Callable[[State, ToolIntent, Outcome], State] | None = getattr(self.inner, "observe", None)
        # Then the task keeps what it needs of the outcome, and prompts do not repeat it.
        if observe is not None:
            after = plain(observe(self._load(own), intent, outcome))
            return _holding(Held(held.rounds + 1), after)
        return _holding(Held(held.rounds + 1, None, (*held.calls, (intent, outcome))), own)

    def _applied(self, state: State, action: Any) -> State:
        held, own = _held(state)
        intent = _intent(action)
        if intent is not None:
            return self._asked_for(intent, held, own)
        assert self._apply is not None
        return plain(self._apply(self._load(own), _converted(action, self._action_type)))

    def _asked_for(self, intent: ToolIntent, held: Held, own: State) -> State:
        # An outcome and no flag: the model has to learn that it is to answer now.
        if held.rounds >= self.rounds:
            return self.observe(_holding(held, own), intent, Outcome("limit", error=f"{self.rounds} calls are made"))
        return _holding(msgspec.structs.replace(held, pending=intent), own)

    def _checked(self, state: State, move: Move) -> str | None:
        check: Any = self.inner
        own = _held(state)[1]
        reason: str | None = (
            None if _intent(move.action) is not None else check.check(self._load(own), self._typed(move))
        )
        return reason

    def _settled(self, state: State, votes: Sequence[Move], winner: Move | None) -> Move | None:
        """Leave calls out of what the task settles, unless one has won or there is nothing else."""
        if winner is not None and _intent(winner.action) is not None:
            return winner
        # A task that sums up its votes knows no calls.
        answers = [self._typed(vote) for vote in votes if _intent(vote.action) is None]
        if votes and not answers:
            return votes[0]
        task: Any = self.inner
        own = self._load(_held(state)[1])
        settled: Move | None = task.settle(own, answers, None if winner is None else self._typed(winner))
        return settled

    def _in_form(self, form: str) -> ToolTask:
        task: Any = self.inner
        return ToolTask(task.in_form(form), self.tools, self.hands, self.rounds)

    def _restored(self, state: State) -> ToolTask:
        task: Any = self.inner
        return ToolTask(task.restored(_held(state)[1]), self.tools, self.hands, self.rounds)

    def _load(self, own: State) -> State:
        return _converted(own, self._state_type)

    def _typed(self, move: Move) -> Move:
        after = move.next_state
        if after is not ABSENT:
            after = self._load(_held(after)[1])
        return Move(_converted(move.action, self._action_type), after)


def told(held: Held, tools: Mapping[str, ToolSchema], rounds: int) -> str:
    """Return what a prompt says of the calls that were made, and of the tools that there are; empty for neither."""
    parts = [told_calls(held)] if held.calls else []
    if tools:
        listed = "\n".join(schema.told for schema in tools.values())
        # Filled once, part by part: a description may hold braces of its own.
        about = _ABOUT.partition("{tools}")
        form = about[2].partition("{form}")
        parts.append(_OVER if held.rounds > rounds else "".join((about[0], listed, form[0], _FORM, form[2])))
    return "\n\n".join(parts)


def told_calls(held: Held) -> str:
    """Return what a prompt says of the calls that were made."""
    made = [f"{place}. {intent.told}\n   {_json(outcome)}" for place, (intent, outcome) in _numbered(held.calls)]
    return "Tools that were called, and what came of it:\n" + "\n".join(made)


def known_call(intent: ToolIntent, held: Held, tools: Mapping[str, ToolSchema], rounds: int) -> ToolIntent:
    """Return the intent with arguments as the tool reads them; raises RedFlag (tool)."""
    schema = tools.get(intent.tool)
    if schema is None:
        raise RedFlag(f"there is no tool {intent.tool}; there are: {', '.join(tools)}", name="tool")
    if held.rounds > rounds:
        raise RedFlag("it calls a tool again after the last call that was allowed", name="tool")
    return msgspec.structs.replace(intent, arguments=schema.checked(intent.arguments))


def asks_for_tool(action: Any) -> bool:
    """Say whether an action is the call of a tool, and no answer."""
    return isinstance(action, dict) and action.keys() == {MARK}


def _held(state: Any) -> tuple[Held, State]:
    """Return what a state holds beside the task's own, and the task's own."""
    if isinstance(state, dict) and MARK in state:
        return msgspec.convert(state[MARK], type=Held), state["state"]
    return Held(), state


def _holding(held: Held, own: State) -> State:
    # It would be read back as a state of ours, calls and all.
    if isinstance(own, dict) and MARK in own:
        raise TaskError(f"a state of the task has the key {MARK!r}, by which calls of tools are marked")
    return {MARK: msgspec.to_builtins(held), "state": own}


def _intent(action: Any) -> ToolIntent | None:
    if asks_for_tool(action):
        return msgspec.convert(action[MARK], type=ToolIntent)
    return None


def _converted(value: Any, kind: Any) -> Any:
    return value if kind is None else msgspec.convert(value, kind)


def _json(outcome: Outcome) -> str:
    return json.dumps(msgspec.to_builtins(outcome), ensure_ascii=False)


def _numbered(calls: Sequence[tuple[ToolIntent, Outcome]]) -> list[tuple[int, tuple[ToolIntent, Outcome]]]:
    return list(enumerate(calls, 1))
