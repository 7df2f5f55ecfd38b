"""The server that the speed benchmark measures against: a real one, if a narrow one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.loopback_server import Answer, always, right, serve
from mdap.core.records import Draw, Message, Prompt, Request, Usage
from mdap.models.openai import ChatCompletions, openai
from mdap.tasks.catalog import task


@asynccontextmanager
async def client_of(answer: Answer) -> AsyncIterator[ChatCompletions]:
    server = await serve(answer)
    model = openai("any", base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        yield model
    finally:
        await model.close()
        server.close()
        await server.wait_closed()


def asked(messages: tuple[Message, ...], seed: int = 0) -> Request:
    return Request(Prompt(messages, ""), Draw(0, 0), seed, 0.1, 100)


async def test_it_answers_many_calls_at_once_with_its_fixed_text() -> None:
    async with client_of(always("move = [1, 0, 2]")) as model:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(model.complete(asked((Message("user", "x" * 9000),), n))) for n in range(100)]
        replies = {(call.result().text, call.result().usage) for call in calls}
    assert replies == {("move = [1, 0, 2]", Usage(700, 60))}


async def test_with_a_task_it_answers_rightly_from_the_text_alone() -> None:
    hanoi = task("hanoi:disks=4")
    state, steps = hanoi.start(), 0
    async with client_of(right(hanoi)) as model:
        while not hanoi.is_done(state):
            messages = tuple(hanoi.prompt(state))
            reply = await model.complete(asked(messages))  # type: ignore[arg-type]
            state, steps = hanoi.parse(reply.text, state).next_state, steps + 1
    assert steps == 15
