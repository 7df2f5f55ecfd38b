"""The compact form of Towers of Hanoi: a prompt and a reply of a few digits each, for models without words.

A prompt is the move before (two digits of the disk, from, to; 0000 for none), the peg of each disk from the smallest
to the largest, and `>`; a reply the move, the pegs after it, and a line feed. What a right move is, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mdap.core.errors import RedFlag

MOST_DISKS = 99  # two digits

# [0-9], since \d takes the digits of other scripts as well.
_REPLY = re.compile(r"([0-9]{2})([0-2])([0-2])([0-2]+)\n")
_PROMPT = re.compile(r"([0-9]{2})([0-2])([0-2])([0-2]+)>")


def compact_prompt(pegs: Sequence[Sequence[int]], previous: Sequence[int] | None) -> str:
    """Return the prompt for a state; raises ValueError for one that a few digits cannot say.

    These are: a disk on a smaller one, and a move before of a disk or peg that there is not.
    """
    if any(list(peg) != sorted(peg, reverse=True) for peg in pegs):
        raise ValueError(f"the compact form cannot say that a disk lies on a smaller one: {pegs}")
    return f"{_move(previous or (0, 0, 0))}{_pegs(pegs)}>"


def compact_reply(action: Sequence[int], pegs: Sequence[Sequence[int]]) -> str:
    """Return the reply that says a move and the pegs after it."""
    return f"{_move(action)}{_pegs(pegs)}\n"


def parse_compact(text: str, disks: int) -> tuple[list[int], list[list[int]]]:
    """Return the move and the pegs of a reply that is one of `disks` disks to the letter; raises RedFlag."""
    found = _REPLY.fullmatch(text)
    if found is None:
        raise RedFlag(f"not four digits of a move, a peg for each disk and a line feed: {text[:60]!r}")
    if len(found[4]) != disks:
        raise RedFlag(f"{len(found[4])} pegs for {disks} disks")
    return [int(found[1]), int(found[2]), int(found[3])], _stacked(found[4])


def repair_compact(text: str) -> tuple[list[int], list[list[int]]]:
    """Return the move and the pegs that the digits of a reply say, however many; raises RedFlag without a move.

    Any other sign is left out, and so is the disk whose digit is no peg: what follows is taken to be of the next.
    """
    digits = "".join(sign for sign in text if sign in "0123456789")
    if len(digits) < 4:
        raise RedFlag(f"no four digits of a move: {text[:60]!r}")
    return [int(digits[:2]), int(digits[2]), int(digits[3])], _stacked("".join(d for d in digits[4:] if d in "012"))


def read_compact(text: str, disks: int) -> list[Any]:
    """Return the state that `compact_prompt` rendered; raises ValueError for a prompt of another task."""
    found = _PROMPT.fullmatch(text)
    if found is None or len(found[4]) != disks:
        raise ValueError(f"not a compact prompt of {disks} disks: {text[:80]!r}")
    previous = [int(found[1]), int(found[2]), int(found[3])]
    # Disk 00 stands for no move before.
    return [_stacked(found[4]), previous if previous[0] else None]


def _move(action: Sequence[int]) -> str:
    disk, source, target = action
    if not (0 <= disk <= MOST_DISKS and 0 <= source <= 2 and 0 <= target <= 2):
        raise ValueError(f"the compact form cannot say the move {list(action)}")
    return f"{disk:02}{source}{target}"


def _pegs(pegs: Sequence[Sequence[int]]) -> str:
    # A digit stands for the peg of a disk, so a disk that is missing, or there twice, cannot be said.
    place = {disk: index for index, peg in enumerate(pegs) for disk in peg}
    if sorted(place) != list(range(1, sum(map(len, pegs)) + 1)):
        raise ValueError(f"the compact form cannot say {pegs}: it needs each of the disks 1 to n once")
    return "".join(str(place[disk]) for disk in sorted(place))


def _stacked(digits: str) -> list[list[int]]:
    pegs: list[list[int]] = [[], [], []]
    # The largest first: the digits say on which peg a disk is, and by the rules its size says where on it.
    for disk in range(len(digits), 0, -1):
        pegs[int(digits[disk - 1])].append(disk)
    return pegs
