"""Many rows, one short run each, under one budget, one pace and one journal: rows in, rows out, in order.

Here a map is wired together from the parts that a run is made of; what a row goes through is in `engine.rows`.
"""

from __future__ import annotations

import secrets
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import msgspec

from mdap import api
from mdap.clock import RunningClock
from mdap.core.budget import Budget
from mdap.core.calibrated import Calibration, ModelCalibration
from mdap.core.epochs import check_tools
from mdap.core.errors import BudgetReached, FingerprintChanged, JournalError, MdapError, UsageError
from mdap.core.events import RowSettled, RunEnded, Started
from mdap.core.fingerprint import differences
from mdap.core.history import Resumed, RowDecided, RowEnded, RunHead, Snapshot, Spend
from mdap.core.plain import plain
from mdap.core.prices import Tariff
from mdap.core.records import Decision, OpenBallot, RowStatus, Status, Step
from mdap.core.redflags import RedFlagCheck, RedFlags, preset_told
from mdap.core.settings import Settings
from mdap.engine.calling import Emit, Meter
from mdap.engine.confiding import confiding
from mdap.engine.drawing import drawing
from mdap.engine.durable import Log
from mdap.engine.growth import context_of
from mdap.engine.inorder import InOrder
from mdap.engine.ledger import listed
from mdap.engine.poll import Poll
from mdap.engine.rowruling import RowRuling
from mdap.engine.rows import Given, PerRow, Shared, Whole, drive_row, given
from mdap.engine.stack import Stack, over, stacked
from mdap.engine.taskview import TaskView
from mdap.engine.tools import said_of
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.groups import Group
from mdap.models.catalog import as_model
from mdap.observers import Observer, beginning, warn
from mdap.parts import (
    Asked,
    Options,
    Parts,
    Prices,
    changed_settings,
    choose_rule,
    combined,
    fingerprint_of,
    parts_of,
    prices_of,
    settings_of,
    suited,
)
from mdap.protocols import Clock, Journal, Model, Rule, Task
from mdap.rowio import ORIGIN, WINDOW, Mapped, Output, Source, Target, TaskFactory, is_map, mapped, target_of
from mdap.spare import SpareModels
from mdap.tools import GivenTools, factory_with, typed


async def map(
    task_factory: TaskFactory,
    items: Iterable[Any],
    model: Asked,
    *,
    fallback: Sequence[Asked] = (),
    mix: Sequence[Asked] = (),
    k: int | None = None,
    rule: Rule | str | None = None,
    journal: Journal | str | Path | None = None,
    output: Output = None,
    run: str | None = None,
    retry_failed: bool = False,
    calibration: Calibration | str | Path | None = None,
    prices: Prices | None = None,
    free: bool = False,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    tools: GivenTools = (),
    on_event: Observer | Sequence[Observer] = (),
    clock: Clock | None = None,
    total: int | None = None,
    origin: dict[str, Any] | None = None,
    **options: Unpack[Options],
) -> Mapped:
    """Return what many independent short runs came to: one for each of `items`, whose task `task_factory(item)` makes.

    All share the calls in flight, the budgets, the model's pace and one journal. Each row's result is a function of
    its number, its task and the seed, whatever the others do. A row that is undecided, or whose task fails, does not
    stop the others; its status says so. `output` is a file of JSON Lines, a function that is given each `Row`, or None:
    rows come in the order of the items, each once it is durable, and no more than 1,024 are held at a time.

    `run` goes on with a map that the journal holds: no finished row is asked again, and the output is written anew.
    `retry_failed` takes up its undecided rows, where their caps left them, and its failed ones. Items must be the same
    (more may follow). `total` is their number, if it is known and `items` has no length; `origin` is what a command
    needs to make all this again. All else is as in `run`, whose errors this raises.
    """
    asked = combined(model, fallback, mix)
    source = Source(factory_with(tools, task_factory), items, as_model(asked))
    try:
        with api.opened(journal) as store, target_of(output) as target:
            chosen = _Chosen(k, rule, calibration, prices, free, red_flags, extra_flags, typed(tools))
            if source.first is None:
                # A fingerprint is of a row's task: without a row there is no run. The output is made all the same.
                return Mapped("", "done", "", {}, 0, 0, 0, {}, {}, {"in": 0, "out": 0}, 0.0, target.rows)
            count = len(items) if isinstance(items, Sized) else total
            plan = _begun(store, source, chosen, dict(options), count, origin) if run is None else None
            plan = plan or _taken_up(store, str(run), source, chosen, dict(options))
            # One claim for all rows: two processes on one map would each count its budget as their own.
            with store.claim(plan.head.id):
                drive = _Map(store, plan, source, target, on_event, clock or RunningClock(), again=retry_failed)
                return await drive.run()
    finally:
        # A model that was handed in may serve other runs at this moment: whoever made it closes it.
        if isinstance(asked, str):
            await api.close(source.model)


class _Chosen(msgspec.Struct, frozen=True):
    """What a map is asked with, besides its rows, its model and its settings."""

    k: int | None
    rule: Rule | str | None
    calibration: Calibration | str | Path | None
    prices: Prices | None
    free: bool
    red_flags: RedFlags | None
    extra_flags: Sequence[RedFlagCheck]
    tools: str

    def parts(self, source: Source, settings: Callable[[Model], Settings]) -> Parts:
        """Return what the rows are asked with, as the first of them shows it."""
        assert source.first is not None
        return parts_of(source.first.task, source.model, settings, self.red_flags, self.extra_flags)


class _Plan(msgspec.Struct, frozen=True):
    """A map that is in the journal: its head, its parts and rule, and the entry to begin with at a resume.

    `calibrated`: the figures to watch for a drift from.
    """

    head: RunHead
    parts: Parts
    rule: Rule
    resumed: Resumed | None = None
    calibrated: ModelCalibration | None = None


def _begun(
    store: Journal,
    source: Source,
    chosen: _Chosen,
    options: dict[str, Any],
    total: int | None,
    origin: dict[str, Any] | None,
) -> _Plan:
    asked_for = choose_rule(chosen.k, chosen.rule)
    parts = chosen.parts(source, lambda model: settings_of(model, options, asked_for))
    calibrated = api.fitting(chosen.calibration, parts)
    from_it = calibrated.k if calibrated is not None and chosen.k is None and chosen.rule is None else chosen.k
    rule = suited(choose_rule(from_it, chosen.rule), parts)
    # By what makes the tasks: the first row's own says nothing of the others.
    fingerprint = fingerprint_of(parts, rule) | {"task": source.task}
    head = RunHead(
        # Not named after the task: rows may be of different ones.
        id=f"map-{secrets.token_hex(4)}",
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        task=source.task,
        model=source.model.spec,
        rule=rule.spec,
        fingerprint=fingerprint,
        settings=msgspec.to_builtins(parts.settings) | ({} if origin is None else {ORIGIN: origin}),
        total=total,
        prices=prices_of(parts, chosen.prices, free=chosen.free),
        tools=chosen.tools,
    )
    store.create(head)
    return _Plan(head, parts, rule, calibrated=calibrated)


def _taken_up(store: Journal, run: str, source: Source, chosen: _Chosen, changes: dict[str, Any]) -> _Plan:
    head = store.head(run)
    if not is_map(head):
        raise UsageError(f"run {head.id} is no map", remedy=f"go on with it by `mdap resume {head.id}`")
    book = store.history(head.id).book
    # What a command needs to make the tasks again is no setting.
    stored = {name: value for name, value in {**head.settings, **book.settings}.items() if name != ORIGIN}
    # What is given as it was is no change: a resume may repeat all that the map began with.
    changed = {name: value for name, value in changes.items() if stored.get(name) != value}
    if chosen.red_flags is None:
        told = preset_told(head.fingerprint["flags"], stored.get("flag_tokens"))
        chosen = msgspec.structs.replace(chosen, red_flags=told)
    parts = chosen.parts(source, lambda _: Settings(**{**stored, **changed_settings(changed)}))
    given_rule = chosen.k is None and chosen.rule is None
    rule = suited(choose_rule(None, head.rule) if given_rule else choose_rule(chosen.k, chosen.rule), parts)
    now = fingerprint_of(parts, rule) | {"task": source.task}
    check_tools(head, head.fingerprint, now)
    difference = differences(head.fingerprint, now)
    if difference:
        raise FingerprintChanged(
            f"map {head.id} was started with something else:\n{difference}\n", remedy="begin a new one"
        )
    prices = prices_of(parts, chosen.prices, head.prices if book.prices is None else book.prices, free=chosen.free)
    resumed = Resumed(msgspec.to_builtins(parts.settings), prices)
    return _Plan(head, parts, rule, resumed, api.fitting(chosen.calibration, parts))


class _Map:
    """A map while it is driven; `run` takes it to its end."""

    def __init__(
        self,
        journal: Journal,
        plan: _Plan,
        source: Source,
        target: Target,
        on_event: Observer | Sequence[Observer],
        clock: Clock,
        *,
        again: bool,
    ) -> None:
        assert source.first is not None
        self._journal, self._plan, self._source, self._target = journal, plan, source, target
        self._counts: Counter[RowStatus] = Counter()
        self._stopped: MdapError | None = None
        self._tasks: dict[int, Task] = {}
        settings, head = plan.parts.settings, plan.head
        # First of all: the history read next is to hold what this resume changes.
        if plan.resumed is not None:
            journal.append(head.id, plan.resumed)
        history = journal.history(head.id)
        self._book = history.book
        # A map has no state of its own; the log that all rows share is one of the first row's task.
        history.snapshot = Snapshot(0, plain(source.first.start()))
        self._log = Log(journal, history, source.first, settings.record, clock)
        self._emit: Emit = api.observed(on_event, plan.calibrated, plan.rule)
        self._first = beginning(on_event)
        self._ruling = RowRuling(plan.rule, _steps_of(head.total, source.first))
        self._meter = Meter(Budget(api.limits_of(settings), self._book.spent), clock, self._log.lease, self._emit)
        self._whole = Whole(journal, self._log, head, clock)
        self._spare: SpareModels
        self._shared = self._made_shared(clock, again=again)
        self._out = InOrder(target.take, journal, WINDOW)

    def _made_shared(self, clock: Clock, *, again: bool) -> Shared:
        parts, source, log, emit, ruling = self._plan.parts, self._source, self._log, self._emit, self._ruling
        settings, view = parts.settings, source.first
        assert view is not None
        around = listed(log.list_attempt) if settings.record == "samples" else None

        def _stack(model: Model, tariffs: dict[str, Tariff]) -> Stack:
            routed = over(model, lambda one: PerRow(one, self._tasks) if hasattr(one, "bind") else one)
            return stacked(routed, settings, self._meter, clock, log.retried, emit, tariffs=tariffs, around=around)

        prices = self._plan.head.prices if self._book.prices is None else self._book.prices
        if prices:
            log.watch_cost(lambda: self._meter.budget.spent.nano)
        complete, model = _stack(source.model, {spec: Tariff(price) for spec, price in prices.items()})
        api.take_up(model, self._book.condition, log)
        self._spare = SpareModels(parts, prices, _stack, None)
        asking = Asking(
            view,
            complete,
            parts.flags,
            settings,
            clock,
            emit,
            warn=partial(warn, emit),
            draw=drawing(settings),
            watch=api.independence_of(source.model, settings),
            confide=confiding(settings),
        )

        async def _vote(asking: Asking, step: Step, polls: dict[int, Poll]) -> Decision:
            return await do_voting(asking, ruling.for_step(step), step, polls)

        def _reopened(ballot: OpenBallot, view: TaskView, item: int) -> Poll:
            step = Step(ballot.step, view.load(ballot.state), ballot.kind, item)
            return api.reopened(ballot, view, ruling.for_step(step), item)

        return Shared(
            whole=self._whole,
            asking=asking,
            view=source.view,
            vote=_vote,
            reopened=_reopened,
            complete=self._spare.complete,
            tasks=self._tasks,
            context=settings.context or context_of(source.model),
            emit=emit,
            again=again,
            said=said_of(self._journal.acts(self._plan.head.id)),
            teach=ruling.teach if ruling.learns else None,
        )

    async def run(self) -> Mapped:
        """Drive all rows and return what they came to, with everything durable."""
        head, book = self._plan.head, self._book
        started = Started(head.id, head.task, head.model, self._plan.rule.spec, 0, head.total, book.totals)
        self._meter.tell(started, self._first)
        status: Status = "error"
        reason = "an error inside mdap"
        try:
            await self._drive()
            status, reason = self._outcome()
        except CancelledError:
            status, reason = "interrupted", "interrupted"
            raise
        except MdapError as error:
            reason = str(error)
            error.add_note(f"map {head.id}: what was decided is kept; go on with `mdap resume {head.id}`")
            raise
        finally:
            # With an error on its way out, a journal that cannot be written is not what matters.
            with suppress(*([JournalError] if status in ("error", "interrupted") else [])):
                await self._end(status, reason)
            await self._spare.close()
        return self._mapped()

    async def _drive(self) -> None:
        rows = given(self._source.items, *self._stored())
        most = self._plan.parts.settings.in_flight
        # In a group of its own: what hands results on outlasts all who work, and is told when they have ended.
        async with Group() as writing:
            writing.create_task(self._out.run())
            async with Group() as working:
                # As many as there may be calls: a row that is driven has at least one in flight.
                for _ in range(most):
                    working.create_task(self._work(rows))
            # Not by cancelling: rows that wait for their commit are still to be handed on, in order.
            self._out.close()

    def _stored(self) -> tuple[Iterator[RowDecided], Iterator[RowEnded]]:
        if self._plan.resumed is None:
            return iter(()), iter(())
        run = self._plan.head.id
        return iter(self._journal.row_decisions(run)), iter(self._journal.row_ends(run))

    async def _work(self, rows: Iterator[Given]) -> None:
        """Drive one row after the other."""
        while self._stopped is None:
            one = next(rows, None)
            if one is None:
                return
            # Before it is begun: the result of a row too far ahead would have to be held.
            await self._out.place(one.item)
            await self._ruling.reach(one.item)
            # It may have been stopped while this row waited for its turn.
            if self._stopped is not None:
                return
            row = await drive_row(self._shared, one, self._stop)
            if row is None:
                continue
            # Only rows that came to an end: one that a stop cut short has no status, and is taken up at the resume.
            self._counts[row.status] += 1
            self._meter.tell(RowSettled(row.row, row.status, row.reason))
            # By the last ticket of all rows, which is none earlier than this row's own.
            self._out.put(row.row, self._whole.ticket, row)
            # What a kill may cost is bounded for all rows together.
            await self._whole.keep_up()

    def _stop(self, error: MdapError) -> None:
        # The first one is the reason; others follow from it.
        self._stopped = self._stopped or error
        # Whoever waits for a block to end would wait for ever: its rows are not driven any more.
        self._ruling.release()

    def _outcome(self) -> tuple[Status, str]:
        if self._stopped is not None:
            return ("budget" if isinstance(self._stopped, BudgetReached) else "stopped"), str(self._stopped)
        undecided, failed = self._counts["undecided"], self._counts["error"]
        if not undecided and not failed:
            return "done", ""
        told = [f"{count:,} {name}" for count, name in ((undecided, "undecided"), (failed, "failed")) if count]
        where = "their reasons are in the output; `mdap resume RUN --retry-failed` tries them again"
        return (
            "undecided" if undecided else "error"
        ), f"of {self._counts.total():,} rows {' and '.join(told)}: {where}"

    async def _end(self, status: Status, reason: str) -> None:
        ended: Status = "error"
        try:
            await self._log.flush()
            spent, seconds = self._meter.budget.spent, self._meter.seconds
            spend = Spend(spent.calls, spent.tokens, spent.seconds + seconds, spent.nano)
            self._log.end(status, spend, seconds, reason, self._rows())
            await self._log.flush()
            ended = status
        finally:
            # In any case, and as an error where the end is not durable: observers are not to wait for ever.
            self._meter.tell(RunEnded(ended, reason))

    def _rows(self) -> dict[str, int]:
        """Return the rows by where they stand, in an order that no timing changes."""
        named: tuple[RowStatus, ...] = ("done", "undecided", "error", "skipped")
        return {name: self._counts[name] for name in named if self._counts[name]}

    def _mapped(self) -> Mapped:
        return mapped(self._journal.history(self._plan.head.id), self._target.rows)


def _steps_of(rows: int | None, first: TaskView) -> int | None:
    """Return the steps of all rows together, if both are known; rows that were added later are not among them."""
    each: int | None = getattr(first.task, "steps", None)
    # At least 1: a task that is done at its start has no steps, and a target per step divides by their number.
    return None if rows is None or each is None else max(1, rows * each)
