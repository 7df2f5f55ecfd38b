"""The border to code that is not ours: what it raises becomes an error of mdap that names it."""

from __future__ import annotations

from types import TracebackType

from mdap.core.errors import MdapError, TaskError
from mdap.core.secrets import redacted


# A class, where `contextmanager` would do for once: what that makes can be entered a single time.
class Foreign:
    """A context in which any error but mdap's own becomes a TaskError saying that `what` raised it. Reusable.

    Keys that are to be kept secret are cut out of what it says.
    """

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise the TaskError in place of an error; cancellation and the like pass."""
        # Not BaseException: cancellation, an exit and the keyboard's interrupt are no faults of the code.
        if isinstance(error, Exception) and not isinstance(error, MdapError):
            raise TaskError(
                f"{self.what} raised {type(error).__name__}: {redacted(str(error))}",
                remedy="mend it and go on with `mdap resume RUN`",
            ) from error


BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MdapError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Exceptions that asking again will not mend; all others may be the network's."""
