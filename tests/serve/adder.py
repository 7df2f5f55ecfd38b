"""A small model of the tests' own: it reads two numbers from the text and adds them, more or less, as the seed says."""

from __future__ import annotations

import asyncio

from mdap.core.errors import ModelError, ModelRejected
from mdap.core.keyed import uniforms
from mdap.core.records import Draw, Message, Prompt, Request, Response, Usage


class Adder:
    """Adds the numbers of the last message; one answer in five is wrong. `waits` makes it take for ever."""

    spec = "adder"

    def __init__(self, *, waits: bool = False) -> None:
        self.waits = waits
        self.requests: list[Request] = []
        self.cancelled = 0
        self.most_at_once = self.at_once = 0

    async def complete(self, request: Request) -> Response:
        """Answer from the text and the seed alone; words that are not numbers are refused."""
        self.requests.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(60 if self.waits else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        text = request.messages[-1].content
        if text == "overloaded":
            raise ModelError("upstream is full", kind="429", status=429, retry_after=1.5)
        if not text.replace(" ", "").isdigit():
            raise ModelRejected(f"cannot add {text!r}")
        wrong = uniforms(f"{text}|{request.seed}".encode(), 1)[0] < 0.2
        return Response(str(sum(map(int, text.split())) + wrong), usage=Usage(len(text), 3))


class Refuser(Adder):
    """Refuses all."""

    async def complete(self, request: Request) -> Response:
        """Refuse."""
        return Response("I would rather not", "refusal", None, "refusal-1")


def sum_of(text: str, *, seed: int = 1, temperature: float | None = 0.1) -> Request:
    """A request for the sum of the numbers in `text`."""
    messages = (Message("system", "add"), Message("user", text))
    return Request(Prompt(messages, "unused"), Draw(0, 0), seed, temperature, max_tokens=20)
