"""Every dialect keeps the contract of a model over HTTP."""

from __future__ import annotations

from typing import Any

import mdap.aio
from mdap.core.errors import ModelRejected
from mdap.core.records import Request, Response
from mdap.models.anthropic import anthropic
from mdap.models.compatible import ollama, openrouter
from mdap.models.google import google
from mdap.models.openai import openai
from mdap.models.simulated import simulated
from mdap.serve import serve
from mdap.tasks.hanoi import hanoi
from tests.models import wires
from tests.models.raw_server import RawServer
from tests.models.remote_contract import RemoteContract


class TestOpenAI(RemoteContract):
    factory = staticmethod(openai)
    variable = "OPENAI_API_KEY"
    good = wires.OPENAI
    wrong_key = (401, wires.OPENAI_KEY)
    wrong_model = (404, wires.OPENAI_MODEL)
    path = "/v1/chat/completions"
    header = "authorization: bearer "


class TestOpenRouter(TestOpenAI):
    factory = staticmethod(openrouter)
    variable = "OPENROUTER_API_KEY"


class TestAnthropic(RemoteContract):
    factory = staticmethod(anthropic)
    variable = "ANTHROPIC_API_KEY"
    good = wires.ANTHROPIC
    wrong_key = (401, wires.ANTHROPIC_KEY)
    wrong_model = (404, wires.ANTHROPIC_MODEL)
    path = "/v1/messages"
    header = "x-api-key: "

    def base(self, server: RawServer) -> str:
        return server.url.removesuffix("/v1")


class TestGoogle(RemoteContract):
    factory = staticmethod(google)
    variable = "GEMINI_API_KEY"
    good = wires.GOOGLE
    wrong_key = (400, wires.GOOGLE_KEY)
    wrong_model = (404, wires.GOOGLE_MODEL)
    path = "/v1beta/models/m:generateContent"
    header = "x-goog-api-key: "

    def base(self, server: RawServer) -> str:
        return server.url.removesuffix("/v1")


def test_a_server_on_this_machine_needs_no_key() -> None:
    assert ollama("llama3.2:3b").spec == "ollama:llama3.2:3b"


class Picky:
    """A simulated model whose provider takes neither a temperature nor any other name of the cap, over real HTTP."""

    spec = "picky"

    def __init__(self, model: Any) -> None:
        self.model = model
        self.refusals = 0

    def bind(self, task: Any) -> Picky:
        self.model = self.model.bind(task)
        return self

    async def complete(self, request: Request) -> Response:
        if request.temperature is not None:
            self.refusals += 1
            raise ModelRejected("Unsupported value: 'temperature' does not support 0.1 with this model", kind="400")
        reply: Response = await self.model.complete(request)
        return reply


async def test_a_run_goes_on_after_a_refusal_and_ends_as_if_there_had_been_none() -> None:
    picky = Picky(simulated(p=0.9, seed=1))
    async with await serve(picky, task=hanoi(4)) as server:
        model = openai("any", base_url=server.url)
        result = await mdap.aio.run("hanoi:disks=4", model, k=3, seed=5)
        await model.close()
    async with await serve(simulated(p=0.9, seed=1), task=hanoi(4)) as server:
        model = openai("any", base_url=server.url)
        model.adapt(["temperature"])
        plain = await mdap.aio.run("hanoi:disks=4", model, k=3, seed=5)
        await model.close()
    assert (result.status, result.wrong) == ("done", 0)
    assert result.retries == {"adapted": picky.refusals}
    assert 1 <= picky.refusals <= 3
    assert list(result.actions) == list(plain.actions)
    assert (result.votes, result.samples) == (plain.votes, plain.samples)
