"""Asks the next steps while the votes on this one are still out, from the answer that leads. Decides nothing itself.

A step is handed out only with its full decision on the state that was really decided, so the decisions are those of a
run without lookahead; what differs is the time, and the calls that losing branches waste.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, Task, TaskGroup, get_running_loop
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from statistics import median
from types import TracebackType
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import MdapError, TaskError
from mdap.core.records import Decision, Move, State, Step
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView

# Below this the engine's own work is what a step waits for, and asking ahead would only add to it.
WORTH_SECONDS = 0.005
# One vote is enough to go on from where votes are nearly always right; elsewhere a leader needs a margin of 2.
SURE = 0.95
LATENCIES = 63

Vote: TypeAlias = Callable[[Step, dict[int, Poll]], Awaitable[Decision]]
Draft: TypeAlias = Callable[[Step], Move | Coroutine[Any, Any, Move | None] | None]
Key: TypeAlias = tuple[int, bytes]
_encode = msgspec.json.Encoder(order="deterministic").encode


class Ahead(msgspec.Struct):
    """What asking ahead did: branches left for another leader, ballots taken up again, samples of losing branches."""

    rollbacks: int = 0
    reused: int = 0
    wasted: int = 0


class Branch:
    """One step asked in one state, perhaps ahead of its time. Its ballot outlives the task that draws its votes."""

    __slots__ = ("key", "outcome", "poll", "polls", "task")

    def __init__(self, key: Key, poll: Poll) -> None:
        self.key = key
        self.poll = poll
        self.polls = {poll.step.index: poll}
        self.outcome: Future[Decision] | None = None
        self.task: Task[None] | None = None

    @property
    def decision(self) -> Decision | None:
        """The decision, once there is one."""
        outcome = self.outcome
        if outcome is None or not outcome.done() or outcome.cancelled() or outcome.exception() is not None:
            return None
        return outcome.result()

    @property
    def unfinished(self) -> int:
        """Draws that wait for a reply."""
        return sum(slot.vote is None for slot in self.poll.slots) if self.task is not None else 0


class Lookahead:
    """Up to `depth` steps ahead of the one that is waited for, or up to `window` where the task can draft.

    `vote` decides one step with the ballots that it is given; `open_poll` makes a new ballot; `polls` are the ballots
    that a stop would keep: only that of the step really waited for is ever in it. Use it as a context: leaving it
    ends all branches. `draft` guesses the move of a step without votes: at once, or from a cheaper model by and by.
    """

    def __init__(
        self,
        view: TaskView,
        vote: Vote,
        open_poll: Callable[[Step], Poll],
        polls: dict[int, Poll],
        *,
        depth: int,
        window: int = 64,
        draft: Draft | None = None,
    ) -> None:
        self.ahead = Ahead()
        self._view = view
        self._vote = vote
        self._open_poll = open_poll
        self._polls = polls
        self._depth = depth
        self._window = window
        self._draft = draft
        self._group = TaskGroup()
        self._chain: deque[Branch] = deque()
        self._parked: dict[Key, Branch] = {}
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._agreed, self._cast = 19, 20  # as if 20 votes had been seen at the limit of `SURE`
        self._guesses: dict[Key, Move | None] = {}
        self._drafting: set[Task[None]] = set()
        self._drafts = Counter[bool]()
        self._is_open = False

    async def __aenter__(self) -> Lookahead:
        """Begin; nothing is asked yet."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all branches; what they took is waste, but for the ballot that is kept."""
        kept = set(map(id, self._polls.values()))
        for branch in [*self._chain, *self._parked.values()]:
            if id(branch.poll) in kept:
                self._stop(branch)
            else:
                self._drop(branch)
        self._chain.clear()
        self._parked.clear()
        for task in self._drafting:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def decide(self, step: Step) -> Decision:
        """Return the decision on a step, as `vote` alone would give it."""
        if self._is_open or step.index in self._polls:
            decision = await self._decide_ahead(step)
        else:
            decision = await self._vote(step, self._polls)
        self._learn(decision)
        return decision

    async def _decide_ahead(self, step: Step) -> Decision:
        front = self._front(step)
        self._polls[step.index] = front.poll
        self._extend(0)
        assert front.outcome is not None
        try:
            decision = await front.outcome
        except MdapError:
            # Its ballot stays among `polls`: a remedy may go on with it, and a stop keeps it.
            self._chain.popleft()
            raise
        self._polls.pop(step.index, None)
        self._chain.popleft()
        self._judge_draft(front.key, decision)
        for key in [key for key in self._parked if key[0] <= step.index]:
            self._drop(self._parked.pop(key))
        return decision

    def _front(self, step: Step) -> Branch:
        """Return the branch of the step that is waited for, first in the chain, and being drawn."""
        key = (step.index, _encode(step.state))
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
        elif branch.poll.samples():
            self.ahead.reused += 1
        if branch.decision is None:
            branch.poll.on_vote = lambda: self._on_vote(branch)
            branch.outcome = get_running_loop().create_future()
            branch.polls[step.index] = branch.poll
            branch.task = self._group.create_task(self._run(branch, branch.outcome))
        return branch

    async def _run(self, branch: Branch, outcome: Future[Decision]) -> None:
        try:
            decision = await self._vote(branch.poll.step, branch.polls)
        except CancelledError:
            outcome.cancel()
            raise
        except MdapError as error:
            # It matters only if this branch becomes the real one; then `decide` raises it.
            outcome.set_exception(error)
            outcome.exception()
        else:
            outcome.set_result(decision)
        branch.task = None
        self._on_vote(branch)

    def _on_vote(self, branch: Branch) -> None:
        with suppress(ValueError):
            self._extend(self._chain.index(branch))

    def _extend(self, position: int) -> None:
        """Make the chain after `position` follow from the answers that lead now."""
        limit = self._depth if self._draft is None else max(self._depth, self._reach())
        while position < min(limit, len(self._chain)):
            branch = self._chain[position]
            position += 1
            next_step = self._next(branch)
            if next_step is None:
                return
            key = (next_step.index, _encode(next_step.state))
            if position < len(self._chain):
                if self._chain[position].key == key:
                    return
                self.ahead.rollbacks += 1
                self._cut(position)
            self._chain.append(self._begin(next_step, key))

    def _next(self, branch: Branch) -> Step | None:
        """Return the step that follows from the leading answer of a branch; None while none leads, or at the end."""
        state = self._leading(branch)
        step = branch.poll.step
        try:
            if state is None or self._view.is_done(state):
                return None
            return Step(step.index + 1, state, self._view.kind(state), step.item)
        except TaskError:
            return None

    def _leading(self, branch: Branch) -> State | None:
        if branch.decision is not None:
            return branch.decision.move.next_state
        votes = [slot.vote for slot in branch.poll.slots if slot.vote is not None]
        counts = Counter(vote.key for vote in votes).most_common(2)
        margin = counts[0][1] - (counts[1][1] if len(counts) > 1 else 0) if counts else 0
        if margin >= (1 if self._agreed >= SURE * self._cast else 2):
            return next(vote.move.next_state for vote in votes if vote.key == counts[0][0])
        guess = None if self._draft is None or votes else self._guess(branch)
        return None if guess is None else guess.next_state

    def _guess(self, branch: Branch) -> Move | None:
        """Return what the draft says, None while it is still being asked for."""
        key, step = branch.key, branch.poll.step
        if key not in self._guesses and self._draft is not None:
            self._guesses[key] = None
            with suppress(TaskError):
                given = self._draft(step)
                if isinstance(given, Coroutine):
                    task = self._group.create_task(self._await_guess(branch, given))
                    self._drafting.add(task)
                    task.add_done_callback(self._drafting.discard)
                elif given is not None:
                    self._guesses[key] = self._view.loaded(given)
        return self._guesses.get(key)

    async def _await_guess(self, branch: Branch, guess: Coroutine[Any, Any, Move | None]) -> None:
        # A draft that fails is no draft: the votes are on their way anyway.
        with suppress(MdapError):
            self._guesses[branch.key] = await guess
            self._on_vote(branch)

    def _reach(self) -> int:
        """Return how far drafts are worth following: 4 expected mistakes of the draft, at most the window."""
        wrong, right = self._drafts[False], self._drafts[True]
        return min(self._window, int(4 * (wrong + right + 2) / (wrong + 1)))

    def _judge_draft(self, key: Key, decision: Decision) -> None:
        guess = self._guesses.get(key)
        if guess is not None:
            self._drafts[guess.next_state == decision.move.next_state] += 1
        for old in [old for old in self._guesses if old[0] <= key[0]]:
            del self._guesses[old]

    def _cut(self, position: int) -> None:
        """Leave the chain from `position` on; its ballots are kept, in case their states become real after all."""
        while len(self._chain) > position:
            branch = self._chain.pop()
            self._stop(branch)
            self._parked[branch.key] = branch

    def _stop(self, branch: Branch) -> None:
        if branch.task is not None:
            self.ahead.wasted += branch.unfinished
            branch.task.cancel()
            branch.task = None

    def _drop(self, branch: Branch) -> None:
        self._stop(branch)
        self.ahead.wasted += len(branch.poll.samples())

    def _learn(self, decision: Decision) -> None:
        """Take note of how long calls take and how often votes agree."""
        self._agreed += decision.votes[0]
        self._cast += sum(decision.votes)
        if decision.samples:
            self._latencies.append(decision.samples[-1].latency)
            if decision.step % LATENCIES == 0 or len(self._latencies) < LATENCIES:
                self._is_open = median(self._latencies) > WORTH_SECONDS
