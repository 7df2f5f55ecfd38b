"""Whether a step is one action, by rule: its length, and what of its wording shows a second action. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

AtomicCheck: TypeAlias = Callable[[str], str | None]

# The bound of IgniteUI MAKER: a step that is short enough there is so here.
MOST_CHARACTERS = 128

# Words that begin an instruction. Many are nouns as well, so that alone they show nothing.
_VERBS = (
    "add|append|apply|assign|build|calculate|change|check|choose|combine|compare|compute|convert|copy|count|create|"
    "decide|define|delete|describe|design|determine|draft|enter|evaluate|extract|fill|filter|find|fix|format|generate|"
    "identify|implement|include|insert|join|list|make|merge|move|multiply|name|normalize|order|parse|pick|place|print|"
    "put|read|remove|rename|replace|round|save|select|send|set|sort|split|store|sum|summarize|test|translate|update|"
    "validate|verify|write"
)
_DETERMINER = r"(?:the|a|an|its|their|this|that|these|those|each|every|all|any|it|them|one|two)"
_SECOND = re.compile(rf"(?:\band(?: then)?|,|;)\s+(?:{_VERBS})\s+{_DETERMINER}\b", re.IGNORECASE)
_THEN = re.compile(rf"(?:\bthen|\bafterwards|\bafter that|\bfinally),?\s+(?:{_VERBS})\b", re.IGNORECASE)
_SENTENCE = re.compile(rf"[.;!?]\s+(?:{_VERBS})\b", re.IGNORECASE)
# An article before each: both words of "the title and format field" belong to one object.
_TWO_OBJECTS = re.compile(rf"^\W*(?:{_VERBS})\s+(?:the|its|a|an)\s+\w+\s+and\s+(?:the|its|a|an)\s+\w+", re.IGNORECASE)
_THREE_OBJECTS = re.compile(rf"^\W*(?:{_VERBS})\s+(?:(?:the|its|a|an)\s+)?\w+,\s+(?:\w+,\s+)*and\s+\w+", re.IGNORECASE)
_MORE_THAN_ONE = (_SECOND, _THEN, _SENTENCE, _TWO_OBJECTS, _THREE_OBJECTS)


def not_atomic(task: str) -> str | None:
    """Return why a step is not one action, or None.

    More than 128 characters are too long. A second instruction shows by its place and by what follows it ("and update
    the size", "then sort"), a second object by its article or in a list ("the name and the age", "width, height, and
    depth"); a noun that could be a verb ("the title and format field") shows nothing.
    """
    if len(task) > MOST_CHARACTERS:
        return f"the step has {len(task)} characters, more than {MOST_CHARACTERS}: it is more than one action"
    for sign in _MORE_THAN_ONE:
        if found := sign.search(task):
            return f"the step is more than one action: {found[0].strip()!r}"
    return None
