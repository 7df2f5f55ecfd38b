"""Durability as a wrapper around `decide`: what was decided before is not asked again, what is decided is journaled.

The commit point of the whole program is the one call of `journal.append` in `Log.commit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from mdap.core.delta import diff
from mdap.core.events import StepBegun, StepDecided
from mdap.core.history import Acted, Attempted, Decided, Ended, History, Learned, Leased, Opened, Snapshot, Spend, walk
from mdap.core.plain import plain
from mdap.core.records import Attempt, Decision, Move, Record, Sample, State, Status, Step, Totals, Usage
from mdap.engine.calling import Emit, Tempo
from mdap.engine.lookahead import Ahead
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView
from mdap.protocols import Clock, Decide, Entries

# How far the chain may run ahead of the disk: a kill asks again what was not durable, never more than this.
MOST_WAITING = 64
LONGEST_WAIT = 0.05
# A resume reads the newest snapshot and the decisions after it.
SNAPSHOT_EVERY = 1024


@runtime_checkable
class Leader(Protocol):
    """A journal that whoever drives a run may write to by itself."""

    def lead(self, is_leading: bool) -> None:
        """Say whether it will, often."""

    def write_now(self) -> None:
        """Make durable all that was handed over; raises JournalError if it cannot be."""


class Log:
    """One run's view of its journal while the run is driven."""

    def __init__(self, journal: Entries, history: History, view: TaskView, record: Record, clock: Clock) -> None:
        self._journal = journal
        self._run = history.head.id
        self._view = view
        self._record = record
        self._clock = clock
        self._timed = clock.now()
        self._waiting: deque[tuple[int, float]] = deque()
        # Nothing of this log's own is under way yet: a flush has nothing to wait for.
        self._last_ticket = journal.durable
        self._retries_stored: dict[str, int] = {}
        self._condition_of: Callable[[], tuple[str, ...]] | None = None
        self._condition_stored = history.book.condition
        self._cost_of: Callable[[], int] | None = None
        self._cost_stored = 0
        self._learned: Callable[[], object] | None = None
        self._ahead: Ahead | None = None
        self._ahead_stored = Ahead()
        self._reached: tuple[int, State] | None = None
        # What a judge had used before, in an earlier segment of this process, is not this one's.
        self._judged = Usage() if view.judge is None else view.judge.usage
        self._tempo: Tempo | None = None
        self._leader: Leader | None = None
        self._is_leading = False
        self.retried: dict[str, int] = {}
        self.state, self._past = _replay(history, view)

    @property
    def run(self) -> str:
        """The id of the run."""
        return self._run

    def watch_model(self, condition: Callable[[], tuple[str, ...]]) -> None:
        """Journal what the model has learnt along with each decision that finds it changed."""
        self._condition_of = condition

    def watch_tempo(self, tempo: Tempo, journal: object) -> None:
        """Write to the journal by itself where the model makes nobody wait, if the journal lets it."""
        if isinstance(journal, Leader):
            self._tempo, self._leader = tempo, journal

    def watch_cost(self, nano: Callable[[], int]) -> None:
        """Journal along with each decision what calls have cost since the one before; `nano` says what in all."""
        self._cost_of, self._cost_stored = nano, nano()

    def watch_ahead(self, ahead: Ahead) -> None:
        """Journal what asking ahead has done along with the decisions."""
        self._ahead = ahead

    def watch_learning(self, learned: Callable[[], object]) -> None:
        """Journal what the rule has learned along with each snapshot."""
        self._learned = learned

    def past(self, step: Step) -> Decision | None:
        """Return the decision that the journal already holds for this step."""
        # Taken out: each step is asked for once, and a long tail need not stay in memory behind it.
        decision = self._past.pop(step.index, None) if self._past else None
        if decision is not None:
            self._reached = step.index + 1, decision.move.next_state
        return decision

    async def commit(self, step: Step, decision: Decision, totals: Totals) -> None:
        """Hand a decision to the journal, and wait while too many are not durable yet."""
        # Before the decision on the state that it holds: a journal takes no snapshot of a step that it has not come to.
        if step.index and step.index % SNAPSHOT_EVERY == 0:
            self._journal.append(self._run, Snapshot(step.index, plain(step.state)))
            if self._learned is not None:
                # So that a resume need not learn once more from all decisions before it.
                self._journal.append(self._run, Learned(step.index, self._learned()))
        now = self.account(totals)
        self._last_ticket = self._journal.append(self._run, self._entry(step, decision, totals))
        self._reached = step.index + 1, decision.move.next_state
        waiting, durable = self._waiting, self._journal.durable
        waiting.append((self._last_ticket, now))
        while waiting and waiting[0][0] <= durable:
            waiting.popleft()
        if self._tempo is not None and self._tempo.waits is self._is_leading:
            self._lead(not self._is_leading)
        if waiting and (len(waiting) >= MOST_WAITING or now - waiting[0][1] >= LONGEST_WAIT):
            if self._leader is not None and self._is_leading:
                # Nobody is waited for meanwhile: to hand it to another thread and sleep would only take longer.
                self._leader.write_now()
            else:
                # Only for the oldest: to wait for all of them would leave the disk idle while the next step is asked.
                await self._journal.wait_durable(waiting[0][0])

    def _lead(self, is_leading: bool) -> None:
        if self._leader is not None:
            self._is_leading = is_leading
            self._leader.lead(is_leading)

    def account(self, totals: Totals) -> float:
        """Put into `totals` the retries and the cost of all calls, and the time, since this was last asked for.

        Returns the clock's time, in seconds.
        """
        totals.retries = self._new_retries()
        now = self._clock.now()
        totals.elapsed, self._timed = now - self._timed, now
        self._add_judging(totals)
        if self._cost_of is not None:
            totals.nano = self._new_cost()
        return now

    def copied(self, move: Move) -> Move:
        """Return a move that shares nothing with `move`."""
        return self._view.loaded(Move(plain(move.action), plain(move.next_state)))

    async def flush(self) -> None:
        """Return when everything handed over is durable."""
        if self._is_leading:
            self._lead(False)
        await self._journal.wait_durable(self._last_ticket)

    async def lease(self, lease: Spend) -> None:
        """Make a lease durable: after a kill all of it counts as spent."""
        self._last_ticket = self._journal.append(self._run, Leased(lease))
        await self.flush()

    def list_attempt(self, attempt: Attempt) -> None:
        """Hand over an attempt at a call; it becomes durable with whatever comes after it."""
        self._last_ticket = self._journal.append(self._run, Attempted(attempt))

    def keep_state(self) -> None:
        """Hand over the state that was reached: who goes on may have another `apply`, which must not compute it."""
        if self._reached is not None:
            step, state = self._reached
            self._last_ticket = self._journal.append(self._run, Snapshot(step, plain(state)))

    def leave(self, poll: Poll, reason: str) -> None:
        """Hand over a ballot that is left open, with what it took."""
        opened = poll.opened(reason)
        # Counted before they are dropped: what they took is part of the run, whether or not they are kept.
        totals = count(opened.samples)
        if self._record == "none":
            opened = msgspec.structs.replace(opened, samples=())
        self._last_ticket = self._journal.append(self._run, Opened(opened, totals))

    def act(self, acted: Acted) -> None:
        """Hand over what was done about a step that its caps left undecided."""
        self._last_ticket = self._journal.append(self._run, acted)

    def end(
        self, status: Status, spend: Spend, seconds: float, reason: str, rows: dict[str, int] | None = None
    ) -> None:
        """Hand over the end of this segment; `rows`, of a map, counts its rows by where they stand."""
        totals = Totals(retries=self._new_retries(), nano=self._new_cost())
        self._add_ahead(totals)
        self._add_judging(totals)
        ended = Ended(status, spend, seconds, reason, totals, self._new_condition(), rows)
        self._last_ticket = self._journal.append(self._run, ended)

    def _add_judging(self, totals: Totals) -> None:
        """Add what a model that groups candidates took: its calls are no samples, and are billed all the same."""
        if self._view.judge is None:
            return
        used, before = self._view.judge.usage, self._judged
        totals.tokens_in += used.tokens_in - before.tokens_in
        totals.tokens_out += used.tokens_out - before.tokens_out
        self._judged = used

    def _add_ahead(self, totals: Totals) -> None:
        new, old = self._ahead, self._ahead_stored
        if new is None or new == old:
            return
        totals.wasted, totals.rollbacks, totals.reused = (
            new.wasted - old.wasted,
            new.rollbacks - old.rollbacks,
            new.reused - old.reused,
        )
        # A copy: lookahead goes on counting in the other one.
        self._ahead_stored = msgspec.structs.replace(new)

    def _new_cost(self) -> int:
        if self._cost_of is None:
            return 0
        cost = self._cost_of()
        new, self._cost_stored = cost - self._cost_stored, cost
        return new

    def _new_condition(self) -> tuple[str, ...] | None:
        if self._condition_of is None:
            return None
        condition = self._condition_of()
        # Nearly always so, and then a decision need not carry it.
        if condition == self._condition_stored:
            return None
        self._condition_stored = condition
        return condition

    def _new_retries(self) -> dict[str, int]:
        if self.retried == self._retries_stored:
            return {}
        new = {name: n - self._retries_stored.get(name, 0) for name, n in self.retried.items()}
        self._retries_stored = dict(self.retried)
        return {name: n for name, n in new.items() if n}

    def _entry(self, step: Step, decision: Decision, totals: Totals) -> Decided:
        samples: tuple[Sample, ...] = ()
        if self._record == "samples" or (self._record == "contested" and decision.contested):
            samples = decision.samples
        return Decided(
            step.index,
            # Without a type of its own it is JSON values already.
            plain(decision.move.action) if self._view.action_type is not None else decision.move.action,
            decision.votes,
            step.kind,
            self._change(step.state, decision),
            totals,
            samples,
            None if self._condition_of is None else self._new_condition(),
        )

    def _change(self, state: State, decision: Decision) -> object:
        # What `apply` gives again is not stored: next states would be most of a long run's journal.
        if self._view.vote_on == "action" or self._view.follows(state, decision.move):
            return msgspec.UNSET
        return diff(plain(state), plain(decision.move.next_state))


def durable(decide: Decide, log: Log, emit: Emit = None) -> Decide:
    """Return `decide` that answers from the journal what is in it, and journals what is new.

    Observers are told of a decision when it has been handed to the journal; it may be durable a moment later.
    """

    async def _decide(step: Step) -> Decision:
        past = log.past(step)
        # Observers are not told: they heard of it in the segment that decided it.
        if past is not None:
            return past
        if emit is not None:
            emit(StepBegun(step.index, step.kind, step.item))
        decision = await decide(step)
        totals = count(decision.samples)
        await log.commit(step, decision, totals)
        if emit is not None:
            # A copy: what an observer does to it must not reach the next step.
            emit(StepDecided(msgspec.structs.replace(decision, move=log.copied(decision.move)), totals, step.item))
        return decision

    return _decide


def count(samples: tuple[Sample, ...]) -> Totals:
    """Return the counters of some samples."""
    totals = Totals(samples=len(samples))
    for sample in samples:
        totals.tokens_in += sample.tokens_in
        totals.tokens_out += sample.tokens_out
        if sample.flag:
            totals.flagged[sample.flag] = totals.flagged.get(sample.flag, 0) + 1
        else:
            totals.votes += 1
        if sample.second is not None:
            totals.second_calls += 1
    return totals


def _replay(history: History, view: TaskView) -> tuple[tuple[int, State], dict[int, Decision]]:
    """Return (index, state) of the newest snapshot, and the decisions after it by step."""
    first = history.snapshot
    past = {
        entry.step: Decision(entry.step, view.loaded(move), entry.votes)
        # Without samples and totals: those are in the book, and are not counted again.
        for _, entry, move in walk(first.state, history.tail, view.replay)
    }
    return (first.step, view.load(first.state)), past
