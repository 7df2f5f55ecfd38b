"""A circuit breaker: a model that keeps failing is left for a while, and the next one answers. It repeats no call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from mdap.core.errors import ModelError
from mdap.core.records import Request, Response
from mdap.models.several import ELSE, Several, named
from mdap.protocols import Model

_LOG = logging.getLogger("mdap")

# Failures in a row after which a model is left, and how many calls go past it until one of them tries it again: twice
# as many after each try that fails.
FAILURES = 5
FIRST_REST, LONGEST_REST = 100, 10_000


class Breaker:
    """What is known of one model: failures in a row, calls that still go past it, and how many did so at first."""

    __slots__ = ("failed", "is_rejected", "is_tried", "length", "rests")

    def __init__(self) -> None:
        self.failed = self.rests = self.length = 0
        self.is_tried = self.is_rejected = False

    @property
    def is_open(self) -> bool:
        """Whether calls go past the model."""
        return self.length > 0

    def rest(self) -> None:
        """Leave the model for a while, for longer than the last time if it was left already."""
        self.length = min(2 * self.length, LONGEST_REST) if self.length else FIRST_REST
        self.failed, self.rests = 0, self.length

    def mend(self) -> None:
        """Take the model back."""
        self.failed = self.rests = self.length = 0
        self.is_rejected = False


class Failover(Several):
    """Asks the first of its models that does not rest. One rests after `FAILURES` failures in a row, or a rejection.

    A refusal for too many calls (429) and an adaptation are no failures. The rest is counted in calls and not in
    seconds, so that a run that is resumed asks the models that it would have asked without the break; then one call
    tries the model again, while all others still go past it. If every model rests, the last one answers.
    """

    sign = ELSE
    flag = "--fallback"
    refused = (ELSE,)

    def __init__(self, models: Sequence[Model]) -> None:
        super().__init__(models)
        self._breakers = [Breaker() for _ in models]

    async def complete(self, request: Request) -> Response:
        """Answer with the first model that does not rest; raises ModelError, to be tried again, while one is left."""
        number = self._next()
        model, breaker = self.models[number], self._breakers[number]
        # Its rest is over, yet it is not taken back before a call has shown that it answers.
        is_try = breaker.is_open and not breaker.rests
        if is_try:
            breaker.is_tried = True
        try:
            response = await model.complete(request)
        except ModelError as error:
            self._fails(number, error, is_try=is_try)
            if not error.retryable and not all(other.is_rejected for other in self._breakers):
                # Another model may well take what this one never will.
                raise ModelError(error.message, kind=error.kind, status=error.status, retry_after=0.0) from error
            raise
        finally:
            # A try that is cancelled ends here, too; left marked, it would be the last that the model ever gets.
            if is_try:
                breaker.is_tried = False
        if breaker.is_open:
            _LOG.warning("%s answers again", model.spec)
        if breaker.is_open or breaker.failed:
            breaker.mend()
        return named(response, model)

    @property
    def condition(self) -> tuple[str, ...]:
        """What the models have learnt, and which of them fail or rest."""
        own = [f"{number} {_words(breaker)}" for number, breaker in enumerate(self._breakers) if _words(breaker)]
        return (*own, *super().condition)

    def restore(self, condition: Iterable[str]) -> None:
        """Take over what an earlier part of the run had learnt."""
        others = []
        for told in condition:
            # By their whole form: the words of members begin with a number, too.
            match told.split(" "):
                case [number, "failed", failed]:
                    self._breakers[int(number)].failed = int(failed)
                case [number, "rests", rests, "of", length]:
                    breaker = self._breakers[int(number)]
                    breaker.rests, breaker.length = int(rests), int(length)
                case _:
                    others.append(told)
        super().restore(others)

    def _next(self) -> int:
        for number, breaker in enumerate(self._breakers):
            if not breaker.is_open:
                return number
            if breaker.rests:
                breaker.rests -= 1
            elif not breaker.is_tried:
                return number
        # All rest. A model that was rejected would reject again (a wrong key, say); the last of the others may be back.
        taken = [number for number, breaker in enumerate(self._breakers) if not breaker.is_rejected]
        return taken[-1] if taken else len(self.models) - 1

    def _fails(self, number: int, error: ModelError, *, is_try: bool) -> None:
        breaker = self._breakers[number]
        # The last case: a call that was on its way when the model was left tells nothing new of it.
        if error.status == 429 or error.kind == "adapted" or (breaker.is_open and not is_try):
            return
        breaker.failed += 1
        if error.retryable and breaker.failed < FAILURES and not is_try:
            return
        # Before the rest begins, which sets it to zero.
        count = breaker.failed
        breaker.is_rejected = not error.retryable
        breaker.rest()
        after = [other.spec for other, at in zip(self.models, self._breakers, strict=True) if not at.is_open]
        _LOG.warning(
            "%s rests for %d calls after %d failure%s in a row, the last: %s; %s",
            self.models[number].spec,
            breaker.length,
            count,
            "" if count == 1 else "s",
            error.message,
            f"{after[0]} takes over" if after else "no other model is left",
        )


def _words(breaker: Breaker) -> str:
    if breaker.is_open:
        return f"rests {breaker.rests} of {breaker.length}"
    return f"failed {breaker.failed}" if breaker.failed else ""
