"""The models that ship, one file for each wire format, as functions that make them; each is loaded when first used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

# For type checkers and editors alone: a program that uses one model is not to load the network library of another.
if TYPE_CHECKING:
    from mdap.models.anthropic import anthropic
    from mdap.models.catalog import as_model
    from mdap.models.compatible import llamacpp, lmstudio, ollama, openrouter, vllm
    from mdap.models.google import google
    from mdap.models.openai import openai
    from mdap.models.scripted import scripted
    from mdap.models.simulated import simulated
    from mdap.models.simulated_planner import simulated_planner
    from mdap.models.simulated_solver import simulated_solver

__all__ = [
    "anthropic",
    "as_model",
    "google",
    "llamacpp",
    "lmstudio",
    "ollama",
    "openai",
    "openrouter",
    "scripted",
    "simulated",
    "simulated_planner",
    "simulated_solver",
    "vllm",
]
# Where those are that have no file of their own.
_HOMES = {
    "as_model": "catalog",
    **dict.fromkeys(("llamacpp", "lmstudio", "ollama", "openrouter", "vllm"), "compatible"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mdap.models' has no attribute {name!r}")
    found = getattr(import_module(f"mdap.models.{_HOMES.get(name, name)}"), name)
    # Kept here, so that the next look finds it without this function.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps `mdap.models.openai` the function: whoever imports the module of that name would put it in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


# Python looks for a module's `__setattr__` on its class, so it is the class that has to be another one.
sys.modules[__name__].__class__ = _Package
