"""However a run ended: what it decided is kept, what it asked is not asked again, and it ends like an unbroken run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import JournalError, ModelError, ModelRejected, Stop, TaskError
from mdap.core.events import Called, Event, Flagged, Started, StepDecided
from mdap.core.history import Entry
from mdap.core.records import Message, Move, Request, Response
from mdap.journal import open_journal
from mdap.protocols import Journal
from mdap.result import Result
from tests.engine.support import SHAPES, Chancy, Pairs, Watched, exported, plain_run

RULES: dict[str, Any] = {"k": 3, "seed": 11, "max_samples": 300, "redraws": 30}
CHANCE: dict[str, Any] = {"p": 0.6, "flags": 0.25}
STEPS = 9


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.slow)])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    store = open_journal(None if request.param == "memory" else tmp_path / "runs.db")
    yield store
    store.close()


def unbroken(shape: type[Pairs], **chance: float) -> tuple[Result, Chancy]:
    model = Chancy(**{**CHANCE, **chance})
    return run_virtual(plain_run(shape(STEPS), model, **RULES)), model


def resumed(run: str, journal: Journal, task: Pairs, model: Any, **changes: Any) -> Result:
    return run_virtual(api.resume(run, journal=journal, task=task, model=model, **changes))


def assert_equal_to_unbroken(shape: type[Pairs], last: Result, *models: Chancy, unread: bool = False) -> None:
    """`unread`: replies may have been lost between their arrival and their reading, and were asked for again."""
    whole, asked = unbroken(shape)
    assert last.status == "done"
    assert exported(last) == exported(whole)
    assert last.state == whole.state
    answered = [draw for model in models for draw in model.answered]
    assert unread or len(set(answered)) == len(answered), "a draw that had a reply was asked again"
    assert set(answered) == set(asked.answered), "a draw was made that an unbroken run does not make"
    assert (last.samples, last.votes, last.flagged) == (whole.samples, whole.votes, whole.flagged)
    assert last.book.kinds == whole.book.kinds


class Ending(NamedTuple):
    """A way to end a run early by options, the status it has then, and the options that it goes on with."""

    status: str
    options: dict[str, Any]
    changes: dict[str, Any]


def stop_at(when: Callable[[Event], bool]) -> Callable[[Event], None]:
    def observer(event: Event) -> None:
        if when(event):
            raise Stop("that will do")

    return observer


def the(number: int, kind: type[Event]) -> Callable[[Event], bool]:
    """True of the n-th event of this kind."""
    seen: list[Event] = []

    def matches(event: Event) -> bool:
        if isinstance(event, kind):
            seen.append(event)
            return len(seen) == number
        return False

    return matches


ENDINGS: dict[str, Callable[[], Ending]] = {
    "samples": lambda: Ending("undecided", {"max_samples": 6}, {"max_samples": 300}),
    "redraws": lambda: Ending("undecided", {"redraws": 0}, {"redraws": 30}),
    "steps": lambda: Ending("stopped", {"max_steps": 4}, {"max_steps": None}),
    "calls": lambda: Ending("budget", {"budget_calls": 31}, {"budget_calls": None}),
    "tokens": lambda: Ending("budget", {"budget_tokens": 9_000}, {"budget_tokens": None}),
    "seconds": lambda: Ending("budget", {"budget_seconds": 0.0}, {"budget_seconds": None}),
    "stop at start": lambda: Ending("stopped", {"on_event": stop_at(the(1, Started))}, {}),
    "stop at a decision": lambda: Ending("stopped", {"on_event": stop_at(the(4, StepDecided))}, {}),
    "stop at a flag": lambda: Ending("stopped", {"on_event": stop_at(the(3, Flagged))}, {}),
    "stop at a call": lambda: Ending("stopped", {"on_event": stop_at(the(33, Called))}, {}),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_that_ended_early_goes_on_with_its_tally_and_its_draw_number(
    shape: type[Pairs], ending: str, journal: Journal
) -> None:
    status, options, changes = ENDINGS[ending]()
    first, second = Chancy(**CHANCE), Chancy(**CHANCE)
    stopped = run_virtual(plain_run(shape(STEPS), first, journal=journal, **{**RULES, **options}))
    assert stopped.status == status
    assert stopped.steps < STEPS
    assert stopped.reason
    assert exported(stopped) == exported(unbroken(shape)[0])[: stopped.steps]
    last = resumed(stopped.run, journal, shape(STEPS), second, **changes)
    assert_equal_to_unbroken(shape, last, first, second)
    assert last.book.spend.calls == len(first.requests) + len(second.requests)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_that_stays_undecided_is_taken_up_again_any_number_of_times(
    shape: type[Pairs], journal: Journal
) -> None:
    models = [Chancy(**CHANCE)]
    last = run_virtual(plain_run(shape(STEPS), models[0], journal=journal, **{**RULES, "max_samples": 3}))
    for cap in range(4, 300):
        if last.status == "done":
            break
        assert last.status == "undecided"
        models.append(Chancy(**CHANCE))
        last = resumed(last.run, journal, shape(STEPS), models[-1], max_samples=cap)
    assert len(models) > 3
    assert_equal_to_unbroken(shape, last, *models)


def test_resuming_with_the_same_cap_or_a_lower_one_asks_nothing_and_stays_undecided(journal: Journal) -> None:
    first = run_virtual(plain_run(Pairs(STEPS), Chancy(p=0.5), journal=journal, k=5, max_samples=7))
    assert first.status == "undecided"
    for cap in (7, 6, 5, 3, 1):
        idle = Chancy(p=0.5)
        again = resumed(first.run, journal, Pairs(STEPS), idle, max_samples=cap)
        assert (again.status, again.steps, idle.requests) == ("undecided", first.steps, [])
        assert again.samples == first.samples


def test_a_run_that_is_done_is_done_again_without_a_call(journal: Journal) -> None:
    first = run_virtual(plain_run(Pairs(STEPS), Chancy(), journal=journal))
    idle = Chancy()
    again = resumed(first.run, journal, Pairs(STEPS), idle)
    assert (again.status, idle.requests, exported(again)) == ("done", [], exported(first))
    assert again.state == first.state


# Cancellation.


@pytest.mark.slow
@given(at=st.floats(0.1, 60), in_flight=st.integers(1, 8), shape=st.sampled_from(SHAPES))
def test_a_run_that_is_cancelled_ends_its_calls_and_leaves_nothing_behind(
    at: float, in_flight: int, shape: type[Pairs]
) -> None:
    journal, first, second = open_journal(None), Chancy(**CHANCE, latency=4.0), Chancy(**CHANCE)

    async def main() -> str:
        work = asyncio.create_task(
            plain_run(shape(STEPS), first, journal=journal, in_flight=in_flight, **RULES), name="run"
        )
        await asyncio.sleep(at)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert first.open == 0
        return journal.heads()[0].id

    run = run_virtual(main())
    assert journal.history(run).book.status in ("interrupted", "done")
    last = resumed(run, journal, shape(STEPS), second)
    assert_equal_to_unbroken(shape, last, first, second)
    # What was cancelled may have been billed: it counts.
    assert last.book.spend.calls == len(first.requests) + len(second.requests)


# Errors.


class Failing(Chancy):
    """Is rejected at the n-th call."""

    def __init__(self, at: int, error: BaseException, **chance: Any) -> None:
        super().__init__(**chance)
        self.at, self.error = at, error

    async def complete(self, request: Request) -> Response:
        if len(self.requests) == self.at:
            raise self.error
        return await super().complete(request)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("at", [0, 1, 7, 20])
def test_a_rejected_call_raises_once_its_siblings_have_ended_and_the_run_can_go_on(
    shape: type[Pairs], at: int, journal: Journal
) -> None:
    first, second = Failing(at, ModelRejected("no such key"), **CHANCE, latency=2.0), Chancy(**CHANCE)

    async def main() -> None:
        with pytest.raises(ModelRejected, match="no such key") as caught:
            await plain_run(shape(STEPS), first, journal=journal, **RULES)
        assert any("mdap resume" in note for note in caught.value.__notes__)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())
    assert first.open == first.cancelled == 0
    run = journal.heads()[0].id
    book = journal.history(run).book
    assert (book.status, book.reason) == ("error", "no such key")
    assert_equal_to_unbroken(shape, resumed(run, journal, shape(STEPS), second), first, second)


class Halt(BaseException):
    """What is no error of anybody's code, as an exit is none."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("error", "raised"), [(ZeroDivisionError("a bug"), ModelError), (Halt("a bug"), Halt)], ids=["bug", "halt"]
)
def test_what_a_model_object_raises_leaves_no_call_behind_and_the_run_goes_on(
    shape: type[Pairs], journal: Journal, error: BaseException, raised: type[BaseException]
) -> None:
    first, second = Failing(8, error, **CHANCE, latency=2.0), Chancy(**CHANCE)

    async def main() -> None:
        with pytest.raises(raised, match="a bug"):
            await plain_run(shape(STEPS), first, journal=journal, **RULES)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())
    assert first.open == 0
    run = journal.heads()[0].id
    assert journal.history(run).book.status == "error"
    assert_equal_to_unbroken(shape, resumed(run, journal, shape(STEPS), second), first, second)


class Fragile(Pairs):
    """Breaks in one of its methods in one state."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__(STEPS)
        self.method, self.error = method, error

    def _break(self, method: str, state: Any) -> None:
        if method == self.method and state["n"] == 4:
            raise self.error

    def is_done(self, state: Any) -> bool:
        self._break("is_done", state)
        return super().is_done(state)

    def kind(self, state: Any) -> str:
        self._break("kind", state)
        return ""

    def prompt(self, state: Any) -> str | Sequence[Message]:
        self._break("prompt", state)
        return super().prompt(state)

    def parse(self, text: str, state: Any) -> Move:
        self._break("parse", state)
        return super().parse(text, state)

    def check(self, state: Any, move: Move) -> str | None:
        self._break("check", state)
        return None

    def key(self, move: Move) -> Any:
        if self.method == "key" and move.next_state["n"] == 5:
            raise self.error
        return [move.action, move.next_state]


@pytest.mark.parametrize("method", ["is_done", "kind", "prompt", "parse", "check", "key"])
def test_a_method_of_a_task_that_raises_is_named_and_the_run_goes_on_with_a_mended_task(method: str) -> None:
    journal, first, second = open_journal(None), Chancy(**CHANCE), Chancy(**CHANCE)
    with pytest.raises(TaskError, match=rf"Fragile.{method} raised KeyError: 'x'") as caught:
        run_virtual(plain_run(Fragile(method, KeyError("x")), first, journal=journal, **RULES))
    if method in ("prompt", "parse", "check", "key"):
        assert caught.value.step == 4
        assert str(caught.value).startswith("step 4: ")
    run = journal.heads()[0].id
    book = journal.history(run).book
    assert (book.status, book.steps) == ("error", 4)
    last = resumed(run, journal, Fragile("none", KeyError()), second)
    assert_equal_to_unbroken(Pairs, last, first, second, unread=method in ("parse", "check", "key"))


def test_a_value_error_of_a_parser_is_a_malformed_reply() -> None:
    result = run_virtual(plain_run(Fragile("parse", ValueError("no number")), Chancy(p=1.0), redraws=1))
    assert (result.status, result.steps, set(result.flagged)) == ("undecided", 4, {"malformed"})
    assert result.samples_of(4)[0].reason == "no number"


# A journal that fails.


@pytest.mark.slow
@given(at=st.integers(0, 25), shape=st.sampled_from(SHAPES))
def test_a_journal_that_can_take_no_more_raises_and_loses_nothing_that_it_took(at: int, shape: type[Pairs]) -> None:
    def full(entry: Entry) -> None:
        if len(watched.entries) >= at:
            raise JournalError("the disk is full")

    watched = Watched(before_append=full)
    inner = watched.inner
    first, second = Chancy(**CHANCE, latency=1.0), Chancy(**CHANCE)

    async def main() -> None:
        # Snapshot, one decision a step, the end: a run that needs more than fits does not return.
        with pytest.raises(JournalError, match="the disk is full") if at < STEPS + 2 else nullcontext():
            await plain_run(shape(STEPS), first, journal=watched, **RULES)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())
    run = inner.heads()[0].id
    assert inner.history(run).book.steps == max(0, min(at - 1, STEPS))
    last = resumed(run, inner, shape(STEPS), second)
    assert exported(last) == exported(unbroken(shape)[0])


@given(at=st.integers(1, 12))
def test_no_result_leaves_a_run_whose_last_commit_failed(at: int) -> None:
    watched = Watched(fail_wait_at=at)
    if at <= STEPS + 2:
        with pytest.raises(JournalError, match="the disk is full"):
            run_virtual(plain_run(Pairs(STEPS), Chancy(**CHANCE), journal=watched, **RULES))
    else:
        assert run_virtual(plain_run(Pairs(STEPS), Chancy(**CHANCE), journal=watched, **RULES)).status == "done"


# A kill: what was durable is all there is.


@pytest.mark.slow
@given(entries=st.integers(0, 40), shape=st.sampled_from(SHAPES), budget=st.booleans())
def test_a_run_that_was_killed_after_any_entry_goes_on_to_the_same_end(
    entries: int, shape: type[Pairs], budget: bool
) -> None:
    watched, first, second = Watched(), Chancy(**CHANCE), Chancy(**CHANCE)
    options = {"budget_calls": 1_000} if budget else {}
    run_virtual(plain_run(shape(STEPS), first, journal=watched, **RULES, **options))
    left = watched.killed_after(min(entries, len(watched.entries) - 1))
    run = left.heads()[0].id
    decided = left.history(run).book.steps
    last = resumed(run, left, shape(STEPS), second)
    whole, _ = unbroken(shape)
    assert exported(last) == exported(whole)
    assert last.state == whole.state
    assert all(step >= decided for step, _, _ in second.draws()), "a decided step was asked again"
    # What the kill left unsettled counts as spent, and no call is forgotten.
    known = sum(1 for step, _, _ in first.draws() if step < decided)
    assert last.book.spend.calls >= known + len(second.requests)


def test_a_second_kill_and_a_third_change_nothing_either() -> None:
    watched = Watched()
    run_virtual(plain_run(Pairs(STEPS), Chancy(**CHANCE), journal=watched, **RULES))
    last = None
    for entries in (3, 6, 8):
        left = Watched(watched.killed_after(entries))
        left.head_given, left.entries = watched.head_given, list(watched.entries[:entries])
        run = left.heads()[0].id
        last = resumed(run, left, Pairs(STEPS), Chancy(**CHANCE))
        watched = left
    assert last is not None
    assert exported(last) == exported(unbroken(Pairs)[0])
