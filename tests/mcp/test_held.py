"""Code of a task that blocks: it holds up runs, and nothing that is said about them; and no end of the server."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.mcp.processes import HELLO, MDAP, over_http, over_stdio, serving, talk
from tests.mcp.support import Caller

HELD = "tests.mcp.own:Held"
COUNTS = "tests.mcp.own:counts"
ALLOWED = ("--allow-task", HELD, "--allow-model", COUNTS)


async def look_meanwhile(call: Caller, file: Path) -> None:
    """All that is about runs is answered while the code of one blocks, and the run goes on when it returns."""
    starting = asyncio.ensure_future(call("run_start", task=f"{HELD},file={file}", model=COUNTS, k=1))
    async with asyncio.timeout(30):
        while not file.with_suffix(".held").exists():  # noqa: ASYNC110 (another process makes it)
            await asyncio.sleep(0.01)
    [listed] = (await call("runs"))["items"]
    run = listed["run"]
    for _ in range(3):
        assert (await call("run_status", run=run))["status"] == "running"
        assert (await call("runs"))["total"] == 1
        assert (await call("inbox"))["total"] == 0
        assert (await call("estimate", p=0.99, steps=1_000))["k_min"] > 1
        assert "k" in await call.error("run_start", k="many")
        assert (await call.client.list_tools()).tools
    assert (await call("run_status", run=run))["steps"] == 0
    # Only now does the code return: all of the above was answered before.
    file.touch()  # noqa: ASYNC240 (of no length)
    assert (await starting)["run"] == run
    assert (await call.ended(run))["status"] == "done"
    assert await call.whole_result(run) == 3


@pytest.mark.slow
async def test_answers_come_while_code_of_a_task_blocks(tmp_path: Path) -> None:
    async with over_stdio(tmp_path / "a.db", "2026-07-28", *ALLOWED) as call:
        await look_meanwhile(call, tmp_path / "a")
    with serving(tmp_path / "b.db", *ALLOWED) as (url, _):
        async with over_http(url, "legacy") as call:
            await look_meanwhile(call, tmp_path / "b")


def total(answer: dict[str, Any]) -> int:
    """How many runs there are, as `runs` answered over the wire."""
    found: int = json.loads(answer["result"]["content"][0]["text"])["total"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["hangs up", "SIGTERM"])
def test_a_server_ends_although_code_of_a_task_does_not_return(ending: str, tmp_path: Path) -> None:
    words = [*MDAP, *ALLOWED, "--journal", str(tmp_path / "j.db")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        talk(child, "initialize", {**HELLO})
        start = {"task": f"{HELD},file={tmp_path / 'never'}", "model": COUNTS, "k": 1}
        request = {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "tools/call",
            "params": {"name": "run_start", "arguments": start},
        }
        # Its answer may have to wait for the code, so nobody waits for it here.
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        while not (tmp_path / "never.held").exists():
            assert total(talk(child, "tools/call", {"name": "runs", "arguments": {}})) <= 1
        if ending == "SIGTERM":
            child.send_signal(signal.SIGTERM)
        else:
            child.stdin.close()
        assert child.wait(30) == (130 if ending == "SIGTERM" else 1)
