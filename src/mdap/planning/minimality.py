"""Whether a task is small enough to be solved as it stands, by rule and by name. No model is asked here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from mdap.core.spec import unknown

IsMinimal: TypeAlias = Callable[[str], bool]

# Of brainwires-mdap, as 100 is of the agent of claude-php: whoever comes from them finds the same lengths.
SHORT, LONG = 50, 200
_LONGER = 100

# Verbs of one small act, and verbs of whole works: a short text is no small task ("Implement an LRU cache").
_SMALL = frozenset(
    {
        "return",
        "print",
        "output",
        "calculate",
        "compute",
        "add",
        "subtract",
        "multiply",
        "divide",
        "get",
        "set",
        "read",
        "write",
        "check",
        "verify",
    }
)
_LARGE = frozenset(
    {
        "implement",
        "build",
        "create",
        "design",
        "develop",
        "plan",
        "organise",
        "organize",
        "refactor",
        "migrate",
        "compare",
        "analyse",
        "analyze",
        "research",
        "prepare",
        "solve",
    }
)
# Letters of any script, behind quotes and brackets.
_FIRST_WORD = re.compile(r"\W*([^\W\d_]+)")
# "and" between numbers or single words joins things, between clauses it joins acts.
_JOINED_ACTS = re.compile(r"\b(?:then|next|afterwards|after that|finally|also|followed by)\b|[,;]\s*and\b", re.I)
_AND = re.compile(r"\band\s+([^\W\d_]+)", re.I)
_LISTED = re.compile(r"\b(?:first|second|third|firstly|secondly|thirdly)\b|(?:^|\s)[1-9]\d?[.)]\s", re.I)
_SENTENCE_END = re.compile(r"[.!?;](?=\s+\S)")


def is_minimal(rule: str | IsMinimal) -> IsMinimal:
    """Return the rule that a name stands for, or the function itself; raises UsageError for another name.

    `never`: every task may be divided, and whether it is is for the judges, who may prefer not to. `always`: no task
    is. `one_act`: the task begins with a verb of one small act, or is short, and names no second act, no list, no
    second sentence, and no whole work. `no_sequence`: the task has at most 100 characters and no word of order.
    """
    if callable(rule):
        return rule
    # `model` is a choice of the agent's, which then asks judges: it is no rule, and still one of the names.
    if rule not in RULES:
        raise unknown("rule of minimality", rule, [*RULES, "model"])
    return RULES[rule]


def one_act(task: str) -> bool:
    """Say whether a task is one act, by its first word and by what it joins.

    Whole words, in any case: "settle" is not "set". A short text is one act unless its verb is one of a whole work; a
    long one never is; what lies between has to begin with a verb of a small act.
    """
    text = task.strip()
    found = _FIRST_WORD.match(text)
    verb = found[1].casefold() if found else ""
    # All that speaks against it comes first: a verb of a small act may begin a long list.
    if len(text) > LONG or _joins_acts(text) or _SENTENCE_END.search(text) or verb in _LARGE:
        return False
    return verb in _SMALL or len(text) < SHORT


def no_sequence(task: str) -> bool:
    """Say whether a task has at most 100 characters, joins no two acts and counts none (first, second, `1.`, `1)`)."""
    text = task.strip()
    return len(text) <= _LONGER and not _joins_acts(text) and not _LISTED.search(text)


def _joins_acts(text: str) -> bool:
    if _JOINED_ACTS.search(text):
        return True
    return any(found[1].casefold() in _SMALL | _LARGE for found in _AND.finditer(text))


RULES: Mapping[str, IsMinimal] = MappingProxyType(
    {
        "never": lambda _task: False,
        "always": lambda _task: True,
        "one_act": one_act,
        "no_sequence": no_sequence,
    }
)
