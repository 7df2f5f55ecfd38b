"""What must not be told is cut out of foreign words, whichever of mdap's errors, logs and files they end up in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import mdap
from mdap.core import secrets
from mdap.core.errors import TaskError
from mdap.core.records import Message
from mdap.core.secrets import keep_secret, redacted, secrets_in
from mdap.tasks import hanoi

SECRET = "sk-4f9a-of-the-test"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    before = list(secrets._kept)
    yield
    secrets._kept[:] = before


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "GITHUB_TOKEN", "client_secret", "DB_PASSWORD", "TOKENS", "KEY"])
def test_the_value_of_a_variable_whose_name_ends_like_a_keys_is_a_secret(name: str) -> None:
    assert secrets_in({name: SECRET}) == [SECRET]


@pytest.mark.parametrize("name", ["PATH", "KEYBOARD", "TOKENIZERS_PARALLELISM", "MONKEY"])
def test_the_value_of_any_other_variable_is_none(name: str) -> None:
    assert secrets_in({name: SECRET}) == []


def test_every_secret_is_cut_out_wherever_it_stands() -> None:
    keep_secret([SECRET, f"{SECRET}-and-longer"])
    assert redacted(f"{SECRET}! key={SECRET}-and-longer.") == "[key]! key=[key]."


def test_a_short_value_is_no_secret_for_it_would_be_cut_out_of_words() -> None:
    keep_secret(["none", ""])
    assert redacted("none of these") == "none of these"


class Telling:
    """A task of one step whose methods quote the environment, as an error of a client often does."""

    def __init__(self, at: str) -> None:
        self.at = at

    def start(self) -> int:
        return 0

    def is_done(self, state: int) -> bool:
        return state == 1

    def prompt(self, state: int) -> list[Message]:
        return [Message("user", "say 1")]

    def parse(self, text: str, state: int) -> mdap.Move:
        if self.at == "flag":
            raise mdap.RedFlag(f"refused with {SECRET}")
        if self.at == "value":
            raise ValueError(f"refused with {SECRET}")
        raise RuntimeError(f"refused with {SECRET}")


@pytest.mark.parametrize("at", ["bug", "flag", "value", "model"])
def test_a_key_that_the_users_own_code_tells_reaches_neither_error_nor_log_nor_journal(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRET)

    def model(prompt: str) -> str:
        if at == "model":
            raise RuntimeError(f"refused with {SECRET}")
        return "1"

    told = ""
    with caplog.at_level("DEBUG", logger="mdap"):
        try:
            task = hanoi(disks=1) if at == "model" else Telling(at)
            result = mdap.run(task, model, k=1, redraws=1, retries=0, journal=tmp_path / "runs.db", record="samples")
            told = result.reason + "".join(sample.reason for sample in result.samples_of(0))
        except TaskError as error:
            told = str(error)
    assert "refused with [key]" in told
    assert SECRET not in told + caplog.text
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
