"""mdap behind the small interfaces that the conformance checks ask for. No check lives here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mdap import api, voted
from mdap.clock import run_virtual
from mdap.core.ballot import Ballot
from mdap.core.canonical import canonical
from mdap.core.errors import ModelError, RedFlag
from mdap.core.events import Event, Retried
from mdap.core.records import ABSENT, Move, Request, Response
from mdap.core.rules import AheadByK
from mdap.core.scaling import k_min
from mdap.core.strictjson import read_json
from mdap.engine.taskview import TaskView
from mdap.journal import open_journal
from mdap.tasks.catalog import task as task_named


class Outcome(NamedTuple):
    """What became of a step whose calls were all refused."""

    calls: int
    waits: list[float]
    votes: int
    flags: int
    error: str
    decided_on_resume: bool


class Election(NamedTuple):
    """Who won (None: nobody), and the samples that it took."""

    winner: Any
    samples: int


def decide(votes: Sequence[str], k: int) -> str | None:
    """The winner at the first moment there is one (C1)."""
    ballot = Ballot(AheadByK(k))
    for vote in votes:
        ballot.cast(vote)
        if ballot.winner is not None:
            break
    winner: str | None = ballot.winner
    return winner


class Chain:
    """One step from 5; a reply is `[action, next state]`. With `computed`, code adds the action to the state."""

    spec = "chain"
    start_at = 5

    def start(self) -> int:
        return self.start_at

    def is_done(self, state: int) -> bool:
        return state != self.start_at

    def prompt(self, state: int) -> str:
        return f"At {state}. What next?"

    def parse(self, text: str, state: int) -> Move:
        action, after = read_json(text)
        return Move(action, ABSENT if after is None else after)


class Computed(Chain):
    """The same, voted on by action alone."""

    vote_on = "action"

    def apply(self, state: int, action: int) -> int:
        return state + action


class Listed:
    """A model that answers a step's n-th slot with the n-th reply."""

    spec = "listed"

    def __init__(self, replies: Sequence[str]) -> None:
        self.replies = replies
        self.calls = 0

    async def complete(self, request: Request) -> Response:
        self.calls += 1
        return Response(self.replies[request.draw.slot])


def decide_pair(votes: Sequence[tuple[str, int]], k: int) -> tuple[Any, Any] | None:
    """The (action, next state) that enters the chain, or None while the votes do not suffice (C2)."""
    model = Listed([json.dumps(vote) for vote in votes])
    result = run_virtual(api.run(Chain(), model, k=k, max_samples=len(votes)))
    return (next(iter(result.actions)), result.state) if result.status == "done" else None


def advance(state: int, action: int, said: int | None) -> int | None:
    """The next state after a reply of this action and next state; None if the reply is discarded (C3)."""
    task = Computed()
    try:
        after: int = TaskView(task).read(json.dumps([action, said]), state).move.next_state
    except RedFlag:
        return None
    return after


class Refusing:
    """A server that answers 429 until it is told to be well."""

    spec = "refusing"

    def __init__(self) -> None:
        self.well = False
        self.calls = 0

    async def complete(self, request: Request) -> Response:
        self.calls += 1
        if self.well:
            return Response("[1, 6]")
        raise ModelError("429 Too Many Requests", kind="429", status=429)


def ask_refused(seed: int) -> Outcome:
    """One step, one vote, a server that refuses every call; then the server recovers (C4)."""
    journal, model, waits = open_journal(None), Refusing(), list[float]()

    def watch(event: Event) -> None:
        if isinstance(event, Retried):
            waits.append(event.wait)

    task = Chain()
    first = run_virtual(api.run(task, model, k=1, seed=seed, journal=journal, on_event=watch))
    calls, model.well = model.calls, True
    again = run_virtual(api.resume(first.run, task=task, model=model, journal=journal))
    return Outcome(calls, waits, first.votes, sum(first.flagged.values()), first.reason, again.status == "done")


def plan_k(p: float, steps: int, target: float) -> int:
    """The least k for this success (C5)."""
    return k_min(p, steps, target)


def elect(sampler: Callable[[], Any], k: int, cap: int) -> Election:
    """One vote of at most `cap` samples (C6, C10)."""

    async def _sample() -> Any:
        return sampler()

    try:
        outcome = run_virtual(voted.vote(_sample, k=k, max_samples=cap))
    except ConnectionError:
        return Election(None, 0)
    return Election(outcome.winner if outcome.decided else None, outcome.samples)


def key(value: Any) -> bytes:
    """What equal votes share (C7)."""
    return canonical(value)


def race(replies: Sequence[tuple[str, float]], k: int) -> str | None:
    """The winner when the n-th call asked for gives the n-th answer, so many seconds later (C8)."""
    asked = iter(replies)

    async def _sample() -> str:
        answer, seconds = next(asked)
        await asyncio.sleep(seconds)
        return answer

    outcome = run_virtual(voted.vote(_sample, k=k, max_samples=len(replies)))
    return outcome.winner if outcome.decided else None


class Remote:
    """A model behind a function of (prompt, seed, temperature), as a server is."""

    spec = "remote"

    def __init__(self, server: Callable[[str, int | None, float | None], str]) -> None:
        self.server = server

    async def complete(self, request: Request) -> Response:
        return Response(self.server(request.messages[0].content, request.seed, request.temperature))


def votes_through(server: Callable[[str, int | None, float | None], str], k: int) -> int:
    """How many votes a step took when the model is this server (C9)."""
    return run_virtual(api.run(Chain(), Remote(server), k=k)).votes


def candidates(answers: Sequence[str], judge: Callable[[str, str], bool]) -> list[int]:
    """The tally of these answers, in descending order; `judge` is there to be asked and is not (C10)."""
    asked = iter(answers)

    async def _sample() -> str:
        return next(asked)

    outcome = run_virtual(voted.vote(_sample, k=len(answers) + 1, max_samples=len(answers)))
    return sorted((votes for _, votes in outcome.counts), reverse=True)


def prompts_of(steps: int) -> list[str]:
    """The prompts of the first steps of a task whose state has one size (C11)."""
    seen: list[str] = []

    def answer(prompt: str) -> str:
        seen.append(prompt)
        return "[1]"

    class Clockwork:
        """Goes round a dial of five; how often it went round is no part of the state."""

        spec = "clockwork"
        vote_on = "action"

        def __init__(self) -> None:
            self.steps = steps

        def start(self) -> int:
            return 0

        def is_done(self, state: int) -> bool:
            return False

        def prompt(self, state: int) -> str:
            return f"The hand is at {state} of 5. How far does it go?"

        def parse(self, text: str, state: int) -> Move:
            return Move(read_json(text)[0], ABSENT)

        def apply(self, state: int, action: int) -> int:
            return (state + action) % 5

    run_virtual(api.run(task_named(Clockwork()), answer, k=1))
    return seen


def read(text: str) -> Any:
    """The value of a reply; raises ValueError if the reply is to be discarded (C12)."""
    try:
        return read_json(text)
    except RedFlag as flag:
        raise ValueError(flag.message) from flag
