"""Where confidences come from: figures worked by hand, and replies that state none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap.core.confidence import Scale, from_logprobs, from_words, read_second, second_call
from mdap.core.errors import RedFlag
from mdap.core.records import Finish, Message, Response, Usage


def reply(text: str, tokens: int = 50, finish: Finish = "stop", logprob: float | None = None) -> Response:
    return Response(text, finish, Usage(10, tokens), logprob=logprob)


def test_log_probabilities_are_normalised_by_the_number_of_tokens() -> None:
    assert from_logprobs(reply("x", 4, logprob=-2.0)) == pytest.approx(math.exp(-0.5))
    assert from_logprobs(reply("x", 8, logprob=-4.0)) == from_logprobs(reply("x", 4, logprob=-2.0))
    assert from_logprobs(reply("x", 4, logprob=1e-9)) == 1.0


def test_without_log_probabilities_or_tokens_there_is_no_confidence() -> None:
    assert from_logprobs(reply("x")) is None
    assert from_logprobs(reply("x", 0, logprob=-1.0)) is None
    assert from_logprobs(Response("x", logprob=-1.0)) is None


def test_a_second_call_begins_with_the_prompt_and_the_reply_that_it_asks_about() -> None:
    prompt = (Message("system", "s"), Message("user", "u"))
    scales: tuple[Scale, ...] = ("binary", "percent")
    asked = {scale: second_call(prompt, "the reply", scale) for scale in scales}
    for messages in asked.values():
        assert messages[:3] == (*prompt, Message("assistant", "the reply"))
        assert messages[3].role == "user"
    assert "0" in asked["binary"][3].content
    assert "100" in asked["percent"][3].content


@pytest.mark.parametrize(
    ("text", "scale", "confidence"),
    [
        ("1", "binary", 1.0),
        (" 0\n", "binary", 0.0),
        ("100", "percent", 1.0),
        ("0", "percent", 0.0),
        ("73", "percent", 0.73),
    ],
)
def test_a_stated_confidence_is_read(text: str, scale: Scale, confidence: float) -> None:
    assert read_second(text, scale) == confidence


@pytest.mark.parametrize("text", ["", "101", "-1", "0.7", "70%", "I am 90 sure", "007", "1\n0", "٣"])
def test_what_is_not_the_number_alone_is_a_red_flag_and_never_repaired(text: str) -> None:
    with pytest.raises(RedFlag, match="whole number from 0 to 100"):
        read_second(text)
    with pytest.raises(RedFlag, match="0 or 1"):
        read_second(text or "2", "binary")


@pytest.mark.parametrize(
    ("response", "confidence"),
    [
        (reply("4"), 0.85),
        (reply("4", finish="length"), 0.50),
        (reply("4", finish="refusal"), 0.75),
        (reply("4", tokens=9), 0.65),
        (reply("4", tokens=701), 0.70),
        (reply("I think it is probably 4"), 0.69),
        (reply("Perhaps, maybe, possibly, I think, I guess 4"), 0.55),
        (reply("Wait, no. Actually, 4"), 0.55),
        (reply("The answer is clearly, definitely 4"), 0.95),
        (reply("maybe perhaps possibly unclear; wait, actually, correction: 4", tokens=5, finish="length"), 0.10),
        (Response("4"), 0.85),
    ],
)
def test_the_heuristic_adds_and_subtracts_what_it_says(response: Response, confidence: float) -> None:
    assert from_words(response) == pytest.approx(confidence)


@given(st.text(), st.integers(0, 2000), st.sampled_from(["stop", "length", "refusal"]))
def test_the_heuristic_stays_between_its_ends(text: str, tokens: int, finish: Finish) -> None:
    assert 0.1 <= from_words(reply(text, tokens, finish)) <= 0.99
