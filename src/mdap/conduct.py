"""The branches of one run while they are driven: who is asked in each step, what it took, and where it is kept.

Settings, roles and the end of a run are decided elsewhere; here its branches share what all of them need.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec

from mdap import api
from mdap.core.budget import Budget
from mdap.core.errors import BudgetReached, FingerprintChanged, MdapError, RedFlag, Stop, Undecided, UsageError
from mdap.core.events import RowSettled, RunEnded, Started
from mdap.core.history import Acted, Decided, Resumed, RowEnded, RunHead, Snapshot, Spend
from mdap.core.prices import Tariff
from mdap.core.records import Decision, Move, Request, Response, RowStatus, State, Status, Step
from mdap.engine.accounts import Accounts
from mdap.engine.calling import Emit, Meter, retrying
from mdap.engine.confiding import confiding
from mdap.engine.drawing import drawing
from mdap.engine.durable import Log
from mdap.engine.growth import Growth, context_of
from mdap.engine.ledger import listed
from mdap.engine.poll import Poll
from mdap.engine.rows import Given, PerRow, Ride, Shared
from mdap.engine.stack import Stack, over, stacked
from mdap.engine.taskview import TaskView
from mdap.engine.tools import said_of
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.observers import Observer, beginning, warn
from mdap.parts import Parts, suited
from mdap.protocols import Clock, Complete, Journal, Model, Rule, Task
from mdap.roles import Cast, Casting, RoleTotals, total_of, totals_of
from mdap.spare import SpareModels
from mdap.tasks.catalog import task as task_named
from mdap.tools import GivenTools, task_with

_CONDITION = msgspec.json.Decoder(tuple[int, str])


class Staged(msgspec.Struct, frozen=True):
    """A run that is in the journal: its head, its roles, its origin, and the entry to begin with at a resume."""

    head: RunHead
    casting: Casting
    origin: dict[str, Any]
    resumed: Resumed | None = None


class Voice(NamedTuple):
    """A role as it is asked in this segment."""

    cast: Cast
    complete: Complete
    watch: Callable[[Request, Response], None] | None
    context: int | None


class Conduct:
    """The branches of a run. `run` is its id, `origin` what it was begun with, as JSON values."""

    def __init__(
        self,
        journal: Journal,
        staged: Staged,
        on_event: Observer | Sequence[Observer],
        clock: Clock,
        tools: GivenTools = (),
    ) -> None:
        self._tools = tools
        head, settings = staged.head, staged.casting.usual.settings
        self.run = head.id
        self.origin = staged.origin
        self._journal, self._staged, self._clock = journal, staged, clock
        # First of all: the history read next is to hold what this resume changes.
        if staged.resumed is not None:
            journal.append(head.id, staged.resumed)
        history = journal.history(head.id)
        self._book = history.book
        self._before = self._book.seconds
        self._seconds: float | None = None
        self._prices = head.prices if self._book.prices is None else self._book.prices
        history.snapshot = Snapshot(0, None)
        # A run of branches has no state of its own; the log that all of them share is one of no steps.
        self._log = Log(journal, history, TaskView(_NoSteps()), settings.record, clock)
        self._emit: Emit = api.observed(on_event, None, staged.casting.usual.rule)
        self._first = beginning(on_event)
        self._meter = Meter(Budget(api.limits_of(settings), self._book.spent), clock, self._log.lease, self._emit)
        self._whole = Accounts(journal, self._log, head, clock, self._book)
        self._meter.note = self._whole.note
        # The rest: what a step cost is put down with that step.
        self._log.watch_cost(lambda: self._meter.budget.spent.nano - self._whole.assigned)
        self._past, self._marks, self._ends = _stored(journal, staged)
        self._acts = journal.acts(head.id) if staged.resumed is not None else []
        self._tasks: dict[int, Task] = {}
        self._taken: set[int] = set()
        self._counts: Counter[RowStatus] = Counter()
        self._voices: dict[str, Voice] = {}
        self._growths: dict[tuple[int, str], Growth] = {}
        self._stacks = self._stacked_models()
        self._spare = self._spare_models()
        self._shared = self._made_shared()

    # ---- what is offered to whoever conducts ----

    async def branch(self, item: int, task: Task | str) -> State:
        """Return the state in which a task is done; what the journal holds of it is not asked again.

        `item` numbers the branch: the same branch at every resume, and no other one. Branches may run at the same time.
        Raises Undecided, BudgetReached, Stop, TaskError and all that ends a run, once it is journaled how far the
        branch has come.
        """
        # Two tasks under one number would each be given the other's decisions at a resume.
        if item in self._taken or item < 0:
            raise UsageError(f"branch {item} is not to be had twice", remedy="number branches from 0, each once")
        self._taken.add(item)
        end = self._ends.get(item)
        view = TaskView(task_named(task_with(self._tools, task)))
        self._tasks[item] = view.task
        ride: Ride | None = None
        try:
            # Taken out: a branch is had once, and its past may be long.
            given = Given(item, None, self._past.pop(item, []), self._marks.get(item, 0), end)
            ride = Ride(self._shared, given, view)
            state = await ride.walk()
        except CancelledError:
            self._leave(item, ride, "interrupted", "interrupted")
            raise
        except MdapError as error:
            self._leave(item, ride, _row_status(error), error.message)
            _name_branch(error, item)
            raise
        finally:
            self._tasks.pop(item, None)
        # An earlier segment has left it, and its entry would say so for ever.
        if end is not None and end.status != "done":
            self._whole.append(RowEnded(item, "done"))
        await self._whole.keep_up()
        self._settle(item, "done", "")
        return state

    def emit(self, event: Any) -> None:
        """Tell observers of something; a Stop of theirs is raised."""
        if self._emit is not None:
            self._emit(event)

    async def flush(self) -> None:
        """Return when everything that has been decided is durable: before anything leaves the process."""
        await self._journal.wait_durable(self._whole.ticket)

    async def note(self, item: int, step: int, act: str, reason: str = "") -> None:
        """Keep what is done beside the decisions, such as a tool's effect; it is durable once this returns."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        acted = Acted(step, act, reason=reason, at=now, item=item)
        self._acts.append(acted)
        self._whole.append(acted)
        await self.flush()

    def notes(self, item: int) -> list[Acted]:
        """Return what was noted of a branch, the oldest first, in earlier segments too."""
        return [acted for acted in self._acts if acted.item == item]

    def totals(self) -> dict[str, RoleTotals]:
        """Return what each role came to and took so far, by the kind of its steps, over all segments."""
        return totals_of(self._book, priced=bool(self._prices))

    def total(self) -> RoleTotals:
        """Return what the run came to and took so far; what is in flight is not in it."""
        return total_of(self._book, priced=bool(self._prices))

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far, over all segments."""
        return self._before + (self._meter.seconds if self._seconds is None else self._seconds)

    # ---- the segment ----

    def begin(self) -> None:
        """Tell observers that the segment has begun."""
        head, book = self._staged.head, self._book
        rule = self._staged.casting.usual.rule.spec
        started = Started(head.id, head.task, head.model, rule, book.steps, None, book.totals)
        self._meter.tell(started, self._first)

    async def end(self, status: Status, reason: str) -> None:
        """Make everything durable, the end of this segment included."""
        ended: Status = "error"
        try:
            # Both: branches hand over by the whole, and leases by the log.
            await self.flush()
            await self._log.flush()
            spent = self._meter.budget.spent
            # Held from here on: what is asked for later is what was journaled.
            seconds = self._seconds = self._meter.seconds
            # Those of calls whose step came to no entry.
            self._log.retried.update(self._whole.unassigned())
            spend = Spend(spent.calls, spent.tokens, spent.seconds + seconds, spent.nano)
            # Sorted: equal runs are to end equally, whichever of their branches was the first to settle.
            self._log.end(status, spend, seconds, reason, dict(sorted(self._counts.items())))
            await self._log.flush()
            ended = status
        finally:
            self._meter.tell(RunEnded(ended, reason))
            await self._spare.close()

    def _leave(self, item: int, ride: Ride | None, status: RowStatus, reason: str) -> None:
        if ride is not None:
            ride.leave(status, reason)
        self._settle(item, status, reason)

    def _settle(self, item: int, status: RowStatus, reason: str) -> None:
        self._counts[status] += 1
        self._meter.tell(RowSettled(item, status, reason))

    # ---- who is asked ----

    def _voice(self, kind: str) -> Voice:
        voice = self._voices.get(kind)
        if voice is None:
            cast = self._staged.casting.of(kind)
            assert cast.model is not None
            retried = self._whole.retried.setdefault(kind, {})
            # Repeats are counted by role, and so stand around each role's calls, not around the model's.
            call = retrying(
                self._stacks[id(cast.model)].model.complete, cast.settings.retries, self._clock, retried, self._emit
            )
            watch = api.independence_of(cast.model, cast.settings)
            voice = Voice(cast, self._meter.within_time(call), watch, cast.settings.context or context_of(cast.model))
            self._voices[kind] = voice
        return voice

    async def _vote(self, asking: Asking, step: Step, polls: dict[int, Poll]) -> Decision:
        """Decide one step by its role."""
        voice = self._voice(step.kind)
        decision = await do_voting(self._asking(asking, voice, step), voice.cast.rule, step, polls)
        self._whole.took(step, decision.samples)
        return decision

    def _asking(self, asking: Asking, voice: Voice, step: Step) -> Asking:
        usual, settings = self._shared.asking, voice.cast.settings
        if asking.settings is not usual.settings:
            # A remedy, or a person, has granted more than the caps.
            granted = asking.settings
            most = max(granted.max_samples, settings.max_samples)
            settings = msgspec.structs.replace(
                settings, max_samples=most, redraws=max(granted.redraws, settings.redraws)
            )
        where = step.item, step.kind
        if where not in self._growths:
            # By branch and role: prompts grow along the steps of one, and begin short again in another.
            self._growths[where] = Growth(voice.context, may_grow=True)
            # Before its first call: only the task says whether its replies hold what the rule reads.
            suited(voice.cast.rule, self._parts(voice.cast, asking.view))
        return msgspec.structs.replace(
            asking,
            complete=voice.complete if asking.complete is usual.complete else asking.complete,
            flags=voice.cast.flags,
            settings=settings,
            growth=self._growths[where],
            watch=voice.watch,
            confide=confiding(settings),
        )

    def _parts(self, cast: Cast, view: TaskView) -> Parts:
        return Parts(view, cast.model or self._staged.casting.models[0], cast.flags, cast.settings, owns_model=False)

    def _rule(self, kind: str) -> Rule:
        casting = self._staged.casting
        # Whoever has the word: what waits for a tool waits for no model.
        return casting.by_kind.get(kind, casting.usual).rule

    def _stacked_models(self) -> dict[int, Stack]:
        """Wrap each model once, whatever roles it has, and give back to it what it had learnt."""
        tariffs = {spec: Tariff(price) for spec, price in self._prices.items()}
        models = self._staged.casting.models
        # By identity: several roles may share a model, which need have no hash.
        found = {id(model): self._stack(model, tariffs) for model in models}
        knowing: dict[int, Any] = {
            number: found[id(model)].model
            for number, model in enumerate(models)
            if hasattr(found[id(model)].model, "condition")
        }
        for number, model in knowing.items():
            # A run has one condition and several models: each word stands with the number of its model.
            words = [_CONDITION.decode(told) for told in self._book.condition]
            model.restore([word for place, word in words if place == number])
        if knowing:
            self._log.watch_model(
                lambda: tuple(
                    msgspec.json.encode((number, word)).decode()
                    for number, model in knowing.items()
                    for word in model.condition
                )
            )
        return found

    def _stack(self, model: Model, tariffs: dict[str, Tariff]) -> Stack:
        settings = self._staged.casting.usual.settings
        routed = over(model, lambda one: PerRow(one, self._tasks) if hasattr(one, "bind") else one)
        around = listed(self._log.list_attempt) if settings.record == "samples" else None
        return stacked(routed, settings, self._meter, self._clock, {}, self._emit, tariffs=tariffs, around=around)

    def _spare_models(self) -> SpareModels:
        parts = self._parts(self._staged.casting.usual, TaskView(_NoSteps()))
        return SpareModels(parts, self._prices, self._stack, None)

    def _made_shared(self) -> Shared:
        usual = self._staged.casting.usual
        # Every step is asked by its role, which brings its own model, flags, caps and watches.
        asking = Asking(
            TaskView(_NoSteps()),
            _nobody,
            usual.flags,
            usual.settings,
            self._clock,
            self._emit,
            warn=partial(warn, self._emit),
            draw=drawing(usual.settings),
        )
        return Shared(
            whole=self._whole,
            asking=asking,
            view=TaskView,
            vote=self._vote,
            reopened=lambda ballot, view, item: api.reopened(ballot, view, self._rule(ballot.kind), item),
            complete=self._spare.complete,
            tasks=self._tasks,
            context=None,
            emit=self._emit,
            again=False,
            said=said_of(self._acts),
        )


class _NoSteps:
    """The run itself as a task: it has no steps, its branches have."""

    def start(self) -> State:
        """Return nothing."""
        return None

    def is_done(self, state: State) -> bool:
        """Say yes."""
        return True

    def prompt(self, state: State) -> str:
        """Ask nothing."""
        return ""

    def parse(self, text: str, state: State) -> Move:
        """Refuse a reply to nothing."""
        raise RedFlag("nothing was asked")


async def _nobody(request: Request) -> Response:
    """Refuse a call that no role makes."""
    raise UsageError(f"step {request.draw.step} is asked by no role", remedy="ask it in a branch")


def _stored(journal: Journal, staged: Staged) -> tuple[dict[int, list[Decided]], dict[int, int], dict[int, RowEnded]]:
    """Return what the journal holds of each branch: its decisions, its mark, and where it stands if not done."""
    past: dict[int, list[Decided]] = {}
    marks: dict[int, int] = {}
    if staged.resumed is None:
        return past, marks, {}
    # All at once, unlike the rows of a map: branches are asked for in any order.
    for entry in journal.row_decisions(staged.head.id):
        past.setdefault(entry.item, []).append(entry.decided)
        if entry.mark:
            marks[entry.item] = entry.mark
    return past, marks, {ended.item: ended for ended in journal.row_ends(staged.head.id)}


def _name_branch(error: MdapError, item: int) -> None:
    """Let an error say which branch its step is one of."""
    if isinstance(error, FingerprintChanged):
        error.message = f"branch {item} does not begin as it did when the run began"
        error.remedy = "begin a new run"
    elif error.step is not None:
        error.message = f"branch {item}, {error.message}"
        # The command was written for a chain; a step of a branch is shown, and resolved, by its row.
        for step in (f"--step {error.step}", f"mdap resolve RUN {error.step}"):
            error.remedy = error.remedy.replace(step, f"{step} --row {item}")


def _row_status(error: MdapError) -> RowStatus:
    if isinstance(error, Undecided):
        return "undecided"
    if isinstance(error, BudgetReached):
        return "budget"
    return "stopped" if isinstance(error, Stop) else "error"
