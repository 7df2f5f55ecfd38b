"""The rule of a run as it judges each step: the same for all, or by what the run has learned from its own decisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mdap.core.ballot import Rule
from mdap.core.history import Decided
from mdap.core.records import Decision, Step
from mdap.protocols import Decide


class Ruling:
    """Gives each step its rule. `decided` are the decisions that the journal holds already, in order, from the first.

    A rule that learns judges a step by the decisions before the last fixed refresh, so that neither concurrency nor a
    resume changes what it has learned by then.
    """

    def __init__(self, rule: Rule, steps: int | None, decided: Iterable[Decided]) -> None:
        for_run, begin = getattr(rule, "for_run", None), getattr(rule, "begin", None)
        self._rule: Any = rule if for_run is None else for_run(steps)
        self._prior: Any = None if begin is None else begin()
        if self._prior is not None:
            for entry in decided:
                self._prior.learn(entry.kind, entry.votes or (0,))

    def for_step(self, step: Step) -> Rule:
        """Return the rule that judges this step."""
        found: Rule = self._rule if self._prior is None else self._rule.at(step.index, step.kind, self._prior)
        return found

    def is_settled(self, index: int) -> bool:
        """Say whether the rule of step `index` is known yet: a step past the next refresh cannot be asked ahead."""
        return self._prior is None or bool(self._prior.is_settled(index))

    def taught(self, decide: Decide) -> Decide:
        """Return `decide` whose decisions are learned from, each once."""
        if self._prior is None:
            return decide

        async def _decide(step: Step) -> Decision:
            decision = await decide(step)
            if step.index >= self._prior.steps:
                self._prior.learn(step.kind, decision.votes or (0,))
            return decision

        return _decide
