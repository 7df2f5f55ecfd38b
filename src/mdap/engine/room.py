"""How many calls at once are of use to a run: what its limits and its models' paces let through. Holds nobody up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from mdap.core.settings import Settings
from mdap.engine.pace import pace_of
from mdap.protocols import Clock, Model

Room: TypeAlias = Callable[[float], float]

# A rate lets through so many calls a second; with as many more under way it is never idle.
SLACK = 2.0


def room_of(models: Iterable[Model], settings: Settings, clock: Clock) -> Room:
    """Return what says how many calls at once are of use now, given how many seconds one takes.

    More would wait for a place in `in_flight`, for a model that has answered 429, or for `requests_per_minute`, and
    keep from it what is asked later and needed sooner. Call it on the event loop of the run.
    """
    paces = [pace_of(model, clock) for model in models]
    rate = float("inf") if settings.requests_per_minute is None else settings.requests_per_minute / 60

    def _room(latency: float) -> float:
        # Models that are asked in turn, or for one another, have each their own places.
        allowed = sum([pace.places.allowed for pace in paces])
        # One at least: however slow the rate is, something has to be under way for the next vote to come.
        return min(settings.in_flight, allowed, max(1.0, SLACK * rate * latency))

    return _room
