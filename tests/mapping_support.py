"""Rows for the tests of maps: sums of one step, counts of several, and a model that notes what it was asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mdap.core.records import ABSENT, Move, Request, Response
from mdap.models.simulated import Simulated, simulated


class Sum:
    """The row {"a": ..., "b": ...} asks for one sum."""

    steps = 1

    def __init__(self, row: Any) -> None:
        self.a, self.b = row["a"], row["b"]

    def start(self) -> Any:
        return {"a": self.a, "b": self.b}

    def is_done(self, state: Any) -> bool:
        return "sum" in state

    def prompt(self, state: Any) -> str:
        return f"What is {state['a']} + {state['b']}?"

    def paraphrases(self, state: Any) -> list[str]:
        return [f"Add {state['b']} to {state['a']}.", f"{state['a']} and {state['b']} make?"]

    def parse(self, text: str, state: Any) -> Move:
        return Move(int(text), ABSENT)

    def apply(self, state: Any, action: Any) -> Any:
        return {"sum": action}

    def answer(self, state: Any) -> Move:
        return Move(state["a"] + state["b"], ABSENT)

    def write(self, move: Move) -> str:
        return str(move.action)

    def mistakes(self, state: Any) -> list[Move]:
        return [Move(state["a"] + state["b"] + by, ABSENT) for by in (1, -1)]


class Count(Sum):
    """The row {"a": from, "b": to} counts up, a step a number; next states are voted on, too."""

    steps = 4
    apply = None  # type: ignore[assignment]

    def start(self) -> Any:
        return {"n": self.a, "left": self.b}

    def is_done(self, state: Any) -> bool:
        return bool(state["left"] == 0)

    def prompt(self, state: Any) -> str:
        return f"{state['left']} to go: what comes after {state['n']}?"

    def parse(self, text: str, state: Any) -> Move:
        return Move(int(text), {"n": int(text), "left": state["left"] - 1})

    def answer(self, state: Any) -> Move:
        return Move(state["n"] + 1, {"n": state["n"] + 1, "left": state["left"] - 1})

    def mistakes(self, state: Any) -> list[Move]:
        return [Move(state["n"] + by, {"n": state["n"] + by, "left": state["left"] - 1}) for by in (2, 3)]


def sums(count: int) -> list[dict[str, int]]:
    """Rows of `Sum`."""
    return [{"a": n, "b": n % 7} for n in range(count)]


class Noted:
    """A simulated model that notes each draw in a file, or in `asked`, before it answers; `lag` seconds a call."""

    def __init__(self, inner: Simulated | None = None, notes: Path | None = None, lag: float = 0.0) -> None:
        self.inner = simulated(p=0.8, flags=0.05, seed=4) if inner is None else inner
        self.spec = self.inner.spec
        self.notes, self.lag = notes, lag
        self.asked: list[tuple[int, int, int, int]] = []
        self.open = self.most_open = 0
        self._root = self

    def bind(self, task: Any) -> Noted:
        """Return this model with its task; what is noted is noted by the model that was bound."""
        bound = Noted(self.inner.bind(task), self.notes, self.lag)
        bound._root = self._root
        return bound

    async def complete(self, request: Request) -> Response:
        """Note the draw, and answer."""
        root, draw = self._root, request.draw
        root.asked.append((draw.item, draw.step, draw.slot, draw.redraw))
        if self.notes is not None:
            with self.notes.open("a") as notes:
                notes.write(f"{draw.item} {draw.step} {draw.slot} {draw.redraw}\n")
        root.open += 1
        root.most_open = max(root.most_open, root.open)
        try:
            if self.lag:
                # Rows end in an order of their own.
                await asyncio.sleep(self.lag * (1 + draw.item * 7 % 5))
            return await self.inner.complete(request)
        finally:
            root.open -= 1
