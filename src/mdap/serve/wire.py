"""The server's side of the chat-completions format: bytes to a request, a response to bytes.

Written apart from the client's side, so that a misreading in one cannot hide behind the same misreading in the other.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec

from mdap.core.records import Draw, Finish, Message, Prompt, Request, Response

MAX_TOKENS = 750  # where a request names no cap


class Part(msgspec.Struct, gc=False):
    """A part of a message's content; only text is read."""

    type: Literal["text"]
    text: str


class Said(msgspec.Struct, gc=False):
    """A message as it is sent. Reasoning models name the system's role developer."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class Asked(msgspec.Struct):
    """What of a body is looked at; other fields are let be, as other servers do."""

    messages: Annotated[list[Said], msgspec.Meta(min_length=1)]
    model: str = ""
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    n: int | None = None
    stream: bool | None = None


def read(body: bytes) -> Asked:
    """Read a body; raises ValueError saying which field is wrong."""
    try:
        asked = _decode(body)
    except (ValueError, RecursionError) as error:  # a ValueError also for text that is not UTF-8
        raise ValueError(f"the body is not a chat request: {error}") from None
    if asked.stream:
        raise ValueError("stream=true is not supported: send stream=false, or leave it out")
    if asked.n is not None and asked.n != 1:
        raise ValueError(f"n={asked.n} is not supported: send n requests with a seed each")
    return asked


def request(asked: Asked, seed: int) -> Request:
    """Return the request to put to a model. `seed` stands in where the body brings none."""
    messages = tuple(Message(_ROLES.get(said.role, "system"), _text(said.content)) for said in asked.messages)
    return Request(
        prompt=Prompt(messages, _digest(messages)),
        draw=Draw(0, 0),
        seed=seed if asked.seed is None else asked.seed,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens or asked.max_completion_tokens or MAX_TOKENS,
    )


def reply(response: Response, *, id: str, model: str) -> bytes:
    """Return the body of a chat completion. Its time of creation is always 0: equal requests have equal replies."""
    usage = response.usage
    tokens = (
        {}
        if usage is None
        else {
            "usage": {
                "prompt_tokens": usage.tokens_in,
                "completion_tokens": usage.tokens_out,
                "total_tokens": usage.tokens_in + usage.tokens_out,
            }
        }
    )
    message = {"role": "assistant", "content": response.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[response.finish]}
    head = {"id": response.id or id, "object": "chat.completion", "created": 0, "model": model}
    return _encode({**head, "choices": [choice], **tokens})


def error(message: str, status: int) -> bytes:
    """Return the body of an error."""
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    return _encode({"error": {"message": message, "type": kind, "param": None, "code": None}})


def models(name: str) -> bytes:
    """Return the list of models: this one."""
    return _encode({"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "mdap"}]})


_decode = msgspec.json.Decoder(Asked).decode
_encode = msgspec.json.Encoder().encode
_ROLES: dict[str, Any] = {"user": "user", "assistant": "assistant"}
_FINISH: dict[Finish, str] = {"stop": "stop", "length": "length", "refusal": "content_filter"}


def _text(content: str | list[Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _digest(messages: tuple[Message, ...]) -> str:
    digest = blake2b(digest_size=16)
    for message in messages:
        digest.update(f"{message.role}\0{message.content}\0".encode())
    return digest.hexdigest()
