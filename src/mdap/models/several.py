"""Several models as one: what both ways of combining them, by turns and by failover, have in common. Asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Self

import msgspec

from mdap.core.errors import UsageError
from mdap.core.records import Response
from mdap.protocols import Model, Task

MIXED, ELSE = " + ", " | "
"""What stands between the specs of models that are asked in turn, and of those that take over from each other."""

# What a run asks of a model besides replies. Models combined say it where all of them say the same.
_SHARED = ("first_temperature", "temperature", "prompt_form", "is_seeded")


class Several:
    """Two or more models. Its spec is theirs with `sign` in between, and names it wherever a spec is read."""

    sign: ClassVar[str]
    flag: ClassVar[str]
    refused: ClassVar[tuple[str, ...]]

    def __init__(self, models: Sequence[Model]) -> None:
        if len(models) < 2:
            raise UsageError(f"{len(models)} model is not several", remedy=f"give one more with {self.flag}")
        # The spec is all that a journal keeps of the models, so it must read back as they were put together.
        for sign in self.refused:
            for model in models:
                if sign in model.spec:
                    raise UsageError(
                        f"{model.spec!r} cannot be one of several in turn", remedy="let fallbacks be the outer ones"
                    )
        self.models = tuple(models)
        self.spec = self.sign.join(model.spec for model in models)
        # Instance attributes, for a run looks whether a model prescribes these at all.
        for name in _SHARED:
            told = [getattr(model, name) for model in models if hasattr(model, name)]
            if len(told) == len(models) and told.count(told[0]) == len(told):
                setattr(self, name, told[0])
            elif name == "prompt_form" and told:
                raise UsageError(
                    f"{self.spec} cannot be asked together: not all of them read the form {told[0]!r}",
                    remedy="combine models that read the same form of prompt",
                )

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    @property
    def identity(self) -> str:
        """What of the models counts for a run's fingerprint, in order."""
        return self.sign.join(getattr(model, "identity", model.spec) for model in self.models)

    @property
    def context(self) -> int | None:
        """The most tokens that every one of them takes; None where none of them says."""
        told = [getattr(model, "context", None) or _of_profile(model) for model in self.models]
        # Any of them may be asked, so a prompt has to fit the smallest.
        return min((tokens for tokens in told if tokens), default=None)

    def bind(self, task: Task) -> Self:
        """Return the same of the models bound to the task."""
        return self.over(lambda model: model.bind(task) if hasattr(model, "bind") else model)

    def over(self, change: Callable[[Any], Model]) -> Self:
        """Return the same of the models that `change` makes of them; what it has learnt stays behind."""
        return type(self)([change(model) for model in self.models])

    async def close(self) -> None:
        """Close all of them."""
        for model in self.models:
            closing = getattr(model, "close", None)
            if closing is not None:
                await closing()

    @property
    def condition(self) -> tuple[str, ...]:
        """What the models have learnt, each word after the number of the model that it is about."""
        return tuple(
            f"{number} {word}" for number, model in enumerate(self.models) for word in getattr(model, "condition", ())
        )

    def restore(self, condition: Iterable[str]) -> None:
        """Take over what an earlier part of the run had learnt."""
        learnt: dict[int, list[str]] = {}
        for told in condition:
            # At the first space: a member may itself be several, whose words begin with numbers again.
            number, _, word = told.partition(" ")
            learnt.setdefault(int(number), []).append(word)
        for place, words in learnt.items():
            model: Any = self.models[place]
            model.restore(words)


def named(response: Response, model: Model) -> Response:
    """Return the reply with the name of the model that gave it, if it does not say so itself."""
    return response if response.model else msgspec.structs.replace(response, model=model.spec)


def _of_profile(model: Model) -> int | None:
    context: int | None = getattr(getattr(model, "profile", None), "context", None)
    return context
