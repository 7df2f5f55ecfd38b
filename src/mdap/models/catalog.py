"""Models by name: the ones that ship, a user's own by `package.module:name`, and any callable. No wire format here."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from mdap.core.errors import UsageError
from mdap.core.foreign import Foreign
from mdap.core.secrets import keep_secret, secrets_in
from mdap.core.spec import Spec, build, parse_spec, unknown
from mdap.models.failover import Failover
from mdap.models.foreign_models import as_foreign
from mdap.models.function import Function
from mdap.models.mixture import Mixture
from mdap.models.several import ELSE, MIXED
from mdap.modules import module_of
from mdap.protocols import Model


class Entry(NamedTuple):
    """Where a model's factory is, which of its parameters takes the bare first part, which ones text cannot give.

    `remedy` says what to do where a spec cannot make it.
    """

    home: str
    bare: str | None = None
    code_only: tuple[str, ...] = ()
    remedy: str = ""


# A key within a spec would stand in journals, in messages and in the machine's list of processes.
_REMOTE = ("api_key",)

MODELS = MappingProxyType(
    {
        "anthropic": Entry("mdap.models.anthropic:anthropic", bare="model", code_only=_REMOTE),
        "client": Entry(
            "mdap.models.client:client",
            code_only=("mailbox",),
            remedy="such a run is begun with run_start, and gone on with by run_resume, of `mdap mcp`",
        ),
        "google": Entry("mdap.models.google:google", bare="model", code_only=_REMOTE),
        "llamacpp": Entry("mdap.models.compatible:llamacpp", bare="model", code_only=_REMOTE),
        "lmstudio": Entry("mdap.models.compatible:lmstudio", bare="model", code_only=_REMOTE),
        "micro": Entry("mdap.models.micro:micro"),
        "ollama": Entry("mdap.models.compatible:ollama", bare="model", code_only=_REMOTE),
        "openai": Entry("mdap.models.openai:openai", bare="model", code_only=_REMOTE),
        "openrouter": Entry("mdap.models.compatible:openrouter", bare="model", code_only=_REMOTE),
        "scripted": Entry("mdap.models.scripted:scripted", code_only=("replies",)),
        "simulated": Entry("mdap.models.simulated:simulated", bare="preset", code_only=("clock",)),
        "simulated_planner": Entry("mdap.models.simulated_planner:simulated_planner"),
        "simulated_solver": Entry("mdap.models.simulated_solver:simulated_solver"),
        "vllm": Entry("mdap.models.compatible:vllm", bare="model", code_only=_REMOTE),
    }
)
"""The models that ship. A factory is imported when it is first asked for, since some need a network library."""


def as_model(given: Model | str | Callable[..., Any]) -> Model:
    """Return the model that a spec names, a callable as a model, or the object itself once it is seen to be one.

    A spec is `simulated:p=0.9`, `openai:llama3.2:3b`, or `package.module:name[,key=value...]` for one's own: a class
    is called with the options and gives a model or a callable, a function is the model itself. `A + B` are models that
    vote in turn, `A | B` a model and what takes over from it. Raises UsageError for
    a name, option, module or attribute that is not there, and for an object that is no model.
    """
    # Whoever runs a model runs a task as well, and both may quote in an error what they were given in the environment.
    keep_secret(secrets_in(os.environ))
    if isinstance(given, str):
        # `A + B | C` is a mixture with a fallback, never the other way round, so it is divided at the fallbacks first.
        for sign, combine in ((ELSE, Failover), (MIXED, Mixture)):
            if sign in given:
                return combine([as_model(spec) for spec in given.split(sign)])
        spec = parse_spec(given)
        return _shipped(spec) if spec.name in MODELS else _own(spec, given)
    # Before the callables: a class is one, and each of its calls would give an object in place of a reply.
    if isinstance(given, type):
        raise UsageError(f"{given.__name__} is a class, not a model", remedy=f"make one of it: {given.__name__}()")
    # By what it can do: a model of one's own inherits from nothing of ours.
    if callable(getattr(given, "complete", None)) and isinstance(getattr(given, "spec", None), str):
        return cast(Model, given)
    if (foreign := as_foreign(given)) is not None:
        return foreign
    if callable(given):
        return Function(given)
    raise UsageError(
        f"{given!r} ({type(given).__name__}) is no model",
        remedy="give a spec such as simulated:p=0.9, a callable `prompt -> str`, or an object with `spec` (a text) "
        "and `async complete(request)`",
    )


def factory(name: str) -> Callable[..., Model]:
    """Return the factory of a model that ships; raises UsageError for a name that is not among `MODELS`."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    module, _, attribute = MODELS[name].home.partition(":")
    made: Callable[..., Model] = getattr(importlib.import_module(module), attribute)
    return made


def _shipped(spec: Spec) -> Model:
    entry = MODELS[spec.name]
    make = factory(spec.name)
    needed = [n for n, parameter in inspect.signature(make).parameters.items() if parameter.default is parameter.empty]
    if in_code := [name for name in needed if name in entry.code_only]:
        raise UsageError(
            f"{spec.name} takes its {in_code[0]} in code",
            remedy=entry.remedy or f"pass mdap.models.{spec.name}(...) to mdap.run as the model",
        )
    given = {entry.bare if spec.bare is not None else None, *dict(spec.options)}
    for name in (name for name in needed if name not in given):
        raise UsageError(f"{spec.name} needs a {name}", remedy=f"write {spec.name}:{name.upper()}")
    made: Model = build(spec, _sayable(make, entry.code_only), bare=entry.bare)
    return made


def _sayable(make: Callable[..., Model], code_only: tuple[str, ...]) -> Callable[..., Model]:
    """`make` as text can call it: a clock or a key is given in code alone."""

    @functools.wraps(make)
    def _made(*args: Any, **options: Any) -> Model:
        return make(*args, **options)

    # As types and not as text, for `build` converts options by them.
    signature = inspect.signature(make, eval_str=True)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in code_only]
    _made.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return _made


def _own(spec: Spec, text: str) -> Model:
    if spec.bare is None or not all(part.isidentifier() for part in f"{spec.name}.{spec.bare}".split(".")):
        raise _unknown(spec)
    found: Any = module_of("model", spec, text, _unknown)
    for part in spec.bare.split("."):
        if not hasattr(found, part):
            own = [name for name in dir(found) if callable(getattr(found, name)) and not name.startswith("_")]
            raise unknown(f"model in {spec.name}", part, own)
        found = getattr(found, part)
    if isinstance(found, type):
        with Foreign(f"making {spec.name}:{spec.bare}"):
            # Only a class is called with options, since a function is the model and is called with prompts.
            made = build(Spec(f"{spec.name}:{spec.bare}", None, spec.options), found)
        return as_model(made)
    if spec.options:
        raise UsageError(f"{spec.name}:{spec.bare} is no class, so it takes no options", remedy="leave them out")
    # Otherwise it would be read as a spec, and a module's text could name any model.
    if isinstance(found, str):
        raise UsageError(f"{spec.name}:{spec.bare} is a text, not a model", remedy="name a class, function or model")
    return as_model(found)


def _unknown(spec: Spec) -> UsageError:
    # What has a remedy cannot be made of a spec, and so is no suggestion.
    error = unknown("model", spec.name, (name for name, entry in MODELS.items() if not entry.remedy))
    error.remedy += "; one of your own is written package.module:name"
    return error


__all__ = ["MODELS", "Entry", "as_model", "factory"]
