"""A task of the tests' own, as small as a simulated model needs it, and requests for its steps."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from mdap.core.errors import RedFlag
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Message, Move, Prompt, Request


class Counting:
    """Counts up: the state is a number, the right move the next one, a reply `<next>`; `wrongs` mistakes are known."""

    spec = "counting"

    def __init__(self, wrongs: int = 30, *, lost: frozenset[int] = frozenset()) -> None:
        self.wrongs = wrongs
        self.lost = lost

    def start(self) -> int:
        return 0

    def is_done(self, state: int) -> bool:
        return state >= 10

    def prompt(self, state: int) -> str:
        return f"Count on from {state}"

    def parse(self, text: str, state: int) -> Move:
        if not (text.startswith("<") and text.endswith(">") and text[1:-1].isdigit()):
            raise RedFlag(f"not a number in angles: {text!r}")
        return Move(int(text[1:-1]), int(text[1:-1]))

    def answer(self, state: int) -> Move | None:
        return None if state in self.lost else Move(state + 1, state + 1)

    def mistakes(self, state: int) -> list[Move]:
        return [Move(state + 2 + j, state + 2 + j) for j in range(self.wrongs)]

    def write(self, move: Move) -> str:
        return f"<{move.action}>"

    def read(self, messages: Sequence[Message]) -> int:
        text = messages[-1].content
        if not text.startswith("Count on from "):
            raise ValueError(f"not a prompt of counting: {text!r}")
        return int(text.removeprefix("Count on from "))


class Rows(Counting):
    """The same in square brackets, which can be left open."""

    def write(self, move: Move) -> str:
        return f"[{move.action}]"


def asked(state: Any, slot: int = 0, redraw: int = 0, *, cap: int = 750, in_text: bool = False) -> Request:
    """The request that a run with seed 1 makes for this draw of the step with this state."""
    text = f"Count on from {state}"
    prompt = Prompt((Message("user", text),), blake2b(text.encode(), digest_size=16).hexdigest())
    step = state if isinstance(state, int) else 0
    seed = draw_seed(1, 0, step, slot, redraw)
    return Request(prompt, Draw(step, slot, redraw), seed, 0.1, cap, None if in_text else state)
