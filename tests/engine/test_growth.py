"""Prompts that grow: what is warned of, when, how often and how it is worded; and what is refused before any call."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest

from mdap import api
from mdap.core.errors import ModelRejected
from mdap.core.events import Event, Warned
from mdap.core.records import Move, Request, Response
from mdap.engine.growth import CHARACTERS_PER_TOKEN, MOST_WARNINGS, Growth, context_of
from mdap.models import scripted


def warnings(sizes: list[int], context: int | None = None) -> list[tuple[int, str]]:
    """The warnings that prompts of these sizes give, with their steps."""
    growth = Growth(context)
    return [(step, said) for step, size in enumerate(sizes) if (said := growth.see(step, size))]


def test_a_prompt_that_grows_by_the_same_every_step_is_warned_of_with_that_pace() -> None:
    (step, said), *more = warnings([1000 + 100 * n for n in range(200)])
    assert step <= 12
    assert "from 1,000 to 2,200 characters, 100.0 characters (about 25.0 tokens) more a step" in said
    assert len(more) == MOST_WARNINGS - 1


def test_warnings_of_one_run_are_few_however_far_it_grows() -> None:
    assert len(warnings([10 * n for n in range(100_000)])) == MOST_WARNINGS


@pytest.mark.parametrize(
    "sizes",
    [
        [1000] * 500,
        [1000 + n % 7 for n in range(500)],
        [500 if n % 2 else 5000 for n in range(500)],
        [1000 + 200 * (n % 10) for n in range(500)],
        [10_000 - n for n in range(500)],
        [10 + n for n in range(300)],
        [1000] * 200 + [9000] * 200,
        [1000 + min(n, 400) for n in range(800)],
    ],
    ids=["constant", "jitter", "two forms", "sawtooth", "shrinks", "few characters", "one jump", "not twice"],
)
def test_prompts_that_do_not_keep_growing_are_not_warned_of(sizes: list[int]) -> None:
    assert warnings(sizes) == []


@pytest.mark.parametrize("spread", [2, 10, 100])
def test_prompts_of_random_size_are_never_taken_for_growing_ones(spread: int) -> None:
    falsely = sum(
        bool(warnings([1000 + random.Random(seed * 1000 + n).randrange(1000 * spread) for n in range(400)]))
        for seed in range(200)
    )
    assert falsely == 0


def test_noisy_growth_is_still_found() -> None:
    found = sum(
        bool(warnings([1000 + 60 * n + random.Random(seed * 1000 + n).randrange(300) for n in range(100)]))
        for seed in range(200)
    )
    assert found >= 190


def test_a_prompt_that_fills_half_of_the_context_is_warned_of_once() -> None:
    sizes = [4 * tokens for tokens in (100, 499, 500, 600, 999)]
    ((step, said),) = warnings(sizes, context=1000)
    assert step == 2
    assert said.startswith("the prompt has about 500 tokens (characters / 4), 50% of the model's context of 1,000")
    assert "200.0 tokens) more a step; at this pace it reaches the context in 2 steps" in said


def test_a_first_prompt_that_is_long_already_has_no_pace() -> None:
    ((_, said),) = warnings([4 * 900] * 5, context=1000)
    assert said.endswith("90% of the model's context of 1,000")


def test_a_prompt_past_the_context_is_an_error_with_the_pace_and_the_remedy() -> None:
    growth = Growth(1000)
    growth.see(0, 1000)
    with pytest.raises(
        ModelRejected, match=r"step 3: the prompt has about 1,001 tokens .* more than .* 1,000"
    ) as caught:
        growth.see(3, CHARACTERS_PER_TOKEN * 1001)
    error = caught.value
    assert (error.retryable, error.kind, error.step) == (False, "context", 3)
    assert "1,001.3 characters (about 250.3 tokens) more a step" in error.message
    assert "carry less from step to step" in error.remedy
    assert growth.see(4, 1000) is None


def test_the_context_is_what_the_model_or_its_profile_says() -> None:
    class Profile:
        context = 8192

    class Profiled:
        profile = Profile()

    class Own(Profiled):
        context = 100

    assert [context_of(model) for model in (Own(), Profiled(), object())] == [100, 8192, None]


class Hoarder:
    """A task whose state, and so whose prompt, takes on a note of `note` characters at every step."""

    spec = "hoarder"

    def __init__(self, steps: int, note: int) -> None:
        self.steps, self.note = steps, note

    def start(self) -> list[str]:
        return []

    def is_done(self, state: list[str]) -> bool:
        return len(state) == self.steps

    def prompt(self, state: list[str]) -> str:
        return "Go on.\n" + "\n".join(state)

    def parse(self, text: str, state: list[str]) -> Move:
        return Move(text, [*state, text])


class Small:
    """A model with a context of 1,000 tokens."""

    spec = "small"
    context = 1000

    def __init__(self, reply: Callable[[Request], str]) -> None:
        self.calls = 0
        self._reply = reply

    async def complete(self, request: Request) -> Response:
        self.calls += 1
        return Response(self._reply(request))


def run(task: Any, model: Any, **options: Any) -> tuple[Any, list[Warned]]:
    told: list[Event] = []
    result = asyncio.run(api.run(task, model, k=1, on_event=told.append, **options))
    return result, [event for event in told if isinstance(event, Warned)]


def test_a_run_tells_its_observers_and_the_log_of_growth_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mdap"):
        result, told = run(Hoarder(40, 200), scripted(lambda _: "x" * 200))
    assert result.status == "done"
    assert [event.name for event in told] == ["growth"] * len(told)
    assert 1 <= len(told) <= MOST_WARNINGS
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"step {event.step}: {event.message}" for event in told]
    assert "about 50.2 tokens" in told[0].message


def test_a_warning_is_logged_once_where_the_log_hears_of_everything(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mdap"):
        _, told = run(Hoarder(16, 200), scripted(lambda _: "x" * 200))
    logged = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(logged) == len(told) == 1


def test_past_the_context_a_run_ends_before_the_call_and_what_was_decided_is_kept(tmp_path: Any) -> None:
    model = Small(lambda _: "x" * 400)
    with pytest.raises(ModelRejected, match=r"step 10: .* the model's context of 1,000"):
        run(Hoarder(40, 400), model, journal=tmp_path / "runs.db")
    assert model.calls == 10

    class Large(Small):
        context = 100_000

    async def go_on() -> Any:
        return await api.resume("hoarder", journal=tmp_path / "runs.db", task=Hoarder(40, 400), model=larger)

    larger = Large(lambda _: "x" * 400)
    result = asyncio.run(go_on())
    assert (result.status, result.steps, larger.calls) == ("done", 40, 30)


def test_a_context_of_ones_own_holds_in_place_of_what_is_known_of_the_model(tmp_path: Any) -> None:
    model = Small(lambda _: "x" * 400)
    with pytest.raises(ModelRejected, match=r"step 5: .* the model's context of 500"):
        run(Hoarder(40, 400), model, context=500, journal=tmp_path / "runs.db")

    async def go_on() -> Any:
        task = Hoarder(40, 400)
        return await api.resume("hoarder", journal=tmp_path / "runs.db", task=task, model=model, context=10_000)

    result = asyncio.run(go_on())
    assert (result.status, result.steps, model.calls) == ("done", 40, 40)


def test_a_task_whose_prompts_stay_as_they_are_is_never_warned_of() -> None:
    result, told = run("running_sum:keys=3,length=60,seed=1", "simulated:p=1")
    assert (result.status, told) == ("done", [])
