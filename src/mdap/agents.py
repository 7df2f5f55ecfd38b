"""An agent: a task that nobody has divided yet is divided, solved and composed by votes (Algorithm 4), as one run.

Here it is wired from its roles; how a task is divided and solved is in `planning.solving`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from mdap.agent_result import AgentResult, Foretold, statistics_of, status_of, warnings_of
from mdap.api import opened
from mdap.conduct import Conduct
from mdap.core import formats
from mdap.core.agent_calls import DEFAULT_DEPTH
from mdap.core.errors import JournalError, MdapError, UsageError
from mdap.core.formats import Format
from mdap.core.keys import Judged, Key, by_schema, resolved
from mdap.core.records import ABSENT, Record
from mdap.core.redflags import RedFlagCheck, RedFlags
from mdap.core.rules import rule as rule_named
from mdap.core.scaling.gated import CONTENTIOUS
from mdap.core.settings import Settings
from mdap.core.spec import unknown
from mdap.observers import Observer
from mdap.parts import Asked, Prices
from mdap.planned import conducting, origin_of
from mdap.planning.composition import Combine, is_known
from mdap.planning.decomposers import Decompose, decomposer
from mdap.planning.forecast import Bounds, Forecast, forecast
from mdap.planning.minimality import IsMinimal, is_minimal
from mdap.planning.solving import Divided, Solving, SubtaskSettled, Validate, Ways
from mdap.planning.tool_solutions import Kit
from mdap.planning.wording import (
    COMPOSER,
    DECOMPOSER,
    DECOMPOSITION_DISCRIMINATOR,
    MINIMALITY,
    ROLES,
    SOLUTION_DISCRIMINATOR,
    SOLVER,
    VALIDATOR,
    Wording,
)
from mdap.protocols import Clock, Journal
from mdap.roles import Role
from mdap.tools import READ_ONLY, Tool, Toolbox

KIND = "solve"
JudgeRule = Literal["first_to_k", "ahead_by_k"]

# Of what a run is begun with: caps, names, and what is compared as what it makes (models, flags).
_MAY_CHANGE = frozenset({"rounds", "name", "max_tokens", "model", "roles", "red_flags"})

logger = logging.getLogger("mdap.agent")


class Options(TypedDict, total=False):
    """The options of an agent's run: those of a run, without steps asked ahead."""

    max_samples: int
    redraws: int
    retries: int
    timeout: float
    flag_tokens: int | None
    in_flight: int
    first_temperature: float | None
    temperature: float | None
    budget_calls: int | None
    budget_tokens: int | None
    budget_seconds: float | None
    budget_usd: Decimal | str | float | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    allow_identical: bool
    share_draws: bool
    remedies: Sequence[str]
    seed: int
    record: Record


class Agent:
    """Divides tasks, solves the parts and composes their results; each choice on the way is voted on.

    `model` plays all roles but those that `roles` gives to others (a model, or a `Role`): decomposer,
    decomposition_discriminator, solver, solution_discriminator, composer, validator, minimality. Each question has
    2k - 1 candidates; where they differ, judges choose, first to `k` of 2k - 1 votes (`judge="ahead_by_k"`: leading by
    k, of 4k at most). Where they agree on nothing there are fresh candidates, `rounds` times at most.

    `decompose` names who divides (binary, nary:N, or without a model numbered, sentences, sequential, simple, none) or
    is a function `task -> Division`; `minimal` who says that a task is small enough (never, always, one_act,
    no_sequence, a function, or model: judges). At `max_depth`, or where its share of `max_subtasks` runs out, a task is
    solved as it stands. `compositions` are functions of one's own by name. `format` and `key` say how answers are read
    and which are the same. `validate`: whose answers are validated, none, the last `answer`, or of `every` task.
    `working_directory`, `context` and `tools` are told to all roles; `prompts` are files in place of theirs. Whoever
    solves a task as it stands may call the tools, as far as `allow` lets their categories; a text names one that is
    told of alone. Calls are judged as answers are, and carried out once.

    `red_flags` is a preset or a list of flags. `k`, `red_flags` and all else may be changed between runs. The options
    are those of a run. Raises UsageError for what cannot be.
    """

    def __init__(
        self,
        model: Asked | None = None,
        *,
        k: int = 3,
        max_depth: int = DEFAULT_DEPTH,
        red_flags: RedFlags | None = None,
        extra_flags: Sequence[RedFlagCheck] = (),
        max_tokens: int = 2048,
        name: str = "agent",
        logger: logging.Logger | None = None,
        journal: Journal | str | Path | None = None,
        roles: Mapping[str, Role | Asked] | None = None,
        decompose: str | Decompose = "binary",
        minimal: str | IsMinimal = "never",
        max_subtasks: int = 510,
        judge: JudgeRule = "first_to_k",
        rounds: int = 3,
        compositions: Mapping[str, Combine] | None = None,
        format: Format | None = None,
        key: str | Key | None = None,
        validate: Validate = "none",
        working_directory: str | Path | None = None,
        context: str | Sequence[str] = (),
        tools: Toolbox | Sequence[str | Tool | Callable[..., Any]] = (),
        allow: Collection[str] = READ_ONLY,
        prompts: Mapping[str, str | Path] | None = None,
        prices: Prices | None = None,
        free: bool = False,
        on_event: Observer | Sequence[Observer] = (),
        clock: Clock | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.model, self.k, self.max_depth, self.red_flags, self.max_tokens = model, k, max_depth, red_flags, max_tokens
        self.extra_flags, self.name, self.logger, self.journal = extra_flags, name, logger, journal
        self.roles = dict(roles or {})
        self.decompose, self.minimal, self.max_subtasks = decompose, minimal, max_subtasks
        self.judge, self.rounds, self.compositions = judge, rounds, dict(compositions or {})
        self.format, self.key, self.validate = format, key, validate
        self.working_directory, self.tools, self.allow = working_directory, tools, allow
        self.prompts = dict(prompts or {})
        self.context = [context] if isinstance(context, str) else list(context)
        self.prices, self.free, self.on_event, self.clock = prices, free, on_event, clock
        self.options: dict[str, Any] = dict(options)
        # Here, so that a mistake is told of where it is made; at each run once more, since all may be changed in
        # between.
        self._checked()

    async def run(self, task: str, *, run: str | None = None) -> AgentResult:
        """Return what a task came to; a cap, a budget, a Stop or an error of one subtask is a status, not an error.

        `run` goes on with a run that the journal holds, of the same task and agent: nothing decided is asked again.
        Raises UsageError for what cannot be run, JournalError, and what else ends a run before it begins.
        """
        # Before a run is begun: what cannot be run leaves none in the journal.
        ways, foretold = self._ways(task), self.forecast(task)
        if run is None:
            self._check_caps()
        conduct: Conduct | None = None
        solving: Solving | None = None
        answer: Any = ABSENT
        failure: MdapError | None = None
        try:
            async with conducting(
                KIND,
                self.model,
                roles=self._cast(),
                origin=self._origin(task),
                identity={name: value for name, value in self._origin(task).items() if name not in _MAY_CHANGE},
                journal=self.journal,
                run=run,
                rule=_judging(self.judge, self.k),
                prices=self.prices,
                free=self.free,
                red_flags=self.red_flags,
                extra_flags=self.extra_flags,
                tool_flags=self._box().typed,
                on_event=self.on_event,
                clock=self.clock,
                max_tokens=self.max_tokens,
                **self.options,
            ) as conduct:
                conduct.emit(Foretold(task, foretold))
                solving = Solving(ways, conduct.branch, self._teller(conduct))
                answer = await solving.run(task)
        # What is wrong with the call, or with the journal, is no outcome of the task.
        except (UsageError, JournalError):
            raise
        except MdapError as error:
            # It failed before it began: there is no run to tell of.
            if conduct is None or solving is None:
                raise
            failure = error
        return self._result(conduct, solving, answer, failure, foretold)

    async def resume(self, run: str) -> AgentResult:
        """Return what the run that the journal holds under this id came to, taken up where its journal ends."""
        with opened(self.journal) as store:
            kind, origin = origin_of(store, run)
        if kind != KIND:
            raise UsageError(f"run {run} is of the kind {kind}, not {KIND}", remedy="resume it as what it is")
        # Not the `run` of a form of this class that blocks.
        return await Agent.run(self, origin["task"], run=run)

    def forecast(self, task: str) -> Forecast:
        """Return the calls that a task may take, before any is made; raises UsageError for an empty task."""
        ways = self._ways(task)
        bounds = Bounds(
            k=self.k,
            max_depth=self.max_depth,
            max_subtasks=self.max_subtasks,
            judges=2 * self.k - 1 if self.judge == "first_to_k" else CONTENTIOUS * self.k,
            rounds=self.rounds,
            # Through Settings, which has the default and the check.
            redraws=Settings(**{name: self.options[name] for name in self.options if name == "redraws"}).redraws,
            validated=("none", "answer", "every").index(self.validate),
            is_computed=lambda division: is_known(division.compose, self.compositions),
            minimal=ways.minimal,
            # One more: a call past the last is a ballot, too, and comes to the outcome limit.
            tool_calls=ways.kit.rounds + 1 if ways.kit.tools else 0,
        )
        return forecast(task, ways.decomposer, bounds)

    def models(self) -> list[Asked]:
        """Return the models that were handed in, whoever plays which role."""
        given = [self.model, *(one.model if isinstance(one, Role) else one for one in self.roles.values())]
        return [one for one in given if one is not None]

    # ---- what it is made of ----

    def _checked(self) -> None:
        for name, least in (("k", 1), ("max_depth", 0), ("rounds", 1), ("max_subtasks", 0), ("max_tokens", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name}={value!r} is out of range", remedy=f"give {name} of {least} or more")
        for name, known in (("judge", ("first_to_k", "ahead_by_k")), ("validate", ("none", "answer", "every"))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}={getattr(self, name)!r} is unknown", remedy=f"give {', '.join(known)}")
        for role in self.roles:
            if role not in ROLES:
                raise unknown("role", role, ROLES)
        for option in self.options:
            if option not in Options.__optional_keys__:
                raise unknown("option", option, Options.__optional_keys__)
        # Grouping by a model is a pairwise judgement; here candidates are judged all at once.
        if isinstance(self.key, Judged):
            raise UsageError("an agent's answers are not grouped by a model", remedy="its judges choose among them")
        # What follows is made for what it raises; each run makes its own.
        decomposer(self.decompose)
        if self.minimal != "model":
            is_minimal(self.minimal)
        Wording(self.prompts)
        self._box()

    def _check_caps(self) -> None:
        """Raise UsageError where no question can have its candidates; a run that is taken up has caps of its own."""
        drawn, most = 2 * self.k - 1, self.options.get("max_samples", Settings().max_samples)
        if isinstance(most, int) and drawn > most:
            raise UsageError(
                f"k={self.k} takes {drawn} candidates for each question, more than max_samples={most}",
                remedy=f"give --max-samples {4 * self.k}, or a smaller k",
            )

    def _ways(self, task: str) -> Ways:
        self._checked()
        if not isinstance(task, str) or not task.strip():
            raise UsageError("the task is empty", remedy='give a task: mdap solve "TASK"')
        # No prompt could be sent with them, and no journal hold them.
        if any("\ud800" <= letter <= "\udfff" for letter in task):
            raise UsageError("the task holds halves of characters", remedy="give text that UTF-8 can write")
        form, box = formats.text() if self.format is None else self.format, self._box()
        key, _ = resolved(self.key)
        # Else 1 and 1.0 would be two answers where the schema says number.
        if key is None and form.schema is not None:
            key = by_schema(form.schema)
        return Ways(
            decomposer=decomposer(self.decompose),
            minimal=None if self.minimal == "model" else is_minimal(self.minimal),
            max_depth=self.max_depth,
            max_subtasks=self.max_subtasks,
            rounds=self.rounds,
            form=form,
            key=key,  # type: ignore[arg-type]  # Judged was refused above
            validate=self.validate,
            own=self.compositions,
            wording=Wording(self.prompts),
            context=(*self._told(), *(f"Tool: {one.name}: {one.description}" for one in box.schemas.values())),
            kit=Kit(box.schemas, box.hands, box.rounds),
        )

    def _told(self) -> list[str]:
        """Return what all roles are told besides the task, and the tools that can be called."""
        told = [] if self.working_directory is None else [f"Working directory: {self.working_directory}"]
        # A bare name is a tool that somebody else has: it is told of, and cannot be called.
        named = [] if isinstance(self.tools, Toolbox) else [one for one in self.tools if isinstance(one, str)]
        return [*told, *self.context, *(f"Tool: {name}" for name in named)]

    def _box(self) -> Toolbox:
        if isinstance(self.tools, Toolbox):
            return self.tools
        return Toolbox([one for one in self.tools if not isinstance(one, str)], allow=self.allow)

    def _cast(self) -> dict[str, Role]:
        """Return all roles, each with the rule that its votes are counted by."""
        collect, judging = f"collect:{2 * self.k - 1}", _judging(self.judge, self.k)
        # Candidates are collected and not raced: where they differ, judges choose.
        rules = dict.fromkeys((DECOMPOSER, SOLVER, COMPOSER), collect)
        rules |= dict.fromkeys((DECOMPOSITION_DISCRIMINATOR, SOLUTION_DISCRIMINATOR), judging)
        rules |= dict.fromkeys((VALIDATOR, MINIMALITY), judging)
        cast = {}
        for role, rule in rules.items():
            given = self.roles.get(role)
            made = given if isinstance(given, Role) else Role(given)
            cast[role] = made if made.rule is not None else msgspec.structs.replace(made, rule=rule)
        return cast

    def _origin(self, task: str) -> dict[str, Any]:
        """Return what a resume needs, as JSON values; functions stand under their names, and have to be given again."""
        box = self._box()
        return {
            "task": task,
            "name": self.name,
            "k": self.k,
            "max_depth": self.max_depth,
            "max_subtasks": self.max_subtasks,
            "max_tokens": self.max_tokens,
            # An object cannot be written down: whoever resumes hands it in again.
            "model": self.model if isinstance(self.model, str) else None,
            "roles": {role: one for role, one in self.roles.items() if isinstance(one, str)},
            "red_flags": self.red_flags if isinstance(self.red_flags, str) else None,
            "decompose": decomposer(self.decompose).spec,
            "minimal": self.minimal if isinstance(self.minimal, str) else f"own:{self.minimal.__qualname__}",
            "judge": self.judge,
            "rounds": self.rounds,
            "compositions": sorted(self.compositions),
            "format": {"format": "text"} if self.format is None else self.format.spec,
            "key": resolved(self.key)[1],
            "validate": self.validate,
            "told": self._told(),
            **({"tools": ",".join(box.schemas)} if box.schemas else {}),
            "prompts": {role: str(path) for role, path in self.prompts.items()},
            "wording": Wording(self.prompts).digest,
        }

    # ---- what is heard and said of it ----

    def _teller(self, conduct: Conduct) -> Callable[[Divided | SubtaskSettled], None]:
        heard = logger if self.logger is None else self.logger

        def _tell(event: Divided | SubtaskSettled) -> None:
            name = event.number or "the task"
            if isinstance(event, Divided):
                heard.info("%s: %s divided into %d", self.name, name, len(event.division["subtasks"]))
            else:
                heard.info("%s: %s %s", self.name, name, event.status)
            conduct.emit(event)

        return _tell

    def _result(
        self, conduct: Conduct, solving: Solving, answer: Any, failure: MdapError | None, foretold: Forecast
    ) -> AgentResult:
        tree = solving.tree
        statistics = statistics_of(conduct, tree)
        warnings = warnings_of(statistics)
        heard = logger if self.logger is None else self.logger
        for warning in warnings:
            heard.warning("%s: %s", self.name, warning)
        return AgentResult(
            conduct.run,
            "done" if failure is None else status_of(failure),
            answer,
            "" if failure is None else str(failure),
            statistics,
            tree,
            warnings,
            foretold,
        )


def _judging(judge: JudgeRule, k: int) -> str:
    spec = f"first_of:{k}" if judge == "first_to_k" else f"gate:{k}"
    # As the rule writes itself, which is what fingerprints compare.
    return rule_named(spec).spec


__all__ = ["Agent", "AgentResult", "Options"]
