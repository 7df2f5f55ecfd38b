"""What red flags would have discarded of a run's recorded samples, and how much of that was wrong. Nothing is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from mdap import api
from mdap.core.errors import MdapError
from mdap.core.history import Decided, RunHead
from mdap.core.records import ABSENT, Draw, Prompt, Request, Response, Sample, Usage
from mdap.core.redflags import Flag, RedFlags, describe, first_flag, red_flags
from mdap.engine.taskview import TaskView
from mdap.protocols import Journal, Task
from mdap.result import decisions_of
from mdap.rowio import PLANNED, is_planned
from mdap.stepview import view_of


class FlagPrecision(msgspec.Struct, frozen=True):
    """What one flag would have discarded: `wrong` and `right` answers by the decided key, the rest is `unknown`."""

    name: str
    flagged: int
    wrong: int
    right: int

    @property
    def unknown(self) -> int:
        """Samples that nobody can say of whether they were right: they could not be read, or nothing was decided."""
        return self.flagged - self.wrong - self.right

    @property
    def precision(self) -> float | None:
        """The share of wrong answers among those that can be judged; None where none can."""
        judged = self.wrong + self.right
        return self.wrong / judged if judged else None


class DryRun(msgspec.Struct, frozen=True):
    """Flags held against a run: `samples` were recorded, of which `wrong` and `right` are what the steps decided.

    `by_flag` holds every flag in the order in which they are asked, and each sample under the first that speaks;
    `together` is all of them. `base` is the share of wrong answers among all that can be judged: what discarding at
    random would have for its precision.
    """

    run: str
    flags: str
    samples: int
    wrong: int
    right: int
    by_flag: tuple[FlagPrecision, ...]
    together: FlagPrecision

    @property
    def base(self) -> float | None:
        """The precision of discarding at random; None where nothing can be judged."""
        return self.wrong / (self.wrong + self.right) if self.wrong + self.right else None


def dry_run(
    journal: Journal | str | Path,
    run: str,
    flags: RedFlags = "strict",
    *,
    flag_tokens: int | None = None,
    task: Task | str | None = None,
) -> DryRun:
    """Return what `flags` (a preset's name, or flags) would have discarded of the samples that a run has recorded.

    An answer is wrong if its key is not the one that its step decided; candidates that were collected are neither, and
    a decision may itself be wrong. A sample that was flagged at the time is read as if it had not been, where the task
    can be made (`task` names it where the journal cannot). Begun with `record="samples"` a run has all samples, else
    those of contested steps, so that wrong answers are more among them than among all. Raises JournalError where there
    is no such run, UsageError for flags that cannot be.
    """
    chosen = red_flags(flag_tokens, replace=flags)
    with api.opened(journal) as store:
        head = store.head(run)
        found = _Counts(chosen)
        for samples, judge in _steps(store, head, task):
            for sample in samples:
                found.see(sample, judge(sample), int(head.settings.get("max_tokens", 1)))
    return found.result(head.id)


Judge = Callable[[Sample], bool | None]
_NO_PROMPT = Prompt((), "")


class _Counts:
    def __init__(self, flags: Sequence[Flag]) -> None:
        self._flags = flags
        self._by_flag = {flag.name: [0, 0, 0] for flag in flags}
        self._all = [0, 0, 0]

    def see(self, sample: Sample, is_right: bool | None, max_tokens: int) -> None:
        """Count one sample, under the first flag that speaks, if one does."""
        # 0 stands for no report here, and no report must not pass for a short reply.
        usage = Usage(sample.tokens_in, sample.tokens_out) if sample.tokens_out else None
        response = Response(sample.text, sample.finish, usage, sample.id, model=sample.model)
        # The messages are not kept with a sample; its temperature is not, either.
        request = Request(_NO_PROMPT, Draw(0, sample.slot, sample.redraw), 0, None, max_tokens)
        spoken = first_flag(self._flags, response, request)
        for counts in (self._all, *([] if spoken is None else [self._by_flag[spoken[0]]])):
            counts[0] += 1
            counts[1] += is_right is False
            counts[2] += is_right is True

    def result(self, run: str) -> DryRun:
        """Return the counts."""
        by_flag = tuple(FlagPrecision(name, *counts) for name, counts in self._by_flag.items())
        flagged, wrong, right = (sum(counts) for counts in zip(*self._by_flag.values(), strict=True))
        together = FlagPrecision("all", flagged, wrong, right)
        samples, all_wrong, all_right = self._all
        return DryRun(run, describe(self._flags), samples, all_wrong, all_right, by_flag, together)


def _steps(journal: Journal, head: RunHead, task: Task | str | None) -> Iterator[tuple[list[Sample], Judge]]:
    """Yield the recorded samples of each decided step, with what judges them."""
    yield from _chain(journal, head, task)
    rules = head.settings[PLANNED]["rules"] if is_planned(head) else {}
    for row in journal.row_decisions(head.id):
        entry = row.decided
        samples = journal.row_samples(head.id, row.item, entry.step)
        # What was collected is not decided by its votes: a judge has chosen later, or nobody.
        is_collected = rules.get(entry.kind, "").startswith("collect")
        yield samples, _by_key(None if is_collected else _decided_key(entry, samples))


def _chain(journal: Journal, head: RunHead, task: Task | str | None) -> Iterator[tuple[list[Sample], Judge]]:
    view = view_of(head, task)
    if view is None:
        for entry in journal.decisions(head.id):
            samples = journal.samples(head.id, entry.step)
            yield samples, _by_key(_decided_key(entry, samples))
        return
    # A run of rows has no chain, and so no start state to walk from.
    if next(journal.decisions(head.id), None) is None:
        return
    for state, entry, _ in decisions_of(journal, head, journal.history(head.id).book, view, or_absent=True):
        samples = journal.samples(head.id, entry.step)
        decided = _decided_key(entry, samples)
        yield samples, _by_key(decided) if state is ABSENT else _by_reading(decided, view, state)


def _decided_key(entry: Decided, samples: Sequence[Sample]) -> bytes | None:
    """Return the key that has the winner's votes; None where the samples do not say which it is."""
    counts: dict[bytes, int] = {}
    for sample in samples:
        if sample.key:
            counts[sample.key] = counts.get(sample.key, 0) + 1
    # A decision keeps a tally and no key: the winner is known by its count, unless another has as many.
    leading = [key for key, count in counts.items() if entry.votes and count == entry.votes[0] == max(counts.values())]
    return leading[0] if len(leading) == 1 else None


def _by_key(decided: bytes | None) -> Judge:
    return lambda sample: None if decided is None or not sample.key else sample.key == decided


def _by_reading(decided: bytes | None, view: TaskView, state: object) -> Judge:
    def _is_right(sample: Sample) -> bool | None:
        # What was read at the time need not be read again.
        if decided is None or sample.key:
            return _by_key(decided)(sample)
        try:
            # A flagged sample has no key, but what it says may well be read.
            return view.read(sample.text, view.load(state)).key == decided
        except MdapError:
            return None

    return _is_right


__all__ = ["DryRun", "FlagPrecision", "dry_run"]
