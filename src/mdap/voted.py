"""One vote without a task: any callable is sampled until the rule decides. The engine is the one of every run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mdap.api import choose_rule
from mdap.clock import LoopClock
from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, Undecided
from mdap.core.records import ABSENT, Move, Request, Response, Step
from mdap.core.settings import Settings
from mdap.engine.calling import limited
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking
from mdap.engine.voting import Poll, do_voting
from mdap.protocols import Rule


class Voted(msgspec.Struct, frozen=True):
    """The outcome of a vote. `winner` is `mdap.ABSENT` unless `decided`; it is never a plurality.

    `counts` holds (value, votes) with the leader first; `share` is the leader's part of all votes, 0 to 1; `flags`
    holds (name, reason) of each discarded sample; `why` says why it stopped.
    """

    winner: Any
    decided: bool
    counts: tuple[tuple[Any, int], ...]
    samples: int
    flags: tuple[tuple[str, str], ...]
    share: float
    rule: str
    why: str


class Question:
    """A task of one step whose replies are what a sampler returned."""

    def __init__(self, flags: Sequence[Callable[[Any], str | None]], key: Callable[[Any], Any] | None) -> None:
        self.values: list[Any] = []
        self._keys: list[str] = []
        self._flags = flags
        self._key = key

    def start(self) -> bool:
        """Return the only state that a step is asked about."""
        return False

    def is_done(self, state: bool) -> bool:
        """Say whether the question was answered."""
        return state

    def prompt(self, state: bool) -> str:
        """Return nothing: the sampler knows what it asks."""
        return ""

    def remember(self, value: Any) -> str:
        """Return a text that stands for this value; raises UsageError for one that cannot be voted on."""
        # Latin-1 has a character for every byte: the text stands for the key, nobody reads it.
        self._keys.append(canonical(value if self._key is None else self._key(value)).decode("latin-1"))
        self.values.append(value)
        return str(len(self.values) - 1)

    def parse(self, text: str, state: bool) -> Move:
        """Read such a text; raises RedFlag with the reason of the first flag that speaks."""
        for flag in self._flags:
            reason = flag(self.values[int(text)])
            if reason:
                raise RedFlag(reason, name=getattr(flag, "__name__", "flag"))
        return Move(self._keys[int(text)], True)


class Sampler:
    """A model that asks a callable without arguments; a blocking one runs in a thread."""

    def __init__(self, sampler: Callable[[], Any], question: Question) -> None:
        self.spec = "sampler"
        self._sampler = sampler
        self._question = question

    async def complete(self, request: Request) -> Response:
        """Return the next value of the sampler, as text."""
        if inspect.iscoroutinefunction(self._sampler):
            value = await self._sampler()
        else:
            value = await asyncio.to_thread(self._sampler)
            if inspect.isawaitable(value):
                value = await value
        return Response(self._question.remember(value))


async def vote(
    sampler: Callable[[], Any],
    *,
    k: int | None = None,
    rule: Rule | str | None = None,
    flags: Sequence[Callable[[Any], str | None]] = (),
    key: Callable[[Any], Any] | None = None,
    max_samples: int = 200,
    in_flight: int | None = None,
) -> Voted:
    """Return the outcome of sampling `sampler()` until the rule decides (Algorithm 2), at most `max_samples` times.

    `sampler` takes nothing and returns a JSON value, or anything if `key` gives its vote key; it may be asynchronous.
    A flag takes a value and returns the reason to discard it, or None. `in_flight` bounds the calls at once (default:
    k). What the sampler raises is raised.
    """
    chosen = choose_rule(k, rule)
    question = Question(flags, key)
    model = Sampler(sampler, question)
    settings = Settings(max_samples=max_samples, redraws=max_samples)
    complete = limited(model.complete, in_flight or chosen.k)
    asking = Asking(TaskView(question), complete, (), settings, LoopClock())
    step = Step(0, False)
    poll = Poll(step, chosen)
    why = "decided"
    try:
        await do_voting(asking, chosen, step, {0: poll})
    except Undecided as undecided:
        why = undecided.message
    return _outcome(poll, question, why)


def _outcome(poll: Poll, question: Question, why: str) -> Voted:
    ballot, samples = poll.ballot, poll.samples()
    # A candidate is shown as the first value that was cast for it.
    values = {sample.key: question.values[int(sample.text)] for sample in reversed(samples)}
    counts = sorted(ballot.counts.items(), key=lambda pair: -pair[1])
    decided = ballot.winner is not None
    return Voted(
        values[ballot.winner] if decided else ABSENT,
        decided,
        tuple((values[key], votes) for key, votes in counts),
        poll.taken,
        tuple((sample.flag, sample.reason) for sample in samples if sample.flag),
        ballot.first / ballot.votes if ballot.votes else 0.0,
        ballot.rule.spec,
        why,
    )
