"""The OpenAI chat dialect: how a request is written, and how replies and finish reasons are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mdap.core.records import Finish, Message, Request, Response, Usage
from mdap.models.http import Tape
from mdap.models.profiles import PARAMETERS, Profile
from mdap.models.remote import Remote, aborted, link
from mdap.models.reported import Count, usage_of
from mdap.models.strict_schema import is_strict


def openai(
    model: str,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 600.0,
    logprobs: bool = False,
    record_http: str | Tape | None = None,
    replay_http: str | Tape | None = None,
) -> ChatCompletions:
    """Return a model behind any OpenAI-compatible chat endpoint.

    `model` is the server's name for it. `base_url` ends before /chat/completions (default: OPENAI_BASE_URL, else the
    vendor's own); `api_key` defaults to OPENAI_API_KEY, and only the vendor's own URL needs one. `timeout` is for one
    call, in seconds: a backstop, so long that the limit of a run, which has its own, comes first. `logprobs` asks for
    log-probabilities, which `Response.logprob` sums. `record_http` and `replay_http` name a cassette that calls are
    written to, or answered from: see `mdap.models.cassette`. Raises UsageError, before any call, for what no call
    could be made with.
    """
    return ChatCompletions(link("openai", model, base_url, api_key, timeout, logprobs, record_http, replay_http))


class ChatCompletions(Remote):
    """A model that speaks chat completions."""

    noun = "a chat completion"
    writes = frozenset(PARAMETERS)
    ending = "most base URLs end in /v1"
    # The schema of the last request, which is that of all requests of a run, and whether it may be sent as strict.
    _judged: tuple[Any, bool] = (None, False)

    def path(self) -> str:
        """Return the path of the endpoint."""
        return "/chat/completions"

    def auth(self, key: str) -> Mapping[str, str]:
        """Return the key as a bearer."""
        return {"Authorization": f"Bearer {key}"}

    def write(self, request: Request, profile: Profile, n: int) -> bytes:
        """Return the body of a request."""
        named = profile.max_tokens == "max_tokens"
        body = _Body(
            self.model,
            request.messages,
            max_tokens=request.max_tokens if named else msgspec.UNSET,
            max_completion_tokens=msgspec.UNSET if named else request.max_tokens,
        )
        # One seed cannot be that of several draws.
        if profile.seed and n == 1:
            body.seed = request.seed
        if profile.temperature and request.temperature is not None:
            body.temperature = request.temperature
        if n > 1:
            body.n = n
        if self.logprobs and profile.logprobs:
            body.logprobs = True
        if request.schema is not None and profile.json_schema:
            # By identity: comparing schemas at each call is what this is to spare.
            if request.schema is not self._judged[0]:
                self._judged = request.schema, is_strict(request.schema)
            told = {"name": "answer", "strict": self._judged[1], "schema": request.schema}
            body.response_format = {"type": "json_schema", "json_schema": told}
        return _encode(body)

    def read(self, body: bytes) -> list[Response] | int:
        """Return the replies in a body; all of its tokens are in the usage of each."""
        completion = _decode(body)
        if not completion.choices:
            if completion.error is None:
                raise ValueError("it has no choices")
            # Gateways that have begun to answer can report an error with status 200 only; its code is its true status.
            code = completion.error.get("code") if isinstance(completion.error, dict) else None
            return code if isinstance(code, int) and 400 <= code < 600 else 500
        usage = _usage(completion.usage)
        choices = completion.choices
        if len(choices) > 1:
            # Slots are filled in the order of the index; in which order servers list their choices is up to them.
            choices = sorted(choices, key=lambda choice: choice.index)
        return [_response(choice, completion, usage) for choice in choices]


# gc=False here and below: such records cannot form a ring, and the collector need not look at them call by call.
class _Body(msgspec.Struct, gc=False):
    model: str
    messages: tuple[Message, ...]
    max_tokens: int | msgspec.UnsetType = msgspec.UNSET
    max_completion_tokens: int | msgspec.UnsetType = msgspec.UNSET
    seed: int | msgspec.UnsetType = msgspec.UNSET
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    n: int | msgspec.UnsetType = msgspec.UNSET
    logprobs: bool | msgspec.UnsetType = msgspec.UNSET
    response_format: Any = msgspec.UNSET


class _Part(msgspec.Struct, gc=False):
    type: str = "text"
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Token(msgspec.Struct, gc=False):
    logprob: float


class _Logprobs(msgspec.Struct, gc=False):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None
    index: int = 0
    logprobs: _Logprobs | None = None


class _Prompted(msgspec.Struct, gc=False):
    cached_tokens: Count = None
    cache_write_tokens: Count = None


class _Completed(msgspec.Struct, gc=False):
    reasoning_tokens: Count = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: _Prompted | None = None
    completion_tokens_details: _Completed | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    id: str | None = None
    model: str | None = None
    error: Any = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Completion).decode

# What servers write beside the vendor's own words. A word that is not here counts as "stop": the parser judges.
_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
    "safety": "refusal",
}
_BROKEN = frozenset({"abort", "error"})


def _response(choice: _Choice, completion: _Completion, usage: Usage | None) -> Response:
    text, refused = _text(choice.message)
    reason = (choice.finish_reason or "stop").lower()
    if reason in _BROKEN:
        raise aborted(reason)
    # A refusal counts wherever it is told: servers write "stop" under one as well.
    finish = "refusal" if refused else _FINISH.get(reason, "stop")
    logprob = None
    if choice.logprobs is not None and choice.logprobs.content is not None:
        logprob = sum(token.logprob for token in choice.logprobs.content)
    return Response(text, finish, usage, completion.id or "", logprob, completion.model or "")


def _text(message: _Message) -> tuple[str, bool]:
    content = message.content
    if isinstance(content, list):
        refused = "".join(part.refusal or "" for part in content)
        # Parts of other types are thoughts, and no part of what is voted on.
        content = "".join(part.text or "" for part in content if part.type == "text")
        return content or refused, bool(refused or message.refusal)
    # Without content its words are the text, so that a reader of the journal sees why there is no answer.
    return content or message.refusal or "", bool(message.refusal)


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    prompted, completed = usage.prompt_tokens_details, usage.completion_tokens_details
    return usage_of(
        (usage.prompt_tokens,),
        (usage.completion_tokens,),
        cached=prompted.cached_tokens if prompted else None,
        cache_written=prompted.cache_write_tokens if prompted else None,
        reasoning=completed.reasoning_tokens if completed else None,
    )
