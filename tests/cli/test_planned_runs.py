"""A run of branches at the command line: it is listed, shown, exported, resolved and gone on with like any other."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from mdap.cli.planned import RESUMERS, Onward
from mdap.core.errors import BudgetReached, MdapError
from mdap.planned import Role, conducting
from tests.cli.conftest import Terminal
from tests.planned_support import ROLES, Essay, Speaker


def conducted(mdap: Terminal, *topics: str, model: Any = None, **options: Any) -> str:
    """Write essays into the journal of a terminal, and return the id of the run, however it ended."""

    async def _run() -> str:
        place = mdap.folder / ".mdap" / "runs.db"
        place.parent.mkdir(exist_ok=True)
        ways: dict[str, Any] = {"roles": ROLES, "origin": {"topics": list(topics)}, **options}
        try:
            async with conducting("essays", model or Speaker(), journal=place, **ways) as conduct:
                for number, topic in enumerate(topics):
                    await conduct.branch(number, Essay(topic, 1))
        except MdapError as error:
            return error.run
        return conduct.run

    return asyncio.run(_run())


def go_on(onward: Onward) -> int:
    """Go on with essays, as a command that knows their kind would."""

    async def _run() -> None:
        ways: dict[str, Any] = {"roles": ROLES, "origin": onward.origin, **onward.options}
        async with conducting("essays", Speaker(), journal=onward.display.path, run=onward.run, **ways) as conduct:
            for number, topic in enumerate(onward.origin["topics"]):
                await conduct.branch(number, Essay(topic, 1))
        sys.stdout.write(json.dumps(onward.options) + "\n")

    try:
        asyncio.run(_run())
    except BudgetReached:
        return 4
    return 0


@pytest.fixture
def known() -> Any:
    """Essays as a kind of run that the command line can go on with."""
    RESUMERS["essays"] = f"{__name__}:go_on"
    yield
    del RESUMERS["essays"]


def test_a_run_of_branches_is_listed_with_its_kind(mdap: Terminal) -> None:
    run = conducted(mdap, "a", "b")
    (listed,) = mdap("runs", "--json").json
    assert (listed["run"], listed["task"], listed["status"], listed["steps"]) == (run, "essays", "done", 8)
    assert run in mdap("runs").out


def test_it_is_shown_step_by_step_with_what_each_role_took(mdap: Terminal) -> None:
    run = conducted(mdap, "a", "b")
    shown = mdap("show", run)
    assert shown.code == 0
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert 'branch 0 step 0 propose votes 1 {"line": "a 0.0"}' in lines
    assert any(line.startswith("branch 1 step 1 judge votes 3 to 1") for line in lines)
    assert "judge 4 steps, 12 calls, 12 votes: speaker by gate:2" in " ".join(lines)
    told = mdap("show", run, "--json").json
    assert told["branches"] == {"done": 2}
    assert told["roles"]["judge"]["dissent"] == 2
    assert [(step["item"], step["step"]) for step in told["steps"]] == [(n, s) for n in (0, 1) for s in range(4)]


def test_one_step_of_one_branch_is_shown_with_its_samples(mdap: Terminal) -> None:
    run = conducted(mdap, "a", "b")
    told = mdap("show", run, "--step", "1", "--row", "1", "--json").json
    (step,) = told["steps"]
    assert [sample["text"] for sample in step["samples"]] == ["no:dull 0", "yes:", "no:dull 2", "no:dull 3"]
    assert "slot 1  vote  yes:" in mdap("show", run, "--step", "1", "--row", "1").out
    wrong = mdap("show", run, "--step", "99")
    assert (wrong.code, "no such step" in wrong.err) == (2, True)


def test_rows_are_those_of_maps_and_plans_alone(mdap: Terminal) -> None:
    mdap("run", "hanoi:disks=2", "--model", "simulated:p=1")
    refused = mdap("show", mdap.last(), "--row", "1")
    assert (refused.code, "leave --row out" in refused.err) == (2, True)


def test_its_decisions_are_exported_and_equal_for_equal_runs(mdap: Terminal) -> None:
    first, second = (mdap("export", conducted(mdap, "a", "b")) for _ in range(2))
    assert first.out == second.out
    assert json.loads(first.out.splitlines()[0]) == {
        "item": 0,
        "step": 0,
        "kind": "propose",
        "action": {"line": "a 0.0"},
        "votes": [1],
    }


def test_its_calls_are_in_the_ledger(mdap: Terminal) -> None:
    run = conducted(mdap, "a", record="samples")
    assert mdap("ledger", run, "--json").json["replies"] == 8


def test_a_run_that_was_stopped_shows_what_is_open_and_goes_on_by_its_kind(mdap: Terminal, known: Any) -> None:
    run = conducted(mdap, "a", "b", budget_calls=7)
    shown = mdap("show", run)
    assert "branch 0  step 3  judge  budget" in shown.out
    assert ["resume", run] in shown.next
    resumed = mdap("resume", run, "--budget-calls", "100")
    assert resumed.code == 0
    assert resumed.json["budget_calls"] == 100
    assert mdap("show", run, "--json").json["status"] == "done"


def test_a_run_that_a_program_began_is_gone_on_with_there(mdap: Terminal) -> None:
    run = conducted(mdap, "a", budget_calls=2)
    refused = mdap("resume", run)
    assert (refused.code, f"run='{run}'" in refused.err) == (2, True)


def test_an_undecided_step_waits_in_the_inbox_with_the_rule_of_its_role_and_can_be_accepted(
    mdap: Terminal, known: Any
) -> None:
    roles = {**ROLES, "judge": Role(rule="gate:2")}
    run = conducted(mdap, "a", roles=roles, max_samples=3)
    (waiting,) = mdap("inbox", "--json").json
    assert (waiting["row"], waiting["step"], waiting["rule"]) == (0, 1, "gate:2")
    assert "branch 0  step 1  judge  undecided" in mdap("show", run).out
    refused = mdap("resolve", run, "1", "--row", "0", "--skip")
    assert (refused.code, "cannot be skipped" in refused.err) == (2, True)
    key = next(found["key"] for found in waiting["candidates"] if found["action"]["verdict"] == "yes")
    assert mdap("resolve", run, "1", "--row", "0", "--accept", key, "--by", "ann").code == 0
    assert mdap("resume", run).code == 0
    steps = mdap("show", run, "--json").json["steps"]
    assert [(step["kind"], step["action"].get("verdict")) for step in steps] == [("propose", None), ("judge", "yes")]


def test_an_undecided_step_can_be_voted_on_by_another_margin_or_overridden(mdap: Terminal, known: Any) -> None:
    run = conducted(mdap, "a", max_samples=3)
    assert mdap("resolve", run, "1", "--row", "0", "--k", "1").code == 0
    assert mdap("resume", run).code == 0
    other = conducted(mdap, "b", max_samples=3)
    after = {"topic": "b", "text": ["by hand"], "proposed": None, "reasons": []}
    (mdap.folder / "move.json").write_text(json.dumps({"action": {"verdict": "yes"}, "next_state": after}))
    assert mdap("resolve", other, "1", "--row", "0", "--override", "move.json").code == 0
    assert mdap("resume", other).code == 0
    assert mdap("show", other, "--json").json["total"]["steps"] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--accept-changes",),
        ("--retry-failed",),
        ("--probe", "p.toml"),
        ("--calibration", "c.json"),
        ("--replay-http", "t.jsonl"),
    ],
)
def test_a_flag_that_means_nothing_to_a_plan_is_refused_at_its_resume(mdap: Terminal, words: tuple[str, ...]) -> None:
    mdap("plan", "Put: a, b", "--model", "simulated_planner:p=1.0,judge=1.0", "--k", "2", "--budget-calls", "2")
    said = mdap("resume", "plan", *words)
    assert said.code == 2
    assert f"{words[0]} is not for it" in said.err
