"""Runs long chains of small LLM steps without errors: the MAKER framework (arXiv:2511.09030) for Python.

Importing this does nothing but define the names; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdap import aio, errors, models, tasks
    from mdap.blocking import Agent, ask, calibrate, do, execute, map, plan, resume, run, vote
    from mdap.core.errors import RedFlag, Stop
    from mdap.core.estimate import estimate
    from mdap.core.records import ABSENT, Message, Move
    from mdap.result import Result
    from mdap.tasks.of_functions import task

# By name: whoever needs one of them need not wait until all are loaded.
_HOMES = {
    "aio": "mdap.aio",
    "errors": "mdap.errors",
    "models": "mdap.models",
    "tasks": "mdap.tasks",
    "Agent": "mdap.blocking",
    "ask": "mdap.blocking",
    "calibrate": "mdap.blocking",
    "do": "mdap.blocking",
    "estimate": "mdap.core.estimate",
    "execute": "mdap.blocking",
    "plan": "mdap.blocking",
    "map": "mdap.blocking",
    "resume": "mdap.blocking",
    "run": "mdap.blocking",
    "vote": "mdap.blocking",
    "ABSENT": "mdap.core.records",
    "Message": "mdap.core.records",
    "Move": "mdap.core.records",
    "RedFlag": "mdap.core.errors",
    "Stop": "mdap.core.errors",
    "Result": "mdap.result",
    "task": "mdap.tasks.of_functions",
}

__all__ = [
    "ABSENT",
    "Agent",
    "Message",
    "Move",
    "RedFlag",
    "Result",
    "Stop",
    "aio",
    "ask",
    "calibrate",
    "do",
    "errors",
    "estimate",
    "execute",
    "map",
    "models",
    "plan",
    "resume",
    "run",
    "task",
    "tasks",
    "vote",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mdap' has no attribute {name!r}")
    module = import_module(home)
    return module if home == f"mdap.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
