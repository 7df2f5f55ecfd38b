"""What a run came to, with its figures. Actions and samples are read from the journal when asked for, not held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any, TypeAlias

import msgspec

from mdap.core.certificate import Certificate, certify
from mdap.core.errors import JournalError
from mdap.core.history import Book, Decided, History, RunHead, stretches, walk
from mdap.core.prices import UnitPrices, usd
from mdap.core.records import ABSENT, Action, Move, Sample, State, Status
from mdap.engine.ruling import for_run
from mdap.engine.taskview import TaskView
from mdap.protocols import Journal, Rule
from mdap.tasks.rulebook import rule as rule_named

Reopen: TypeAlias = Callable[[], AbstractContextManager[Journal]]


def standing(journal: Journal, run: str) -> History:
    """Return a run's history as the run stands: one that has no end, and that nobody drives, was interrupted.

    A process that is killed cannot write how it ended.
    """
    history = journal.history(run)
    if history.book.status == "running" and not journal.is_driven(run):
        # Read again: it may have ended between the two looks.
        history = journal.history(run)
        if history.book.status == "running":
            # Only in what was read: a journal is written to by whoever drives the run.
            history.book.status = "interrupted"
            history.book.reason = "nobody drives it any more: its process ended without a word"
    return history


def decisions_of(
    journal: Journal, head: RunHead, book: Book, view: TaskView, *, or_absent: bool = False
) -> Iterator[tuple[State, Decided, Move]]:
    """Yield every decision of a chain in order as (state asked, stored entry, move).

    What an earlier version of the task decided is never computed again by this one. Where nothing else gives the next
    state, this raises JournalError; with `or_absent` states are ABSENT from there to the next one that is stored.
    """
    found = stretches(head, book, *view.identity)
    for (first, is_this), (end, _) in pairwise([*found, (book.steps, True)]):
        near, done = journal.snapshot(head.id, first), first
        before = islice(journal.decisions(head.id, near.step), first - near.step)
        state = near.state
        # What lies between the snapshot and the change stores its next states: nothing else is accepted.
        for _, _, move in walk(state, before, None):
            state = move.next_state
        try:
            entries = islice(journal.decisions(head.id, first), end - first)
            for asked, entry, move in walk(state, entries, view.replay, is_this=is_this):
                yield asked, entry, move
                done = entry.step + 1
        except JournalError:
            if is_this or not or_absent:
                raise
            for entry in islice(journal.decisions(head.id, done), end - done):
                yield ABSENT, entry, Move(entry.action, ABSENT)


class Result:
    """One run as it stands: status, figures, the last state, and the way to go on.

    `wrong` counts decisions that differ from the task's known answer and raises AttributeError where the task knows
    none. `reopen` gives the journal again when more is read. `seconds` are those of all segments, of one that was
    killed those up to its last durable decision; `us_per_step` is in microseconds, from the first step of the last
    segment to its last commit.
    """

    def __init__(
        self, journal: Journal, run: str, view: TaskView, rule: Rule | None = None, reopen: Reopen | None = None
    ) -> None:
        # Without one the journal is somebody else's, who closes it.
        self._reopen: Reopen = reopen or (lambda: nullcontext(journal))
        self._view = view
        history = standing(journal, run)
        self.head: RunHead = history.head
        self.book: Book = history.book
        self.run = history.head.id
        self.seconds = self.book.seconds
        seconds, steps = self.book.segment
        self.us_per_step = 1e6 * seconds / steps if steps else 0.0
        # As it judged the run: what it may promise of a step follows from how many the run has.
        self._rule = for_run(rule_named(self.rule) if rule is None else rule, getattr(view.task, "steps", None))
        self.state: State = history.snapshot.state
        # From the newest snapshot: after any number of steps, a result is there at once.
        for _, _, move in walk(self.state, history.tail, view.replay):
            self.state = move.next_state
        self.certificate: Certificate = certify(self._rule, self.book.kinds, int(self.status == "undecided"))
        self._wrong: list[int] | None = None

    @property
    def status(self) -> Status:
        """How the run ended: done, undecided, budget, stopped, interrupted or error."""
        return self.book.status

    @property
    def reason(self) -> str:
        """Why it ended, and the way to go on; empty when done."""
        return self.book.reason

    @property
    def rule(self) -> str:
        """The rule as a spec, the one of the newest epoch."""
        return self.book.epochs[-1][1]["rule"] if self.book.epochs else self.head.rule

    @property
    def steps(self) -> int:
        """Decided steps."""
        return self.book.steps

    @property
    def samples(self) -> int:
        """Model calls that gave a reply, flagged ones included."""
        return self.book.totals.samples

    @property
    def votes(self) -> int:
        """Samples without red flags."""
        return self.book.totals.votes

    @property
    def votes_per_step(self) -> float:
        """Votes divided by decided steps."""
        return self.votes / self.steps if self.steps else 0.0

    @property
    def flagged(self) -> dict[str, int]:
        """Discarded samples by the name of their red flag."""
        return self.book.totals.flagged

    @property
    def retries(self) -> dict[str, int]:
        """Repeated calls by the name of the failure."""
        return self.book.totals.retries

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens in and out, as reported."""
        return {"in": self.book.totals.tokens_in, "out": self.book.totals.tokens_out}

    @property
    def prices(self) -> dict[str, UnitPrices]:
        """The unit prices in force, by the spec of each model; none where a model has no price."""
        return self.head.prices if self.book.prices is None else self.book.prices

    @property
    def cost_usd(self) -> Decimal | None:
        """What calls have cost, at these prices; after a kill, what may have been spent. None where there are none."""
        return usd(self.book.spent.nano) if self.prices else None

    @property
    def predicted_success(self) -> float | None:
        """The probability that every decided step is right, under `assumption`; None where nothing can be said."""
        return self.certificate.predicted_success

    @property
    def assumption(self) -> str:
        """What `predicted_success` rests on."""
        return self.certificate.assumption

    @property
    def actions(self) -> Iterator[Action]:
        """The decided actions in order, read from the journal as they are asked for."""
        return (entry.action for _, entry, _ in self.decisions)

    @property
    def decisions(self) -> Iterator[tuple[State, Decided, Move]]:
        """Every decision in order as (state asked, stored entry, move).

        Raises JournalError at a step that another version of the task decided, if only `apply` gives the next state.
        """
        with self._reopen() as journal:
            yield from decisions_of(journal, self.head, self.book, self._view)

    def decision(self, step: int) -> tuple[State, Decided, Move]:
        """Return one of the `decisions`, read from the snapshot before it; raises as they do."""
        # The last of the stretches that have begun by then is the one that holds the step.
        is_this = [is_this for first, is_this in stretches(self.head, self.book, *self._view.identity) if first <= step]
        with self._reopen() as journal:
            near = journal.snapshot(self.run, step)
            entries = journal.decisions(self.run, near.step)
            return next(
                islice(walk(near.state, entries, self._view.replay, is_this=is_this[-1]), step - near.step, None)
            )

    def samples_of(self, step: int) -> list[Sample]:
        """Return the recorded samples of one step."""
        with self._reopen() as journal:
            return journal.samples(self.run, step)

    @property
    def wrong(self) -> int:
        """Decisions that differ from the task's answer for the state asked; counted when first asked for.

        Raises JournalError where not all of them can be read any more: see `decisions`.
        """
        return len(self.wrong_steps)

    @property
    def wrong_steps(self) -> list[int]:
        """The steps that `wrong` counts."""
        if self._wrong is None:
            answer = getattr(self._view.task, "answer", None)
            if answer is None:
                # Of this kind, so that hasattr() says whether there is such a figure.
                raise AttributeError(f"task {self.head.task} knows no answers, so nothing can be called wrong")
            self._wrong = [entry.step for entry in self._differing(answer)]
        return self._wrong

    def _differing(self, answer: Callable[[State], Move | None]) -> Iterator[Decided]:
        load = self._view.load
        for state, entry, move in self.decisions:
            right = answer(load(state))
            # Where there is no right move, none that was decided can be it.
            if right is None or not self._view.agrees(self._view.loaded(move), right):
                yield entry

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield one JSON object a step: step, kind, action, next_state, votes. Equal runs give equal bytes."""
        for _, entry, move in self.decisions:
            yield {
                "step": entry.step,
                "kind": entry.kind,
                "action": entry.action,
                "next_state": move.next_state,
                "votes": list(entry.votes),
            }

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints; `wrong` is absent where it cannot be counted, `cost` without prices.

        `second_calls`, absent where there were none, asked how sure the model was; samples do not count them. The
        dollars of `cost` are text, for a number of JSON would round them.
        """
        figures: dict[str, Any] = {
            "run": self.run,
            "task": self.head.task,
            "model": self.head.model,
            "rule": self.rule,
            "k": self._rule.k,
            "status": self.status,
            "reason": self.reason,
            "steps": self.steps,
            "samples": self.samples,
            "votes": self.votes,
            "votes_per_step": self.votes_per_step,
            "flagged": self.flagged,
            "retries": self.retries,
            "wasted": self.book.totals.wasted,
            "undecided": int(self.status == "undecided"),
            "tokens": self.tokens,
            "seconds": self.seconds,
            "us_per_step": self.us_per_step,
            "predicted_success": self.predicted_success,
            "assumption": self.assumption,
            "result": self.state,
        }
        if self.book.totals.second_calls:
            figures["second_calls"] = self.book.totals.second_calls
        if self.cost_usd is not None:
            figures["cost"] = {"usd": f"{self.cost_usd:f}", "prices": msgspec.to_builtins(self.prices)}
        if self._is_countable:
            figures["wrong"] = self.wrong
        return figures

    @property
    def _is_countable(self) -> bool:
        """Whether the task knows answers, and the journal the states that they are to."""
        if not hasattr(self._view.task, "answer"):
            return False
        try:
            # True in any case; it is asked for the error that it may raise.
            return self.wrong >= 0
        except JournalError:
            return False

    def __str__(self) -> str:
        wrong = f", wrong {self.wrong:,}" if self._is_countable else ""
        return (
            f"{self.run}: {self.status}, {self.steps:,} steps, {self.votes_per_step:.3f} votes a step"
            f"{wrong}, {self.seconds:.2f} s"
        )

    def __repr__(self) -> str:
        # Without `wrong`: a debugger, and asyncio itself, take a repr at any moment, and counting reads the whole run.
        return f"<{self.run}: {self.status}, {self.steps:,} steps>"
