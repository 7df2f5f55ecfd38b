"""Scripted roles of an agent that multiplies: each reads what it was sent, and answers as it is told to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from mdap.core.records import Request
from mdap.models.scripted import Scripted, scripted

ROLES = {
    "Divide a task": "decomposer",
    "Choose, among several ways": "decomposition_discriminator",
    "Solve a task": "solver",
    "Choose, among several answers": "solution_discriminator",
    "Compose the result": "composer",
    "Judge whether an answer": "validator",
    "Judge whether a task": "minimality",
}
Says = Callable[[str, Request], str]


def role_of(request: Request) -> str:
    text = request.messages[-1].content
    return next(role for start, role in ROLES.items() if text.startswith(start))


def section(request: Request, name: str) -> str:
    """What stands under a heading of the prompt."""
    text = request.messages[-1].content
    found = re.search(rf"^## {name}\n(.*?)(?=\n\n## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no {name} in {text}"
    return found[1]


def factors(task: str) -> tuple[int, int]:
    found = re.fullmatch(r"Multiply (\d+) by (\d+)\.", task)
    assert found is not None, task
    return int(found[1]), int(found[2])


def divided(task: str, compose: str = "Ten times the first, plus the second.") -> str:
    """By tens and ones; a factor of one digit is left whole."""
    a, b = factors(task)
    parts = [] if a < 10 else [{"task": f"Multiply {part} by {b}.", "needs": []} for part in divmod(a, 10)]
    return json.dumps({"subtasks": parts, "compose": compose if parts else ""})


def right(role: str, request: Request) -> str:
    """What a role says that makes no mistake."""
    task = section(request, "Task")
    match role:
        case "decomposer":
            return divided(task)
        case "solver":
            a, b = factors(task)
            return str(a * b)
        case "composer":
            tens, ones = results(request)
            return str(10 * int(tens) + int(ones))
        case "decomposition_discriminator":
            return chosen(request, json.loads(divided(task)))
        case "solution_discriminator":
            a, b = factors(task)
            return chosen(request, str(a * b))
        case _:
            return '{"verdict": "Yes", "reason": ""}'


def results(request: Request) -> list[Any]:
    return [json.loads(line)["result"] for line in section(request, "Results of the subtasks").splitlines()]


def candidates(request: Request) -> list[Any]:
    return [json.loads(line.partition(". ")[2]) for line in section(request, "Candidates").splitlines()]


def chosen(request: Request, wanted: Any) -> str:
    found = candidates(request)
    if wanted not in found:
        return json.dumps({"choice": 0, "reason": "none is right"})
    return json.dumps({"choice": found.index(wanted) + 1, "reason": ""})


def model(**says: Says) -> Scripted:
    """Roles that are right, but for those that are told what to say."""

    def _reply(request: Request) -> str:
        role = role_of(request)
        return says.get(role, right)(role, request)

    return scripted(lambda request: _reply(request))


def asked(of: Scripted, role: str) -> list[Request]:
    return [request for request in of.requests if role_of(request) == role]
