"""Cassettes: HTTP calls written to a file of JSON Lines, and calls answered from such a file. No key is ever written.

A line is one call: `key` (a digest of the method, the path and the body in canonical form), `attempt` (which call with
that key it was, from 1), `method`, `path`, `asked` (the body), and either `status`, `headers` and `body` (`body64`
where it is not text) or `failure`, for a call that ended without a reply.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from multidict import CIMultiDict

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.models.http import CACHE_HEADERS, Reply, Tape

Send = Callable[[], Awaitable[Reply]]

# What a client reads of a reply's headers. The rest may hold what is nobody's business, such as an account's name.
_KEPT = ("content-type", "date", "location", "retry-after", "retry-after-ms", *CACHE_HEADERS)


def tape(record: str | Tape | None, replay: str | Tape | None) -> Tape | None:
    """Return what two options of a model stand for: a recorder, a player or neither.

    Each may be a file's name, or a tape that models share. Raises UsageError for both, for a file to record to that
    is there already, and for one to replay that is missing or damaged.
    """
    if record is not None and replay is not None:
        raise UsageError("record_http and replay_http are both given", remedy="give one: a replay makes no calls")
    if isinstance(record, str):
        return recording(record)
    return replaying(replay) if isinstance(replay, str) else record if record is not None else replay


def recording(path: str | Path) -> Recorder:
    """Return a tape that writes every call to a new file; raises UsageError if there is one already, or cannot be."""
    file = Path(path)
    try:
        # Now and not at the first call: a folder that cannot be written to is to be known before anything is paid for.
        file.touch()
        size = file.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot write the cassette {file}: {error.strerror}", remedy="name another file") from None
    # An empty one is left by a run that ended before its first call.
    if size:
        raise UsageError(f"there is a cassette {file} already", remedy="name another file, or remove that one")
    return Recorder(file)


def replaying(path: str | Path) -> Player:
    """Return a tape that answers every call from a file; raises UsageError if it is missing or no cassette."""
    file = Path(path)
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(
            f"cannot read the cassette {file}: {error.strerror}", remedy="write one with --record-http"
        ) from None
    calls: dict[tuple[str, int], Call] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            call = _decode(line)
            # Read now, though it is wanted later: a damaged one is to be known before a run begins.
            base64.b64decode(call.body64, validate=True)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                # A recorder that was killed leaves its last line without an end: that call was never answered.
                break
            raise UsageError(f"{file}, line {number}, is no call: {error}", remedy="record it again") from None
        calls[call.key, call.attempt] = call
    return Player(file, calls)


class Failure(msgspec.Struct, frozen=True):
    """How a call ended that had no reply."""

    kind: str
    message: str
    retryable: bool
    remedy: str = ""


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a cassette."""

    key: str
    attempt: int
    method: str
    path: str
    asked: Any = None
    status: int = 0
    headers: dict[str, str] = {}
    body: str = ""
    body64: str = ""
    failure: Failure | None = None


class _Counting:
    """Both tapes number the calls with one key in the order in which they begin, so tasks do not race for numbers."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.secrets: set[str] = set()
        self._attempts: Counter[str] = Counter()

    def _number(self, method: str, path: str, body: bytes) -> tuple[str, int]:
        key = digest(method, path, body)
        self._attempts[key] += 1
        return key, self._attempts[key]


class Recorder(_Counting):
    """A tape that lets calls pass and writes each down once it has ended. Lines are in the order of their ends."""

    async def call(self, method: str, path: str, body: bytes, send: Send) -> Reply:
        """Send, and write down what came, or how it failed."""
        key, attempt = self._number(method, path, body)
        asked = _readable(body)
        try:
            reply = await send()
        # Failures are kept, too, so that a replay retries where the recorded run did.
        except ModelError as error:
            failure = Failure(error.kind, error.message, error.retryable, error.remedy)
            self._write(Call(key, attempt, method, path, asked, failure=failure))
            raise
        except asyncio.CancelledError:
            # Whoever called had no more patience. In a replay it is this call again that has no reply.
            failure = Failure("timeout", f"no reply to {method} {path} before the call was given up", retryable=True)
            self._write(Call(key, attempt, method, path, asked, failure=failure))
            raise
        headers = {name: reply.headers[name] for name in _KEPT if name in reply.headers}
        try:
            # As text where it is text, which nearly all replies are: a cassette is to be read, and compared by lines.
            written = Call(key, attempt, method, path, asked, reply.status, headers, body=reply.body.decode())
        except UnicodeDecodeError:
            text = base64.b64encode(reply.body).decode()
            written = Call(key, attempt, method, path, asked, reply.status, headers, body64=text)
        self._write(written)
        return reply

    def _write(self, call: Call) -> None:
        line = _encode(call)
        for secret in self.secrets:
            # A server may repeat the key in its reply. JSON writes keys as they are: they are plain ASCII.
            line = line.replace(secret.encode(), b"[key]")
        try:
            # Opened for each line: nothing is left open, and what was written is there whatever happens next.
            with self.file.open("ab") as file:
                file.write(line + b"\n")
        except OSError as error:
            raise ModelRejected(
                f"cannot write the cassette {self.file}: {error.strerror}",
                kind="not-recorded",
                remedy="make room, or go on without --record-http",
            ) from None


class Player(_Counting):
    """A tape that never sends: the nth call with a key is answered as the nth was that was recorded."""

    def __init__(self, file: Path, calls: dict[tuple[str, int], Call]) -> None:
        super().__init__(file)
        self._calls = calls

    async def call(self, method: str, path: str, body: bytes, send: Send) -> Reply:
        """Return the recorded reply, or raise the recorded failure; raises ModelRejected where nothing is recorded."""
        key, attempt = self._number(method, path, body)
        call = self._calls.get((key, attempt))
        if call is None:
            raise self._missing(key, attempt, f"{method} {path}", body)
        # As over a network, others get their turn before the reply is there.
        await asyncio.sleep(0)
        if call.failure is not None:
            again = ModelError if call.failure.retryable else ModelRejected
            raise again(call.failure.message, kind=call.failure.kind, remedy=call.failure.remedy)
        data = base64.b64decode(call.body64) if call.body64 else call.body.encode()
        # Names were kept in small letters, and are asked for as the standards write them.
        return Reply(call.status, CIMultiDict(call.headers), data)

    def _missing(self, key: str, attempt: int, asked: str, body: bytes) -> ModelRejected:
        known = sum(recorded == key for recorded, _ in self._calls)
        times = f"only {known} time{'s' * (known != 1)}" if known else "never"
        return ModelRejected(
            f"the cassette {self.file} has no reply: {asked} ({_described(body)}) was recorded {times}, and this is "
            f"call {attempt} of key {key}",
            kind="not-recorded",
            remedy="record it anew with --record-http, or ask what was recorded",
        )


def digest(method: str, path: str, body: bytes) -> str:
    """Return the key of a call: the same for bodies that differ in the order of their fields and in spaces alone."""
    try:
        canonical = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    except (ValueError, RecursionError):
        # What is no JSON, such as an uploaded file, is known by its bytes.
        canonical = body
    return blake2b(b"\0".join((method.encode(), path.encode(), canonical)), digest_size=12).hexdigest()


def _readable(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace") or None


def _described(body: bytes) -> str:
    """All of a request but its prompt: the parameters, by which a reader sees what differs."""
    asked = _readable(body)
    if not isinstance(asked, dict):
        return f"{len(body):,} bytes"
    # Google's dialect has the parameters one level deeper.
    config = asked.get("generationConfig")
    flat = {**asked, **config} if isinstance(config, dict) else asked
    told = [f"{name}={value}" for name, value in sorted(flat.items()) if isinstance(value, str | int | float)]
    # In Anthropic's dialect the system's words are a field of the body, and so a part of the prompt.
    return ", ".join([*(part for part in told if not part.startswith("system=")), f"{len(body):,} bytes in all"])


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Call).decode
