"""Which JSON Schemas OpenAI's strict structured outputs take. Others are refused there, so they are sent as a wish."""

from __future__ import annotations

from typing import Any

# OpenAI, guide "Structured Outputs", section "Supported schemas", as of November 2025.
_NAMED = ("properties", "$defs", "definitions")
_ANNOTATED = frozenset({"title", "description", "$schema", "$id"})
_TAKEN = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs"}
    | {"definitions", "pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"minItems", "maxItems"}
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_DEEPEST = 10
_MOST_PROPERTIES = 5000


def is_strict(schema: Any) -> bool:
    """Say whether a schema is of the subset: an object at the root, every object closed, all its properties required.

    Keywords that are not known to be taken (allOf, uniqueItems, minLength ...) make it False, and so does a schema
    that is too deep or too large.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object" or "anyOf" in schema:
        return False
    # Counted over the whole schema, not for each object.
    left = _MOST_PROPERTIES
    # In place of recursion: a schema that a user brings may be deeper than Python's stack.
    pending: list[tuple[Any, int]] = [(schema, 0)]
    while pending:
        part, depth = pending.pop()
        if not isinstance(part, dict) or not _is_taken(part):
            return False
        # Only objects and arrays nest; a choice between schemas is as deep as they are.
        deeper = depth + (_is_object(part) or "items" in part)
        left -= len(part.get("properties", {}))
        if deeper > _DEEPEST or left < 0:
            return False
        # References are not followed: what they lead to stands among the definitions, which are looked at here.
        pending += [(inner, deeper) for name in _NAMED for inner in part.get(name, {}).values()]
        pending += [(inner, depth) for inner in part.get("anyOf", [])]
        if "items" in part:
            pending.append((part["items"], deeper))
    return True


def _is_taken(part: dict[str, Any]) -> bool:
    if not part.keys() <= _TAKEN | _ANNOTATED or any(not isinstance(part.get(name, {}), dict) for name in _NAMED):
        return False
    if "format" in part and part["format"] not in _FORMATS:
        return False
    if _is_object(part):
        named = part.get("properties", {})
        return part.get("additionalProperties") is False and set(part.get("required", ())) == set(named)
    # A part that does not say what it is would allow anything, and is refused there.
    return bool(part.keys() & {"type", "enum", "const", "anyOf", "$ref"})


def _is_object(part: dict[str, Any]) -> bool:
    kinds = part.get("type")
    return kinds == "object" or (isinstance(kinds, list) and "object" in kinds) or "properties" in part
