"""The blocking forms of the public functions. They work in scripts and where an event loop runs already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, Unpack

from mdap import agents, api, asked, calibrating, doing, mapping, voted
from mdap.agent_result import AgentResult
from mdap.core.calibrated import Calibration
from mdap.core.formats import Format
from mdap.core.keys import Judged, Key
from mdap.core.records import Message
from mdap.core.redflags import RedFlagCheck, RedFlags
from mdap.models.probed import Report
from mdap.observers import Observer
from mdap.parts import Asked, Changes, Options, Prices, combined
from mdap.planning.steps import Steps
from mdap.protocols import Clock, Journal, Model, Rule, Task
from mdap.result import Result
from mdap.rowio import Mapped, Output, TaskFactory
from mdap.tools import GivenTools

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, run to its end from code that is not asynchronous.

    Where a loop runs in this thread already (a notebook), another thread runs the work; KeyboardInterrupt then
    cancels it there and is raised here once it has ended.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # The plain case stays in this thread: Ctrl-C, context variables and tracebacks are as anybody expects them.
        return asyncio.run(work)
    # A task can be cancelled only by way of its loop, and both are made in the other thread.
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def _main() -> T:
        this = asyncio.current_task()
        assert this is not None
        begun.set_result((asyncio.get_running_loop(), this))
        return await work

    # Not the running loop: its owner is this very code, which waits, so that nothing in it could go on.
    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(asyncio.run, _main())
        try:
            return result.result()
        # Ctrl-C reaches the main thread alone, and leaving the pool waits for the other one.
        except KeyboardInterrupt:
            loop, task = begun.result()
            # It may have ended at this moment, and its loop with it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
            raise


async def _closing(model: object, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; the loop that the model's connections belong to ends with it."""
    try:
        return await work
    finally:
        await api.close(model)


def run(
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
    """Return the result of one task, run to its end: see `mdap.aio.run`, of which this is the blocking form."""
    # Combined here already, so that all that was handed in can be let go of before this loop ends.
    all_models = combined(model, fallback, mix)
    work = api.run(
        task,
        all_models,
        k=k,
        rule=rule,
        journal=journal,
        calibration=calibration,
        probe=probe,
        prices=prices,
        free=free,
        red_flags=red_flags,
        extra_flags=extra_flags,
        tools=tools,
        on_event=on_event,
        clock=clock,
        **options,
    )
    return wait(_closing(all_models, work))


def resume(
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
    """Return the result of a run taken up where its journal ends: see `mdap.aio.resume`."""
    # Argument by argument, as everywhere here: editors and type checkers are to know each of them.
    work = api.resume(
        run,
        journal=journal,
        task=task,
        model=model,
        rule=rule,
        calibration=calibration,
        probe=probe,
        prices=prices,
        free=free,
        red_flags=red_flags,
        extra_flags=extra_flags,
        tools=tools,
        accept_changes=accept_changes,
        on_event=on_event,
        clock=clock,
        **changes,
    )
    return wait(_closing(model, work))


def map(
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
    **options: Unpack[Options],
) -> Mapped:
    """Return what many short runs came to, one for each of `items`: see `mdap.aio.map`."""
    all_models = combined(model, fallback, mix)
    work = mapping.map(
        task_factory,
        items,
        all_models,
        k=k,
        rule=rule,
        journal=journal,
        output=output,
        run=run,
        retry_failed=retry_failed,
        calibration=calibration,
        prices=prices,
        free=free,
        red_flags=red_flags,
        extra_flags=extra_flags,
        tools=tools,
        on_event=on_event,
        clock=clock,
        total=total,
        **options,
    )
    return wait(_closing(all_models, work))


def calibrate(
    task: Task | str,
    models: Model | str | Callable[..., Any] | Sequence[Model | str | Callable[..., Any]],
    *,
    samples: int = 1000,
    target: float = 0.95,
    steps: int | None = None,
    prices: Prices | None = None,
    free: bool = False,
    batch: calibrating.Batching | None = None,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    on_event: Observer | Sequence[Observer] = (),
    on_prospect: Callable[[Sequence[calibrating.Prospect]], None] | None = None,
    clock: Clock | None = None,
    **options: Unpack[Options],
) -> Calibration:
    """Return how often models are right on a task, and the k that takes: see `mdap.aio.calibrate`."""
    work = calibrating.calibrate(
        task,
        models,
        samples=samples,
        target=target,
        steps=steps,
        prices=prices,
        free=free,
        batch=batch,
        red_flags=red_flags,
        extra_flags=extra_flags,
        on_event=on_event,
        on_prospect=on_prospect,
        clock=clock,
        **options,
    )
    # A spec is a sequence, too, of letters.
    for model in models if isinstance(models, Sequence) and not isinstance(models, str) else [models]:
        work = _closing(model, work)
    return wait(work)


def ask(
    prompt: str | Sequence[Message],
    model: Model | str | Callable[..., Any],
    *,
    k: int | None = None,
    rule: Rule | str | None = None,
    schema: Mapping[str, Any] | None = None,
    record: Any = None,
    pattern: str | None = None,
    one_of: Sequence[str] | None = None,
    format: Format | None = None,
    key: str | Key | Judged | None = None,
    p: float | None = None,
    journal: Journal | str | Path | None = None,
    prices: Prices | None = None,
    free: bool = False,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    on_event: Observer | Sequence[Observer] = (),
    clock: Clock | None = None,
    **options: Unpack[asked.AskOptions],
) -> asked.Answer:
    """Return the voted answer to one question: see `mdap.aio.ask`, of which this is the blocking form."""
    work = asked.ask(
        prompt,
        model,
        k=k,
        rule=rule,
        schema=schema,
        record=record,
        pattern=pattern,
        one_of=one_of,
        format=format,
        key=key,
        p=p,
        journal=journal,
        prices=prices,
        free=free,
        red_flags=red_flags,
        extra_flags=extra_flags,
        on_event=on_event,
        clock=clock,
        **options,
    )
    # The model that groups answers may have been handed in as an object, too.
    judge = key.model if isinstance(key, Judged) else None
    return wait(_closing(judge, _closing(model, work)))


def vote(
    sampler: Callable[[], Any],
    *,
    k: int | None = None,
    rule: Rule | str | None = None,
    flags: Sequence[Callable[[Any], str | None]] = (),
    key: str | Key | Judged | None = None,
    confidence: Callable[[Any], float] | None = None,
    max_samples: int | None = None,
    in_flight: int | None = None,
) -> voted.Voted:
    """Return the outcome of a vote without a task: see `mdap.aio.vote`."""
    work = voted.vote(
        sampler,
        k=k,
        rule=rule,
        flags=flags,
        key=key,
        confidence=confidence,
        max_samples=max_samples,
        in_flight=in_flight,
    )
    return wait(_closing(key.model if isinstance(key, Judged) else None, work))


def plan(prompt: str, model: Asked | None = None, **options: Unpack[doing.PlanOptions]) -> doing.Plan:
    """Return the plan that a planner proposes for a prompt and judges agree to: see `mdap.aio.plan`."""
    return wait(_closing_all(model, options, doing.plan(prompt, model, **options)))


def execute(
    plan: doing.Plan | Steps, prompt: str, model: Asked | None = None, **options: Unpack[doing.ExecuteOptions]
) -> doing.Execution:
    """Return the state that a plan leads to, carried out batch by batch: see `mdap.aio.execute`."""
    return wait(_closing_all(model, options, doing.execute(plan, prompt, model, **options)))


def do(prompt: str, model: Asked | None = None, **options: Unpack[doing.DoOptions]) -> doing.Execution:
    """Return the state that a plan for a prompt leads to, planned and carried out in one run: see `mdap.aio.do`."""
    return wait(_closing_all(model, options, doing.do(prompt, model, **options)))


def _closing_all(model: object, options: Mapping[str, Any], work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    # Each of them may be an object that was handed in, with connections that end with this loop.
    for one in (model, *(options.get(name) for name in doing.ROLE_MODELS)):
        work = _closing(one, work)
    return work


class Agent(agents.Agent):
    """Divides tasks, solves the parts and composes their results, by votes: see `mdap.aio.Agent`."""

    def run(self, task: str, *, run: str | None = None) -> AgentResult:  # type: ignore[override]  # it blocks
        """Return what a task came to: see `mdap.aio.Agent.run`, of which this is the blocking form."""
        return wait(self._closing(super().run(task, run=run)))

    def resume(self, run: str) -> AgentResult:  # type: ignore[override]  # it blocks
        """Return what a run that the journal holds came to, taken up where its journal ends."""
        return wait(self._closing(super().resume(run)))

    async def _closing(self, work: Coroutine[Any, Any, AgentResult]) -> AgentResult:
        # Connections belong to the loop, and each blocking call has one of its own.
        for model in self.models():
            work = _closing(model, work)
        return await work
