"""What tests of odd bodies share."""

from __future__ import annotations

import copy
from typing import Any


def changed(body: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """The body with another value in one place."""
    if not place:
        return value
    body = copy.deepcopy(body)
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return body
