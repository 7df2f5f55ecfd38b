"""The rule of a map as it judges the steps of each row: the same for all, or by what rows before them have come to."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Sequence
from typing import Any, TypeAlias

from mdap.core.ballot import Rule
from mdap.core.records import Step
from mdap.engine.ruling import for_run

# Rows that are judged by one prior. It changes nowhere else, so that it is the same whatever is driven at once.
BLOCK = 1000
# What a row teaches: the kind and the votes of each of its decisions, in order.
Tallies: TypeAlias = Sequence[tuple[str, tuple[int, ...]]]


class RowRuling:
    """Gives each row its rule. One that learns judges a block of rows by all rows before the block, in input order.

    `steps` are those of all rows together, None if unknown. A row of the next block waits for the slowest of this one.
    """

    def __init__(self, rule: Rule, steps: int | None, block: int = BLOCK) -> None:
        self._rule: Any = for_run(rule, steps)
        begin = getattr(rule, "begin", None)
        self._prior: Any = None if begin is None else begin()
        self._block = block
        self._number = 0
        self._ended: dict[int, Tallies] = {}
        self._next = Event()
        self._is_released = False

    @property
    def learns(self) -> bool:
        """Whether rows teach it anything."""
        return self._prior is not None

    async def reach(self, item: int) -> None:
        """Return once the rule of this row is known: all rows before its block have come to their end."""
        while self.learns and item // self._block > self._number and not self._is_released:
            await self._next.wait()

    def release(self) -> None:
        """Let nobody wait any more: the map stops, and no row is begun."""
        self._is_released = True
        self._next.set()

    def for_step(self, step: Step) -> Rule:
        """Return the rule that judges this step of a row."""
        if not self.learns:
            return self._rule  # type: ignore[no-any-return]
        # By the prior's own count and not the step's: within a block it stands still, whichever step this is.
        found: Rule = self._rule.at(self._prior.steps, step.kind, self._prior)
        return found

    def teach(self, item: int, tallies: Tallies) -> None:
        """Take in what a row came to. Rows come in any order, each once; they are learned from in theirs."""
        if not self.learns:
            return
        self._ended[item] = tallies
        # Rows of the next block cannot be among them: they wait in `reach`.
        if len(self._ended) < self._block:
            return
        for _, learned in sorted(self._ended.items()):
            for kind, votes in learned:
                self._prior.learn(kind, votes or (0,))
        self._ended.clear()
        self._number += 1
        # A new event for the next block; whoever waited for this one looks at the number again.
        reached, self._next = self._next, Event()
        reached.set()
