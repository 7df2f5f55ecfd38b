"""The `complete` of a run: a model in the wrappers that bound, meter, pace and repeat its calls, one member at a time.

Here the wrappers meet; each is written where its own matter is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mdap.core.prices import Tariff
from mdap.core.settings import Settings
from mdap.engine.blamed import blamed, is_ours
from mdap.engine.calling import Emit, Meter, retrying, timed
from mdap.engine.pace import pace_of, paced
from mdap.engine.together import gathered
from mdap.protocols import Clock, Complete, Model


class Stack(NamedTuple):
    """The `complete` of a run, and the model that stands in it, whose condition is the run's."""

    complete: Complete
    model: Model


class Member:
    """A model as combined models call it in a run: the same, with calls that are bounded, metered and paced."""

    def __init__(self, model: Model, complete: Complete) -> None:
        self.spec = model.spec
        self.complete = complete
        self._model = model

    # All else that a run finds on a model by presence, such as `profile`, is the model's own.
    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def stacked(
    model: Model,
    settings: Settings,
    meter: Meter,
    clock: Clock,
    retried: dict[str, int],
    emit: Emit,
    *,
    tariffs: Mapping[str, Tariff] | None = None,
    around: Callable[[Complete], Complete] | None = None,
) -> Stack:
    """Return the `complete` of a run on this event loop.

    Of combined models each has a pace and, in `tariffs`, by its spec, a price of its own. `around` is laid around each
    call that goes out.
    """

    def _called(one: Model) -> Complete:
        call = gathered(one, settings.share_draws)
        if not is_ours(one):
            call = blamed(one.spec, call)
        # Innermost: it sees each call that really goes out, every repeat included.
        if around is not None:
            call = around(call)
        # The time limit inside of the meter: a call that it ends is settled as one that no reply came back from.
        call = meter.metered(timed(call, settings.timeout, meter.tempo), (tariffs or {}).get(one.spec))
        rates = settings.requests_per_minute, settings.tokens_per_minute
        return paced(call, pace_of(one, clock), settings.in_flight, *rates)

    stacked_model = over(model, lambda one: Member(one, _called(one)))
    # Retries stand outside: each attempt waits for its own place and is reserved on its own, since each may be billed.
    complete = retrying(stacked_model.complete, settings.retries, clock, retried, emit)
    return Stack(meter.within_time(complete), stacked_model)


def over(model: Any, change: Callable[[Any], Model]) -> Model:
    """Return the model changed; of combined models, the same of each of its members changed."""
    if not hasattr(model, "over"):
        return change(model)
    changed: Model = model.over(lambda member: over(member, change))
    return changed


def members(model: Any) -> list[Model]:
    """Return the models that answer: of combined models all members, else the model alone."""
    found: list[Model] = []

    def _note(one: Model) -> Model:
        found.append(one)
        return one

    over(model, _note)
    return found
