"""Servers that speak OpenAI's chat dialect, by name. What sets them apart stands in their profiles, not here."""

from __future__ import annotations

from typing import Protocol

from mdap.models.http import Tape
from mdap.models.openai import ChatCompletions
from mdap.models.profiles import SERVERS
from mdap.models.remote import link


class Factory(Protocol):
    """What makes a model of one kind of server; its arguments are those of `mdap.models.openai.openai`."""

    def __call__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
        logprobs: bool = False,
        record_http: str | Tape | None = None,
        replay_http: str | Tape | None = None,
    ) -> ChatCompletions:
        """Return the model; raises UsageError, before any call, for what no call could be made with."""


# One body for all: five signatures that are to stay alike would drift apart.
def _factory(name: str) -> Factory:
    def _make(
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
        logprobs: bool = False,
        record_http: str | Tape | None = None,
        replay_http: str | Tape | None = None,
    ) -> ChatCompletions:
        return ChatCompletions(link(name, model, base_url, api_key, timeout, logprobs, record_http, replay_http))

    server = SERVERS[name]
    # Tracebacks and help would otherwise call all of them _make.
    _make.__name__ = _make.__qualname__ = name
    _make.__doc__ = f"Return a model behind {name}, at {server.base_url} by default; its key is {server.keys[0]}."
    return _make


vllm = _factory("vllm")
ollama = _factory("ollama")
llamacpp = _factory("llamacpp")
lmstudio = _factory("lmstudio")
openrouter = _factory("openrouter")
