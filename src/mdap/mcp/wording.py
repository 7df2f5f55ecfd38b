"""What is said of a run, in the words of a client: tools and their arguments in place of commands and their flags."""

from __future__ import annotations

import re

from mdap.core.settings import CHANGEABLE

_COMMAND = re.compile(
    r"(?:type: )?`?mdap (?P<name>resume|show|inbox|runs)\b(?: (?P<run>[^\s`,;-][^\s`,;]*))?"
    r"(?P<flags>(?: --[a-z-]+| \d+)*)`?"
)
_PAIR = re.compile(r"--([a-z-]+)(?: (\d+))?")
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_PLANS = {"restarts", "attempts", "rounds"}
# As `run_resume` has them: a test compares.
ARGUMENTS = (CHANGEABLE | _PLANS) - {
    *("requests_per_minute", "tokens_per_minute", "allow_identical"),
    *("lookahead", "draft", "leader_first", "context"),
}


def for_clients(text: str) -> str:
    """Return a remedy or a reason with the commands in it as calls of tools; what has no tool stays as it is."""
    return _FLAG.sub(_argument, _COMMAND.sub(_call, text))


def _call(found: re.Match[str]) -> str:
    name, run = found["name"], found["run"]
    if name in ("inbox", "runs"):
        return name
    if run in (None, "RUN"):
        return f"run_{'resume' if name == 'resume' else 'status'}"
    if name == "show":
        # A step that is spoken of is one that was not decided, and those are there with all that was said of them.
        return f"inbox(run={run!r})" if "--step" in found["flags"] else f"run_status(run={run!r})"
    given = {flag.replace("-", "_"): value for flag, value in _PAIR.findall(found["flags"])}
    if not given.keys() <= ARGUMENTS or not all(given.values()):
        return found[0]
    return f"run_resume({', '.join([f'run={run!r}', *(f'{name}={value}' for name, value in given.items())])})"


def _argument(found: re.Match[str]) -> str:
    name = found[1].replace("-", "_")
    return name if name in ARGUMENTS | {"max_tokens", "model", "k", "rule", "confidence"} else found[0]
