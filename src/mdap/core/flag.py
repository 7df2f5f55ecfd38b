"""One red flag: a check of a reply, and the name that it is counted under. What is checked is not known here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from mdap.core.records import Request, Response

RedFlagCheck: TypeAlias = Callable[[Response, Request], str | None]


class Flag(msgspec.Struct, frozen=True, gc=False):
    """A check and the name that it is counted under. `spec` is how it stands in a run's fingerprint."""

    name: str
    check: RedFlagCheck
    # Apart from the name: one name, such as `too_long`, may stand for several limits, and those are other runs.
    spec: str = ""

    def __call__(self, response: Response, request: Request) -> str | None:
        """Return the reason why the reply is discarded, or None."""
        return self.check(response, request)
