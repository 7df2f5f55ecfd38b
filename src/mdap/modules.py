"""Code of a user's own, found by the name of its module. What is made of it is not known here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mdap.core.errors import UsageError
from mdap.core.spec import Spec


def module_of(what: str, spec: Spec, text: str, otherwise: Callable[[Spec], UsageError]) -> Any:
    """Return the module that a spec names, which is a `what` and was written as `text`.

    Raises UsageError where there is none, or one that it needs is missing; `otherwise` gives that for one word.
    """
    try:
        return importlib.import_module(spec.name)
    except ModuleNotFoundError as error:
        absent = error.name or ""
        # The module is there, and one that it imports is not: that is what has to be installed.
        if spec.name != absent and not spec.name.startswith(f"{absent}."):
            raise UsageError(f"{what} {text!r} needs {absent!r}", remedy=f"install {absent}") from error
        # One word is more likely a misspelt name of what ships than a module.
        if "." not in spec.name:
            raise otherwise(spec) from None
        raise UsageError(
            f"{what} {text!r}: there is no module {absent!r}",
            remedy="start in the folder that holds it, or put that folder on PYTHONPATH",
        ) from None
