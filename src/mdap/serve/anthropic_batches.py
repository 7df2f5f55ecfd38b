"""Anthropic's message batches over HTTP: create, retrieve, results, cancel. What they do is in `batches`.

From platform.claude.com/docs: api/messages/batches and build-with-claude/batch-processing, as of 2026-11-20.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from aiohttp import web

import mdap.serve.anthropic as anthropic
from mdap.serve.batches import WINDOW, Batch, Batches, Entry
from mdap.serve.dialect import Fault, encode, where_and_what

MOST = 100_000
"""Requests of a batch, at most."""
MAX_BATCH = 256_000_000
"""Bytes of what creates a batch, at most."""


class Asked(msgspec.Struct):
    """A request of a batch; its params are a body of the messages dialect."""

    custom_id: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    params: msgspec.Raw


class Body(msgspec.Struct):
    """What creates a batch."""

    requests: Annotated[list[Asked], msgspec.Meta(min_length=1, max_length=MOST)]


def create(body: bytes, version: str, batches: Batches) -> Batch | Fault:
    """Return a new batch, or why there is none. What is wrong with a request's params shows in its result alone."""
    if version not in anthropic.VERSIONS:
        return Fault(400, "anthropic-version: header is required")
    try:
        asked = _decode(body).requests
    except (ValueError, RecursionError) as error:
        path, what = where_and_what(error) if isinstance(error, ValueError) else ("", str(error))
        return Fault(400, f"{path}: {what}" if path else what)
    seen: set[str] = set()
    for index, one in enumerate(asked):
        # Refused as a whole: results come in no order, and are told apart by nothing else.
        if one.custom_id in seen:
            return Fault(400, f"requests.{index}.custom_id: custom_id must be unique: {one.custom_id}")
        seen.add(one.custom_id)
    entries = [Entry(one.custom_id, bytes(one.params)) for one in asked]
    # The version goes along, for each entry is read like a message that was sent under it.
    return batches.open("msgbatch_", anthropic, entries, version)


def described(batch: Batch, origin: str) -> bytes:
    """Return a batch as it stands. As long as it has not ended all its requests count as processing."""
    outcomes = ("succeeded", "errored", "canceled", "expired")
    counts = {outcome: batch.count(outcome) if batch.ended else 0 for outcome in outcomes}
    counts["processing"] = 0 if batch.ended else len(batch.entries)
    return encode(
        {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if batch.ended else "canceling" if batch.cancelled else "in_progress",
            "request_counts": counts,
            "created_at": _moment(batch.created),
            "expires_at": _moment(batch.created + WINDOW),
            "ended_at": _moment(batch.ended),
            "cancel_initiated_at": _moment(batch.cancelled),
            "archived_at": None,
            "results_url": f"{origin}/v1/messages/batches/{batch.id}/results" if batch.ended else None,
        }
    )


def results(batch: Batch) -> bytes | Fault:
    """Return one line of JSON for each request, in no order that means anything; a fault before the batch has ended."""
    if not batch.ended:
        return Fault(404, f"Batch {batch.id} has no available results: it has not ended")
    # From the last to the first: a client that relies on an order, which the vendor does not promise, is to notice.
    return b"".join(encode(_result(entry)) + b"\n" for entry in reversed(batch.entries))


def routes(batches: Batches) -> list[web.RouteDef]:
    """Return the paths and what answers them."""

    async def _post(request: web.Request) -> web.Response:
        # The server's own limit is that of a single call, a twenty-fifth of what a batch may be.
        whole = await request.clone(client_max_size=MAX_BATCH).read()
        made = create(whole, request.headers.get("anthropic-version", ""), batches)
        return _sent(made if isinstance(made, Fault) else described(made, _origin(request)))

    async def _get(request: web.Request) -> web.Response:
        batch = _found(request, batches)
        return _sent(batch if isinstance(batch, Fault) else described(batch, _origin(request)))

    async def _cancel(request: web.Request) -> web.Response:
        batch = _found(request, batches)
        if isinstance(batch, Fault):
            return _sent(batch)
        batch.cancel()
        return _sent(described(batch, _origin(request)))

    async def _get_results(request: web.Request) -> web.Response:
        batch = _found(request, batches)
        return _sent(batch if isinstance(batch, Fault) else results(batch), "application/x-jsonl")

    path = "/v1/messages/batches"
    return [
        web.post(path, _post),
        web.get(f"{path}/{{id}}", _get),
        web.post(f"{path}/{{id}}/cancel", _cancel),
        web.get(f"{path}/{{id}}/results", _get_results),
    ]


_decode = msgspec.json.Decoder(Body).decode


def _moment(seconds: float) -> str | None:
    # Written as the vendor writes it: clients may match the letter.
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else None


def _result(entry: Entry) -> dict[str, Any]:
    result: dict[str, Any] = {"type": entry.outcome}
    # What was canceled or has expired has neither, though it may hold a reply that came to nothing.
    if entry.sent is not None and entry.outcome in ("succeeded", "errored"):
        name = "message" if entry.outcome == "succeeded" else "error"
        # As it would have been sent alone, to the byte: it is JSON already.
        result[name] = msgspec.Raw(entry.sent.body)
    return {"custom_id": entry.custom_id, "result": result}


def _found(request: web.Request, batches: Batches) -> Batch | Fault:
    id = request.match_info["id"]
    batch = batches.known.get(id)
    # All batches are in one list; here those of the other dialect do not exist.
    return batch if batch is not None and batch.dialect is anthropic else Fault(404, f"there is no batch {id}")


def _origin(request: web.Request) -> str:
    return str(request.url.origin())


def _sent(said: bytes | Fault, kind: str = "application/json") -> web.Response:
    if isinstance(said, Fault):
        status, body, headers = anthropic.error(said, "")
        return web.Response(status=status, body=body, headers=headers | {"Content-Type": "application/json"})
    return web.Response(body=said, headers={"Content-Type": kind})
