"""The server's own record of calls, to hold a client's ledger against: written line by line, read back whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mdap.core.errors import UsageError


class Call(msgspec.Struct, kw_only=True, gc=False):
    """One attempt at a call. There is no key, no prompt and no time in it.

    `id` is the id in the reply's body, which a client keeps; empty where no reply was made. `request` is the id in the
    header. `order` numbers the attempts as they came. `status` is the HTTP status that was sent, 0 for none. `chaos`
    holds the words that struck, with commas. `lost`: the client has no reply that it can read, though this one may be
    billed. The tokens are as billed: `cached` and `written` are parts of `tokens_in`, `reasoning` of `tokens_out`.
    `prompt` is a digest of the messages; `batch` the id of the batch that the call is one of. `seed` is None where the
    request brought none.
    """

    # Given as they came, while lines stand as calls ended: only both tell which calls were under way together.
    order: int
    request: str
    dialect: str
    id: str = ""
    model: str = ""
    # Until something else is known: what fails as nobody foresaw is answered so.
    status: int = 500
    chaos: str = ""
    lost: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    seed: int | None = None
    n: int = 1
    prompt: str = ""
    batch: str = ""


class CallLog:
    """A file of calls, one JSON object a line; each is with the system when `write` returns."""

    def __init__(self, path: Path) -> None:
        """Open for appending; raises UsageError where that is not possible."""
        try:
            # Unbuffered: one write a line, which a server that is killed cannot lose.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(f"cannot write the log {path}: {error.strerror}", remedy="choose another file") from None

    def write(self, call: Call) -> None:
        """Append one call."""
        self._file.write(_encode(call) + b"\n")

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        self._file.close()


def read_log(path: Path | str) -> list[Call]:
    """Return the calls of a log, in the order in which they ended.

    A last line without its end is left out: its server was killed while it wrote. Raises UsageError for a file that
    cannot be read, naming the line.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise UsageError(f"cannot read the log {path}: {error.strerror}", remedy="give the file of --log") from None
    calls = []
    for number, line in enumerate(lines, 1):
        try:
            calls.append(_decode(line))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}, is no call: {error}", remedy="give the file of --log") from None
    return calls


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Call).decode
