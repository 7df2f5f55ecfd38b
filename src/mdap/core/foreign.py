"""The border to code that is not ours: what it raises becomes an error of mdap that names it."""

from __future__ import annotations

from types import TracebackType

from mdap.core.errors import MdapError, ModelError, TaskError
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


class ForeignModel:
    """A context in which any error but mdap's own, or those of `passing`, becomes a ModelError naming `spec`. Reusable.

    What bugs raise (`BUGS`) is not tried again; all else may be the network's. Keys are cut out of what is said.
    """

    __slots__ = ("_passing", "_spec")

    def __init__(self, spec: str, passing: type[MdapError] = MdapError) -> None:
        self._spec = spec
        self._passing = passing

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise the ModelError in place of an error; cancellation and the like pass."""
        if isinstance(error, ModelError):
            # The class is ours, but the words are the code's, and may repeat a key.
            error.message = redacted(error.message)
        if not isinstance(error, Exception) or isinstance(error, self._passing):
            return
        raise fault_of(
            f"{self._spec} raised {type(error).__name__}: {redacted(str(error))}",
            kind="timeout" if isinstance(error, TimeoutError) else "failed",
            again=not isinstance(error, BUGS),
        ) from error


def fault_of(message: str, *, kind: str, again: bool) -> ModelError:
    """Return the error for code of a model that is the user's own, to be tried `again` or not."""
    error = ModelError(message, kind=kind, remedy="mend it and go on with `mdap resume RUN`")
    # The provider is not at fault for it.
    error.retryable, error.blame = again, "tool"
    return error


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
