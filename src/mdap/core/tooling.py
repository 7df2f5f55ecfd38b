"""A call of a tool as it flows through a run: what is asked for, and what came of it. Data only; nothing is called."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mdap.core.canonical import canonical
from mdap.core.history import Acted

OutcomeStatus = Literal["ok", "raised", "timeout", "too_large", "unreadable", "limit"]

# What the journal says of a tool: that it was begun, and what a person said where nobody knows how it ended.
CALL, RETRY, OUTCOME = "call", "retry", "outcome"
# Characters of the arguments where a call is told to a person.
MOST_TOLD = 300


class ToolIntent(msgspec.Struct, frozen=True):
    """What a reply asks for: a tool by name, its arguments as JSON values, and why; nobody votes on the `rationale`."""

    tool: str
    arguments: dict[str, Any]
    rationale: str = ""

    @property
    def told(self) -> str:
        """The call as a person reads it."""
        # Half a surrogate pair in an argument has no UTF-8 form, and a person is told all the same.
        given = canonical(self.arguments).decode("utf-8", "replace")
        return f"{self.tool} {given if len(given) <= MOST_TOLD else given[:MOST_TOLD] + '...'}"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a call, always by one of these names, so that a step can go on from it.

    ok: it returned `value`. raised: it raised `error`. timeout: it took longer than it had; it may still go on.
    too_large: what it returned is over the cap. unreadable: what it returned is no JSON value. limit: it was not
    called, since the step had called its tools as often as it may.
    """

    status: OutcomeStatus
    value: Any = None
    error: str = ""


def is_about_tool(act: Acted) -> bool:
    """Say whether an act is about a call of a tool: begun, or what a person said of it."""
    return act.act.partition(":")[0] in (CALL, RETRY, OUTCOME)


def is_unknown(act: Acted | None) -> bool:
    """Say whether the last act about a call leaves it begun, with no word of how it ended."""
    return act is not None and act.act.partition(":")[0] == CALL
