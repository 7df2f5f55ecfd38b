"""How a server is reached: over standard input and output, or over HTTP at /mcp. What it can do is not known here."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import os
import re
import signal
import socket
import sys
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from mdap.core.errors import UsageError
from mdap.journal import open_journal
from mdap.mcp.allowed import Allowed
from mdap.mcp.apart import apart
from mdap.mcp.desk import Desk
from mdap.mcp.lasting import ended_with, has_ended, leave_all, see_through
from mdap.mcp.pipes import serve_pipes
from mdap.mcp.server import made_server

PATH = "/mcp"
# The largest request is one with a prompt or answers in it; more than a model reads is a mistake or an attack.
MOST_REQUEST_BYTES = 8 * 1024 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Door(msgspec.Struct, frozen=True):
    """Where a server listens, and whom it lets in.

    `token`: what callers send as `Authorization: Bearer`; without one it listens on this machine alone. `hosts` are
    names, beside the loopback ones and `host` itself, under which it is called.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    token: str | None = None
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port={self.port} is no port", remedy="give 1 to 65535, or 0 for a free one")
        # Nothing here slows down whoever tries one after another.
        if self.token is not None and len(self.token) < 16:
            raise UsageError("the token is shorter than 16 characters", remedy="make one: openssl rand -hex 32")
        if self.token is None and not _is_loopback(self.host):
            raise UsageError(
                f"host={self.host} can be reached from other machines, and there is no token",
                remedy="set MDAP_MCP_TOKEN (openssl rand -hex 32 makes one), or leave --host out",
            )

    @property
    def security(self) -> TransportSecuritySettings:
        """The names that a request may carry as Host, and as Origin if a browser sends it."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        names = [*_LOOPBACK, own, *self.hosts]
        # With any port, for one that is forwarded here may be another than the one that is listened at.
        hosts = [name for given in names for name in (given, f"{given}:*")]
        origins = [f"{scheme}://{name}" for scheme in ("http", "https") for name in hosts]
        return TransportSecuritySettings(
            enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
        )


# A name and a port. What has more in it would pass where names are compared by how they begin.
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[^\s:@/]+)(:[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN = re.compile(rb"null|[a-z][a-z0-9+.-]*://(%s)?" % _HOST.pattern, re.IGNORECASE)
_FORMS = {b"host": (_HOST, 421), b"origin": (_ORIGIN, 403)}


class Guarded:
    """An ASGI application that refuses whoever does not send the token, where there is one, or names no one place."""

    def __init__(self, app: Any, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let one request through, or refuse it before any of it is read."""
        status = self._refusal(scope["headers"]) if scope["type"] == "http" else 0
        if not status:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain"), *([(b"www-authenticate", b"Bearer")] if status == 401 else [])]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"a token is needed" if status == 401 else b"refused"})

    def _refusal(self, headers: Sequence[tuple[bytes, bytes]]) -> int:
        """Return the status with which a request is refused, or 0."""
        if self._expected is not None:
            sent = [value for name, value in headers if name.lower() == b"authorization"]
            # All bytes are compared, whatever they are: how long it takes must say nothing of the token.
            if len(sent) != 1 or not hmac.compare_digest(sent[0], self._expected):
                return 401
        for wanted, (form, status) in _FORMS.items():
            sent = [value for name, value in headers if name.lower() == wanted]
            # Of two, the one that is looked at need not be the one that is meant.
            if len(sent) > 1 or not all(form.fullmatch(value) for value in sent):
                return status
        return 0


def application(server: MCPServer[Any], door: Door) -> Any:
    """Return the ASGI application that serves `server` at /mcp."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MOST_REQUEST_BYTES,
        transport_security=door.security,
        host=door.host,
    )
    return Guarded(app, door.token)


@contextlib.asynccontextmanager
async def opened(journal: str | os.PathLike[str] | None, allowed: Allowed, *, most: int = 16) -> AsyncIterator[Desk]:
    """Give a desk over the journal in a file; what it drives has ended, and is on disk, when this is left."""
    again = partial(open_journal, journal)
    desk = Desk(again(), allowed, most=most, again=again)
    try:
        async with desk:
            yield desk
    finally:
        # Its own and not the first one: it may have opened another since.
        desk.journal.close()


async def serve_stdio(journal: str | os.PathLike[str] | None, allowed: Allowed, *, most: int = 16) -> None:
    """Serve the one client at standard input and output, until it hangs up or the process is told to end."""
    stop = asyncio.Event()
    async with apart(partial(opened, journal, allowed, most=most)) as desk:
        server = made_server(desk)
        with _heard(stop.set):
            async with ended_with(desk), TaskGroup() as group:
                leaving = group.create_task(_leave(stop, desk))
                await serve_pipes(server)
                leaving.cancel()


async def serve_http(journal: str | os.PathLike[str] | None, allowed: Allowed, door: Door, *, most: int = 16) -> None:
    """Serve all clients that come over HTTP, until Ctrl-C or SIGTERM."""
    import uvicorn

    class _Server(uvicorn.Server):
        """A server that leaves signals to us: it would raise them again before the runs are at their end."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Capture none."""
            yield

    with contextlib.closing(_listening(door)) as listening:
        async with apart(partial(opened, journal, allowed, most=most)) as desk, ended_with(desk):
            app = application(made_server(desk), door)
            # No log of its own, and two seconds at most for clients that keep a stream open as long as they are there.
            server = _Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2))

            def _stop() -> None:
                server.should_exit = True

            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            with _heard(_stop):
                # Written and not logged: with port 0, a program that starts a server has the address from here.
                sys.stderr.write(f"mdap mcp listens at http://{shown}:{port}{PATH}\n")
                sys.stderr.flush()
                await server.serve([listening])


@contextlib.contextmanager
def logged_to_stderr(verbose: int) -> Iterator[None]:
    """Send all logs to standard error, plainly: warnings, and with `verbose` what mdap does."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("mdap")
    # Put back at the end, since a process may run more than one command.
    before = root.handlers, root.level, ours.level
    # In place of what is there: the SDK may have its own handler, and each line would come twice.
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    ours.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    try:
        yield
    finally:
        root.handlers = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


@contextlib.contextmanager
def _heard(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at Ctrl-C and SIGTERM."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _leave(stop: asyncio.Event, desk: Desk) -> None:
    """End the runs and then the process, once `stop` is set: nothing wakes the thread that reads standard input."""
    await stop.wait()
    await has_ended(desk)
    leave_all(desk, 130)


def _listening(door: Door) -> socket.socket:
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    try:
        return socket.create_server((door.host, door.port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {door.host}:{door.port}: {error.strerror}",
            remedy="choose another --port; 0 takes a free one",
        ) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    # A name may lead elsewhere tomorrow, so it takes a token.
    except ValueError:
        return False


__all__: Sequence[str] = [
    "Door",
    "Guarded",
    "application",
    "logged_to_stderr",
    "opened",
    "see_through",
    "serve_http",
    "serve_stdio",
]
