"""Clients that are clumsy, hostile or impatient, and tasks and models that misbehave: the server says so and stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

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
