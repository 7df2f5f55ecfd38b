"""A run of branches: roles that have their own models, one budget for all, and a resume that asks nothing again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap.clock import run_virtual
from mdap.core.errors import BudgetReached, FingerprintChanged, ModelError, ModelRejected, Stop, Undecided, UsageError
from mdap.core.events import Event, RowSettled, RunEnded, Started, StepDecided
from mdap.core.records import Request, Response
from mdap.journal import open_journal
from mdap.models.failover import Failover
from mdap.models.simulated import simulated
from mdap.planned import Conduct, Role, conducting, origin_of
from mdap.protocols import Journal
from tests.mapping_support import Count
from tests.planned_support import ROLES, Counted, Essay, Speaker, decided

DONE = {"topic": "a", "text": ["a 0.3", "a 1.3"], "proposed": None, "reasons": []}


async def written(conduct: Conduct, *topics: str, lines: int = 2) -> list[Any]:
    """Essays on topics, all at the same time."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(conduct.branch(n, Essay(topic, lines))) for n, topic in enumerate(topics)]
    return [task.result() for task in tasks]


async def conducted(*topics: str, model: Any = None, journal: Any = None, **options: Any) -> tuple[str, list[Any]]:
    """The id and the essays of a run that ends."""
    ways = {"roles": ROLES, **options}
    async with conducting("essays", Speaker() if model is None else model, journal=journal, **ways) as conduct:
        states = await written(conduct, *topics)
    return conduct.run, states


async def broken(error: type[BaseException], *topics: str, **options: Any) -> Any:
    """The error that ends a run."""
    with pytest.raises(error) as raised:
        await conducted(*topics, **options)
    return raised.value


# ---- roles ----


async def test_each_kind_of_step_is_asked_of_its_own_model_by_its_own_rule() -> None:
    journal = open_journal(None)
    usual, judge = Speaker("usual"), Speaker("judging")
    roles = {"propose": Role(rule="collect:1"), "judge": Role(model=judge, rule="gate:2")}
    run, states = await conducted("a", model=usual, roles=roles, journal=journal)
    assert states == [DONE]
    assert {request.state["proposed"] for request in usual.requests} == {None}
    assert None not in {request.state["proposed"] for request in judge.requests}
    kinds = [(kind, votes) for _, _, kind, _, votes in decided(journal, run)]
    assert kinds == [("propose", (1,)), ("judge", (3, 1)), ("propose", (1,)), ("judge", (2,))] * 2


async def test_a_role_has_its_own_caps_temperatures_and_red_flags() -> None:
    def _dull(response: Response, request: Request) -> str | None:
        return "too dull" if "dull" in response.text else None

    judge = Role(rule="gate:2", max_tokens=7, temperature=0.9, first_temperature=0.8, redraws=3, flags=[_dull])
    model = Speaker()
    async with conducting("essays", model, roles={**ROLES, "judge": judge}, max_tokens=50, temperature=0.2) as conduct:
        with pytest.raises(Undecided, match="4 samples for one vote, all flagged"):
            await conduct.branch(0, Essay("a", 1))
        assert sum(conduct.totals()["judge"].flagged.values()) == 4
        assert conduct.totals()["propose"].flagged == {}
    asked: dict[str, set[Any]] = {"propose": set(), "judge": set()}
    for request in model.requests:
        kind = "propose" if request.state["proposed"] is None else "judge"
        asked[kind].add((request.max_tokens, request.temperature))
    assert asked == {"propose": {(50, 0.0)}, "judge": {(7, 0.8), (7, 0.9)}}


async def test_a_kind_of_step_that_no_model_is_named_for_cannot_be_asked() -> None:
    with pytest.raises(UsageError, match="no model is named for steps of the kind 'judge'"):
        async with conducting("essays", roles={"propose": Role(model=Speaker(), rule="collect:1")}) as conduct:
            await conduct.branch(0, Essay("a"))
    with pytest.raises(UsageError, match="no model is named"):
        async with conducting("essays", roles=ROLES):
            pass


async def test_a_model_named_by_several_roles_is_made_once_and_closed_with_the_run() -> None:
    Counted.made.clear()
    named = "tests.planned_support:Counted"
    roles = {"propose": Role(model=named, rule="collect:1"), "judge": Role(model=named, rule="gate:2")}
    _, states = await conducted("a", model=named, roles=roles)
    assert states == [DONE]
    assert [model.closed for model in Counted.made] == [1]


async def test_a_model_that_was_handed_in_stays_open() -> None:
    given = Speaker()
    await conducted("a", model=given)
    assert given.closed == 0


class Failing(Speaker):
    """Never answers."""

    async def complete(self, request: Request) -> Response:
        await super().complete(request)
        raise ModelError("down", kind="dropped")


def test_a_role_may_be_taken_over_by_another_model_and_a_resume_knows_it() -> None:
    journal = open_journal(None)
    failing, spare = Failing("failing"), Speaker("spare")
    ways: dict[str, Any] = {"journal": journal, "model": Speaker()}

    def _roles() -> dict[str, Role]:
        return {**ROLES, "judge": Role(model=Failover([failing, spare]), rule="gate:2")}

    error = run_virtual(broken(BudgetReached, "a", "b", roles=_roles(), budget_calls=20, retries=8, **ways))
    assert len(failing.asked) == 5, "five failures in a row and it is left"
    run_virtual(conducted("a", "b", roles=_roles(), run=error.run, budget_calls=100, **ways))
    assert len(failing.asked) == 5, "a resume goes on with the model that has taken over"
    judge = journal.history(error.run).book.roles["judge"]
    assert judge.retries == {"dropped": 5}


async def test_a_rule_that_weighs_votes_is_refused_in_a_role_where_nothing_says_how_sure_they_are() -> None:
    judge = Speaker("judging")
    role = Role(model=judge, rule="log_odds:0.9,steps=10")
    error = await broken(UsageError, "a", roles={**ROLES, "judge": role})
    assert "weighs votes by their confidence" in str(error)
    assert judge.asked == []


async def test_a_role_may_have_its_votes_weighed_by_how_sure_they_are() -> None:
    sure = Speaker(says={"judge": "yes: definitely"})
    role = Role(rule="log_odds:0.9,steps=10", confidence="text")
    _, states = await conducted("a", model=sure, roles={**ROLES, "judge": role})
    assert states[0]["text"] == ["a 0.0", "a 1.0"]


# ---- what was taken ----


async def test_totals_are_kept_by_role_and_add_up() -> None:
    journal = open_journal(None)
    prices = {"speaker": {"input": 1, "output": 2}, "judging": {"input": 10, "output": 20}}
    roles = {**ROLES, "judge": Role(model=Speaker("judging", tokens=4), rule="gate:2")}
    async with conducting("essays", Speaker(), roles=roles, prices=prices, journal=journal) as conduct:
        await written(conduct, "a", "b")
        by_role, total = conduct.totals(), conduct.total()
    propose, judge = by_role["propose"], by_role["judge"]
    assert (propose.steps, propose.calls, propose.votes, propose.tokens_in) == (8, 8, 8, 40)
    assert (judge.steps, judge.calls, judge.agreed, judge.dissent, judge.contested) == (8, 24, 20, 4, 4)
    assert judge.dissent_rate == pytest.approx(4 / 24)
    # 5 tokens in at 1 and 5 out at 2 USD a million are 15e-6 a call; 4 at 10 and 4 at 20 are 120e-6.
    assert (propose.cost_usd, judge.cost_usd) == (Decimal("0.00012"), Decimal("0.00288"))
    assert total.cost_usd == Decimal("0.003")
    assert total.calls == 32 == journal.history(conduct.run).book.spend.calls
    assert total.seconds == pytest.approx(propose.seconds + judge.seconds)
    assert min(propose.seconds, judge.seconds) > 0


async def test_a_budget_of_money_is_refused_where_one_role_has_no_price() -> None:
    roles = {**ROLES, "judge": Role(model=Speaker("unpriced"), rule="gate:2")}
    prices = {"speaker": {"input": 1, "output": 2}}
    error = await broken(UsageError, "a", roles=roles, prices=prices, budget_usd=1)
    assert "model unpriced has no price" in str(error)
    await conducted("a", roles=roles, prices=prices, budget_usd=1, free=True)


@pytest.mark.parametrize("calls", [0, 1, 5, 11, 31])
async def test_all_roles_and_branches_together_never_overshoot_the_budget(calls: int) -> None:
    journal = open_journal(None)
    judge = Speaker("judging")
    usual = Speaker()
    roles = {**ROLES, "judge": Role(model=judge, rule="gate:2")}
    error = await broken(
        BudgetReached, "a", "b", "c", "d", model=usual, roles=roles, journal=journal, budget_calls=calls
    )
    assert len(usual.asked) + len(judge.asked) <= calls
    assert journal.history(error.run).book.status == "budget"


async def test_observers_hear_of_branches_and_of_what_planning_itself_says() -> None:
    heard: list[Any] = []
    async with conducting("essays", Speaker(), roles=ROLES, on_event=heard.append) as conduct:
        await written(conduct, "a", "b", lines=1)
        conduct.emit({"said": "accepted"})
    assert isinstance(heard[0], Started)
    assert (heard[0].run, heard[0].task) == (conduct.run, "essays")
    assert isinstance(heard[-1], RunEnded)
    assert {"said": "accepted"} in heard
    steps = sorted((e.item, e.decision.step, e.decision.kind) for e in heard if isinstance(e, StepDecided))
    assert steps == [(n, step, kind) for n in (0, 1) for step, kind in enumerate(["propose", "judge"] * 2)]
    assert sorted(e.row for e in heard if isinstance(e, RowSettled)) == [0, 1]


class Paced:
    """A simulated model that says how many of its calls were ever under way at once."""

    def __init__(self, inner: Any, root: Paced | None = None) -> None:
        self.inner, self.spec, self.root = inner, inner.spec, root or self
        self.open = self.most = self.asked = 0

    def bind(self, task: Any) -> Paced:
        return Paced(self.inner.bind(task), self.root)

    async def complete(self, request: Request) -> Response:
        root = self.root
        root.open, root.asked = root.open + 1, root.asked + 1
        root.most = max(root.most, root.open)
        await asyncio.sleep(0.001)
        root.open -= 1
        answer: Response = await self.inner.complete(request)
        return answer


# ---- how it ends, and goes on ----


def _stop_at(number: int) -> Callable[[Event], None]:
    seen: list[Event] = []

    def _observe(event: Event) -> None:
        seen.extend([event] if isinstance(event, StepDecided) else [])
        if len(seen) == number:
            raise Stop("that will do")

    return _observe


ENDINGS: list[tuple[type[BaseException], str, dict[str, Any], dict[str, Any]]] = [
    (BudgetReached, "budget", {"budget_calls": 9}, {"budget_calls": 1000}),
    (Stop, "stopped", {"on_event": _stop_at(5)}, {}),
    (
        Undecided,
        "undecided",
        {"max_samples": 3, "roles": {**ROLES, "judge": Role(rule="gate:2")}},
        {"max_samples": 200},
    ),
]


@pytest.mark.parametrize(("kind", "status", "options", "changes"), ENDINGS)
async def test_an_ending_has_its_status_and_its_error_says_how_to_go_on(
    tmp_path: Path, kind: type[BaseException], status: str, options: dict[str, Any], changes: dict[str, Any]
) -> None:
    path = tmp_path / "runs.db"
    error = await broken(kind, "a", "b", journal=path, **options)
    assert f"mdap resume {error.run}" in error.remedy
    journal = open_journal(path)
    book = journal.history(error.run).book
    assert book.status == status
    assert error.run in book.reason
    kept = decided(journal, error.run)
    journal.close()
    model = Speaker()
    roles = options.get("roles", ROLES)
    run, states = await conducted("a", "b", model=model, journal=path, run=error.run, roles=roles, **changes)
    assert run == error.run
    assert states == [DONE, {**DONE, "topic": "b", "text": ["b 0.3", "b 1.3"]}]
    assert not {(item, step) for item, step, *_ in kept} & {(item, step) for item, step, _ in model.asked}
    whole = open_journal(None)
    once = Speaker()
    other, _ = await conducted("a", "b", model=once, journal=whole)
    journal = open_journal(path)
    assert decided(journal, run) == decided(whole, other)
    assert journal.history(run).book.status == "done"
    assert {name: (t.samples, t.votes) for name, t in journal.history(run).book.roles.items()} == {
        name: (t.samples, t.votes) for name, t in whole.history(other).book.roles.items()
    }
    journal.close()


async def test_a_cancelled_run_is_interrupted_and_goes_on() -> None:
    journal = open_journal(None)
    going = asyncio.Event()

    class Slow(Speaker):
        async def complete(self, request: Request) -> Response:
            if len(self.asked) > 6:
                going.set()
                await asyncio.sleep(60)
            return await super().complete(request)

    run = asyncio.create_task(conducted("a", "b", model=Slow(), journal=journal))
    await going.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    (head,) = journal.heads()
    assert journal.history(head.id).book.status == "interrupted"
    _, states = await conducted("a", "b", journal=journal, run=head.id)
    assert states[0] == DONE


async def test_a_finished_run_is_replayed_without_a_call() -> None:
    journal = open_journal(None)
    run, states = await conducted("a", "b", journal=journal)
    model = Speaker()
    assert await conducted("a", "b", model=model, journal=journal, run=run) == (run, states)
    assert model.asked == []


async def test_an_error_of_a_model_ends_the_run_as_an_error_that_can_be_gone_on_from() -> None:
    journal = open_journal(None)
    error = await broken(ModelRejected, "a", model=Speaker(says={"fail": ""}), journal=journal)
    assert journal.history(error.run).book.status == "error"
    assert f"mdap resume {error.run}" in error.remedy
    _, states = await conducted("a", journal=journal, run=error.run)
    assert states == [DONE]


async def test_what_the_conducting_code_raises_itself_ends_the_run_by_its_class() -> None:
    journal = open_journal(None)

    async def _rejected() -> None:
        async with conducting("essays", Speaker(), roles=ROLES, journal=journal) as conduct:
            await conduct.branch(0, Essay("a"))
            raise Undecided("rejected five times")

    with pytest.raises(Undecided) as raised:
        await _rejected()
    assert journal.history(raised.value.run).book.status == "undecided"


async def test_decisions_do_not_depend_on_how_many_calls_are_under_way() -> None:
    found = []
    for in_flight in (1, 2, 64):
        journal = open_journal(None)
        run, _ = await conducted("a", "b", "c", journal=journal, in_flight=in_flight)
        found.append(decided(journal, run))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 24


async def test_branches_that_do_not_depend_on_one_another_wait_at_the_same_time() -> None:
    class Waiting(Speaker):
        open = most = 0

        async def complete(self, request: Request) -> Response:
            self.open += 1
            self.most = max(self.most, self.open)
            await asyncio.sleep(0.002)
            self.open -= 1
            return await super().complete(request)

    model = Waiting()
    await conducted("a", "b", "c", model=model)
    assert model.most > 3


async def test_a_branch_number_is_given_once() -> None:
    async with conducting("essays", Speaker(), roles=ROLES) as conduct:
        await conduct.branch(0, Essay("a"))
        with pytest.raises(UsageError, match="branch 0 is not to be had twice"):
            await conduct.branch(0, Essay("b"))


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"roles": {**ROLES, "judge": Role(rule="gate:3")}}, "role judge: rule: gate:2 -> gate:3"),
    (
        {"roles": {**ROLES, "judge": Role(model=Speaker("another"), rule="gate:2")}},
        "role judge: model: speaker -> another",
    ),
    ({"roles": {**ROLES, "judge": Role(rule="gate:2", max_tokens=9)}}, "role judge: settings"),
    ({"roles": {**ROLES, "judge": Role(rule="gate:2", flags=[])}}, "role judge: flags"),
    ({"roles": {"judge": ROLES["judge"]}}, "role propose"),
    ({"model": Speaker("another")}, "model: speaker -> another"),
    ({"origin": {"prompt": "other"}}, "origin prompt: write -> other"),
]


@pytest.mark.parametrize(("changed", "told"), CHANGES)
async def test_a_run_that_is_not_what_it_was_is_not_gone_on_with(changed: dict[str, Any], told: str) -> None:
    journal = open_journal(None)
    origin = {"prompt": "write"}
    error = await broken(BudgetReached, "a", journal=journal, budget_calls=4, origin=origin)
    ways = {"origin": origin, **changed}
    refused = await broken(FingerprintChanged, "a", journal=journal, run=error.run, **ways)
    assert told in str(refused)


async def test_a_branch_that_begins_otherwise_than_it_did_is_refused() -> None:
    journal = open_journal(None)
    error = await broken(BudgetReached, "a", journal=journal, budget_calls=4)
    refused = await broken(FingerprintChanged, "b", journal=journal, run=error.run, budget_calls=99)
    assert "branch 0 does not begin as it did" in str(refused)


async def test_an_error_names_the_branch_and_the_command_that_shows_its_step() -> None:
    error = await broken(Undecided, "a", max_samples=3, journal=open_journal(None))
    assert str(error).startswith("branch 0, step 1: 3 samples, votes [2, 1]")
    assert f"`mdap show {error.run} --step 1 --row 0`" in error.remedy


async def test_each_model_has_its_own_pace_and_a_simulated_one_the_task_of_its_branch() -> None:
    models = [Paced(simulated(p=1.0, seed=n)) for n in range(2)]
    roles = {"": Role(model=models[0], rule="ahead_by_k:3")}
    async with conducting("counts", models[1], roles=roles, in_flight=2) as conduct, asyncio.TaskGroup() as group:
        for item in range(6):
            group.create_task(conduct.branch(item, Count({"a": item, "b": 3})))
    assert models[0].most == 2
    assert models[1].asked == 0
    assert conduct.total().samples == 6 * 3 * 3


async def test_only_what_is_part_of_the_identity_must_be_the_same() -> None:
    journal = open_journal(None)
    first: dict[str, Any] = {"origin": {"prompt": "write", "restarts": 2}, "identity": {"prompt": "write"}}
    error = await broken(BudgetReached, "a", journal=journal, budget_calls=4, **first)
    assert origin_of(journal, error.run) == ("essays", {"prompt": "write", "restarts": 2})
    later = {"origin": {"prompt": "write", "restarts": 5}, "identity": {"prompt": "write"}}
    await conducted("a", journal=journal, run=error.run, budget_calls=99, **later)


async def test_a_resume_keeps_what_the_one_before_it_changed() -> None:
    journal = open_journal(None)
    error = await broken(BudgetReached, "a", journal=journal, budget_calls=4)
    await broken(BudgetReached, "a", journal=journal, run=error.run, budget_calls=6)
    await broken(BudgetReached, "a", journal=journal, run=error.run)
    assert journal.history(error.run).book.spend.calls == 6


async def test_what_cannot_change_at_a_resume_is_named() -> None:
    journal = open_journal(None)
    error = await broken(BudgetReached, "a", journal=journal, budget_calls=4)
    refused = await broken(UsageError, "a", journal=journal, run=error.run, max_tokens=9)
    assert "max_tokens cannot change at a resume" in str(refused)


async def test_notes_are_durable_when_they_return_and_are_there_at_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with conducting("essays", Speaker(), roles=ROLES, journal=path) as conduct:
        await conduct.branch(3, Essay("a"))
        await conduct.flush()
        await conduct.note(3, 1, "intent", "key-1")
        other = open_journal(path)
        assert [(act.item, act.act, act.reason) for act in other.acts(conduct.run)] == [(3, "intent", "key-1")]
        other.close()
        await conduct.note(3, 1, "outcome", "done")
    async with conducting("essays", Speaker(), roles=ROLES, journal=path, run=conduct.run) as again:
        assert [note.act for note in again.notes(3)] == ["intent", "outcome"]
        assert again.notes(4) == []


async def test_a_step_that_its_caps_left_open_can_be_taken_up_by_a_remedy_of_its_role() -> None:
    journal = open_journal(None)
    roles = {**ROLES, "judge": Role(rule="gate:2", max_samples=3)}
    _, states = await conducted("a", roles=roles, journal=journal, remedies=["samples:50"])
    assert states == [DONE]


async def test_a_run_of_another_sort_is_not_conducted() -> None:
    journal: Journal = open_journal(None)
    result = await mdap.aio.run("hanoi:disks=2", "simulated:p=1", journal=journal)
    await broken(UsageError, "a", journal=journal, run=result.run)
    run, _ = await conducted("a", journal=journal)
    with pytest.raises(UsageError, match="of the kind essays, not plan"):
        async with conducting("plan", Speaker(), roles=ROLES, journal=journal, run=run):
            pass


def test_the_time_of_branches_that_wait_at_the_same_time_counts_once() -> None:
    class Slow(Speaker):
        async def complete(self, request: Request) -> Response:
            await asyncio.sleep(1.0)
            return await super().complete(request)

    journal = open_journal(None)
    seen: list[float] = []

    def _read(event: Event) -> None:
        if isinstance(event, StepDecided):
            (head,) = journal.heads()
            seen.append(journal.history(head.id).book.seconds)

    async def _run() -> Conduct:
        async with conducting("essays", Slow(), roles=ROLES, journal=journal, on_event=_read) as conduct:
            await written(conduct, "a", "b", "c", lines=1)
        return conduct

    conduct = run_virtual(_run())
    # Four steps one after another, a second each; the judges of the first line are asked in two batches.
    assert seen[-1] == pytest.approx(5.0, abs=0.5)
    assert conduct.seconds == pytest.approx(seen[-1], abs=0.5)
    assert conduct.total().seconds == pytest.approx(3 * 8.0, abs=0.5), "samples took longer than the run did"
