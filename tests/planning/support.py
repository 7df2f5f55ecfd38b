"""Roles for the tests of planning: each says what a script or a function says, and notes what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mdap.core.errors import ModelRejected
from mdap.core.records import Request, Response, Usage

Say = Callable[[Request], str]


class Role:
    """A model that answers by a function, or from texts in the order of its calls; the last one again and again."""

    def __init__(self, says: Say | Sequence[str], spec: str = "role") -> None:
        self.spec = spec
        self.requests: list[Request] = []
        self._says = says

    async def complete(self, request: Request) -> Response:
        self.requests.append(request)
        if len(self.requests) > 20_000:
            raise ModelRejected("it is asked without end")
        said, asked = self._says, len(self.requests)
        return Response(said(request) if callable(said) else said[min(asked, len(said)) - 1], usage=Usage(5, 5))

    @property
    def prompts(self) -> list[str]:
        """What it was asked, each prompt once, in order."""
        return list(dict.fromkeys(request.messages[-1].content for request in self.requests))


def steps(*tasks: str, **more: Any) -> str:
    """A proposal of these steps."""
    return json.dumps([{"task": task} | more for task in tasks])


def verdict(word: str, reason: str = "") -> str:
    """A judgement; a No without a reason of its own has one."""
    return json.dumps({"verdict": word, "reason": reason or ("it is wrong" if word.lower().startswith("n") else "")})


YES = verdict("Yes")
NO = verdict("No")
END = verdict("End")


def votes(words: Iterable[str]) -> list[str]:
    """Judgements by their first letters: y, n and e."""
    return [{"y": YES, "n": NO, "e": END}[word] for word in words]


def by_ballot(*ballots: str) -> Say:
    """Judges whose n-th ballot has these votes by slot, by first letters; the last ballot's last vote goes on."""
    seen: list[tuple[int, int]] = []

    def _say(request: Request) -> str:
        where = request.draw.item, request.draw.step
        if where not in seen:
            seen.append(where)
        ballot = ballots[min(seen.index(where), len(ballots) - 1)]
        return votes(ballot[min(request.draw.slot, len(ballot) - 1)])[0]

    return _say
