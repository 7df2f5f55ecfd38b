"""`--executor`: settings of IgniteUI MAKER from its file or the environment. What they mean is not known here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from mdap.planning.executor_settings import ExecutorSettings

Executor = Annotated[
    Path | None,
    Parameter(
        help="JSON file of settings of IgniteUI MAKER: its models, keys, format and prompts, for what is not given "
        "here. [default: the variables Executor__...]"
    ),
]


def executor_settings(file: Path | None, *, is_used: bool) -> ExecutorSettings | None:
    """Return the settings in `file`, else those in the environment, None without any; keys go to where models look.

    Settings without a use here are named on standard error where somebody counts on them: in a file, or where they
    stand in for a model (`is_used`). Raises UsageError for a file that cannot be read, or holds no such settings.
    """
    from mdap.cli.exits import say
    from mdap.cli.texts import read_text
    from mdap.planning.executor_settings import from_environment, from_file

    found = from_environment(os.environ) if file is None else from_file(read_text(file, "the settings"))
    if found is None:
        return None
    for variable, key in found.keys.items():
        # A key that is there under its usual name was put there on purpose, and holds.
        os.environ.setdefault(variable, key)
    unused = [*found.unused, *(f"the tools of the server {one.get('name', '')}" for one in found.servers)]
    for name in unused if file is not None or is_used else ():
        say(f"note:  not used: {name}")
    return found
