"""Where the confidence of a vote comes from: log-probabilities, a second call, or the words of the reply.

Each is raw: what it is worth is for `mdap.core.rules.weighing` to say. Nothing here makes a call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from mdap.core.errors import RedFlag
from mdap.core.records import Message, Response

Scale: TypeAlias = Literal["binary", "percent"]

# Where confidences can come from, as it is written on a command line; the scale of those that a second call asks for.
SOURCES: dict[str, Scale | None] = {"logprobs": None, "ask": "binary", "ask:100": "percent", "text": None}

_ASK: dict[Scale, str] = {
    "binary": "Is the answer above right? Reply with 1 if you are confident that it is, else with 0, and nothing else.",
    "percent": (
        "How likely is it that the answer above is right? Reply with one whole number from 0 (surely wrong) to "
        "100 (surely right), and nothing else."
    ),
}
# No sign, leading zero or percent: what is not the number that was asked for is flagged, not mended.
_REPLY: dict[Scale, re.Pattern[str]] = {"binary": re.compile(r"[01]"), "percent": re.compile(r"100|[1-9]?[0-9]")}


def from_logprobs(response: Response) -> float | None:
    """Return the probability of the reply, length-normalised: exp(sum of log-probabilities / number of tokens).

    None where the response came without log-probabilities or without the number of its tokens.
    """
    if response.logprob is None or response.usage is None or response.usage.tokens_out < 1:
        return None
    # A sum that was rounded to above 0 must not become a probability above 1.
    return math.exp(min(0.0, response.logprob) / response.usage.tokens_out)


def second_call(messages: tuple[Message, ...], reply: str, scale: Scale = "percent") -> tuple[Message, ...]:
    """Return the messages that ask a model how sure it is of its reply; they begin as the prompt did, for caches."""
    return (*messages, Message("assistant", reply), Message("user", _ASK[scale]))


def asked_again(messages: Sequence[Message]) -> tuple[Sequence[Message], str, Scale] | None:
    """Return (prompt, reply, scale) of messages that `second_call` made; None for all others."""
    # By the words of the question: a model that is served sees text alone, and knows such a call by nothing else.
    for scale, asked in _ASK.items():
        if len(messages) > 2 and messages[-1].content == asked and messages[-2].role == "assistant":
            return messages[:-2], messages[-2].content, scale
    return None


def write_second(confidence: float, scale: Scale = "percent") -> str:
    """Return the second reply that states this confidence, as `read_second` reads it, rounded to the scale."""
    return str(round(confidence * (1 if scale == "binary" else 100)))


def read_second(text: str, scale: Scale = "percent") -> float:
    """Return the confidence that the second reply states, 0 to 1; raises RedFlag unless it is the number alone."""
    stated = text.strip()
    if _REPLY[scale].fullmatch(stated) is None:
        wanted = "0 or 1" if scale == "binary" else "a whole number from 0 to 100"
        raise RedFlag(f"the confidence is not {wanted}", name="malformed")
    return int(stated) / (1 if scale == "binary" else 100)


_HEDGES = (
    *("i'm not sure", "i think", "i guess", "possibly", "might be", "could be", "probably", "perhaps", "maybe"),
    "unclear",
)
_CORRECTIONS = (
    *("wait,", "actually,", "let me reconsider", "i made a mistake", "correction:", "i was wrong"),
    "on second thought",
)
_ASSERTIONS = ("the answer is", "definitely", "certainly", "clearly", "the solution is", "this will work")


def from_words(response: Response) -> float:
    """Return a heuristic confidence, 0.1 to 0.99, from the tone and length of a reply.

    A heuristic: the figures are those of another implementation (Brainwires 0.11), fitted to nothing. It reads English,
    and a model that is wrong sounds as sure as one that is right. Off unless asked for; check it on logged votes.
    Starts at 0.75; finish stop +0.10, length -0.25; below 10 tokens -0.20, above 700 -0.15; each hedge -0.08 and each
    self-correction -0.15, at most -0.30; each assertion +0.05, at most +0.10. Without usage length counts for nothing.
    """
    text = response.text.lower()
    # A refusal has no entry: unless flags were replaced, it is discarded before anybody asks how sure it is.
    confidence = 0.75 + {"stop": 0.10, "length": -0.25}.get(response.finish, 0.0)
    if response.usage is not None:
        tokens = response.usage.tokens_out
        confidence -= 0.20 if tokens < 10 else 0.15 if tokens > 700 else 0.0
    confidence -= min(0.30, 0.08 * _found(_HEDGES, text))
    confidence -= min(0.30, 0.15 * _found(_CORRECTIONS, text))
    confidence += min(0.10, 0.05 * _found(_ASSERTIONS, text))
    return max(0.1, min(0.99, confidence))


def _found(phrases: tuple[str, ...], text: str) -> int:
    return sum(phrase in text for phrase in phrases)
