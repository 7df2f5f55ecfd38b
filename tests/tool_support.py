"""Tasks and a model for the tests of tools: an order is paid in two steps, each of which may call a tool first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mdap.core.errors import RedFlag
from mdap.core.records import ABSENT, Move, Request, Response
from mdap.core.tooling import Outcome, ToolIntent


def call(tool: str, rationale: str = "", **arguments: Any) -> str:
    """A reply that asks for a tool."""
    return json.dumps({"tool": tool, "arguments": arguments, "rationale": rationale})


class Order:
    """Two steps; the answer to each is a number, and code computes the next state."""

    spec = "tests.tool_support:Order"

    def start(self) -> Any:
        return {"step": 0, "sum": 0}

    def is_done(self, state: Any) -> bool:
        return bool(state["step"] == 2)

    def prompt(self, state: Any) -> str:
        return f"Step {state['step']}, sum {state['sum']}: what is to be added?"

    def parse(self, text: str, state: Any) -> Move:
        if not text.isdigit():
            raise RedFlag("no number")
        return Move(int(text), ABSENT)

    def apply(self, state: Any, action: Any) -> Any:
        return {"step": state["step"] + 1, "sum": state["sum"] + action}


def order(row: Any) -> Order:
    """The order of one row of a map."""
    return Order()


class Paired(Order):
    """The same, voted on as pairs."""

    spec = "tests.tool_support:Paired"
    apply = None  # type: ignore[assignment]

    def parse(self, text: str, state: Any) -> Move:
        action = super().parse(text, state).action
        return Move(action, Order.apply(self, state, action))


class Watching(Order):
    """The same, whose state keeps what tools said."""

    spec = "tests.tool_support:Watching"

    def prompt(self, state: Any) -> str:
        return f"{super().prompt(state)} Known: {state.get('known')}."

    def apply(self, state: Any, action: Any) -> Any:
        return {**super().apply(state, action), "known": state.get("known")}

    def observe(self, state: Any, intent: ToolIntent, outcome: Outcome) -> Any:
        return {**state, "known": [intent.tool, outcome.status, outcome.value]}


class Clerk:
    """A model that calls `tool` once a step, by its step's number, and then answers 5."""

    def __init__(self, tool: str = "price", **arguments: Any) -> None:
        self.spec = "clerk"
        self.tool, self.arguments = tool, arguments
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Response:
        self.requests.append(request)
        asked = request.messages[-1].content
        if "came of it:" in asked or "Known: [" in asked or "You may call" not in asked:
            return Response("5")
        return Response(call(self.tool, f"draw {request.draw.slot}", **self.arguments))


class Ledger:
    """A tool that writes a line for each payment: its effect can be counted after a kill."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pay(self, amount: int, idempotency_key: str) -> str:
        """Pay an amount."""
        with self.path.open("a") as file:
            file.write(f"{amount} {idempotency_key}\n")
        return f"paid {amount}"

    @property
    def paid(self) -> list[str]:
        """The lines that were written."""
        return self.path.read_text().splitlines() if self.path.exists() else []


def look(place: int) -> int:
    """Look at a place."""
    return place


def clerk(prompt: str) -> str:
    """A model that looks once a step, and then answers 5."""
    return "5" if "came of it:" in prompt else call("look", place=1)
