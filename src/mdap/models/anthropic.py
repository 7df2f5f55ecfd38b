"""The Anthropic messages dialect: how a request is written, and how replies and stop reasons are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mdap.core.records import Finish, Message, Request, Response, Usage
from mdap.models.http import Tape
from mdap.models.profiles import Profile
from mdap.models.remote import Remote, link
from mdap.models.reported import Count, usage_of


def anthropic(
    model: str,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 600.0,
    record_http: str | Tape | None = None,
    replay_http: str | Tape | None = None,
) -> Messages:
    """Return a model behind Anthropic's messages endpoint, or another server's that speaks it.

    `base_url` ends before /v1/messages (default: ANTHROPIC_BASE_URL, else the vendor's own); `api_key` defaults to
    ANTHROPIC_API_KEY. The interface knows no seeds and no log-probabilities. For the other arguments, and what is
    raised, see `mdap.models.openai.openai`.
    """
    return Messages(link("anthropic", model, base_url, api_key, timeout, False, record_http, replay_http))


class Messages(Remote):
    """A model that speaks messages."""

    noun = "a message"
    writes = frozenset({"temperature", "response_format"})
    ending = "the base URL ends before /v1/messages"

    def path(self) -> str:
        """Return the path of the endpoint."""
        # Base URLs are in use with the version and without it.
        return "/messages" if self.base_url.endswith("/v1") else "/v1/messages"

    def auth(self, key: str) -> Mapping[str, str]:
        """Return the key in its own header."""
        return {"x-api-key": key}

    def write(self, request: Request, profile: Profile, n: int) -> bytes:
        """Return the body of a request; what the system says stands apart from the messages."""
        messages = request.messages
        # Every request has a cap: this vendor refuses one without max_tokens.
        body = _Body(self.model, request.max_tokens, messages)
        if any(message.role == "system" for message in messages):
            # Roles are only user and assistant here; a message of the system's would be refused.
            body.messages = tuple(message for message in messages if message.role != "system")
            body.system = "\n\n".join(message.content for message in messages if message.role == "system")
        if profile.temperature and request.temperature is not None:
            body.temperature = request.temperature
        if request.schema is not None and profile.json_schema:
            body.output_config = {"format": {"type": "json_schema", "schema": request.schema}}
        return _encode(body)

    def read(self, body: bytes) -> list[Response] | int:
        """Return the one reply in a body."""
        message = _decode(body)
        if message.content is None:
            if message.type == "error":
                # An error under status 200 has no number of its own: as a 500 the call is made again.
                return 500
            raise ValueError("it has no content")
        # Thoughts and calls of tools are blocks as well, and no part of what is voted on.
        text = "".join(block.text or "" for block in message.content if block.type == "text")
        finish = _FINISH.get(message.stop_reason or "", "stop")
        return [Response(text, finish, _usage(message.usage), message.id or "", None, message.model or "")]


# gc=False: such records cannot form a ring, and the collector need not look at thousands of them a second.
class _Body(msgspec.Struct, gc=False):
    model: str
    max_tokens: int
    messages: tuple[Message, ...]
    system: str | msgspec.UnsetType = msgspec.UNSET
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    output_config: Any = msgspec.UNSET


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _Thinking(msgspec.Struct, gc=False):
    thinking_tokens: Count = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Count = None
    output_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    output_tokens_details: _Thinking | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    id: str | None = None
    model: str | None = None
    type: str = "message"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Message).decode

# A word that is not here (end_turn, stop_sequence, pause_turn, tool_use) counts as "stop": the parser judges.
_FINISH: Mapping[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    cached, written, thought = (
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
        usage.output_tokens_details,
    )
    # Unlike other vendors, this one counts what went through its cache apart from `input_tokens`.
    return usage_of(
        (usage.input_tokens, cached, written),
        (usage.output_tokens,),
        cached=cached,
        cache_written=written,
        reasoning=thought.thinking_tokens if thought else None,
    )
