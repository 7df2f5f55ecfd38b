"""The tasks that ship, one file each; `catalog` finds them, and a user's own, by name."""

from __future__ import annotations

from mdap.tasks.hanoi import Hanoi, hanoi
from mdap.tasks.problems import Multiplication, Sorting, multiplication, sorting
from mdap.tasks.running_sum import RunningSum, running_sum

__all__ = [
    "Hanoi",
    "Multiplication",
    "RunningSum",
    "Sorting",
    "hanoi",
    "multiplication",
    "running_sum",
    "sorting",
]
