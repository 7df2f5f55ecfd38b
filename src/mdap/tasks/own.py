"""What a user's own `package.module:Class[,key=value...]` names: imported, and called with its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mdap.core.errors import UsageError
from mdap.core.foreign import Foreign
from mdap.core.spec import Spec, build, unknown
from mdap.modules import module_of


def is_own(spec: Spec) -> bool:
    """Say whether a spec is of the form `package.module:Class`."""
    return spec.bare is not None and all(part.isidentifier() for part in f"{spec.name}.{spec.bare}".split("."))


def own(what: str, spec: Spec, text: str, otherwise: Callable[[Spec], UsageError]) -> Any:
    """Return what such a spec names, called with its options if it can be called.

    `what` it is to be (task, rule) stands in errors; `otherwise` gives the one for a name that is no module. Raises
    UsageError for a module, class or option that is not there.
    """
    found = _found(module_of(what, spec, text, otherwise), spec)
    if not callable(found):
        return found
    # What is called here is somebody's own code, and may open files, ask for keys, and fail at it.
    with Foreign(f"making {spec.name}:{spec.bare}"):
        return made(Spec(f"{spec.name}:{spec.bare}", None, spec.options), found, None)


def made(spec: Spec, factory: Callable[..., Any], bare: str | None) -> Any:
    """Return what a factory makes of the options of a spec; raises UsageError naming those that it needs."""
    # Before the call, whose TypeError would not say how options are written.
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


def _found(module: Any, spec: Spec) -> Any:
    found = module
    # A class may stand within another one.
    for part in str(spec.bare).split("."):
        if not hasattr(found, part):
            theirs = [name for name in dir(found) if callable(getattr(found, name)) and not name.startswith("_")]
            raise unknown(f"class in {spec.name}", part, theirs)
        found = getattr(found, part)
    return found
