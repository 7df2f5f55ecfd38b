"""Watches the size of prompts from step to step and says when it gets out of hand. Renders and changes nothing."""

from __future__ import annotations

from mdap.core.errors import ModelRejected

# What most tokenizers make of English text. Digits and rare scripts take more tokens, white space fewer.
CHARACTERS_PER_TOKEN = 4
# Chance alone sets a new longest prompt a few times, about ln(n) in n steps; 12 in 48 are no chance.
RISES, STEPS_PER_RISE = 12, 4
# Growth is told of once the prompt is twice as long as the first, and at least so many characters longer.
LEAST_GROWTH = 1000
# Each at twice the length of the one before: whoever reads past the third has decided to let it grow.
MOST_WARNINGS = 3


class Growth:
    """The sizes of the prompts of one run.

    `context` is the most tokens that the model takes, None where nobody knows; `warn_share` is the share of it from
    which on a prompt is worth a warning. Tokens are estimated as characters / 4, and every message says so. `may_grow`:
    prompts hold what was agreed on before them, and that they grow is no news.
    """

    __slots__ = (
        *("_first", "_longest", "_may_grow", "_rises", "_told_share", "_warned_at", "_warnings"),
        *("context", "warn_share"),
    )

    def __init__(self, context: int | None, warn_share: float = 0.5, *, may_grow: bool = False) -> None:
        self.context = context
        self.warn_share = warn_share
        self._may_grow = may_grow
        self._first = (0, 0)
        self._longest = 0
        self._rises = 0
        self._warned_at = 0
        self._warnings = 0
        self._told_share = False

    def see(self, step: int, characters: int) -> str | None:
        """Return a warning that the prompt of this step gives reason for, or None.

        Warns of a prompt that keeps growing (at most three times, each at twice the length) and, once, of one that
        fills `warn_share` of the context; both with the growth per step. Raises ModelRejected, before any call, for a
        prompt past the context.
        """
        # Almost every prompt is no longer than one before it: this comparison is all that it costs.
        if characters <= self._longest:
            return None
        if not self._longest:
            self._first = (step, characters)
        else:
            self._rises += 1
        self._longest = characters
        if self.context is not None:
            warning = self._against(self.context, step, characters)
            if warning is not None:
                return warning
        return None if self._may_grow else self._growing(step, characters)

    def _against(self, context: int, step: int, characters: int) -> str | None:
        tokens = characters // CHARACTERS_PER_TOKEN
        if tokens > context:
            raise ModelRejected(
                f"step {step}: the prompt has about {tokens:,} tokens (characters / 4), more than the model's context "
                f"of {context:,}{self._pace(step, characters)}",
                kind="context",
                remedy="carry less from step to step in the state, or take a model with a larger context",
                step=step,
            )
        if self._told_share or tokens < self.warn_share * context:
            return None
        self._told_share = True
        return (
            f"the prompt has about {tokens:,} tokens (characters / 4), {tokens / context:.0%} of the model's context "
            f"of {context:,}{self._pace(step, characters)}"
        )

    def _growing(self, step: int, characters: int) -> str | None:
        first_step, first = self._first
        if self._rises < RISES or self._warnings >= MOST_WARNINGS:
            return None
        if characters < max(2 * first, first + LEAST_GROWTH, 2 * self._warned_at):
            return None
        if self._rises * STEPS_PER_RISE < step - first_step:
            return None
        self._warned_at = characters
        self._warnings += 1
        return f"the prompt keeps growing, from {first:,} to {characters:,} characters{self._pace(step, characters)}"

    def _pace(self, step: int, characters: int) -> str:
        first_step, first = self._first
        if step <= first_step or characters <= first:
            return ""
        pace = (characters - first) / (step - first_step)
        left = ""
        if self.context is not None and characters < CHARACTERS_PER_TOKEN * self.context:
            steps = (CHARACTERS_PER_TOKEN * self.context - characters) / pace
            left = f"; at this pace it reaches the context in {steps:,.0f} steps"
        return f", {pace:,.1f} characters (about {pace / CHARACTERS_PER_TOKEN:,.1f} tokens) more a step{left}"


def context_of(model: object) -> int | None:
    """Return the most tokens that a model says it takes, by `context` or its profile's; None if it says nothing."""
    told = getattr(model, "context", None)
    found = getattr(getattr(model, "profile", None), "context", None) if told is None else told
    # A model of somebody's own may say anything there; what is no number of tokens is no bound.
    return found if isinstance(found, int) and found > 0 else None
