"""Prompts with slots: `{field}` stands for a field of a row, put in as it is and never looked at again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mdap.core.errors import UsageError

# Doubled braces stand first: else {{a}} would be a slot with a brace on either side.
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Template:
    """A text with slots; `{{` and `}}` stand for braces. Raises UsageError for a brace that is neither."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = list(_TOKEN.finditer(text))
        # At once and not with the first row: what is wrong with the prompt is wrong for all of them.
        for token in found:
            if token[0] in "{}" or token[1] == "":
                raise UsageError(
                    f"{token[0]!r} at character {token.start()} of the prompt is no slot",
                    remedy="write {field} for a field of the row, {{ and }} for braces",
                )
        self.fields = list(dict.fromkeys(token[1] for token in found if token[1]))

    def filled(self, row: Mapping[str, Any]) -> str:
        """Return the text with the row's fields in it: text as it is, anything else as JSON.

        In one pass: a value that looks like a slot stays what it is. Raises UsageError naming a field that is missing.
        """
        for field in self.fields:
            if field not in row:
                there = ", ".join(map(repr, row)) or "none"
                raise UsageError(f"the row has no field {field!r}; it has {there}", remedy="name one that it has")

        def _put(token: re.Match[str]) -> str:
            if token[1] is None:
                return token[0][0]
            value = row[token[1]]
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

        # By a function: in a text to be put in, `sub` would read backslashes.
        return _TOKEN.sub(_put, self.text)
