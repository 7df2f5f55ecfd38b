"""The rule of a run as it judges each step: the same for all, or by what the run has learned from its own decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mdap.core.ballot import Rule
from mdap.core.history import Decided, History
from mdap.core.records import Decision, Step
from mdap.protocols import Decide


class Ruling:
    """Gives each step its rule. `decisions` reads those that the journal holds already, from a step on.

    A rule that learns judges a step by the decisions before the last fixed refresh, so that neither concurrency nor a
    resume changes what it has learned by then. `prior` is what it has learned so far, None if it learns nothing.
    """

    def __init__(
        self, rule: Rule, steps: int | None, history: History, decisions: Callable[[int], Iterable[Decided]]
    ) -> None:
        self._rule: Any = for_run(rule, steps)
        begin = getattr(rule, "begin", None)
        self.prior: Any = None if begin is None else begin()
        if self.prior is not None:
            self._take_up(history, decisions)

    def _take_up(self, history: History, decisions: Callable[[int], Iterable[Decided]]) -> None:
        """Learn what the run had learned: from where that was last written, and from the decisions after it."""
        learned, epochs = history.learned, history.book.epochs
        # What was written before the rule may have changed is another rule's.
        if learned is not None and learned.step > (epochs[-1][0] if epochs else -1):
            self.prior = msgspec.convert(learned.prior, type(self.prior))
        for entry in decisions(self.prior.steps):
            # A step that a tool decided has no votes; it is learned as one of none, since the prior counts steps.
            self.prior.learn(entry.kind, entry.votes or (0,))

    def learned(self) -> Any:
        """Return what the rule has learned so far as JSON values, which what comes later does not change."""
        return msgspec.to_builtins(self.prior)

    def for_step(self, step: Step) -> Rule:
        """Return the rule that judges this step."""
        found: Rule = self._rule if self.prior is None else self._rule.at(step.index, step.kind, self.prior)
        return found

    def is_settled(self, index: int) -> bool:
        """Say whether the rule of step `index` is known yet: a step past the next refresh cannot be asked ahead."""
        return self.prior is None or bool(self.prior.is_settled(index))

    def taught(self, decide: Decide) -> Decide:
        """Return `decide` whose decisions are learned from, each once."""
        if self.prior is None:
            return decide

        async def _decide(step: Step) -> Decision:
            decision = await decide(step)
            # What came out of the journal was learned from before the first step.
            if step.index >= self.prior.steps:
                self.prior.learn(step.kind, decision.votes or (0,))
            return decision

        return _decide


def for_run(rule: Rule, steps: int | None) -> Rule:
    """Return the rule for a run of so many steps, None if unknown; as it is, if that makes no difference to it."""
    made = getattr(rule, "for_run", None)
    found: Rule = rule if made is None else made(steps)
    return found
