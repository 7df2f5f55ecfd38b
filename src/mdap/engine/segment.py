"""One segment of a run: from where its journal ends to done, or to the outcome that has a name and a way to go on."""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

from mdap.core.errors import BudgetReached, JournalError, MdapError, Stop, Undecided
from mdap.core.events import RunEnded
from mdap.core.history import Spend
from mdap.core.records import Status
from mdap.core.remedy import addressed
from mdap.core.secrets import redacted
from mdap.engine.calling import Meter
from mdap.engine.durable import Log
from mdap.engine.poll import Poll
from mdap.engine.solution import generate_solution
from mdap.engine.taskview import TaskView
from mdap.protocols import Decide


async def drive(
    view: TaskView,
    log: Log,
    meter: Meter,
    polls: dict[int, Poll],
    decide: Decide,
    limit: int,
    ahead: AbstractAsyncContextManager[object] | None = None,
) -> Status:
    """Return how the segment ended, with everything durable that it decided, took and left open.

    `ahead` is what asks ahead of `decide`; it has ended before anything is written of the end. Caps, budgets and Stop
    are outcomes; other errors, and cancellation, are raised again after the same care.
    """
    index, state = log.state
    status: Status = "error"
    # What stands where none of the clauses below applies.
    reason = "an error inside mdap"
    try:
        async with ahead or nullcontext():
            await generate_solution(view, state, index, decide, limit)
        status, reason = "done", ""
    except Undecided as error:
        status, reason = "undecided", str(error)
    except BudgetReached as error:
        status, reason = "budget", str(error)
    except Stop as error:
        status, reason = "stopped", str(error)
    except CancelledError:
        status, reason = "interrupted", "interrupted"
        raise
    except MdapError as error:
        reason = str(error)
        raise
    finally:
        # A journal outlives whoever reads this now: its reasons name their own run.
        reason = redacted(addressed(reason, log.run))
        # With an error on its way out, a journal that cannot be written is not what matters; else nothing matters more.
        with suppress(*([JournalError] if status in ("error", "interrupted") else [])):
            await _end(log, meter, polls, status, reason)
    return status


async def _end(log: Log, meter: Meter, polls: dict[int, Poll], status: Status, reason: str) -> None:
    if status != "done":
        log.keep_state()
    for poll in polls.values():
        # Nothing was asked for any other: a resume opens it just the same.
        if poll.taken or poll.waits:
            log.leave(poll, reason)
    # Whoever listens hears of an end in any case; one that could not be written is an error.
    ended: Status = "error"
    try:
        await log.flush()
        # Only after the flush: a run takes as long as its last commit.
        spent = meter.budget.spent
        seconds = meter.seconds
        log.end(status, Spend(spent.calls, spent.tokens, spent.seconds + seconds, spent.nano), seconds, reason)
        await log.flush()
        ended = status
    finally:
        meter.tell(RunEnded(ended, reason))
