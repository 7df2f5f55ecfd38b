"""Whether a run goes on as what it was, and where it may not go on as something else."""

from __future__ import annotations

import msgspec

from mdap.core.errors import FingerprintChanged
from mdap.core.fingerprint import differences
from mdap.core.history import History, RunHead

# What a fingerprint calls the tools: of a chain or a map, and of a run of branches.
TOOLS = ("tools", "origin tools")


def is_changed(history: History, before: dict[str, str], now: dict[str, str], *, accept_changes: bool) -> bool:
    """Say whether a run goes on as something else; raises FingerprintChanged where it may not."""
    changed, run = differences(before, now), history.head.id
    check_tools(history.head, before, now)
    if changed and not accept_changes:
        raise FingerprintChanged(
            f"run {run} was started with something else:\n{changed}\n",
            remedy=f"`mdap resume {run} --accept-changes` starts a new epoch at step {history.book.steps:,}",
        )
    if changed:
        _check_known(history, before, now)
    return bool(changed)


def check_tools(head: RunHead, before: dict[str, str], now: dict[str, str]) -> None:
    """Raise FingerprintChanged for a run whose tools are not those that it was started with.

    Its states may hold calls that only these tools can make: there is no going on without them.
    """
    # A run without tools has no such parts, nor has one that is older than they are.
    if any(before.get(part) != now.get(part) for part in TOOLS):
        raise FingerprintChanged(
            f"run {head.id} was started with other tools:\n{differences(before, now)}\n",
            remedy=f"give it those: `mdap resume {head.id}{head.tools or ' --tool MODULE:NAME'}`, or tools=[...]",
        )


def _check_known(history: History, before: dict[str, str], now: dict[str, str]) -> None:
    """Raise FingerprintChanged where another task would have to compute the states of what the one before decided."""
    if all(before.get(part) == now[part] for part in ("task", "version")):
        return
    # The newest snapshot holds a state: only what was decided after it, and stores no change, rests on the task.
    lost = [entry.step for entry in history.tail if entry.change is msgspec.UNSET]
    if lost:
        run, steps = history.head.id, history.book.steps
        raise FingerprintChanged(
            f"run {run} ended without a word at step {steps:,}: what follows from steps {lost[0]:,} to {lost[-1]:,} is "
            "not stored, and only the task as it was can compute it",
            remedy=f"put the task back and type `mdap resume {run} --max-steps {steps}`; then accept the change",
        )
