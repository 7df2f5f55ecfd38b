"""The prompts of planning: named files with slots, each of which another file can replace. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

from mdap.core.errors import UsageError
from mdap.core.spec import unknown
from mdap.core.template import Template

# Which slots there may be is said here, so that a misspelt one fails before it is asked with.
_COMMON = frozenset({"prompt", "format", "steps", "reasons"})
_STEPS = _COMMON | {"context", "state", "form"}
# Each prompt by name, with the slots that it may have.
SLOTS: dict[str, frozenset[str]] = {
    "plan": _COMMON | {"rejected", "batch_size", "left", "next_place", "most_characters"},
    "plan_vote": _COMMON | {"proposal", "batch_size"},
    "execute": _STEPS,
    "join": _STEPS,
    "execute_vote": _STEPS | {"candidate"},
    "execute_choose": _STEPS | {"candidates"},
}
NONE = "none"


class Templates:
    """The prompts by name: the ones that ship, or those in the files that `paths` names in their place.

    A slot `{name}` is filled once, with what it stands for as it is; `{{` and `}}` are braces. Raises UsageError for a
    name that no prompt has, a file that is no UTF-8 text, and a slot that its prompt does not have.
    """

    def __init__(self, paths: Mapping[str, str | Path] | None = None) -> None:
        given = dict(paths or {})
        for name in given:
            if name not in SLOTS:
                raise unknown("prompt of planning", name, SLOTS)
        self._texts = {name: read_prompt(given[name]) if name in given else _shipped(name) for name in SLOTS}
        self._templates = {name: checked(f"the prompt {name}", text, SLOTS[name]) for name, text in self._texts.items()}

    @property
    def digest(self) -> str:
        """What tells these prompts from others: 16 hex digits."""
        # Of texts and not of paths: the same prompt in another folder is the same prompt.
        digest = blake2b(digest_size=8)
        for name, text in self._texts.items():
            digest.update(f"{name}\0{text}\0".encode())
        return digest.hexdigest()

    def filled(self, name: str, values: Mapping[str, Any]) -> str:
        """Return the prompt of this name with `values` in its slots."""
        return self._templates[name].filled(values)


def listed(items: Sequence[str]) -> str:
    """Return texts as a list of a prompt, one a line; the word none for no texts."""
    # A word, since an empty section looks like one that was forgotten.
    return "\n".join(f"- {item}" for item in items) or NONE


def _shipped(name: str) -> str:
    return files("mdap.planning").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")


def read_prompt(path: str | Path) -> str:
    """Return the text of a prompt's file; raises UsageError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the prompt cannot be read from {path}: {error}", remedy="name a UTF-8 text file") from None


def checked(what: str, text: str, slots: Collection[str]) -> Template:
    """Return a prompt with slots; raises UsageError for a slot that is not among `slots`."""
    template = Template(text)
    for field in template.fields:
        if field not in slots:
            raise unknown(f"slot of {what}", field, slots)
    return template
