"""A rule that learns judges each step by the same decisions, whatever was asked ahead, stopped and taken up again."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.events import StepDecided
from mdap.journal import open_journal
from mdap.models.simulated import simulated

RULE = "posterior:0.95"


def model(latency: float = 0.0) -> Any:
    """Return a model that is nearly always right, and rarely on some steps."""
    return simulated(p=0.98, hard=0.02, p_hard=0.6, latency=latency, sigma=0.6 if latency else 0.0, seed=4)


async def whole(**options: Any) -> mdap.Result:
    """Run a task by a rule that learns."""
    latency = options.pop("latency", 0.0)
    return await mdap.aio.run("hanoi:disks=8", model(latency), rule=RULE, max_samples=4000, **options)


def test_a_run_learns_and_asks_for_fewer_votes() -> None:
    result = run_virtual(whole())
    votes = [sum(entry.votes) for _, entry, _ in result.decisions]
    assert (result.status, result.wrong) == ("done", 0)
    assert median(votes[:50]) > 1.5 * median(votes[-50:])


@pytest.mark.parametrize("rule", ["posterior:0.9", "ppr:0.9"])
def test_what_is_promised_of_a_step_is_what_the_run_was_judged_by(rule: str) -> None:
    journal = open_journal(None)
    result = mdap.run("hanoi:disks=3", simulated(p=1.0), rule=rule, journal=journal)
    assert result.predicted_success == pytest.approx(0.9)
    assert f"{rule},steps=7" in result.assumption
    # The twin: judged as if the run had a million steps, each of them would promise 30,000 times as much.
    twin = mdap.run("hanoi:disks=3", simulated(p=1.0), rule=f"{rule},steps=1000000").predicted_success
    assert twin is not None
    assert twin > 0.99999


class After:
    """Stops a run after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, event: Any) -> None:
        if isinstance(event, StepDecided):
            self.left -= 1
            if not self.left:
                raise mdap.Stop("enough for now")


@pytest.mark.parametrize("steps", [1, 99, 100, 101, 180])
def test_a_run_taken_up_again_decides_as_if_it_had_never_stopped(steps: int) -> None:
    async def in_two() -> mdap.Result:
        journal = open_journal(None)
        first = await whole(journal=journal, on_event=After(steps))
        assert (first.status, first.steps) == ("stopped", steps)
        return await mdap.aio.resume(first.run, journal=journal, model=model())

    assert list(run_virtual(in_two()).export()) == list(run_virtual(whole()).export())


def test_asking_ahead_changes_no_decision_of_a_rule_that_learns() -> None:
    plain, ahead = run_virtual(whole(latency=1.0, lookahead=0)), run_virtual(whole(latency=1.0, lookahead=8))
    assert list(ahead.export()) == list(plain.export())
    assert ahead.seconds < 0.7 * plain.seconds
