"""A rule that learns in a map: one prior for each 1,000 rows, whatever is driven at once, stopped and taken up."""

from __future__ import annotations

import asyncio
from random import Random
from statistics import mean
from typing import Any

import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.events import RowSettled, Warned
from mdap.core.records import Request, Response, Step
from mdap.core.rules import Posterior
from mdap.engine.rowruling import RowRuling
from mdap.journal import open_journal
from mdap.models.simulated import simulated
from tests.mapping_support import Noted, Sum, sums

RULE = "posterior:0.5,steps=100"


def model(lag: float = 0.0) -> Any:
    return Noted(simulated(p=0.98, hard=0.05, p_hard=0.7, seed=3), lag=lag)


def decided(journal: Any) -> list[tuple[int, Any, tuple[int, ...]]]:
    (head,) = journal.heads()
    return [(entry.item, entry.decided.action, entry.decided.votes) for entry in journal.row_decisions(head.id)]


async def whole(rows: int, in_flight: int, lag: float) -> list[tuple[int, Any, tuple[int, ...]]]:
    journal = open_journal(None)
    made = await mdap.aio.map(Sum, sums(rows), model(lag), rule=RULE, journal=journal, in_flight=in_flight)
    assert made.status == "done"
    return decided(journal)


@pytest.mark.slow
def test_rows_are_decided_alike_whatever_is_driven_at_once_and_later_ones_by_fewer_votes() -> None:
    one = run_virtual(whole(2100, 1, 0.0))
    assert run_virtual(whole(2100, 50, 1.0)) == one
    early, late = [
        mean(sum(votes) for item, _, votes in one if item in rows) for rows in (range(1000), range(2000, 2100))
    ]
    assert late < 0.8 * early


@pytest.mark.slow
@pytest.mark.parametrize("rows", [700, 1400])
def test_a_map_that_was_stopped_goes_on_by_the_prior_that_its_rows_had(rows: int) -> None:
    class After:
        left = rows

        def __call__(self, event: Any) -> None:
            if isinstance(event, RowSettled):
                self.left -= 1
                if not self.left:
                    raise mdap.Stop("enough for now")

    async def in_two() -> Any:
        journal = open_journal(None)
        options: dict[str, Any] = {"rule": RULE, "journal": journal, "in_flight": 20}
        first = await mdap.aio.map(Sum, sums(1500), model(1.0), on_event=After(), **options)
        assert first.status == "stopped"
        run = journal.heads()[0].id
        again = await mdap.aio.map(Sum, sums(1500), model(0.5), run=run, journal=journal, in_flight=7)
        assert again.status == "done"
        return decided(journal)

    assert run_virtual(in_two()) == run_virtual(whole(1500, 1, 0.0))


def tallies(seed: int) -> list[tuple[str, tuple[int, ...]]]:
    chance = Random(seed)
    return [("", (9, chance.randrange(3)) if chance.random() < 0.2 else (9,)) for _ in range(chance.randrange(3))]


@pytest.mark.parametrize("seed", range(5))
def test_what_rows_teach_does_not_depend_on_the_order_in_which_they_end(seed: int) -> None:
    rules = []
    for shuffled in (False, True):
        ruling = RowRuling(Posterior(0.95), None, block=60)
        for block in range(3):
            items = list(range(60 * block, 60 * (block + 1)))
            Random(seed).shuffle(items) if shuffled else None
            for item in items:
                ruling.teach(item, tallies(item))
        rules.append(ruling.for_step(Step(0, None)))
    assert rules[0] is rules[1], "one prior, and so one and the same rule"
    assert rules[0].k < Posterior(0.95).k


def test_a_row_is_judged_by_the_rows_before_its_block_alone() -> None:
    ruling = RowRuling(Posterior(0.95), None, block=200)
    first = ruling.for_step(Step(0, None))
    for item in range(199):
        ruling.teach(item, [("", (23,))])
        assert ruling.for_step(Step(0, None)) is first
    ruling.teach(199, [])
    assert ruling.for_step(Step(0, None)).k < first.k


async def test_a_row_of_the_next_block_waits_for_the_last_of_this_one_and_nobody_waits_once_the_map_stops() -> None:
    ruling = RowRuling(Posterior(0.95), None, block=2)
    await asyncio.wait_for(ruling.reach(1), 1)
    second, third = asyncio.create_task(ruling.reach(2)), asyncio.create_task(ruling.reach(4))
    ruling.teach(1, [])
    await asyncio.sleep(0)
    assert not second.done()
    ruling.teach(0, [])
    await asyncio.wait_for(second, 1)
    assert not third.done()
    ruling.release()
    await asyncio.wait_for(third, 1)


async def test_a_rule_that_learns_nothing_makes_no_row_wait_and_keeps_nothing() -> None:
    ruling = RowRuling(mdap.parts.choose_rule(3, None), None, block=2)
    await asyncio.wait_for(ruling.reach(1_000_000), 1)
    assert not ruling.learns


def test_the_target_is_that_of_all_rows_together() -> None:
    def votes(rows: int) -> int:
        journal = open_journal(None)
        mdap.map(Sum, sums(rows), simulated(p=1.0), rule="ppr:0.95", journal=journal)
        return decided(journal)[0][2][0]

    assert votes(1) < votes(100) < votes(1000)


# ---- drift -----------------------------------------------------------------------------------------------------------


class Worsening:
    """A model that is right more seldom than when it was calibrated, by a name that does not say so."""

    spec = "worsening"

    def __init__(self, p: float) -> None:
        self.inner: Any = simulated(p=p, seed=7)

    def bind(self, task: Any) -> Worsening:
        bound = Worsening(0.5)
        bound.inner = self.inner.bind(task)
        return bound

    async def complete(self, request: Request) -> Response:
        reply: Response = await self.inner.complete(request)
        return reply


@pytest.mark.parametrize(("p", "warned"), [(0.99, []), (0.85, ["drift: dissent"])])
def test_a_map_says_when_its_dissent_is_above_that_of_its_calibration(p: float, warned: list[str]) -> None:
    task = "hanoi:disks=6"
    made = mdap.calibrate(task, Worsening(0.99), samples=800, target=0.9)
    heard: list[Warned] = []
    rows = mdap.map(
        lambda row: mdap.tasks.hanoi(disks=6),
        range(12),
        Worsening(p),
        k=3,
        calibration=made,
        on_event=lambda event: heard.append(event) if isinstance(event, Warned) else None,
    )
    assert rows.counts.get("done", 0) + rows.counts.get("error", 0) == 12
    assert sorted({warning.name for warning in heard}) == warned
