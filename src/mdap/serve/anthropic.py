"""The server's side of Anthropic messages: bytes to a request, an answer to bytes. No model, no connection.

From platform.claude.com/docs: api/messages/create, api/errors, api/versioning, api/rate-limits, as of 2026-11-20. What
the vendor does not know it refuses, and so does this: `seed` is no parameter here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from mdap.core.prompting import prompt_of
from mdap.core.records import Finish, Message
from mdap.serve.dialect import (
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

NAME = "anthropic"
ID_PREFIX = "msg_"
REQUEST_ID = "request-id"

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
UNSAMPLED = "2026-10-21"
"""From this version on temperature, top_p and top_k are refused, whatever their value."""


# Unknown fields are refused throughout, as the vendor does: a client that sends a seed is to learn of it here.
class Block(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A block of content; only text is read."""

    type: Literal["text"]
    # A block of no text is refused there as well.
    text: Annotated[str, msgspec.Meta(min_length=1)]
    cache_control: Any = None
    citations: Any = None


class Said(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message. The system's words are no message here, but a field of the body."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class Format(msgspec.Struct, forbid_unknown_fields=True):
    """What a reply is to conform to."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class Output(msgspec.Struct, forbid_unknown_fields=True):
    """How to put the output; only its format is looked at."""

    format: Format | None = None
    effort: str | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A body. What stands below `stream` is taken and not acted upon."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    # Without a default: in this dialect each request has to bring it.
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: Annotated[list[Said], msgspec.Meta(min_length=1)]
    system: str | list[Block] | None = None
    # Up to 1, where the other two dialects go further.
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    output_config: Output | None = None
    stream: bool | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: dict[str, Any] | None = None
    cache_control: Any = None
    thinking: Any = None
    service_tier: str | None = None
    inference_geo: str | None = None


def read(body: bytes, headers: Mapping[str, str], model: str, refuse: frozenset[str]) -> Asked | Fault:
    """Return what is asked, or a fault that names the header or field which is missing, wrong or refused."""
    version = headers.get("anthropic-version", "")
    if version not in VERSIONS:
        return Fault(400, f'anthropic-version: "{version}" is not a valid version' if version else _NO_VERSION)
    try:
        said = _decode(body)
    except (ValueError, RecursionError) as error:  # a ValueError also for text that is not UTF-8
        return Fault(400, _complaint(error))
    if said.stream:
        return Fault(400, "stream: streaming is not supported here: send false, or leave it out")
    form = said.output_config.format if said.output_config else None
    return _refused(said, version, refuse) or Asked(
        prompt_of(_messages(said)),
        # No seed, since the dialect has none: `Calls` makes one of the body and the attempt.
        said.model,
        None,
        said.temperature,
        said.max_tokens,
        schema=form.schema if form else None,
    )


def reply(answer: Answer) -> bytes:
    """Return the body of a message; it has one choice.

    Tokens of the cache are not among its `input_tokens`; tokens of reasoning are, untold, among its `output_tokens`.
    """
    response = answer.responses[0]
    # This usage is complete whether or not the model counted, so zeros have to stand in.
    bill = answer.bill or Bill(0, 0)  # the vendor always has a bill
    usage = {
        "input_tokens": bill.tokens_in - bill.cached - bill.written,
        "cache_creation_input_tokens": bill.written,
        "cache_read_input_tokens": bill.cached,
        "output_tokens": bill.tokens_out,
        "service_tier": "standard",
    }
    return encode(
        {
            "id": answer.id,
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            # A block has text, so an empty reply has no block.
            "content": [{"type": "text", "text": response.text}] if response.text else [],
            "stop_reason": _STOP[response.finish],
            "stop_sequence": None,
            "usage": usage,
        }
    )


def error(fault: Fault, request: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of an error. A model that cannot answer now is overloaded: 529."""
    status = 529 if fault.status == 503 else fault.status
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = {"type": "error", "error": {"type": kind, "message": fault.message}, "request_id": request or None}
    return status, encode(body), {} if fault.wait is None else {"retry-after": whole_seconds(fault.wait)}


def without_logprobs(model: str) -> Fault:
    """Return a fault; nobody can ask for log-probabilities here."""
    return Fault(400, "logprobs: Extra inputs are not permitted")


def key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return the key of `x-api-key`, which comes first, or of `Authorization: Bearer KEY`."""
    return headers.get("x-api-key") or bearer(headers)


def rate_headers(levels: Mapping[str, Level]) -> dict[str, str]:
    """Return limit, remaining and reset of each kind; a reset is a moment (RFC 3339)."""
    headers, now = {}, datetime.now(UTC)
    for kind, level in levels.items():
        # Rounded up: the vendor gives whole seconds, and at the moment given the limit is to be there.
        moment = (now + timedelta(seconds=level.reset + 0.999)).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers[f"anthropic-ratelimit-{kind}-limit"] = str(level.limit)
        headers[f"anthropic-ratelimit-{kind}-remaining"] = str(level.remaining)
        headers[f"anthropic-ratelimit-{kind}-reset"] = moment
    return headers


def models(name: str) -> bytes:
    """Return the list of models: this one."""
    # A date that never changes: equal requests have equal replies.
    model = {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
    return encode({"data": [model], "has_more": False, "first_id": name, "last_id": name})


_decode = msgspec.json.Decoder(Body).decode
_NO_VERSION = "anthropic-version: header is required"
_STOP: dict[Finish, str] = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _messages(said: Body) -> tuple[Message, ...]:
    system = (Message("system", _text(said.system)),) if said.system else ()
    return system + tuple([Message(one.role, _text(one.content)) for one in said.messages])


def _text(content: str | list[Block]) -> str:
    return content if isinstance(content, str) else "".join(block.text for block in content)


def _refused(said: Body, version: str, refuse: frozenset[str]) -> Fault | None:
    # Dates that are written so are in order as texts.
    if version >= UNSAMPLED:
        for name in ("temperature", "top_p", "top_k"):
            if getattr(said, name) is not None:
                return Fault(400, f"{name}: Extra inputs are not permitted")
    # Of a model that has outgrown sampling parameters the default is still taken.
    if "temperature" in refuse and said.temperature not in (None, 1):
        return Fault(400, "`temperature` is deprecated for this model.")
    if "response_format" in refuse and said.output_config and said.output_config.format:
        return Fault(400, "output_config.format: Extra inputs are not permitted")
    return None


def _complaint(error: ValueError | RecursionError) -> str:
    """What is wrong in the vendor's form, "messages.0.role: what"; the field comes first."""
    if isinstance(error, RecursionError):
        return f"The request body is not valid JSON: {error}"
    path, what = where_and_what(error)
    # The words are those of msgspec, which says in them where a field is missing or unknown.
    found = re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", what)
    if found is None:
        return f"{path}: {what}" if path else f"The request body is not valid JSON: {what}"
    whole = f"{path}.{found[2]}" if path else found[2]
    return f"{whole}: {'Field required' if found[1].startswith('m') else 'Extra inputs are not permitted'}"
