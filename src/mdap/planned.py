"""A run made of branches: short runs of several roles, numbered, under one budget, one pace and one journal.

Here such a run is wired together from the parts that a run is made of; what is planned, judged or solved in its
branches is not known here.
"""

from __future__ import annotations

import secrets
from asyncio import CancelledError
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import msgspec

from mdap import api
from mdap.clock import RunningClock
from mdap.conduct import Conduct, Staged
from mdap.core.epochs import TOOLS, check_tools
from mdap.core.errors import BudgetReached, FingerprintChanged, JournalError, MdapError, Stop, Undecided, UsageError
from mdap.core.fingerprint import differences
from mdap.core.history import Resumed, RunHead
from mdap.core.plain import plain
from mdap.core.records import Status
from mdap.core.redflags import RedFlagCheck, RedFlags, preset_told
from mdap.core.remedy import addressed
from mdap.core.settings import CHANGEABLE
from mdap.groups import first
from mdap.observers import Observer
from mdap.parts import Asked, Options, Prices, changed_settings, choose_rule, unit_prices
from mdap.protocols import Clock, Journal, Rule
from mdap.roles import Ensemble, Role, RoleTotals, cast_roles
from mdap.rowio import PLANNED, is_planned
from mdap.tools import GivenTools, toolbox, typed


@asynccontextmanager
async def conducting(
    kind: str,
    model: Asked | None = None,
    *,
    roles: Mapping[str, Role] | None = None,
    origin: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
    journal: Journal | str | Path | None = None,
    run: str | None = None,
    k: int | None = None,
    rule: Rule | str | None = None,
    prices: Prices | None = None,
    free: bool = False,
    red_flags: RedFlags | None = None,
    extra_flags: Sequence[RedFlagCheck] = (),
    tools: GivenTools = (),
    tool_flags: str = "",
    on_event: Observer | Sequence[Observer] = (),
    clock: Clock | None = None,
    **options: Unpack[Options],
) -> AsyncIterator[Conduct]:
    """Give a `Conduct`, whose branches are one run; how the block ends is how the run ends.

    `kind` names what is run, such as `plan`. `roles` says by the kind of a step who has the word in it; `model`, the
    rule, the flags and the options are those of all other steps. All share the budgets, and each model its own pace.
    The replies of all roles may call `tools`, as in `run`; where branches bring tools of their own, `tool_flags` are
    those by which a command line named them.
    `origin` are JSON values that a resume needs, and `identity` those that must be the same at one (by default all of
    `origin`). `run` goes on with a run that the journal holds: the same code runs again, what is decided comes back
    without a call, and only what a resume may change may be given as an option; FingerprintChanged for anything else
    that is not as it was. All else is as in `run`, whose errors this raises.

    Ended by Undecided, BudgetReached or Stop, by being cancelled, or by another error, the run has that status, and can
    be gone on with: the error has its id as `run`, and the command in its remedy. Of a group of errors the first is
    raised.
    """
    # Outside of the journal's block: models are closed whatever becomes of the journal.
    ensemble = Ensemble()
    chosen = _Chosen(kind, model, roles or {}, k, rule, prices, free, red_flags, extra_flags)
    about = {
        "origin": dict(plain(origin or {})),
        "identity": plain(origin or {}) if identity is None else plain(identity),
        "tools": {"tools": ",".join(toolbox(tools).schemas)} if tools else {},
        "typed": typed(tools) or tool_flags,
    }
    try:
        with api.opened(journal) as store:
            if run is None:
                staged = _begun(store, ensemble, chosen, about, dict(options))
            else:
                staged = _taken_up(store, run, ensemble, chosen, about, dict(options))
            # From here on no other process can drive it.
            with store.claim(staged.head.id):
                conduct = Conduct(store, staged, on_event, clock or RunningClock(), tools)
                async with _segment(conduct, staged.head):
                    yield conduct
    finally:
        await ensemble.close()


def origin_of(journal: Journal, run: str) -> tuple[str, dict[str, Any]]:
    """Return the kind and the origin of a stored run; raises UsageError for a run of another sort."""
    head = journal.head(run)
    if not is_planned(head):
        raise UsageError(f"run {head.id} is not made of branches", remedy=f"go on with it by `mdap resume {head.id}`")
    return head.task, head.settings[PLANNED]["origin"]


class _Chosen(msgspec.Struct, frozen=True):
    """What a run is asked with, besides its settings."""

    kind: str
    model: Asked | None
    roles: Mapping[str, Role]
    k: int | None
    rule: Rule | str | None
    prices: Prices | None
    free: bool
    red_flags: RedFlags | None
    extra_flags: Sequence[RedFlagCheck]


def _begun(
    store: Journal, ensemble: Ensemble, chosen: _Chosen, about: dict[str, Any], options: dict[str, Any]
) -> Staged:
    rule = choose_rule(chosen.k, chosen.rule)
    casting = cast_roles(ensemble, chosen.model, chosen.roles, rule, chosen.red_flags, chosen.extra_flags, options)
    if not casting.models:
        raise UsageError("no model is named", remedy="give one for all kinds of steps, or one for each role")
    settings = casting.usual.settings
    rules = {kind: cast.rule.spec for kind, cast in casting.by_kind.items()}
    models = {kind: "" if cast.model is None else cast.model.spec for kind, cast in casting.by_kind.items()}
    stored = {"origin": about["origin"], "given": msgspec.to_builtins(options), "rules": rules, "models": models}
    head = RunHead(
        id=f"{chosen.kind}-{secrets.token_hex(4)}",
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        task=chosen.kind,
        # Each once, though several roles may share it.
        model=", ".join(dict.fromkeys(model.spec for model in casting.models)),
        rule=rule.spec,
        fingerprint=_fingerprint(chosen.kind, about["identity"] | about["tools"], casting.told()),
        settings=msgspec.to_builtins(settings) | {PLANNED: stored},
        prices=unit_prices(casting.models, settings, chosen.prices, free=chosen.free),
        tools=about["typed"],
    )
    store.create(head)
    return Staged(head, casting, about["origin"])


def _taken_up(
    store: Journal, run: str, ensemble: Ensemble, chosen: _Chosen, about: dict[str, Any], changes: dict[str, Any]
) -> Staged:
    kind, origin = origin_of(store, run)
    head = store.head(run)
    # Branches of another kind would be looked for under numbers that mean something else.
    if kind != chosen.kind:
        raise UsageError(f"run {head.id} is of the kind {kind}, not {chosen.kind}", remedy="name the run of this kind")
    book = store.history(head.id).book
    before = {name: value for name, value in {**head.settings, **book.settings}.items() if name != PLANNED}
    # What was given when it began, so that a role whose model prescribes something is cast as it was then.
    given = head.settings[PLANNED]["given"]
    changed = {name: value for name, value in changes.items() if before.get(name) != plain(value)}
    # What an earlier resume has changed holds until it is changed again.
    in_force = {name: before[name] for name in CHANGEABLE if name in book.settings}
    options = {**given, **in_force, **changed_settings(changed)}
    is_given = chosen.k is not None or chosen.rule is not None
    rule = choose_rule(chosen.k, chosen.rule) if is_given else choose_rule(None, head.rule)
    told = preset_told(head.fingerprint["flags"], options.get("flag_tokens"))
    flags = told if chosen.red_flags is None else chosen.red_flags
    casting = cast_roles(ensemble, chosen.model, chosen.roles, rule, flags, chosen.extra_flags, options)
    # Who goes on need not say again what it began with: that is in the journal.
    same = (about["identity"] or origin) | about["tools"]
    now = _fingerprint(kind, same, casting.told())
    check_tools(head, head.fingerprint, now)
    difference = differences(head.fingerprint, now)
    if difference:
        raise FingerprintChanged(
            f"run {head.id} was started with something else:\n{difference}\n", remedy="begin a new one"
        )
    settings = casting.usual.settings
    known = head.prices if book.prices is None else book.prices
    prices = unit_prices(casting.models, settings, chosen.prices, known, free=chosen.free)
    return Staged(head, casting, origin, Resumed(msgspec.to_builtins(settings), prices))


def _fingerprint(kind: str, identity: Mapping[str, Any], told: dict[str, str]) -> dict[str, str]:
    # In one order of keys: what is equal must read equal.
    values = {
        f"origin {name}": value
        if isinstance(value, str)
        else msgspec.json.encode(value, order="deterministic").decode()
        for name, value in sorted(identity.items())
    }
    return {"task": kind} | values | told


@asynccontextmanager
async def _segment(conduct: Conduct, head: RunHead) -> AsyncIterator[None]:
    """See one segment of a run through: it has begun before the block, and is journaled as ended after it."""
    conduct.begin()
    status: Status = "error"
    reason = "an error inside mdap"
    try:
        # Inside of the clauses below, which know single errors, not groups.
        with _first_of_a_group():
            yield
        status, reason = "done", ""
    except CancelledError:
        status, reason = "interrupted", "interrupted"
        raise
    except MdapError as error:
        _address(error, head)
        status, reason = _status(error), str(error)
        raise
    finally:
        # With an error on its way out, a journal that cannot be written is not what matters.
        with suppress(*([JournalError] if status in ("error", "interrupted") else [])):
            await conduct.end(status, reason)


@contextmanager
def _first_of_a_group() -> Iterator[None]:
    try:
        yield
    except BaseExceptionGroup as errors:
        raise first(errors) from None


def _address(error: MdapError, head: RunHead) -> None:
    """Let an error say which run it ended, how that goes on, and which tools it then has to be given again."""
    error.run = head.id
    error.remedy = addressed(error.remedy, head.id)
    # One that begins otherwise than it did cannot be gone on with, whoever tries.
    if isinstance(error, FingerprintChanged):
        return
    # One way on is enough: a remedy may name it already, with what is to be changed.
    if "mdap resume" not in error.remedy:
        error.remedy = "; ".join([*([error.remedy] if error.remedy else []), f"go on with `mdap resume {head.id}`"])
    names = next((head.fingerprint[part] for part in TOOLS if part in head.fingerprint), "")
    if names:
        # Beside the command, not in it: a way in that prints the command adds the flags that it was told itself.
        error.remedy += f"; give it its tools again: {head.tools.strip() or f'tools=[{names}]'}"


def _status(error: MdapError) -> Status:
    ways: tuple[tuple[type[MdapError], Status], ...] = (
        (Undecided, "undecided"),
        (BudgetReached, "budget"),
        (Stop, "stopped"),
    )
    return next((status for kind, status in ways if isinstance(error, kind)), "error")


__all__ = ["Conduct", "Role", "RoleTotals", "conducting", "origin_of"]
