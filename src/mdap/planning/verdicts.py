"""How judges answer: a verdict field with one of a few words, and a reason. What cannot be read is a red flag."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from mdap.core.errors import RedFlag
from mdap.core.strictjson import read_json

YES, NO, END = "yes", "no", "end"
CONTENTIOUS = "contentious"


def read_verdict(text: str, words: Collection[str]) -> tuple[str, str]:
    """Return the verdict, one of `words`, and the reason that came with it.

    A reply is a JSON object with the key `verdict`. Case, white space around it and a full stop or exclamation mark at
    its end do not count; more than the word does: "None of these apply" is not No. Raises RedFlag for anything else,
    and for a No without its reason.
    """
    found = _object(text)
    said = found.get("verdict")
    if not isinstance(said, str):
        raise RedFlag("the judgement has no verdict")
    # A full stop is how models end sentences, and changes no verdict; a word more may.
    verdict = said.strip().rstrip(".!").casefold()
    if verdict not in words:
        raise RedFlag(f"the verdict {_shown(said)} is none of {', '.join(words)}")
    reason = found.get("reason", found.get("reasons"))
    reason = "" if reason is None else reason
    if not isinstance(reason, str):
        raise RedFlag(f"the reason {_shown(str(reason))} is no text")
    # What is refused without a reason cannot be done better the next time.
    if verdict == NO and not reason.strip():
        raise RedFlag("a No has no reason")
    return verdict, reason.strip()


def read_choice(text: str, candidates: int) -> tuple[int, str]:
    """Return which of `candidates`, from 1, a discriminator chose, and its reason; 0 is none of them.

    Raises RedFlag for anything but a JSON object whose `choice` is such a number, and for a 0 without a reason.
    """
    found = _object(text)
    choice, reason = found.get("choice"), found.get("reason")
    if isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice <= candidates:
        raise RedFlag(f"the choice {_shown(repr(choice))} is none of 0 to {candidates}")
    if reason is not None and not isinstance(reason, str):
        raise RedFlag(f"the reason {_shown(str(reason))} is no text")
    if choice == 0 and not (reason or "").strip():
        raise RedFlag("a 0 has no reason")
    return choice, (reason or "").strip()


@cache
def verdict_schema(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON Schema of a judgement, for a provider that can hold a reply to one."""
    return _closed({"verdict": {"type": "string", "enum": [word.capitalize() for word in words]}})


@cache
def choice_schema(candidates: int) -> dict[str, Any]:
    """Return the JSON Schema of a choice among `candidates`, for a provider that can hold a reply to one."""
    return _closed({"choice": {"type": "integer", "enum": list(range(candidates + 1))}})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    # In the order in which the prompts ask for them.
    named = {**properties, "reason": {"type": "string"}}
    return {"type": "object", "properties": named, "required": list(named), "additionalProperties": False}


def distinct(reasons: Iterable[str]) -> list[str]:
    """Return the reasons without those that are empty or were given before."""
    # In the order in which they were given: equal runs have equal prompts.
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _object(text: str) -> dict[str, Any]:
    value = read_json(text)
    if not isinstance(value, dict):
        raise RedFlag("the judgement is no JSON object")
    found = {str(key).casefold(): inner for key, inner in value.items()}
    # The last would win, whatever the first has said.
    if len(found) < len(value):
        raise RedFlag("the judgement has a key twice, in two spellings")
    return found


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:60] + "...")
