"""The runs that a server drives: begun, looked at, ended and taken up again, over one journal. No protocol here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from asyncio import AbstractEventLoop, Future, Task, TaskGroup
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from mdap.core.errors import JournalError, MdapError, Stop, UsageError
from mdap.core.events import Event, Flagged, Progress, Started
from mdap.core.history import History, RunHead
from mdap.core.remedy import naming
from mdap.engine.taskview import TaskView
from mdap.mcp.allowed import CLIENT, Allowed
from mdap.models.client import Client, Mailbox
from mdap.protocols import Journal
from mdap.result import Result, standing
from mdap.rowio import has_rows, is_map

logger = logging.getLogger("mdap.mcp")
T = TypeVar("T")
P = ParamSpec("P")
Observer = Callable[[Event], None]

# An answer of a client's model may take as long as a person's: nothing is asked again because of it.
PATIENCE = 30 * 86_400.0
# How long an answer may wait for what is about to happen: clients are to have one within a second.
SOON = 0.8
# How long the runs are waited for when the server ends.
ENDING = 5.0
# A run is named after its task, which may be a class in a module.
_ID = re.compile(r"\w(?:[\w-]|\.(?!\.)){0,149}")


class Work(Generic[T]):
    """Something that goes on beside the requests; `outcome` is what it came to, its error included."""

    def __init__(self) -> None:
        self.task: Task[None] | None = None
        self.outcome: Future[T] = asyncio.get_running_loop().create_future()
        # Nobody may ever ask what became of it.
        self.outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())

    def __enter__(self) -> None:
        """Begin it."""

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        """Keep the error that ended it, if one did. It ends this work, and no other that goes on beside it."""
        if isinstance(error, SystemExit):
            # Handed on as what it is, it would end whoever waits for this work.
            self.outcome.set_exception(_exited())
            return True
        if isinstance(error, Exception):
            if not isinstance(error, MdapError):
                logger.error("an error that is none of mdap's", exc_info=error)
            self.outcome.set_exception(error)
            return True
        if error is not None:
            self.outcome.cancel()
        return False

    def cancel(self) -> None:
        """End it, if it has not ended."""
        if self.task is not None:
            self.task.cancel()


class Live:
    """A run that this server drives. `box` holds its open draws where a client answers them."""

    def __init__(self, box: Mailbox | None) -> None:
        self.run = ""
        self.box = box
        self.progress = Progress()
        self.flagged: dict[str, int] = {}
        self.work: Work[Any] = Work()
        self.begun: Future[None] = asyncio.get_running_loop().create_future()

    def add(self, event: Event) -> None:
        """Hear one event of the run."""
        self.progress.add(event)
        if isinstance(event, Started):
            self.run, self.flagged = event.run, dict(event.totals.flagged)
            if not self.begun.done():
                self.begun.set_result(None)
        elif isinstance(event, Flagged):
            self.flagged[event.name] = self.flagged.get(event.name, 0) + 1


class Desk:
    """What the tools of a server share: its journal, what clients may name, and the runs that are being driven.

    As a context it owns the tasks of these runs, and ends them on the way out; what they decided is in the journal, and
    another server goes on with them. `most` is how many are driven at once, and `again` opens the journal anew after a
    write that failed: without it nothing is driven any more. It lives on the event loop that enters it:
    code of tasks and models runs there and nowhere else, and so does whatever changes what is being driven.
    """

    def __init__(
        self, journal: Journal, allowed: Allowed, *, most: int = 16, again: Callable[[], Journal] | None = None
    ) -> None:
        self.journal = journal
        self._again = again
        self._in_doubt = False
        self.allowed = allowed
        self.live: dict[str, Live] = {}
        self._most = most
        self._works: set[Work[Any]] = set()
        self._group = TaskGroup()
        self._closing = False
        self._loop: AbstractEventLoop | None = None

    async def __aenter__(self) -> Desk:
        self._loop = asyncio.get_running_loop()
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.end()
        await self._group.__aexit__(None, None, None)

    async def end(self) -> None:
        """End all that is driven, and take nothing up any more."""
        self._closing = True
        works = list(self._works)
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait([work.outcome for work in works], timeout=ENDING)

    async def at(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` returns, carried out on the desk's own loop, whichever this is awaited on."""
        if self._loop is None or asyncio.get_running_loop() is self._loop:
            return await _kept(coroutine)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_kept(coroutine), self._loop))

    def there(self, function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Return `function` as one that is carried out on the desk's own loop, whichever it is awaited on."""

        @wraps(function)
        async def _there(*args: P.args, **named: P.kwargs) -> T:
            return await self.at(function(*args, **named))

        return _there

    @property
    def is_driving(self) -> bool:
        """Whether anything is being driven."""
        return bool(self._works)

    async def see_through(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` returns. If whoever waits is cancelled, it is cancelled once, and ends in good order.

        A protocol cancels again and again until its handler is gone; a run writes its end in between.
        """
        return await self._awaited(self._begin(coroutine))

    async def outcome(self, live: Live) -> Any:
        """Return what a run comes to; if whoever waits is cancelled, so is the run."""
        return await self._awaited(live.work)

    async def launch(
        self, begin: Callable[[Observer], Coroutine[Any, Any, Any]], box: Mailbox | None, run: str = ""
    ) -> Live:
        """Begin a run, and return it once it has an id; raises what keeps it from beginning.

        `run` is the id of one that is taken up.
        """
        live = Live(box)
        live.work = self._begin(self._driven(live, begin))
        await asyncio.wait([live.begun, live.work.outcome], return_when=asyncio.FIRST_COMPLETED)
        if not live.begun.done():
            # A journal that takes nothing says to go on with a run, and may not have taken this one either.
            with naming(run):
                live.work.outcome.result()
        return live

    async def start(self, task: Any, model: str | None, observer: Observer | None = None, **options: Any) -> Live:
        """Begin a run of a task, or of its spec; `options` are those of `mdap.run`."""
        from mdap import api  # when it is first needed: a server is to be there at once

        if isinstance(task, str):
            task = self.allowed.check_task(task)
        spec = self.allowed.check_model(model)
        options = self.checked(options)
        box = None
        asked: Any = spec
        if spec == CLIENT:
            box = Mailbox()
            asked = Client(box)
            # No lookahead: whoever answers by hand should not be asked about guesses.
            options = {"timeout": PATIENCE, "lookahead": 0, **options}
        return await self.launch(
            lambda heard: api.run(
                task,
                asked,
                journal=self.journal,
                on_event=heard if observer is None else [heard, observer],
                **options,
            ),
            box,
        )

    def idle(self, run: str) -> RunHead:
        """Return a stored run that this server does not drive; raises UsageError for one that it does."""
        head = self.head(run)
        if head.id in self.live:
            raise UsageError(f"run: {head.id} is being driven by this server", remedy="see it with run_status")
        return head

    async def resume(self, head: RunHead, **changes: Any) -> Live:
        """Take up a run where its journal ends; `changes` are those of `mdap.resume`."""
        from mdap import api

        task = self.task_of(head)
        box = None
        asked: Any = self.allowed.check_model(head.model)
        if head.model == CLIENT:
            box = Mailbox()
            asked = Client(box)
        changes = self.checked(changes)
        return await self.launch(
            lambda heard: api.resume(head.id, journal=self.journal, task=task, model=asked, on_event=heard, **changes),
            box,
            head.id,
        )

    async def cancel(self, run: str) -> str:
        """End a run that this server drives, and return its id; no call of it is in flight any more."""
        head = self.head(run)
        live = self.live.get(head.id)
        if live is None:
            raise UsageError(
                f"run: {head.id} is not driven by this server", remedy=f"see how it stands: run_status {head.id}"
            )
        live.work.cancel()
        await asyncio.wait([live.work.outcome], timeout=SOON)
        return head.id

    def head(self, run: str) -> RunHead:
        """Return what a run was started with; raises UsageError for what is no id, JournalError for one not there."""
        # Before anything looks for it: an id becomes part of the name of a lock's file.
        if not _ID.fullmatch(run):
            raise UsageError(f"run: {run[:100]!r} is no id of a run", remedy="see what there is: runs")
        try:
            return self.journal.head(run)
        except JournalError as error:
            error.message = f"run: {error.message}"
            raise

    def standing(self, run: str) -> History:
        """Return a run's history, by its whole id, as it stands."""
        return standing(self.journal, run)

    def task_of(self, head: RunHead) -> Any:
        """Return the task of a stored run, made again as it was last.

        Raises UsageError for one that clients may not run, and for a map or a plan, which has none.
        """
        if has_rows(head):
            kind = "a map of rows" if is_map(head) else "made of branches"
            raise UsageError(f"run: {head.id} is {kind}", remedy=f"look at it with `mdap show {head.id}`")
        epochs = self.journal.history(head.id).book.epochs
        spec = epochs[-1][1]["task"] if epochs else head.task
        self.check_rule(head)
        return self.allowed.restore(spec, self.journal.snapshot(head.id, 0).state)

    def check_rule(self, head: RunHead) -> None:
        """Raise UsageError for a stored run whose stopping rule clients may not have imported."""
        epochs = self.journal.history(head.id).book.epochs
        self.allowed.check_rule(epochs[-1][1]["rule"] if epochs else head.rule)

    def view(self, head: RunHead) -> TaskView:
        """Return the task of a stored run as its states are read by."""
        from mdap.tools import readable

        return TaskView(readable(self.task_of(head), head.fingerprint))

    def result(self, head: RunHead) -> Result:
        """Return a run as its journal holds it."""
        return Result(self.journal, head.id, self.view(head))

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a run; raises UsageError where they name a model that a client may not use."""
        if "remedies" in options:
            options = {**options, "remedies": self.allowed.check_remedies(options["remedies"])}
        if "draft" in options:
            self.allowed.check_draft(options["draft"])
        if isinstance(options.get("rule"), str):
            self.allowed.check_rule(options["rule"])
        return options

    async def _awaited(self, work: Work[T]) -> T:
        try:
            # Shielded, for a cancelled future could not take what the run comes to while it ends in good order.
            return await asyncio.shield(work.outcome)
        except asyncio.CancelledError:
            if work.outcome.cancelled():
                raise Stop("it was ended from elsewhere", remedy="see how it stands: runs") from None
            work.cancel()
            raise

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> Work[T]:
        if self._closing or len(self._works) >= self._most:
            coroutine.close()
            why = "the server is closing" if self._closing else f"{self._most} runs are being driven already"
            raise UsageError(why, remedy="wait until one has ended, or end one with run_cancel")
        try:
            self._mend()
        except JournalError:
            coroutine.close()
            raise
        work: Work[T] = Work()
        self._works.add(work)
        work.task = self._group.create_task(self._contained(work, coroutine))

        def _gone(_: Task[None]) -> None:
            self._works.discard(work)
            # Cancelled before its first step, it was never begun.
            coroutine.close()

        work.task.add_done_callback(_gone)
        return work

    def _mend(self) -> None:
        """Open the journal anew where a write may have failed, for a failed write is a journal's last."""
        # Not while others are driven: they have to find out by themselves that what they decided is not kept.
        if not self._in_doubt or self._again is None or self._works:
            return
        fresh = self._again()
        with contextlib.suppress(JournalError):
            self.journal.close()
        self.journal, self._in_doubt = fresh, False

    async def _contained(self, work: Work[T], coroutine: Coroutine[Any, Any, T]) -> None:
        """See `coroutine` to its end. Nothing of it leaves but its outcome: the others go on."""
        with work:
            work.outcome.set_result(await coroutine)

    async def _driven(self, live: Live, begin: Callable[[Observer], Coroutine[Any, Any, T]]) -> T:
        def _hear(event: Event) -> None:
            live.add(event)
            if isinstance(event, Started):
                self.live[event.run] = live

        in_doubt = True
        try:
            result = await begin(_hear)
            in_doubt = False
            return result
        except MdapError as error:
            if live.begun.done():
                logger.warning("run %s ended: %s", live.run, error)
            raise
        finally:
            # Whatever else ended it may hide that its end could not be written.
            self._in_doubt |= in_doubt
            self.live.pop(live.run, None)
            if live.box is not None:
                # Else a client that waits for the next draw would wait for its time to be over.
                live.box.close()


async def _kept(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what `coroutine` returns; code that exits, as that of a task does which is read, ends this call alone."""
    try:
        return await coroutine
    except SystemExit as error:
        raise _exited() from error


def _exited() -> Stop:
    return Stop("code of the task or the model asked to exit", remedy="mend it")
