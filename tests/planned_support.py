"""Branches for the tests of runs of several roles: proposals that judges vote on, and models that say what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mdap.core.errors import ModelRejected
from mdap.core.history import RowDecided
from mdap.core.records import ABSENT, Move, Request, Response, Usage
from mdap.protocols import Journal
from mdap.roles import Role

ROLES: dict[str, Role] = {"propose": Role(rule="collect:1"), "judge": Role(rule="gate:2")}


class Essay:
    """Writes `lines` lines: each is proposed, then judged; one that is refused is proposed again with the reasons."""

    vote_on = "action"

    def __init__(self, topic: str, lines: int = 2) -> None:
        self.topic, self.lines = topic, lines

    def start(self) -> Any:
        return {"topic": self.topic, "text": [], "proposed": None, "reasons": []}

    def is_done(self, state: Any) -> bool:
        return len(state["text"]) == self.lines

    def kind(self, state: Any) -> str:
        return "propose" if state["proposed"] is None else "judge"

    def prompt(self, state: Any) -> str:
        if state["proposed"] is None:
            return f"Line {len(state['text'])} about {self.topic}, not {state['reasons']}"
        return f"Is {state['proposed']} right?"

    def parse(self, text: str, state: Any) -> Move:
        if self.kind(state) == "propose":
            return Move({"line": text}, ABSENT)
        verdict, _, reason = text.partition(":")
        return Move({"verdict": verdict, "reason": reason}, ABSENT)

    def key(self, move: Move) -> Any:
        return move.action.get("verdict", move.action)

    def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
        if self.kind(state) == "propose":
            return votes[0]
        reasons = [vote.action["reason"] for vote in votes if vote.action["verdict"] == "no"]
        return Move({"verdict": "no" if winner is None else winner.action["verdict"], "reasons": reasons}, ABSENT)

    def apply(self, state: Any, action: Any) -> Any:
        if "line" in action:
            return {**state, "proposed": action["line"]}
        if action["verdict"] == "yes":
            return {**state, "text": [*state["text"], state["proposed"]], "proposed": None, "reasons": []}
        return {**state, "proposed": None, "reasons": [*state["reasons"], *action.get("reasons", [])]}


class Speaker:
    """Answers by what is asked: proposals name the line, and every line is refused once. `asked` notes the draws."""

    def __init__(self, spec: str = "speaker", tokens: int = 5, says: Mapping[str, str] | None = None) -> None:
        self.spec, self.tokens, self.says = spec, tokens, dict(says or {})
        self.asked: list[tuple[int, int, int]] = []
        self.requests: list[Request] = []
        self.closed = 0

    async def complete(self, request: Request) -> Response:
        draw, state = request.draw, request.state
        self.asked.append((draw.item, draw.step, draw.slot))
        self.requests.append(request)
        if "fail" in self.says:
            raise ModelRejected("no")
        return Response(self._said(state, draw.slot), usage=Usage(self.tokens, self.tokens))

    def _said(self, state: Any, slot: int) -> str:
        if state["proposed"] is None:
            return self.says.get("propose", f"{state['topic']} {len(state['text'])}.{len(state['reasons'])}")
        if "judge" in self.says:
            return self.says["judge"]
        # The first proposal of a line is refused by two to one, the second one taken.
        is_first = state["proposed"].endswith(".0")
        return f"no:dull {slot}" if is_first and slot != 1 else "yes:"

    async def close(self) -> None:
        self.closed += 1


def decided(journal: Journal, run: str) -> list[tuple[Any, ...]]:
    """What is decided of a run, by (item, step)."""
    found: list[RowDecided] = list(journal.row_decisions(run))
    return [(e.item, e.decided.step, e.decided.kind, e.decided.action, e.decided.votes) for e in found]


class Counted(Speaker):
    """A speaker that can be named, and is noted in `made` when it is made of its name."""

    made: list[Speaker] = []  # noqa: RUF012  (noted across instances on purpose)

    def __init__(self, spec: str = "counted") -> None:
        super().__init__(f"{__name__}:Counted")
        Counted.made.append(self)
