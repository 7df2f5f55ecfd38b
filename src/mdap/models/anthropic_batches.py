"""Anthropic's message batches: requests in, lines of results out. When to look, and what for, is decided elsewhere.

From platform.claude.com/docs: api/messages/batches and build-with-claude/batch-processing, as of 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mdap.core.errors import ModelError
from mdap.models.batch_service import MOST_RESULTS, Standing, decoded
from mdap.models.http import Reply
from mdap.models.remote import Remote

MOST, MOST_BYTES = 100_000, 240_000_000
"""Requests of a batch, and bytes of what creates it (256 MB less what frames it), at most."""


class AnthropicBatches:
    """The batches of one model."""

    most, most_bytes = MOST, MOST_BYTES

    def __init__(self, model: Remote) -> None:
        self._model = model
        # As for single calls: base URLs are in use with the version and without it.
        self._path = "/messages/batches" if model.base_url.endswith("/v1") else "/v1/messages/batches"

    async def prepare(self, bodies: Mapping[str, bytes]) -> bytes:
        """Return what creates a batch."""
        # Raw: the body is JSON already, by the same `write` as that of a single call, and is not read again.
        return _encode({"requests": [_Asked(id, msgspec.Raw(body)) for id, body in bodies.items()]})

    async def submit(self, prepared: bytes) -> str:
        """Create the batch and return its id."""
        return decoded((await self._model.send("POST", self._path, prepared)).body, _Batch).id

    async def look(self, batch: str) -> Standing:
        """Return how a batch stands."""
        found = decoded((await self._model.send("GET", f"{self._path}/{batch}")).body, _Batch)
        counts = found.request_counts
        waiting = counts.get("processing", 0)
        words = f"{found.processing_status}, {waiting:,} of {sum(counts.values()):,} waiting"
        return Standing(found.processing_status == "ended", words)

    async def results(self, batch: str) -> dict[str, Reply | ModelError]:
        """Return what became of each request, by its custom id, of a batch that has ended."""
        # Not the address that the batch names: the key goes where the base URL says, and nowhere else.
        reply = await self._model.send("GET", f"{self._path}/{batch}/results", most=MOST_RESULTS)
        lines = [decoded(line, _Line) for line in reply.body.splitlines()]
        return {line.custom_id: _outcome(line.result) for line in lines}


class _Asked(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    request_counts: dict[str, int] = {}


class _Cause(msgspec.Struct):
    type: str = "api_error"
    message: str = ""


class _Error(msgspec.Struct):
    error: _Cause = msgspec.field(default_factory=_Cause)


class _Result(msgspec.Struct):
    type: str
    # Left as bytes, since the model reads a result by the same code as the reply to a single call.
    message: msgspec.Raw = msgspec.Raw(b"{}")
    error: msgspec.Raw = msgspec.Raw(b"{}")


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_encode = msgspec.json.Encoder().encode

# An error in a result has no status of its own, only the type that stands for one.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def _outcome(result: _Result) -> Reply | ModelError:
    if result.type == "succeeded":
        return Reply(200, {}, bytes(result.message))
    if result.type == "errored":
        cause = decoded(bytes(result.error), _Error).error
        # A type that is not listed is taken for the server's own trouble, so that the request is made again.
        return Reply(_STATUSES.get(cause.type, 500), {}, bytes(result.error))
    # Canceled or expired: the request itself was never judged, so the next batch may take it.
    return ModelError(f"the batch gave no reply: the request has {result.type}", kind=result.type)
