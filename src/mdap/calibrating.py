"""Calibration as a call of the library: which states are drawn, what it will take, and the drawing for each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal, Unpack

import msgspec

from mdap.api import close, limits_of
from mdap.clock import RunningClock
from mdap.core.budget import Budget
from mdap.core.calibrated import Calibration, ModelCalibration, StatesFrom, comparable, ranked
from mdap.core.calibration import AGAIN, kinds_of
from mdap.core.confidence import SOURCES
from mdap.core.errors import UsageError
from mdap.core.history import Spend
from mdap.core.plain import plain
from mdap.core.prices import Tariff, UnitPrices
from mdap.core.records import State
from mdap.core.redflags import RedFlagCheck, RedFlags
from mdap.core.rules.weighing import check_drawn
from mdap.core.scaling.checks import target as checked_target
from mdap.core.scaling.checks import whole
from mdap.core.settings import Settings
from mdap.core.verdict import judge
from mdap.engine.calibrate import REFERENCE_K, Stopwatch, collect
from mdap.engine.calling import Meter
from mdap.engine.confiding import confiding
from mdap.engine.stack import stacked
from mdap.engine.vote import Asking
from mdap.models.submissions import Patience, Submissions
from mdap.observers import Observer, fan_out
from mdap.parts import Options, Parts, Prices, choose_rule, fingerprint_of, parts_of, prices_of, settings_of
from mdap.protocols import Clock, Model, Task

# Steps of a task that has no `sample` are met by walking its answers from the start, no farther than this.
LONGEST_WALK = 200_000
# A token is about so many characters of English text; the bound that a budget reserves by is four times as high.
CHARACTERS = 4


class Prospect(msgspec.Struct, frozen=True):
    """What a calibration will take of one model: `calls` at most (retries apart), and the tokens of so many.

    `tokens_in` is reckoned from the first prompt at 4 characters a token; `tokens_out_most` is the cap of every reply.
    `usd_most`: what such tokens cost; None without a price.
    """

    model: str
    calls: int
    tokens_in: int
    tokens_out_most: int
    usd_most: float | None = None


class Batching(msgspec.Struct, frozen=True):
    """That the calls of a calibration go by the providers' batches, and how long those are waited for.

    `file` remembers what is in which batch, so that a calibration that was killed goes on with the same; None: nothing
    does. `anew` forgets what it remembers.
    """

    file: str | Path | None = None
    anew: bool = False
    patience: Patience = Patience()


async def calibrate(
    task: Task | str,
    models: Model | str | Callable[..., Any] | Sequence[Model | str | Callable[..., Any]],
    *,
    samples: int = 1000,
    target: float = 0.95,
    steps: int | None = None,
    prices: Prices | None = None,
    free: bool = False,
    batch: Batching | None = None,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    on_event: Observer | Sequence[Observer] = (),
    on_prospect: Callable[[Sequence[Prospect]], None] | None = None,
    clock: Clock | None = None,
    **options: Unpack[Options],
) -> Calibration:
    """Return how often each model is right on random steps of a task, what k that takes, and what it cannot say.

    `samples` model calls are made of each model, on states that the task's `sample` draws, or else on those that its
    `answer` leads through, or else on those of a short run by votes. What is right is the task's `answer`; without one,
    what votes with a margin of 6 settle on. Four fifths of the samples are of different states, the others of those
    that went wrong. With `confidence` the result says, too, whether the rule log_odds is worth its weights, and with
    which scale and shift; a source that takes a second call doubles the calls.
    `steps` and `target` are those of the run to come (the task's own, where it knows them).
    `on_prospect` is told, before the first call, what each model will take. The options are those of `run`; budgets
    are of each model, and end its drawing early; `prices` and `free` say what its calls cost. `batch` sends them by the
    providers' batches, at half the price and within a day; latency is not measured then.

    A model for which voting cannot help is in the result with its reason; its `k` raises VotingCannotHelp. Raises
    UsageError for what cannot be calibrated, ModelError where a model gives no reply, Stop where a batch takes longer
    than it is to be waited for: the same call then goes on with it.
    """
    count, goal = whole("samples", samples), checked_target(target)
    all_parts = [
        parts_of(task, model, lambda bound: settings_of(bound, dict(options)), red_flags, extra_flags)
        for model in (models if isinstance(models, Sequence) and not isinstance(models, str) else [models])
    ]
    costs = [_costs(parts, prices, batch, free=free) for parts in all_parts]
    if batch is not None and any(_second_calls(parts.settings) for parts in all_parts):
        raise UsageError("a batch asks nothing twice", remedy="leave --batch out, or take --confidence logprobs")
    if not all_parts:
        raise UsageError("there is no model to calibrate", remedy="give at least one")
    first = all_parts[0]
    size = _steps(first.view.task, steps)
    states_from, states = _states(first, count)
    if on_prospect is not None:
        on_prospect([_prospect(parts, count, cost) for parts, cost in zip(all_parts, costs, strict=True)])
    submitted = _submissions(all_parts, states, batch)
    try:
        found = [  # one model after the other: side by side, each would slow the others down
            await _calibrated(
                _by_batches(parts, count, batch, submitted, clock), cost, states, count, size, goal, on_event, clock
            )
            for parts, cost in zip(all_parts, costs, strict=True)
        ]
    finally:
        for parts in all_parts:
            if parts.owns_model:
                await close(parts.model)
    submitted.close_all()  # only here: after an error the next attempt goes on with the same batches
    priced = [
        msgspec.structs.replace(model, prices=_price(parts, prices, free=free))
        for model, parts in zip(found, all_parts, strict=True)
    ]
    return _result(first, goal, size, count, states_from, ranked(priced))


def _result(
    parts: Parts,
    target: float,
    steps: int,
    samples: int,
    states_from: StatesFrom,
    models: tuple[ModelCalibration, ...],
) -> Calibration:
    name = fingerprint_of(parts, choose_rule(None, None))["task"]
    seed, heat = parts.settings.seed, parts.settings.temperature
    truth_from: Literal["votes", "answer"] = "votes" if _truth(parts) is None else "answer"
    return Calibration(name, target, steps, samples, seed, heat, states_from, truth_from, models)


def _costs(parts: Parts, prices: Prices | None, batch: Batching | None, *, free: bool) -> dict[str, UnitPrices]:
    found = prices_of(parts, prices, free=free)
    if batch is None:
        return found
    from mdap.models.batches import halved

    return {spec: halved(price) for spec, price in found.items()}


def _submissions(all_parts: Sequence[Parts], states: Sequence[State] | None, batch: Batching | None) -> Submissions:
    """Return what was submitted before; raises UsageError, before any call, for what no batch could do."""
    if batch is None:
        return Submissions()
    # Here, not above: it loads the network library, which most calibrations of models in the process never need.
    from mdap.models.batches import service_of

    for parts in all_parts:
        # For what it raises, of a model whose provider takes no batches.
        service_of(parts.model)
    if states is None:
        raise UsageError(
            "without `sample` or `answer` the states of this task are found step by step, each a batch of its own",
            remedy="give the task a `sample`, or calibrate without --batch",
        )
    submitted = Submissions(batch.file)
    if batch.anew:
        submitted.forget()
    return submitted


def _by_batches(
    parts: Parts, samples: int, batch: Batching | None, submitted: Submissions, clock: Clock | None
) -> Parts:
    """Return the same parts, whose model is asked by batches; all that can be asked together goes into one."""
    if batch is None:
        return parts
    from mdap.models.batches import Batched

    model = Batched(parts.model, submitted, clock or RunningClock(), batch.patience)
    # The patience with a batch bounds the wait, and says how to go on; a timeout of the call would only cut it short.
    together = {"in_flight": max(samples, parts.settings.in_flight), "timeout": 4 * batch.patience.limit + 3600}
    settings = msgspec.structs.replace(parts.settings, **together)
    return msgspec.structs.replace(parts, model=model, settings=settings)


def _price(parts: Parts, prices: Prices | None, *, free: bool) -> UnitPrices | None:
    """The prices of a run's calls, which no batch halves; None where several models share the votes."""
    known = list(prices_of(parts, prices, free=free).values())
    return known[0] if len(known) == 1 else None


async def _calibrated(
    parts: Parts,
    prices: Mapping[str, UnitPrices],
    states: Sequence[State] | None,
    samples: int,
    steps: int,
    target: float,
    on_event: Observer | Sequence[Observer],
    clock: Clock | None,
) -> ModelCalibration:
    settings = parts.settings
    # A flagged sample is not drawn again here, but a cap of no redraws would make it an error.
    settings = msgspec.structs.replace(settings, redraws=max(1, settings.redraws))
    clock = clock or RunningClock()
    emit = fan_out(on_event)
    watch = Stopwatch(clock)
    budget = Budget(limits_of(settings), Spend())
    meter = Meter(budget, clock, _no_lease, emit)
    tariffs = {spec: Tariff(price) for spec, price in prices.items()}
    # Timed innermost, below waits and repeats: what counts is how long one call takes.
    complete, _ = stacked(parts.model, settings, meter, clock, {}, emit, tariffs=tariffs, around=watch.timing)
    confide = confiding(settings)
    asking = Asking(parts.view, complete, parts.flags, settings, clock, emit, tempo=meter.tempo, confide=confide)
    found = await collect(asking, watch, states, _truth(parts), samples)
    if not found.drawn:
        raise UsageError(
            f"no sample was drawn of {parts.model.spec}: {found.stopped or 'no state could be settled by votes'}",
            remedy="raise the budget or --samples",
        )
    if getattr(parts.model, "is_batched", False):
        # What a batch took says nothing of a call.
        found.drawn = [msgspec.structs.replace(sample, seconds=0.0) for sample in found.drawn]
    kinds = kinds_of(found.drawn)
    fingerprint = fingerprint_of(parts, choose_rule(None, None))
    return ModelCalibration(
        parts.model.spec,
        fingerprint["model"],
        comparable(fingerprint),
        watch.calls,
        kinds,
        judge(kinds, steps, target),
        found.unsettled,
        found.stopped,
        weighing=check_drawn(found.drawn, _second_calls(settings)),
    )


def _second_calls(settings: Settings) -> int:
    """Return how many calls more a vote takes for its confidence."""
    return 0 if settings.confidence is None or SOURCES[settings.confidence] is None else 1


async def _no_lease(lease: Spend) -> None:
    """Nothing outlives a calibration that was killed, so nobody needs to know what it had set aside."""


def _truth(parts: Parts) -> Callable[[State], Any] | None:
    return getattr(parts.view.task, "answer", None)


def _steps(task: Task, steps: int | None) -> int:
    known = getattr(task, "steps", None) if steps is None else steps
    if known is None:
        raise UsageError("the task does not say how many steps it has", remedy="give --steps, those of the run to come")
    return whole("steps", known)


def _prospect(parts: Parts, samples: int, costs: Mapping[str, UnitPrices]) -> Prospect:
    messages = parts.view.prompt(parts.view.start()).messages
    tokens = sum(len(message.content) for message in messages) // CHARACTERS
    # A vote that stands in for an answer ends when it is settled, which may be a little past the last call planned.
    calls = samples if _truth(parts) is not None else samples + REFERENCE_K * parts.settings.in_flight
    calls += samples * _second_calls(parts.settings)
    most = parts.settings.max_tokens
    # The dearest of several models: any of them may be asked.
    usd = [float(price.input) * tokens + float(price.output) * most for price in costs.values()]
    return Prospect(parts.model.spec, calls, tokens * calls, most * calls, max(usd) * calls / 1e6 if usd else None)


def _states(parts: Parts, samples: int) -> tuple[StatesFrom, list[State] | None]:
    """Return where states come from, and the states; None where votes have to find them."""
    view, wanted = parts.view, max(1, round(samples * (1 - AGAIN)))
    sample, truth = getattr(view.task, "sample", None), _truth(parts)
    # Each state has a source of its own: more samples add states and change none.
    # A text seeds Random by its digest, which, unlike hash(), is the same in every process. States that are done, or
    # that have no answer, are passed over: so many are tried.
    sources = (Random(f"state {parts.settings.seed} {number}") for number in range(10 * wanted + 100))
    if sample is not None:
        drawn = (view.load(plain(sample(source))) for source in sources)
        states = _some((state for state in drawn if not view.is_done(state)), truth, wanted)
        return "sample", states
    if truth is not None:
        return "answer", _walked(parts, truth, wanted)
    return "votes", None


def _some(drawn: Any, truth: Callable[[State], Any] | None, wanted: int) -> list[State]:
    states = []
    for state in drawn:
        if truth is None or truth(state) is not None:
            states.append(state)
            if len(states) == wanted:
                return states
    # Fewer than were wanted will do: a task may have few.
    if not states:
        raise UsageError("the task's `sample` gives no state with an answer", remedy="mend `sample`, or `answer`")
    return states


def _walked(parts: Parts, truth: Callable[[State], Any], wanted: int) -> list[State]:
    """Return `wanted` states from along the path of right answers, all of them equally likely (a reservoir)."""
    view, source = parts.view, Random(f"walk {parts.settings.seed}")
    kept: list[State] = []
    state, met = view.start(), 0
    while met < LONGEST_WALK and not view.is_done(state):
        right = truth(state)
        if right is None:
            break
        met += 1
        if len(kept) < wanted:
            kept.append(state)
        elif (place := source.randrange(met)) < wanted:
            kept[place] = state
        state = view.load(plain(right.next_state))
    if not kept:
        raise UsageError("the task is done before its first step", remedy="calibrate a task that has steps")
    # A short task is sampled more than once in each of its states.
    return [kept[number % len(kept)] for number in range(wanted)]
