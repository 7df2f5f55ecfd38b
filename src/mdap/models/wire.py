"""Small bodies posted to one URL, as fast as it goes: aiohttp's connections and its parser, without its session.

A session does for each request what a browser needs (cookies, redirects, proxies, traces), and that takes its time.
Nothing of a dialect is known here.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

# Whoever calls watches the time.
_NO_LIMIT = aiohttp.ClientTimeout()


class Wire:
    """One URL, on one event loop, over the connections of `connector`; `headers` go with every call."""

    def __init__(
        self, url: URL, headers: Mapping[str, str], connector: aiohttp.BaseConnector, loop: AbstractEventLoop
    ) -> None:
        self._connector = connector
        # It says what to connect to, and fills in the headers that every request has.
        self._request = aiohttp.ClientRequest("POST", url, headers=headers, loop=loop)
        # Made without a body, the request says a length of 0; the true one follows with each call.
        told = [f"{name}: {value}" for name, value in self._request.headers.items() if name != "Content-Length"]
        # The library refuses these when it writes headers, and here they are written without it.
        if any(end in line for line in told for end in "\r\n\0"):
            raise ValueError("a header has more than one line")
        self._head = "\r\n".join([f"POST {url.raw_path_qs} HTTP/1.1", *told, "Content-Length: "]).encode()

    async def post(self, body: bytes, most: int) -> tuple[int, Mapping[str, str], bytes | None]:
        """Return status, headers and body of the reply; None for a body of more than `most` bytes.

        Raises what aiohttp raises. The connection is kept for the next call unless something went wrong.
        """
        connection = await self._connector.connect(self._request, [], _NO_LIMIT)
        whole: bytes | None = None
        try:
            protocol, transport = connection.protocol, connection.transport
            # Closed by the server while it lay in the pool: nothing was sent on it.
            if protocol is None or transport is None or transport.is_closing():
                raise aiohttp.ServerDisconnectedError
            # A reply with neither a length nor chunks ends where its connection does.
            protocol.set_response_params(read_until_eof=True)
            transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            message, payload = await protocol.read()
            while message.code < 200:  # a 103, say: the reply itself is still to come
                message, payload = await protocol.read()
            whole = await read_whole(payload, most)
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(self._request.request_info, (), message=error.message) from error
        finally:
            # What was left unread on it would be taken for the beginning of the next reply.
            if whole is None:
                connection.close()
            else:
                connection.release()
        return message.code, message.headers, whole


async def read_whole(content: Any, most: int) -> bytes | None:
    """Return all that a stream of aiohttp holds, or None once it is more than `most` bytes: the rest is not read."""
    # Counted as it comes in, not by Content-Length: a compressed body is longer than it says.
    parts, size = [], 0
    while part := await content.readany():
        parts.append(part)
        size += len(part)
        if size > most:
            return None
    return b"".join(parts)
