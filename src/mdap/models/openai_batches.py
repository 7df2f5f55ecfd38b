"""OpenAI's batches: a file of requests in, a file of replies out. When to look, and what for, is decided elsewhere.

From developers.openai.com: api/docs/guides/batch and api/reference (files, batches), as of 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from mdap.core.errors import ModelError, ModelRejected
from mdap.models.batch_service import MOST_RESULTS, Standing, decoded
from mdap.models.http import Reply
from mdap.models.remote import Remote

MOST, MOST_BYTES = 50_000, 190_000_000
"""Requests of a batch, and bytes of its file (200 MB less what frames it), at most."""

# The vendor wants it so in every line, whatever the base URL ends in.
_ENDPOINT = "/v1/chat/completions"


class OpenAIBatches:
    """The batches of one model."""

    most, most_bytes = MOST, MOST_BYTES

    def __init__(self, model: Remote) -> None:
        self._model = model

    async def prepare(self, bodies: Mapping[str, bytes]) -> bytes:
        """Return what creates a batch, its file uploaded; to do so twice costs nothing."""
        lines = [_encode(_Line(id, "POST", _ENDPOINT, msgspec.Raw(body))) for id, body in bodies.items()]
        content = b"\n".join(lines) + b"\n"
        # Drawn from the content, so that a recorded upload is known again.
        boundary = blake2b(content, digest_size=16).hexdigest().encode()
        # Written by hand: the forms of aiohttp draw a boundary at random.
        form = _form(boundary, content)
        kind = f"multipart/form-data; boundary={boundary.decode()}"
        reply = await self._model.send("POST", "/files", form, kind=kind)
        file = decoded(reply.body, _File).id
        # The vendor has no other window.
        asked = {"input_file_id": file, "endpoint": _ENDPOINT, "completion_window": "24h"}
        return _encode(asked)

    async def submit(self, prepared: bytes) -> str:
        """Create the batch and return its id."""
        return decoded((await self._model.send("POST", "/batches", prepared)).body, _Batch).id

    async def look(self, batch: str) -> Standing:
        """Return how a batch stands; raises ModelRejected for one that failed as a whole."""
        found = await self._found(batch)
        # The file was refused before anything ran: waiting, or sending the same again, would change nothing.
        if found.status == "failed":
            # The first few: one mistake in all 50,000 lines has an error for each.
            told = "; ".join(error.message for error in found.errors.data[:3]) if found.errors else ""
            raise ModelRejected(
                f"the batch {batch} failed: {self._model.clean(told) or 'no reason given'}",
                kind="batch",
                remedy="see what the server says",
            )
        counts = found.request_counts
        done = counts.completed + counts.failed
        return Standing(
            # A batch that expired or was cancelled has ended, too, and holds the replies that came in time.
            found.status in ("completed", "expired", "cancelled"),
            f"{found.status}, {done:,} of {counts.total:,} done",
        )

    async def results(self, batch: str) -> dict[str, Reply | ModelError]:
        """Return what became of each request, by its custom id, of a batch that has ended."""
        found, results = await self._found(batch), dict[str, Reply | ModelError]()
        # Requests that failed stand in a file of their own, and either file is absent where nothing would be in it.
        for file in (found.output_file_id, found.error_file_id):
            if file:
                reply = await self._model.send("GET", f"/files/{file}/content", most=MOST_RESULTS)
                # As bytes: a text would be split at U+2028 as well, which strings in JSON may hold.
                for line in reply.body.splitlines():
                    result = decoded(line, _Result)
                    results[result.custom_id] = self._outcome(result)
        return results

    def _outcome(self, result: _Result) -> Reply | ModelError:
        if result.response is not None:
            return Reply(result.response.status_code, {}, bytes(result.response.body))
        error = result.error or _Error()
        return ModelError(
            f"the batch gave no reply ({error.code}): {self._model.clean(error.message)}", kind=error.code
        )

    async def _found(self, batch: str) -> _Batch:
        return decoded((await self._model.send("GET", f"/batches/{batch}")).body, _Batch)


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _File(msgspec.Struct):
    id: str


class _Error(msgspec.Struct):
    message: str = ""
    code: str = "failed"


class _Errors(msgspec.Struct):
    data: list[_Error] = []


class _Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Batch(msgspec.Struct):
    id: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Errors | None = None
    request_counts: _Counts = msgspec.field(default_factory=_Counts)


class _Answer(msgspec.Struct):
    status_code: int
    body: msgspec.Raw


class _Result(msgspec.Struct):
    custom_id: str
    response: _Answer | None = None
    error: _Error | None = None


_encode = msgspec.json.Encoder().encode


def _form(boundary: bytes, content: bytes) -> bytes:
    def _part(head: bytes, body: bytes) -> bytes:
        return b"--" + boundary + b"\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n"

    purpose = _part(b'name="purpose"', b"batch")
    file = _part(b'name="file"; filename="requests.jsonl"\r\nContent-Type: application/jsonl', content)
    return purpose + file + b"--" + boundary + b"--\r\n"
