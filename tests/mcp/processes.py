"""The server as a process of its own, for tests: at its pipes, over HTTP, and a client for either; and by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.mcp.support import Caller

TOKEN = "0123456789abcdef0123456789abcdef"
MDAP = [sys.executable, "-m", "mdap", "mcp"]


@asynccontextmanager
async def over_stdio(journal: Path, era: str, *more: str) -> AsyncIterator[Caller]:
    """Give a client of a server that is a child process."""
    words = [*MDAP[1:], "--journal", str(journal), *more]
    child = stdio_client(StdioServerParameters(command=MDAP[0], args=words, env={**os.environ}))
    async with Client(child, mode=era) as client:
        yield Caller(client)


@contextmanager
def serving(
    journal: Path, *more: str, env: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the address of a server over HTTP, and its process."""
    words = [*MDAP, "--http", "--port", "0", "--journal", str(journal), *more]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}) as child:
        assert child.stderr is not None
        try:
            yield child.stderr.readline().split()[-1], child
        finally:
            child.terminate()
            child.wait(10)


@asynccontextmanager
async def over_http(url: str, era: str, token: str | None = None) -> AsyncIterator[Caller]:
    """Give a client of a server over HTTP."""
    if token is None:
        async with Client(url, mode=era) as client:
            yield Caller(client)
        return
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        yield Caller(client)


HELLO: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "by hand", "version": "0"},
}


def talk(child: subprocess.Popen[str], method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Send one request as a line, and return its answer; every line on standard output has to be of the protocol."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}) + "\n")
    if method == "initialize":
        child.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    child.stdin.flush()
    while True:
        line = json.loads(child.stdout.readline())
        assert line["jsonrpc"] == "2.0"
        if line.get("id") == method:
            answer: dict[str, Any] = line
            return answer
