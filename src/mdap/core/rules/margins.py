"""How many votes win against how many, as a table that grows: for rules that compare the leader with one rival."""

from __future__ import annotations

from collections.abc import Callable


class Margins:
    """The votes that win against 0, 1, 2, ... votes of a rival.

    `wins(first, second)` says whether `first` votes win against `second`: never fewer against more.
    """

    def __init__(self, wins: Callable[[int, int], bool]) -> None:
        self._wins = wins
        self._least: list[int] = []

    def least(self, second: int) -> int:
        """Return the fewest votes that win against `second`."""
        while len(self._least) <= second:
            against = len(self._least)
            # Against more votes no fewer are needed, so the search goes on where it ended.
            first = self._least[-1] if against else 1
            # One by one and not by halving: the next is mostly one or two votes further on.
            while not self._wins(first, against):
                first += 1
            self._least.append(first)
        return self._least[second]
