"""Calls of a model object of somebody's own: what it raises, or returns, that no model may becomes an error naming it.

A callable is seen to by `models.function`, which makes a model of it; here the object is the model, and stays it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from mdap.core.errors import MdapError, ModelError
from mdap.core.foreign import BUGS
from mdap.core.records import Request, Response
from mdap.core.secrets import redacted
from mdap.protocols import Complete


def is_ours(model: object) -> bool:
    """Say whether a model is one of this package, which raise nothing but errors of mdap."""
    return type(model).__module__.partition(".")[0] == "mdap"


def blamed(spec: str, complete: Complete) -> Complete:
    """Return `complete` that raises a ModelError naming `spec` for any error but mdap's own, and for no Response.

    As with a callable, what bugs raise is not tried again, and all else may be the network's. Cancellation passes.
    """
    border = _Border(spec)

    async def _call(request: Request) -> Response:
        with border:
            # Any: an object of somebody's own keeps to no types.
            reply: Any = await complete(request)
        if isinstance(reply, Response):
            return reply
        raise _error(f"{spec} returned {type(reply).__name__}, not a Response", kind="reply", again=False)

    return _call


class _Border:
    """A context in which any error but mdap's own becomes a ModelError. Reusable: one stands around all calls."""

    __slots__ = ("_spec",)

    def __init__(self, spec: str) -> None:
        self._spec = spec

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise the ModelError in place of an error."""
        # Not BaseException: cancellation and the keyboard's interrupt are no failures of the model.
        if not isinstance(error, Exception) or isinstance(error, MdapError):
            return
        raise _error(
            f"{self._spec} raised {type(error).__name__}: {redacted(str(error))}",
            kind="timeout" if isinstance(error, TimeoutError) else "failed",
            again=not isinstance(error, BUGS),
        ) from error


def _error(message: str, *, kind: str, again: bool) -> ModelError:
    error = ModelError(message, kind=kind, remedy="mend it and go on with `mdap resume RUN`")
    # The provider is not at fault for code that is the user's.
    error.retryable, error.blame = again, "tool"
    return error
