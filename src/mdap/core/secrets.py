"""Keys that must not be told: what is printed, logged or journaled of foreign code's words is cleared of them here.

Where keys come from is for those who read the environment; nothing here does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

REDACTED = "[key]"
# "none" and "ollama" are set where no key is needed, and such words stand in many a message.
SHORTEST = 8
# From the beginning of a word to the end of the name: MONKEY and KEYBOARD name no keys.
_NAMES = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)S?$", re.IGNORECASE)

# One for the process: the code whose errors are cleared has been given the whole environment, too.
_kept: list[str] = []


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """Return the values of variables whose names end in KEY, TOKEN, SECRET, PASSWORD or CREDENTIAL."""
    return [value for name, value in environment.items() if _NAMES.search(name)]


def keep_secret(values: Iterable[str]) -> None:
    """Have these values left out from now on; those of fewer than 8 characters are no keys."""
    new = {value.strip() for value in values} - set(_kept)
    _kept.extend(value for value in new if len(value) >= SHORTEST)
    # The longest first, so that a key which begins like another one is not left with its end in sight.
    _kept.sort(key=len, reverse=True)


def redacted(text: str) -> str:
    """Return `text` with `[key]` in place of each value that is to be kept secret."""
    for value in _kept:
        if value in text:
            text = text.replace(value, REDACTED)
    return text
