"""Calls of a model object of somebody's own: what it raises, or returns, that no model may becomes an error naming it.

A callable is seen to by `models.function`, which makes a model of it; here the object is the model, and stays it.
"""

from __future__ import annotations

from typing import Any

from mdap.core.foreign import ForeignModel, fault_of
from mdap.core.records import Request, Response
from mdap.protocols import Complete


def is_ours(model: object) -> bool:
    """Say whether a model is one of this package, which raise nothing but errors of mdap."""
    return type(model).__module__.partition(".")[0] == "mdap"


def blamed(spec: str, complete: Complete) -> Complete:
    """Return `complete` that raises a ModelError naming `spec` for any error but mdap's own, and for no Response.

    As with a callable, what bugs raise is not tried again, and all else may be the network's. Cancellation passes.
    """
    border = ForeignModel(spec)

    async def _call(request: Request) -> Response:
        with border:
            # Any: an object of somebody's own keeps to no types.
            reply: Any = await complete(request)
        if isinstance(reply, Response):
            return reply
        raise fault_of(f"{spec} returned {type(reply).__name__}, not a Response", kind="reply", again=False)

    return _call
