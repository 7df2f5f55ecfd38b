"""Everything that can be set on a run besides its task, model and rule, with the defaults. Values only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from mdap.core.confidence import SOURCES
from mdap.core.errors import UsageError
from mdap.core.prices import amount_of
from mdap.core.records import Record

# What a resume may change; anything else is part of the fingerprint.
CHANGEABLE = frozenset(
    {"max_samples", "redraws", "retries", "timeout", "in_flight", "max_steps"}
    | {"budget_calls", "budget_tokens", "budget_seconds", "budget_usd"}
    | {"requests_per_minute", "tokens_per_minute", "allow_identical", "remedies", "lookahead", "draft", "leader_first"}
    | {"context"}
)

# The numbers that need not be whole and are checked by their range alone.
FRACTIONS = frozenset({"budget_seconds", "first_temperature", "temperature"})


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a run.

    Caps: `max_samples` a step, `redraws` a vote, `retries` a call, `timeout` a call in seconds, `max_tokens` a reply,
    `in_flight` calls at once, `max_steps` decisions. Budgets of the whole run, its resumes included: `budget_calls`,
    `budget_tokens`, `budget_seconds`, `budget_usd` (a number or its text). What begins within any 60 seconds:
    `requests_per_minute`, `tokens_per_minute`. `flag_tokens`: more reported tokens than this are the flag too_long.
    `first_temperature` is for the first draw of a step, `temperature` for all others; None sends none.
    `record`: which samples the journal keeps. `allow_identical`: long replies that are alike do not stop the run.
    `remedies`: what is done, in this order, about a step that its caps leave undecided: samples:N (as many in all),
    prompt (the task's paraphrases, one by one), model:SPEC, person, stop.
    `lookahead`: how many steps are asked ahead of the one that is voted on, where a call takes over 5 ms; 0: none.
    `draft`: who guesses moves, so that many steps are asked at once: task, or a model's spec.
    `leader_first`: the first draw of a step goes alone, for providers that cache prompts. `hedge`: spare draws a batch,
    given up when not needed; equal runs may then differ. `share_draws`: draws that could share a call do so, although
    a seed cannot be sent with each. `confidence`: where that of each vote comes from, for rules that weigh votes:
    logprobs, ask (a second call, 0 or 1), ask:100 (a second call, 0 to 100), text (a heuristic on the reply's words).
    `context`: the most tokens of a prompt, where a server takes fewer than the model could, or nobody knows how many it
    takes; a run of one task warns before that, and ends there. None stands for no limit.
    """

    # The hardest of the paper's million steps took 18 votes: past ten times that a step is not contested but wrong.
    max_samples: int = 200
    # Where a third of all samples is flagged, eleven in a row are 6 in a million: then the prompt is at fault.
    redraws: int = 10
    # With waits that double from half a second: 15 s of trouble at most, since an outage is for a resume to outlast.
    retries: int = 5
    timeout: float = 60.0
    # The caps and temperatures of the paper's run of a million steps (arXiv:2511.09030): 750 tokens a reply, the first
    # vote of a step at 0, the others at 0.1.
    max_tokens: int = 750
    flag_tokens: int | None = None
    in_flight: int = 64
    first_temperature: float | None = 0.0
    temperature: float | None = 0.1
    max_steps: int | None = None
    budget_calls: int | None = None
    budget_tokens: int | None = None
    budget_seconds: float | None = None
    seed: int = 0
    record: Record = "contested"
    budget_usd: Decimal | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    allow_identical: bool = False
    share_draws: bool = False
    remedies: tuple[str, ...] = ()
    # Deeper gains little: to ask ahead is of use only until the votes of the step before are in.
    lookahead: int = 8
    draft: str | None = None
    leader_first: bool = False
    hedge: int = 0
    context: int | None = None
    confidence: str | None = None

    def __post_init__(self) -> None:
        caps = ("max_samples", "max_tokens", "in_flight", "flag_tokens", "max_steps", "context")
        for name in (*caps, "requests_per_minute", "tokens_per_minute"):
            _at_least(name, getattr(self, name), 1)
        # A journal gives a list back; as a tuple it equals what the run was started with.
        msgspec.structs.force_setattr(self, "remedies", tuple(self.remedies))
        if self.budget_usd is not None:
            msgspec.structs.force_setattr(self, "budget_usd", amount_of(self.budget_usd))
        counts = ("redraws", "retries", "lookahead", "hedge")
        for name in (*counts, "budget_calls", "budget_tokens", "budget_seconds"):
            _at_least(name, getattr(self, name), 0)
        for name in ("first_temperature", "temperature"):
            _at_least(name, getattr(self, name), 0)
        # Written so that NaN is refused as well: no comparison with it holds.
        if not 0 < self.timeout < float("inf"):
            raise UsageError(f"timeout={self.timeout} is not a time", remedy="give seconds above 0, such as 60")
        # The seed of a draw is derived from these 64 bits, sign included.
        if not -(2**63) <= self.seed < 2**63:
            raise UsageError(f"seed={self.seed} does not fit 64 bits", remedy="give a smaller one")
        # msgspec checks the type of a field when it decodes a record, and not when one is made.
        if self.record not in ("samples", "contested", "none"):
            raise UsageError(f"record={self.record!r} is unknown", remedy="give samples, contested or none")

        if self.confidence is not None and self.confidence not in SOURCES:
            raise UsageError(f"confidence={self.confidence!r} is unknown", remedy=f"give one of {', '.join(SOURCES)}")

    def identity(self) -> dict[str, Any]:
        """Return the settings that a resume may not change, all but `record`, which alters no decision."""
        values = {k: v for k, v in msgspec.structs.asdict(self).items() if k not in CHANGEABLE | {"record"}}
        # Younger than runs that know nothing of them and draw as they say where they are off.
        return {k: v for k, v in values.items() if v or k not in ("share_draws", "hedge", "confidence")}


def _at_least(name: str, value: float | None, least: int) -> None:
    if value is None:
        return
    # No limit is None: an infinity has no place in the journal, which is JSON.
    if not least <= value < float("inf"):
        raise UsageError(f"{name}={value} is out of range", remedy=f"give {name} of {least} or more")
    # True is an int to Python, and no count.
    if name not in FRACTIONS and (isinstance(value, bool) or not isinstance(value, int)):
        raise UsageError(f"{name}={value} is no whole number", remedy=f"give {name} of {least} or more")
