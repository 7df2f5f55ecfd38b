"""Reading what servers say when they refuse: their words, their codes, and which parameter they mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec


class Told(NamedTuple):
    """What an error body says: the words, all codes in it, the parameter it names, seconds to wait (if it says)."""

    text: str
    codes: frozenset[str] = frozenset()
    parameter: str = ""
    wait: float | None = None


def told(body: bytes) -> Told:
    """Return what an error body says. Servers write it in six shapes, or as plain text."""
    try:
        said = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return Told(body.decode(errors="replace"))
    if isinstance(said, list) and said:  # Google's gateways put the one error into a list
        said = said[0]
    match said:
        case {"error": {"message": str(text), **rest}}:
            return _detailed(text, rest)
        case {"message": str(text), **rest} if "param" in rest or "type" in rest:
            return _detailed(text, rest)
        case {"error": str(text)} | {"message": str(text)} | {"detail": str(text)}:
            return Told(text)
        case {"detail": [{"msg": str(text), **rest}, *_]}:
            place = rest.get("loc")
            return Told(text, parameter=str(place[-1]) if isinstance(place, list) and place else "")
    return Told(body.decode(errors="replace"))


def _detailed(text: str, rest: dict[Any, Any]) -> Told:
    codes = {str(rest[name]) for name in ("code", "type", "status") if rest.get(name)}
    wait = None
    for detail in _details(rest.get("details")):
        codes |= {str(detail[name]) for name in ("reason", "error_code") if detail.get(name)}
        # Protocol Buffers write a duration as seconds with an s.
        # Its seconds have 12 digits at most; more of them would be an infinity to a float.
        if isinstance(delay := detail.get("retryDelay"), str) and re.fullmatch(r"\d{1,12}(\.\d+)?s", delay):
            wait = float(delay[:-1])
    return Told(text, frozenset(codes), str(rest.get("param") or ""), wait)


def _details(details: object) -> list[dict[Any, Any]]:
    if isinstance(details, dict):
        return [details]
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


_QUOTA = frozenset({"insufficient_quota", "billing_error", "enforced_spend_limit_reached", "billing_not_active"})


def is_quota(said: Told) -> bool:
    """Say whether an account is used up: a 429 or 400 by its number, but waiting does not fill it."""
    # Anthropic says this in words alone, under the type of any bad request.
    return bool(said.codes & _QUOTA) or "credit balance is too low" in said.text.lower()


def is_unknown_key(said: Told) -> bool:
    """Say whether the body blames the key: one vendor answers 400, not 401, to a key that it does not know."""
    return "API_KEY_INVALID" in said.codes


# Every way in which a dialect writes a parameter that we send, by our name for it.
_WRITTEN = {
    "temperature": ("temperature",),
    "seed": ("seed",),
    "n": ("n", "candidateCount", "candidate_count", "multiple candidates"),
    "logprobs": ("logprobs", "top_logprobs", "responseLogprobs", "response_logprobs"),
    "response_format": (
        "response_format",
        "json_schema",
        "output_config",
        "output_format",
        "responseJsonSchema",
        "response_json_schema",
        "responseMimeType",
        "response_mime_type",
    ),
    "max_tokens": ("max_tokens", "max_completion_tokens"),
}
# "max_tokens is too large" names a parameter, too, and sending it under another name would not help.
_NOT_TAKEN = re.compile(
    r"unsupported|n[o']t support|not (currently )?(enabled|allowed|permitted|available|accepted)|deprecated|removed"
    r"|unrecogni[sz]ed|unknown (name|parameter|field|argument)|cannot find field|not a valid (field|parameter)"
    r"|no longer|extra inputs|only the default|only one candidate|invalid schema"
)
_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})


def refused_parameter(said: Told, sent: Collection[str]) -> str | None:
    """Return which of the parameters in `sent` an error says that the model does not take; None: it says no such thing.

    `sent` are names of `mdap.models.profiles.PARAMETERS`. What was not sent is never the reason.
    """
    if not said.codes & _CODES and not _NOT_TAKEN.search(said.text.lower()):
        return None
    # The parameter that the error names comes before those in its words, which may be advice on what to send instead.
    by_name = [name for name in sent if said.parameter.rpartition(".")[2] in _WRITTEN[name]]
    return next(iter([*by_name, *(name for name in sent if _mentions(said.text, name))]), None)


def _mentions(text: str, name: str) -> bool:
    # A lone n is a letter of many sentences: only as a quoted name does it mean the parameter.
    words = "|".join(rf"['\"`]{word}['\"`]" if len(word) == 1 else rf"\b{word}\b" for word in _WRITTEN[name])
    return re.search(words, text, re.IGNORECASE) is not None
