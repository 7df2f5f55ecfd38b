"""A running sum over a dictionary: long execution without any planning (after arXiv:2509.09677).

Each turn names some keys; their values are added to the sum so far. A state is `{"index": turn, "sum": sum so far}`,
an action is the new sum, an exact integer. Which reply counts, and what a model is, are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isqrt
from random import Random
from struct import Struct
from typing import Final, TypeAlias

from mdap.core.errors import RedFlag, UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Message, Move
from mdap.core.spec import write_spec

State: TypeAlias = dict[str, int]  # {"index": ..., "sum": ...}

MOST = 99  # values lie between -99 and 99, as in the paper's dictionary
_WORDS = 105 * 105  # distinct words of two syllables


def running_sum(keys: int = 100, length: int = 1000, seed: int = 0, per_step: int = 2) -> RunningSum:
    """Return the task of `length` turns that add `per_step` of `keys` dictionary values to a sum.

    The dictionary and the keys of every turn are functions of `seed`. The model does the sum and votes are on it; code
    only counts the turns. Raises UsageError for numbers below 1, a negative seed and more than 11,025 keys.
    """
    return RunningSum(keys, length, seed, per_step)


class RunningSum:
    """The task; `values` is its dictionary."""

    version: Final = 1
    vote_on: Final = "action"

    def __init__(self, keys: int = 100, length: int = 1000, seed: int = 0, per_step: int = 2) -> None:
        for name, value, least in (
            ("keys", keys, 1),
            ("length", length, 1),
            ("seed", seed, 0),
            ("per_step", per_step, 1),
        ):
            if value < least:
                raise UsageError(f"running_sum: {name}={value} is too small", remedy=f"give {least} or more")
        if keys > _WORDS:
            raise UsageError(f"running_sum: keys={keys} is more than there are words", remedy=f"give {_WORDS} at most")
        self.keys, self.steps, self.seed, self.per_step = keys, length, seed, per_step
        self.values = _dictionary(keys, seed)
        self._words = list(self.values)
        listed = "\n".join(f"{word} = {value}" for word, value in self.values.items())
        self._system = Message("system", _SYSTEM.format(listed=listed))
        # The text of the prompt itself with patterns in its slots, so that reading cannot drift from writing.
        self._pattern = re.compile(_USER.format(turn="([0-9]+)", length=length, sum="(-?[0-9]+)", words="([a-z, ]+)"))

    @property
    def spec(self) -> str:
        """The task as it is written on a command line."""
        options = {"keys": self.keys, "length": self.steps, "seed": self.seed, "per_step": self.per_step}
        return write_spec("running_sum", options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunningSum) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __repr__(self) -> str:
        return f"<{self.spec}>"

    def start(self) -> State:
        """Return turn 0 with a sum of 0."""
        return {"index": 0, "sum": 0}

    def is_done(self, state: State) -> bool:
        """Say whether all turns are over."""
        return state["index"] >= self.steps

    def words(self, index: int) -> list[str]:
        """Return the keys of one turn, `per_step` of them; the same key may come twice."""
        chosen: list[str] = []
        for block in range(0, self.per_step, 8):  # 8 is what one keyed draw gives at most
            numbers = uniforms(_KEY.pack(self.seed, index, block), min(8, self.per_step - block))
            chosen += [self._words[int(u * self.keys)] for u in numbers]
        return chosen

    def prompt(self, state: State) -> tuple[Message, Message]:
        """Return dictionary and format as the system's message, sum so far and keys as the user's."""
        index = state["index"]
        words = ", ".join(self.words(index))
        text = _USER.format(turn=index + 1, length=self.steps, sum=state["sum"], words=words)
        return self._system, Message("user", text)

    def parse(self, text: str, state: State) -> Move:
        """Read the last line of a reply, `sum = N` with plain digits; raises RedFlag where it is anything else."""
        # The last line alone: the reckoning before it may hold sums of its own.
        last = text.rstrip().rpartition("\n")[2]
        found = _REPLY.fullmatch(last)
        if found is None:
            raise RedFlag(f"the last line is not `sum = N`: {last[:60]!r}")
        return self._move(state, int(found[1]))

    def write(self, move: Move) -> str:
        """Return the reply that says `move`."""
        return f"sum = {move.action}"

    def apply(self, state: State, action: int) -> State:
        """Return the next turn with `action` as the sum so far, right or wrong."""
        return {"index": state["index"] + 1, "sum": action}

    def answer(self, state: State) -> Move:
        """Return the right sum, from the sum so far as it stands."""
        return self._move(state, state["sum"] + sum(self._added(state)))

    def read(self, messages: Sequence[Message]) -> State:
        """Return the state that `prompt` rendered; raises ValueError for a prompt of another task."""
        texts = [m.content for m in messages if m.role == "user"]
        found = self._pattern.fullmatch(texts[-1]) if texts else None
        # The system's message holds the dictionary: with another one the same keys have another sum.
        if found is None or self._system not in messages:
            raise ValueError(f"not a prompt of {self.spec}: {(texts or [''])[-1][:80]!r}")
        state = {"index": int(found[1]) - 1, "sum": int(found[2])}
        # The keys of a turn follow from the seed: others were rendered by another task.
        if found[3].split(", ") != self.words(state["index"]):
            raise ValueError(f"turn {found[1]} of {self.spec} has other keys than {found[3]!r}")
        return state

    def mistakes(self, state: State) -> list[Move]:
        """Return wrong sums, at least four, the likeliest first.

        A lost carry, the sign of the last value slipped, the last value forgotten, off by one, nothing added.
        """
        total, last = state["sum"] + sum(self._added(state)), self._added(state)[-1]
        # Some coincide: with one key a turn, to forget the last value is to add nothing.
        slips = [total - 10, total + 10, total - 2 * last, total - last, total + 1, total - 1, state["sum"]]
        return [self._move(state, slip) for slip in dict.fromkeys(slips) if slip != total]

    def sample(self, rng: Random) -> State:
        """Return a turn drawn evenly with a sum of the size that sums have by then."""
        index = rng.randrange(self.steps)
        # A sum of n values of either sign is of the order of the root of n times their size.
        usual = MOST * isqrt(index * self.per_step)
        return {"index": index, "sum": rng.randint(-usual, usual)}

    def _added(self, state: State) -> list[int]:
        return [self.values[word] for word in self.words(state["index"])]

    def _move(self, state: State, total: int) -> Move:
        return Move(total, self.apply(state, total))


_KEY = Struct("<qqq")
_DICTIONARY = -1  # in place of a turn's index: the draws that make the dictionary
# 400 digits: far more than any sum has, and few enough to convert at once.
_REPLY = re.compile(r"sum ?= ?(-?[0-9]{1,400})")
_SYLLABLES = [c + v for c in "bcdfghjklmnprstvwxyzq" for v in "aeiou"]

_SYSTEM = """\
You keep a running sum. In each turn you are given the sum so far and some keys; look up the value of each key in this
dictionary and add all of them to the sum. A key that is given twice counts twice.

{listed}

You may think briefly. Then end your reply with this line, with the new sum as a plain number such as 17 or -4:
sum = N"""

_USER = "Turn {turn} of {length}.\nSum so far: {sum}\nKeys: {words}"


def _dictionary(keys: int, seed: int) -> dict[str, int]:
    """`keys` distinct words, each with a value from 1 to 99 or -99 to -1, in an order that depends on `seed` alone."""
    values: dict[str, int] = {}
    draw = 0
    while len(values) < keys:
        first, second, size, sign = uniforms(_KEY.pack(seed, _DICTIONARY, draw), 4)
        word = _SYLLABLES[int(first * len(_SYLLABLES))] + _SYLLABLES[int(second * len(_SYLLABLES))]
        value = 1 + int(size * MOST)
        # A word that is drawn again keeps its first value, and one more is drawn.
        values.setdefault(word, value if sign < 0.5 else -value)
        draw += 1
    return values


__all__ = ["MOST", "RunningSum", "State", "running_sum"]
