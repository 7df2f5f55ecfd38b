"""The flags of `mdap serve` reach the server; what cannot be read ends the command before it listens."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mdap.serve import read_log
from mdap.tasks.catalog import task
from tests.serve.asking import send

TASK = "hanoi:disks=3"


@pytest.mark.slow
async def test_every_flag_is_heard(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    flags = ["--rate", "requests=2", "--refuse", "temperature", "--ignore-seed", "--cache-prompts", "--log", str(log)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mdap", "serve", "simulated:p=0.9", "--task", TASK, "--batch-delay", "5", *flags),
        stderr=PIPE,
    )
    assert process.stderr is not None
    try:
        url = (await process.stderr.readline()).decode().split(" at ")[1].split()[0]
        server: Any = SimpleNamespace(origin=url.removesuffix("/v1"))
        domain: Any = task(TASK)
        prompt = domain.prompt(domain.start())
        body, path = {"model": "any", "messages": msgspec.to_builtins(prompt)}, "/v1/chat/completions"
        refused = await send(server, path, body | {"temperature": 0.5})
        got = [await send(server, path, body | {"seed": seed}) for seed in range(3)]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (refused.status, refused.body["error"]["param"]) == (400, "temperature")
    assert [one.status for one in got] == [200, 200, 429]
    assert got[1].headers["x-cache"] == "hit"
    assert got[1].body["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert [call.status for call in read_log(log)] == [400, 200, 200, 429]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--rate", "calls=1"], ["--refuse", "x"], ["--batch-delay", "-1"]])
async def test_a_flag_that_cannot_be_read_is_a_usage_error(flags: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mdap", "serve", "simulated:p=0.9", *flags), stderr=PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert flags[1].split("=")[0] in said.decode()
