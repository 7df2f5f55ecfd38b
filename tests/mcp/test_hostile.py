"""Clients that are clumsy, hostile or impatient, and tasks and models that misbehave: the server says so and stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.mcp.processes import HELLO, MDAP, talk


@pytest.mark.slow
def test_a_line_that_cannot_be_read_is_answered_and_the_next_one_is_served(tmp_path: Path) -> None:
    words = [*MDAP, "--journal", str(tmp_path / "j.db")]
    lines = {
        # Half of a character, as a client leaves it that cuts a text without looking.
        '{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"run": "\\ud800"}}': (7, -32700),
        '{"jsonrpc": "2.0", "id": "seven", "method": "ping", "params": {"run": "\\ud800"}}': ("seven", -32700),
        '{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}': (None, -32700),
        '{"jsonrpc": "2.0", "id": 8, "method": 17}': (8, -32600),
        '{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}': (None, -32600),
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
