"""The server itself: routes, the checks at the door, the counters, start and stop. What is said is in the dialects."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import signal
import sys
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

import mdap.serve.anthropic as anthropic
import mdap.serve.anthropic_batches as anthropic_batches
import mdap.serve.google as google
import mdap.serve.openai as openai
from mdap.core.errors import UsageError
from mdap.protocols import Model, Task
from mdap.serve.batches import Batches
from mdap.serve.calls import Calls, Sent, Ways
from mdap.serve.chaos import Chaos, parse_chaos
from mdap.serve.dialect import REFUSABLE, Dialect, Fault
from mdap.serve.limits import Limits, parse_rate
from mdap.serve.log import CallLog
from mdap.serve.openai_batches import OpenAIBatches
from mdap.serve.prefixes import Prefixes
from mdap.serve.words import words

MAX_BODY = 10_000_000  # bytes of a request
_GRACE = 0.5  # seconds that calls in flight have when the server stops
_JSON = {"Content-Type": "application/json"}


# Written out beside the arguments of `serve`, so that a type checker sees what `run_server` hands on.
class Options(TypedDict, total=False):
    """How a server is to behave; `serve` says what each option does."""

    host: str
    port: int
    task: Task | None
    chaos: str | None
    seed: int
    token: str | None
    rate: str | None
    refuse: str | None
    ignore_seed: bool
    cache_prompts: bool
    batch_delay: float
    log: Path | str | None


async def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task: Task | None = None,
    chaos: str | None = None,
    seed: int = 0,
    token: str | None = None,
    rate: str | None = None,
    refuse: str | None = None,
    ignore_seed: bool = False,
    cache_prompts: bool = False,
    batch_delay: float = 0.0,
    log: Path | str | None = None,
) -> Server:
    """Return a server that listens already: `async with await serve(model) as server: ... server.url`.

    Port 0 takes a free one. With `task`, a model that can be bound to one answers from the text it is sent. `chaos`
    is as in `parse_chaos`; `seed` settles its strikes, and the seeds of requests that bring none. `rate` is as in
    `parse_rate`. `refuse` names parameters, with commas, that are answered with 400. `ignore_seed`: as from a cache,
    the reply is a function of the prompt alone. `cache_prompts`: cached tokens are reported, as in `Prefixes`.
    `batch_delay`: seconds before a batch is worked on. `log` is a file that each call is appended to; see `read_log`.
    Raises UsageError for an address beyond this machine without a `token`, for one that is taken, for a log that
    cannot be written, and for options that cannot be read.
    """
    # Whoever reaches the server can have the model work, at its owner's cost.
    if not token and not is_loopback(host):
        raise UsageError(
            f"refusing to listen on {host!r}, which other machines can reach, without a token",
            remedy="give --token, or listen on 127.0.0.1",
        )
    # From a day on every batch would have expired before it was begun.
    if not 0 <= batch_delay < 86_400:
        raise UsageError(f"batch delay {batch_delay!r} is out of range", remedy="give seconds from 0 up to a day")
    # Others than simulated models answer any text, and need no task to read it by.
    bind = getattr(model, "bind", None)
    bound: Model = bind(task) if task is not None and bind is not None else model
    ways = Ways(
        seed=seed,
        chaos=None if chaos is None else Chaos(parse_chaos(chaos), seed),
        limits=None if rate is None else Limits(parse_rate(rate)),
        refuse=frozenset() if refuse is None else words(refuse, "parameter to refuse", REFUSABLE),
        ignore_seed=ignore_seed,
        prefixes=Prefixes() if cache_prompts else None,
        log=None if log is None else CallLog(Path(log)),
    )
    server = Server(bound, ways, token or "", batch_delay)
    await server.start(host, port)
    return server


def run_server(model: Model, **options: Unpack[Options]) -> None:
    """Serve until SIGINT or SIGTERM, then stop cleanly. The base URL is printed on standard error. See `serve`."""

    async def _until_stopped() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C then arrives as KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
        async with await serve(model, **options) as server:
            # Flushed, since a script that began the server waits for its address.
            print(f"serving {model.spec} at {server.url} (Ctrl-C stops)", file=sys.stderr, flush=True)
            await stop.wait()
        # A model that is served may be behind HTTP itself.
        close = getattr(model, "close", None)
        if close is not None:
            await close()

    asyncio.run(_until_stopped())


class Server:
    """A model behind HTTP. `stats` counts since the start.

    `url` is the base URL of the OpenAI dialect; `origin` is that of all: the others lie at `origin`/v1/messages and at
    `origin`/v1beta/models/MODEL:generateContent.
    """

    url: str
    origin: str

    def __init__(self, model: Model, ways: Ways, token: str, batch_delay: float) -> None:
        self._model = model
        self._token = token
        self._log = ways.log
        self._statuses: Counter[str] = Counter()
        self._closing = asyncio.Event()
        self._calls = Calls(model, ways)
        self._batches = Batches(self._calls, batch_delay)
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._at_the_door])
        for path in ("/v1/chat/completions", "/chat/completions"):  # base URLs are told with /v1 and without it
            app.router.add_post(path, self._asks(openai))
        app.router.add_post("/v1/messages", self._asks(anthropic))
        # All that follows, for a model's name may hold slashes.
        app.router.add_post("/v1beta/models/{call:.+}", self._asks(google))
        app.router.add_routes(OpenAIBatches(self._batches).routes() + anthropic_batches.routes(self._batches))
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/models", self._models)
        app.router.add_get("/v1beta/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        # A client that goes away cancels the model's call: nobody would read the answer.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE, handle_signals=False
        )

    async def start(self, host: str, port: int) -> None:
        """Listen; raises UsageError where that is not possible."""
        if not 0 <= port <= 65535:
            raise UsageError(f"port={port} is no port", remedy="choose one from 1 to 65535; 0 takes a free one")
        await self._runner.setup()
        # A client with hundreds of calls in flight opens its connections all at once, more than the usual 128.
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            # The runner is set up by now, and would be left behind.
            await self.close()
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror}", remedy="choose another --port; 0 takes a free one"
            ) from None
        # The port that was bound: with 0 it is the system's choice.
        self.origin = str(URL.build(scheme="http", host=host, port=site.port))
        self.url = f"{self.origin}/v1"

    async def close(self) -> None:
        """Stop listening, end the calls in flight and let go of the port. Safe to call twice."""
        # First, for what hangs on purpose ends by it, and the runner waits for that.
        self._closing.set()
        await self._runner.cleanup()
        await self._batches.close()
        # Last, for what has ended above is still written to it.
        if self._log is not None:
            self._log.close()

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
            "chaos": dict(sorted(self._calls.strikes.items())),
        }

    @web.middleware
    async def _at_the_door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # What aiohttp makes of an exception that nobody foresaw, and what is then counted.
        status = "500"
        try:
            response = self._turned_away(request) or await handler(request)
            status = str(response.status)
            return response
        except web.HTTPException as error:
            # Its own words (no such path, too long a body) would be plain text, which no client of a dialect can read.
            status = str(error.status)
            return self._refusal(_dialect(request), Fault(error.status, _EXPLAINED.get(error.status, error.reason)))
        except asyncio.CancelledError:
            status = "gone"
            raise
        finally:
            self._statuses[status] += 1

    def _turned_away(self, request: web.Request) -> web.Response | None:
        if self._token:
            dialect = _dialect(request)
            # Compared in constant time: how long that takes must not tell how much of a guess was right. Whoever only
            # watches over the server (/health) has no token.
            key = dialect.key(request.headers, request.query).encode()
            if request.path != "/health" and not hmac.compare_digest(key, self._token.encode()):
                return self._refusal(dialect, Fault(401, _NO_KEY[dialect.NAME], code=None if key else "missing"))
        elif not _is_local(request.headers.get("Host", "")) or not _is_local(
            request.headers.get("Origin", "http://localhost")
        ):
            # Without a token, any web page open in a browser here could make calls through it.
            return self._refusal(
                _dialect(request), Fault(403, "without a token only this machine's own programs may call")
            )
        return None

    def _asks(self, dialect: Dialect) -> Handler:
        """Return what answers the calls of one dialect."""

        async def _answer(request: web.Request) -> web.StreamResponse:
            # The model may stand in the path, before a colon and the method, as in models/NAME:generateContent.
            model, _, method = request.match_info.get("call", "").rpartition(":")
            if method not in ("", "generateContent"):
                raise web.HTTPNotFound
            sent = await self._calls.answer(dialect, await request.read(), request.headers, model=model)
            return await self._send(dialect, sent, request)

        return _answer

    async def _send(self, dialect: Dialect, sent: Sent, request: web.Request) -> web.StreamResponse:
        if not sent.word:
            return web.Response(status=sent.status, body=sent.body, headers=sent.headers)
        if sent.word == "truncate":
            return await _truncated(sent, request)
        if sent.word == "drop" and request.transport is not None:
            request.transport.close()
        # Closing the connection, from either side, cancels this; so only a server that stops gets past it.
        await self._closing.wait()
        return self._refusal(dialect, Fault(503, "the server is stopping"))

    def _refusal(self, dialect: Dialect, fault: Fault) -> web.Response:
        sent = self._calls.refuse(dialect, fault)
        return web.Response(status=sent.status, body=sent.body, headers=sent.headers)

    async def _models(self, request: web.Request) -> web.Response:
        return web.Response(body=_dialect(request).models(self._model.spec), headers=_JSON)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ok"}', headers=_JSON)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.stats), headers=_JSON)


_NO_KEY = {
    "openai": "the token is missing or wrong: send it as Authorization: Bearer TOKEN",
    "anthropic": "the token is missing or wrong: send it as x-api-key",
    "google": "API key not valid. Please pass a valid API key: send the token as x-goog-api-key.",
}
_PATHS = (
    "POST /v1/chat/completions, /v1/messages, /v1beta/models/MODEL:generateContent, /v1/files, /v1/batches and "
    "/v1/messages/batches, GET /v1/models, /v1beta/models, /health and /stats"
)
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


# Asked at each call, and hardly ever of another address.
@lru_cache(256)
def _is_local(address: str) -> bool:
    try:
        host = URL(address if "://" in address else f"http://{address}").host
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _dialect(request: web.Request) -> Dialect:
    """Return the dialect that a path belongs to; the list of models is asked for by the same path in two."""
    path = request.path
    if path.startswith("/v1beta/"):
        return google
    if path.startswith("/v1/messages") or (path == "/v1/models" and "anthropic-version" in request.headers):
        return anthropic
    return openai


async def _truncated(sent: Sent, request: web.Request) -> web.StreamResponse:
    # The whole length is announced, so that a client can see that half of it is missing.
    response = web.StreamResponse(headers=sent.headers | {"Content-Length": str(len(sent.body))})
    await response.prepare(request)
    await response.write(sent.body[: len(sent.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


__all__ = ["Server", "is_loopback", "run_server", "serve"]
