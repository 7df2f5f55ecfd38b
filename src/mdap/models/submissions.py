"""Which requests went into which batch, in a file that outlives the process, so that nothing is submitted twice.

Each line is one JSON object. A batch is intended before it is submitted, named once it is made, and closed at the end.
How long batches are waited for stands here, too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from mdap.core.errors import UsageError


class Patience(NamedTuple):
    """How long to wait, in seconds: until nothing more is asked for, from look to look, and in all.

    The time between looks grows from `first` by half each time, up to `longest`.
    """

    # Longer than the first wait of a repeated call, 0.5 s at most: what one batch refused can be in the next.
    quiet: float = 0.6
    first: float = 1.0
    longest: float = 60.0
    # Providers promise a day; two hours are for those that come late.
    limit: float = 93_600.0


class _Line(msgspec.Struct, omit_defaults=True):
    """`requests` intends a batch: custom id and digest of each; `batch` names it; `closed` says it is of no use."""

    intent: str
    requests: dict[str, str] = {}
    batch: str = ""
    closed: bool = False


class Submissions:
    """The batches that were submitted and not yet made use of. `path` None: known to this process alone."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._intents: dict[str, _Line] = {}
        # What this process asked for. Only `close_all` forgets a batch, so that the next process finds it after a kill.
        self._taken: set[tuple[str, str]] = set()
        for line in self._stored():
            self._fold(line)

    def intend(self, requests: Mapping[str, str]) -> str:
        """Return a name for a batch that is about to be submitted; it is on disk before this returns."""
        # At random and not counted, since several processes may append to one file.
        intent = secrets.token_hex(6)
        self._write(_Line(intent, requests=dict(requests)))
        self._taken |= {(intent, id) for id in requests}
        return intent

    def made(self, intent: str, batch: str) -> None:
        """Keep the provider's name for a batch."""
        self._write(_Line(intent, batch=batch))

    def close(self, intent: str) -> None:
        """Forget a batch: it was not made, or is of no use any more."""
        self._write(_Line(intent, closed=True))

    def close_all(self) -> None:
        """Forget every batch that this process took part in: what it was for is done."""
        for intent in {intent for intent, _ in self._taken} & self._intents.keys():
            self.close(intent)

    def forget(self) -> None:
        """Forget every batch, those of other processes too."""
        # A copy, for `close` takes them out one by one.
        for intent in [*self._intents]:
            self.close(intent)

    def take(self, id: str, digest: str) -> tuple[str, str] | None:
        """Return (intent, batch) of the oldest batch that holds this request and has not given it yet.

        The batch is empty where nobody knows whether it was ever made. None: the request is in no batch.
        """
        for intent, line in self._intents.items():
            # By its bytes as well as its place: a prompt that was changed since is another request.
            if line.requests.get(id) == digest and (intent, id) not in self._taken:
                self._taken.add((intent, id))
                return intent, line.batch
        return None

    def _stored(self) -> list[_Line]:
        if self._path is None or not self._path.exists():
            return []
        try:
            written = self._path.read_bytes()
            whole = written[: written.rfind(b"\n") + 1]
            if len(whole) < len(written):
                # The last line was being written when the process was killed: it was never acted upon.
                os.truncate(self._path, len(whole))
            return [_decode(line) for line in whole.splitlines()]
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the list of batches {self._path} cannot be read: {error}",
                remedy="mend or remove it; batches that it names are then submitted anew",
            ) from None

    def _fold(self, line: _Line) -> None:
        if line.closed:
            self._intents.pop(line.intent, None)
        # The name may come after another process has closed the intent.
        elif line.batch and line.intent in self._intents:
            self._intents[line.intent].batch = line.batch
        elif line.requests:
            self._intents[line.intent] = line

    def _write(self, line: _Line) -> None:
        self._fold(line)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(_encode(line) + b"\n")
                # Synced at once: a batch that a power cut makes forgotten is paid for twice.
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(
                f"the list of batches {self._path} cannot be written: {error.strerror}",
                remedy="make the folder writable, or name another --journal: the list stands beside it",
            ) from None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode
