"""Many independent short runs as the rows of one: each is driven like a run, and journaled as a row of the whole.

What all rows share (calls, budget, pace, journal) is handed in; what they are and where results go is not known here.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec

from mdap.core.errors import BudgetReached, FingerprintChanged, MdapError, ModelError, Stop, TaskError, Undecided
from mdap.core.history import Acted, Book, Decided, Entry, History, Opened, RowDecided, RowEnded, RunHead, Snapshot
from mdap.core.plain import plain
from mdap.core.records import Decision, OpenBallot, Request, Response, RowStatus, State, Step
from mdap.engine.blamed import blamed, is_ours
from mdap.engine.calling import Emit
from mdap.engine.durable import LONGEST_WAIT, MOST_WAITING, Log, durable
from mdap.engine.growth import Growth
from mdap.engine.poll import Poll
from mdap.engine.remedies import Means, remedied
from mdap.engine.rowruling import Tallies
from mdap.engine.solution import generate_solution
from mdap.engine.taskview import TaskView
from mdap.engine.tools import Said, with_tools
from mdap.engine.vote import Asking
from mdap.protocols import Clock, Complete, Entries, Task

# Where a row stays until somebody asks for it to be tried again; every other row that is not done goes on.
SETTLED = frozenset({"undecided", "error", "skipped"})
# A request that a server takes no part of: another row's may be well.
_OF_THE_REQUEST = frozenset({400, 413, 422})
# For a row whose task does not say how many steps it has: it ends all the same.
_MOST_STEPS = 100_000_000
# In one order of keys: the mark of a row must not depend on how its start state was put together.
_encode = msgspec.json.Encoder(order="deterministic").encode


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one row came to. `result` is the last state, absent unless done; `reason` says why it is not done.

    `agreed` and `dissent` count the votes for the decisions of its `steps`, and those against.
    """

    row: int
    status: RowStatus
    result: Any = msgspec.UNSET
    reason: str = ""
    steps: int
    agreed: int
    dissent: int


class Given(msgspec.Struct, frozen=True):
    """A row to be driven: its number, what it is made of, and what the journal holds of it."""

    item: int
    raw: Any
    past: list[Decided]
    mark: int = 0
    end: RowEnded | None = None


def given(items: Iterable[Any], decided: Iterator[RowDecided], ends: Iterator[RowEnded]) -> Iterator[Given]:
    """Yield the rows, each with what is stored of it; both stores are in the order of rows, and read as needed."""
    decision, end = next(decided, None), next(ends, None)
    for item, raw in enumerate(items):
        past, mark = [], 0
        while decision is not None and decision.item == item:
            past.append(decision.decided)
            # Only the first decision of a row carries it.
            mark = mark or decision.mark
            decision = next(decided, None)
        stored = None
        if end is not None and end.item == item:
            stored, end = end, next(ends, None)
        yield Given(item, raw, past, mark, stored)


class PerRow:
    """A model that is bound to a task, for a map: each request is answered by the model as bound to its row's task."""

    def __init__(self, model: Any, tasks: dict[int, Task]) -> None:
        self.spec: str = model.spec
        self._model = model
        self._tasks = tasks
        self._bound: dict[int, Complete] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def complete(self, request: Request) -> Response:
        """Answer a request of one row."""
        item = request.draw.item
        bound = self._bound.get(item)
        if bound is None:
            # Rows come and go: those that are gone are let go of here.
            self._bound = {row: kept for row, kept in self._bound.items() if row in self._tasks}
            model = self._model.bind(self._tasks[item])
            bound = model.complete if is_ours(model) else blamed(self.spec, model.complete)
            self._bound[item] = bound
        return await bound(request)


class Whole:
    """The journal of the whole map as its rows use it: entries are handed over here, and what calls took is added."""

    def __init__(self, journal: Entries, log: Log, head: RunHead, clock: Clock) -> None:
        self.journal = journal
        self.head = head
        self.clock = clock
        self.ticket = journal.durable
        self._log = log
        self._waiting: deque[tuple[int, float]] = deque()

    def append(self, entry: Entry) -> int:
        """Hand over one entry."""
        self.account(entry)
        self.ticket = self.journal.append(self.head.id, entry)
        self._waiting.append((self.ticket, self.clock.now()))
        return self.ticket

    def account(self, entry: Entry) -> None:
        """Put into the totals of an entry what is known of the whole alone."""
        if type(entry) is RowDecided and entry.decided.totals is not None:
            self._log.account(entry.decided.totals)

    async def keep_up(self) -> None:
        """Wait while too many entries are not durable yet."""
        waiting, durable = self._waiting, self.journal.durable
        while waiting and waiting[0][0] <= durable:
            waiting.popleft()
        if waiting and (len(waiting) >= MOST_WAITING or self.clock.now() - waiting[0][1] >= LONGEST_WAIT):
            await self.journal.wait_durable(waiting[0][0])


class RowEntries:
    """The journal as the log of one row sees it: the entries of a run, written as those of a row."""

    def __init__(self, whole: Whole, item: int, mark: int) -> None:
        # What a remedy hands over on the way stands so until the row is left: after a kill it is gone on with.
        self.status: RowStatus = "interrupted"
        self._whole = whole
        self._item = item
        self._mark = mark

    @property
    def durable(self) -> int:
        """The last ticket whose entry is durable."""
        return self._whole.journal.durable

    def append(self, run: str, entry: Entry) -> int:
        """Hand over an entry of this row. A row needs no snapshots: it is short, and its start is made again."""
        if type(entry) is Decided:
            return self._whole.append(RowDecided(self._item, entry, 0 if entry.step else self._mark))
        if isinstance(entry, Opened):
            ballot = entry.ballot
            return self._whole.append(RowEnded(self._item, self.status, ballot.reason, ballot, entry.totals))
        # For what is not handed over, the ticket of what came last: it is as durable as that.
        return self._whole.append(entry) if isinstance(entry, Acted) else self._whole.ticket

    async def wait_durable(self, ticket: int) -> None:
        """Return when the entry with this ticket is durable."""
        await self._whole.journal.wait_durable(ticket)


class Shared(msgspec.Struct, frozen=True):
    """What all rows of a map share.

    `view` makes a row's task; `vote` asks for the votes of one step, `reopened` opens a stored ballot again; `tasks`
    holds those of the rows now driven; `asking` is that of a row but for its view; `teach` is told what each row came
    to, where that is learned from. `again`: rows that are undecided or
    failed are tried once more. `said` is what the journal holds of calls of tools.
    """

    whole: Whole
    asking: Asking
    view: Callable[[Any], TaskView]
    vote: Callable[[Asking, Step, dict[int, Poll]], Awaitable[Decision]]
    reopened: Callable[[OpenBallot, TaskView, int], Poll]
    complete: Callable[[str], Complete]
    tasks: dict[int, Task]
    context: int | None
    emit: Emit
    again: bool
    teach: Callable[[int, Tallies], None] | None = None
    said: Said = msgspec.field(default_factory=dict)


class Ride:
    """One row while it is driven."""

    def __init__(self, shared: Shared, row: Given, view: TaskView) -> None:
        self._shared = shared
        self._row = row
        self._view = view
        self._start = view.start()
        first = plain(self._start)
        mark = mark_of(first)
        # 0 is no mark: where nothing was decided, nothing can have been decided about another row.
        if row.mark not in (0, mark):
            raise FingerprintChanged(
                f"row {row.item:,} is not what it was when the map began: it would get an answer to something else",
                remedy="put the rows back as they were (more may follow), or begin a new map",
            )
        whole = shared.whole
        self._entries = RowEntries(whole, row.item, mark)
        history = History(whole.head, Book(), Snapshot(0, first), row.past)
        self._log = Log(self._entries, history, view, shared.asking.settings.record, whole.clock)
        self._polls: dict[int, Poll] = {}
        ballot = None if row.end is None else row.end.ballot
        # One of an earlier step has been decided since; a decision alone does not take its entry away.
        if ballot is not None and ballot.step == len(row.past):
            self._polls[ballot.step] = shared.reopened(ballot, view, row.item)
        self.steps = self.agreed = self.dissent = 0
        self.tallies: list[tuple[str, tuple[int, ...]]] = []
        self._limit = shared.asking.settings.max_steps or getattr(view.task, "steps", None) or _MOST_STEPS
        self._decide = self._stacked()

    def _stacked(self) -> Callable[[Step], Awaitable[Decision]]:
        shared, polls = self._shared, self._polls
        # Growth of its own: prompts grow along the steps of one row, and are short again in the next.
        asking = msgspec.structs.replace(shared.asking, view=self._view, growth=Growth(shared.context))

        async def _vote(asking: Asking, step: Step) -> Decision:
            return await shared.vote(asking, step, polls)

        means = Means(asking, polls, _vote, self._log.leave, self._log.act, shared.complete)
        asked = remedied(partial(_vote, asking), asking.settings.remedies, means)
        return durable(with_tools(asked, self._view, shared.said, self._log, polls), self._log, shared.emit)

    async def walk(self) -> State:
        """Return the state in which the row is done."""
        # Its own limit raises Stop, which is for the whole map; `_counted` ends the row alone.
        return await generate_solution(self._view, self._start, 0, self._counted, _MOST_STEPS, self._row.item)

    async def _counted(self, step: Step) -> Decision:
        if step.index >= self._limit:
            raise TaskError(f"the row is not done after {self._limit:,} steps", remedy="raise --max-steps")
        decision = await self._decide(step)
        self.steps += 1
        self.agreed += sum(decision.votes[:1])
        self.dissent += sum(decision.votes[1:])
        if self._shared.teach is not None:
            self.tallies.append((step.kind, decision.votes))
        return decision

    def leave(self, status: RowStatus, reason: str) -> None:
        """Journal how far the row has come."""
        self._entries.status = status
        for poll in self._polls.values():
            # Nothing was asked for any other: a resume opens it just the same.
            if poll.taken or poll.waits or status in SETTLED:
                self._log.leave(poll, reason)
        # Else the entry of its ballot says so already.
        if status in SETTLED and not self._polls:
            self._shared.whole.append(RowEnded(self._row.item, status, reason))


async def drive_row(shared: Shared, row: Given, stop: Callable[[MdapError], None]) -> Row | None:
    """Return what a row came to, with everything durable-to-be handed over; None if it goes on at a resume.

    What concerns the row alone (its task, its caps, a request that no server takes) ends the row; a budget or a Stop is
    told to `stop`; anything else is raised.
    """
    end = row.end
    # What a person has skipped stays skipped.
    if end is not None and end.status in SETTLED and not (shared.again and end.status != "skipped"):
        # Every row teaches once, this one, too: the next block begins when all rows of its block have.
        _teach(shared, row, [(decided.kind, decided.votes) for decided in row.past])
        return _settled(row, end.status, end.reason)
    ride: Ride | None = None
    try:
        view = shared.view(row.raw)
        shared.tasks[row.item] = view.task
        ride = Ride(shared, row, view)
        state = await ride.walk()
    except (BudgetReached, Stop) as error:
        if ride is not None:
            ride.leave("budget" if isinstance(error, BudgetReached) else "stopped", error.message)
        stop(error)
        return None
    except CancelledError:
        if ride is not None:
            ride.leave("interrupted", "interrupted")
        raise
    except MdapError as error:
        status: RowStatus = "undecided" if isinstance(error, Undecided) else "error"
        own = status == "undecided" or _is_of_the_row(error)
        left = _left(shared, row, ride, status if own else "interrupted", error)
        _teach(shared, row, [] if ride is None else ride.tallies)
        return left
    finally:
        shared.tasks.pop(row.item, None)
    # A row that is simply done has no entry; one that once stood elsewhere needs the last word.
    if end is not None and end.status != "done":
        shared.whole.append(RowEnded(row.item, "done"))
    _teach(shared, row, ride.tallies)
    result = plain(state)
    return Row(row=row.item, status="done", result=result, steps=ride.steps, agreed=ride.agreed, dissent=ride.dissent)


def _teach(shared: Shared, row: Given, tallies: Tallies) -> None:
    if shared.teach is not None:
        shared.teach(row.item, tallies)


def _left(shared: Shared, row: Given, ride: Ride | None, status: RowStatus, error: MdapError) -> Row:
    if ride is None:
        if status in SETTLED:
            shared.whole.append(RowEnded(row.item, status, error.message))
    else:
        ride.leave(status, error.message)
    if status not in SETTLED:
        # Not of this row: it ends the map, and the row goes on at a resume.
        raise error
    if ride is None:
        return _settled(row, status, error.message)
    return Row(
        row=row.item,
        status=status,
        reason=error.message,
        steps=ride.steps,
        agreed=ride.agreed,
        dissent=ride.dissent,
    )


def _settled(row: Given, status: RowStatus, reason: str) -> Row:
    """Return a row that is left as it stands."""
    votes = [decided.votes for decided in row.past]
    agreed, dissent = sum(sum(each[:1]) for each in votes), sum(sum(each[1:]) for each in votes)
    return Row(row=row.item, status=status, reason=reason, steps=len(votes), agreed=agreed, dissent=dissent)


def _is_of_the_row(error: MdapError) -> bool:
    if isinstance(error, FingerprintChanged):
        return False
    if isinstance(error, ModelError):
        return error.kind == "context" or error.status in _OF_THE_REQUEST
    return error.code in ("task", "usage", "red-flag")


def mark_of(start: State) -> int:
    """Return a number above 0 and below 2**47 by which a row is recognised, from its start state as JSON values."""
    # Never 0, which stands for no mark.
    return int.from_bytes(blake2b(_encode(start), digest_size=6).digest(), "big") >> 1 or 1
