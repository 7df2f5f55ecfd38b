"""Any callable as a model: what it is called with, where it runs, and what becomes of what it returns or raises."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from mdap.core.errors import ModelError, UsageError
from mdap.core.foreign import ForeignModel, fault_of
from mdap.core.records import Message, Request, Response


class Ask(Protocol):
    """A callable that a model can be made of: `prompt -> str` or `Request -> Response`, async or not."""

    def __call__(self, given: Any, /) -> Any:
        """Return the reply: a text or a Response."""


class Function:
    """A model that calls `ask` for each reply.

    `ask` is given the Request if its first parameter is annotated so, else the prompt's text: what the messages say,
    with an empty line between two of them. It returns the reply's text or a Response. A plain function runs in a
    thread of its own, since it may block; an async one runs in the event loop. What it raises becomes a ModelError,
    to be tried again unless it is of a kind that bugs raise (`BUGS`). Raises UsageError if it cannot be called with
    one value.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._wants_request = _wants_request(ask)
        # The second is for objects: one with an async `__call__` is no coroutine function itself.
        self._is_async = inspect.iscoroutinefunction(ask) or inspect.iscoroutinefunction(type(ask).__call__)
        self.spec = _name(ask)

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    async def complete(self, request: Request) -> Response:
        """Call it once; cancelling stops waiting at once, though a thread that has begun cannot be stopped."""
        given: Any = request if self._wants_request else text_of(request.messages)
        with ForeignModel(self.spec, passing=ModelError):
            said = self._ask(given) if self._is_async else await _in_thread(self._ask, given)
            # A lambda that returns a coroutine looks like a plain function until it is called.
            if inspect.isawaitable(said):
                said = await said
        if isinstance(said, str):
            return Response(said)
        if isinstance(said, Response):
            return said
        what = f"{self.spec} returned {type(said).__name__}, not a text or a Response"
        raise fault_of(what, kind="reply", again=False)


def text_of(messages: Sequence[Message]) -> str:
    """Return what the messages say, without their roles, with an empty line between two of them."""
    return "\n\n".join(message.content for message in messages)


def _wants_request(ask: Ask) -> bool:
    try:
        signature = inspect.signature(ask)
    except ValueError:  # some that are written in C have none
        return False
    try:
        # Now: at the first call it would look like a failure of the model, and a run would have begun.
        signature.bind("prompt")
    except TypeError as error:
        raise UsageError(
            f"{_name(ask)}{signature} cannot be called with one value: {error}",
            remedy="a model is `prompt -> str` or `Request -> Response`",
        ) from None
    first = next(iter(signature.parameters.values()))
    # Under `from __future__ import annotations` it is text, and may name what only a type checker has imported.
    written = first.annotation if isinstance(first.annotation, str) else getattr(first.annotation, "__name__", "")
    return written.strip("\"'").rpartition(".")[2] == Request.__name__


def _name(ask: Ask) -> str:
    # Objects and partials have no name of their own, so that of their class stands for them.
    named = ask if hasattr(ask, "__qualname__") else type(ask)
    return f"{named.__module__}:{named.__qualname__}"


async def _in_thread(ask: Ask, given: Any) -> Any:
    # Context variables stay behind in the caller's thread, and tracing rests on them.
    context = contextvars.copy_context()

    def _call() -> Any:
        try:
            return context.run(ask, given)
        except StopIteration as error:  # a future cannot hold one
            raise RuntimeError(f"StopIteration: {error}") from error

    return await asyncio.get_running_loop().run_in_executor(_THREADS, _call)


class _ThreadEach(Executor):
    """A daemon thread for each call: as many at once as are in flight, and none of them holds up Ctrl-C or an exit."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start the call and return its future."""
        future: Future[Any] = Future()

        def _work() -> None:
            # Cancelled before the thread came to run: nobody wants the reply, so it is not asked for.
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # all of it is raised again by whoever awaits the future
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=_work, name="mdap model", daemon=True).start()
        return future


_THREADS = _ThreadEach()
