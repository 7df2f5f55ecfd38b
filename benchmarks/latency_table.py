"""A table of measurements: a title that carries the setup, columns, rows, and what is to be read from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Table:
    """Rows of text under columns; `note` says what helped and what did not."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""

    def text(self) -> str:
        """Return it in Markdown."""
        lines = [f"**{self.title}**", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, "", *([self.note, ""] if self.note else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
