"""A task of one's own: a list of messy dates is brought into one form, a date a step. Any callable is a model."""

from __future__ import annotations

import re
from typing import Any

import mdap

DATES = ["3 Feb 2021", "2021-03-04", "May 5, 2022", "6.7.2023", "8 August 2024"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


class Dates:
    """State: the dates still to do, and those done. The next step sees nothing else."""

    version = 1
    steps = len(DATES)

    def start(self) -> dict[str, Any]:
        """Begin with all of them to do."""
        return {"todo": DATES, "done": []}

    def is_done(self, state: dict[str, Any]) -> bool:
        """End when none is left."""
        return not state["todo"]

    def prompt(self, state: dict[str, Any]) -> str:
        """Ask for one date."""
        return f"Write this date as YYYY-MM-DD, and nothing else: {state['todo'][0]}"

    def parse(self, text: str, state: dict[str, Any]) -> mdap.Move:
        """Read the reply; what is not exactly such a date is discarded."""
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
            raise mdap.RedFlag(f"not YYYY-MM-DD: {text[:40]!r}")
        return mdap.Move(text.strip(), mdap.ABSENT)

    def apply(self, state: dict[str, Any], action: str) -> dict[str, Any]:
        """Compute the next state in code, so that votes are on the date alone."""
        return {"todo": state["todo"][1:], "done": [*state["done"], action]}


def model(prompt: str) -> str:
    """Stand here for a model: it reads the forms that occur above."""
    text = prompt.partition(": ")[2]
    if found := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text):
        return text
    if found := re.fullmatch(r"(\d+)\.(\d+)\.(\d{4})", text):
        return f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}"
    words = re.findall(r"\w+", text)
    month = next(w for w in words if w.isalpha())
    day, year = sorted((w for w in words if w.isdigit()), key=len)
    return f"{year}-{MONTHS.index(month[:3].lower()) + 1:02}-{int(day):02}"


result = mdap.run(Dates(), model, k=2)
print(result.status, result.state["done"])

# Prints:
# done ['2021-02-03', '2021-03-04', '2022-05-05', '2023-07-06', '2024-08-08']
