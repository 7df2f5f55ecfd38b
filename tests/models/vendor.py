"""A vendor of models over real HTTP whose habits are set: what it refuses, ignores, caches and tells."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.models.raw_server import http


@dataclass
class Vendor:
    """Answers chat completions; `refuses` are parameters that it answers 400 to, `ignores` those it takes unread."""

    refuses: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()
    caches_prompts: bool = True
    caches_replies: bool = False
    frozen: bool = False
    busy: int = 0
    mute: bool = False
    tells: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self._ids = itertools.count()
        self._chance = random.Random(1)
        self._prompts: set[str] = set()

    def answer(self, path: str, body: dict[str, Any]) -> bytes:
        """The reply to one call."""
        self.asked.append((path, body))
        if not body:
            told = self.tells.get(path)
            if told == "hang up":
                return b""
            return http(200, msgspec.json.encode(told)) if told is not None else http(404, "{}")
        if self.busy:
            self.busy -= 1
            return http(429, '{"error": {"message": "busy"}}', "Retry-After: 7")
        for name in self.refuses & body.keys():
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            error = {"message": message, "param": name, "code": "unsupported_parameter"}
            return http(400, msgspec.json.encode({"error": error}))
        taken = {name: value for name, value in body.items() if name not in self.ignores}
        header = ("X-Cache: HIT",) if self.caches_replies else ()
        return http(200, msgspec.json.encode(self._completion(taken)), *header)

    def _completion(self, taken: dict[str, Any]) -> dict[str, Any]:
        text = taken["messages"][0]["content"]
        choices = []
        for index in range(taken.get("n", 1)):
            choice: dict[str, Any] = {"index": index, "message": {"content": self._text(taken, index)}}
            if taken.get("logprobs"):
                choice["logprobs"] = {"content": [{"token": "x", "logprob": -0.5}]}
            choices.append(choice)
        begins = text[:1000]
        cached = 1024 if self.caches_prompts and len(text) > 1000 and begins in self._prompts else 0
        self._prompts.add(begins)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": cached}}
        return {"id": f"c{next(self._ids)}", "choices": choices, "usage": usage}

    def _text(self, taken: dict[str, Any], index: int) -> str:
        if self.mute:
            return ""
        if taken.get("response_format"):
            return '{"letters": "abc", "count": 3}'
        if self.frozen:
            return "a b c"
        chance = random.Random(f"{taken['seed']} {index}") if "seed" in taken else self._chance
        return " ".join(chance.choice("abcdefgh") for _ in range(30))


@asynccontextmanager
async def selling(vendor: Vendor) -> AsyncIterator[Vendor]:
    """The vendor, which listens at `vendor.url` (with /v1 at its end)."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = next((line[15:] for line in head.splitlines() if line.lower().startswith("content-length")), 0)
                body = await reader.readexactly(int(length))
                reply = vendor.answer(head.split()[1], msgspec.json.decode(body) if body else {})
                writer.write(reply)
                await writer.drain()
                if not reply:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield vendor
    finally:
        server.close()
        await server.wait_closed()
