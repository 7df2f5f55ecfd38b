"""The library's surface: what `run` and `resume` take, refuse and return, in scripts, in notebooks and under Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mdap
from mdap import api
from mdap.clock import run_virtual
from mdap.core.ballot import Ballot
from mdap.core.errors import (
    FingerprintChanged,
    JournalError,
    ModelError,
    RunBusy,
    UsageError,
)
from mdap.core.history import RunHead, Snapshot
from mdap.core.records import Move, Request, Response
from mdap.core.redflags import accept_all
from mdap.core.rules import AheadByK
from mdap.journal import open_journal
from tests.engine.support import Applied, Chancy, Pairs, exported, plain_run


def right(prompt: str) -> str:
    """The right reply for `Applied`, whatever is asked."""
    return '["add",1]'


def fresh(prompt_tail: str = "", **attributes: Any) -> Any:
    """A task like `Applied(6)` with another prompt or another attribute."""

    class Changed(Applied):
        def prompt(self, state: Any) -> str:
            return f"You are at {state['n']}. What comes next?{prompt_tail}"

    task = Changed(6, "changed")
    for name, value in attributes.items():
        setattr(task, name, value)
    return task


# What runs.


def test_five_lines_give_a_result() -> None:
    result = mdap.run(mdap.tasks.hanoi(disks=3), mdap.models.simulated(p=0.9), k=4)
    assert (result.status, result.steps, result.wrong) == ("done", 7, 0)
    assert "done, 7 steps" in str(result)


def test_task_model_and_rule_may_be_specs() -> None:
    result = mdap.run("hanoi:disks=3", "simulated:p=0.9", rule="first_to_k:4")
    assert (result.rule, result.head.task.partition(":")[0], result.wrong) == ("first_to_k:4", "hanoi", 0)


@pytest.mark.parametrize("kind", ["sync", "async", "request"])
def test_any_callable_is_a_model(kind: str) -> None:
    async def later(prompt: str) -> str:
        return right(prompt)

    def whole(request: Request) -> Response:
        return Response(right(request.messages[0].content))

    models: dict[str, Any] = {"sync": right, "async": later, "request": whole}
    result = mdap.run(Applied(4), models[kind])
    assert (result.status, result.votes) == ("done", 12)


def test_without_k_or_rule_k_is_3() -> None:
    assert mdap.run(Applied(1), right).rule == "ahead_by_k:3"


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    exports = [exported(run_virtual(plain_run(Pairs(8), Chancy(), seed=seed))) for seed in (1, 1, 2)]
    assert exports[0] == exports[1] != exports[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": 3, "rule": "first_to_k:3"}, "both k=3 and rule=first_to_k:3"),
        ({"k": 0}, "k=0 is not a margin"),
        ({"rule": "plurality"}, "unknown rule 'plurality'"),
        ({"max_sample": 3}, "did you mean 'max_samples'"),
        ({"max_samples": 0}, "max_samples=0 is out of range"),
        ({"timeout": -1}, "timeout=-1 is not a time"),
        ({"record": "all"}, "record='all' is unknown"),
        ({"task": "hanio:disks=3"}, "did you mean 'hanoi'"),
        ({"task": object()}, "is no task"),
        ({"model": "simulatd"}, "did you mean 'simulated'"),
        ({"model": 7}, "is no model"),
        ({"flag_tokens": 0}, "flag_tokens=0"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    given = {"task": Applied(1), "model": right, "journal": tmp_path / "runs.db", **arguments}
    with pytest.raises(UsageError, match=said):
        mdap.run(given.pop("task"), given.pop("model"), **given)
    assert not (tmp_path / "runs.db").exists()


class Twice(msgspec.Struct, frozen=True):
    """A rule of one's own: a candidate with two more votes than all others together wins."""

    spec: str = "twice"
    k: int = 2

    def needed(self, ballot: Ballot) -> int:
        return max(0, self.k - ballot.first + (ballot.votes - ballot.first))

    def decided(self, ballot: Ballot) -> bool:
        return self.needed(ballot) == 0 and ballot.votes > 0


def test_a_rule_of_ones_own_decides_and_must_be_given_again_at_a_resume() -> None:
    journal, task = open_journal(None), Pairs(6)
    whole = run_virtual(plain_run(task, Chancy(), rule=Twice()))
    first = run_virtual(plain_run(task, Chancy(), rule=Twice(), journal=journal, max_steps=2))
    assert first.rule == "twice"
    assert first.to_dict()["k"] == 2
    assert first.predicted_success is None
    with pytest.raises(UsageError, match="unknown rule 'twice'"):
        run_virtual(api.resume(first.run, journal=journal, task=task, model=Chancy()))
    last = run_virtual(api.resume(first.run, journal=journal, task=task, model=Chancy(), rule=Twice(), max_steps=None))
    assert exported(last) == exported(whole)
    assert all(line["votes"][0] - sum(line["votes"][1:]) == 2 for line in last.export())


# Red flags.


def test_red_flags_replace_the_defaults_or_come_after_them() -> None:
    def shouting(response: Response, request: Request) -> str | None:
        return "it shouts" if response.text.isupper() else None

    async def cut(request: Request) -> Response:
        return Response(right(""), "length")

    assert mdap.run(Applied(1), cut, redraws=0).flagged == {"truncated": 3}
    assert mdap.run(Applied(1), cut, red_flags=[accept_all]).status == "done"
    loud = mdap.run(Applied(1), lambda _: '["ADD",1]', extra_flags=[shouting], redraws=0)
    assert (loud.status, loud.flagged) == ("undecided", {"shouting": 3})


def test_a_flag_of_ones_own_that_raises_is_an_error_and_no_flag() -> None:
    def broken(response: Response, request: Request) -> str | None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(mdap.errors.TaskError, match="step 0: a red flag raised ZeroDivisionError: a bug"):
        mdap.run(Applied(1), right, extra_flags=[broken])


# Resume and the fingerprint.


def stopped(task: Any, model: Any = None, **options: Any) -> tuple[Any, str]:
    journal = open_journal(None)
    result = run_virtual(plain_run(task, model or Chancy(), journal=journal, max_steps=3, **options))
    assert result.status == "stopped"
    return journal, result.run


@pytest.mark.parametrize(
    ("again", "said"),
    [
        ({"task": fresh(" Think.")}, r"prompt: user: You are at 0. What comes next\? -> .* Think."),
        ({"task": fresh(version=2)}, r"version:  -> 2"),
        ({"task": fresh(spec="another")}, "task: changed -> another"),
        ({"model": right}, "model: chancy -> tests.test_api:right"),
        ({"rule": "ahead_by_k:4"}, "rule: ahead_by_k:3 -> ahead_by_k:4"),
        ({"red_flags": [accept_all]}, "flags: truncated,refused,empty,repeated -> accept_all"),
    ],
)
def test_a_run_is_not_resumed_with_something_else_and_the_difference_is_shown(again: dict[str, Any], said: str) -> None:
    journal, run = stopped(fresh())
    before = journal.history(run)
    with pytest.raises(FingerprintChanged, match=said) as caught:
        run_virtual(api.resume(run, **{"journal": journal, "task": fresh(), "model": Chancy(), **again}))
    assert f"mdap resume {run} --accept-changes" in caught.value.remedy
    assert journal.history(run) == before, "a refused resume leaves no trace"


def test_accepted_changes_begin_an_epoch_at_the_next_step() -> None:
    journal, run = stopped(fresh())
    changed = {"journal": journal, "task": fresh(" Think."), "model": Chancy()}
    last = run_virtual(api.resume(run, accept_changes=True, max_steps=None, **changed))
    assert last.status == "done"
    ((step, fingerprint),) = last.book.epochs
    assert step == 3
    assert fingerprint["prompt"].endswith("Think.")
    # From now on the new prompt is the run's own, and the old one is a change.
    assert run_virtual(api.resume(run, **changed)).status == "done"
    with pytest.raises(FingerprintChanged):
        run_virtual(api.resume(run, journal=journal, task=fresh(), model=Chancy()))


def test_a_new_epoch_begins_its_ballot_anew() -> None:
    journal, model = open_journal(None), Chancy(p=0.5)
    first = run_virtual(plain_run(fresh(), model, journal=journal, k=6, max_samples=10))
    assert first.book.ballot is not None
    assert first.book.ballot.taken == 10
    second = Chancy(p=1.0)
    last = run_virtual(
        api.resume(first.run, journal=journal, task=fresh("!"), model=second, accept_changes=True, max_samples=20)
    )
    assert last.status == "done"
    of_step = [draw for draw in second.draws() if draw[0] == first.steps]
    assert of_step == [(first.steps, slot, 0) for slot in range(6)]


def test_an_accepted_rule_decides_from_then_on() -> None:
    journal, run = stopped(Pairs(6), Chancy(p=1.0))
    last = run_virtual(
        api.resume(
            run,
            journal=journal,
            task=Pairs(6),
            model=Chancy(p=1.0),
            rule=AheadByK(5),
            accept_changes=True,
            max_steps=None,
        )
    )
    assert [line["votes"] for line in last.export()] == [[3]] * 3 + [[5]] * 3
    assert last.rule == "ahead_by_k:5"


@pytest.mark.parametrize("change", [{"seed": 4}, {"temperature": 0.5}, {"max_tokens": 10}, {"record": "none"}])
def test_what_a_resume_cannot_change_is_refused_by_name(change: dict[str, Any]) -> None:
    journal, run = stopped(Pairs(6))
    with pytest.raises(UsageError, match=f"{next(iter(change))} cannot change at a resume"):
        run_virtual(api.resume(run, journal=journal, task=Pairs(6), model=Chancy(), **change))


def test_a_change_out_of_range_is_a_usage_error_at_a_resume_too() -> None:
    journal, run = stopped(Pairs(6))
    with pytest.raises(UsageError, match="max_samples=0 is out of range"):
        run_virtual(api.resume(run, journal=journal, task=Pairs(6), model=Chancy(), max_samples=0))


def test_task_and_model_are_made_again_from_their_specs_and_a_short_id_is_enough(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    first = mdap.run("hanoi:disks=4", "simulated:p=0.8", journal=journal, max_steps=5)
    last = mdap.resume(first.run[:8], journal=journal, max_steps=None)
    assert (last.status, last.steps, last.wrong) == ("done", 15, mdap.run("hanoi:disks=4", "simulated:p=0.8").wrong)
    assert last.run == first.run


def test_an_unknown_run_is_refused_with_what_there_is(tmp_path: Path) -> None:
    first = mdap.run("hanoi:disks=2", "simulated", journal=tmp_path / "runs.db")
    with pytest.raises(JournalError, match=first.run):
        mdap.resume("nothing", journal=tmp_path / "runs.db")


def test_a_run_that_is_driven_cannot_be_driven_twice() -> None:
    journal = open_journal(None)

    async def main() -> None:
        model = Chancy(latency=5.0)
        work = asyncio.create_task(plain_run(Pairs(6), model, journal=journal))
        await asyncio.sleep(7)
        with pytest.raises(RunBusy, match=str(os.getpid())):
            await api.resume(journal.heads()[0].id, journal=journal, task=Pairs(6), model=Chancy())
        assert (await work).status == "done"

    run_virtual(main())


def test_a_run_that_was_killed_before_its_first_state_was_kept_can_still_be_resumed() -> None:
    journal, run = stopped(Pairs(6))
    left = open_journal(None)
    head: RunHead = journal.head(run)
    left.create(head)
    last = run_virtual(api.resume(run, journal=left, task=Pairs(6), model=Chancy(), max_steps=None))
    assert exported(last) == exported(run_virtual(plain_run(Pairs(6), Chancy())))
    assert left.snapshot(run, 0) == Snapshot(0, {"n": 0, "path": []})


# Ownership.


class Closing(Chancy):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


def test_a_model_that_was_handed_in_stays_open_in_aio_and_is_closed_with_its_loop_in_run() -> None:
    model = Closing()
    run_virtual(plain_run(Pairs(2), model))
    assert model.closed == 0
    mdap.run(Pairs(2), model)
    assert model.closed == 1


def test_a_journal_that_was_handed_in_stays_open() -> None:
    journal = open_journal(None)
    for _ in range(2):
        assert mdap.run(Pairs(2), Chancy(), journal=journal).status == "done"
    assert len(journal.heads()) == 2


def test_many_runs_share_a_model_and_a_journal_and_none_changes_another(tmp_path: Path) -> None:
    journal, shared = open_journal(tmp_path / "runs.db"), Chancy(latency=1.0)

    async def main() -> list[Any]:
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(plain_run(Pairs(5), shared, journal=journal, seed=n)) for n in range(6)]
        return [work.result() for work in works]

    results = run_virtual(main())
    alone = [exported(run_virtual(plain_run(Pairs(5), Chancy(), seed=n))) for n in range(6)]
    assert [exported(result) for result in results] == alone
    journal.close()


# Scripts, notebooks, Ctrl-C.


def in_a_notebook(cell: Any) -> Any:
    """What a cell returns that is run as a notebook runs it: in a loop that is running, with Ctrl-C as an error."""
    loop = asyncio.new_event_loop()

    async def _cell() -> Any:
        return cell()

    try:
        return loop.run_until_complete(_cell())
    finally:
        loop.close()


def test_run_resume_and_vote_work_where_a_loop_is_running(tmp_path: Path) -> None:
    def cell() -> tuple[Any, Any, Any]:
        first = mdap.run(Applied(6), right, journal=tmp_path / "runs.db", max_steps=2)
        last = mdap.resume(first.run, journal=tmp_path / "runs.db", task=Applied(6), model=right, max_steps=None)
        return first, last, mdap.vote(lambda: 1)

    first, last, voted = in_a_notebook(cell)
    assert (first.status, last.status, voted.winner) == ("stopped", "done", 1)


def test_an_error_in_a_notebook_is_raised_there() -> None:
    with pytest.raises(UsageError, match="k=0"):
        in_a_notebook(lambda: mdap.run(Applied(2), right, k=0))


def interrupting(after: int) -> Any:
    """A model that answers so many calls, then presses Ctrl-C and hangs."""
    calls = 0

    async def model(prompt: str) -> str:
        nonlocal calls
        calls += 1
        if calls <= after:
            return right(prompt)
        if calls == after + 1:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        await asyncio.sleep(600)
        raise AssertionError("it was not cancelled")

    return model


@pytest.mark.parametrize("notebook", [False, True])
def test_ctrl_c_ends_the_calls_keeps_what_was_decided_and_the_run_goes_on(notebook: bool, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    def cell() -> Any:
        return mdap.run(Applied(6), interrupting(7), journal=path)

    with pytest.raises(KeyboardInterrupt):
        in_a_notebook(cell) if notebook else cell()
    journal = open_journal(path)
    head = journal.heads()[0]
    book = journal.history(head.id).book
    journal.close()
    assert (book.status, book.steps) == ("interrupted", 2)
    assert book.ballot is not None
    assert book.ballot.taken == 1
    last = mdap.resume(head.id, journal=path, task=Applied(6), model=interrupting(100), accept_changes=True)
    assert (last.status, last.steps) == ("done", 6)


# The names.


def test_importing_mdap_offers_its_names_and_no_others() -> None:
    assert len(mdap.__all__) <= 24
    assert all(getattr(mdap, name) is not None for name in mdap.__all__)
    assert set(dir(mdap)) == set(mdap.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mdap.nothing


def test_a_model_of_ones_own_that_cannot_go_on_raises_what_it_raised() -> None:
    def unwell(prompt: str) -> str:
        raise ModelError("no more", kind="gone")

    result = mdap.run(Applied(1), unwell, retries=0)
    assert (result.status, result.samples) == ("undecided", 0)
    assert "no more" in result.reason


def test_the_answers_of_a_task_play_no_part_in_its_run() -> None:
    class Lying(Applied):
        def answer(self, state: Any) -> Move:
            return Move(["add", 7], state)

    result = mdap.run(Lying(4), right)
    assert (list(result.actions), result.wrong, result.wrong_steps) == ([["add", 1]] * 4, 4, [0, 1, 2, 3])


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("journal", [False, True])
def test_a_run_whose_model_waits_for_nobody_lets_others_run_and_can_be_cancelled(
    k: int, journal: bool, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db" if journal else None

    async def main() -> None:
        run = asyncio.create_task(mdap.aio.run("hanoi:disks=20", "simulated:p=1", k=k, journal=path))
        # Ten turns of somebody else in between: without them its cancellation would not even be looked at.
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not run.done()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    if path is not None:
        store = open_journal(path)
        book = store.history(store.heads()[0].id).book
        store.close()
        assert book.status == "interrupted"
        assert 0 < book.steps < 2**20 - 1


def test_in_virtual_time_too_a_run_that_waits_for_nobody_gives_way() -> None:
    async def main() -> int:
        run = asyncio.create_task(mdap.aio.run("hanoi:disks=20", "simulated:p=1", k=1, max_steps=3_000))
        turns = 0
        while not run.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert run_virtual(main()) > 10


class Broken:
    """A model object of somebody's own whose code fails, once or for good."""

    spec = "broken"

    def __init__(self, error: BaseException, times: int = 1_000) -> None:
        self.error = error
        self.left = times

    async def complete(self, request: Request) -> Response:
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return Response(right(""))


class Bound(Broken):
    """The same, and it wants to know the task."""

    def bind(self, task: Any) -> Bound:
        return Bound(self.error, self.left)


@pytest.mark.parametrize("model", [Broken, Bound])
def test_what_a_model_object_raises_is_one_error_that_names_it_and_the_way_on(model: type[Broken]) -> None:
    with pytest.raises(ModelError, match="broken raised KeyError: 'choices'") as raised:
        mdap.run(Applied(1), model(KeyError("choices")))
    assert any("what was decided is kept" in note for note in raised.value.__notes__)


def test_what_may_be_the_networks_is_tried_again_for_a_model_object_too() -> None:
    async def main() -> Any:
        return await mdap.aio.run(Applied(1), Broken(ConnectionResetError("gone"), 2))

    result = run_virtual(main())
    assert (result.status, result.retries) == ("done", {"failed": 2})


def test_a_map_whose_model_object_fails_ends_in_one_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="broken raised KeyError: 'choices'") as raised:
        mdap.map(lambda _: Applied(1), [{}, {}], model=Bound(KeyError("choices")), journal=tmp_path / "map.db")
    assert any("what was decided is kept" in note for note in raised.value.__notes__)


def test_a_reply_that_is_no_response_is_an_error_that_says_what_came() -> None:
    class Speaker:
        spec = "speaker"

        async def complete(self, request: Request) -> str:
            return right("")

    with pytest.raises(ModelError, match="speaker returned str, not a Response"):
        mdap.run(Applied(1), Speaker())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"remedies": ["prayer"]}, {"remedies": ["stop", "person"]}, {"hedge": 1, "leader_first": True}]
)
def test_what_cannot_be_carried_out_leaves_no_run_behind(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        mdap.run("hanoi:disks=2", "simulated:p=1", journal=tmp_path / "runs.db", **options)
    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize(
    "options", ["", ":flags=0.5", ":hard=0.1,flags=1", ":wrong=spread", ":paper", ":flags=0.5,p=0.8"]
)
def test_a_spec_that_a_run_has_kept_makes_the_same_model_again(options: str) -> None:
    journal = open_journal(None)
    first = mdap.run("hanoi:disks=3", f"simulated{options}", k=1, journal=journal, max_steps=1)
    kept = journal.heads()[0].model
    assert mdap.resume(first.run, journal=journal, max_steps=2).status in ("stopped", "undecided")
    assert journal.heads()[0].model == kept
