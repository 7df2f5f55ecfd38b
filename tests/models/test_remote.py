"""Every dialect keeps the contract of a model over HTTP."""

from __future__ import annotations

from mdap.models.anthropic import anthropic
from mdap.models.compatible import ollama, openrouter
from mdap.models.google import google
from mdap.models.openai import openai
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
