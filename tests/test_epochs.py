"""A task that is changed in the middle of a run: what the old one decided is never computed again by the new one."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import FingerprintChanged, JournalError
from mdap.core.history import Ended, Snapshot
from mdap.engine.taskview import TaskView
from mdap.flagging import dry_run
from mdap.journal import open_journal
from mdap.measuring import metrics
from mdap.protocols import Journal
from mdap.result import Result
from tests.engine.support import Applied, Chancy, Pairs, Watched, plain_run


class Further(Applied):
    """The same task, whose code gives another state now: it remembers more of the path."""

    version = 2

    def apply(self, state: Any, action: Any) -> Any:
        return {"n": state["n"] + 1, "path": [*state["path"], action[1], "further"]}


class Rewritten(Pairs):
    """A task that computes nothing, in a second version."""

    version = 2


def stopped(task: Pairs, after: int = 3) -> tuple[Journal, str]:
    journal = open_journal(None)
    run = run_virtual(plain_run(task, Chancy(p=1.0), journal=journal, max_steps=after)).run
    return journal, run


def accepted(journal: Journal, run: str, task: Pairs) -> Result:
    changes: dict[str, Any] = {"accept_changes": True, "max_steps": None, "lookahead": 0}
    return run_virtual(api.resume(run, journal=journal, task=task, model=Chancy(p=1.0), **changes))


def test_a_changed_apply_goes_on_from_the_state_that_the_old_one_had_reached() -> None:
    journal, run = stopped(Applied(6))
    before = Result(journal, run, TaskView(Applied(6))).state
    last = accepted(journal, run, Further(6))
    assert last.status == "done"
    # Three steps by the old code, and three by the new one.
    assert last.state == {"n": 6, "path": [*before["path"], 1, "further", 1, "further", 1, "further"]}


def test_steps_of_an_earlier_task_are_refused_not_computed_by_the_later_one() -> None:
    journal, run = stopped(Applied(6))
    last = accepted(journal, run, Further(6))
    with pytest.raises(JournalError, match="step 0 was decided by the task as it was before a change") as caught:
        next(last.export())
    assert caught.value.remedy == "read these steps with the task that the run had then"
    with pytest.raises(JournalError):
        _ = last.wrong
    assert "wrong" not in last.to_dict()
    assert "done, 6 steps" in str(last)


class Guarded(Further):
    """The second version, whose code cannot make anything of what the first one decided."""

    def apply(self, state: Any, action: Any) -> Any:
        if state["n"] < 3:
            raise ValueError("this version has never known such a state")
        return super().apply(state, action)


def flagged_and_changed(now: Pairs) -> tuple[Journal, str]:
    """Three steps by one version, three by `now`, with flagged samples in both."""
    journal, model = open_journal(None), Chancy(p=1.0, flags=0.4)
    options: dict[str, Any] = {"record": "samples", "redraws": 90, "k": 5}
    run = run_virtual(plain_run(Applied(6), model, journal=journal, max_steps=3, **options)).run
    changes: dict[str, Any] = {"accept_changes": True, "max_steps": None, "lookahead": 0}
    assert run_virtual(api.resume(run, journal=journal, task=now, model=model, **changes)).status == "done"
    return journal, run


def test_metrics_judge_flags_of_an_earlier_task_by_nothing_that_a_later_one_computes() -> None:
    journal, run = flagged_and_changed(Guarded(6))
    steps = metrics(journal, run, task=Guarded(6), steps=True).each
    assert steps is not None
    assert [step.step for step in steps] == list(range(6))
    assert all(step.samples for step in steps)
    # The earlier task reads the earlier half, and the later one the other.
    sides = [metrics(journal, run, task=task).flags for task in (Applied(6), Guarded(6))]
    known = [sum(flag.right + flag.wrong for flag in flags) for flags in sides]
    everything = sum(flag.recorded for flag in sides[0])
    assert 0 < known[0] < everything
    assert 0 < known[1] < everything


def test_a_dry_run_of_flags_computes_nothing_that_an_earlier_task_decided() -> None:
    journal, run = flagged_and_changed(Guarded(6))
    found = dry_run(journal, run, "strict", task=Guarded(6))
    assert found.samples == sum(len(journal.samples(run, step)) for step in range(6))


def test_the_earlier_task_reads_its_own_steps_and_no_more() -> None:
    journal, run = stopped(Applied(6))
    whole = [line["next_state"] for line in Result(journal, run, TaskView(Applied(6))).export()]
    accepted(journal, run, Further(6))
    again = Result(journal, run, TaskView(Applied(6))).export()
    assert [line["next_state"] for line in islice(again, 3)] == whole
    with pytest.raises(JournalError, match="step 3 was decided by"):
        next(again)


def test_where_next_states_are_stored_every_version_reads_all_of_them() -> None:
    journal, run = stopped(Pairs(6))
    last = accepted(journal, run, Rewritten(6))
    assert [line["next_state"]["n"] for line in last.export()] == [1, 2, 3, 4, 5, 6]
    assert last.to_dict()["wrong"] == 0


def test_a_change_that_leaves_the_task_as_it_is_leaves_all_steps_readable() -> None:
    journal, run = stopped(Applied(6))
    changes: dict[str, Any] = {"accept_changes": True, "max_steps": None, "lookahead": 0, "rule": "ahead_by_k:4"}
    last = run_virtual(api.resume(run, journal=journal, task=Applied(6), model=Chancy(p=1.0), **changes))
    assert [line["votes"] for line in last.export()] == [[3]] * 3 + [[4]] * 3


def killed(steps: int) -> tuple[Journal, str]:
    """A run that ended without a word after so many decisions."""
    watched = Watched()
    run = run_virtual(plain_run(Applied(6), Chancy(p=1.0), journal=watched)).run
    return watched.killed_after(1 + steps), run


def test_after_a_kill_a_changed_task_is_refused_until_the_old_one_has_told_what_it_reached() -> None:
    journal, run = killed(3)
    with pytest.raises(FingerprintChanged, match=r"ended without a word at step 3: .* steps 0 to 2 is not stored") as e:
        accepted(journal, run, Further(6))
    assert f"`mdap resume {run} --max-steps 3`" in e.value.remedy
    run_virtual(api.resume(run, journal=journal, task=Applied(6), model=Chancy(p=1.0), max_steps=3, lookahead=0))
    assert accepted(journal, run, Further(6)).state["n"] == 6


def test_a_run_that_is_not_done_ends_with_the_state_that_it_has_reached() -> None:
    watched = Watched()
    run_virtual(plain_run(Applied(6), Chancy(p=1.0), journal=watched, max_steps=4))
    *_, snapshot, ended = watched.entries
    assert isinstance(ended, Ended)
    assert snapshot == Snapshot(4, {"n": 4, "path": [1, 1, 1]})
