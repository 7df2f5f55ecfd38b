"""`mdap calibrate --batch` against a server's batches: at half the price, within a day, and across kills."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from mdap.serve import read_log
from tests.cli.conftest import Terminal
from tests.cli.test_http_runs import serving

WORDS = ("calibrate", "hanoi:disks=4", "--samples", "40", "--json", "--batch")
SUBMITTED = Path(".mdap/batches.jsonl")


def batches() -> Counter[str]:
    """How many calls each batch had, and those outside of any."""
    return Counter(call.batch for call in read_log("calls.log"))


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_calibration_by_batches_makes_no_call_outside_of_one(mdap: Terminal, dialect: str) -> None:
    with serving(log="calls.log") as server:
        base = server.url if dialect == "openai" else server.origin
        said = mdap(*WORDS, "--model", f"{dialect}:claude-3-any", "--base-url", base)
    assert said.code == 0, said.err
    counts = batches()
    assert "" not in counts
    assert 1 <= len(counts) <= 3
    (model,) = said.json["models"]
    assert model["calls"] == sum(counts.values())
    assert all(kind["latency"] is None for kind in model["kinds"])  # what a batch took says nothing of a call


def test_by_batches_the_same_samples_come_out_as_one_by_one(mdap: Terminal) -> None:
    with serving() as server:
        at = ("--model", "openai:any", "--base-url", server.url)
        ours, theirs = mdap(*WORDS, *at).json, mdap(*WORDS[:-1], *at).json
    for name in ("p", "v", "flags", "tokens_in"):
        kinds = [[kind[name] for kind in made["models"][0]["kinds"]] for made in (ours, theirs)]
        assert kinds[0] == kinds[1]


@pytest.mark.slow
def test_a_calibration_that_was_killed_goes_on_with_the_same_batch(mdap: Terminal) -> None:
    with serving(log="calls.log", batch_delay=4.0) as server:
        at = ("--model", "openai:any", "--base-url", server.url)
        process = mdap.start(*WORDS, *at, "--batch-file", "batches.jsonl")
        deadline = time.monotonic() + 20
        while not (Path("batches.jsonl").exists() and b'"batch"' in Path("batches.jsonl").read_bytes()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        said = mdap(*WORDS, *at, "--batch-file", "batches.jsonl")
    assert said.code == 0
    counts = batches()
    assert sum(counts.values()) == said.json["models"][0]["calls"] <= 40
    assert max(counts.values()) == 32


@pytest.mark.slow
def test_a_batch_that_takes_too_long_ends_with_its_code_and_the_same_command_goes_on(mdap: Terminal) -> None:
    with serving(log="calls.log", batch_delay=2.0) as server:
        at = ("--model", "openai:any", "--base-url", server.url)
        said = mdap(*WORDS, *at, "--batch-wait", "0.5")
        assert said.code == 4
        assert "has not ended after 0.5 s (in_progress, 0 of 32 done)" in said.err
        assert "next:  type the same command again" in said.err
        again = mdap(*WORDS, *at)
    assert again.code == 0
    assert max(batches().values()) == 32
    assert sum(batches().values()) <= 40
    # All that was submitted has been made use of: the next calibration is a new one.
    assert SUBMITTED.read_bytes().count(b'"closed"') == SUBMITTED.read_bytes().count(b'"batch"')


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--model", "simulated:p=0.9"), "takes no batches that are known here"),
        (("--model", "google:any", "--base-url", "http://127.0.0.1:9"), "takes no batches that are known here"),
    ],
)
def test_what_has_no_batches_is_refused_before_any_call(mdap: Terminal, words: tuple[str, ...], what: str) -> None:
    said = mdap(*WORDS, *words)
    assert said.code == 2
    assert what in said.err
