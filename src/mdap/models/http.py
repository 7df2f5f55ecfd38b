"""One call over HTTP, and what can go wrong with it as errors with stable words. Knows no dialect, never retries."""

from __future__ import annotations

import asyncio
import io
import math
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol

import aiohttp
from yarl import URL

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.secrets import REDACTED, redacted
from mdap.deadlines import Deadlines
from mdap.models.wire import Wire, read_whole

MAX_BODY = 10_000_000  # bytes; a step's reply has kilobytes, so ten megabytes come from something that is no model
_LARGE = 1 << 20
# "none" and "ollama" are set where no key is needed; taken for secrets, they would be cut out of recorded replies.
_SHORTEST_KEY = 12
MAX_TOLD = 300  # characters of a server's own words in a message

# uvicorn, and so vLLM and most local servers, drop a connection that was idle for 5 s. A POST sent just then is lost
# and perhaps billed, so connections are let go of before that.
_KEEP_ALIVE = 4.0

CACHE_HEADERS = (
    "x-openrouter-cache-status",
    "cf-aig-cache-status",
    "wandb-cache-status",
    "helicone-cache",
    "x-portkey-cache-status",
    "x-cache",
)
"""Headers by which gateways say of a reply that they had it already; their value then begins with hit."""

_RETRYABLE = frozenset({408, 409, 425, 429})


class Reply(NamedTuple):
    """What came back: the status, the headers (their names in any case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Tape(Protocol):
    """What may stand between an endpoint and its server: something that records calls, or answers in its place."""

    secrets: set[str]

    async def call(self, method: str, path: str, body: bytes, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Return the reply to a call that `send` would make."""


class Endpoint:
    """One URL that bodies are posted to, over connections that are kept alive, one pool for each event loop.

    `headers` go with every call. `secret` is removed from every message. `timeout` is for a whole call, in seconds.
    `tape` records the calls, or answers them.
    """

    def __init__(
        self, url: str, *, headers: Mapping[str, str], secret: str = "", timeout: float, tape: Tape | None = None
    ) -> None:
        self.url = URL(url)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "mdap",
            # Draws of a model without seeds are equal in every byte: no cache on the way may answer the second.
            "Cache-Control": "no-cache, no-store",
            **headers,
        }
        self._secret = secret
        self._timeout = timeout
        self._tape = tape
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}
        if tape is not None and len(secret) >= _SHORTEST_KEY:
            tape.secrets.add(secret)

    async def post(self, body: bytes) -> Reply:
        """Post once and return the reply, whatever its status; raises ModelError where there is none.

        Kinds: timeout, dropped, truncated-body, unreachable, dns, certificate, tls, too-large, not-http.
        """
        if self._tape is None:
            return await self._send("POST", self.url, body)
        return await self._tape.call("POST", self.url.path, body, lambda: self._send("POST", self.url, body))

    async def send(self, method: str, path: str, body: bytes = b"", *, kind: str = "", most: int = MAX_BODY) -> Reply:
        """Return what another path of the same server answers, whatever its status; raises as `post` does.

        `kind` is the media type of the body, JSON without it; `most` is how many bytes the reply may have.
        """
        url = self.url.origin().join(URL(path))
        if self._tape is None:
            return await self._send(method, url, body, kind, most)
        return await self._tape.call(method, url.path, body, lambda: self._send(method, url, body, kind, most))

    async def _send(self, method: str, url: URL, body: bytes, kind: str = "", most: int = MAX_BODY) -> Reply:
        # A connection belongs to the loop that opened it, and a program may run one loop after another.
        line = self._lines.get(asyncio.get_running_loop()) or self._open()
        try:
            with line.deadlines.begin():
                # Only what a run sends by the thousand has a way of its own; see docs/decisions/0006.
                if url is self.url and len(body) < _LARGE:
                    status, headers, whole = await line.wire.post(body, most)
                else:
                    status, headers, whole = await _request(line.session, method, url, body, kind, most)
            if whole is not None:
                return Reply(status, headers, whole)
            failure: ModelError = ModelRejected(
                f"{url} sent more than {most:,} bytes: cut off", kind="too-large", remedy=_CHECK
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = self._failure(error)
        # Raised out here so that it has no context: errors of the library hold the request's headers, and so the key.
        raise failure

    async def close(self) -> None:
        """Close the connections of the running loop, and those of loops that have ended."""
        running = asyncio.get_running_loop()
        for loop in [loop for loop in self._lines if loop is running or loop.is_closed()]:
            await self._lines.pop(loop).session.close()

    def refusal(self, reply: Reply, told: str, *, remedy: str, wait: float | None = None) -> ModelError:
        """Return the error for a reply with an error status; `told` is what its server says, cut and without the key.

        ModelError, to be tried again, for 408, 409, 425, 429 and 5xx; ModelRejected, with the remedy, for any other.
        `wait` is for how many seconds the body asks, where the headers do not say it.
        """
        status = reply.status
        if 300 <= status < 400:
            return ModelRejected(
                f"{self.url} redirects to {self.clean(reply.headers.get('Location', ''))} (HTTP {status})",
                kind="redirect",
                status=status,
                remedy="a redirect is not followed, for it would take the key along: give the new address as base URL",
            )
        message = f"HTTP {status} from {self.url}: {self.clean(told) or 'no message'}"
        if status in _RETRYABLE or status >= 500:
            told_wait = retry_after(reply.headers)
            seconds = wait if told_wait is None else told_wait
            return ModelError(message, kind=str(status), status=status, retry_after=seconds)
        return ModelRejected(message, kind=str(status), status=status, remedy=remedy)

    def clean(self, text: str) -> str:
        """Return foreign text fit for a message: on one line, at most 300 characters, without the key."""
        if len(self._secret) > 3:  # "none" and the like are set where no key is needed; "x" is in many words
            text = text.replace(self._secret, REDACTED)
        text = redacted(text)
        text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_TOLD]).split())
        return text if len(text) <= MAX_TOLD else text[: MAX_TOLD - 1] + "…"

    def _open(self) -> _Line:
        loop = asyncio.get_running_loop()
        # No limit: how many calls are in flight is for the caller to say.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE)
        session = aiohttp.ClientSession(
            connector=connector,
            # No cookies: calls share nothing.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            # One timer watches all calls; the session would set one for each.
            timeout=aiohttp.ClientTimeout(),
        )
        wire = Wire(self.url, self._headers, connector, loop)
        line = self._lines[loop] = _Line(session, wire, Deadlines(self._timeout))
        return line

    def _failure(self, error: Exception) -> ModelError:
        _, kind, said, remedy = next(row for row in _FAILURES if isinstance(error, row[0]))
        why = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        detail = "" if kind == "timeout" else f" ({self.clean(str(why) or type(why).__name__)})"
        hopeless = kind in ("certificate", "tls") or (kind == "dns" and _no_such_host(why))
        message = said.format(url=self.url, host=self.url.host, timeout=self._timeout) + detail
        return (ModelRejected if hopeless else ModelError)(message, kind=kind, remedy=remedy)


class _Line(NamedTuple):
    """What calls go over on one event loop: the wire for what is posted to the endpoint, the session for all else."""

    session: aiohttp.ClientSession
    wire: Wire
    deadlines: Deadlines


async def _request(
    session: aiohttp.ClientSession, method: str, url: URL, body: bytes, kind: str, most: int
) -> tuple[int, Mapping[str, str], bytes | None]:
    # In one piece a megabyte would keep the event loop from everything else.
    data = (body or None) if len(body) < _LARGE else io.BytesIO(body)
    headers = {"Content-Type": kind} if kind else None
    async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
        # Leaving a response that was not read to its end closes the connection.
        return response.status, response.headers, await read_whole(response.content, most)


def _no_such_host(why: Exception) -> bool:
    # A name server that is away (EAI_AGAIN) comes back; a name that does not exist stays away.
    return isinstance(why, OSError) and why.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))


_CHECK = "is the server running, and is it the one that the base URL names?"
_AGAIN = "if it goes on, look into the server's own log, or lower --in-flight"
# By class, the most special first: the word that the engine counts (it must not change), what is said, what to do.
_FAILURES: tuple[tuple[type[Exception], str, str, str], ...] = (
    (
        aiohttp.ClientConnectorCertificateError,
        "certificate",
        "the certificate of {host} is not trusted",
        "set SSL_CERT_FILE to the file of the authority that signed it; a server on this machine can do with http://",
    ),
    (aiohttp.ClientConnectorDNSError, "dns", "there is no address for the host {host}", "look at the base URL"),
    (
        aiohttp.ClientConnectorSSLError,
        "tls",
        "{url} does not speak TLS as it should",
        "a server without TLS takes http://, not https://",
    ),
    # A connect that runs into the limit of the call is a timeout, though it is a connection error too.
    (TimeoutError, "timeout", "no reply from {url} within {timeout:g} s", "raise the timeout if replies take longer"),
    (aiohttp.ClientConnectorError, "unreachable", "cannot reach {url}", _CHECK),
    (aiohttp.ClientPayloadError, "truncated-body", "{url} broke off in the middle of a reply", _AGAIN),
    (aiohttp.ClientResponseError, "not-http", "{url} did not answer in HTTP", _CHECK),
    (Exception, "dropped", "{url} closed the connection without a reply", _AGAIN),
)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: from retry-after-ms, or Retry-After as seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("Retry-After", "")
    seconds = _number(told)
    until = _date(told) if seconds is None else None
    if until is None:
        return seconds
    # Counted from the server's own Date, so that a clock that is wrong here does not matter.
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for a year, or an offset, of many digits
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def is_html(reply: Reply) -> bool:
    """Say whether a reply is a web page: a proxy or another program answered, not a model."""
    start = reply.body[:200].lstrip().lower()
    return reply.headers.get("Content-Type", "").startswith("text/html") or start.startswith((b"<!doctype", b"<html"))


def page_title(reply: Reply) -> str:
    """Return the title of a web page, or all its words."""
    text = reply.body.decode(errors="replace")
    title, found, _ = text.partition("<title>")[2].partition("</title>")
    return title if found else re.sub(r"<[^<>]*>", " ", text)


def check_base_url(text: str) -> str:
    """Return the URL without a slash at its end; raises UsageError for one that no call can be made to."""
    try:
        url = URL(text.strip())
    except ValueError:
        # Not shown: a password may be what makes it no URL.
        raise UsageError("the base URL is not a URL", remedy="write it as http://127.0.0.1:8000/v1") from None
    if url.user or url.password or url.query_string or url.fragment or "," in text:
        # It stands in the spec, in the journal and in messages, so nothing secret may hide in it, nor a comma.
        raise UsageError(
            f"the base URL at host {url.host} may hold no user, password, query, fragment or comma",
            remedy="give the key in its own variable, such as OPENAI_API_KEY, the URL as http://127.0.0.1:8000/v1",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"base URL {text!r} is not http:// or https://", remedy="write it as http://127.0.0.1:8000/v1")
    return str(url).rstrip("/")
