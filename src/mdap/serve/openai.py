"""The server's side of OpenAI chat completions: bytes to a request, an answer to bytes. No model, no connection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from mdap.core.prompting import prompt_of
from mdap.core.records import Finish, Message, Prompt, Response
from mdap.serve.dialect import (
    MAX_TOKENS,
    Answer,
    Asked,
    Bill,
    Fault,
    Level,
    bearer,
    encode,
    where_and_what,
    whole_seconds,
)

NAME = "openai"
ID_PREFIX = "chatcmpl-"
REQUEST_ID = "x-request-id"


# gc=False, here and below: such records form no ring, and come by the thousand a second.
class Part(msgspec.Struct, gc=False):
    """A part of a message's content; only text is read."""

    type: Literal["text"]
    text: str


class Said(msgspec.Struct, gc=False):
    """A message as it is sent. Reasoning models name the system's role developer."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class Schema(msgspec.Struct):
    """A JSON Schema with its name."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema: dict[str, Any] | None = None


class Format(msgspec.Struct):
    """What a reply is to be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None


class Settings(msgspec.Struct):
    """What of a body is looked at beside its messages; other fields are let be, as others who speak this do."""

    model: str = ""
    # An int64 in the vendor's interface.
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    # The vendor gives 128 choices at most.
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    response_format: Format | None = None
    stream: bool | None = None


class Body(Settings, kw_only=True):
    """A body, read whole."""

    messages: Annotated[list[Said], msgspec.Meta(min_length=1)]


class Quick(Settings, kw_only=True):
    """A body whose messages are still bytes."""

    messages: msgspec.Raw


def read(body: bytes, headers: Mapping[str, str], model: str, refuse: frozenset[str]) -> Asked | Fault:
    """Return what is asked, or a fault that names the field which is wrong or refused."""
    try:
        said = _quick(body)
        # A copy, since a Raw is a view of the body and would keep all of it in the cache.
        raw = bytes(said.messages)
        prompt = _known_prompt(raw) if len(raw) <= _SHORT else _prompt(raw)
    except (ValueError, RecursionError):  # a ValueError also for text that is not UTF-8
        return _unreadable(body)
    if said.stream:
        return Fault(400, "stream=true is not supported: send stream=false, or leave it out", "stream")
    fault = _refused(said, refuse) if refuse else None
    if fault is not None:
        return fault
    form = said.response_format.json_schema if said.response_format else None
    return Asked(
        prompt,
        said.model,
        said.seed,
        said.temperature,
        said.max_tokens or said.max_completion_tokens or MAX_TOKENS,
        said.n or 1,
        form.schema if form else None,
        said.logprobs or False,
    )


def reply(answer: Answer) -> bytes:
    """Return the body of a chat completion. Its time of creation is always 0: equal requests have equal replies."""
    choices = [_choice(index, response, answer.logprobs) for index, response in enumerate(answer.responses)]
    head = {"id": answer.id, "object": "chat.completion", "created": 0, "model": answer.model, "choices": choices}
    # Where nothing was counted no usage is told, since a client would take zeros for a bill.
    return encode(head if answer.bill is None else head | {"usage": _usage(answer.bill)})


def error(fault: Fault, request: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of an error."""
    code, kind = fault.code, "invalid_request_error" if fault.status < 500 else "server_error"
    if fault.status == 429:
        # The type says which limit was reached; the code is the same for all.
        code, kind = "rate_limit_exceeded", fault.code or "requests"
    elif fault.status == 401:
        code = "invalid_api_key"
    body = {"error": {"message": fault.message, "type": kind, "param": fault.param, "code": code}}
    if fault.wait is None:
        return fault.status, encode(body), {}
    # Both, as the vendor does: whole seconds for most clients, the other for those that can wait less.
    waits = {"Retry-After": whole_seconds(fault.wait), "retry-after-ms": f"{1000 * fault.wait:.0f}"}
    return fault.status, encode(body), waits


def without_logprobs(model: str) -> Fault:
    """Return the fault of asking for log-probabilities that there are none of."""
    return _unsupported("logprobs")


def key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return the key of `Authorization: Bearer KEY`."""
    return bearer(headers)


def rate_headers(levels: Mapping[str, Level]) -> dict[str, str]:
    """Return limit, remaining and reset of each kind; a reset is a duration such as 20ms, 1.5s or 1m0s."""
    headers = {}
    for kind, level in levels.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(level.limit)
        headers[f"x-ratelimit-remaining-{kind}"] = str(level.remaining)
        headers[f"x-ratelimit-reset-{kind}"] = _duration(level.reset)
    return headers


def models(name: str) -> bytes:
    """Return the list of models: this one."""
    return encode({"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "mdap"}]})


_quick = msgspec.json.Decoder(Quick).decode
_whole = msgspec.json.Decoder(Body).decode
_messages = msgspec.json.Decoder(Annotated[list[Said], msgspec.Meta(min_length=1)]).decode
_ROLES: dict[str, Any] = {"user": "user", "assistant": "assistant"}
_FINISH: dict[Finish, str] = {"stop": "stop", "length": "length", "refusal": "content_filter"}


def _prompt(messages: bytes) -> Prompt:
    said = _messages(messages)
    return prompt_of(tuple([Message(_ROLES.get(one.role, "system"), _text(one.content)) for one in said]))


# The draws of a step share a prompt, and need it read once: that is half of what a call costs here beside its HTTP.
_known_prompt = lru_cache(512)(_prompt)
_SHORT = 65_536  # bytes; so that what is kept stays below a few dozen megabytes


def _unreadable(body: bytes) -> Fault:
    # Read once more and whole, so that what is said names the field by its path from the top.
    try:
        _whole(body)
    except ValueError as error:
        param = where_and_what(error)[0].partition(".")[0]
        return Fault(400, f"the body is not a chat request: {error}", param or None)
    except RecursionError as error:
        return Fault(400, f"the body is not a chat request: {error}")
    return Fault(400, "the body is not a chat request")


def _text(content: str | list[Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _choice(index: int, response: Response, has_logprobs: bool) -> dict[str, Any]:
    # A refusal is told by the finish reason alone: what the model said is its text, also then.
    message = {"role": "assistant", "content": response.text, "refusal": None}
    logprobs: dict[str, Any] | None = None
    if has_logprobs:
        # A model tells the sum over its reply, so the whole of it stands as one token.
        token = {"token": response.text, "logprob": response.logprob, "bytes": None}
        logprobs = {"content": [token | {"top_logprobs": []}], "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": _FINISH[response.finish]}


def _usage(bill: Bill) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": bill.tokens_in,
        "completion_tokens": bill.tokens_out,
        "total_tokens": bill.tokens_in + bill.tokens_out,
    }
    if bill.cached or bill.written:
        usage["prompt_tokens_details"] = {"cached_tokens": bill.cached}
    if bill.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": bill.reasoning}
    return usage


def _refused(said: Settings, refuse: frozenset[str]) -> Fault | None:
    # A value that is the model's only one is taken: temperature 1, one choice, no logprobs.
    taken = {"temperature": 1.0, "n": 1, "logprobs": False}
    # In order, since which of several is named must not depend on that of a set.
    for name in sorted(refuse):
        value = getattr(said, name)
        if value is None or value == taken.get(name):
            continue
        if name in ("temperature", "n"):
            text = f"Unsupported value: '{name}' does not support {value:g} with this model. Only the default (1) value"
            return Fault(400, f"{text} is supported.", name, "unsupported_value")
        # So answers who knows the older name alone.
        if name == "max_completion_tokens":
            return Fault(400, f"Unrecognized request argument supplied: {name}")
        return _unsupported(name, " Use 'max_completion_tokens' instead." if name == "max_tokens" else "")
    return None


def _unsupported(name: str, hint: str = "") -> Fault:
    text = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    return Fault(400, text, name, "unsupported_parameter")


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f}ms"
    minutes, rest = divmod(seconds, 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
