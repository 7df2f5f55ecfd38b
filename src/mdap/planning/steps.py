"""The steps of a plan: what they hold, how they are written as JSON, and how they are read, without repair."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import MdapError, RedFlag, UsageError
from mdap.core.strictjson import read_json

Steps: TypeAlias = "str | bytes | Sequence[PlanStep | Mapping[str, Any] | str]"


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    `required_steps` are the places in the plan, from 0, of the steps whose results it needs. `requires_format`: who
    carries it out is told the format of the result; `vote_requires_format`: so are its judges. `extra_context` goes
    along with it.
    """

    task: str
    required_steps: tuple[int, ...] = ()
    requires_format: bool = False
    extra_context: str = ""
    vote_requires_format: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON values, its keys in camelCase; `voteRequiresFormat` only where it is set."""
        found: dict[str, Any] = {
            "task": self.task,
            "requiredSteps": list(self.required_steps),
            "requiresFormat": self.requires_format,
            "extraContext": self.extra_context,
        }
        # IgniteUI MAKER's documented steps have four keys; a fifth that is always there would be noise to its readers.
        return found | ({"voteRequiresFormat": True} if self.vote_requires_format else {})


def write_steps(steps: Iterable[PlanStep]) -> str:
    """Return a plan as an indented JSON array of its steps."""
    return json.dumps([step.to_dict() for step in steps], ensure_ascii=False, indent=2)


def read_steps(given: Steps) -> tuple[PlanStep, ...]:
    """Return the steps of a plan: JSON text, objects, records, or plain texts, each the task of a step.

    Keys are read in any case, snake_case too; unknown ones are left out, and so is an End behind the last step.
    Raises UsageError whose `code` says what is wrong: plan-not-json, plan-not-steps, plan-no-task or plan-bad-value.
    What the steps require of one another is for `mdap.planning.graph`.
    """
    value: Any = given
    if isinstance(given, str | bytes):
        try:
            value = read_json(given if isinstance(given, str) else given.decode())
        except (RedFlag, UnicodeDecodeError) as error:
            raise plan_error("plan-not-json", f"the plan is {error}", "give a JSON array of steps") from None
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise plan_error(
            "plan-not-steps", f"a plan is a list of steps, not {type(value).__name__}", "give a JSON array of steps"
        )
    steps = [read_step(one, place, plan_error) for place, one in enumerate(value)]
    while steps and is_end(steps[-1].task):
        steps.pop()
    for place, step in enumerate(steps):
        if is_end(step.task):
            # Left out here, it would move the places of all that follow.
            raise plan_error("plan-bad-value", f"step {place} is the end, and steps stand behind it", "take it out")
    return tuple(steps)


def read_step(
    value: Any, place: int, error: Callable[[str, str, str], MdapError], field: str = "requiredSteps"
) -> PlanStep:
    """Return one step; `error(code, message, remedy)` makes what is raised for a value that is none."""
    if isinstance(value, PlanStep):
        return value
    # Planners write plain lists of texts as well; there is but one thing that such a text can be.
    if isinstance(value, str):
        value = {"task": value}
    if not isinstance(value, Mapping):
        raise error("plan-not-steps", f"step {place} is {_shown(value)}, not an object", 'write {"task": ...}')
    # By any spelling: IgniteUI MAKER writes PascalCase, documents camelCase, and Python writes snake_case.
    found = _by_name(value, place, error)
    task = found.get("task")
    if not isinstance(task, str) or not task.strip():
        raise error("plan-no-task", f"step {place} has no task", "give each step a text as its `task`")
    return PlanStep(
        task=task,
        required_steps=_places(found.get("requiredsteps"), place, error),
        requires_format=_switch(found, "requiresformat", place, error),
        extra_context=_text(found.get("extracontext"), place, error),
        vote_requires_format=_switch(found, "voterequiresformat", place, error),
    )


def is_end(task: str) -> bool:
    """Say whether a task is the word by which a planner ends its plan."""
    # The word alone: "End the loop" is a step.
    return task.strip().rstrip(".!").casefold() == "end"


def plan_error(code: str, message: str, remedy: str) -> UsageError:
    """Return the error of a plan that cannot be carried out, under a name of its own."""
    # Codes, so that a client can tell them apart without reading messages.
    error = UsageError(message, remedy=remedy)
    error.code = code
    return error


def _by_name(value: Mapping[Any, Any], place: int, error: Callable[[str, str, str], MdapError]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = str(key).replace("_", "").casefold()
        if name in found:
            raise error("plan-bad-value", f"step {place} has {key!r} twice, in two spellings", "give it once")
        found[name] = inner
    return found


def _places(value: Any, place: int, error: Callable[[str, str, str], MdapError]) -> tuple[int, ...]:
    if value is None:
        return ()
    # True is an int to Python, and would require step 1.
    whole = isinstance(value, list | tuple) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    if not whole:
        raise error(
            "plan-bad-value",
            f"step {place} requires {_shown(value)}, which is no list of whole numbers",
            "name the steps that it requires by their places from 0",
        )
    return tuple(value)


def _switch(found: Mapping[str, Any], name: str, place: int, error: Callable[[str, str, str], MdapError]) -> bool:
    value = found.get(name)
    if value is not None and not isinstance(value, bool):
        raise error("plan-bad-value", f"step {place} has {name}={_shown(value)}", "give true or false")
    return bool(value)


def _text(value: Any, place: int, error: Callable[[str, str, str], MdapError]) -> str:
    if value is not None and not isinstance(value, str):
        raise error("plan-bad-value", f"step {place} has extracontext={_shown(value)}", "give a text")
    return value or ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
