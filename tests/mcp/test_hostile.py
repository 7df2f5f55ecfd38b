"""Clients that are clumsy, hostile or impatient, and tasks and models that misbehave: the server says so and stays."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.mcp.processes import HELLO, MDAP, over_http, over_stdio, serving, talk
from tests.mcp.support import Caller, vote_to_the_end

EXITING = "tests.mcp.own:Exiting"


async def exit_in_a_run(call: Caller) -> None:
    """A run whose task exits, beside another, which goes on."""
    other = await call("run_start", task="hanoi:disks=2", model="client", k=1)
    run = (await call("run_start", task=EXITING, model="client", k=1))["run"]
    [prompt] = (await call("next_steps", run=run))["prompts"]
    told = await call("submit_votes", votes=[{"token": prompt["token"], "answer": "1"}])
    assert told["votes"][0]["outcome"] == "taken"
    assert (await call.ended(run))["status"] == "error"
    assert await vote_to_the_end(call, "hanoi:disks=2", other["run"]) == 3
    assert (await call.ended(other["run"]))["status"] == "done"


@pytest.mark.slow
async def test_a_task_that_exits_ends_its_own_run_and_no_other(tmp_path: Path) -> None:
    allowed = ("--allow-task", EXITING)
    async with over_stdio(tmp_path / "a.db", "2026-07-28", *allowed) as call:
        await exit_in_a_run(call)
    with serving(tmp_path / "b.db", *allowed) as (url, child):
        async with over_http(url, "legacy") as call:
            await exit_in_a_run(call)
        assert child.poll() is None


@pytest.mark.slow
def test_a_model_that_will_not_end_does_not_keep_the_process_when_the_client_has_gone(tmp_path: Path) -> None:
    model = "tests.mcp.own:Endless"
    words = [*MDAP, "--model", model, "--journal", str(tmp_path / "j.db")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        talk(child, "initialize", {**HELLO})
        start = {"name": "run_start", "arguments": {"task": "hanoi:disks=2"}}
        assert not talk(child, "tools/call", start)["result"].get("isError")
        child.stdin.close()
        assert child.wait(30) == 1


@pytest.mark.slow
def test_a_line_that_cannot_be_read_is_answered_and_the_next_one_is_served(tmp_path: Path) -> None:
    words = [*MDAP, "--journal", str(tmp_path / "j.db")]
    lines = {
        # Half of a character, as a client leaves it that cuts a text without looking.
        '{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"run": "\\ud800"}}': (7, -32700),
        '{"jsonrpc": "2.0", "id": "seven", "method": "ping", "params": {"run": "\\ud800"}}': ("seven", -32700),
        '{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}': (None, -32700),
        '{"jsonrpc": "2.0", "id": 8, "method": 17}': (8, -32600),
        '[{"jsonrpc": "2.0", "id": 9, "method": "ping"}]': (None, -32600),
        "no JSON": (None, -32700),
        "[" * 100_000: (None, -32700),
    }
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        talk(child, "initialize", {**HELLO})
        for line, wanted in lines.items():
            child.stdin.write(f"\r\n{line}\n")
            child.stdin.flush()
            told = json.loads(child.stdout.readline())
            assert (told["id"], told["error"]["code"]) == wanted, line[:80]
            assert talk(child, "ping", {})["result"] == {}
        child.stdin.close()
        assert child.wait(10) == 0


def by_hand(url: str, *headers: bytes, method: bytes = b"POST") -> int:
    """The status of a request whose headers no client would let pass."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}).encode()
    address = urlsplit(url)
    lines = [method + b" /mcp HTTP/1.1", *headers, b"Content-Length: %d" % len(body), b"Connection: close"]
    lines += [b"Content-Type: application/json", b"Accept: application/json, text/event-stream"]
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as raw:
        raw.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return int(raw.makefile("rb").readline().split()[1])


@pytest.mark.slow
def test_what_only_begins_like_an_allowed_host_or_origin_is_refused(tmp_path: Path) -> None:
    good = b"Host: localhost:5000"
    with serving(tmp_path / "j.db") as (url, _):
        assert by_hand(url, good) == 200
        assert by_hand(url, good, b"Origin: http://localhost:5000") == 200
        for host in (b"localhost:example.com", b"127.0.0.1:80@example.com", b"localhost:@example.com", b"", b" "):
            assert by_hand(url, b"Host: " + host) == 421, host
        for origin in (b"http://localhost:80@example.com", b"http://localhost:x", b"http://example.com", b"localhost"):
            assert by_hand(url, good, b"Origin: " + origin) == 403, origin
        assert by_hand(url, good, b"Origin: http://localhost", b"Origin: http://example.com") == 403
        assert by_hand(url) == by_hand(url, good, b"Host: example.com") == 400
        for method in (b"GET", b"DELETE", b"OPTIONS"):
            assert by_hand(url, good, b"Origin: http://example.com", method=method) == 403
        assert by_hand(url, good) == 200
