"""The server itself: routes, the checks at the door, the counters, start and stop. What is said is in `wire`."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import signal
import sys
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from mdap.core.errors import ModelError, UsageError
from mdap.core.keyed import draw_seed
from mdap.core.records import Response, Usage
from mdap.protocols import Model, Task
from mdap.serve import wire
from mdap.serve.chaos import Attempts, Chaos, parse_chaos

MAX_BODY = 10_000_000  # bytes of a request
_GRACE = 0.5  # seconds that calls in flight have when the server stops
_JSON = {"Content-Type": "application/json"}
_BABBLE = "That is a good question. There is much to be said about it, and I would be glad to go on with you."


async def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task: Task | None = None,
    chaos: str | None = None,
    seed: int = 0,
    token: str | None = None,
) -> Server:
    """Return a server that listens already: `async with await serve(model) as server: ... server.url`.

    Port 0 takes a free one. With `task`, a model that can be bound to one answers from the text it is sent. `chaos`
    is as in `parse_chaos`; `seed` settles its strikes, and the seeds of requests that bring none. Raises UsageError
    for an address beyond this machine without a `token`, for one that is taken, and for chaos that cannot be read.
    """
    if not token and not is_loopback(host):
        raise UsageError(
            f"refusing to listen on {host!r}, which other machines can reach, without a token",
            remedy="give --token, or listen on 127.0.0.1",
        )
    bind = getattr(model, "bind", None)
    bound: Model = bind(task) if task is not None and bind is not None else model
    server = Server(bound, Chaos(parse_chaos(chaos), seed) if chaos is not None else None, seed, token or "")
    await server.start(host, port)
    return server


def run_server(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task: Task | None = None,
    chaos: str | None = None,
    seed: int = 0,
    token: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then stop cleanly. The base URL is printed on standard error. See `serve`."""

    async def until_stopped() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C then arrives as KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
        server = await serve(model, host=host, port=port, task=task, chaos=chaos, seed=seed, token=token)
        async with server:
            print(f"serving {model.spec} at {server.url} (Ctrl-C stops)", file=sys.stderr, flush=True)
            await stop.wait()
        close = getattr(model, "close", None)
        if close is not None:
            await close()

    asyncio.run(until_stopped())


class Server:
    """A model behind HTTP. `url` is the base URL that clients are given; `stats` counts since the start."""

    url: str

    def __init__(self, model: Model, chaos: Chaos | None, seed: int, token: str) -> None:
        self._model = model
        self._chaos = chaos
        self._seed = seed
        self._token = token
        self._attempts = Attempts()
        self._statuses: Counter[str] = Counter()
        self._strikes: Counter[str] = Counter()
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._at_the_door])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        # A client that goes away cancels the model's call: nobody would read the answer.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE, handle_signals=False
        )

    async def start(self, host: str, port: int) -> None:
        """Listen; raises UsageError where that is not possible."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror}", remedy="choose another --port; 0 takes a free one"
            ) from None
        self.url = str(URL.build(scheme="http", host=host, port=site.port, path="/v1"))

    async def close(self) -> None:
        """Stop listening, end the calls in flight and let go of the port. Safe to call twice."""
        self._closing.set()
        await self._runner.cleanup()

    async def __aenter__(self) -> Server:
        """Return the server, which listens already."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    @property
    def stats(self) -> dict[str, Any]:
        """How many requests came, how many had which status (`gone`: the client left first), which chaos struck."""
        return {
            "requests": self._statuses.total(),
            "status": dict(sorted(self._statuses.items())),
            "chaos": dict(sorted(self._strikes.items())),
        }

    @web.middleware
    async def _at_the_door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        status = "500"
        try:
            response = self._refused(request) or await handler(request)
            status = str(response.status)
            return response
        except web.HTTPException as error:
            status = str(error.status)
            return _error(error.status, _EXPLAINED.get(error.status, error.reason))
        except asyncio.CancelledError:
            status = "gone"
            raise
        finally:
            self._statuses[status] += 1

    def _refused(self, request: web.Request) -> web.Response | None:
        headers = request.headers
        if self._token:
            sent = headers.get("Authorization", "").encode()
            if request.path != "/health" and not hmac.compare_digest(sent, b"Bearer " + self._token.encode()):
                return _error(401, "the token is missing or wrong: send it as Authorization: Bearer TOKEN")
        elif not _is_local(headers.get("Host", "")) or not _is_local(headers.get("Origin", "http://localhost")):
            # Without a token, any web page open in a browser here could make calls through it.
            return _error(403, "without a token only this machine's own programs are answered")
        return None

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            asked = wire.read(body)
        except ValueError as error:
            return _error(400, str(error))
        digest = blake2b(body, digest_size=16).digest()
        attempt = self._attempts.count(digest)
        number = int.from_bytes(digest[:7], "little")
        call = wire.request(asked, draw_seed(self._seed, number, attempt, 0, 0))
        word = self._strike(digest, attempt, call.seed)
        if word in _INSTEAD:
            return await self._misbehave(word, request)
        try:
            response = _spoilt(await self._model.complete(call), word)
        except ModelError as error:
            return _passed_on(error)
        id = f"chatcmpl-{digest.hex()[:20]}{attempt:x}"
        return await self._sent(wire.reply(response, id=id, model=asked.model or self._model.spec), word, request)

    def _strike(self, digest: bytes, attempt: int, seed: int) -> str | None:
        if self._chaos is None:
            return None
        word = self._chaos.of_attempt(digest, attempt) or self._chaos.of_reply(digest, seed)
        if word is not None:
            self._strikes[word] += 1
        return word

    async def _misbehave(self, word: str | None, request: web.Request) -> web.Response:
        if word == "429":
            return _error(429, "too many requests (chaos)", {"Retry-After": "0", "retry-after-ms": "10"})
        if word == "500":
            return _error(500, "something broke (chaos)")
        if word == "garbage":
            return web.Response(body=b"no JSON at all (chaos)", headers=_JSON)
        if word == "drop" and request.transport is not None:
            request.transport.close()
        # Closing the connection, from either side, cancels this; so only a server that stops gets past it.
        await self._closing.wait()
        return _error(503, "the server is stopping")

    async def _sent(self, body: bytes, word: str | None, request: web.Request) -> web.StreamResponse:
        if word != "truncate":
            return web.Response(body=body, headers=_JSON)
        response = web.StreamResponse(headers=_JSON | {"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    async def _models(self, request: web.Request) -> web.Response:
        return web.Response(body=wire.models(self._model.spec), headers=_JSON)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ok"}', headers=_JSON)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.stats), headers=_JSON)


_INSTEAD = frozenset({"429", "500", "hang", "drop", "garbage"})
_PATHS = "POST /v1/chat/completions, GET /v1/models, GET /health, GET /stats"
_EXPLAINED = {
    404: f"there is no such path; there is: {_PATHS}",
    405: f"not with this method; there is: {_PATHS}",
    413: f"the body is longer than {MAX_BODY:,} bytes",
}


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own, out of reach for others."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(256)
def _is_local(address: str) -> bool:
    try:
        host = URL(address if "://" in address else f"http://{address}").host
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=wire.error(message, status), headers=_JSON | (headers or {}))


def _passed_on(error: ModelError) -> web.Response:
    # A status that the model's own provider gave speaks of this server's key and address, not of the caller's.
    if not error.retryable:
        return _error(400, str(error))
    wait = {} if error.retry_after is None else {"retry-after-ms": f"{1000 * error.retry_after:.0f}"}
    return _error(error.status or 503, str(error), wait)


def _spoilt(response: Response, word: str | None) -> Response:
    if word == "babble":
        return msgspec.structs.replace(response, text=_BABBLE, finish="stop")
    if word == "cut":
        usage = response.usage and Usage(response.usage.tokens_in, response.usage.tokens_out // 2)
        return msgspec.structs.replace(
            response, text=response.text[: len(response.text) // 2], finish="length", usage=usage
        )
    return response


__all__ = ["Server", "is_loopback", "run_server", "serve"]
