"""The metrics of a run in a journal, read step by step: what `mdap metrics` prints. Nothing is asked or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mdap import api
from mdap.core.errors import MdapError, UsageError
from mdap.core.history import Decided, RunHead
from mdap.core.metrics import Fold, Judge, RunMetrics, StepMetrics, rule_of
from mdap.core.records import ABSENT, Move, OpenBallot, Sample, State
from mdap.engine.ruling import for_run
from mdap.protocols import Journal, Task
from mdap.result import decisions_of
from mdap.rowio import is_map, is_planned
from mdap.stepview import view_of
from mdap.tasks.rulebook import rule as rule_named


def metrics(
    journal: Journal | str | Path, run: str, *, task: Task | str | None = None, steps: bool = False
) -> RunMetrics:
    """Return the metrics of a run, a map or a plan: see `mdap.core.metrics.RunMetrics`.

    `run` is an id or a unique beginning of one. `task` says how replies are read where the journal's own spec is of a
    class that cannot be imported; without it no flag's precision is known. `steps` adds the figures of each step, which
    are then held in memory. Raises JournalError where there is no such run.
    """
    with api.opened(journal) as store:
        reading = Reading(store, run, task)
        each = list(reading.steps()) if steps else reading.read_on()
        return reading.fold.result(each)


class Reading:
    """One run, read once from its first step to its last; at most a page of its steps is held."""

    def __init__(self, journal: Journal, run: str, task: Task | str | None = None) -> None:
        self.head: RunHead = journal.head(run)
        history = journal.history(self.head.id)
        self._journal, self._book = journal, history.book
        self._view = view_of(self.head, task)
        found = None
        # A rule of somebody's own is known to nobody else: its votes can be counted all the same.
        if not is_planned(self.head):  # there each role has its own, and gates promise nothing
            with suppress(UsageError):
                # The total of a map counts its rows, which may be of any length.
                steps = None if is_map(self.head) else self.head.total
                found = for_run(rule_named(rule_of(self.head, self._book)), steps)
        self.fold = Fold(self.head, self._book, found)
        settings = {**self.head.settings, **self._book.settings}
        self._record = settings.get("record", "contested")

    def read_on(self) -> tuple[StepMetrics, ...]:
        """Fold all steps in, and return none of them."""
        for _ in self.steps():
            pass
        return ()

    def steps(self) -> Iterator[StepMetrics]:
        """Yield the figures of each step in order, that which is open last; of rows, by row and step."""
        # A run has steps of a chain or of rows: what it has not yields nothing.
        yield from self._chain()
        yield from self._rows()

    def _chain(self) -> Iterator[StepMetrics]:
        run, book = self.head.id, self._book
        for state, entry, move in self._asked():
            # None is not empty: what was not recorded must not count as no samples.
            samples = self._journal.samples(run, entry.step) if self._is_kept(entry) else None
            judge = None if samples is None else self._judge(state, move, samples)
            yield self.fold.step(entry.step, entry.votes, entry.kind, samples, judge)
        if book.ballot is not None:
            yield self._open(book.ballot, self._journal.samples(run, book.ballot.step))

    def _asked(self) -> Iterator[tuple[State, Decided, Move]]:
        """Yield the decisions with the states asked; ABSENT where the journal alone does not say, or nobody looks."""
        view = self._view
        if view is None or self._record == "none":
            decisions = self._journal.decisions(self.head.id)
            yield from ((ABSENT, entry, Move(entry.action, ABSENT)) for entry in decisions)
        else:
            yield from decisions_of(self._journal, self.head, self._book, view, or_absent=True)

    def _rows(self) -> Iterator[StepMetrics]:
        run = self.head.id
        for row in self._journal.row_decisions(run):
            entry = row.decided
            samples = self._journal.row_samples(run, row.item, entry.step) if self._is_kept(entry) else None
            yield self.fold.step(entry.step, entry.votes, entry.kind, samples, item=row.item)
        for ended in self._journal.row_ends(run):
            if ended.ballot is not None and ended.status != "done":
                yield self._open(ended.ballot, list(ended.ballot.samples), ended.item)

    def _open(self, ballot: OpenBallot, samples: list[Sample], item: int | None = None) -> StepMetrics:
        counts: dict[bytes, int] = {}
        for _, vote in ballot.votes:
            counts[vote.key] = counts.get(vote.key, 0) + 1
        tally = tuple(sorted(counts.values(), reverse=True))
        # Figures of some of its samples would pass for those of all.
        kept = samples if len(samples) >= ballot.taken and self._record != "none" else None
        return self.fold.step(ballot.step, tally, ballot.kind, kept, item=item, is_open=True)

    def _is_kept(self, entry: Decided) -> bool:
        return self._record == "samples" or (self._record == "contested" and len(entry.votes) > 1)

    def _judge(self, state: State, move: Move, samples: list[Sample]) -> Judge | None:
        """Return what reads a flagged reply as if it had not been flagged, and holds it against the decision."""
        view = self._view
        if view is None or state is ABSENT or not any(sample.flag for sample in samples):
            return None
        asked = view.load(state)
        try:
            decided = view.vote(view.loaded(move), asked).key
        except MdapError:  # a person's word, which the task itself would not take
            return None

        def _is_right(sample: Sample) -> bool | None:
            try:
                return view.read(sample.text, asked).key == decided
            except MdapError:
                return None

        return _is_right
