"""What a dialect is to the rest of the server, and the values that pass between the two. Holds no wire format itself.

The dialects are written from their vendors' documents, apart from the client's side, so that a misreading in one cannot
hide behind the same misreading in the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from mdap.core.records import Prompt, Response

# The cap that a run sets by itself, and that of the paper's long run (arXiv:2511.09030).
MAX_TOKENS: Final = 750
"""The cap of a reply where a request names none."""

REFUSABLE: Final = ("temperature", "seed", "max_tokens", "max_completion_tokens", "n", "logprobs", "response_format")
"""What a server can be told to refuse, in the words of the OpenAI dialect; the others have their own for the same."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request as all dialects mean it. `n` is how many choices are wanted, `schema` what a reply is to conform to."""

    prompt: Prompt
    model: str = ""
    seed: int | None = None
    temperature: float | None = None
    max_tokens: int = MAX_TOKENS
    n: int = 1
    schema: Any = None
    logprobs: bool = False


class Fault(msgspec.Struct, frozen=True):
    """Why there is no reply. `wait` is the seconds after which asking again may help; `param` and `code` name more."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    wait: float | None = None


class Bill(msgspec.Struct, frozen=True, gc=False):
    """The tokens of a call.

    `cached` (read from the prompt cache) and `written` (to it) are parts of `tokens_in`; `reasoning` of `tokens_out`.
    """

    tokens_in: int
    tokens_out: int
    cached: int = 0
    written: int = 0
    reasoning: int = 0


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a model said: one response for each choice, in index order. `bill` None: it reported no tokens.

    `logprobs`: they were asked for, and every response has one.
    """

    id: str
    model: str
    responses: tuple[Response, ...]
    bill: Bill | None
    logprobs: bool = False


class Level(msgspec.Struct, frozen=True):
    """Where a rate limit stands: the limit a minute, what is left of it, the seconds until all of it is there again."""

    limit: int
    remaining: int
    reset: float


class Dialect(Protocol):
    """A wire format: bytes to a request, an answer or a fault to bytes. Each is a module of its own."""

    NAME: str
    ID_PREFIX: str
    """What the ids of its replies begin with."""
    REQUEST_ID: str
    """The header that names a request; empty where the vendor has none."""

    def read(self, body: bytes, headers: Mapping[str, str], model: str, refuse: frozenset[str]) -> Asked | Fault:
        """Return what is asked, or why it is not taken. `model` is what the path names, if it names one."""

    def reply(self, answer: Answer) -> bytes:
        """Return the body of a reply."""

    def error(self, fault: Fault, request: str) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers of an error; `request` is the id of the request."""

    def without_logprobs(self, model: str) -> Fault:
        """Return the fault of asking a model for log-probabilities that has none."""

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """Return the key that a request presents, or nothing."""

    def rate_headers(self, levels: Mapping[str, Level]) -> dict[str, str]:
        """Return the headers that tell where the limits (`requests`, `tokens`) stand."""

    def models(self, name: str) -> bytes:
        """Return the list of models: this one."""


def whole_seconds(wait: float) -> str:
    """Return a wait for a header that takes whole seconds: rounded up, but a hundredth is none."""
    # A hundredth is what chaos asks for (`calls`); a whole second for each would make tests of retries slow.
    return str(math.ceil(wait - 0.01))


def bearer(headers: Mapping[str, str]) -> str:
    """Return the key of `Authorization: Bearer KEY`, or nothing."""
    word, _, key = headers.get("Authorization", "").partition(" ")
    return key if word == "Bearer" else ""


def where_and_what(error: ValueError) -> tuple[str, str]:
    """Return the path of the field that a body is wrong at ("messages.0.role", or nothing) and what is wrong."""
    text = str(error)
    # msgspec puts the place behind the reason, as a path from `$`.
    found = re.fullmatch(r"(.*) - at `\$\.?(.*?)`", text, re.DOTALL)
    if found is None:
        return "", text
    # As Anthropic writes places; Google's dialect puts the brackets back, OpenAI's takes the first part only.
    return re.sub(r"\[(\d+)\]", r".\1", found[2]).lstrip("."), found[1]


encode = msgspec.json.Encoder().encode
