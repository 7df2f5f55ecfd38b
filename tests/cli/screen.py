"""What a person would see: all that programs write to a terminal."""

from __future__ import annotations

import os
import select


def shown_on(ours: int, theirs: int) -> bytes:
    """Read our side of a terminal until all who hold the other side have closed it; both are closed then."""
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            said += os.read(ours, 65536)
        except OSError:  # how Linux says that the other side has been closed
            break
    os.close(ours)
    return said
