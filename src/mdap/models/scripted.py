"""A model that says what it was given to say: for tests, examples and replays. Nothing is random here, or simulated."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mdap.core.errors import ModelRejected, UsageError
from mdap.core.records import Draw, Request, Response

Said: TypeAlias = str | Response | BaseException
Reply: TypeAlias = Said | Callable[[Request], Said | Awaitable[Said]]
Key: TypeAlias = Draw | tuple[int, ...] | int


def scripted(replies: Sequence[Reply] | Mapping[Any, Reply] | Callable[[Request], Any]) -> Scripted:
    """Return a model that answers from `replies`.

    A sequence is used up in the order of the calls. A mapping holds replies by draw, so that concurrent calls stay
    deterministic: its keys are a `Draw`, (step, slot, redraw), (step, slot) or a step, and the most exact one counts.
    A callable is asked each time. A reply is a text, a Response, an exception to be raised, or a callable, async or
    not, that makes one of these from the request. Raises UsageError for keys and replies of another type.
    """
    return Scripted(replies)


class Scripted:
    """A scripted model; `requests` holds what it was asked, in the order of the calls."""

    spec = "scripted"

    def __init__(self, replies: Sequence[Reply] | Mapping[Any, Reply] | Callable[[Request], Any]) -> None:
        self.requests: list[Request] = []
        self._find = _finder(replies)

    async def complete(self, request: Request) -> Response:
        """Return, or raise, what stands in the script; raises ModelRejected where nothing stands there."""
        # Before the reply, for a call that raises was asked as well.
        self.requests.append(request)
        said: Any = self._find(request)
        if callable(said):
            said = said(request)
            if inspect.isawaitable(said):
                said = await said
        # Not Exception alone: a script may play a cancellation or a Ctrl-C.
        if isinstance(said, BaseException):
            raise said
        if isinstance(said, str):
            return Response(said)
        if isinstance(said, Response):
            return said
        raise ModelRejected(
            f"the script said {said!r} ({type(said).__name__}) for {_named(request.draw)}",
            remedy="a reply is a text, a Response or an exception",
        )


def _finder(replies: Any) -> Callable[[Request], Any]:
    if isinstance(replies, Mapping):
        # All of it is looked at now: a wrong type would otherwise show in the middle of a run.
        by_draw = {_checked_key(key): _checked_reply(reply) for key, reply in replies.items()}
        return lambda request: _by_draw(by_draw, request)
    # A text is a sequence, too, of letters that nobody means as replies.
    if isinstance(replies, Sequence) and not isinstance(replies, str):
        said = [_checked_reply(reply) for reply in replies]
        return _in_order(iter(said), len(said))
    if callable(replies):
        return lambda _: replies
    raise UsageError(
        f"a script cannot be {type(replies).__name__}",
        remedy="give a list of replies, a mapping from draws to replies, or a callable",
    )


def _in_order(replies: Iterator[Any], count: int) -> Callable[[Request], Any]:
    def _find(request: Request) -> Any:
        # A loop that ends in its first turn: StopIteration, which `next` raises, becomes another error in a coroutine.
        for reply in replies:
            return reply
        raise ModelRejected(
            f"the script has {count} replies, and one more was asked for: {_named(request.draw)}",
            remedy="give the script more replies, or lower what is asked",
        )

    return _find


def _by_draw(replies: Mapping[Any, Any], request: Request) -> Any:
    draw = request.draw
    for key in (draw, (draw.step, draw.slot, draw.redraw), (draw.step, draw.slot), draw.step):
        if key in replies:
            return replies[key]
    raise ModelRejected(
        f"the script has {len(replies)} replies, but none for {_named(draw)}",
        remedy=f"give it one under {(draw.step, draw.slot, draw.redraw)}, {(draw.step, draw.slot)} or {draw.step}",
    )


def _named(draw: Draw) -> str:
    return f"step {draw.step}, slot {draw.slot}, redraw {draw.redraw}" + (f", item {draw.item}" if draw.item else "")


def _checked_key(key: Any) -> Any:
    if isinstance(key, tuple) and len(key) in (2, 3) and all(isinstance(part, int) for part in key):
        return key
    if isinstance(key, Draw | int):
        return key
    raise UsageError(
        f"a script has no key {key!r}", remedy="keys are a Draw, (step, slot, redraw), (step, slot) or a step"
    )


def _checked_reply(reply: Any) -> Any:
    # An exception's class can be called, and would be: it would be handed the request as its message.
    if not isinstance(reply, type) and (isinstance(reply, str | Response | BaseException) or callable(reply)):
        return reply
    raise UsageError(
        f"{reply!r} ({type(reply).__name__}) is no reply",
        remedy="a reply is a text, a Response, an exception, or a callable that makes one",
    )
