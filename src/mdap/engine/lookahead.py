"""Asks the next steps while the votes on this one are still out, from the answer that leads. Decides nothing itself.

A step is handed out only with its full decision on the state that was really decided, so the decisions are those of a
run without lookahead; what differs is the time, and the calls that losing branches waste.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, Task, TaskGroup, get_running_loop
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from statistics import median
from types import TracebackType
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import MdapError, TaskError
from mdap.core.events import Event
from mdap.core.records import Decision, Move, State, Step, Vote
from mdap.engine.calling import Emit
from mdap.engine.poll import Poll, Slot
from mdap.engine.room import Room
from mdap.engine.taskview import TaskView

# Below this the engine's own work is what a step waits for, and asking ahead would only add to it.
WORTH_SECONDS = 0.005
# One vote is enough to go on from where votes are nearly always right; elsewhere a leader needs a margin of 2.
SURE = 0.95
LATENCIES = 63

# Of a step, the ballots that it is in and, where somebody listens, who is told of what happens.
Voting: TypeAlias = Callable[..., Awaitable[Decision]]
Draft: TypeAlias = Callable[[Step], Move | Coroutine[Any, Any, Move | None] | None]
Key: TypeAlias = tuple[int, bytes]
# States are told apart by their JSON in one order of keys: they need not be hashable, nor be built in the same order.
_encode = msgspec.json.Encoder(order="deterministic").encode


class Ahead(msgspec.Struct):
    """What asking ahead did: branches left for another leader, ballots taken up again, samples of losing branches."""

    rollbacks: int = 0
    reused: int = 0
    wasted: int = 0


class Branch:
    """One step asked in one state, perhaps ahead of its time. Its ballot outlives the task that draws its votes."""

    __slots__ = (
        *("calls", "decision", "drafting", "followed", "guess", "heard", "is_drafted", "is_real"),
        *("key", "outcome", "poll", "polls", "task"),
    )

    def __init__(self, key: Key, poll: Poll) -> None:
        self.key = key
        self.poll = poll
        self.polls = {poll.step.index: poll}
        self.outcome: Future[Decision] | None = None
        self.decision: Decision | None = None
        self.task: Task[None] | None = None
        self.calls = 0  # as far as is known, and for all branches summed up in `Lookahead`
        self.followed: State | None = None  # the state that the next branch of the chain is asked in
        self.heard: list[Event] = []  # what observers are to hear of it if it becomes the real one
        self.is_real = False
        self.is_drafted = False
        self.guess: Move | None = None
        self.drafting: Task[None] | None = None

    @property
    def unfinished(self) -> int:
        """Draws that wait for a reply."""
        return sum([slot.vote is None and not slot.void for slot in self.poll.slots]) if self.task is not None else 0


class Lookahead:
    """Up to `depth` steps ahead of the one that is waited for, or up to `window` where there is a draft.

    `vote` decides one step with the ballots that it is given; `open_poll` makes a new ballot; `polls` are the ballots
    that a stop would keep: only that of the step really waited for is ever in it. Use it as a context: leaving it
    ends all branches. `draft` guesses the move of a step without votes: at once, or from a cheaper model by and by.
    `room` says how many calls at once are of use, given how long one takes in seconds: a branch is opened only while
    its calls leave room for those that the real step may still need. It is open from the start with a draft, else once
    the median call has taken more than `worth` seconds. A step that it may not ask yet, by its index, is left alone.
    `emit`, if given, hears what happens in a branch (red flags, caps that run out) once that is the real one, and never
    of one that loses; `vote` is then given who is to be told.
    """

    def __init__(
        self,
        view: TaskView,
        vote: Voting,
        open_poll: Callable[[Step], Poll],
        polls: dict[int, Poll],
        *,
        depth: int,
        window: int = 64,
        draft: Draft | None = None,
        room: Room = lambda _: float("inf"),
        worth: float = WORTH_SECONDS,
        may_ask: Callable[[int], bool] = lambda _: True,
        emit: Emit = None,
    ) -> None:
        self.ahead = Ahead()
        self._view = view
        self._vote = vote
        self._open_poll = open_poll
        self._polls = polls
        self._depth = depth
        self._window = window
        self._draft = draft
        self._room = room
        self._worth = worth
        self._may_ask = may_ask
        self._emit = emit
        self._group = TaskGroup()
        self._chain: deque[Branch] = deque()
        self._parked: dict[Key, Branch] = {}
        self._calls = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._latency = float("inf")
        self._agreed, self._cast = 19, 20  # as if 20 votes had been seen at the limit of `SURE`
        self._drafts = Counter[bool]()
        self._is_open = draft is not None or worth < 0

    async def __aenter__(self) -> Lookahead:
        """Begin; nothing is asked yet."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all branches; what they took is waste, but for the ballot that is kept."""
        kept = set(map(id, self._polls.values()))
        for branch in self.open():
            # Its samples go into the journal with its ballot, and are no waste.
            if id(branch.poll) in kept:
                self._stop(branch)
            else:
                self._drop(branch)
        self._chain.clear()
        self._parked.clear()
        # Not with the error that is on its way: the group would raise another one, with that inside.
        await self._group.__aexit__(None, None, None)

    async def decide(self, step: Step) -> Decision:
        """Return the decision on a step, as `vote` alone would give it."""
        if self._is_open or self._chain or step.index in self._polls:
            decision = await self._decide_ahead(step)
            self._agreed += decision.votes[0]
            self._cast += sum(decision.votes)
        else:
            decision = await self._vote(step, self._polls)
        if decision.samples:
            self._latencies.append(decision.samples[-1].latency)
            # A median sorts what it is of: past the first steps, once in as many as it looks at is enough.
            if decision.step % LATENCIES == 0 or len(self._latencies) < LATENCIES:
                self._judge_latency()
        return decision

    def open(self) -> list[Branch]:
        """Return the branches that are neither decided upon nor lost."""
        return [*self._chain, *self._parked.values()]

    async def _decide_ahead(self, step: Step) -> Decision:
        front = self._front(step)
        self._polls[step.index] = front.poll
        self._tell_all(front)
        self._extend_from(0)
        assert front.outcome is not None
        try:
            decision = await front.outcome
        except MdapError:
            # Its ballot stays among `polls`: a remedy may go on with it, and a stop keeps it.
            self._chain.popleft()
            raise
        self._polls.pop(step.index, None)
        self._chain.popleft()
        # Else ballot and branch would hold one another, for the garbage collector to find.
        front.poll.on_vote = None
        if front.guess is not None:
            self._drafts[front.guess.next_state == decision.move.next_state] += 1
        if self._parked:
            # The step is decided: no other state of it can become real any more.
            for key in [key for key in self._parked if key[0] <= step.index]:
                self._drop(self._parked.pop(key))
        return decision

    def _tell_all(self, front: Branch) -> None:
        """Tell what happened in a branch before it was the real one; what happens in it now is told at once."""
        front.is_real = True
        heard, front.heard = front.heard, []
        for event in heard:
            if self._emit is not None:
                self._emit(event)

    def _tell(self, branch: Branch, event: Event) -> None:
        if branch.is_real and self._emit is not None:
            self._emit(event)
        else:
            branch.heard.append(event)

    def _voted(self, branch: Branch) -> Awaitable[Decision]:
        if self._emit is None:
            return self._vote(branch.poll.step, branch.polls)
        return self._vote(branch.poll.step, branch.polls, partial(self._tell, branch))

    def _front(self, step: Step) -> Branch:
        """Return the branch of the step that is waited for, first in the chain, and being drawn."""
        key = (step.index, _encode(step.state))
        # The step is asked in another state than was expected: nothing of that chain follows from this one.
        if self._chain and self._chain[0].key != key:
            self._cut(0)
        if not self._chain:
            kept = self._polls.get(step.index)
            self._chain.append(self._begin(step, key, kept))
        return self._chain[0]

    def _begin(self, step: Step, key: Key, poll: Poll | None = None) -> Branch:
        branch = self._parked.pop(key, None)
        if branch is None:
            branch = Branch(key, poll or self._open_poll(step))
        # A ballot that was never drawn for saves nothing.
        elif branch.poll.slots:
            self.ahead.reused += 1
        if branch.decision is None:
            branch.poll.on_vote = lambda: self._on_vote(branch)
            branch.outcome = get_running_loop().create_future()
            branch.polls[step.index] = branch.poll
            branch.task = self._group.create_task(self._run(branch, branch.outcome))
            self._count(branch, branch.poll.ballot.needed)
        return branch

    async def _run(self, branch: Branch, outcome: Future[Decision]) -> None:
        try:
            decision = await self._voted(branch)
        except CancelledError:
            outcome.cancel()
            raise
        except MdapError as error:
            # It matters only if this branch becomes the real one; then `decide` raises it.
            if not outcome.cancelled():
                outcome.set_exception(error)
                # Looked at, or asyncio would report it as never retrieved where the branch loses.
                outcome.exception()
        else:
            # Whoever waited may have been cancelled, and the future with it, in this very turn of the loop.
            branch.decision = decision
            if not outcome.cancelled():
                outcome.set_result(decision)
        branch.task = None
        self._on_vote(branch)

    def _on_vote(self, branch: Branch) -> None:
        chain = self._chain
        position = branch.key[0] - chain[0].key[0] if chain else -1
        # A branch that was cut may still have a last vote to tell of.
        if not 0 <= position < len(chain) or chain[position] is not branch:
            return
        self._count(branch, branch.unfinished)
        self._extend_from(position)

    def _count(self, branch: Branch, calls: int) -> None:
        self._calls += calls - branch.calls
        branch.calls = calls

    def _extend_from(self, position: int) -> None:
        if position < len(self._chain) - 1:
            self._extend(position)
        # The end of the chain may have waited for the place that is free now.
        self._extend(len(self._chain) - 1)

    def _extend(self, position: int) -> None:
        """Make the chain after `position` follow from the answers that lead now."""
        chain = self._chain
        while position < len(chain):
            branch = chain[position]
            position += 1
            if position == len(chain) and not self._may_grow():
                return
            state = self._leading(branch)
            # What is being asked follows from this very answer: all that stands behind it is left alone.
            if state is None or (position < len(chain) and state == branch.followed):
                return
            next_step = self._next(branch, state)
            if position < len(chain):
                self.ahead.rollbacks += 1
                self._cut(position)
            if next_step is None:
                return
            branch.followed = state
            chain.append(self._begin(next_step, (next_step.index, _encode(state))))

    def _may_grow(self) -> bool:
        """Whether one more step may be asked ahead."""
        limit = self._depth if self._draft is None else min(self._window, max(self._depth, self._reach()))
        if len(self._chain) > limit:
            return False
        needed = self._chain[0].poll.ballot.rule.k
        room = self._room(self._latency)
        # Places are kept for what the real step may still need, unless there are too few to share.
        return self._calls + needed * (2 if room >= 4 * needed else 1) <= room

    def _next(self, branch: Branch, state: State) -> Step | None:
        """Return the step that follows if a branch ends in this state; None at the end of the task."""
        step = branch.poll.step
        try:
            # What a tool does is done once, when the decision for it is durable, and never on a guess.
            if self._view.is_done(state) or self._view.effect(state) or not self._may_ask(step.index + 1):
                return None
            return Step(step.index + 1, state, self._view.kind(state), step.item)
        except TaskError:
            return None

    def _leading(self, branch: Branch) -> State | None:
        """Return the state that a branch probably ends in; None while that is open."""
        if branch.decision is not None:
            return branch.decision.move.next_state
        leader, margin = _leader(branch.poll.slots)
        guess = branch.guess
        is_denied = guess is not None and leader is not None and not _same(leader, guess)
        # Against a draft that is right more often than a vote is, one vote says little.
        sure = self._agreed >= SURE * self._cast and not (is_denied and self._trusts_draft())
        if leader is not None and margin >= (1 if sure else 2):
            return leader.move.next_state
        if self._draft is None or is_denied:
            return None
        guess = self._guess(branch)
        return guess.next_state if guess is not None and (leader is None or _same(leader, guess)) else None

    def _trusts_draft(self) -> bool:
        wrong, right = self._drafts[False], self._drafts[True]
        # Of the draft by Laplace's rule of succession, (wrong + 1) / (n + 2), against a vote's share; without a
        # division.
        return (wrong + 1) * self._cast < (self._cast - self._agreed) * (wrong + right + 2)

    def _guess(self, branch: Branch) -> Move | None:
        """Return what the draft says, None while it is still being asked for."""
        if not branch.is_drafted and self._draft is not None:
            branch.is_drafted = True
            with suppress(TaskError):
                given = self._draft(branch.poll.step)
                if isinstance(given, Coroutine):
                    branch.drafting = self._group.create_task(self._await_guess(branch, given))
                    # A task that is cancelled before its first turn never comes to what it was to await.
                    branch.drafting.add_done_callback(lambda _: given.close())
                elif given is not None:
                    branch.guess = self._view.loaded(given)
        return branch.guess

    async def _await_guess(self, branch: Branch, guess: Coroutine[Any, Any, Move | None]) -> None:
        # A draft that fails is no draft: the votes are on their way anyway.
        with suppress(MdapError):
            branch.guess = await guess
        branch.drafting = None
        self._on_vote(branch)

    def _reach(self) -> int:
        """Return how far drafts are worth following: 4 expected runs of the draft without a mistake."""
        wrong, right = self._drafts[False], self._drafts[True]
        return 4 * (wrong + right + 2) // (wrong + 1)

    def _cut(self, position: int) -> None:
        """Leave the chain from `position` on; its ballots are kept, in case their states become real after all."""
        while len(self._chain) > position:
            branch = self._chain.pop()
            self.ahead.wasted += self._stop(branch)
            self._parked[branch.key] = branch

    def _stop(self, branch: Branch) -> int:
        """End the calls of a branch, and return how many draws that gives up."""
        given_up = branch.unfinished
        if branch.task is not None:
            branch.task.cancel()
            branch.task = None
        if branch.drafting is not None:
            branch.drafting.cancel()
            # Should its state become real after all, the draft is asked once more.
            branch.drafting, branch.is_drafted = None, False
        self._count(branch, 0)
        return given_up

    def _drop(self, branch: Branch) -> None:
        branch.poll.on_vote = None
        self.ahead.wasted += self._stop(branch) + len(branch.poll.samples())

    def _judge_latency(self) -> None:
        taken = median(self._latencies)
        # The least of all: later ones may have waited for places or rates.
        self._latency = min(self._latency, taken)
        self._is_open = self._draft is not None or taken > self._worth


def _same(vote: Vote, guess: Move) -> bool:
    return bool(vote.move.next_state == guess.next_state)


def _leader(slots: list[Slot]) -> tuple[Vote | None, int]:
    """Return a vote for the candidate with most votes, and its margin over the second; None and 0 without votes."""
    first: Vote | None = None
    alike = 0
    for slot in slots:
        if slot.vote is None:
            continue
        if first is None:
            first = slot.vote
        # Nearly always all votes agree, and then nothing has to be counted by candidate.
        elif slot.vote.key != first.key:
            return _contested([slot.vote for slot in slots if slot.vote is not None])
        alike += 1
    return first, alike


def _contested(votes: list[Vote]) -> tuple[Vote, int]:
    (key, most), (_, second) = Counter(vote.key for vote in votes).most_common(2)
    return next(vote for vote in votes if vote.key == key), most - second
