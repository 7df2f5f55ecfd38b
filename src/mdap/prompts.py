"""Questions out of rows: a prompt with slots makes, of each row, a task of one step. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from mdap.asked import prepare
from mdap.core.errors import UsageError
from mdap.core.keys import Judged, Key
from mdap.core.template import Template
from mdap.tasks.question import Question


class Prompts:
    """Makes the task of a row, for `mdap.map`: the answer to `template` with the row's fields in its `{field}` slots.

    A row is a mapping. The options are those of `mdap.ask`: the format of the answer and its vote key; a row's result
    is `{"answer": ...}`. Raises UsageError for what is no template or no format, and for a key that a model judges.
    """

    def __init__(
        self,
        template: str,
        *,
        schema: Mapping[str, Any] | None = None,
        record: Any = None,
        pattern: str | None = None,
        one_of: Sequence[str] | None = None,
        key: str | Key | None = None,
    ) -> None:
        self._template = Template(template)
        self._key = key
        # Once beforehand: what no row could be asked with is refused before any is read.
        first = prepare(template or " ", schema=schema, record=record, pattern=pattern, one_of=one_of, key=key)
        if isinstance(key, Judged) or first.judge is not None:
            raise UsageError("a map takes no key that a model judges", remedy="ask one by one: mdap ask --key judged:M")
        self._form = first.form
        # A NUL in between: without it, two pairs could run together into the same text.
        said = f"{template}\0{first.question.version}".encode()
        self.spec = f"prompt:{blake2b(said, digest_size=4).hexdigest()}"

    def __call__(self, row: Any) -> Question:
        """Return the task of one row; raises UsageError for a row that lacks a field."""
        if not isinstance(row, Mapping):
            raise UsageError(f"a row with fields was wanted, not {row!r:.60}", remedy="make each row a JSON object")
        # With the form that was made beforehand, so that a schema is not read again for each row.
        return prepare(self._template.filled(row), format=self._form, key=self._key).question
