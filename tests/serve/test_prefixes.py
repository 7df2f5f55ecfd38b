"""The prompt cache: the rule by hand, and how each dialect reports it."""

from __future__ import annotations

import pytest

from mdap.core.records import Message, Request, Response, Usage
from mdap.serve import serve
from mdap.serve.prefixes import BLOCK, Prefixes
from tests.serve.adder import Adder
from tests.serve.asking import ask


def user(length: int, letter: str = "x") -> list[Message]:
    """A prompt of exactly so many characters: role and separators take six."""
    return [Message("user", letter * (length - 6))]


def test_a_prompt_is_written_first_and_cached_from_then_on_in_whole_blocks() -> None:
    prefixes = Prefixes()
    assert prefixes.count("m", user(4 * BLOCK)) == (0.0, 1.0)
    assert prefixes.count("m", user(4 * BLOCK)) == (1.0, 0.0)
    assert prefixes.count("m", user(5 * BLOCK - 1)) == pytest.approx(
        (3 * BLOCK / (5 * BLOCK - 1), BLOCK / (5 * BLOCK - 1))
    )


def test_what_is_cached_ends_at_the_first_block_that_differs() -> None:
    prefixes = Prefixes()
    # The role and a separator stand before the text, another separator after it.
    text = "x" * (BLOCK - 5) + "a" * BLOCK + "b" * BLOCK + "c" * (BLOCK - 1)
    other = text.replace("b", "B")
    prefixes.count("m", [Message("user", text)])
    assert prefixes.count("m", [Message("user", other)]) == (0.5, 0.5)


def test_a_short_prompt_is_never_cached_and_models_share_nothing() -> None:
    prefixes = Prefixes()
    for _ in range(2):
        assert prefixes.count("m", user(BLOCK - 1)) == (0.0, 0.0)
    prefixes.count("m", user(BLOCK))
    assert prefixes.count("other", user(BLOCK)) == (0.0, 1.0)


def test_the_system_s_words_are_the_prefix_of_many_prompts() -> None:
    prefixes, system = Prefixes(), Message("system", "s" * 1000)
    prefixes.count("m", [system, Message("user", "1")])
    cached, written = prefixes.count("m", [system, Message("user", "2")])
    assert cached > 0.9
    assert written < 0.1


def test_the_oldest_beginnings_are_forgotten() -> None:
    prefixes = Prefixes(capacity=2)
    for letter in "abc":
        prefixes.count("m", user(BLOCK, letter))
    assert prefixes.count("m", user(BLOCK, "c")) == (1.0, 0.0)
    assert prefixes.count("m", user(BLOCK, "a")) == (0.0, 1.0)


class Counter(Adder):
    """Bills 1000 tokens for a prompt."""

    async def complete(self, request: Request) -> Response:
        """Answer."""
        return Response("ok", usage=Usage(1000, 7))


LONG = "z" * (10 * BLOCK - 6)


async def test_openai_counts_cached_tokens_among_those_of_the_prompt() -> None:
    async with await serve(Counter(), cache_prompts=True) as server:
        first, second = [(await ask(server, "openai", LONG)).body["usage"] for _ in range(2)]
    assert (first["prompt_tokens"], first["prompt_tokens_details"]) == (1000, {"cached_tokens": 0})
    assert (second["prompt_tokens"], second["prompt_tokens_details"]) == (1000, {"cached_tokens": 1000})


async def test_anthropic_counts_them_apart_so_that_only_the_sum_is_the_prompt() -> None:
    async with await serve(Counter(), cache_prompts=True) as server:
        got = [(await ask(server, "anthropic", text)).body["usage"] for text in (LONG, LONG, LONG + "y" * 320)]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    counts = [tuple(usage[name] for name in names) for usage in got]
    assert counts[:2] == [(0, 1000, 0), (0, 0, 1000)]
    # 9 of 15 blocks were known: the tenth ended otherwise.
    assert counts[2] == (0, 400, 600)
    assert all(sum(three) == 1000 for three in counts)


async def test_google_counts_them_among_those_of_the_prompt_and_names_them_only_if_there_are_some() -> None:
    async with await serve(Counter(), cache_prompts=True) as server:
        first, second = [(await ask(server, "google", LONG)).body["usageMetadata"] for _ in range(2)]
    assert "cachedContentTokenCount" not in first
    assert (second["promptTokenCount"], second["cachedContentTokenCount"]) == (1000, 1000)


async def test_without_the_option_nothing_is_cached() -> None:
    async with await serve(Counter()) as server:
        for _ in range(2):
            assert "prompt_tokens_details" not in (await ask(server, "openai", LONG)).body["usage"]
