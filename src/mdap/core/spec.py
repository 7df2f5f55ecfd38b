"""The one grammar of tasks, models and rules: `NAME[:PART[,PART...]]`, a part is `key=value` or, first, a bare value.

Reading and writing of specs lives here; what the names mean is for the catalogues.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import msgspec

from mdap.core.errors import UsageError


class Spec(msgspec.Struct, frozen=True):
    """A parsed spec: `name`, the bare first part (or None) and the options in order of writing, all still text."""

    name: str
    bare: str | None = None
    options: tuple[tuple[str, str], ...] = ()


def parse_spec(text: str) -> Spec:
    """Read `NAME[:PART[,PART...]]`; raises UsageError naming the part that is not `key=value`.

    The bare first part may hold colons (`openai:llama3.2:3b`).
    """
    name, _, rest = text.partition(":")
    if not name:
        raise UsageError(f"spec {text!r} has no name", remedy="write NAME[:PART[,PART...]], such as hanoi:disks=5")
    parts = rest.split(",") if rest else []
    bare = parts.pop(0) if parts and "=" not in parts[0] else None
    options: dict[str, str] = {}
    for part in parts:
        key, sign, value = part.partition("=")
        if not sign or not key:
            raise UsageError(f"part {part!r} of {text!r} is not key=value", remedy="only the first part may be bare")
        # Neither the first nor the last wins: which one was meant is not to be guessed.
        if key in options:
            raise UsageError(f"option {key!r} stands twice in {text!r}", remedy="give it once")
        options[key] = value
    return Spec(name, bare, tuple(options.items()))


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not known: it lists what there is and what was probably meant."""
    names = sorted(known)
    # Below difflib's own 0.6: half a name, such as sim for simulated, is to be recognised as well.
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return UsageError(f"unknown {what} {name!r}", remedy=f"{guess}there is: {', '.join(names)}")


def build(spec: Spec, factory: Callable[..., Any], *, bare: str | None = None) -> Any:
    """Call `factory` with the options of `spec`, each converted to the type of the parameter's annotation.

    `bare` names the parameter that takes the bare first part. Raises UsageError for an unknown option or a value
    that does not convert. Annotations may be int, float, str, bool (on/off) or a Literal of strings.
    """
    # Where a module postpones its annotations, they are texts until somebody evaluates them.
    parameters = inspect.signature(factory, eval_str=True).parameters
    given = dict(spec.options)
    if spec.bare is not None:
        if bare is None:
            raise UsageError(
                f"{spec.name} takes no bare value, but got {spec.bare!r}",
                remedy=f"write {spec.name}:key=value with keys from: {', '.join(parameters)}",
            )
        if bare in given:
            raise UsageError(
                f"{bare!r} of {spec.name} is given twice: {spec.bare} and {given[bare]}", remedy="give one"
            )
        given = {bare: spec.bare, **given}
    for key in given:
        if key not in parameters:
            raise unknown(f"option of {spec.name}", key, parameters)
    return factory(**{k: _convert(spec.name, k, v, parameters[k].annotation) for k, v in given.items()})


def write_spec(name: str, options: Mapping[str, Any], *, bare: str | None = None) -> str:
    """Write a spec that `parse_spec` reads back; options whose value is None are left out."""
    parts = [] if bare is None else [bare]
    parts += [f"{key}={_text(value)}" for key, value in options.items() if value is not None]
    return f"{name}:{','.join(parts)}" if parts else name


def _text(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


_SWITCH = {"on": True, "off": False, "true": True, "false": False, "1": True, "0": False}


def _convert(name: str, key: str, text: str, kind: Any) -> Any:
    choices = [a for a in get_args(kind) if isinstance(a, str)]
    # None is no text that could be written: an option that is left out stands for it.
    types = [a for a in (get_args(kind) or (kind,)) if isinstance(a, type) and a is not type(None)]
    try:
        if choices:
            # `index` raises ValueError for what is no choice: answered below, like a number that does not convert.
            return choices[choices.index(text)]
        # Before any type is called: bool("off") is True.
        if bool in types:
            return _SWITCH[text.lower()]
        return types[0](text) if types else text
    except (ValueError, KeyError):
        wanted = " or ".join(choices) if choices else "on or off" if bool in types else types[0].__name__
        raise UsageError(f"{name}: {key}={text!r} is not {wanted}", remedy=f"give {key} as {wanted}") from None
