"""How a task falls into subtasks: what each needs of the others, how their results make one. Nothing is solved here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from mdap.core.errors import RedFlag


class Subtask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a division: its text, the numbers (from 1) of those whose results it needs, how hard it is.

    `complexity` is from 0 to 1, as whoever divided the task says; .5 stands for: nobody has.
    """

    task: str
    needs: tuple[int, ...] = ()
    complexity: float = 0.5


class Division(msgspec.Struct, frozen=True, omit_defaults=True):
    """A way to divide a task. Without subtasks it says that the task is to be solved as it stands.

    `compose` is the name of a composition, or a sentence that says how the results make that of the task.
    """

    subtasks: tuple[Subtask, ...] = ()
    compose: str = ""

    @property
    def is_atomic(self) -> bool:
        """Whether the task is not divided: there are no subtasks, or nothing says how they would make a result."""
        # Parts that nothing puts together could be solved, and would come to no answer.
        return not self.subtasks or not self.compose.strip()

    @property
    def complexity(self) -> float:
        """The sum of those of the subtasks."""
        return sum(subtask.complexity for subtask in self.subtasks)


ATOMIC = Division()


class Leaf(msgspec.Struct, frozen=True):
    """A subtask that is not divided further, among all of a tree: `needs` are the numbers of other leaves."""

    number: str
    task: str
    needs: tuple[str, ...]
    complexity: float


class Tree(msgspec.Struct, frozen=True):
    """A task with its division and the trees of its subtasks; without a division it is a leaf.

    Each keeps its own composition: one of a part is never taken for one of the whole.
    """

    task: str
    number: str = ""
    division: Division = ATOMIC
    parts: tuple[Tree, ...] = ()
    complexity: float = 0.5


def leaves(tree: Tree) -> list[Leaf]:
    """Return the leaves of a tree in order, dependencies rewired.

    A part that needs another waits for the exits of its branch, the leaves there that no other of the branch needs; its
    own entries, the leaves that need no other of it, are those that wait.
    """
    return _leaves(tree, ())


def _leaves(tree: Tree, before: tuple[str, ...]) -> list[Leaf]:
    if not tree.parts:
        return [Leaf(tree.number, tree.task, before, tree.complexity)]
    found: list[Leaf] = []
    exits: dict[int, tuple[str, ...]] = {}
    # In the order of needs: the exits of a branch are known once it has been walked.
    for place in in_order(tree.division.subtasks):
        needed = tree.division.subtasks[place].needs
        # Without needs of its own a branch waits for what the whole waits for.
        waits = tuple(dict.fromkeys(name for number in needed for name in exits[number - 1])) if needed else before
        own = _leaves(tree.parts[place], waits)
        inner = {name for leaf in own for name in leaf.needs}
        # Only those that nothing in the branch waits for: the others are done before them.
        exits[place] = tuple(leaf.number for leaf in own if leaf.number not in inner)
        found += own
    return found


def in_order(subtasks: Sequence[Subtask]) -> list[int]:
    """Return the places (from 0) so that each comes after those that it needs, else in the order of writing."""
    left, done, order = list(range(len(subtasks))), set[int](), list[int]()
    while left:
        # The first in the order of writing, so that equal divisions give equal runs.
        ready = next((place for place in left if done.issuperset(n - 1 for n in subtasks[place].needs)), None)
        if ready is None:
            raise RedFlag(f"subtasks {', '.join(str(place + 1) for place in left)} need one another in a ring")
        left.remove(ready)
        done.add(ready)
        order.append(ready)
    return order


def checked(division: Division, most: int) -> Division:
    """Return the division; raises RedFlag for one that nobody could carry out.

    That is one with more than `most` subtasks, or a single one, an empty text, a need that is no other subtask's number
    or stands twice, and needs in a ring. Equal texts are none: 1111 x 7 falls into 11 x 7, twice.
    """
    subtasks = division.subtasks
    if len(subtasks) > most:
        raise RedFlag(f"{len(subtasks)} subtasks, {most} at most")
    if len(subtasks) == 1:
        raise RedFlag("one subtask is no division: give two or more, or none")
    if subtasks and not division.compose.strip():
        raise RedFlag("there are subtasks, and nothing says how their results make one")
    # Judges could refuse these as well, but each refusal would cost a ballot.
    texts = [subtask.task.strip() for subtask in subtasks]
    if "" in texts:
        raise RedFlag(f"subtask {texts.index('') + 1} is empty")
    for number, subtask in enumerate(subtasks, 1):
        for needed in subtask.needs:
            if not 1 <= needed <= len(subtasks) or needed == number:
                raise RedFlag(f"subtask {number} needs {needed}, which is no other subtask")
        if len(set(subtask.needs)) < len(subtask.needs):
            raise RedFlag(f"subtask {number} needs one subtask twice")
    in_order(subtasks)
    return division


def read_division(value: Any, most: int) -> Division:
    """Return the division that a reply's JSON value is; raises RedFlag where it is not exactly of the form.

    The form: `{"subtasks": [{"task": TEXT, "needs": [NUMBER...]}...], "compose": TEXT}`, an array without subtasks for
    a task that is not to be divided. `needs` and `complexity` may be left out.
    """
    # Unknown keys are flagged and not passed over: a composition under another name would be lost.
    if not isinstance(value, Mapping) or not set(value) <= {"subtasks", "compose"} or "subtasks" not in value:
        raise RedFlag("the reply is no object with subtasks and compose")
    compose = value.get("compose", "")
    given = value["subtasks"]
    if not isinstance(compose, str) or not isinstance(given, list):
        raise RedFlag("subtasks have to be an array, and compose a text")
    subtasks = tuple(_subtask(number, one) for number, one in enumerate(given, 1))
    # What composes nothing says nothing: two ways not to divide a task are one candidate.
    return checked(Division(subtasks, compose), most) if subtasks else ATOMIC


def _subtask(number: int, value: Any) -> Subtask:
    if not isinstance(value, Mapping) or not set(value) <= {"task", "needs", "complexity"}:
        raise RedFlag(f"subtask {number} is no object with task and needs")
    task, needs, complexity = value.get("task"), value.get("needs", []), value.get("complexity", 0.5)
    if not isinstance(task, str):
        raise RedFlag(f"subtask {number} has no text")
    # By exact type: true would pass for the first subtask.
    if not isinstance(needs, list) or any(type(needed) is not int for needed in needs):
        raise RedFlag(f"subtask {number}: needs is no array of numbers")
    if isinstance(complexity, bool) or not isinstance(complexity, int | float) or not 0 <= complexity <= 1:
        raise RedFlag(f"subtask {number}: complexity is no number from 0 to 1")
    return Subtask(task, tuple(needs), float(complexity))


@cache
def division_schema() -> dict[str, Any]:
    """Return the JSON Schema of a division, for a provider that can hold a reply to one.

    Without bounds: not every provider takes them, and what is beyond them is a red flag all the same.
    """
    properties: dict[str, Any] = {
        "task": {"type": "string"},
        "needs": {"type": "array", "items": {"type": "integer"}},
        "complexity": {"type": "number"},
    }
    whole = {"subtasks": {"type": "array", "items": _closed(properties)}, "compose": {"type": "string"}}
    return _closed(whole)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
