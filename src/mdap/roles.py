"""Who has the word in a run of several roles: each kind of step with its model, rule, caps and red flags.

Roles are resolved here, and what they took is summed up; nobody is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mdap.core import redflags
from mdap.core.errors import UsageError
from mdap.core.history import Book, Seen
from mdap.core.prices import usd
from mdap.core.records import Totals
from mdap.core.redflags import Flag, RedFlagCheck, RedFlags
from mdap.core.settings import Settings
from mdap.models.catalog import as_model
from mdap.parts import Asked, choose_rule, settings_of
from mdap.planning.tool_task import KIND as TOOL
from mdap.protocols import Model, Rule

# Budgets, rates and what is recorded are of the whole run: no role has its own.
_OVERRIDES = ("max_tokens", "first_temperature", "temperature", "max_samples", "redraws", "flag_tokens", "confidence")

# Which kinds of steps are, by the words of a preset, planning and voting.
_LENGTHS = {"planning": "planning"} | dict.fromkeys(("plan_voting", "execution_voting"), "voting")


class Role(msgspec.Struct, frozen=True):
    """How steps of one kind are asked; what is not given is as for the run.

    `flags` replace the run's red flags. `first_temperature`, `temperature`, `flag_tokens` and `confidence` may be None,
    which is a value of theirs. A rule that learns from a run's decisions judges every step as it judges the first.
    """

    model: Asked | None = None
    rule: Rule | str | None = None
    max_tokens: int | UnsetType = UNSET
    first_temperature: float | UnsetType | None = UNSET
    temperature: float | UnsetType | None = UNSET
    max_samples: int | UnsetType = UNSET
    redraws: int | UnsetType = UNSET
    flag_tokens: int | UnsetType | None = UNSET
    confidence: str | UnsetType | None = UNSET
    flags: RedFlags | None = None

    def overrides(self) -> dict[str, Any]:
        """Return the settings that the role changes."""
        return {name: getattr(self, name) for name in _OVERRIDES if getattr(self, name) is not UNSET}


class Cast(msgspec.Struct, frozen=True):
    """A role with everything that it is asked with. `model` None: nobody has been named, and nobody can be asked."""

    model: Model | None
    rule: Rule
    flags: tuple[Flag, ...]
    settings: Settings

    def told(self) -> dict[str, str]:
        """Return what must be the same at a resume, as text by part."""
        return {
            "model": "" if self.model is None else getattr(self.model, "identity", self.model.spec),
            "rule": self.rule.spec,
            "flags": redflags.describe(self.flags),
            "settings": msgspec.json.encode(self.settings.identity()).decode(),
        }


class Ensemble:
    """The models of all roles: each is made once for its spec, and those that were made here are closed here."""

    def __init__(self) -> None:
        self._made: dict[str, Model] = {}
        self._given: dict[int, tuple[Any, Model]] = {}

    def model(self, asked: Asked) -> Model:
        """Return the model that a spec names, or the one that a callable or an object is."""
        if isinstance(asked, str):
            # Roles that name the same spec share one model, and so its pace.
            if asked not in self._made:
                self._made[asked] = as_model(asked)
            return self._made[asked]
        if id(asked) not in self._given:
            # Kept with what was given, so that no other object can come to have its id.
            self._given[id(asked)] = asked, as_model(asked)
        return self._given[id(asked)][1]

    async def close(self) -> None:
        """Close what was made here; whoever handed in a model closes it."""
        for model in self._made.values():
            # Found by presence: a model need not hold anything open.
            closing = getattr(model, "close", None)
            if closing is not None:
                await closing()


class Casting(msgspec.Struct, frozen=True):
    """All roles of a run by the kind of their steps; `usual` is for every kind without a role of its own."""

    usual: Cast
    by_kind: dict[str, Cast]

    def of(self, kind: str) -> Cast:
        """Return the role that has the word in steps of this kind; raises UsageError where no model is named for it."""
        found = self.by_kind.get(kind, self.usual)
        if found.model is None:
            raise UsageError(
                f"no model is named for steps of the kind {kind!r}", remedy="name one for it, or one for all kinds"
            )
        return found

    @property
    def models(self) -> list[Model]:
        """The models of all roles, each once, in the order of the roles."""
        found = [cast.model for cast in (self.usual, *self.by_kind.values()) if cast.model is not None]
        # By identity: two models may have one spec.
        return list({id(model): model for model in found}.values())

    def told(self) -> dict[str, str]:
        """Return what must be the same at a resume, as text by part."""
        roles = {
            f"role {kind}: {part}": text for kind, cast in self.by_kind.items() for part, text in cast.told().items()
        }
        # In the order in which roles are named, the same roles would look like others.
        return self.usual.told() | dict(sorted(roles.items()))


def cast_roles(
    ensemble: Ensemble,
    model: Asked | None,
    roles: Mapping[str, Role],
    rule: Rule,
    red_flags: RedFlags | None,
    extra_flags: Sequence[RedFlagCheck],
    options: Mapping[str, Any],
) -> Casting:
    """Return all roles with what they are asked with: their own, else the run's `model`, `rule`, flags and `options`.

    A model may prescribe temperatures, as it does for a run; what is given comes first.
    """

    def _cast(asked: Asked | None, own: Rule, flags: RedFlags | None, changes: dict[str, Any], kind: str = "") -> Cast:
        made = None if asked is None else ensemble.model(asked)
        settings = settings_of(made, {**options, **changes}, own)
        # A preset has other lengths for those who plan and those who vote.
        asked_for = _LENGTHS.get(kind, "")
        found = redflags.red_flags(settings.flag_tokens, extra=extra_flags, replace=flags, role=asked_for)
        return Cast(made, own, found, settings)

    usual = _cast(model, rule, red_flags, {})
    by_kind = {
        kind: _cast(
            model if role.model is None else role.model,
            rule if role.rule is None else choose_rule(None, role.rule),
            red_flags if role.flags is None else role.flags,
            role.overrides(),
            kind,
        )
        for kind, role in roles.items()
    }
    return Casting(usual, by_kind)


class RoleTotals(msgspec.Struct, frozen=True):
    """What the steps of one kind came to and took, over all segments of a run.

    `calls` are those that gave a sample and those that were repeated; `seconds` is how long samples took, added up;
    `cost_usd` is None where a model has no price. `agreed` and `dissent` count votes for and against decisions.
    """

    steps: int = 0
    calls: int = 0
    samples: int = 0
    votes: int = 0
    flagged: dict[str, int] = msgspec.field(default_factory=dict)
    retries: dict[str, int] = msgspec.field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal | None = None
    seconds: float = 0.0
    agreed: int = 0
    dissent: int = 0
    contested: int = 0

    @property
    def dissent_rate(self) -> float:
        """The share of votes against what was decided; 0 without votes."""
        # Of votes on decided ballots: a tool's steps have none.
        return self.dissent / (self.agreed + self.dissent) if self.agreed + self.dissent else 0.0


def totals_of(book: Book, *, priced: bool) -> dict[str, RoleTotals]:
    """Return the totals of each role by the kind of its steps, in the order in which they first had the word."""
    # A kind need not be in both: its calls may have come to no decision yet.
    kinds = dict.fromkeys([*book.roles, *book.kinds])
    found = {
        kind: _totals(book.roles.get(kind, Totals()), book.kinds.get(kind, Seen()), priced=priced) for kind in kinds
    }
    if TOOL in found:
        # Nobody votes on what a tool comes to, so these steps are no ballots of any kind: they are all the others.
        steps = book.steps - sum(seen.steps for seen in book.kinds.values())
        found[TOOL] = msgspec.structs.replace(found[TOOL], steps=steps)
    return found


def total_of(book: Book, *, priced: bool) -> RoleTotals:
    """Return the totals of all roles together, with what calls took that belong to no step that is stored."""
    # The book keeps them by kind alone.
    seen = Seen()
    for one in book.kinds.values():
        seen.steps += one.steps
        seen.agreed += one.agreed
        seen.dissent += one.dissent
        seen.contested += one.contested
    return msgspec.structs.replace(_totals(book.totals, seen, priced=priced), steps=book.steps)


def _totals(totals: Totals, seen: Seen, *, priced: bool) -> RoleTotals:
    return RoleTotals(
        steps=seen.steps,
        calls=totals.samples + totals.second_calls + sum(totals.retries.values()),
        samples=totals.samples,
        votes=totals.votes,
        flagged=dict(totals.flagged),
        retries=dict(totals.retries),
        tokens_in=totals.tokens_in,
        tokens_out=totals.tokens_out,
        cost_usd=usd(totals.nano) if priced else None,
        seconds=totals.seconds,
        agreed=seen.agreed,
        dissent=seen.dissent,
        contested=seen.contested,
    )
