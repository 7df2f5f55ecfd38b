"""Draws that share one call: those that are asked for at the same moment and differ in nothing that is sent."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from itertools import accumulate
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import ModelError
from mdap.core.records import Draw, Request, Response, Usage
from mdap.protocols import Complete, Model

CompleteN: TypeAlias = Callable[[Sequence[Request]], Awaitable[list[Response]]]
_Follower: TypeAlias = "tuple[Request, Future[Response | None]]"


def gathered(model: Model, is_wanted: bool) -> Complete:
    """Return the model's `complete`, whose draws share a call (`n` of it) where that takes nothing from them.

    A model can take part that has `complete_n` and whose profile has `n`: either it takes no seeds, so that draws have
    none to lose, or `is_wanted`. Its profile is looked at for each call, since it may narrow.
    """
    complete_n: CompleteN | None = getattr(model, "complete_n", None)
    known: Any = model
    if complete_n is None or not hasattr(model, "profile") or not known.profile.n:
        return model.complete
    return Together(known, complete_n, is_wanted=is_wanted).complete


class Together:
    """One bucket for what is alike within one turn of the event loop; whoever opens it makes the call for all in it."""

    def __init__(self, model: Any, complete_n: CompleteN, *, is_wanted: bool) -> None:
        self._model = model
        self._complete_n = complete_n
        self._is_wanted = is_wanted
        self._open: dict[tuple[Any, ...], list[_Follower]] = {}

    async def complete(self, request: Request) -> Response:
        """Answer with a reply that a shared call gave, or with one of the draw's own."""
        profile = self._model.profile
        if not profile.n or (profile.seed and not self._is_wanted):
            return await self._alone(request)
        # The schema by identity: a mapping has no hash, and that of a run is one object.
        key = (request.prompt.digest, request.temperature, request.max_tokens, id(request.schema))
        followers = self._open.get(key)
        if followers is not None:
            place: Future[Response | None] = asyncio.get_running_loop().create_future()
            followers.append((request, place))
            reply = await place
        else:
            reply = await self._lead(key, request)
        # A server that gives fewer replies than it was asked for is asked for the others one by one.
        return await self._alone(request) if reply is None else reply

    async def _alone(self, request: Request) -> Response:
        response: Response = await self._model.complete(request)
        return response

    async def _lead(self, key: tuple[Any, ...], request: Request) -> Response | None:
        followers = self._open[key] = []
        try:
            try:
                # Draws of one batch are asked for in one go: after one turn of the loop all of them are here.
                await asyncio.sleep(0)
            finally:
                del self._open[key]
            if not followers:
                return None
            replies = await self._ask([request, *(follower for follower, _ in followers)])
        except ModelError as error:
            _fail(followers, error)
            raise
        except asyncio.CancelledError:
            # The call is gone with whoever made it; the others make theirs anew, unless they are given up as well.
            _fail(followers, ModelError("the call that this draw had a share in was given up", kind="shared"))
            raise
        for follower, place in followers:
            if not place.done():
                place.set_result(replies.get(follower.draw))
        return replies.get(request.draw)

    async def _ask(self, requests: Sequence[Request]) -> dict[Draw, Response]:
        """Make one call and return its replies by the draw that each is for: slots in the order of the choices."""
        requests = sorted(requests, key=lambda request: request.draw.slot)
        replies = divided(await self._complete_n(requests), requests[0].max_tokens)
        # Draws beyond the last reply are not in it, and are asked for on their own.
        return {request.draw: reply for request, reply in zip(requests, replies, strict=False)}


def divided(replies: Sequence[Response], cap: int) -> list[Response]:
    """Return replies of one call with a usage of their own each, though the bill, in that of the first, is for all.

    What was read stays with the first: it was read once. What was written is divided by the lengths of the texts, or
    evenly where one would come out above the cap. Sums are kept.
    """
    bill = replies[0].usage
    if bill is None or len(replies) == 1:
        return list(replies)
    # Of an empty reply, too: weights must not add up to 0.
    weights = [len(reply.text) + 1 for reply in replies]
    shares = _shares(bill.tokens_out, weights)
    if max(shares) > cap:
        weights = [1] * len(replies)
        shares = _shares(bill.tokens_out, weights)
    hidden = _shares(bill.reasoning, weights)
    first, *others = [Usage(tokens_out=out, reasoning=part) for out, part in zip(shares, hidden, strict=True)]
    first = msgspec.structs.replace(bill, tokens_out=first.tokens_out, reasoning=first.reasoning)
    usages = [first, *others]
    return [msgspec.structs.replace(reply, usage=usage) for reply, usage in zip(replies, usages, strict=True)]


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Divide a whole number by weights, so that the parts are whole and add up."""
    ends = [total * reached // sum(weights) for reached in accumulate(weights)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _fail(followers: Sequence[_Follower], error: ModelError) -> None:
    for _, place in followers:
        if not place.done():
            # A copy each: an error is written on by whoever catches it.
            place.set_exception(copy(error))
