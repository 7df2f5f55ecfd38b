"""What a run is made of: task, model, flags, settings and prices, from objects or specs. Nothing here asks a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from mdap.core import redflags
from mdap.core.errors import UsageError
from mdap.core.prices import FREE, UnitPrices
from mdap.core.records import Record
from mdap.core.redflags import Flag, RedFlagCheck, RedFlags
from mdap.core.settings import CHANGEABLE, Settings
from mdap.core.spec import unknown
from mdap.engine.drawing import drawing
from mdap.engine.remedies import checked
from mdap.engine.stack import members
from mdap.engine.taskview import TaskView
from mdap.models.catalog import as_model
from mdap.models.failover import Failover
from mdap.models.mixture import Mixture
from mdap.models.prices import looked_up, own_price, read_prices
from mdap.models.several import ELSE, MIXED
from mdap.protocols import Model, Rule, Task
from mdap.tasks.catalog import in_form
from mdap.tasks.catalog import task as task_named
from mdap.tasks.rulebook import rule as rule_named

DEFAULT_K = 3


class Parts(msgspec.Struct, frozen=True):
    """What a run is made of: the task, the model bound to it, the red flags and the settings."""

    view: TaskView
    model: Model
    flags: tuple[Flag, ...]
    settings: Settings
    owns_model: bool


# What `Settings` and `CHANGEABLE` say, once more for type checkers: a TypedDict cannot be computed.
class Options(TypedDict, total=False):
    """The options of `run`: the fields of `Settings`."""

    max_samples: int
    redraws: int
    retries: int
    timeout: float
    max_tokens: int
    flag_tokens: int | None
    in_flight: int
    first_temperature: float | None
    temperature: float | None
    max_steps: int | None
    budget_calls: int | None
    budget_tokens: int | None
    budget_seconds: float | None
    budget_usd: Decimal | str | float | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    allow_identical: bool
    context: int | None
    share_draws: bool
    remedies: Sequence[str]
    lookahead: int
    draft: str | None
    leader_first: bool
    hedge: int
    confidence: str | None
    seed: int
    record: Record


class Changes(TypedDict, total=False):
    """The options that `resume` may change."""

    max_samples: int
    redraws: int
    retries: int
    timeout: float
    in_flight: int
    max_steps: int | None
    budget_calls: int | None
    budget_tokens: int | None
    budget_seconds: float | None
    budget_usd: Decimal | str | float | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    allow_identical: bool
    context: int | None
    remedies: Sequence[str]
    lookahead: int
    draft: str | None
    leader_first: bool


Asked = Model | str | Callable[..., Any]
Prices = str | Path | Mapping[str, UnitPrices | Mapping[str, Any]]


def combined(model: Asked, fallback: Sequence[Asked], mix: Sequence[Asked]) -> Asked:
    """Return one model for `model` with those that vote beside it and those that take over from them.

    All by their specs give the spec of all; all objects give an object. Raises UsageError for a blend: whoever made a
    model closes it, and nobody could tell.
    """
    given = [model, *mix, *fallback]
    if len(given) == 1:
        return model
    if all(isinstance(one, str) for one in given):
        # As with objects below: what takes over stands behind all that vote.
        first = MIXED.join(str(one) for one in [model, *mix])
        return ELSE.join([first, *(str(one) for one in fallback)])
    if any(isinstance(one, str) for one in given):
        raise UsageError("models are given both by spec and as objects", remedy="give all of them in one way")
    voting = [as_model(one) for one in (model, *mix)]
    voter = Mixture(voting) if mix else voting[0]
    return Failover([voter, *(as_model(one) for one in fallback)]) if fallback else voter


def prices_of(
    parts: Parts,
    prices: Prices | None,
    known: Mapping[str, UnitPrices] | None = None,
    *,
    free: bool = False,
) -> dict[str, UnitPrices]:
    """Return the unit prices of all models of a run, by spec; none at all where one of them has none.

    The run's own `prices` come first, then those `known` from an earlier part of it, then the price list of
    genai-prices, if that is installed; `free` says that what then has no price costs nothing. Raises UsageError for a
    budget in USD of a model without a price: it would hold nothing.
    """
    return unit_prices([parts.model], parts.settings, prices, known, free=free)


def unit_prices(
    models: Sequence[Model],
    settings: Settings,
    prices: Prices | None,
    known: Mapping[str, UnitPrices] | None = None,
    *,
    free: bool = False,
) -> dict[str, UnitPrices]:
    """Return the unit prices of several models that share one budget, as `prices_of` does for one."""
    own, found, unpriced = read_prices(prices), {}, []
    # Each once: several roles may share a model.
    for spec in dict.fromkeys(member.spec for model in models for member in members(model)):
        # What is known comes before the list: a run goes on at the prices that it began with, whatever has become of
        # them.
        price = own_price(spec, own) or (known or {}).get(spec) or looked_up(spec) or (FREE if free else None)
        if price is None:
            unpriced.append(spec)
        else:
            found[spec] = price
    # Before any call: a budget that cannot be reckoned would let everything through.
    if unpriced and settings.budget_usd is not None:
        raise UsageError(
            f"model {unpriced[0]} has no price, so a budget in USD cannot hold it",
            remedy="set its price in prices.toml, install mdap[prices], or say --free if it costs nothing",
        )
    # A sum of some models alone would pass for the whole.
    return {} if unpriced else found


def parts_of(
    task: Task | str,
    model: Model | str | Callable[..., Any],
    settings: Callable[[Model], Settings],
    replace: RedFlags | None,
    extra: Sequence[RedFlagCheck],
) -> Parts:
    """Return what a run is made of; `settings` is given the model, which may prescribe some of them."""
    # Who makes a model closes it: of a spec it is made here.
    chosen, owned = as_model(model), isinstance(model, str)
    # The form first, before anything is bound or hashed: prompt, parser and fingerprint are all of one form.
    view = TaskView(in_form(task_named(task), getattr(chosen, "prompt_form", None)))
    chosen = chosen.bind(view.task) if hasattr(chosen, "bind") else chosen
    decided = settings(chosen)
    # Before there is a run: what cannot be carried out would leave an empty one behind.
    drawing(decided)
    checked(decided.remedies, view)
    return Parts(view, chosen, redflags.red_flags(decided.flag_tokens, extra=extra, replace=replace), decided, owned)


def settings_of(model: Model | None, options: dict[str, Any], rule: Rule | None = None) -> Settings:
    """Return the settings: what is given, else what the model and the rule prescribe, else the defaults."""
    # By presence: None is a temperature, too, the provider's own.
    prescribed = {n: getattr(model, n) for n in ("first_temperature", "temperature") if hasattr(model, n)}
    cap = getattr(rule, "max_samples", None)
    if cap is not None:
        # The cap that suits the rule; one that the user names comes first, as ever.
        prescribed["max_samples"] = cap
    unknown_names = options.keys() - set(Settings.__struct_fields__)
    if unknown_names:
        # Always the same one of them: sets have no order.
        raise unknown("option", min(unknown_names), Settings.__struct_fields__)
    return Settings(**{**prescribed, **options})


def changed_settings(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes; raises UsageError for what a resume may not change."""
    refused = changes.keys() - CHANGEABLE
    if refused:
        raise UsageError(
            f"{min(refused)} cannot change at a resume", remedy=f"what can: {', '.join(sorted(CHANGEABLE))}"
        )
    return changes


def fingerprint_of(parts: Parts, rule: Rule) -> dict[str, str]:
    """Return what makes two runs the same run, as text by part."""
    task = parts.view.task
    prompt = parts.view.prompt(parts.view.start())
    # Without tools nothing is said of them: a run from before there were any still has the same fingerprint.
    return {
        "task": getattr(task, "spec", f"{type(task).__module__}:{type(task).__qualname__}"),
        "version": str(getattr(task, "version", "")),
        "prompt": "\n".join(f"{message.role}: {message.content}" for message in prompt.messages),
        "prompt_digest": prompt.digest,
        "model": getattr(parts.model, "identity", parts.model.spec),
        "rule": rule.spec,
        "flags": redflags.describe(parts.flags),
        "settings": msgspec.json.encode(parts.settings.identity()).decode(),
    } | ({"tools": task.tool_names} if hasattr(task, "tool_names") else {})


def with_k(rule: Rule, k: int) -> Rule:
    """Return the same rule with another k; raises UsageError for a rule that has none."""
    name, sign, parts = rule.spec.partition(":")
    # Where the first part of a spec is something else, another number would be set in place of k.
    if not sign or parts.partition(",")[0] != str(rule.k):
        raise UsageError(f"the rule {rule.spec} has no k to be set", remedy="accept a candidate, or override the step")
    return rule_named(":".join([name, ",".join([str(k), *parts.split(",")[1:]])]))


def suited(rule: Rule, parts: Parts) -> Rule:
    """Return the rule; raises UsageError for one that weighs or ranks votes where they bring nothing to do it by."""
    confidence, task = parts.settings.confidence, parts.view.task
    if getattr(rule, "weighs", False) and confidence is None:
        raise UsageError(
            f"{rule.spec} weighs votes by their confidence, and nothing says where that comes from",
            remedy="give --confidence logprobs, ask, ask:100 or text, or a rule that counts, such as ahead_by_k:3",
        )
    if getattr(rule, "ranks", False) and parts.view.rank is None:
        raise UsageError(
            f"{rule.spec} reads rankings, and the replies of {type(task).__name__} hold none",
            remedy="give the task `rank(text, state)`, ask by mdap ask --ranking A,B, or count votes: majority:5",
        )
    for model in members(parts.model) if confidence not in (None, "text") else ():
        _check_confides(model, str(confidence))
    return rule


def _check_confides(model: Model, source: str) -> None:
    """Raise UsageError for a model that cannot say how sure it is; one of somebody's own may, without a word of it."""
    option = getattr(model, "confides_by", "")
    if option:
        raise UsageError(
            f"{model.spec} does not say how sure it is",
            remedy=f"write {_with(model.spec, option)}, or --confidence text",
        )
    if source != "logprobs":
        return
    is_asked = getattr(model, "logprobs", True) is not False
    profile = getattr(model, "profile", None)
    if profile is not None and not profile.logprobs:
        unknown = "not known to give log-probabilities, so they are not asked for"
        raise UsageError(
            f"{model.spec} is {unknown if is_asked else 'not asked for log-probabilities, and not known to give them'}",
            remedy="take --confidence ask, or name the kind of server, such as vllm:MODEL,logprobs=on",
        )
    if not is_asked:
        raise UsageError(
            f"{model.spec} is not asked for log-probabilities",
            remedy=f"write {_with(model.spec, 'logprobs=on')}, or --confidence ask",
        )


def _with(spec: str, option: str) -> str:
    return f"{spec},{option}" if ":" in spec else f"{spec}:{option}"


def choose_rule(k: int | None, rule: Rule | str | None) -> Rule:
    """Return the rule that `k` or `rule` names, ahead_by_k:3 without either; both are a UsageError."""
    if k is not None and rule is not None:
        raise UsageError(f"both k={k} and rule={rule} are given", remedy="k is short for rule ahead_by_k:k: give one")
    if rule is None:
        return rule_named(f"ahead_by_k:{DEFAULT_K if k is None else k}")
    return rule_named(rule) if isinstance(rule, str) else rule
