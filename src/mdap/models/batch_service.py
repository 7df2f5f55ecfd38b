"""What a provider's batches can be asked, whatever their wire format. When they are asked is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from mdap.core.errors import ModelError
from mdap.models.http import Reply

T = TypeVar("T")

# More than any batch comes to (100,000 replies of 20 kB), and yet an end to what a server can have us hold.
MOST_RESULTS = 2_000_000_000
"""Bytes of results that are read, at most."""


class Standing(NamedTuple):
    """How a batch stands: whether it has ended, and the provider's words for it."""

    has_ended: bool
    words: str


class Service(Protocol):
    """The batches of one provider. `most` requests and `most_bytes` bytes go into one."""

    most: int
    most_bytes: int

    async def prepare(self, bodies: Mapping[str, bytes]) -> bytes:
        """Return what creates a batch of these bodies, by custom id. It may be done twice."""

    async def submit(self, prepared: bytes) -> str:
        """Create the batch and return its id."""

    async def look(self, batch: str) -> Standing:
        """Return how a batch stands."""

    async def results(self, batch: str) -> dict[str, Reply | ModelError]:
        """Return what became of each request of a batch that has ended, in no order."""


def decoded(text: bytes, type: type[T]) -> T:
    """Return a record that a provider sent; raises ModelError, to be asked again, for what is none."""
    try:
        return msgspec.json.decode(text, type=type)
    # JSON that is nested too deeply raises RecursionError; it is somebody else's text, and no bug of ours.
    except (ValueError, RecursionError) as error:
        start = text[:80].decode(errors="replace")
        raise ModelError(f"what came of the batch cannot be read ({error}): {start}", kind="garbage") from None
