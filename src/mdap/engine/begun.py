"""A coroutine that is taken to where it first waits, so that what never waits needs no timer and no task."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class Begun(Generator[Any, Any, T]):
    """The rest of a coroutine that waits for `first`. Await it in the task that began it, and nowhere else."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, T], first: Any) -> None:
        self._coroutine = coroutine
        # In a list, since a coroutine may well wait for None: a bare yield, as of sleep(0), is that.
        self._first: list[Any] = [first]

    def __await__(self) -> Begun[T]:
        """Return itself: it is already what an await drives."""
        return self

    def send(self, value: Any) -> Any:
        """Hand out what the coroutine waits for, first the one that is known already."""
        return self._first.pop() if self._first else self._coroutine.send(value)

    def throw(self, error: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        """Pass an error, such as a cancellation, on to where the coroutine waits."""
        # As one instance: the form with three arguments, which the protocol still has, is deprecated since Python 3.12.
        return self._coroutine.throw(error if value is None else value)

    def close(self) -> None:
        """End the coroutine where it waits."""
        self._coroutine.close()
