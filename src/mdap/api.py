"""Where the parts are wired together: the asynchronous `run` and `resume`. Ways in are thin layers over these."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import msgspec

from mdap.clock import RunningClock
from mdap.core.budget import Budget, Limits
from mdap.core.calibrated import Calibration, ModelCalibration, decode
from mdap.core.epochs import is_changed
from mdap.core.errors import MdapError, UsageError
from mdap.core.events import Event, Started
from mdap.core.history import Epoch, History, Resumed, RunHead, Snapshot
from mdap.core.plain import plain
from mdap.core.prices import Tariff, UnitPrices, nano
from mdap.core.records import ABSENT, Decision, OpenBallot, Step, Vote
from mdap.core.redflags import RedFlagCheck, RedFlags, preset_told
from mdap.core.remedy import naming
from mdap.core.settings import Settings
from mdap.engine.calling import Meter
from mdap.engine.confiding import confiding
from mdap.engine.drafting import TASK, model_draft, task_draft
from mdap.engine.drawing import check_hedge, drawing
from mdap.engine.drift import Drift
from mdap.engine.durable import Log, durable
from mdap.engine.growth import Growth, context_of
from mdap.engine.independence import independence_of as independence_of
from mdap.engine.independence import unless_known
from mdap.engine.ledger import listed
from mdap.engine.lookahead import Draft, Lookahead
from mdap.engine.poll import Poll
from mdap.engine.remedies import Means, remedied
from mdap.engine.room import Room, room_of
from mdap.engine.ruling import Ruling
from mdap.engine.segment import drive
from mdap.engine.stack import members, stacked
from mdap.engine.taskview import TaskView
from mdap.engine.tools import said_of, with_tools
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.journal import open_journal
from mdap.models.probed import Report, read_report, take_over
from mdap.observers import Observer, beginning, fan_out, warn
from mdap.parts import (
    Asked,
    Changes,
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
    with_k,
)
from mdap.protocols import Clock, Decide, Journal, Rule, Task
from mdap.result import Reopen, Result
from mdap.rowio import check_chain
from mdap.spare import SpareModels
from mdap.tasks.catalog import restored
from mdap.tools import GivenTools, task_with, typed

# A task that says neither how many steps it has nor when it is over still ends, and says so.
MOST_STEPS = 100_000_000


async def run(
    task: Task | str,
    model: Asked,
    *,
    fallback: Sequence[Asked] = (),
    mix: Sequence[Asked] = (),
    k: int | None = None,
    rule: Rule | str | None = None,
    journal: Journal | str | Path | None = None,
    calibration: Calibration | str | Path | None = None,
    probe: Report | str | Path | None = None,
    prices: Prices | None = None,
    free: bool = False,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    tools: GivenTools = (),
    on_event: Observer | Sequence[Observer] = (),
    clock: Clock | None = None,
    **options: Unpack[Options],
) -> Result:
    """Return the result of one task taken from its start to its end, or to where a cap, a budget or a hook ended it.

    `task` and `model` are objects or specs (`"hanoi:disks=5"`, `"simulated:p=0.9"`); a model may be any callable.
    Votes come from `mix`, too, in turn by slot; `fallback` takes over, in its order, from a model that keeps failing.
    `k` is short for the rule `ahead_by_k:k`; without either, k is 3, which is an assumption. `journal` is a path, or
    None to keep nothing on disk. `calibration`, or the file of one, gives k where none is given, and the run warns when
    its flags or its dissent rise above it; it must be of the same model, prompt, parser, flags and settings
    (FingerprintChanged), and VotingCannotHelp is raised where it refuses. `probe`: the report of one on the model, or
    its file; it says what the model takes, and whether votes of it can be independent. `prices` (USD per million tokens
    by model, or a file of them) and `free` say what calls cost: see `mdap.parts.prices_of`. `red_flags` replaces the
    default red flags, `extra_flags` come after them. The options are those of `Settings`.
    Observers given as `on_event` see every event and may raise Stop.

    Raises UsageError for what cannot be run, ModelRejected, TaskError or JournalError where the run cannot go on;
    what was decided until then is in the journal. Cancelling it ends the calls in flight and keeps what was decided.
    """
    with naming():
        asked, suits = combined(model, fallback, mix), choose_rule(k, rule)
        task = task_with(tools, task)
        parts = parts_of(task, asked, lambda model: settings_of(model, dict(options), suits), red_flags, extra_flags)
        _probed(parts, probe)
        unit_prices = prices_of(parts, prices, free=free)
        calibrated = fitting(calibration, parts)
        from_it = calibrated.k if calibrated is not None and k is None and rule is None else k
        chosen = suited(choose_rule(from_it, rule), parts)
        fingerprint = fingerprint_of(parts, chosen)
    head = RunHead(
        id=_new_id(parts.view.task),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        task=fingerprint["task"],
        model=parts.model.spec,
        rule=chosen.spec,
        fingerprint=fingerprint,
        settings=msgspec.to_builtins(parts.settings),
        total=getattr(parts.view.task, "steps", None),
        prices=unit_prices,
        tools=typed(tools),
    )
    with opened(journal) as store:
        with naming():
            store.create(head)
        with store.claim(head.id), naming(head.id):
            store.append(head.id, Snapshot(0, plain(parts.view.start())))
            again = _again(journal, store)
            return await _drive(store, head.id, parts, chosen, on_event, clock, again, calibrated)


async def resume(
    run: str,
    *,
    journal: Journal | str | Path,
    task: Task | str | None = None,
    model: Asked | None = None,
    rule: Rule | str | None = None,
    calibration: Calibration | str | Path | None = None,
    probe: Report | str | Path | None = None,
    prices: Prices | None = None,
    free: bool = False,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    tools: GivenTools = (),
    accept_changes: bool = False,
    on_event: Observer | Sequence[Observer] = (),
    clock: Clock | None = None,
    **changes: Unpack[Changes],
) -> Result:
    """Return the result of a run taken up where its journal ends; a decided step is never asked again.

    `run` is an id or a unique beginning of one. Task, model and rule are made again from their specs unless given, as
    flags and a rule of one's own must be; `calibration` says again what to watch for. Only caps, budgets, rates,
    timeouts and `prices` may change. Raises FingerprintChanged, with a readable difference, if the task, its prompt,
    the model, the rule, the flags or another setting is not the same; `accept_changes` then starts a new epoch at the
    next step, whose ballot begins anew.
    Raises RunBusy if another process drives the run.
    """
    with opened(journal) as store:
        head = store.head(run)
        check_chain(head)
        with store.claim(head.id), naming(head.id):
            history = store.history(head.id)
            book = history.book
            stored = {**head.settings, **book.settings, **changed_settings(dict(changes))}
            # Against the newest epoch: what was accepted at an earlier resume is no change any more.
            before = book.epochs[-1][1] if book.epochs else head.fingerprint
            parts = parts_of(
                task_with(tools, restored(before["task"], store.snapshot(head.id, 0).state) if task is None else task),
                head.model if model is None else model,
                lambda _: Settings(**stored),
                preset_told(before["flags"], stored.get("flag_tokens")) if red_flags is None else red_flags,
                extra_flags,
            )
            chosen = suited(choose_rule(None, before["rule"] if rule is None else rule), parts)
            now = fingerprint_of(parts, chosen)
            changed = is_changed(history, before, now, accept_changes=accept_changes)
            if history.snapshot.state is ABSENT:  # killed after the run was made and before its start was durable
                store.append(head.id, Snapshot(0, plain(parts.view.start())))
            _probed(parts, probe)
            before_prices = head.prices if book.prices is None else book.prices
            unit_prices = prices_of(parts, prices, before_prices, free=free)
            store.append(head.id, Resumed(msgspec.to_builtins(parts.settings), unit_prices))
            if changed:
                # Before anything is asked: no vote of the new epoch may ever stand in the old one.
                await store.wait_durable(store.append(head.id, Epoch(book.steps, now)))
            calibrated = fitting(calibration, parts)
            return await _drive(store, head.id, parts, chosen, on_event, clock, _again(journal, store), calibrated)


async def _drive(
    journal: Journal,
    run: str,
    parts: Parts,
    rule: Rule,
    on_event: Observer | Sequence[Observer],
    clock: Clock | None,
    reopen: Reopen,
    calibrated: ModelCalibration | None = None,
) -> Result:
    """Drive a run from where its journal ends, and return its result."""
    history, total = journal.history(run), getattr(parts.view.task, "steps", None)
    head, book = history.head, history.book
    wired = _wired(journal, history, parts, rule, observed(on_event, calibrated, rule), clock or RunningClock())
    started = Started(run, head.task, head.model, rule.spec, book.steps, total, book.totals)
    wired.meter.tell(started, beginning(on_event))
    limit = parts.settings.max_steps or total or MOST_STEPS  # `total`, too: the task's `is_done` may err
    try:
        await drive(parts.view, wired.log, wired.meter, wired.polls, wired.decide, limit, wired.ahead)
    except MdapError as error:
        error.add_note(f"run {run}: what was decided is kept; go on with `mdap resume {run}`")
        raise
    finally:
        # A model that was handed in may serve other runs at this moment: whoever made it closes it.
        if parts.owns_model:
            await close(parts.model)
        await wired.spare.close()
    return Result(journal, run, parts.view, rule, reopen)


class _Wired(NamedTuple):
    """A run with all its wrappers in place."""

    log: Log
    meter: Meter
    polls: dict[int, Poll]
    decide: Decide
    ahead: Lookahead
    spare: SpareModels


def _wired(journal: Journal, history: History, parts: Parts, rule: Rule, emit: Observer | None, clock: Clock) -> _Wired:
    """Stack the wrappers around the two callables of a run: `complete`, and over it `decide`."""
    view, settings, head, book = parts.view, parts.settings, history.head, history.book
    log = Log(journal, history, view, settings.record, clock)
    prices: dict[str, UnitPrices] = head.prices if book.prices is None else book.prices
    meter = Meter(Budget(limits_of(settings), book.spent), clock, log.lease, emit)
    log.watch_tempo(meter.tempo, journal)
    if prices:
        log.watch_cost(lambda: meter.budget.spent.nano)

    tariffs = {spec: Tariff(price) for spec, price in prices.items()}
    around = listed(log.list_attempt) if settings.record == "samples" else None
    stack = partial(stacked, settings=settings, meter=meter, clock=clock, retried=log.retried, emit=emit, around=around)
    complete, model = stack(parts.model, tariffs=tariffs)
    spare = SpareModels(parts, prices, lambda model, tariffs: stack(model, tariffs=tariffs), view.task)
    take_up(model, book.condition, log)
    asking = Asking(
        view,
        complete,
        parts.flags,
        settings,
        clock,
        emit,
        Growth(settings.context or context_of(parts.model)),
        warn=partial(warn, emit),
        watch=independence_of(parts.model, settings),
        draw=drawing(settings),
        tempo=meter.tempo,
        confide=confiding(settings),
    )

    ruling = Ruling(rule, getattr(view.task, "steps", None), history, partial(journal.decisions, head.id))
    if ruling.prior is not None:
        log.watch_learning(ruling.learned)
    polls: dict[int, Poll] = {}
    if book.ballot is not None:
        step = Step(book.ballot.step, view.load(book.ballot.state), book.ballot.kind)
        polls[step.index] = reopened(book.ballot, view, ruling.for_step(step))
    vote = unless_known(partial(_vote, ruling=ruling, polls=polls), parts.model, settings)
    asked = partial(vote, asking)
    room = room_of(members(parts.model), settings, clock)
    ahead = _lookahead(view, settings, asked, ruling, polls, spare, room, emit)
    log.watch_ahead(ahead.ahead)
    means = Means(asking, polls, vote, log.leave, log.act, spare.complete)
    # Who leads does not say what the next state is where a ballot is settled: asking ahead would ask in vain.
    is_ahead = settings.lookahead and view.settle is None
    remedy = remedied(ahead.decide if is_ahead else asked, settings.remedies, means)
    called = with_tools(remedy, view, said_of(journal.acts(head.id)), log, polls)
    decide = ruling.taught(durable(called, log, emit))  # a rule learns from what the journal was handed
    return _Wired(log, meter, polls, decide, ahead, spare)


async def _vote(
    asking: Asking,
    step: Step,
    ballots: dict[int, Poll] | None = None,
    tell: Observer | None = None,
    *,
    ruling: Ruling,
    polls: dict[int, Poll],
) -> Decision:
    """Decide one step with the run's open ballots, or with those of a branch that was asked ahead and its observer."""
    if tell is not None:
        asking = msgspec.structs.replace(asking, emit=tell)
    return await do_voting(asking, ruling.for_step(step), step, polls if ballots is None else ballots)


def _lookahead(
    view: TaskView,
    settings: Settings,
    vote: Callable[..., Awaitable[Decision]],
    ruling: Ruling,
    polls: dict[int, Poll],
    spare: SpareModels,
    room: Room,
    emit: Observer | None,
) -> Lookahead:
    return Lookahead(
        view,
        vote,
        lambda step: Poll(step, ruling.for_step(step)),
        polls,
        depth=settings.lookahead,
        draft=_draft(view, settings, spare),
        room=room,
        may_ask=ruling.is_settled,
        emit=emit,
    )


def _draft(view: TaskView, settings: Settings, spare: SpareModels) -> Draft | None:
    """Return who guesses moves, if anybody does."""
    if settings.draft is None or not settings.lookahead:
        return None
    if settings.draft == TASK:
        return task_draft(view)
    return model_draft(view, spare.complete(settings.draft), settings)


def fitting(calibration: Calibration | str | Path | None, parts: Parts) -> ModelCalibration | None:
    """Return the figures of a calibration, or of the file of one, for these parts; None without one.

    Raises FingerprintChanged if it was made with something else, UsageError for what is no calibration, and for spare
    draws where it found that latency goes with truth.
    """
    if calibration is None:
        return None
    found = read_calibration(calibration).fitting(fingerprint_of(parts, choose_rule(None, None)))  # of any rule
    check_hedge(parts.settings, found.kinds)
    return found


def _probed(parts: Parts, probe: Report | str | Path | None) -> None:
    if probe is not None:
        take_over(members(parts.model), read_report(probe))


def read_calibration(calibration: Calibration | str | Path) -> Calibration:
    """Return a calibration, read from its file unless it is one already; raises UsageError for what is none."""
    if isinstance(calibration, Calibration):
        return calibration
    try:
        return decode(Path(calibration).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the calibration: {error}", remedy="give the file it was saved to") from None


def observed(
    on_event: Observer | Sequence[Observer], calibrated: ModelCalibration | None, rule: Rule
) -> Observer | None:
    """Return one observer for all, with what watches for a drift away from a calibration, where there is one."""
    if calibrated is None:
        return fan_out(on_event)
    watching = Drift(calibrated, rule.k, lambda warning: warn(emit, warning))

    def _watch(event: Event) -> None:
        watching.add(event)

    emit = fan_out([*([on_event] if callable(on_event) else on_event), _watch])
    return emit


def limits_of(settings: Settings) -> Limits:
    """Return the budgets among the settings."""
    usd = None if settings.budget_usd is None else nano(settings.budget_usd)
    return Limits(settings.budget_calls, settings.budget_tokens, settings.budget_seconds, usd)


def take_up(model: Any, condition: tuple[str, ...], log: Log) -> None:
    """Give back to a model what the run's earlier segments had it learn, and journal what it learns from here on."""
    if hasattr(model, "condition"):
        model.restore(condition)
        log.watch_model(lambda: tuple(model.condition))


async def close(model: object) -> None:
    """Let go of what a model holds open, if it holds anything."""
    closing = getattr(model, "close", None)
    if closing is not None:
        await closing()


def reopened(opened: OpenBallot, view: TaskView, rule: Rule, item: int = 0) -> Poll:
    """Return the ballot that an earlier segment left open, with moves of the task's own types."""
    step = Step(opened.step, view.load(opened.state), opened.kind, item)
    if opened.k is not None:  # a person gave this one step another margin
        rule = with_k(rule, opened.k)
    votes = tuple((slot, _loaded(vote, view)) for slot, vote in opened.votes)
    return Poll(step, rule, msgspec.structs.replace(opened, votes=votes))


def _loaded(vote: Vote, view: TaskView) -> Vote:
    ranked = tuple(view.loaded(move) for move in vote.ranked)
    return msgspec.structs.replace(vote, move=view.loaded(vote.move), ranked=ranked)


@contextmanager
def opened(journal: Journal | str | Path | None) -> Iterator[Journal]:
    """Give a journal to write to; what is opened here is closed here, what was handed in stays open."""
    if journal is None or isinstance(journal, str | Path):
        store = open_journal(journal)
        try:
            yield store
        finally:
            store.close()
    else:
        yield journal


def _again(journal: Journal | str | Path | None, store: Journal) -> Reopen:
    """Return what gives the journal to a result that is read later: a file is opened anew, since ours is closed."""
    return lambda: opened(store if journal is None else journal)


def _new_id(task: Task) -> str:
    name = getattr(task, "spec", type(task).__name__.lower()).partition(":")[0]
    return f"{name}-{secrets.token_hex(4)}"
