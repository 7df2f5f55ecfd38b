"""What each step of a run of several roles cost and took, put down with its decision. Spends and limits nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mdap.core.history import Book, Entry, RowDecided, RowEnded, RunHead
from mdap.core.records import Request, Sample, Step, Totals
from mdap.engine.durable import Log
from mdap.engine.rows import Whole
from mdap.protocols import Clock, Entries


class Accounts(Whole):
    """The journal of the run as its branches use it, with what each step cost and took put down for its role."""

    def __init__(self, journal: Entries, log: Log, head: RunHead, clock: Clock, book: Book) -> None:
        super().__init__(journal, log, head, clock)
        self.assigned = 0
        self.retried: dict[str, dict[str, int]] = {}
        self._book = book
        self._cost: dict[tuple[int, int], int] = {}
        self._seconds: dict[tuple[int, int], float] = {}
        self._told: dict[str, dict[str, int]] = {}
        self._timed = clock.now()

    def note(self, request: Request, cost: int) -> None:
        """Put down what a call cost, in nano-dollars, until its step is journaled."""
        where = request.draw.item, request.draw.step
        self._cost[where] = self._cost.get(where, 0) + cost

    def took(self, step: Step, samples: Sequence[Sample]) -> None:
        """Put down how long the samples of a step took, until it is journaled."""
        self._seconds[step.item, step.index] = sum([sample.latency for sample in samples])

    def append(self, entry: Entry) -> int:
        """Hand over one entry, and fold it into the book that totals are read from."""
        ticket = super().append(entry)
        # Only now: `account` has put into the totals of the entry what the book adds up.
        self._book.add(entry)
        return ticket

    def account(self, entry: Entry) -> None:
        """Put into the totals of an entry what its step cost and took, and what its role had to repeat."""
        if type(entry) is RowDecided:
            made, step, kind = entry.decided.totals, entry.decided.step, entry.decided.kind
            taken = self._seconds.pop((entry.item, step), 0.0)
        elif isinstance(entry, RowEnded) and entry.ballot is not None:
            # What an open ballot took is told as it is left: whoever resumes begins with empty accounts.
            made, step, kind = entry.totals, entry.ballot.step, entry.ballot.kind
            taken = sum([sample.latency for sample in entry.ballot.samples])
        else:
            return
        if made is not None:
            cost = self._cost.pop((entry.item, step), 0)
            self.assigned += cost
            made.nano += cost
            made.seconds += taken
            # Of the whole: a branch's own time would count what others took at the same time once more.
            now = self.clock.now()
            made.elapsed, self._timed = now - self._timed, now
            made.add(Totals(retries=self._new_retries(kind)))

    def unassigned(self) -> dict[str, int]:
        """Return the repeated calls that no entry counts yet, by the name of the failure."""
        left: Counter[str] = Counter()
        for kind in self.retried:
            left.update(self._new_retries(kind))
        return dict(left)

    def _new_retries(self, kind: str) -> dict[str, int]:
        now, told = self.retried.get(kind, {}), self._told.get(kind, {})
        # A copy: repeats go on being counted in the other one.
        self._told[kind] = dict(now)
        return {name: count - told.get(name, 0) for name, count in now.items() if count != told.get(name, 0)}
