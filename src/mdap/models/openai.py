"""The OpenAI chat dialect: how a request is written, how a reply, a finish reason and an error are read. No retries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.records import Finish, Message, Request, Response, Usage
from mdap.core.spec import write_spec
from mdap.models.http import Endpoint, Reply, check_base_url, is_html, page_title

VENDOR_URL = "https://api.openai.com/v1"


def openai(
    model: str, base_url: str | None = None, api_key: str | None = None, timeout: float = 600.0
) -> ChatCompletions:
    """Return a model behind any OpenAI-compatible chat endpoint.

    `model` is the server's name for it. `base_url` ends before /chat/completions (default: OPENAI_BASE_URL, else the
    vendor's own); `api_key` defaults to OPENAI_API_KEY, and only the vendor's own URL needs one. `timeout` is for one
    call, in seconds: a backstop, so long that the limit of a run, which has its own, comes first. Raises UsageError,
    before any call, for what no call could be made with.
    """
    base = check_base_url(base_url or os.environ.get("OPENAI_BASE_URL") or VENDOR_URL)
    key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not model or any(c in model for c in ",=") or model != model.strip():
        raise UsageError(f"model name {model!r} is empty or holds a comma, = or outer spaces", remedy="openai:MODEL")
    if not timeout > 0:
        raise UsageError(f"timeout {timeout!r} is not above 0", remedy="give seconds, such as 60")
    if not key and base == VENDOR_URL:
        raise UsageError(
            f"openai:{model} needs a key, and OPENAI_API_KEY is not set",
            remedy="export OPENAI_API_KEY=..., or point --base-url at a server that needs none",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError("the key in OPENAI_API_KEY holds characters that no key has", remedy="copy it again")
    return ChatCompletions(model, base, key, timeout)


class ChatCompletions:
    """A model that is asked over HTTP. Its spec names the server, but never the key and nothing a resume may change."""

    def __init__(self, model: str, base_url: str, key: str, timeout: float) -> None:
        self.model = model
        self.base_url = base_url
        self.spec = write_spec("openai", {"base_url": None if base_url == VENDOR_URL else base_url}, bare=model)
        self._endpoint = Endpoint(
            f"{base_url}/chat/completions",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            secret=key,
            timeout=timeout,
        )

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    async def complete(self, request: Request) -> Response:
        """Make exactly one attempt; raises ModelError to be tried again, or ModelRejected, with the server's words."""
        body = _Body(self.model, request.messages, request.max_tokens, request.seed, _or_unset(request.temperature))
        reply = await self._endpoint.post(_encode(body))
        if reply.status != 200:
            raise self._refusal(reply)
        return self._read(reply)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    def _read(self, reply: Reply) -> Response:
        try:
            completion = _decode(reply.body)
        except (ValueError, RecursionError) as error:  # a ValueError also for text that is not UTF-8
            raise self._unreadable(reply, str(error)) from None
        if not completion.choices:
            raise self._unfinished(reply, completion)
        choice = completion.choices[0]
        text, refused = _text(choice.message)
        reason = (choice.finish_reason or "stop").lower()
        if reason in _BROKEN:
            raise ModelError(f"{self._endpoint.url} gave the reply up: finish reason {reason}", kind="aborted")
        finish = "refusal" if refused else _FINISH.get(reason, "stop")
        return Response(text, finish, _usage(completion.usage), completion.id or "")

    def _refusal(self, reply: Reply) -> ModelError:
        told, code = (page_title(reply), "") if is_html(reply) else _told(reply.body)
        if code == "insufficient_quota":
            # A 429 by its number, but waiting does not fill an account.
            return ModelRejected(
                f"HTTP {reply.status} from {self._endpoint.url}: {self._endpoint.clean(told)}",
                kind="quota",
                status=reply.status,
                remedy="add credit or raise the limit of the account, then resume",
            )
        return self._endpoint.refusal(reply, told, remedies=self._remedies())

    def _remedies(self) -> dict[int, str]:
        key = "set OPENAI_API_KEY to a key of this server"
        return {
            400: "the server does not take the request as it is: see its message",
            401: key,
            403: f"{key} that may use the model {self.model!r}",
            404: f"does the server have a model {self.model!r}, and does the base URL {self.base_url} end as it should "
            "(most end in /v1)?",
            405: f"{self.base_url} is no chat endpoint: most base URLs end in /v1",
            413: "the prompt is longer than the server takes",
            422: "the server does not take the request as it is: see its message",
        }

    def _unreadable(self, reply: Reply, reason: str) -> ModelError:
        url, clean = self._endpoint.url, self._endpoint.clean
        if is_html(reply):
            return ModelRejected(
                f"{url} answered with a web page: {clean(page_title(reply))}",
                kind="html",
                remedy=f"is {self.base_url} the address of an API? Most base URLs end in /v1",
            )
        start = clean(reply.body[:80].decode(errors="replace"))
        # Without a status, for this reply may well be on the bill.
        return ModelError(f"the reply of {url} is not a chat completion ({reason}): {start}", kind="garbage")

    def _unfinished(self, reply: Reply, completion: _Completion) -> ModelError:
        # Gateways that have begun to answer can report an error with status 200 only; its true status is its code.
        if completion.error is None:
            return self._unreadable(reply, "it has no choices")
        code = completion.error.get("code") if isinstance(completion.error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return self._refusal(reply._replace(status=status))


class _Body(msgspec.Struct, gc=False):
    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    seed: int
    temperature: float | msgspec.UnsetType


class _Part(msgspec.Struct, gc=False):
    type: str = "text"
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: float | None = None  # some gateways write 12.0
    completion_tokens: float | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    id: str | None = None
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
_BROKEN = frozenset({"abort", "error"})  # the server stopped in the middle: not the model's doing, so asked again


def _or_unset(temperature: float | None) -> float | msgspec.UnsetType:
    return msgspec.UNSET if temperature is None else temperature


def _text(message: _Message) -> tuple[str, bool]:
    content = message.content
    if isinstance(content, list):
        refused = "".join(part.refusal or "" for part in content)
        content = "".join(part.text or "" for part in content if part.type == "text")
        return content or refused, bool(refused or message.refusal)
    return content or message.refusal or "", bool(message.refusal)


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None or (usage.prompt_tokens is None and usage.completion_tokens is None):
        return None
    return Usage(int(usage.prompt_tokens or 0), int(usage.completion_tokens or 0))


def _told(body: bytes) -> tuple[str, str]:
    """Return what an error body says and its code; servers write it in five shapes, or as plain text."""
    try:
        said = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace"), ""
    match said:
        case {"error": {"message": str(text), **rest}}:
            return text, str(rest.get("code") or rest.get("type") or "")
        case {"error": str(text)} | {"message": str(text)} | {"detail": str(text)}:
            return text, ""
        case {"detail": [{"msg": str(text)}, *_]}:
            return text, ""
    return body.decode(errors="replace"), ""
