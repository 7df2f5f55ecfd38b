"""Lists every attempt at a call as it ends, whatever became of it, so that a bill can be checked. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mdap.core.errors import ModelError
from mdap.core.records import Attempt, Request, Response, Usage
from mdap.protocols import Complete

_NO_USAGE = Usage()


def listed(note: Callable[[Attempt], None]) -> Callable[[Complete], Complete]:
    """Return what is laid around each call that goes out: `note` is told of every attempt once it has ended.

    A call that was given up, by a time limit or an interruption, is listed as `given-up`: its reply may yet be made.
    """

    def _around(complete: Complete) -> Complete:
        async def _call(request: Request) -> Response:
            try:
                response = await complete(request)
            except ModelError as error:
                note(_attempt(request, failure=error.kind, status=error.status or 0))
                raise
            except asyncio.CancelledError:
                # A deadline and an interruption both end a call by cancelling it.
                note(_attempt(request, failure="given-up"))
                raise
            # Nothing is estimated where none was reported: the list is to be held against a bill.
            usage = response.usage or _NO_USAGE
            told = {"id": response.id, "model": response.model}
            note(_attempt(request, **told, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out))
            return response

        return _call

    return _around


def _attempt(request: Request, **more: Any) -> Attempt:
    draw = request.draw
    return Attempt(draw.step, draw.slot, draw.redraw, draw.item, **more)
