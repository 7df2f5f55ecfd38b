"""One vote without a task: any callable is sampled until the rule decides. The engine is the one of every run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mdap.api import close
from mdap.clock import LoopClock
from mdap.core.canonical import canonical
from mdap.core.errors import RedFlag, Undecided, UsageError
from mdap.core.judging import Candidates
from mdap.core.keys import Judged, Key, resolved
from mdap.core.records import ABSENT, Move, Request, Response, Step, Vote
from mdap.core.settings import Settings
from mdap.engine.calling import limited
from mdap.engine.confiding import Confide, Told
from mdap.engine.judging import Judge
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.models.catalog import as_model
from mdap.parts import choose_rule
from mdap.protocols import Complete, Model, Rule


class Voted(msgspec.Struct, frozen=True):
    """The outcome of a vote. `winner` is `mdap.ABSENT` unless `decided`; it is never a plurality.

    `counts` holds (value, votes) with the leader first; `share` is the leader's part of all votes, 0 to 1; `flags`
    holds (name, reason) of each discarded sample; `why` says why it stopped. `judged`: what a model that grouped the
    candidates took, which is no proof; None: no model did.
    """

    winner: Any
    decided: bool
    counts: tuple[tuple[Any, int], ...]
    samples: int
    flags: tuple[tuple[str, str], ...]
    share: float
    rule: str
    why: str
    judged: dict[str, Any] | None = None


class Question:
    """A task of one step whose replies are what a sampler returned."""

    def __init__(self, flags: Sequence[Callable[[Any], str | None]], key: Callable[[Any], Any] | None) -> None:
        self.values: list[Any] = []
        self._keys: list[str | RedFlag] = []
        self._flags = flags
        self._key = key
        self.judge: Judge | None = None

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
        try:
            found: str | RedFlag = canonical(value if self._key is None else self._key(value)).decode("latin-1")
        except RedFlag as flag:
            found = flag
        # A flag, too: it is raised when the reply is read, where flags are counted.
        self._keys.append(found)
        self.values.append(value)
        # The engine knows texts: the place stands for the value, which may be anything.
        return str(len(self.values) - 1)

    def shown(self, vote: Vote) -> str:
        """Return the first value with a vote's key as a judging model reads it: text as it is, all else as JSON."""
        value = self.values[self._keys.index(vote.move.action)]
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def parse(self, text: str, state: bool) -> Move:
        """Read such a text; raises RedFlag with the reason of the first flag that speaks."""
        for flag in self._flags:
            reason = flag(self.values[int(text)])
            if reason:
                raise RedFlag(reason, name=getattr(flag, "__name__", "flag"))
        key = self._keys[int(text)]
        if isinstance(key, RedFlag):
            raise key
        return Move(key, True)


class Sampler:
    """A model that asks a callable without arguments; a blocking one runs in a thread."""

    def __init__(self, sampler: Callable[[], Any], question: Question, judge: Model | None = None) -> None:
        self.spec = "sampler"
        self._judge = judge
        self._sampler = sampler
        self._question = question

    async def complete(self, request: Request) -> Response:
        """Return the next value of the sampler, as text; a request to group candidates is the judging model's."""
        if self._judge is not None and isinstance(request.state, Candidates):
            return await self._judge.complete(request)
        if inspect.iscoroutinefunction(self._sampler):
            value = await self._sampler()
        else:
            value = await asyncio.to_thread(self._sampler)
            # That a callable returns a coroutine, as a lambda may, is seen only once it has been called.
            if inspect.isawaitable(value):
                value = await value
        return Response(self._question.remember(value))


async def vote(
    sampler: Callable[[], Any],
    *,
    k: int | None = None,
    rule: Rule | str | None = None,
    flags: Sequence[Callable[[Any], str | None]] = (),
    key: str | Key | Judged | None = None,
    confidence: Callable[[Any], float] | None = None,
    max_samples: int | None = None,
    in_flight: int | None = None,
) -> Voted:
    """Return the outcome of sampling `sampler()` until the rule decides (Algorithm 2), at most `max_samples` times.

    Without `max_samples` that is 200 times, or what suits the rule. `confidence` gives, for rules that weigh votes, how
    sure a value is, from 0 to 1.

    `sampler` takes nothing and returns a JSON value, or anything if `key` gives its vote key; it may be asynchronous.
    `key` is a function of a value, the name of a ready-made one (`"folded"`, `"number:0.01"`, `"python"`), or
    `mdap.core.keys.judged(MODEL)`: then a model groups the candidates, which is no proof.
    A flag takes a value and returns the reason to discard it, or None. `in_flight` bounds the calls at once (default:
    k). What the sampler raises is raised.
    """
    chosen = _suited(choose_rule(k, rule), confidence)
    compared, _ = resolved(key)
    judge_model = as_model(compared.model) if isinstance(compared, Judged) else None
    question = Question(flags, None if isinstance(compared, Judged) else compared)
    if judge_model is not None:
        question.judge = Judge(judge_model.spec, question.shown)
    model = Sampler(sampler, question, judge_model)
    most = getattr(chosen, "max_samples", 200) if max_samples is None else max_samples
    # There is one cap, that of samples, and any vote may take what is left of it.
    settings = Settings(max_samples=most, redraws=most)
    # Neither repeated nor metered: what the sampler raises is for its owner to judge.
    complete = limited(model.complete, in_flight or chosen.k)
    confide = None if confidence is None else _confiding(confidence, question)
    # No flags here: those that were given look at values, and speak in `parse`.
    asking = Asking(TaskView(question), complete, (), settings, LoopClock(), confide=confide)
    step = Step(0, False)
    # Made here, so that its ballot is at hand where it stays undecided.
    poll = Poll(step, chosen)
    why = "decided"
    try:
        await do_voting(asking, chosen, step, {0: poll})
    except Undecided as undecided:
        why = undecided.message
    finally:
        if judge_model is not None and (isinstance(key, str) or isinstance(getattr(key, "model", None), str)):
            # It was made here, of its spec.
            await close(judge_model)
    return _outcome(poll, question, why)


def _suited(rule: Rule, confidence: Callable[[Any], float] | None) -> Rule:
    if getattr(rule, "weighs", False) and confidence is None:
        raise UsageError(
            f"{rule.spec} weighs votes by their confidence, and nothing says where that comes from",
            remedy="give vote a function as `confidence`, or a rule that counts, such as ahead_by_k:3",
        )
    if getattr(rule, "ranks", False):
        raise UsageError(f"{rule.spec} reads rankings, and a value is none", remedy="count votes: majority:5")
    return rule


def _confiding(confidence: Callable[[Any], float], question: Question) -> Confide:
    async def _told(complete: Complete, request: Request, response: Response) -> Told:
        return Told(confidence(question.values[int(response.text)]))

    return _told


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
        None if question.judge is None else question.judge.account(),
    )
