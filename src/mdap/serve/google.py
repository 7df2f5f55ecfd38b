"""The server's side of Google's generateContent: bytes to a request, an answer to bytes. No model, no connection.

From ai.google.dev: api/generate-content and gemini-api/docs/troubleshooting, as of 2026-11-20. Names may be in camel or
in snake case, as in every JSON of Protocol Buffers; a name that it does not know is refused, as the vendor does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from mdap.core.prompting import prompt_of
from mdap.core.records import Message, Response
from mdap.serve.dialect import MAX_TOKENS, Answer, Asked, Bill, Fault, Level, encode, where_and_what

NAME = "google"
ID_PREFIX = ""
REQUEST_ID = ""


class Part(msgspec.Struct, gc=False):
    """A part of a content; only text is read. `thought` parts are what a model thought before."""

    # Without a default: parts of other kinds, such as images, have none and are refused for it.
    text: str
    thought: bool = False


class Content(msgspec.Struct, gc=False):
    """A turn. The model's own turns have the role model."""

    parts: Annotated[list[Part], msgspec.Meta(min_length=1)]
    role: Literal["user", "model", "system"] = "user"


class Config(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The generation config. What stands below the schemas is taken and not acted upon."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    candidate_count: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None
    # An int32 in the vendor's interface.
    seed: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    response_logprobs: bool | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    logprobs: int | None = None
    stop_sequences: list[str] | None = None
    top_p: float | None = None
    top_k: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    thinking_config: Any = None


class Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A body; safety settings are taken and not acted upon."""

    contents: Annotated[list[Content], msgspec.Meta(min_length=1)]
    system_instruction: Content | None = None
    generation_config: Config = msgspec.field(default_factory=Config)
    safety_settings: Any = None


def read(body: bytes, headers: Mapping[str, str], model: str, refuse: frozenset[str]) -> Asked | Fault:
    """Return what is asked of the `model` in the path, or a fault that names the field which is wrong or refused."""
    try:
        # In two goes, since a name may come in two spellings, of which a record knows one.
        said = msgspec.convert(_camel(msgspec.json.decode(body)), Body)
    except (ValueError, RecursionError) as error:  # a ValueError also for text that is not UTF-8
        return Fault(400, _complaint(error))
    config = said.generation_config
    return _refused(config, model, refuse) or Asked(
        prompt_of(_messages(said)),
        model,
        config.seed,
        config.temperature,
        config.max_output_tokens or MAX_TOKENS,
        config.candidate_count or 1,
        config.response_json_schema or config.response_schema,
        config.response_logprobs or False,
    )


def reply(answer: Answer) -> bytes:
    """Return the body of a response. A refusal has no content, and an empty text no parts: clients must cope."""
    body: dict[str, Any] = {
        "candidates": [_candidate(index, response, answer.logprobs) for index, response in enumerate(answer.responses)]
    }
    if answer.bill is not None:
        body["usageMetadata"] = _usage(answer.bill)
    return encode(body | {"modelVersion": answer.model, "responseId": answer.id})


def error(fault: Fault, request: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of an error. The time to wait is in the body: there is no Retry-After here."""
    # The vendor answers a wrong key, unlike a missing one, as a bad request.
    status = {401: 403 if fault.code == "missing" else 400}.get(fault.status, fault.status)
    message, details = fault.message, []
    if fault.status == 401 and status == 400:
        details.append({"@type": f"{_TYPES}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    if fault.wait is not None:
        message += f" Please retry in {fault.wait:.3f}s."
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{fault.wait:.3f}s"})
    told: dict[str, Any] = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    return status, encode({"error": told | ({"details": details} if details else {})}), {}


def without_logprobs(model: str) -> Fault:
    """Return the fault of asking for log-probabilities that there are none of."""
    return Fault(400, f"Logprobs is not enabled for models/{model}")


def key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return the key of `x-goog-api-key`, or of `?key=`."""
    return headers.get("x-goog-api-key") or query.get("key", "")


def rate_headers(levels: Mapping[str, Level]) -> dict[str, str]:
    """Return nothing: this vendor does not tell."""
    return {}


def models(name: str) -> bytes:
    """Return the list of models: this one."""
    model = {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": ["generateContent"]}
    return encode({"models": [model]})


_TYPES = "type.googleapis.com/google.rpc."
# Without refusals, which have reasons of their own and no content: see `_candidate`.
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS"}
_STATUS = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _camel(said: Any) -> Any:
    """`said` with the names of the body and of its config in camel case."""
    if not isinstance(said, dict):
        return said
    body = {_name(name): value for name, value in said.items()}
    # No deeper than this: the names within a schema are the user's own.
    config = body.get("generationConfig")
    if isinstance(config, dict):
        body["generationConfig"] = {_name(name): value for name, value in config.items()}
    return body


def _name(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _messages(said: Body) -> tuple[Message, ...]:
    system = () if said.system_instruction is None else (Message("system", _text(said.system_instruction)),)
    turns = [Message("assistant" if turn.role == "model" else "user", _text(turn)) for turn in said.contents]
    return system + tuple(turns)


def _text(content: Content) -> str:
    return "".join(part.text for part in content.parts if not part.thought)


def _candidate(index: int, response: Response, has_logprobs: bool) -> dict[str, Any]:
    if response.finish == "refusal":
        # Some category has to stand there, and clients look at the finish reason alone.
        rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        return {"finishReason": "SAFETY", "index": index, "safetyRatings": [rating]}
    parts = {"parts": [{"text": response.text}]} if response.text else {}
    found = {"content": parts | {"role": "model"}, "finishReason": _FINISH[response.finish], "index": index}
    if has_logprobs:
        # A model tells the sum over its reply, so the whole of it stands as one token.
        token = {"token": response.text, "logProbability": response.logprob}
        found |= {"avgLogprobs": response.logprob, "logprobsResult": {"chosenCandidates": [token]}}
    return found


def _usage(bill: Bill) -> dict[str, int]:
    usage = {
        "promptTokenCount": bill.tokens_in,
        # Thoughts are counted apart from the candidates here.
        "candidatesTokenCount": bill.tokens_out - bill.reasoning,
        "thoughtsTokenCount": bill.reasoning,
        "totalTokenCount": bill.tokens_in + bill.tokens_out,
        "cachedContentTokenCount": bill.cached,
    }
    # Protocol Buffers leave a number out that is 0.
    return {name: count for name, count in usage.items() if count}


def _refused(config: Config, model: str, refuse: frozenset[str]) -> Fault | None:
    if config.response_logprobs and "logprobs" in refuse:
        return without_logprobs(model)
    if (config.response_schema or config.response_json_schema) and config.response_mime_type != "application/json":
        return Fault(400, "A response schema takes the response_mime_type application/json")
    if "n" in refuse and config.candidate_count not in (None, 1):
        return Fault(400, "Multiple candidates is not enabled for this model")
    for word, fields in _FIELDS.items():
        if word in refuse:
            for field in fields:
                if getattr(config, field) is not None:
                    return Fault(400, _unknown("generation_config", field))
    return None


_FIELDS = {
    "temperature": ("temperature",),
    "seed": ("seed",),
    "max_tokens": ("max_output_tokens",),
    "response_format": ("response_schema", "response_json_schema"),
}


def _unknown(path: str, name: str) -> str:
    at = f" at '{path}'" if path else ""
    # In the vendor's words, for by these alone can a client see that it is a parameter which is not taken.
    return f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'


def _complaint(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return f"Invalid JSON payload received. {error}"
    path, what = where_and_what(error)
    # The vendor writes places in snake case, and numbers in brackets.
    path = re.sub(r"\.(\d+)", r"[\1]", path).replace("generationConfig", "generation_config")
    found = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if found is not None:
        return _unknown(path, found[1])
    return f"Invalid value at '{path}': {what}" if path else f"Invalid JSON payload received. {what}"
