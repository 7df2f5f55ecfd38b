"""What comes over the wire is the reply, however it is sent, and connections are kept as long as they are good."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from yarl import URL

from mdap.models.wire import Wire

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Server:
    """A server that answers each request with the next of `replies`, as raw bytes; an empty one closes."""

    def __init__(self, replies: list[list[bytes]]) -> None:
        self.replies = replies
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()

    async def __aenter__(self) -> URL:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return URL(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1/chat?x=1")

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.replies:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                self.asked.set()
                for part in self.replies.pop(0):
                    if not part:
                        return
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def _posted(replies: list[list[bytes]], bodies: list[bytes], most: int = 10_000) -> tuple[Server, list[object]]:
    """Post the bodies one after another; return the server, and status and body of each reply, or its error."""
    server = Server(replies)
    found: list[object] = []
    async with server as url, aiohttp.TCPConnector() as connector:
        wire = Wire(url, {"Authorization": "Bearer k", "User-Agent": "mdap"}, connector, asyncio.get_running_loop())
        for body in bodies:
            try:
                status, _, whole = await wire.post(body, most)
                found.append((status, whole))
            except aiohttp.ClientError as error:
                found.append(type(error))
    return server, found


async def test_a_request_has_its_headers_once_and_its_body_whole() -> None:
    server, found = await _posted([[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]], [b'{"a": 1}'])
    assert found == [(200, b"ok")]
    assert server.bodies == [b'{"a": 1}']
    lines = server.heads[0].decode().split("\r\n")
    assert lines[0] == "POST /v1/chat?x=1 HTTP/1.1"
    names = [line.partition(":")[0].lower() for line in lines[1:] if line]
    assert sorted(names) == sorted(set(names))
    assert {"host", "authorization", "user-agent", "accept-encoding", "content-length"} <= set(names)


async def test_a_good_connection_is_used_again() -> None:
    reply = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    server, found = await _posted([reply, reply, reply], [b"1", b"22", b"333"])
    assert found == [(200, b"ok")] * 3
    assert server.connections == 1


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"],
            (200, b"abcde"),
        ),
        (
            [
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
                % (len(gzip.compress(b"zipped", mtime=0)), gzip.compress(b"zipped", mtime=0))
            ],
            (200, b"zipped"),
        ),
        (
            [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"],
            (200, b"!"),
        ),
        ([b"HTTP/1.1 429 Slow\r\nContent-Length: 4\r\nRetry-After: 1\r\n\r\nslow"], (429, b"slow")),
        ([b"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"], (307, b"")),
        ([b"HTTP/1.1 204 Nothing\r\n\r\n"], (204, b"")),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", b""], (200, b"to the end")),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken", b""], aiohttp.ClientPayloadError),
        ([b""], aiohttp.ServerDisconnectedError),
        ([b"this is no HTTP\r\n\r\n"], aiohttp.ClientResponseError),
    ],
)
async def test_a_reply_is_read_however_it_is_sent(parts: list[bytes], said: object) -> None:
    _, found = await _posted([parts], [b"{}"])
    assert found == [said]


async def test_a_body_over_the_limit_is_given_up_and_so_is_its_connection() -> None:
    reply = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    long = [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000, b"x" * 50_000]
    server, found = await _posted([long, reply], [b"{}", b"{}"], most=10_000)
    assert found == [(200, None), (200, b"ok")]
    assert server.connections == 2


async def test_a_call_that_is_cancelled_takes_its_connection_with_it() -> None:
    server = Server([[], [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]])
    async with server as url, aiohttp.TCPConnector() as connector:
        wire = Wire(url, {}, connector, asyncio.get_running_loop())
        task = asyncio.create_task(wire.post(b"{}", 100))
        await server.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        # A late reply to the first call must never be read as that to the second.
        status, _, whole = await wire.post(b"{}", 100)
    assert (status, whole, server.connections) == (200, b"ok", 2)


async def test_a_header_of_two_lines_is_refused() -> None:
    async with aiohttp.TCPConnector() as connector:
        with pytest.raises(ValueError, match="more than one line"):
            Wire(URL("http://127.0.0.1/"), {"X": "a\r\nEvil: 1"}, connector, asyncio.get_running_loop())
