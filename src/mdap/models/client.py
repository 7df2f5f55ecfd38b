"""A model that waits for answers which somebody else hands in, one for each draw. Who that is is not known here."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import Future
from collections.abc import Iterator

import msgspec

from mdap.core.records import Request, Response


class Open(msgspec.Struct, frozen=True):
    """A draw that waits for its answer; `token` names it, in this run and in any that takes it up."""

    token: str
    request: Request


class Mailbox:
    """The draws of a run that wait. Each takes one answer, and an answer goes to one draw: `answer` needs its token."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Open, Future[str]]] = {}
        self._news = asyncio.Event()
        self._is_closed = False

    def __iter__(self) -> Iterator[Open]:
        """Return the open draws: by item and step, within a step in the order in which they were asked for."""
        found = [waiting for waiting, _ in self._waiting.values()]
        # Not as they came in: where steps are asked ahead, a later one may have been there first.
        return iter(sorted(found, key=lambda one: _place(one.request)))

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, token: object) -> bool:
        return token in self._waiting

    def answer(self, token: str, text: str) -> bool:
        """Give the draw with this token its answer; False where no such draw is open (any more)."""
        waiting, reply = self._waiting.pop(token, (None, None))
        # Done: its asker was cancelled in this very turn, and has not taken the draw back yet.
        if waiting is None or reply is None or reply.done():
            return False
        reply.set_result(text)
        return True

    async def wait_open(self, seconds: float) -> bool:
        """Return whether a draw is open, once one is, none will be any more, or `seconds` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # A loop, for a draw that was news may be taken back before this wakes up.
                while not self._waiting and not self._is_closed:
                    self._news.clear()
                    await self._news.wait()
        return bool(self._waiting)

    def close(self) -> None:
        """Say that there will be no further draw."""
        self._is_closed = True
        self._news.set()

    async def ask(self, request: Request) -> str:
        """Return the answer to a request once it is handed in; cancelling it takes the draw back."""
        token = _token(request, self._waiting)
        reply: Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[token] = Open(token, request), reply
        self._news.set()
        try:
            return await reply
        finally:
            # Also after a cancellation: whoever hands in answers must not be shown a draw that nobody waits for.
            self._waiting.pop(token, None)


def client(mailbox: Mailbox) -> Client:
    """Return the model whose replies are what is handed in at `mailbox`."""
    return Client(mailbox)


class Client:
    """The model of a run whose votes come from outside, such as from the model of an MCP client."""

    spec = "client"

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def complete(self, request: Request) -> Response:
        """Return the answer that was handed in for this draw, however long that takes."""
        # Without a usage: whoever answered told none, and nothing is made up for it.
        return Response(await self._mailbox.ask(request))


def _place(request: Request) -> tuple[int, int, int, int]:
    draw = request.draw
    return draw.item, draw.step, draw.slot, draw.redraw


def _token(request: Request, taken: dict[str, tuple[Open, Future[str]]]) -> str:
    """Name a draw so that a run which is taken up again names it the same: by its place and by what is asked."""
    item, step, slot, redraw = _place(request)
    token = f"{item}.{step}.{slot}.{redraw}.{request.prompt.digest[:12]}"
    # Steps that are asked ahead on two guesses may be one draw to the letter; each still takes an answer of its own.
    again = 1
    while token in taken:
        again += 1
        token = f"{item}.{step}.{slot}.{redraw}.{request.prompt.digest[:12]}.{again}"
    return token
