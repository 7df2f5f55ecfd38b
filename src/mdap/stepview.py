"""The task of a stored run, and all that a journal knows of one step, as plain values. The ways in show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mdap.core.errors import MdapError, UsageError
from mdap.core.history import RunHead
from mdap.core.records import Sample
from mdap.engine.taskview import TaskView
from mdap.protocols import Journal, Task
from mdap.result import Result
from mdap.tasks.catalog import task as task_named
from mdap.tools import readable


class Stored(NamedTuple):
    """A run as its journal holds it, and its task, made again from its spec."""

    journal: Journal
    result: Result
    view: TaskView


def view_of(head: RunHead, task: Task | str | None = None) -> TaskView | None:
    """Return the task of a run, made again from `task` or the journal's own spec; None where it cannot be made.

    Raises UsageError where it is `task` that cannot be made.
    """
    try:
        return TaskView(readable(task_named(head.task if task is None else task), head.fingerprint))
    except MdapError:
        # Whoever has named a task is to hear why it cannot be made; a spec of the journal's is only tried.
        if task is not None:
            raise
        return None


def step_of(stored: Stored, step: int) -> dict[str, Any]:
    """Return all that is known of one step but what was done about it; raises UsageError for one never asked.

    `status` is decided or open; `votes` the tally, the first candidate's first; `samples` those recorded, each with
    `candidate`: 0 for the winner's or the leader's, further numbers as they appeared, absent for a flagged one.
    """
    result, ballot = stored.result, stored.result.book.ballot
    if not 0 <= step < result.steps and (ballot is None or ballot.step != step):
        asked = f"steps 0 to {result.steps - 1:,} are decided" if result.steps else "no step is decided yet"
        raise UsageError(f"step {step} of {result.run} was not asked: {asked}", remedy=f"mdap show {result.run}")
    made: dict[str, Any] = {"run": result.run, "step": step, "rule": result.rule, "record": _recording(result)}
    made |= _decided(stored, step) if step < result.steps else _open(stored)
    made["samples"] = shown_samples(stored.journal.samples(result.run, step))
    return made


def shown_samples(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the samples of one step as plain values, as `step_of` says; with `confidence` where that was asked for."""
    numbers = _candidates(samples)
    return [_sample(sample, numbers) for sample in samples]


def _recording(result: Result) -> str:
    return str((result.book.settings or result.head.settings)["record"])


def _decided(stored: Stored, step: int) -> dict[str, Any]:
    state, entry, move = stored.result.decision(step)
    return {
        "status": "decided",
        "kind": entry.kind,
        "state": state,
        "messages": _messages(stored, state),
        "action": entry.action,
        "next_state": move.next_state,
        "votes": list(entry.votes),
    }


def _open(stored: Stored) -> dict[str, Any]:
    ballot = stored.result.book.ballot
    # `step_of` has refused a step that is neither decided nor open.
    assert ballot is not None
    counts: dict[bytes, int] = {}
    for _, vote in ballot.votes:
        counts[vote.key] = counts.get(vote.key, 0) + 1
    return {
        "status": "open",
        "reason": ballot.reason,
        "kind": ballot.kind,
        "state": ballot.state,
        "messages": _messages(stored, ballot.state),
        "votes": sorted(counts.values(), reverse=True),
    }


def _messages(stored: Stored, state: Any) -> list[dict[str, str]]:
    # Rendered once more: of its prompt a decided step keeps the digest alone.
    return [{"role": m.role, "content": m.content} for m in stored.view.prompt(stored.view.load(state)).messages]


def _candidates(samples: Sequence[Sample]) -> dict[bytes, int]:
    """Number the candidates: by their votes, equals as they appeared."""
    counts: dict[bytes, int] = {}
    for sample in samples:
        if sample.key:
            counts[sample.key] = counts.get(sample.key, 0) + 1
    # Sorting is stable: what has as many votes keeps its place.
    return {key: place for place, key in enumerate(sorted(counts, key=lambda key: -counts[key]))}


def _sample(sample: Sample, numbers: dict[bytes, int]) -> dict[str, Any]:
    made: dict[str, Any] = {"slot": sample.slot, "redraw": sample.redraw, "text": sample.text}
    if sample.flag:
        made |= {"flag": sample.flag, "reason": sample.reason}
    else:
        made["candidate"] = numbers[sample.key]
    if sample.model:
        made["model"] = sample.model
    # Absent rather than null: who did not ask for it should not wonder at it.
    if sample.confidence is not None:
        made["confidence"] = sample.confidence
    if sample.second is not None:
        made["second"] = sample.second
    return made | {
        "finish": sample.finish,
        "tokens_in": sample.tokens_in,
        "tokens_out": sample.tokens_out,
        "latency": sample.latency,
    }
