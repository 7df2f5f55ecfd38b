"""The fold of events into a run's progress."""

from __future__ import annotations

from mdap.core.events import Called, Event, Flagged, Progress, Retried, RunEnded, Started, StepDecided, StepUndecided
from mdap.core.records import Decision, Move, Totals


def fold(*events: Event) -> Progress:
    progress = Progress()
    for event in events:
        progress.add(event)
    return progress


def decided(step: int, votes: tuple[int, ...], samples: int) -> StepDecided:
    return StepDecided(Decision(step, Move(None, None), votes), Totals(samples=samples, votes=sum(votes)))


def test_a_segment_begins_where_the_run_stands() -> None:
    progress = fold(Started("r", "t", "m", "ahead_by_k:3", 40, 100, Totals(samples=999)), decided(40, (3,), 3))
    assert (progress.total, progress.begun, progress.steps, progress.samples) == (100, 40, 41, 3)


def test_decisions_add_samples_votes_and_contested_steps() -> None:
    progress = fold(decided(0, (3,), 3), decided(1, (5, 2), 9))
    assert (progress.steps, progress.samples, progress.votes, progress.contested) == (2, 12, 10, 1)


def test_calls_in_flight_go_up_and_down() -> None:
    assert fold(Called(1), Called(1), Called(-1)).in_flight == 1


def test_flags_and_retries_are_counted_when_they_happen() -> None:
    progress = fold(
        Flagged(0, 0, 0, "empty", "no text"), Flagged(0, 0, 1, "malformed", "?"), Retried(0, 1, "429", "slow", 0.5)
    )
    assert (progress.flagged, progress.retries, progress.samples) == (2, 1, 0)


def test_the_end_is_the_status_and_an_undecided_step_is_not_counted_as_one() -> None:
    progress = fold(decided(0, (3,), 3), StepUndecided(1, (2, 2), "cap"), RunEnded("undecided", "cap"))
    assert (progress.status, progress.steps) == ("undecided", 1)
