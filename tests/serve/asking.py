"""How the tests ask a server in each of its dialects: as a foreign tool does, with nothing of the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest

from mdap.serve import Server

DIALECTS = ("openai", "anthropic", "google")
VERSION = {"anthropic-version": "2023-06-01"}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "google": "/v1beta/models/any:generateContent",
}


class Got(NamedTuple):
    """What came back."""

    status: int
    headers: Any
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON of it."""
        return msgspec.json.decode(self.raw)

    @property
    def id(self) -> str:
        """The id of the reply, which stands under another name in one of the dialects."""
        return str(self.body.get("id") or self.body.get("responseId"))

    @property
    def texts(self) -> list[str]:
        """The text of each choice."""
        body = self.body
        if "choices" in body:
            return [choice["message"]["content"] for choice in body["choices"]]
        if "candidates" in body:
            return [one["content"]["parts"][0]["text"] for one in body["candidates"]]
        return [body["content"][0]["text"]]


def body_of(dialect: str, text: str = "100 200", *, cap: int = 50, **more: Any) -> dict[str, Any]:
    """A body that asks for the sum of the numbers in `text`; `more` goes to where the dialect has its parameters."""
    if dialect == "google":
        config = {"maxOutputTokens": cap, **more}
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}
    return {"model": "any", "max_tokens": cap, "messages": [{"role": "user", "content": text}], **more}


async def send(server: Server, path: str, body: Any, headers: dict[str, str] | None = None, verb: str = "POST") -> Got:
    """One call; bytes go as they are."""
    data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, server.origin + path, data=data, headers=headers) as response,
    ):
        return Got(response.status, response.headers, await response.read())


async def ask(server: Server, dialect: str, text: str = "100 200", **more: Any) -> Got:
    """One call in a dialect that is well made."""
    return await send(server, PATHS[dialect], body_of(dialect, text, **more), VERSION)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is to happen soon, and on a busy machine within half a minute."""
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen")


async def fetch(server: Server, path: str) -> Got:
    """One page."""
    return await send(server, path, None, VERSION, "GET")
