"""`mdap models` and `mdap probe` as a person types them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from mdap.models.probing import CALLS
from tests.cli.conftest import Terminal
from tests.models.vendor import Vendor, selling


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor that refuses temperatures, in a thread of its own, as commands have their own event loop."""
    sold = Vendor(frozenset({"temperature"}))
    ready, stop = threading.Event(), threading.Event()

    async def sell() -> None:
        async with selling(sold):
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(sell(),))
    thread.start()
    assert ready.wait(5)
    yield sold
    stop.set()
    thread.join()


def test_a_probe_says_its_cost_first_and_then_what_it_found(mdap: Terminal, vendor: Vendor) -> None:
    said = mdap("probe", "openai:m", "--base-url", vendor.url)
    assert said.code == 0
    assert f"{CALLS} calls" in said.err
    lines = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    assert "refused" in lines["temperature"]
    assert lines["seed"].split()[1] == "yes"
    assert "votes differ by: a seed of its own" in said.out


def test_a_probe_prints_one_object_with_json(mdap: Terminal, vendor: Vendor) -> None:
    made = mdap("probe", f"openai:m,base_url={vendor.url}", "--json", "--quiet")
    assert made.err == ""
    assert made.json["profile"]["temperature"] is False
    assert made.json["model"] == f"openai:m,base_url={vendor.url}"
    assert {finding["name"] for finding in made.json["findings"]} >= {"seed", "n", "repeats", "context"}


def test_a_saved_probe_is_taken_over_by_a_run_of_the_same_model_and_by_no_other(mdap: Terminal, vendor: Vendor) -> None:
    model = f"openai:m,base_url={vendor.url}"
    assert mdap("probe", model, "--output", "probe.json", "--quiet").code == 0
    words = ("run", "hanoi:disks=2", "--probe", "probe.json", "--k", "1", "--max-samples", "1", "--redraws", "0")
    before = len(vendor.asked)
    said = mdap(*words, "--model", model)
    assert said.code == 3
    assert len(vendor.asked) == before + 1, "what the probe saw refused is not tried again"
    other = mdap(*words, "--model", "simulated:p=0.9")
    assert other.code == 2
    assert f"the probe was of {model}, and the run asks simulated:p=0.9" in other.err


def test_what_is_asked_over_no_network_cannot_be_probed(mdap: Terminal) -> None:
    said = mdap("probe", "simulated:p=0.9")
    assert said.code == 2
    assert "openrouter" in said.err


def test_models_lists_every_kind_of_server_without_a_call_or_a_key(mdap: Terminal) -> None:
    said = mdap("models")
    assert said.code == 0
    for name in ("openai", "anthropic", "google", "openrouter", "vllm", "ollama", "llamacpp", "lmstudio"):
        assert name in said.out
    rows = mdap("models", "--json").json
    assert all(row["known"] and row["variety"] for row in rows)


def test_models_says_all_of_one_model_and_whether_its_key_is_set(
    mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    said = mdap("models", "anthropic:claude-opus-4-7")
    assert "default sampling alone" in said.out
    assert "ANTHROPIC_API_KEY, which is set" in said.out
    assert "secret" not in said.out
    (row,) = mdap("models", "openai:gpt-5-mini", "--json").json
    assert (row["temperature"], row["max_tokens"]) == (False, "max_completion_tokens")


def test_a_server_that_is_not_known_is_an_error_that_says_what_there_is(mdap: Terminal) -> None:
    said = mdap("models", "opnai:gpt-5")
    assert said.code == 2
    assert "openai" in said.err
