"""Tasks by name: the ones that ship, and a user's own by `package.module:Class`. No task's rules live here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdap.core.errors import UsageError
from mdap.core.records import ABSENT
from mdap.core.spec import Spec, parse_spec, unknown
from mdap.protocols import Task
from mdap.tasks.hanoi import hanoi
from mdap.tasks.own import is_own, made, own
from mdap.tasks.problems import multiplication, sorting
from mdap.tasks.question import question
from mdap.tasks.running_sum import running_sum

TASKS: dict[str, Callable[..., Task]] = {
    "hanoi": hanoi,
    "multiplication": multiplication,
    "question": question,
    "running_sum": running_sum,
    "sorting": sorting,
}


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
_BARE = {
    "hanoi": "disks",
    "multiplication": "digits",
    "question": "prompt",
    "running_sum": "length",
    "sorting": "n",
}


def _named(spec: Spec, text: str) -> Any:
    if spec.name in TASKS:
        return made(spec, TASKS[spec.name], _BARE.get(spec.name))
    if not is_own(spec):
        raise _unknown(spec)
    return own("task", spec, text, _unknown)


def _unknown(spec: Spec) -> UsageError:
    error = unknown("task", spec.name, TASKS)
    error.remedy += "; a class of your own is written package.module:Class"
    return error


def _checked(found: Any, given: Any) -> Task:
    # From a spec a class comes called already; in a call from code its brackets are easily left out.
    if isinstance(found, type):
        raise UsageError(f"{found.__name__} is a class, not a task", remedy=f"make one of it: {found.__name__}()")
    # By presence, before the first call is paid for. What methods return is checked as they are called.
    for method in _METHODS:
        if not callable(getattr(found, method, None)):
            raise UsageError(
                f"{given!r} ({type(found).__name__}) is no task: it has no method {method}",
                remedy=f"a task has {', '.join(_METHODS)}",
            )
    # Votes on the action alone do not say the next state: code has to.
    if getattr(found, "vote_on", "pair") == "action" and not callable(getattr(found, "apply", None)):
        raise UsageError(
            f"{given!r} votes on the action but has no method apply",
            remedy="give it `apply(state, action)`, or vote_on = 'pair'",
        )
    made: Task = found
    return made


__all__ = ["TASKS", "in_form", "restored", "task"]
