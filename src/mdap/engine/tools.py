"""Calls of tools as a wrapper around `decide`: each is carried out once, and what came of it is a decided step.

The order is all: the decision for a call is durable, then that it is begun, then it is made, then its outcome is
handed to the journal. A kill after the second leaves an outcome that nobody knows: a person is asked, nothing is
repeated.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import blake2b
from types import TracebackType
from typing import Any, TypeAlias

import msgspec

from mdap.core.canonical import canonical
from mdap.core.errors import MdapError, RedFlag, Undecided, UsageError
from mdap.core.foreign import Foreign
from mdap.core.history import Acted
from mdap.core.plain import encode, plain
from mdap.core.records import Decision, Item, Move, Step
from mdap.core.rules.collect import Collect
from mdap.core.tooling import CALL, OUTCOME, Outcome, ToolIntent, is_about_tool, is_unknown
from mdap.engine.durable import Log
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView
from mdap.protocols import Decide

# As long as a call of a model has.
TIMEOUT = 60.0
# What a tool returns stands in the state, and so in every prompt that follows: this much is 16,000 tokens of it.
MOST_BYTES = 65_536
# Characters of what a tool raised: an error can be as long as a result.
MOST_ERROR = 2_000

Said: TypeAlias = dict[tuple[Item, int], Acted]


class Hand(msgspec.Struct, frozen=True):
    """What carries out the calls of one tool: `call` with what `load` makes of the arguments.

    It has `timeout` seconds, and what it returns may take `most_bytes` as JSON. Its `key_parameter`, if it has one, is
    given the key of the call, which stays the same if a person has it repeated.
    """

    call: Callable[..., Any]
    load: Callable[[dict[str, Any]], dict[str, Any]]
    timeout: float = TIMEOUT
    most_bytes: int = MOST_BYTES
    key_parameter: str = ""


def said_of(acts: Iterable[Acted]) -> Said:
    """Return the last word of a journal about each call: that it was begun, or what a person said then."""
    return {(act.item, act.step): act for act in acts if is_about_tool(act)}


def with_tools(decide: Decide, view: TaskView, said: Said, log: Log, polls: dict[int, Poll]) -> Decide:
    """Return `decide` that makes the call which a state waits for, in place of a vote, by the task's `hands`.

    `said` is what the journal holds of calls. Raises Undecided for a call that was begun and whose outcome nobody
    knows, UsageError for a tool that is not there.
    """
    if not view.has_effects:
        return decide
    hands: Mapping[str, Hand] = getattr(view.task, "hands", {})

    async def _decide(step: Step) -> Decision:
        intent = view.effect(step.state)
        if intent is None:
            return await decide(step)
        outcome = await _outcome(step, intent)
        # One that waited for a person's word about this call has been answered by it.
        polls.pop(step.index, None)
        after = view.observe(step.state, intent, outcome)
        return Decision(step.index, Move(plain(outcome), after), (), step.kind)

    async def _outcome(step: Step, intent: ToolIntent) -> Outcome:
        last = said.get((step.item, step.index))
        if last is not None and last.act == OUTCOME:
            return msgspec.json.decode(last.reason, type=Outcome)
        if is_unknown(last):
            raise _unknown(step, intent, polls)
        hand = hands.get(intent.tool)
        if hand is None:
            there = ", ".join(hands) or "none"
            raise UsageError(
                f"step {step.index} calls {intent.tool}; there are: {there}", remedy="give the run that tool"
            )
        key = key_of(log.run, step, intent)
        # Nothing leaves the process before what it rests on is durable.
        await log.flush()
        begun = Acted(step.index, f"{CALL}:{key}", reason=intent.told, item=step.item)
        said[step.item, step.index] = begun
        log.act(begun)
        await log.flush()
        return await carried_out(hand, intent, key)

    return _decide


def key_of(run: str, step: Step, intent: ToolIntent) -> str:
    """Return the key of a call, 32 hex digits: of the run, the step and the call, and so the same at each attempt."""
    said = canonical([run, step.item, step.index, intent.tool, intent.arguments])
    return blake2b(said, digest_size=16).hexdigest()


def _unknown(step: Step, intent: ToolIntent, polls: dict[int, Poll]) -> Undecided:
    """Leave the step open for a person, and return what says so."""
    # By no rule in particular: nobody votes on what a tool did.
    poll = polls[step.index] = Poll(step, Collect())
    poll.waits = True
    return Undecided(
        f"step {step.index}: the call {intent.told} was begun, and nobody knows what came of it",
        remedy=f"look whether it was done, then type: mdap resolve RUN {step.index} --retry, or --outcome FILE",
        step=step.index,
    )


async def carried_out(hand: Hand, intent: ToolIntent, key: str) -> Outcome:
    """Return what came of a call; whatever it does comes to an outcome by name, but for being cancelled from outside.

    A function that is not asynchronous runs in a thread of its own. One that takes too long is left behind there: it
    cannot be ended, and does not keep the process from ending.
    """
    try:
        arguments = hand.load(intent.arguments)
    except RedFlag as flag:  # decided under another schema than that of the tool at hand
        return Outcome("raised", error=flag.message)
    if hand.key_parameter:
        arguments = {**arguments, hand.key_parameter: key}
    limit = asyncio.timeout(hand.timeout)
    try:
        async with limit:
            with Foreign(intent.tool):
                value = await _called(hand.call, arguments)
    except TimeoutError:
        return Outcome("timeout", error=f"no result within {hand.timeout:g} s; it may still go on")
    except MdapError as error:
        # What the tool raised, or the deadline that it turned into an error of its own.
        if limit.expired():
            return Outcome("timeout", error=f"no result within {hand.timeout:g} s")
        return Outcome("raised", error=error.message[:MOST_ERROR])
    return _read(value, hand.most_bytes)


def _called(call: Callable[..., Any], arguments: dict[str, Any]) -> Awaitable[Any]:
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004
        made: Awaitable[Any] = call(**arguments)
        return made
    loop = asyncio.get_running_loop()
    result: Future[Any] = loop.create_future()
    # A new thread has none of the caller's context variables.
    context = contextvars.copy_context()

    def _work() -> None:
        with _Handing(loop, result) as handing:
            handing.value = context.run(call, **arguments)

    # A daemon: a call that hangs must not keep the process from ending, as a thread of a pool would.
    threading.Thread(target=_work, name=f"mdap-{getattr(call, '__name__', 'tool')}", daemon=True).start()
    return result


class _Handing:
    """Hands what a block in a thread came to over to its event loop."""

    def __init__(self, loop: AbstractEventLoop, result: Future[Any]) -> None:
        self.value: Any = None
        self._loop, self._result = loop, result

    def __enter__(self) -> _Handing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        # Nobody waits any more where the loop has closed.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_over, error)
        # Handed over is dealt with: a thread would print the traceback, too.
        return True

    def _hand_over(self, error: BaseException | None) -> None:
        if self._result.done():
            return
        if error is None:
            self._result.set_result(self.value)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            self._result.set_exception(error)
        else:
            # SystemExit and the like ask a thread to end, not the run; a future takes no StopIteration.
            self._result.set_exception(RuntimeError(f"it raised {type(error).__name__}: {error}"))


def _read(value: Any, most_bytes: int) -> Outcome:
    """Return the outcome of a call that returned `value`."""
    try:
        size = len(encode(value))
        if size > most_bytes:
            return Outcome("too_large", error=f"{size:,} bytes of JSON, more than {most_bytes:,}")
        # What encodes may still be no JSON value: NaN would read back as null.
        canonical(value)
        return Outcome("ok", plain(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return Outcome("unreadable", error=f"it returned no JSON value: {error}"[:MOST_ERROR])
