"""What a client of the server may name: tasks and models that ship, and what the owner allowed at start.

A client may be led by a text that it has read. So no name of its own is imported, no address or file of its own is
opened, and no key goes anywhere but where the owner's environment says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mdap.core.errors import UsageError
from mdap.core.records import ABSENT
from mdap.core.rules import RULES
from mdap.core.spec import Spec, parse_spec
from mdap.models.catalog import MODELS
from mdap.models.several import ELSE, MIXED
from mdap.planning.executor_settings import ExecutorSettings
from mdap.protocols import Task
from mdap.tasks.catalog import TASKS, restored

CLIENT = "client"
# Where a request goes, and files that it is written to or read from: for the owner alone to say.
_OWNERS = ("base_url", "record_http", "replay_http")


class Allowed(msgspec.Struct, frozen=True):
    """Specs beyond the catalogues that the owner of the server allows.

    `tasks` are `package.module:Class`, with whatever options; `models` are whole specs. `model` is used where a client
    names none; it is allowed, too. `planning` are settings of plans and their execution for what a client does not say;
    their models play where neither a client nor `model` names one.
    """

    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    model: str | None = None
    planning: ExecutorSettings | None = None

    def __post_init__(self) -> None:
        for spec in self.tasks:
            parsed = parse_spec(spec)
            # Options are for a client to choose: allowed with some of them, a class would be refused with any other.
            if parsed.options or parsed.bare is None:
                raise UsageError(f"{spec!r} is no class to allow", remedy="write package.module:Class, without options")

    def check_task(self, spec: str) -> str:
        """Return the spec of a task that a client may run; raises UsageError for any other."""
        # Here as well as in the tool's schema: the tasks of stored runs come this way, too.
        if len(spec) > 100_000:
            raise UsageError("task: the spec is longer than 100,000 characters", remedy="give a shorter one")
        parsed = parse_spec(spec)
        # Looked up before anything is imported, for importing runs code.
        if parsed.name in TASKS or f"{parsed.name}:{parsed.bare}" in self.tasks:
            return spec
        there = ", ".join([*sorted(TASKS), *self.tasks])
        raise UsageError(
            f"task: {spec[:200]!r} is not allowed here",
            remedy=f"there is: {there}; the owner of the server allows others by --allow-task package.module:Class",
        )

    def check_rule(self, spec: str) -> str:
        """Return the spec of a rule that a client may name, one that ships; raises UsageError for any other."""
        if parse_spec(spec).name in RULES:
            return spec
        raise UsageError(f"rule: {spec[:200]!r} is not allowed here", remedy=f"there is: {', '.join(sorted(RULES))}")

    def check_model(self, spec: str | None) -> str:
        """Return the spec of a model that a client may use, the server's own for None; raises UsageError for others."""
        if spec is None:
            if self.model is None:
                raise UsageError(
                    "model: none is named, and this server has none of its own",
                    remedy="name one such as openai:gpt-4.1-mini, or `client` to answer the prompts yourself "
                    "(next_steps, submit_votes)",
                )
            return self.model
        if spec == CLIENT or self._is_own(spec):
            return spec
        for sign in (ELSE, MIXED):
            if sign in spec:
                # Each by itself, so that one that is allowed brings in none that is not.
                for part in spec.split(sign):
                    self._check_one(part)
                return spec
        self._check_one(spec)
        return spec

    def planned(self, kind: str, model: str | None) -> tuple[str | None, dict[str, Any]]:
        """Return the model of a plan, or of its execution, that names `model`, and the owner's settings for it.

        The model is None where the owner's settings name one for each role. Raises UsageError as `check_model`.
        """
        if self.planning is None:
            return self.check_model(model), {}
        if model is None and self.model is None:
            return None, self.planning.options(kind)
        return self.check_model(model), self.planning.options(kind, models=False)

    def check_remedies(self, remedies: Sequence[str]) -> tuple[str, ...]:
        """Return the remedies, none of which names a model that a client may not use."""
        for remedy in remedies:
            if remedy.startswith("model:"):
                self._check_one(remedy.removeprefix("model:"))
        return tuple(remedies)

    def check_draft(self, draft: str | None) -> str | None:
        """Return who drafts moves: the task, or a model that a client may use."""
        if draft not in (None, "task"):
            self._check_one(draft)
        return draft

    def restore(self, task: str, start: Any) -> Task:
        """Return the task of a stored run; raises UsageError for one that a client may not run."""
        self.check_task(task)
        # A question's format may name a class as well, and would import it to read answers.
        form = start.get("format") if isinstance(start, dict) else None
        if start is not ABSENT and isinstance(form, dict) and form.get("format") == "record":
            self.check_task(str(form.get("type")))
        return restored(task, start)

    def _is_own(self, spec: str) -> bool:
        """Say whether the owner named this very model."""
        of_roles = () if self.planning is None else self.planning.models.values()
        # To the letter: the same name with another option may be another address.
        return spec == self.model or spec in self.models or spec in of_roles

    def _check_one(self, spec: str) -> None:
        if self._is_own(spec):
            return
        parsed = parse_spec(spec)
        # Neither can be one part of several: a client needs a mailbox of its run, a script what a program gives it.
        if parsed.name not in MODELS or parsed.name in (CLIENT, "scripted"):
            raise _refused(spec, "is not allowed here")
        given = _named(parsed) & set(_OWNERS)
        if given:
            raise _refused(spec, f"says {min(given)}, which is for the owner of the server to say")


def _named(parsed: Spec) -> set[str]:
    """Return the options that a spec names, also where a bare value swallowed one."""
    return {key.strip().lower() for key, _ in parsed.options}


def _refused(spec: str, why: str) -> UsageError:
    there = ", ".join(sorted(set(MODELS) - {"scripted"}))
    return UsageError(
        f"model: {spec[:200]!r} {why}",
        remedy=f"there is: {there}; the owner of the server allows others by --allow-model SPEC",
    )
