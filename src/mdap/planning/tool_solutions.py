"""Answers to a task whose solver may call tools first: a call is a candidate as an answer is. None is made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mdap.core.errors import RedFlag
from mdap.core.formats import Format
from mdap.core.records import State
from mdap.core.tooling import Outcome, ToolIntent
from mdap.planning.candidates import Question, Solutions
from mdap.planning.intents import ToolSchema, read_intent
from mdap.planning.tool_task import KIND, MARK, ROUNDS, Held, asks_for_tool, known_call, told, told_calls
from mdap.planning.wording import Wording

# For judges, who call nothing themselves: to them a call would be an odd answer.
_ABOUT_CALLS = 'A candidate with the key "call" asks for that tool to be called before the task is answered.'


class Kit(msgspec.Struct, frozen=True):
    """Tools by name, the hands that carry their calls out, and how many calls a task may take."""

    tools: Mapping[str, ToolSchema] = {}
    hands: Mapping[str, Any] = {}
    rounds: int = ROUNDS


class ToolSolutions(Solutions):
    """Answers to a task that is solved as it stands, with the tools of `kit`.

    Calls that have the same tool and arguments are one candidate; where all draws agree on one it is made, else judges
    choose between it and the others. What came of it stands in the next prompts of all roles. One call more than the
    kit's rounds comes to the outcome `limit`, and is not made.
    """

    def __init__(
        self,
        question: Question,
        wording: Wording,
        rounds: int,
        form: Format,
        key: Callable[[Any], Any] | None,
        kit: Kit,
        *,
        validated: bool = False,
    ) -> None:
        super().__init__(question, wording, rounds, form, key, validated=validated)
        self._kit = kit
        self.hands = dict(kit.hands)

    @property
    def version(self) -> str:
        """What makes other answers to the same question."""
        return f"{super().version},tools={','.join(self._kit.tools)}"

    def start(self) -> dict[str, Any]:
        """Return the state before anything is proposed, or called."""
        # In the state from the beginning: calls are part of what a journal gives back.
        return super().start() | {MARK: msgspec.to_builtins(Held())}

    def is_done(self, state: State) -> bool:
        """Say whether there is a result, or no round is left; never while a call waits."""
        return _held(state).pending is None and super().is_done(state)

    def kind(self, state: State) -> str:
        """Return `tool` while a call waits, else the role that has the next word."""
        return KIND if _held(state).pending is not None else super().kind(state)

    def prompt(self, state: State) -> str:
        """Return what that role is asked, with the tools for the solver, and with what was called for all."""
        held, asked = _held(state), super().prompt(state)
        # The solver alone may call: judges choose among calls, and make none.
        if super().kind(state) == self.proposes:
            return f"{asked}\n\n{told(held, self._kit.tools, self._kit.rounds)}"
        parts = [asked, *([told_calls(held)] if held.calls else [])]
        if any(asks_for_tool(one) for one in state["candidates"]):
            parts.append(_ABOUT_CALLS)
        return "\n\n".join(parts)

    @property
    def proposal_schema(self) -> Mapping[str, Any] | None:
        """None: a reply may be a call, whatever answers have to look like."""
        return None

    def parse(self, text: str, state: State) -> Any:
        """Read a call, an answer, a choice or a verdict; raises RedFlag for what is none of them."""
        move = super().parse(text, state)
        if asks_for_tool(move.action.get("candidate")):
            # Only here is it known how many were made before.
            known_call(_intent(move.action["candidate"]), _held(state), self._kit.tools, self._kit.rounds)
        return move

    def read(self, text: str) -> Any:
        """Return the call, or the answer, that a reply is; raises RedFlag for what is neither."""
        intent = read_intent(text)
        if intent is None:
            value = super().read(text)
            if asks_for_tool(value):
                raise RedFlag(f"an answer has the key {MARK!r}, by which calls of tools are marked")
            return value
        # As if it were the first: how many were made is for `parse`, which has the state.
        return {MARK: msgspec.to_builtins(known_call(intent, Held(), self._kit.tools, self._kit.rounds))}

    def same(self, candidate: Any) -> Any:
        """Return the tool and its arguments, never why it is called; of an answer what counts as the same."""
        if not asks_for_tool(candidate):
            return super().same(candidate)
        intent = _intent(candidate)
        # Without the rationale: two draws seldom give the same reason.
        return [MARK, intent.tool, self._kit.tools[intent.tool].key(intent.arguments)]

    def shown(self, candidates: Sequence[Any]) -> list[Any]:
        """Return candidates as judges see them: a call by its own key."""
        return [{"call": one[MARK]} if asks_for_tool(one) else one for one in candidates]

    def chosen(self, state: State, candidate: Any) -> State:
        """Return the state once an answer is chosen, or a call that is now to be made."""
        if not asks_for_tool(candidate):
            return super().chosen(state, candidate)
        intent, held = _intent(candidate), _held(state)
        after = state | {"candidates": []}
        # Told as an outcome, so that the solver knows why it has to answer now.
        if held.rounds >= self._kit.rounds:
            limit = Outcome("limit", error=f"{self._kit.rounds} calls are made")
            return self.observe(after, intent, limit)
        return after | {MARK: msgspec.to_builtins(msgspec.structs.replace(held, pending=intent))}

    def effect(self, state: State) -> ToolIntent | None:
        """Return the call that this state waits for, None where a vote is next."""
        return _held(state).pending

    def observe(self, state: State, intent: ToolIntent, outcome: Outcome) -> State:
        """Return the state in which the solver is asked again, knowing what came of the call."""
        held = _held(state)
        return state | {MARK: msgspec.to_builtins(Held(held.rounds + 1, None, (*held.calls, (intent, outcome))))}


def _held(state: State) -> Held:
    return msgspec.convert(state[MARK], type=Held)


def _intent(candidate: Any) -> ToolIntent:
    return msgspec.convert(candidate[MARK], type=ToolIntent)
