"""Any callable as a model: how it is called, where it runs, and what becomes of its errors."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mdap.clock import run_virtual
from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.foreign import BUGS
from mdap.core.records import Message, Prompt, Request, Response
from mdap.models.function import Function
from tests.models.contract import ModelContract
from tests.models.toy import asked


def count_on(prompt: str) -> str:
    return f"<{int(prompt.rpartition(' ')[2]) + 1}>"


async def count_on_later(prompt: str) -> str:
    await asyncio.sleep(0)
    return count_on(prompt)


async def _never(prompt: str) -> str:
    await asyncio.sleep(120)
    return prompt


def _broken(prompt: str) -> str:
    raise ConnectionError("the line is down")


class TestPlain(ModelContract):
    @pytest.fixture
    def model(self) -> Function:
        return Function(count_on)

    @pytest.fixture
    def slow(self) -> Iterator[Function]:
        ended = threading.Event()
        yield Function(lambda prompt: ended.wait(120))
        ended.set()

    @pytest.fixture
    def failing(self) -> Function:
        return Function(_broken)


class TestAsync(TestPlain):
    @pytest.fixture
    def model(self) -> Function:
        return Function(count_on_later)

    @pytest.fixture
    def slow(self) -> Function:
        return Function(_never)


async def test_a_parameter_without_annotation_is_given_the_text_of_the_prompt() -> None:
    seen: list[Any] = []
    await Function(lambda prompt: seen.append(prompt) or "x").complete(asked(4))  # type: ignore[func-returns-value]
    messages = (Message("system", "Be brief."), Message("user", "Hello"))
    request = Request(Prompt(messages, ""), asked(4).draw, 1, None, 10)
    await Function(lambda prompt: seen.append(prompt) or "x").complete(request)  # type: ignore[func-returns-value]
    assert seen == ["Count on from 4", "Be brief.\n\nHello"]


async def test_a_parameter_annotated_as_request_is_given_the_request() -> None:
    def with_seed(request: Request) -> Response:
        return Response(f"{request.seed} at {request.temperature}", id="mine")

    request = asked(4)
    assert await Function(with_seed).complete(request) == Response(f"{request.seed} at 0.1", id="mine")


class Client:
    """A callable object with a method, as clients of providers are."""

    async def __call__(self, request: Request) -> str:
        return request.messages[0].content

    def ask(self, prompt: str, *, style: str = "plain") -> str:
        return f"{style}: {prompt}"


async def test_objects_methods_and_partials_are_callables_like_others() -> None:
    client = Client()
    assert (await Function(client).complete(asked(1))).text == "Count on from 1"
    assert (await Function(client.ask).complete(asked(1))).text == "plain: Count on from 1"
    loud = Function(functools.partial(client.ask, style="loud"))
    assert (await loud.complete(asked(1))).text == "loud: Count on from 1"
    assert [Function(f).spec for f in (client, client.ask, count_on)] == [
        f"{__name__}:Client",
        f"{__name__}:Client.ask",
        f"{__name__}:count_on",
    ]


async def test_a_lambda_that_returns_a_coroutine_is_awaited() -> None:
    assert (await Function(lambda prompt: count_on_later(prompt)).complete(asked(8))).text == "<9>"


async def test_a_function_that_blocks_holds_up_neither_the_loop_nor_other_calls() -> None:
    gate = threading.Barrier(40, timeout=10)
    model = Function(lambda prompt: f"{gate.wait() >= 0}")
    ticks = 0
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(model.complete(asked(i))) for i in range(40)]
        while not all(call.done() for call in calls):
            ticks += 1
            await asyncio.sleep(0.001)
    assert [call.result().text for call in calls] == ["True"] * 40
    assert ticks > 0


async def test_a_thread_sees_the_context_of_its_caller() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    who.set("caller")
    assert (await Function(lambda prompt: who.get()).complete(asked(1))).text == "caller"


def test_virtual_time_waits_for_a_function_at_work() -> None:
    def work(prompt: str) -> str:
        time.sleep(0.03)
        return "done"

    async def main() -> str:
        async with asyncio.timeout(0.01):
            return (await Function(work).complete(asked(1))).text

    assert run_virtual(main()) == "done"


@pytest.mark.parametrize("error", [ConnectionError("gone"), TimeoutError("slow"), RuntimeError("?"), OSError("x")])
async def test_what_may_be_the_network_is_tried_again(error: Exception) -> None:
    with pytest.raises(ModelError, match=f"raised {type(error).__name__}: {error.args[0]}"[:20]) as caught:
        await Function(_raising(error)).complete(asked(1))
    assert caught.value.retryable
    assert caught.value.blame == "tool"
    assert isinstance(caught.value.__cause__, type(error))


@pytest.mark.parametrize("kind", BUGS)
async def test_what_a_bug_raises_is_not_tried_again(kind: type[Exception]) -> None:
    with pytest.raises(ModelError, match=kind.__name__) as caught:
        await Function(_raising(kind("bad"))).complete(asked(1))
    assert not caught.value.retryable


async def test_a_model_error_passes_as_it_is() -> None:
    error = ModelRejected("no such account")
    with pytest.raises(ModelRejected) as caught:
        await Function(_raising(error)).complete(asked(1))
    assert caught.value is error


async def test_a_stop_iteration_does_not_hang_the_call() -> None:
    with pytest.raises(ModelError, match="StopIteration"):
        await Function(lambda prompt: next(iter(()))).complete(asked(1))


@pytest.mark.parametrize(("said", "name"), [(None, "NoneType"), ({"text": "x"}, "dict"), (b"x", "bytes"), (7, "int")])
async def test_what_is_neither_text_nor_response_is_named_and_not_tried_again(said: object, name: str) -> None:
    with pytest.raises(ModelError, match=f"returned {name}, not a text or a Response") as caught:
        await Function(lambda prompt: said).complete(asked(1))
    assert (caught.value.retryable, caught.value.kind) == (False, "reply")


@pytest.mark.parametrize("ask", [lambda: "x", lambda a, b: "x"])
def test_a_callable_that_takes_no_or_two_values_is_refused_before_any_call(ask: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="cannot be called with one value"):
        Function(ask)


def _raising(error: Exception) -> Callable[[str], str]:
    def ask(prompt: str) -> str:
        raise error

    return ask
