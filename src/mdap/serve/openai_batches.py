"""The batches of the OpenAI dialect over HTTP: files, and batches of their lines. What they do is `batches`'.

From developers.openai.com: api/docs/guides/batch and api/reference (files, batches), as of 2026-11-20.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec
from aiohttp import BodyPartReader, web

import mdap.serve.openai as openai
from mdap.serve.batches import WINDOW, Batch, Batches, Entry
from mdap.serve.dialect import Fault, encode

ENDPOINT = "/v1/chat/completions"
MOST = 50_000
"""Requests of a batch, at most."""
MAX_FILE = 200_000_000
"""Bytes of a file, at most."""


class Line(msgspec.Struct):
    """A line of an input file; its body is one of the chat dialect."""

    custom_id: str
    method: Literal["POST"]
    url: str
    body: msgspec.Raw


class Asked(msgspec.Struct):
    """What creates a batch."""

    input_file_id: str
    endpoint: Literal["/v1/chat/completions"]
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None


class File(msgspec.Struct):
    """A file of a client's, or of results."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created: int

    def described(self) -> bytes:
        """Return what is told of it."""
        head = {"id": self.id, "object": "file", "bytes": len(self.content), "created_at": self.created}
        return encode(head | {"filename": self.filename, "purpose": self.purpose, "status": "processed"})


class OpenAIBatches:
    """The files, and what the dialect keeps of each batch beside its entries: input, metadata, why it failed."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._files: dict[str, File] = {}
        self._asked: dict[str, Asked] = {}
        self._failures: dict[str, list[dict[str, Any]]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the paths and what answers them."""
        return [
            web.post("/v1/files", self._upload),
            web.get("/v1/files/{id}", self._file),
            web.get("/v1/files/{id}/content", self._content),
            web.post("/v1/batches", self._create),
            web.get("/v1/batches/{id}", self._retrieve),
            web.post("/v1/batches/{id}/cancel", self._cancel),
        ]

    async def _upload(self, request: web.Request) -> web.Response:
        if not request.content_type.startswith("multipart/"):
            return _sent(Fault(400, "a file is sent as multipart/form-data, with the fields purpose and file"))
        purpose, name, content = "", "", None
        async for part in await request.multipart():
            # A part may hold parts itself; no field of this form does.
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "purpose":
                purpose = (await part.read()).decode(errors="replace")
            elif part.name == "file":
                name, content = part.filename or "file", await _whole(part)
                if len(content) > MAX_FILE:
                    return _sent(Fault(413, f"the file is longer than {MAX_FILE:,} bytes", "file"))
        if content is None:
            return _sent(Fault(400, "the field file is missing", "file"))
        if purpose != "batch":
            return _sent(Fault(400, f"purpose {purpose!r} is not supported: there is 'batch'", "purpose"))
        return _sent(self._keep(name, purpose, content).described())

    async def _file(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["id"])
        return _sent(_missing("file", request) if file is None else file.described())

    async def _content(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["id"])
        if file is None:
            return _sent(_missing("file", request))
        return web.Response(body=file.content, headers={"Content-Type": "application/octet-stream"})

    async def _create(self, request: web.Request) -> web.Response:
        try:
            asked = _decode(await request.read())
        except (ValueError, RecursionError) as error:
            return _sent(Fault(400, f"the body does not create a batch: {error}"))
        file = self._files.get(asked.input_file_id)
        if file is None:
            return _sent(Fault(400, f"there is no file {asked.input_file_id!r}", "input_file_id"))
        entries, failures = _entries(file.content)
        # With a wrong line there is a batch all the same, a failed one of no entries.
        batch = self._batches.open("batch_", openai, [] if failures else entries)
        self._asked[batch.id] = asked
        if failures:
            self._failures[batch.id] = failures
        return _sent(self._described(batch))

    async def _retrieve(self, request: web.Request) -> web.Response:
        batch = self._found(request)
        return _sent(_missing("batch", request) if batch is None else self._described(batch))

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._found(request)
        if batch is None:
            return _sent(_missing("batch", request))
        if batch.ended:
            return _sent(Fault(409, f"Cannot cancel a batch with status '{self._status(batch)}'."))
        batch.cancel()
        return _sent(self._described(batch))

    def _found(self, request: web.Request) -> Batch | None:
        id = request.match_info["id"]
        # The list of batches is shared, and those of the other dialect are not known by this one.
        return self._batches.known.get(id) if id in self._asked else None

    def _keep(self, name: str, purpose: str, content: bytes) -> File:
        # By number and not at random: equal sessions have equal ids.
        file = File(f"file-{len(self._files):06x}", name, purpose, content, int(time.time()))
        self._files[file.id] = file
        return file

    def _status(self, batch: Batch) -> str:
        if batch.id in self._failures:
            return "failed"
        if not batch.ended:
            return "cancelling" if batch.cancelled else "in_progress"
        return "cancelled" if batch.cancelled else "expired" if batch.count("expired") else "completed"

    def _described(self, batch: Batch) -> bytes:
        asked, failures, status = self._asked[batch.id], self._failures.get(batch.id), self._status(batch)
        ended = int(batch.ended) if batch.ended else None
        created, good = int(batch.created), batch.count("succeeded") if batch.ended else 0
        bad = (batch.count("errored") + batch.count("expired")) if batch.ended else 0
        output = self._results(batch, "output", ("succeeded",)) if batch.ended else None
        errors = self._results(batch, "error", ("errored", "expired")) if batch.ended else None
        told: dict[str, Any] = {
            "id": batch.id,
            "object": "batch",
            "endpoint": asked.endpoint,
            "errors": {"object": "list", "data": failures} if failures else None,
            "input_file_id": asked.input_file_id,
            "completion_window": asked.completion_window,
            "status": status,
            "output_file_id": output,
            "error_file_id": errors,
            "created_at": created,
            "in_progress_at": None if failures else created,
            "expires_at": created + WINDOW,
            "cancelling_at": int(batch.cancelled) if batch.cancelled else None,
            "request_counts": {"total": len(batch.entries), "completed": good, "failed": bad},
            "metadata": asked.metadata,
        }
        # Of these only the one that it ended as has a time.
        moments = {name: ended if name == status else None for name in ("completed", "expired", "cancelled")}
        told |= {f"{name}_at": moment for name, moment in moments.items()}
        return encode(told | {"finalizing_at": ended, "failed_at": created if failures else None})

    def _results(self, batch: Batch, kind: str, outcomes: tuple[str, ...]) -> str | None:
        """The id of the file with the entries that came out so, made when first asked for; None if there are none."""
        id = f"file-{batch.id}-{kind}"
        # Made once, so that whoever asks again for the same id reads the same bytes.
        if id not in self._files:
            # From the last to the first: a client that relies on an order, which is not promised, is to notice.
            lines = [
                encode(_result(batch, index, entry)) + b"\n"
                for index, entry in reversed(list(enumerate(batch.entries)))
                if entry.outcome in outcomes
            ]
            if not lines:
                return None
            name = f"{batch.id}_{kind}.jsonl"
            self._files[id] = File(id, name, "batch_output", b"".join(lines), int(batch.ended))
        return id


_decode = msgspec.json.Decoder(Asked).decode
_line = msgspec.json.Decoder(Line).decode
_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


async def _whole(part: BodyPartReader) -> bytes:
    pieces, size = [], 0
    # In pieces, so that a file which is too long is given up at the limit, and not read to its end.
    while size <= MAX_FILE and (piece := await part.read_chunk(1 << 18)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _entries(content: bytes) -> tuple[list[Entry], list[dict[str, Any]]]:
    """The entries of an input file, and what is wrong with its lines: any wrong line fails the whole batch."""
    entries: dict[str, Entry] = {}
    failures: list[dict[str, Any]] = []

    def _fail(code: str, message: str, number: int | None) -> None:
        failures.append({"code": code, "message": message, "param": None, "line": number})

    for number, text in enumerate(content.splitlines(), 1):
        # Blank lines, such as the last one, ask for nothing.
        if not text.strip():
            continue
        try:
            line = _line(text)
        except (ValueError, RecursionError) as error:
            _fail("invalid_json_line", f"This line is not a request: {error}", number)
            continue
        # No `continue` here or below: a line may be wrong in two ways, and its author is told of both.
        if line.url != ENDPOINT:
            _fail("invalid_url", f"The URL {line.url!r} is not the endpoint of the batch.", number)
        if line.custom_id in entries:
            _fail("duplicate_custom_id", f"The custom_id {line.custom_id!r} stands twice.", number)
        entries[line.custom_id] = Entry(line.custom_id, bytes(line.body))
    if not entries and not failures:
        _fail("empty_file", "The input file has no request.", None)
    if len(entries) > MOST:
        _fail("too_many_tasks", f"The input file has more than {MOST} requests.", None)
    return list(entries.values()), failures


def _result(batch: Batch, index: int, entry: Entry) -> dict[str, Any]:
    # Behind the six letters of batch_.
    head = {"id": f"batch_req_{batch.id[6:]}{index:x}", "custom_id": entry.custom_id}
    if entry.sent is None or entry.outcome == "expired":
        return head | {"response": None, "error": _EXPIRED}
    request = entry.sent.headers.get(openai.REQUEST_ID, "")
    response = {"status_code": entry.sent.status, "request_id": request, "body": msgspec.Raw(entry.sent.body)}
    return head | {"response": response, "error": None}


def _missing(what: str, request: web.Request) -> Fault:
    return Fault(404, f"there is no {what} {request.match_info['id']!r}")


def _sent(said: bytes | Fault) -> web.Response:
    if isinstance(said, Fault):
        status, body, headers = openai.error(said, "")
        return web.Response(status=status, body=body, headers=headers | {"Content-Type": "application/json"})
    return web.Response(body=said, headers={"Content-Type": "application/json"})
