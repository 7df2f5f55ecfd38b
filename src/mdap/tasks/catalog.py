"""Tasks by name: the ones that ship, and a user's own by `package.module:Class`. No task's rules live here."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from mdap.core.errors import UsageError
from mdap.core.foreign import Foreign
from mdap.core.records import ABSENT
from mdap.core.spec import Spec, build, parse_spec, unknown
from mdap.protocols import Task
from mdap.tasks.hanoi import hanoi
from mdap.tasks.question import question
from mdap.tasks.running_sum import running_sum

TASKS: dict[str, Callable[..., Task]] = {"hanoi": hanoi, "question": question, "running_sum": running_sum}


def task(given: str | Task) -> Task:
    """Return the task that a spec names, or the object itself once it is seen to be a task.

    A spec is `hanoi:disks=5`, or `package.module:Class[,key=value...]` for a class of one's own, which is imported and
    called with the options, each converted by its annotation. Raises UsageError for a name, option, module or class
    that is not there, and for an object that lacks a method of a task.
    """
    return _checked(_named(parse_spec(given), given) if isinstance(given, str) else given, given)


def restored(given: str, start: Any) -> Task:
    """Return the task of a stored run, from its spec and the state that it began in.

    A task has `restored(state)` where its spec does not hold all that makes it. Raises UsageError where the journal
    does not either, as for a function of one's own.
    """
    made = task(given)
    restore: Callable[[Any], Task] | None = getattr(made, "restored", None)
    # Killed before its first state was durable, a run has decided nothing; its task says what is missing.
    return made if restore is None or start is ABSENT else restore(start)


def in_form(task: Task, form: str | None) -> Task:
    """Return `task` with prompts and replies in the form that a model asks for, or as it is where it has no forms.

    `form` None stands for a model that asks for none. Raises UsageError for a form that the task lacks.
    """
    rendered = getattr(task, "in_form", None)
    if form is None or rendered is None:
        return task
    made: Task = rendered(form)
    return made


_METHODS = ("start", "is_done", "prompt", "parse")
_BARE = {"hanoi": "disks", "question": "prompt", "running_sum": "length"}


def _named(spec: Spec, text: str) -> Any:
    if spec.name in TASKS:
        return _made(spec, TASKS[spec.name], _BARE.get(spec.name))
    if spec.bare is None or not all(part.isidentifier() for part in f"{spec.name}.{spec.bare}".split(".")):
        raise _unknown(spec)
    found = _found(_module(spec, text), spec)
    if not callable(found):
        return found
    # What is called here is somebody's own code, and may open files, ask for keys, and fail at it.
    with Foreign(f"making {spec.name}:{spec.bare}"):
        return _made(Spec(f"{spec.name}:{spec.bare}", None, spec.options), found, None)


def _unknown(spec: Spec) -> UsageError:
    error = unknown("task", spec.name, TASKS)
    error.remedy += "; a class of your own is written package.module:Class"
    return error


def _module(spec: Spec, text: str) -> Any:
    try:
        return importlib.import_module(spec.name)
    except ModuleNotFoundError as error:
        absent = error.name or ""
        if spec.name != absent and not spec.name.startswith(f"{absent}."):
            raise UsageError(f"task {text!r} needs {absent!r}", remedy=f"install {absent}") from error
        if "." not in spec.name:
            raise _unknown(spec) from None
        raise UsageError(
            f"task {text!r}: there is no module {absent!r}",
            remedy="start in the folder that holds it, or put that folder on PYTHONPATH",
        ) from None


def _found(module: Any, spec: Spec) -> Any:
    found = module
    for part in str(spec.bare).split("."):
        if not hasattr(found, part):
            own = [name for name in dir(found) if callable(getattr(found, name)) and not name.startswith("_")]
            raise unknown(f"class in {spec.name}", part, own)
        found = getattr(found, part)
    return found


def _made(spec: Spec, factory: Callable[..., Any], bare: str | None) -> Any:
    given = {bare if spec.bare is not None else None, *(key for key, _ in spec.options)}
    needed = [
        name
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in given
    ]
    if needed:
        options = ",".join(f"{name}=..." for name in needed)
        raise UsageError(f"{spec.name} needs {' and '.join(needed)}", remedy=f"write {spec.name}:{options}")
    return build(spec, factory, bare=bare)


def _checked(found: Any, given: Any) -> Task:
    if isinstance(found, type):
        raise UsageError(f"{found.__name__} is a class, not a task", remedy=f"make one of it: {found.__name__}()")
    for method in _METHODS:
        if not callable(getattr(found, method, None)):
            raise UsageError(
                f"{given!r} ({type(found).__name__}) is no task: it has no method {method}",
                remedy=f"a task has {', '.join(_METHODS)}",
            )
    if getattr(found, "vote_on", "pair") == "action" and not callable(getattr(found, "apply", None)):
        raise UsageError(
            f"{given!r} votes on the action but has no method apply",
            remedy="give it `apply(state, action)`, or vote_on = 'pair'",
        )
    made: Task = found
    return made


__all__ = ["TASKS", "in_form", "restored", "task"]
