"""Models that are asked only where a remedy calls for them: made when they are first needed, closed with the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from mdap.core.prices import Tariff, UnitPrices
from mdap.engine.stack import Stack
from mdap.models.catalog import as_model
from mdap.parts import Parts, prices_of
from mdap.protocols import Complete, Model, Task


class SpareModels:
    """The models that remedies name, bound to the run's task unless they are to be bound by `stack` itself.

    `stack` lays a run's wrappers around a model; `prices` are those of the run.
    """

    def __init__(
        self,
        parts: Parts,
        prices: Mapping[str, UnitPrices],
        stack: Callable[[Model, dict[str, Tariff]], Stack],
        task: Task | None,
    ) -> None:
        self._parts = parts
        self._prices = prices
        self._stack = stack
        self._task = task
        self._made: dict[str, tuple[Model, Complete]] = {}

    def complete(self, spec: str) -> Complete:
        """Return what makes the calls of a model; raises UsageError for what is none, or has no price where it must."""
        found = self._made.get(spec)
        if found is None:
            model = as_model(spec)
            if self._task is not None and hasattr(model, "bind"):
                model = model.bind(self._task)
            # Under the settings of the run: its budget in USD may demand that there is a price.
            priced = prices_of(msgspec.structs.replace(self._parts, model=model), None, self._prices)
            tariffs = {name: Tariff(price) for name, price in priced.items()}
            found = self._made[spec] = model, self._stack(model, tariffs).complete
        return found[1]

    async def close(self) -> None:
        """Let go of what the models hold open."""
        for model, _ in self._made.values():
            # Models in the process hold nothing open, and need not say how to let go of it.
            closing = getattr(model, "close", None)
            if closing is not None:
                await closing()
