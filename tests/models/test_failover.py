"""Failover: when a model is left and tried again, what counts as a failure, and that a resumed run goes on with it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.history import Decided
from mdap.core.records import Draw, Message, Prompt, Request, Response
from mdap.journal import open_journal
from mdap.models.catalog import as_model
from mdap.models.failover import FAILURES, FIRST_REST, Failover
from mdap.models.mixture import Mixture
from tests.engine.support import Chancy, Pairs, Watched, exported


def request(slot: int = 0) -> Request:
    return Request(Prompt((Message("user", "hi"),), "d"), Draw(0, slot), slot, 0.1, 10)


class Moody:
    """Answers with its name while `error` is None, else raises that."""

    def __init__(self, spec: str, error: ModelError | None = None) -> None:
        self.spec, self.error, self.asked = spec, error, 0
        self.is_closed = False
        self.learnt: tuple[str, ...] = ()

    async def complete(self, request: Request) -> Response:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Response(self.spec)

    @property
    def condition(self) -> tuple[str, ...]:
        return self.learnt

    def restore(self, condition: Any) -> None:
        self.learnt = tuple(condition)

    async def close(self) -> None:
        self.is_closed = True


def dead() -> ModelError:
    return ModelError("the line went dead", kind="dropped")


async def ask(model: Failover, times: int = 1) -> list[str]:
    """Who answered; a failure is written as a dash."""
    told = []
    for n in range(times):
        try:
            told.append((await model.complete(request(n))).text)
        except ModelError:
            told.append("-")
    return told


async def test_the_first_model_answers_while_it_can() -> None:
    first, second = Moody("a"), Moody("b")
    assert await ask(Failover([first, second]), 3) == ["a", "a", "a"]
    assert second.asked == 0


async def test_a_model_is_left_after_so_many_failures_in_a_row_and_the_next_answers() -> None:
    first, second = Moody("a", dead()), Moody("b")
    assert await ask(Failover([first, second]), FAILURES + 3) == ["-"] * FAILURES + ["b"] * 3
    assert first.asked == FAILURES


async def test_a_success_in_between_begins_the_count_anew() -> None:
    first, second = Moody("a", dead()), Moody("b")
    model = Failover([first, second])
    for _ in range(4):
        await ask(model, FAILURES - 1)
        first.error = None
        assert await ask(model) == ["a"]
        first.error = dead()
    assert second.asked == 0


@pytest.mark.parametrize(
    "error", [ModelError("too many", status=429), ModelError("not sent any more", kind="adapted", status=400)]
)
async def test_a_refusal_for_too_many_calls_and_an_adaptation_are_no_failures(error: ModelError) -> None:
    first, second = Moody("a", error), Moody("b")
    await ask(Failover([first, second]), 5 * FAILURES)
    assert second.asked == 0


async def test_after_the_rest_one_call_tries_again_and_takes_the_model_back_if_it_answers() -> None:
    first, second = Moody("a", dead()), Moody("b")
    model = Failover([first, second])
    await ask(model, FAILURES)
    first.error = None
    assert await ask(model, FIRST_REST + 2) == ["b"] * FIRST_REST + ["a", "a"]


async def test_each_try_that_fails_doubles_the_rest() -> None:
    first, second = Moody("a", dead()), Moody("b")
    model = Failover([first, second])
    await ask(model, FAILURES)
    for rest in (FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST):
        assert await ask(model, rest + 1) == ["b"] * rest + ["-"]


async def test_while_one_call_tries_a_model_again_all_others_still_go_past_it() -> None:
    class Slow(Moody):
        async def complete(self, request: Request) -> Response:
            response = await super().complete(request)
            await asyncio.sleep(0.01)
            return response

    first, second = Slow("a", dead()), Moody("b")
    model = Failover([first, second])
    await ask(model, FAILURES + FIRST_REST)
    first.error = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(model)) for _ in range(4)]
    assert [task.result() for task in tasks] == [["a"], ["b"], ["b"], ["b"]]


async def test_a_try_that_is_cancelled_is_made_again() -> None:
    class Hangs(Moody):
        async def complete(self, request: Request) -> Response:
            await super().complete(request)
            await asyncio.sleep(3600)
            raise AssertionError("nobody waits so long")

    first, second = Hangs("a", dead()), Moody("b")
    model = Failover([first, second])
    await ask(model, FAILURES + FIRST_REST)
    first.error = None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await model.complete(request())
    first.error = dead()
    assert await ask(model, 2) == ["-", "b"]


async def test_if_every_model_rests_the_last_one_answers() -> None:
    first, second = Moody("a", dead()), Moody("b", dead())
    model = Failover([first, second])
    assert await ask(model, 2 * FAILURES + 3) == ["-"] * (2 * FAILURES + 3)
    assert (first.asked, second.asked) == (FAILURES, FAILURES + 3)
    second.error = None
    assert await ask(model, 2) == ["b", "b"]


async def test_a_rejection_leaves_the_model_at_once_and_is_tried_again_with_the_next() -> None:
    first, second = Moody("a", ModelRejected("no such model", kind="404", status=404)), Moody("b")
    model = Failover([first, second])
    with pytest.raises(ModelError) as caught:
        await model.complete(request())
    assert (caught.value.retryable, caught.value.retry_after) == (True, 0.0)
    assert await ask(model, 3) == ["b", "b", "b"]


async def test_a_rejection_by_every_model_is_one() -> None:
    models = [Moody(name, ModelRejected("wrong key", kind="401", status=401)) for name in "abc"]
    model = Failover(models)
    kinds = []
    for _ in models:
        with pytest.raises(ModelError) as caught:
            await model.complete(request())
        kinds.append(type(caught.value))
    assert kinds == [ModelError, ModelError, ModelRejected]


async def test_each_reply_says_which_model_gave_it() -> None:
    model = Failover([Moody("a", dead()), Moody("b")])
    await ask(model, FAILURES)
    assert (await model.complete(request())).model == "b"


async def test_leaving_and_coming_back_are_told_to_the_user(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Moody("a", dead()), Moody("b")
    model = Failover([first, second])
    with caplog.at_level(logging.WARNING, "mdap"):
        await ask(model, FAILURES)
        first.error = None
        await ask(model, FIRST_REST + 1)
    left, back = caplog.messages
    assert (
        left == f"a rests for 100 calls after {FAILURES} failures in a row, the last: the line went dead; b takes over"
    )
    assert back == "a answers again"


@pytest.mark.parametrize("calls", [1, FAILURES - 1, FAILURES, FAILURES + 30, FAILURES + FIRST_REST + 1])
async def test_a_condition_that_is_restored_goes_on_as_if_there_had_been_no_break(calls: int) -> None:
    def made() -> tuple[Failover, Moody]:
        first = Moody("a", dead())
        return Failover([first, Moody("b")]), first

    whole, _ = made()
    await ask(whole, calls)
    again, _ = made()
    again.restore(whole.condition)
    assert again.condition == whole.condition
    assert await ask(again, 300) == await ask(whole, 300)


def test_the_condition_holds_what_the_models_themselves_have_learnt() -> None:
    first, second, third = Moody("a"), Moody("b"), Moody("c")
    first.learnt, third.learnt = ("temperature",), ("seed", "n")
    model = Failover([Mixture([first, second]), third])
    told = model.condition
    fresh = [Moody(name) for name in "abc"]
    Failover([Mixture(fresh[:2]), fresh[2]]).restore(told)
    assert [one.learnt for one in fresh] == [("temperature",), (), ("seed", "n")]


async def test_closing_closes_all_and_a_spec_names_all() -> None:
    models = [Moody("a"), Moody("b")]
    model = Failover(models)
    await model.close()
    assert all(one.is_closed for one in models)
    assert (model.spec, model.identity) == ("a | b", "a | b")


def test_a_spec_of_several_models_makes_them_again() -> None:
    model = as_model("simulated:p=0.9 + simulated:p=0.8 | simulated:p=0.7")
    assert isinstance(model, Failover)
    assert model.spec == "simulated:p=0.9 + simulated:p=0.8 | simulated:p=0.7"
    assert isinstance(model.models[0], Mixture)
    assert [one.spec for one in model.models[0].models] == ["simulated:p=0.9", "simulated:p=0.8"]


def test_one_model_is_not_several_and_a_fallback_of_a_fallback_is_refused() -> None:
    with pytest.raises(UsageError, match="--fallback"):
        Failover([Moody("a")])
    with pytest.raises(UsageError, match="outer"):
        Mixture([Failover([Moody("a"), Moody("b")]), Moody("c")])
    with pytest.raises(UsageError, match="outer"):
        Failover([Failover([Moody("a"), Moody("b")]), Moody("c")])


class Dying(Chancy):
    """A model that answers its first 20 calls, and then never again."""

    spec = "dying"

    def bind(self, task: Any) -> Dying:
        self.task = task
        return self

    async def complete(self, request: Request) -> Response:
        if request.draw.step >= 5:
            self.requests.append(request)
            raise dead()
        return await super().complete(request)


RULES: Any = {"k": 2, "retries": 30, "record": "samples", "max_samples": 1_000}


def pair() -> Failover:
    return Failover([Dying(p=0.9), Chancy(p=0.55, order=3)])


def test_a_run_goes_over_to_the_fallback_and_records_which_model_each_vote_came_from() -> None:
    result = run_virtual(api.run(Pairs(12), pair(), **RULES))
    assert result.status == "done"
    assert {sample.model for sample in result.samples_of(2)} == {"dying"}
    assert {sample.model for sample in result.samples_of(7)} == {"chancy"}
    assert result.retries == {"dropped": FAILURES}


@pytest.mark.parametrize("entries", range(3, 18, 2))
def test_a_run_that_is_killed_and_resumed_asks_the_models_that_it_would_have_asked(entries: int) -> None:
    model = pair()
    watched: Any = Watched()
    whole = run_virtual(api.run(Pairs(12), model, journal=watched, **RULES))
    assert isinstance(model.models[0], Dying)
    killed = watched.killed_after(entries)
    decided = sum(isinstance(entry, Decided) for entry in watched.entries[:entries])
    again = pair()
    resumed = run_virtual(api.resume(whole.run, journal=killed, task=Pairs(12), model=again))
    assert exported(resumed) == exported(whole)
    if decided > 5:
        first = again.models[0]
        assert isinstance(first, Dying)
        assert first.requests == [], "what the run had learnt before the kill was lost"


def test_what_was_learnt_before_a_stop_is_kept_even_where_nothing_was_decided_since() -> None:
    journal = open_journal(None)
    options = {**RULES, "retries": 1}
    stopped = run_virtual(api.run(Pairs(12), pair(), journal=journal, **options))
    assert (stopped.status, stopped.steps) == ("undecided", 5)
    failed = int(stopped.book.condition[0].split()[-1])
    assert stopped.book.condition == (f"0 failed {failed}",)
    assert failed > 1
