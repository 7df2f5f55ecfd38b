"""Observers that come with mdap: several as one, and the standard library's logger `mdap`. They alter nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mdap.core.errors import Stop
from mdap.core.events import Event, Flagged, Retried, RunEnded, Started, StepDecided, StepUndecided, Warned

logger = logging.getLogger("mdap")

Observer = Callable[[Event], None]


def fan_out(observers: Observer | Sequence[Observer]) -> Observer | None:
    """Return one observer that tells all of `observers` and the logger; None if nobody would listen.

    All are told before a Stop of one of them ends the run. Any other error of an observer is logged with its traceback,
    and the run goes on. Those whose attribute `once` is true are left out: see `beginning`.
    """
    listening = [observer for observer in _listed(observers) if not getattr(observer, "once", False)]
    # Looked at once, not at each event: a run that nobody follows pays nothing for being followed.
    if logger.isEnabledFor(logging.INFO):
        listening.append(log_event)
    return _telling(listening) if listening else None


def beginning(observers: Observer | Sequence[Observer]) -> Observer | None:
    """Return one observer that tells those of `observers` whose attribute `once` is true; None if there are none.

    They hear the first event, Started, and no other: making the others has its price.
    """
    once = [observer for observer in _listed(observers) if getattr(observer, "once", False)]
    return _telling(once) if once else None


def _listed(observers: Observer | Sequence[Observer]) -> list[Observer]:
    return [observers] if callable(observers) else list(observers)


def _telling(listening: Sequence[Observer]) -> Observer:

    def _tell(event: Event) -> None:
        stopped = None
        for observer in listening:
            try:
                observer(event)
            except Stop as stop:
                stopped = stopped or stop
            except Exception:  # an observer may be anybody's code, and must not be able to alter a run
                logger.exception("observer %r failed", observer)
        if stopped is not None:
            raise stopped

    return _tell


def warn(tell: Observer | None, warning: Warned) -> None:
    """Tell `tell`, and the logger even where it hears of nothing else: nobody should have to ask for a warning."""
    # Else it is among those whom `tell` tells, and would hear of it twice.
    if not logger.isEnabledFor(logging.INFO):
        log_event(warning)
    if tell is not None:
        tell(warning)


def log_event(event: Event) -> None:
    """Log one event without any prompt, reply or key: decisions at DEBUG, flags and retries at INFO, stops above."""
    match event:
        case StepDecided(decision=decision):
            logger.debug("step %d decided, votes %s", decision.step, list(decision.votes))
        case Flagged():
            logger.info("step %d, slot %d, redraw %d: flag %s", event.step, event.slot, event.redraw, event.name)
        case Retried():
            logger.info("step %d: retry %d after %s in %.2f s", event.step, event.attempt, event.kind, event.wait)
        case Warned():
            logger.warning("step %d: %s", event.step, event.message)
        case StepUndecided():
            logger.warning("step %d undecided, votes %s", event.step, list(event.votes))
        case Started():
            logger.info(
                "run %s: %s with %s by %s from step %d", event.run, event.task, event.model, event.rule, event.step
            )
        case RunEnded():
            logger.info("ended: %s", event.status)
