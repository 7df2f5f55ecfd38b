"""Tasks and models of a user's own, as an owner of a server would allow them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from mdap.core.ballot import Ballot
from mdap.core.errors import RedFlag
from mdap.core.records import Move, Request, Response


class Counting:
    """Count up to 3."""

    spec = "tests.mcp.own:Counting"
    steps = 3

    def start(self) -> int:
        return 0

    def is_done(self, state: int) -> bool:
        return state == 3

    def prompt(self, state: int) -> str:
        return f"What comes after {state}?"

    def parse(self, text: str, state: int) -> Move:
        if not text.isdecimal():
            raise RedFlag("no number")
        return Move(int(text), int(text))


class Exiting(Counting):
    """Asks to exit at any answer."""

    spec = "tests.mcp.own:Exiting"

    def parse(self, text: str, state: int) -> Move:
        raise SystemExit(3)


class Growing:
    """A text to which every reply is added: states, and prompts, that get long."""

    vote_on = "action"

    def __init__(self, steps: int = 3, size: int = 10) -> None:
        self.spec = f"tests.mcp.own:Growing,steps={steps},size={size}"
        self.steps, self.size = steps, size

    def start(self) -> str:
        return ""

    def is_done(self, state: str) -> bool:
        return len(state) >= self.steps * self.size

    def prompt(self, state: str) -> str:
        return f"Go on:\n{state}"

    def parse(self, text: str, state: str) -> Move:
        return Move(text, state + text)

    def apply(self, state: str, action: str) -> str:
        return state + action


class Broken:
    """A model with a bug."""

    spec = "tests.mcp.own:Broken"

    async def complete(self, request: Request) -> Response:
        raise ZeroDivisionError(request.draw)


def says_blue(prompt: str) -> str:
    return "blue"


def ranks(prompt: str) -> str:
    return "blue\ngreen\nred"


class Sleepy:
    """A model that takes its time."""

    spec = "tests.mcp.own:Sleepy"
    asleep = 0

    async def complete(self, request: Request) -> Response:
        Sleepy.asleep += 1
        try:
            await asyncio.sleep(30)
        finally:
            Sleepy.asleep -= 1
        return Response("at last")


class Endless:
    """A model that does not end when it is cancelled."""

    spec = "tests.mcp.own:Endless"

    async def complete(self, request: Request) -> Response:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)


def says_much(prompt: str) -> str:
    return "much " * 10_000


class AnyVote:
    """The first vote decides."""

    k = 1

    def needed(self, ballot: Ballot) -> int:
        return 0 if ballot.tally else 1

    def decided(self, ballot: Ballot) -> bool:
        return bool(ballot.tally)


def counts(prompt: str) -> str:
    """A model that says what comes next."""
    return str(int(prompt.removesuffix("?").split()[-1]) + 1)


class Held(Counting):
    """Its code holds the thread that it is on until there is a file; that it does so is said by another beside it."""

    def __init__(self, file: str) -> None:
        self.spec = f"tests.mcp.own:Held,file={file}"
        self._file = Path(file)

    def parse(self, text: str, state: int) -> Move:
        self._file.with_suffix(".held").touch()
        deadline = time.monotonic() + 60.0
        while not self._file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().parse(text, state)


class Mined(Counting):
    """Asks to exit when its states are made again, which is when somebody reads them."""

    spec = "tests.mcp.own:Mined"
    vote_on = "action"

    def __init__(self) -> None:
        self.has_run = False

    def apply(self, state: int, action: int) -> int:
        if os.environ.get("MINED"):
            raise SystemExit(7)
        return action
