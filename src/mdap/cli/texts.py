"""What stands in a file or was typed, as text or as JSON. What is wrong with it is said here, and nothing is asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def typed_text(typed: str | None, file: str | None, what: str, command: str) -> str:
    """Return the one that was given, what stands in `file` (`-`: standard input) or what was typed.

    Raises UsageError, which names `what` it was to be and shows how `command` takes it.
    """
    from mdap.core.errors import UsageError

    if typed is not None and file is None:
        return typed
    if file is None or typed is not None:
        raise UsageError(
            f"there is no {what}" if typed is None else f"the {what} is given twice",
            remedy=f'write mdap {command} "{what.upper()}" --model MODEL, or --file FILE in place of the {what}',
        )
    return read_text(Path(file), f"the {what}", or_stdin=True)


def read_text(path: Path, what: str, *, or_stdin: bool = False) -> str:
    """Return what stands in a file, to the byte; with `or_stdin`, `-` is standard input. Raises UsageError."""
    from mdap.core.errors import UsageError

    try:
        # Not read_text, which makes all line ends alike: what is asked, or is a state, is what stands in the file.
        return sys.stdin.read() if or_stdin and str(path) == "-" else path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} cannot be read from {path}: {error}", remedy="name a UTF-8 text file") from None


def read_value(path: Path, what: str = "JSON", *, or_stdin: bool = False) -> Any:
    """Return the value that stands in a file as JSON, as `read_text` reads it. Raises UsageError."""
    from mdap.core.errors import RedFlag, UsageError
    from mdap.core.strictjson import read_json

    try:
        # As strictly as replies are read: of a name that stands twice one half would be lost without a word.
        return read_json(sys.stdin.read() if or_stdin and str(path) == "-" else path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RedFlag) as error:
        raise UsageError(f"no {what} can be read from {path}: {error}", remedy="name a JSON file") from None
