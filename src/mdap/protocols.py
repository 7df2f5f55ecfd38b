"""The contracts of the parts that a run is made of, on one page: Task, Model, Rule, Journal, Clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias, runtime_checkable

# Rule stands there and not here: a ballot needs it, and core knows nothing of what is above it.
from mdap.core.ballot import Rule
from mdap.core.history import Acted, Decided, Entry, History, RowDecided, RowEnded, RunHead, Snapshot
from mdap.core.records import Attempt, Decision, Message, Move, Request, Response, Sample, State, Step

Decide: TypeAlias = Callable[[Step], Awaitable[Decision]]
# A coroutine and not any awaitable: the engine begins a call by hand, to see whether it waits at all.
Complete: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


@runtime_checkable
class Task(Protocol):
    """A domain: plain pure methods, no model in sight.

    Optional, found by presence:
    `spec: str` (how the task is written on a command line), `version: str | int` (part of the fingerprint),
    `steps: int` (total, if known),
    `apply(state, action) -> state` (code computes the next state: votes are on the action, and a next state that the
    reply also gave must agree or is the flag `illegal`, unless the task says `vote_on = "pair"`),
    `vote_on: Literal["action", "pair"]`,
    `check(state, move) -> str | None` (a legality oracle: the reason why a move is illegal; raises nothing),
    `kind(state) -> str`, `key(move) -> Any` (what two equal votes share; default: the canonical form),
    `in_form(form) -> Task` (the same task with prompts and replies in another form, for a model with `prompt_form`),
    `schema` (JSON Schema of what is voted on: makes 1 and 1.0 equal where it says number, arrays sets where it says
    uniqueItems), `reply_schema` (JSON Schema that a provider which can is asked to hold
    replies to, or a function of the state that returns one, or None),
    `judge` (an `mdap.engine.judging.Judge`: a model groups the candidates, outside of every guarantee),
    `restored(state) -> Task` (the task with all that a run's first state says and its spec does not),
    `settle(state, votes, winner) -> Move | None` (what a closed ballot comes to: `votes` are the moves of all that were
    counted, in the order asked, `winner` is that of the decided candidate, None where the rule closed the ballot
    without one; None: the step is undecided. The move is decided, journaled and replayed like a winner's; with votes on
    the action, its next state is what `apply` gives. Pure: a resume may ask for it again),
    `observe(state, intent, outcome) -> state` (the state in which a step goes on once a tool that a reply asked for has
    come to something, where a run has `tools`; without it the run keeps the outcome and shows it in the step's prompt),
    `effect(state) -> ToolIntent | None` (the call that a state waits for, for a task that says by itself what it calls:
    nobody votes then, the call is made once by the task's `hands: Mapping[str, mdap.engine.tools.Hand]`, its outcome is
    the step's action, and `observe` gives the next state),
    `paraphrases(state) -> list` (other prompts for a state, for the remedy `prompt`),
    `draft(state) -> Move | None` (a guess, used by lookahead alone),
    `rank(text, state) -> Sequence[Move]` (in place of `parse`, for rules that read rankings: all moves that a reply
    names, best first; the vote is for the first of them),
    `answer(state) -> Move | None` (the known right move, or None where there is none: for calibration, simulated models
    and the recount of `wrong`, never for the engine).
    For simulation and serving: `write(move) -> str` (a reply that `parse` reads as this move),
    `read(messages) -> state` (the state that a prompt was rendered from; raises ValueError),
    `mistakes(state) -> list[Move]` (wrong but well-formed moves, the likeliest first), `sample(rng) -> state`.
    """

    def start(self) -> State:
        """Return the state that the first step is asked about."""

    def is_done(self, state: State) -> bool:
        """Say whether the task ends in this state."""

    def prompt(self, state: State) -> str | Sequence[Message]:
        """Return what a model is asked in this state: text (one user message) or messages."""

    def parse(self, text: str, state: State) -> Move:
        """Read a reply; raises RedFlag, with the reason, if it is not exactly of the asked form."""


@runtime_checkable
class Model(Protocol):
    """Something that answers requests. It knows nothing of voting.

    Optional, found by presence: `bind(task) -> Model` (a simulated model learns its task), `close()` (async),
    `first_temperature` and `temperature` (what votes are drawn at; None: send none), `prompt_form: str` (the form in
    which a task that has `in_form` writes for this model), `identity: str` (what the fingerprint holds for `spec`),
    `is_seeded: bool` (nothing but the seed settles a reply, so that equal replies say nothing), `over(change) -> Model`
    (combined models: the same with each of them changed), `condition: tuple[str, ...]` with `restore(condition)` (what
    it has learnt of its provider, journaled with each decision and given back at a resume), `profile` with
    `complete_n(requests)` (several draws in one call).
    """

    spec: str

    async def complete(self, request: Request) -> Response:
        """Answer one request; raises ModelError (retryable or not) and nothing else. Cancelling it ends the call."""


# As much of a journal as what writes to it needs, so that something else, such as one row's view, can stand in for it.
class Entries(Protocol):
    """Where the entries of a run are handed over to; `durable` counts what has been committed."""

    @property
    def durable(self) -> int:
        """The last ticket whose entry is durable."""

    def append(self, run: str, entry: Entry) -> int:
        """Hand over one entry and return its ticket; it is durable once `durable` has reached the ticket."""

    async def wait_durable(self, ticket: int) -> None:
        """Return when the entry with this ticket is durable; raises JournalError if it cannot be."""


class Journal(Protocol):
    """Append and read, nothing else. Entries of one run keep their order; `durable` counts what has been committed."""

    # Counted, and not a flag for each entry: a commit covers all tickets up to one number.
    durable: int

    def create(self, head: RunHead) -> None:
        """Add a run and make it durable before returning; raises JournalError if the id exists."""

    def claim(self, run: str) -> AbstractContextManager[None]:
        """Return a context in which this process alone drives `run`; raises RunBusy naming the process that does."""

    # Beside `claim`, for those who only look: a claim is held for as long as they do, and turns drivers away.
    def is_driven(self, run: str) -> bool:
        """Say whether anybody, here or in another process, drives `run` at this moment."""

    def append(self, run: str, entry: Entry) -> int:
        """Hand over one entry and return its ticket; it is durable once `durable` has reached the ticket.

        Never blocks. Raises JournalError if an earlier write failed.
        """

    async def wait_durable(self, ticket: int) -> None:
        """Return when the entry with this ticket is durable; raises JournalError if it cannot be."""

    # A list, unlike decisions: runs are few, and whoever lists them sorts or counts them at once.
    def heads(self) -> list[RunHead]:
        """Return all runs, oldest first."""

    def head(self, run: str) -> RunHead:
        """Return one run; raises JournalError naming what there is. A unique prefix of the id is enough."""

    def history(self, run: str) -> History:
        """Return what a resume needs: newest snapshot, the entries after it, open ballot, totals, status, spend."""

    def decisions(self, run: str, start: int = 0) -> Iterator[Decided]:
        """Yield the stored `Decided` entries from step `start` on, in order, without holding them in memory."""

    def snapshot(self, run: str, step: int) -> Snapshot:
        """Return the newest snapshot at or below `step`."""

    def samples(self, run: str, step: int) -> list[Sample]:
        """Return the recorded samples of one step, in slot order."""

    def attempts(self, run: str) -> Iterator[Attempt]:
        """Yield the attempts at calls that were listed, in the order in which they ended."""

    def row_decisions(self, run: str, start: int = 0) -> Iterator[RowDecided]:
        """Yield the decisions about rows of a map from row `start` on, by row and step, a few at a time."""

    def row_samples(self, run: str, item: int, step: int) -> list[Sample]:
        """Return the recorded samples of one decided step of a row, in slot order."""

    def row_ends(self, run: str, start: int = 0) -> Iterator[RowEnded]:
        """Yield where rows stand that are not simply done, from row `start` on."""

    def acts(self, run: str) -> list[Acted]:
        """Return what was done about steps that their caps had left undecided, by row and step, oldest first."""

    def close(self) -> None:
        """Make all durable, checkpoint, and let go of the file. Safe to call twice."""


class Clock(Protocol):
    """Time as the engine sees it."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


__all__ = ["Clock", "Complete", "Decide", "Entries", "Journal", "Model", "Rule", "Task"]
