"""A server that answers with the bytes it was given, right or wrong, over real HTTP, and keeps what it read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from mdap.core.records import Draw, Message, Prompt, Request

KEY = "sk-test-0123456789abcdef"


class RawServer:
    """`requests` holds what came, as (headers in lower case, body); `gone` is set once a client left unanswered."""

    def __init__(self, replies: tuple[bytes | None, ...]) -> None:
        self.replies = replies
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        self.url = ""

    @property
    def body(self) -> dict[str, Any]:
        """The newest body."""
        read: dict[str, Any] = msgspec.json.decode(self.requests[-1][1])
        return read

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request with the next reply, the last one for ever; None: never; b"": by closing."""
        self.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                self.requests.append((head, await reader.readexactly(length)))
                self.arrived.set()
                reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
                if reply is None:
                    await reader.read()
                    self.gone.set()
                    return
                writer.write(reply)
                await writer.drain()
                if not reply or b"connection: close" in reply.lower():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def answering(
    *replies: bytes | None, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[RawServer]:
    """A server that gives these replies, one a request."""
    raw = RawServer(replies)
    server = await asyncio.start_server(raw.converse, "127.0.0.1", port, ssl=tls, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    raw.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    try:
        yield raw
    finally:
        server.close()
        await server.wait_closed()


def http(status: int, body: bytes | str, *headers: str, kind: str = "application/json") -> bytes:
    """A whole reply."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def completion(message: object, finish: str | None = "stop", **more: object) -> bytes:
    """A reply with one choice."""
    return http(200, msgspec.json.encode({"choices": [{"message": message, "finish_reason": finish}], **more}))


OK = completion({"role": "assistant", "content": "fine"})


def asking(text: str = "What now?", *, seed: int = 7, temperature: float | None = 0.1) -> Request:
    """A request with one message."""
    prompt = Prompt((Message("user", text),), digest="")
    return Request(prompt, Draw(0, 0), seed, temperature, max_tokens=50)
