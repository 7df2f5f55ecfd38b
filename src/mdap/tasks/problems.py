"""Problems that one reply answers, made from a seed: products of long numbers, and long lists to be sorted.

A bare model is asked for the answer at once; an agent divides the problem (arXiv:2511.09030, section 5 and Figure 12).
All numbers are exact integers. Which reply counts, and how a problem falls into parts, is not known here.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from struct import Struct
from typing import Any, Final

from mdap.core.errors import RedFlag, UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Message, Move
from mdap.core.spec import write_spec
from mdap.core.strictjson import read_json

MOST_DIGITS, MOST_NUMBERS, HIGHEST = 1000, 100_000, 9999
_KEY = Struct("<qqq")
_MULTIPLY, _SORT = 1, 2  # what keeps the draws of the two apart


# 5 digits, and 500 numbers below, are the sizes that the paper's authors tried their recursive solver on.
def multiplication(digits: int = 5, seed: int = 0, other: int | None = None) -> Multiplication:
    """Return the task to multiply two numbers of `digits` digits (the second of `other`), which depend on `seed` alone.

    Raises UsageError for numbers of no digit or of more than 1,000, and for a negative seed.
    """
    return Multiplication(digits, seed, other)


def sorting(n: int = 500, seed: int = 0) -> Sorting:
    """Return the task to sort `n` numbers from 0 to 9,999, which depend on `seed` alone; some may be equal.

    Raises UsageError for fewer than 1 or more than 100,000, and for a negative seed.
    """
    return Sorting(n, seed)


class Problem(ABC):
    """A problem in one sentence with one answer. A state holds `problem`, and `result` once it is answered."""

    version: Final = 1
    steps: Final = 1
    # The state after an answer is the answer: to vote on both would compare it twice.
    vote_on: Final = "action"

    @property
    @abstractmethod
    def spec(self) -> str:
        """The task as it is written on a command line."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """The problem in words: what an agent is given."""

    @abstractmethod
    def solved(self, problem: str) -> Any:
        """Return the answer to a problem of this sort; raises ValueError for a text that is none."""

    @abstractmethod
    def wrong(self, problem: str) -> Sequence[Any]:
        """Return wrong answers of the right form, the likeliest first."""

    @abstractmethod
    def read_answer(self, text: str) -> Any:
        """Return the answer that a text is, alone; raises RedFlag."""

    @abstractmethod
    def random(self, rng: Random) -> str:
        """Return a random problem of this sort."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __repr__(self) -> str:
        return f"<{self.spec}>"

    def start(self) -> dict[str, Any]:
        """Return the problem."""
        return {"problem": self.problem}

    def is_done(self, state: Mapping[str, Any]) -> bool:
        """Say whether it is answered."""
        return "result" in state

    def prompt(self, state: Mapping[str, Any]) -> str:
        """Return the problem with the form of its answer."""
        return f"{state['problem']}\n\n{_FORM}"

    def read(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Return the state that a prompt was rendered from; raises ValueError for another prompt."""
        problem, sign, _ = messages[-1].content.partition(f"\n\n{_FORM}") if messages else ("", "", "")
        if not sign:
            raise ValueError("this is no prompt of a problem")
        # For its ValueError: whoever serves this task must not answer a problem of another sort.
        self.solved(problem)
        return {"problem": problem}

    def parse(self, text: str, state: Mapping[str, Any]) -> Move:
        """Read the last line, `answer = ...`; raises RedFlag for anything else."""
        # The last line alone: a reply may weigh other answers before it comes to its own.
        last = text.rstrip().rpartition("\n")[2]
        name, sign, said = last.partition("=")
        if not sign or name.strip() != "answer":
            raise RedFlag("the last line is not answer = ...")
        answer = self.read_answer(said.strip())
        return Move(answer, self.apply(state, answer))

    def apply(self, state: Mapping[str, Any], action: Any) -> dict[str, Any]:
        """Return the state with the answer."""
        return {"problem": state["problem"], "result": action}

    def write(self, move: Move) -> str:
        """Return a reply that `parse` reads as this move."""
        return f"answer = {json.dumps(move.action)}"

    def answer(self, state: Mapping[str, Any]) -> Move:
        """Return the right answer."""
        return self._move(state, self.solved(state["problem"]))

    def mistakes(self, state: Mapping[str, Any]) -> list[Move]:
        """Return wrong answers, the likeliest first."""
        return [self._move(state, answer) for answer in self.wrong(state["problem"])]

    def sample(self, rng: Random) -> dict[str, Any]:
        """Return a random problem as a state."""
        return {"problem": self.random(rng)}

    def _move(self, state: Mapping[str, Any], answer: Any) -> Move:
        return Move(answer, self.apply(state, answer))


class Multiplication(Problem):
    """The product of two numbers, `a` and `b`."""

    def __init__(self, digits: int = 5, seed: int = 0, other: int | None = None) -> None:
        self.digits, self.seed, self.other = digits, seed, digits if other is None else other
        _in_range("multiplication", "digits", digits, 1, MOST_DIGITS)
        _in_range("multiplication", "other", self.other, 1, MOST_DIGITS)
        # A key packs the seed into 64 bits with a sign.
        _in_range("multiplication", "seed", seed, 0, 2**62)
        self.a, self.b = (_number(seed, place, size) for place, size in enumerate((digits, self.other)))

    @property
    def spec(self) -> str:
        """The task as it is written on a command line."""
        options = {"digits": self.digits, "other": self.other if self.other != self.digits else None}
        return write_spec("multiplication", {**options, "seed": self.seed})

    @property
    def problem(self) -> str:
        """The problem in words."""
        return f"Multiply {self.a} by {self.b}."

    def solved(self, problem: str) -> int:
        """Return the product; raises ValueError for another text."""
        a, b = _factors(problem)
        return a * b

    def wrong(self, problem: str) -> list[int]:
        """Return products with one slip: a carry too much in one place or another, a place too far."""
        product = self.solved(problem)
        return [product + 10, product + 100, product * 10 + 1]

    def read_answer(self, text: str) -> int:
        """Return a whole number, exact at any size; raises RedFlag for anything else."""
        if not _DIGITS.fullmatch(text):
            raise RedFlag(f"{text[:40]!r} is no whole number")
        return int(text)

    def random(self, rng: Random) -> str:
        """Return a random product of numbers as long."""
        # Of exactly so many digits, as those that the seed gives: the first is not 0.
        a, b = (rng.randrange(10 ** (size - 1), 10**size) for size in (self.digits, self.other))
        return f"Multiply {a} by {b}."


class Sorting(Problem):
    """A list of numbers to be sorted."""

    def __init__(self, n: int = 500, seed: int = 0) -> None:
        _in_range("sorting", "n", n, 1, MOST_NUMBERS)
        _in_range("sorting", "seed", seed, 0, 2**62)
        self.n, self.seed = n, seed
        # In blocks of 8, which is what one keyed draw gives at most.
        self.numbers = [
            int(u * (HIGHEST + 1))
            for block in range(0, n, 8)
            for u in uniforms(_KEY.pack(seed, _SORT, block), min(8, n - block))
        ]

    @property
    def spec(self) -> str:
        """The task as it is written on a command line."""
        return write_spec("sorting", {"n": self.n, "seed": self.seed})

    @property
    def problem(self) -> str:
        """The problem in words."""
        return f"Sort in ascending order: {json.dumps(self.numbers)}"

    def solved(self, problem: str) -> list[int]:
        """Return the sorted list; raises ValueError for another text."""
        return sorted(_listed(problem))

    def wrong(self, problem: str) -> list[list[int]]:
        """Return lists with one slip: a number lost, one twice."""
        right = self.solved(problem)
        # Of no numbers none can be lost.
        return [right[:-1], [*right, right[-1]]] if right else [[0]]

    def read_answer(self, text: str) -> list[int]:
        """Return a list of whole numbers; raises RedFlag for anything else."""
        found = read_json(text)
        # By type: to `isinstance` true is an int.
        if not isinstance(found, list) or any(type(one) is not int for one in found):
            raise RedFlag("this is no list of whole numbers")
        return found

    def random(self, rng: Random) -> str:
        """Return a random list as long."""
        return f"Sort in ascending order: {json.dumps([rng.randint(0, HIGHEST) for _ in range(self.n)])}"


_FORM = "You may think first. Then end your reply with this line, with the answer in place of the dots:\nanswer = ..."
# Up to 4,000 digits: the largest product has 2,000, and the interpreter converts no more than 4,300. No leading zeros,
# as no other number is written in two ways.
_DIGITS = re.compile(r"(?:0|[1-9][0-9]{0,3999})")
_PRODUCT = re.compile(r"Multiply ([0-9]+) by ([0-9]+)\.")
_LIST = re.compile(r"Sort in ascending order: (\[[0-9, ]*\])")


def _number(seed: int, place: int, digits: int) -> int:
    """A number of exactly so many digits: the first is not 0."""
    found = [
        u
        for block in range(0, digits, 8)
        # 1 and 11 for the two numbers, 2 for lists: no two of them share their draws.
        for u in uniforms(_KEY.pack(seed, _MULTIPLY + 10 * place, block), min(8, digits - block))
    ]
    return int("".join(str(1 + int(u * 9) if not at else int(u * 10)) for at, u in enumerate(found)))


def _factors(problem: str) -> tuple[int, int]:
    found = _PRODUCT.fullmatch(problem.strip())
    if found is None:
        raise ValueError(f"{problem[:60]!r} is no product")
    return int(found[1]), int(found[2])


def _listed(problem: str) -> list[int]:
    found = _LIST.fullmatch(problem.strip())
    if found is None:
        raise ValueError(f"{problem[:60]!r} is no list to be sorted")
    # What the pattern lets pass and is no list, such as [1,,2], is a JSONDecodeError, and so a ValueError.
    numbers: list[int] = json.loads(found[1])
    return numbers


def _in_range(task: str, name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{task}: {name}={value} is out of range", remedy=f"give {least} to {most}")


__all__ = ["Multiplication", "Problem", "Sorting", "multiplication", "sorting"]
