"""Observers: they see every event in order, may stop a run, and can alter nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.errors import Stop
from mdap.core.events import Called, Event, Flagged, Retried, RunEnded, Started, StepDecided, StepUndecided
from mdap.core.records import Decision, Move, Totals
from mdap.observers import fan_out, log_event
from tests.engine.support import Chancy, Pairs, exported, plain_run

CHANCE: dict[str, Any] = {"p": 0.7, "flags": 0.3, "faults": 0.3, "latency": 2.0}


def watched_run(*observers: Any, **options: Any) -> Any:
    model = Chancy(**CHANCE)
    return run_virtual(plain_run(Pairs(6), model, on_event=list(observers), retries=50, redraws=50, **options))


def test_events_are_complete_and_in_order() -> None:
    told: list[Event] = []
    result = watched_run(told.append)
    assert isinstance(told[0], Started)
    assert told[-1] == RunEnded("done", "")
    assert sum(isinstance(event, Started | RunEnded) for event in told) == 2
    decided = [event.decision for event in told if isinstance(event, StepDecided)]
    assert [decision.step for decision in decided] == list(range(6))
    assert [decision.move.next_state for decision in decided] == [line["next_state"] for line in result.export()]
    in_flight = 0
    step = 0
    for event in told:
        if isinstance(event, Called):
            in_flight += event.change
            assert in_flight >= 0
        if isinstance(event, Flagged | Retried):
            assert event.step == step
        if isinstance(event, StepDecided):
            assert in_flight == 0
            step += 1
    assert in_flight == 0


def test_an_observer_that_fails_is_logged_and_alters_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise ZeroDivisionError("an observer's bug")

    told: list[Event] = []
    result = watched_run(broken, told.append)
    assert exported(result) == exported(watched_run())
    assert isinstance(told[-1], RunEnded)
    records = [record for record in caplog.records if record.name == "mdap"]
    assert len(records) == len(told)
    assert all("an observer's bug" in str(record.exc_info) for record in records)


def test_an_observer_that_changes_what_it_is_given_alters_nothing() -> None:
    def vandal(event: Event) -> None:
        if isinstance(event, StepDecided):
            event.decision.move.next_state["n"] = 100
            event.decision.move.action.clear()
            event.totals.samples = 10**6

    assert exported(watched_run(vandal)) == exported(watched_run())
    assert watched_run(vandal).samples == watched_run().samples


def test_a_stop_ends_the_run_by_name_with_its_reason_and_its_siblings_are_told() -> None:
    told: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event, StepDecided) and event.decision.step == 2:
            raise Stop("seen enough", remedy="go home")

    result = watched_run(stop, told.append)
    assert (result.status, result.steps, result.reason) == ("stopped", 3, "seen enough. go home")
    assert told[-1] == RunEnded("stopped", "seen enough. go home")
    assert sum(isinstance(event, StepDecided) for event in told) == 3


@pytest.mark.parametrize("kind", [Started, Called, Flagged, Retried, StepDecided])
def test_a_stop_may_be_raised_at_any_event(kind: type[Event]) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, kind):
            raise Stop("now")

    told: list[Event] = []
    result = watched_run(stop, told.append)
    assert (result.status, result.reason) == ("stopped", "now")
    assert result.steps <= 1
    assert sum(event.change for event in told if isinstance(event, Called)) == 0


def test_a_stop_at_the_end_comes_too_late() -> None:
    def stop(event: Event) -> None:
        if isinstance(event, RunEnded):
            raise Stop("too late")

    assert watched_run(stop).status == "done"


def test_a_stop_at_the_start_makes_no_call() -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Started):
            raise Stop("not today")

    model = Chancy()
    result = run_virtual(plain_run(Pairs(6), model, on_event=stop))
    assert (result.status, model.requests) == ("stopped", [])


def test_one_observer_needs_no_list_and_without_any_nobody_listens() -> None:
    told: list[Event] = []
    watched_run()
    run_virtual(plain_run(Pairs(2), Chancy(), on_event=told.append))
    assert told
    assert fan_out(()) is None


def test_the_log_has_decisions_flags_retries_and_stops_and_no_prompt_reply_or_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "sk-very-secret"
    events: list[tuple[Event, int, str]] = [
        (Started("r-1", "hanoi", "simulated", "ahead_by_k:3", 4, 7, Totals()), logging.INFO, "run r-1: hanoi with"),
        (StepDecided(Decision(4, Move(secret, secret), (3, 1)), Totals()), logging.DEBUG, "step 4 decided"),
        (Flagged(4, 1, 2, "malformed", secret), logging.INFO, "step 4, slot 1, redraw 2: flag malformed"),
        (Retried(4, 2, "429", secret, 1.25), logging.INFO, "step 4: retry 2 after 429 in 1.25 s"),
        (StepUndecided(4, (2, 2), secret), logging.WARNING, "step 4 undecided, votes [2, 2]"),
        (RunEnded("undecided", secret), logging.INFO, "ended: undecided"),
    ]
    with caplog.at_level(logging.DEBUG, logger="mdap"):
        for event, _, _ in events:
            log_event(event)
    assert [record.levelno for record in caplog.records] == [level for _, level, _ in events]
    for record, (_, _, said) in zip(caplog.records, events, strict=True):
        assert said in record.getMessage()
        assert secret not in record.getMessage()


def test_a_run_logs_itself_when_the_logger_listens(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mdap"):
        result = watched_run()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith(f"run {result.run}: pairs with chancy by ahead_by_k:3 from step 0")
    assert messages[-1] == "ended: done"
    assert sum(": flag " in message for message in messages) == sum(result.flagged.values())
    assert sum(": retry " in message for message in messages) == sum(result.retries.values())
    assert not any("You are at" in message for message in messages)


def test_an_observer_that_listens_once_hears_the_start_and_no_more() -> None:
    heard: list[str] = []
    whole: list[str] = []

    def first(event: Event) -> None:
        heard.append(type(event).__name__)

    first.once = True  # type: ignore[attr-defined]
    result = mdap.run("hanoi:disks=3", "simulated:p=1", k=1, on_event=[first, lambda e: whole.append(type(e).__name__)])
    assert result.status == "done"
    assert heard == ["Started"]
    assert len(whole) > 7


def test_an_observer_that_listens_once_can_stop_the_run_and_its_bug_alters_nothing() -> None:
    def stopping(event: Event) -> None:
        raise Stop("not today")

    def broken(event: Event) -> None:
        raise KeyError("a bug")

    stopping.once = broken.once = True  # type: ignore[attr-defined]
    stopped = mdap.run("hanoi:disks=3", "simulated:p=1", k=1, on_event=[broken, stopping])
    assert (stopped.status, stopped.reason, stopped.samples) == ("stopped", "not today", 0)
    assert mdap.run("hanoi:disks=3", "simulated:p=1", k=1, on_event=broken).status == "done"
