"""What is known before any call: families, servers, where votes differ, and what a refusal means."""

from __future__ import annotations

import re

import msgspec
import pytest

from mdap.core.errors import UsageError
from mdap.models.profiles import FAMILIES, PARAMETERS, SERVERS, Profile, profile_of
from mdap.models.refusals import Told, is_quota, is_unknown_key, refused_parameter, told
from tests.models import wires


@pytest.mark.parametrize(
    ("server", "model", "temperature"),
    [
        ("openai", "gpt-4.1-mini", True),
        ("openai", "gpt-4o-2024-08-06", True),
        ("openai", "gpt-5", False),
        ("openai", "gpt-5.4-mini", False),
        ("openai", "o1", False),
        ("openai", "o3-mini-2025-01-31", False),
        ("openai", "o4-mini", False),
        ("openai", "a-name-of-tomorrow", True),
        ("anthropic", "claude-3-5-haiku-latest", True),
        ("anthropic", "claude-sonnet-4-20250514", True),
        ("anthropic", "claude-opus-4-1-20250805", True),
        ("anthropic", "claude-haiku-4-5", True),
        ("anthropic", "claude-opus-4-6", True),
        ("anthropic", "claude-opus-4-7", False),
        ("anthropic", "claude-opus-4-70", False),
        ("anthropic", "claude-sonnet-5-5", False),
        ("anthropic", "a-name-of-tomorrow", False),
        ("google", "gemini-2.5-flash", True),
        ("openrouter", "openai/gpt-5", False),
        ("openrouter", "anthropic/claude-opus-4.7", False),
        ("openrouter", "anthropic/claude-sonnet-4.5", True),
        ("openrouter", "qwen/qwen3-32b", True),
        ("vllm", "openai/gpt-oss-20b", True),
        ("ollama", "llama3.2:3b", True),
    ],
)
def test_a_temperature_is_sent_to_those_that_take_one(server: str, model: str, temperature: bool) -> None:
    assert profile_of(server, model).temperature is temperature


def test_no_model_of_a_vendor_without_seeds_has_one_wherever_it_is_served() -> None:
    assert not profile_of("anthropic", "claude-haiku-4-5").seed
    assert not profile_of("openrouter", "anthropic/claude-haiku-4.5").seed
    assert profile_of("openrouter", "qwen/qwen3-32b").seed


def test_the_cap_of_tokens_goes_under_the_name_that_its_server_knows() -> None:
    assert profile_of("openai", "gpt-4.1").max_tokens == "max_completion_tokens"
    assert profile_of("openai", "a-name-of-tomorrow").max_tokens == "max_completion_tokens"
    assert profile_of("openai", "a-name-of-tomorrow", own_address=False).max_tokens == "max_tokens"
    assert profile_of("openai", "gpt-5", own_address=False).max_tokens == "max_completion_tokens"
    assert profile_of("openrouter", "openai/gpt-5").max_tokens == "max_tokens"
    assert profile_of("vllm", "m").max_tokens == "max_tokens"


def test_behind_another_server_a_family_keeps_only_what_both_have() -> None:
    assert profile_of("openai", "gpt-4.1").n
    assert not profile_of("openrouter", "openai/gpt-4.1").n
    assert profile_of("openrouter", "openai/gpt-4.1").context == profile_of("openai", "gpt-4.1").context


def test_what_is_unknown_is_assumed_to_have_nothing_that_would_be_missed_silently() -> None:
    profile = profile_of("openai", "a-name-of-tomorrow", own_address=False)
    assert (profile.n, profile.logprobs, profile.json_schema, profile.context) == (False, False, False, None)
    assert "nothing is known" in profile.known


def test_every_family_says_when_it_was_known_and_comes_before_those_that_would_hide_it() -> None:
    names = {
        r"gpt-5": "gpt-5",
        r"o[134](-|$)": "o3",
        r"gpt-4\.1": "gpt-4.1",
        r"gpt-4o": "gpt-4o",
        r"gpt-4-turbo": "gpt-4-turbo",
        r"gpt-3\.5-turbo": "gpt-3.5-turbo",
        r"claude-3": "claude-3-opus",
        r"claude-(opus|sonnet|haiku)-4[-.][1-6](\D|$)": "claude-opus-4-5",
        r"claude-(opus|sonnet)-4(-0|-2025\d+|$)": "claude-opus-4-0",
        r"claude-": "claude-fable-5",
        r"gemini-2\.0": "gemini-2.0-flash",
        r"gemini-2\.5": "gemini-2.5-pro",
        r"gemini-": "gemini-3.1-pro",
    }
    for family in FAMILIES:
        assert re.search(r"20\d\d-\d\d", family.profile.known)
        assert profile_of(family.vendor, names[family.pattern]) == family.profile


def test_variety_is_said_for_every_combination() -> None:
    told_of = {(t, s): Profile(temperature=t, seed=s).variety for t in (True, False) for s in (True, False)}
    assert len(set(told_of.values())) == 4
    assert "temperature" in told_of[True, False]
    assert "temperature" not in told_of[False, True]
    assert "default sampling alone" in told_of[False, False]


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_can_be_taken_away_and_nothing_else_changes(name: str) -> None:
    full = Profile(n=True, logprobs=True, json_schema=True)
    less = full.without(name)
    changed = [f for f in Profile.__struct_fields__ if getattr(full, f) != getattr(less, f)]
    assert len(changed) == 1
    assert full.takes(name) != less.takes(name)


def test_a_parameter_or_server_that_is_not_known_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(UsageError, match="temperature"):
        Profile().without("temprature")
    with pytest.raises(UsageError, match="openrouter"):
        profile_of("openruter", "m")


def test_no_server_has_a_secret_in_its_address_and_only_vendors_need_a_key() -> None:
    assert {name for name, server in SERVERS.items() if server.needs_key} == {
        "openai",
        "anthropic",
        "google",
        "openrouter",
    }
    assert all(server.base_url.startswith("http://127.0.0.1") != server.needs_key for server in SERVERS.values())


ALL = PARAMETERS


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (wires.OPENAI_CAP, "max_tokens"),
        (wires.OPENAI_TEMPERATURE, "temperature"),
        (wires.ANTHROPIC_TEMPERATURE, "temperature"),
        (
            wires.anthropic_error(
                "invalid_request_error",
                "temperature is not supported for claude-fable-5 when set to non-default values",
            ),
            "temperature",
        ),
        (wires.GOOGLE_CANDIDATES, "n"),
        (wires.GOOGLE_LOGPROBS, "logprobs"),
        (
            wires.google_error(400, "INVALID_ARGUMENT", "Only one candidate can be specified (candidateCount)"),
            "n",
        ),
        (
            wires.google_error(
                400, "INVALID_ARGUMENT", 'Invalid JSON payload. Unknown name "seed": Cannot find field.'
            ),
            "seed",
        ),
        ({"error": {"message": "Unrecognized request argument supplied: seed", "type": "x"}}, "seed"),
        ({"object": "error", "message": "'n' is not supported", "type": "BadRequestError", "code": 400}, "n"),
        (
            {"error": {"message": "Invalid schema for response_format 'answer'", "param": "response_format"}},
            "response_format",
        ),
        ({"error": {"message": "Unsupported value", "param": "seed", "code": "unsupported_value"}}, "seed"),
        (wires.OPENAI_MODEL, None),
        (wires.OPENAI_KEY, None),
        (wires.GOOGLE_KEY, None),
        (wires.ANTHROPIC_CREDIT, None),
        ({"error": {"message": "A n unsupported thing happened in n places"}}, None),
    ],
)
def test_the_parameter_that_a_refusal_means_is_found_in_every_vendors_words(body: object, name: str | None) -> None:
    assert refused_parameter(told(msgspec.json.encode(body)), ALL) == name


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_that_was_not_sent_is_never_found(name: str) -> None:
    said = Told(f"Unsupported parameter: '{name}'", parameter=name)
    assert refused_parameter(said, ALL) == name
    assert refused_parameter(said, [other for other in ALL if other != name]) is None


def test_a_used_up_account_and_a_wrong_key_are_told_from_other_refusals() -> None:
    assert is_quota(told(msgspec.json.encode(wires.ANTHROPIC_CREDIT)))
    assert not is_quota(told(msgspec.json.encode(wires.GOOGLE_QUOTA)))  # minutes pass
    assert is_unknown_key(told(msgspec.json.encode(wires.GOOGLE_KEY)))
    assert not is_unknown_key(told(msgspec.json.encode(wires.GOOGLE_LOGPROBS)))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "[]"),
        (b"[1]", "[1]"),
        (b'[{"error": {"message": "in a list", "code": 400}}]', "in a list"),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 100_000),
        (b'{"error": {"message": "x", "details": "no list"}}', "x"),
        (b'{"error": {"message": "x", "details": [1, {"retryDelay": "soon"}]}}', "x"),
    ],
)
def test_any_body_can_be_read_as_an_error(body: bytes, text: str) -> None:
    assert told(body).text == text
