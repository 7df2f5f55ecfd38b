"""Divisions of a task that take no model: by its numbered lines, its sentences, its halves, or not at all. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from mdap.core.errors import UsageError
from mdap.core.spec import parse_spec, unknown
from mdap.planning.division import ATOMIC, Division, Subtask

Decompose: TypeAlias = Callable[[str], Division]

# Each part is a subtask with ballots of its own: a list of hundreds is better mapped.
MOST_PARTS = 20
# `1.`, `1)`, `(1)` at the start of a line; a year or a decimal at the start of a sentence is none.
_NUMBERED = re.compile(r"^[ \t]*\(?([0-9]{1,3})[.)](?=\s)[ \t]*", re.MULTILINE)
# The end of a sentence: its mark, then white space and the start of another. "3.5" and "e.g. this" are no ends.
_END = re.compile(r"(?<=[.!?;])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)(?<!\betc\.)\s+(?=[^\Wa-z_]|[\"'(\[])")


class Decomposer(msgspec.Struct, frozen=True):
    """Who divides tasks: a function (`divide`), or where that is None a model that is asked for `parts` at most."""

    spec: str
    divide: Decompose | None
    parts: int


def decomposer(given: str | Decompose) -> Decomposer:
    """Return the decomposer that a name stands for, or one of a function `task -> Division`.

    `binary` asks a model for two parts, `nary:N` for N at most; judges choose among the answers. `numbered`,
    `sentences` and `sequential` (the one that finds parts, in this order) and `simple` (the halves of its sentences,
    again and again) ask nobody; `none` leaves each task whole. Raises UsageError for another name, and for N below 2.
    """
    if callable(given):
        # Marked as one's own: a function called `numbered` is not the decomposer of that name.
        name = getattr(given, "__qualname__", type(given).__name__)
        return Decomposer(f"own:{name}", given, MOST_PARTS)
    spec = parse_spec(given)
    if spec.options or (spec.bare is not None and spec.name != "nary"):
        raise UsageError(f"decomposer {given!r} takes no options", remedy="write nary:N for up to N parts")
    if spec.name == "binary":
        return Decomposer("binary", None, 2)
    if spec.name == "nary":
        return Decomposer(given, None, _parts(spec.bare or "5", given))
    if spec.name not in PLAIN:
        raise unknown("decomposer", spec.name, [*PLAIN, "binary", "nary"])
    return Decomposer(spec.name, PLAIN[spec.name], MOST_PARTS)


def numbered(task: str) -> Division:
    """Return the numbered lines of a task (`1.`, `1)` or `(1)`), each after the one before, as a sequence.

    What follows a line until the next number belongs to it; what stands before the first number is left to whoever
    solves, who sees the whole task. Fewer than two numbers: atomic.
    """
    marks = list(_NUMBERED.finditer(task))
    # A list counts on from one: years and other numbers at the start of lines are no items.
    if [mark[1] for mark in marks] != [str(number) for number in range(1, len(marks) + 1)] or not marks:
        return ATOMIC
    ends = [mark.start() for mark in marks[1:]] + [len(task)]
    return _chain([task[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)])


def sentences(task: str) -> Division:
    """Return the sentences of a task, each after the one before, as a sequence; one alone: atomic."""
    return _chain(_sentences(task))


def sequential(task: str) -> Division:
    """Return the numbered lines of a task, else its lines, else its sentences; atomic where there is one part alone."""
    found = numbered(task)
    if found.is_atomic and "\n" in task.strip():
        return _chain([line.strip() for line in task.strip().splitlines() if line.strip()])
    return sentences(task) if found.is_atomic else found


def simple(task: str) -> Division:
    """Return the two halves of a task's sentences, the second after the first; one sentence: atomic."""
    found = _sentences(task)
    half = (len(found) + 1) // 2
    return _chain([" ".join(found[:half]), " ".join(found[half:])]) if len(found) > 1 else ATOMIC


def _sentences(task: str) -> list[str]:
    return [part.strip() for part in _END.split(task.strip()) if part.strip()]


def _chain(texts: list[str]) -> Division:
    kept = [text for text in texts if text]
    if len(kept) < 2:
        return ATOMIC
    if len(kept) > MOST_PARTS:
        raise UsageError(f"the task has {len(kept)} parts, {MOST_PARTS} at most", remedy="give it in smaller pieces")
    # Nobody says how hard they are, so that together they are one task, in equal shares.
    each = 1 / len(kept)
    return Division(
        tuple(Subtask(text, () if place == 0 else (place,), each) for place, text in enumerate(kept)), "sequence"
    )


def _parts(text: str, given: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= MOST_PARTS:
        raise UsageError(f"{given!r}: {text} is no number of parts", remedy=f"give 2 to {MOST_PARTS}")
    return int(text)


PLAIN: Mapping[str, Decompose] = MappingProxyType(
    {
        "numbered": numbered,
        "sentences": sentences,
        "sequential": sequential,
        "simple": simple,
        "none": lambda _task: ATOMIC,
    }
)
