"""What a journal says of a run of branches: while it runs, once it was left, and once it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mdap.branches import BranchStep, open_steps, planned, samples_of, steps_of
from mdap.core.errors import BudgetReached, JournalError, Undecided
from mdap.journal import open_journal
from mdap.planned import Role, conducting
from tests.engine.support import Watched
from tests.planned_support import ROLES, Essay, Speaker


async def essays(*topics: str, journal: Any, **options: Any) -> str:
    """Essays one after the other; the id of their run, however it ended."""
    ways: dict[str, Any] = {"roles": ROLES, **options}
    run = ""
    try:
        async with conducting("essays", Speaker(), journal=journal, **ways) as conduct:
            run = conduct.run
            for item, topic in enumerate(topics):
                await conduct.branch(item, Essay(topic))
    except (BudgetReached, Undecided) as error:
        run = error.run
    return run


async def test_a_run_that_is_done_is_told_of_by_role_and_by_branch() -> None:
    journal = open_journal(None)
    found = planned(journal, await essays("a", "b", journal=journal))
    assert (found.kind, found.status, found.reason, found.model) == ("essays", "done", "", "speaker")
    assert found.rules == {"propose": "collect:1", "judge": "gate:2"}
    assert found.models == {"propose": "speaker", "judge": "speaker"}
    assert found.branches == {"done": 2}
    assert {kind: totals.steps for kind, totals in found.roles.items()} == {"propose": 8, "judge": 8}
    assert found.total.steps == 16
    assert found.total.calls == sum(totals.calls for totals in found.roles.values())


async def test_all_of_it_is_json_and_money_is_text() -> None:
    journal = open_journal(None)
    prices = {"speaker": {"input": 1, "output": 2}}
    found = planned(journal, await essays("a", journal=journal, prices=prices))
    told = json.loads(json.dumps(found.to_dict()))
    assert told["total"]["cost_usd"] == str(found.total.cost_usd)
    assert found.total.cost_usd is not None
    free = planned(journal, await essays("a", journal=journal))
    assert free.total.cost_usd is None


async def test_its_steps_come_by_branch_and_step_with_the_winners_votes_first() -> None:
    journal = open_journal(None)
    run = await essays("a", "b", journal=journal)
    found = list(steps_of(journal, run))
    assert [(one.item, one.step) for one in found] == [(item, step) for item in (0, 1) for step in range(8)]
    assert found[1] == BranchStep(0, 1, "judge", {"verdict": "no", "reasons": ["dull 0", "dull 2", "dull 3"]}, (3, 1))
    assert list(open_steps(journal, run)) == []


async def test_equal_runs_have_equal_steps_whatever_was_in_flight() -> None:
    journal = open_journal(None)
    runs = [await essays("a", "b", journal=journal, in_flight=most) for most in (1, 64)]
    first, second = (list(steps_of(journal, run)) for run in runs)
    assert first == second


async def test_a_branch_that_was_left_shows_the_votes_on_its_open_step_and_is_gone_once_it_is_done() -> None:
    journal = open_journal(None)
    roles = {**ROLES, "judge": Role(rule="gate:2", max_samples=3)}
    run = await essays("a", "b", journal=journal, roles=roles)
    (left,) = open_steps(journal, run)
    assert (left.item, left.status, left.step, left.kind, left.votes) == (0, "undecided", 1, "judge", (2, 1))
    assert planned(journal, run).branches == {"undecided": 1}
    await essays("a", "b", journal=journal, run=run, roles={**ROLES, "judge": Role(rule="gate:2", max_samples=9)})
    assert list(open_steps(journal, run)) == []
    assert planned(journal, run).branches == {"done": 2}


async def test_samples_of_an_open_step_and_of_a_decided_one_are_found_alike() -> None:
    journal = open_journal(None)
    roles = {**ROLES, "judge": Role(rule="gate:2", max_samples=3)}
    run = await essays("a", journal=journal, roles=roles, record="samples")
    proposed, judged = samples_of(journal, run, 0, 0), samples_of(journal, run, 0, 1)
    assert [sample.text for sample in proposed] == ["a 0.0"]
    assert [sample.text for sample in judged] == ["no:dull 0", "yes:", "no:dull 2"]
    assert samples_of(journal, run, 0, 2) == samples_of(journal, run, 7, 0) == []


@pytest.mark.parametrize(("calls", "votes"), [(0, None), (1, None), (3, (1, 1)), (4, (2, 1)), (5, None)])
async def test_a_budget_leaves_a_branch_where_it_stands_with_the_votes_that_it_has(calls: int, votes: Any) -> None:
    journal = open_journal(None)
    run = await essays("a", "b", journal=journal, budget_calls=calls)
    found = planned(journal, run)
    assert (found.status, found.branches) == ("budget", {"budget": 1})
    assert f"mdap resume {run}" in found.reason
    # Where no vote was drawn there is nothing to be shown.
    assert [one.votes for one in open_steps(journal, run)] == ([] if votes is None else [votes])


async def test_what_a_killed_process_left_is_counted_from_what_is_there() -> None:
    watched = Watched()
    run = await essays("a", "b", journal=watched)
    seen = []
    for entries in range(len(watched.entries)):
        left = watched.killed_after(entries)
        found = planned(left, run)
        assert (found.status, found.reason.partition(":")[0]) == ("interrupted", "nobody drives it any more")
        decided = {step.item for step in steps_of(left, run)}
        assert found.branches == ({"begun": len(decided)} if decided else {})
        seen.append(len(decided))
    assert set(seen) == {0, 1, 2}


async def test_a_run_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "runs.db")
    run = await essays("a", journal=journal)
    with pytest.raises(JournalError, match=f"no run essays-zzzzzzzz.*{run}"):
        planned(journal, "essays-zzzzzzzz")
    journal.close()
