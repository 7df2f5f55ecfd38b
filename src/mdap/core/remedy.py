"""Commands within what is said: completed with the run and the journal that they are about, so that they can be typed.

Whoever finds a fault seldom knows them; whoever tells a person of it does. Nothing is printed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mdap.core.errors import MdapError

# Commands about stored runs alone: every other one can be typed as it stands.
_COMMAND = re.compile(
    r"mdap (?:runs|inbox|(?P<name>resume|show|export|ledger|resolve)(?: (?P<run>[^\s`,;]+))?)"
    r"(?P<rest>(?: --(?:tool|tool-server|allow) (?:'[^']*'|[^\s`']+)+| --[a-z][a-z-]*| \d+)*)"
)
# How an advice speaks of a run that may not have begun yet.
_GO_ON = re.compile(r"go on with `mdap resume(?: RUN)?`")


def addressed(text: str, run: str = "", flag: str = "") -> str:
    """Return `text` with each command in it naming `run`, and the journal by `flag` (such as ` --journal other.db`).

    Without a run there is nothing to be resumed: `go on with mdap resume` then becomes `start again`.
    """
    if not run:
        text = _GO_ON.sub("start again", text)

    def _complete(found: re.Match[str]) -> str:
        name, given, rest = found["name"], found["run"], found["rest"]
        # `runs` and `inbox` are about no single run.
        if name is None:
            return found[0] if "--journal" in rest else found[0] + flag
        named = run if given in (None, "RUN") else given
        if not named:
            return found[0]
        return f"mdap {name} {named}{rest}{'' if '--journal' in rest else flag}"

    return _COMMAND.sub(_complete, text)


@contextmanager
def naming(run: str = "") -> Iterator[None]:
    """Let the remedy of an error name the run; before there is one, nothing can be resumed."""
    try:
        yield
    except MdapError as error:
        error.remedy = addressed(error.remedy, run)
        raise
