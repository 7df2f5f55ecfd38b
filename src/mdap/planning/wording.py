"""What each role of recursive division is asked: named files with slots, each of which another can replace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

from mdap.core.spec import unknown
from mdap.planning.templates import checked, read_prompt

DECOMPOSER, DECOMPOSITION_DISCRIMINATOR = "decomposer", "decomposition_discriminator"
SOLVER, SOLUTION_DISCRIMINATOR = "solver", "solution_discriminator"
COMPOSER, VALIDATOR, MINIMALITY = "composer", "validator", "minimality"
NONE = "none"

# A slot that its role is never given would stand for nothing in every prompt.
_ASKED = frozenset({"task", "context"})
_COMPOSED = _ASKED | {"results", "compose"}
# Each role by name, with the slots that its prompt may have.
SLOTS: Mapping[str, frozenset[str]] = {
    DECOMPOSER: _ASKED | {"parts", "compositions", "reasons"},
    DECOMPOSITION_DISCRIMINATOR: _ASKED | {"candidates"},
    SOLVER: _ASKED | {"reasons", "format"},
    SOLUTION_DISCRIMINATOR: _COMPOSED | {"candidates"},
    COMPOSER: _COMPOSED | {"reasons", "format"},
    VALIDATOR: _COMPOSED | {"answer"},
    MINIMALITY: _ASKED,
}
ROLES = tuple(SLOTS)


class Wording:
    """The prompts of the roles: those that ship, or those in the files that `paths` names in their place.

    A slot `{name}` is filled once, with what it stands for as it is; `{{` and `}}` are braces. Raises UsageError for a
    role that there is not, a file that is no UTF-8 text, and a slot that its prompt does not have.
    """

    def __init__(self, paths: Mapping[str, str | Path] | None = None) -> None:
        given = dict(paths or {})
        for role in given:
            if role not in SLOTS:
                raise unknown("role", role, SLOTS)
        texts = {role: read_prompt(given[role]) if role in given else _shipped(role) for role in SLOTS}
        self._templates = {role: checked(f"the prompt of {role}", text, SLOTS[role]) for role, text in texts.items()}
        # Of what they say: a run may be gone on with from another folder.
        digest = blake2b(digest_size=8)
        for role, text in texts.items():
            digest.update(f"{role}\0{text}\0".encode())
        self.digest = digest.hexdigest()

    def filled(self, role: str, values: Mapping[str, Any]) -> str:
        """Return the prompt of a role with `values` in its slots; those that are absent stand for nothing."""
        # All slots of the role, since a prompt of one's own may use any of them.
        return self._templates[role].filled(dict.fromkeys(SLOTS[role], NONE) | dict(values))


def bullets(items: Sequence[str]) -> str:
    """Return texts as a list of a prompt, one a line; the word none for no texts."""
    return "\n".join(f"- {item}" for item in items) or NONE


def numbered(values: Sequence[Any]) -> str:
    """Return values by number, from 1, each as one line of JSON, so that no text of theirs looks like another item."""
    return "\n".join(f"{number}. {written(value)}" for number, value in enumerate(values, 1)) or NONE


def written(value: Any) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


@cache
def _shipped(role: str) -> str:
    return files("mdap.planning").joinpath("roles", f"{role}.txt").read_text(encoding="utf-8")
