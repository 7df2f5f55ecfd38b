"""The commit point: how far a run may be ahead of its journal, and that nothing leaves before the journal has it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from mdap.clock import run_virtual
from mdap.core.events import Event, RunEnded, StepDecided
from mdap.core.history import Decided, Ended, Opened, Snapshot
from mdap.core.records import Request, Response
from mdap.engine.durable import LONGEST_WAIT, MOST_WAITING, SNAPSHOT_EVERY
from tests.engine.support import Applied, Chancy, Pairs, Watched, exported, plain_run


class Looking(Chancy):
    """Notes, at each call, how many decisions the journal has not made durable."""

    def __init__(self, watched: Watched, **chance: Any) -> None:
        super().__init__(**chance)
        self.watched = watched
        self.waiting: list[int] = []

    async def complete(self, request: Request) -> Response:
        self.waiting.append(self.watched.waiting)
        return await super().complete(request)


def test_at_most_64_decisions_await_their_commit_while_a_step_is_asked() -> None:
    watched = Watched(delay=0.001)
    model = Looking(watched)
    result = run_virtual(plain_run(Pairs(300), model, journal=watched))
    assert result.status == "done"
    assert MOST_WAITING == 64
    assert max(model.waiting) == 63, "the window is used, and not exceeded"
    assert watched.most_waiting <= 64
    assert watched.waiting == 0


def test_a_decision_that_has_waited_50_ms_is_waited_for() -> None:
    watched = Watched(delay=0.001)
    model = Looking(watched, latency=0.1, p=1.0)
    run_virtual(plain_run(Pairs(30), model, journal=watched, k=1))
    assert LONGEST_WAIT == 0.05
    # Each step takes 50 ms on average: few can be outstanding when the next is asked.
    assert 0 < max(model.waiting) <= 8


def test_a_result_leaves_only_when_all_of_it_is_durable() -> None:
    watched = Watched(delay=5.0)
    result = run_virtual(plain_run(Pairs(20), Chancy(), journal=watched))
    assert result.status == "done"
    assert watched.durable == len(watched.entries)
    assert isinstance(watched.entries[-1], Ended)


def test_the_end_is_told_when_it_is_durable_and_a_decision_when_it_was_handed_over() -> None:
    watched, told = Watched(delay=5.0), list[tuple[Event, int, int]]()

    def observer(event: Event) -> None:
        told.append((event, len(watched.entries), watched.durable))

    run_virtual(plain_run(Pairs(5), Chancy(), journal=watched, on_event=observer))
    event, entries, durable = told[-1]
    assert event == RunEnded("done", "")
    assert entries == durable
    for event, entries, _ in told:
        if isinstance(event, StepDecided):
            assert sum(isinstance(entry, Decided) for entry in watched.entries[:entries]) == event.decision.step + 1


def test_a_cancelled_run_hands_over_what_it_decided_before_it_ends() -> None:
    watched = Watched(delay=0.001)

    async def main() -> None:
        work = asyncio.create_task(plain_run(Pairs(50), Chancy(latency=2.0), journal=watched))
        await asyncio.sleep(25)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    run_virtual(main())
    assert watched.durable == len(watched.entries)
    *_, opened, ended = watched.entries
    assert isinstance(opened, Opened)
    assert isinstance(ended, Ended)
    assert ended.status == "interrupted"
    assert opened.ballot.step == sum(isinstance(entry, Decided) for entry in watched.entries)


def test_entries_come_in_the_order_of_steps_and_a_snapshot_before_the_decision_it_stands_for() -> None:
    watched = Watched()
    run_virtual(plain_run(Pairs(2 * SNAPSHOT_EVERY + 5), Chancy(p=1.0), journal=watched, k=1))
    steps = [entry.step for entry in watched.entries if isinstance(entry, Decided)]
    assert steps == list(range(2 * SNAPSHOT_EVERY + 5))
    snapshots = [(n, entry) for n, entry in enumerate(watched.entries) if isinstance(entry, Snapshot)]
    assert [entry.step for _, entry in snapshots] == [0, SNAPSHOT_EVERY, 2 * SNAPSHOT_EVERY]
    for n, entry in snapshots:
        after = watched.entries[n + 1]
        assert isinstance(after, Decided)
        assert (after.step, entry.state["n"]) == (entry.step, entry.step)


def test_an_action_that_code_computes_from_is_all_that_a_step_stores() -> None:
    watched = Watched()
    result = run_virtual(plain_run(Applied(6), Chancy(p=1.0), journal=watched))
    decided = [entry for entry in watched.entries if isinstance(entry, Decided)]
    assert all(entry.change is msgspec.UNSET for entry in decided)
    assert [entry.action for entry in decided] == [["add", 1]] * 6
    assert [line["next_state"]["n"] for line in result.export()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("record", "steps"), [("none", 0), ("contested", None), ("samples", 12)])
def test_the_journal_keeps_the_samples_that_were_asked_for(record: str, steps: int | None) -> None:
    result = run_virtual(plain_run(Pairs(12), Chancy(flags=0.2), record=record))
    kept = {step for step in range(12) if result.samples_of(step)}
    contested = {line["step"] for line in result.export() if len(line["votes"]) > 1}
    assert 0 < len(contested) < 12
    assert kept == (contested if steps is None else set(range(steps)))
    for step in kept:
        samples = result.samples_of(step)
        votes = list(result.export())[step]["votes"]
        assert sum(not sample.flag for sample in samples) == sum(votes)
        assert [(s.slot, s.redraw) for s in samples] == sorted((s.slot, s.redraw) for s in samples)
        assert all(sample.digest and bool(sample.flag) != bool(sample.key) for sample in samples)


def test_what_is_recorded_changes_no_decision() -> None:
    exports = {tuple(exported(run_virtual(plain_run(Pairs(12), Chancy(), record=r)))) for r in ("none", "samples")}
    assert len(exports) == 1


@pytest.mark.parametrize("record", ["none", "contested", "samples"])
def test_an_undecided_step_keeps_its_samples_unless_none_are_kept(record: str) -> None:
    result = run_virtual(plain_run(Pairs(5), Chancy(p=0.5), k=9, max_samples=30, record=record))
    assert result.status == "undecided"
    assert len(result.samples_of(result.steps)) == (0 if record == "none" else 30)
    assert result.samples == 30
