"""Algorithm 2: ask until the rule decides. Draws exactly what is still needed, counts in the order of asking."""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Callable

from mdap.core.ballot import Ballot, Rule
from mdap.core.errors import MdapError, TaskError, Undecided
from mdap.core.events import StepUndecided, Warned
from mdap.core.records import Decision, OpenBallot, Prompt, Sample, Step, Vote
from mdap.engine.growth import Growth
from mdap.engine.judging import Judge
from mdap.engine.vote import Asking, Reader, Slot, get_vote


class Poll:
    """A ballot while it is open: its slots in the order asked. It outlives a stop as an `OpenBallot`."""

    def __init__(self, step: Step, rule: Rule, opened: OpenBallot | None = None) -> None:
        self.step = step
        self.ballot = Ballot(rule)
        self.slots: list[Slot] = []
        self.waiting = 0  # the first slot that is not counted yet
        self.taken = 0  # samples used, those of earlier segments included
        self.on_vote: Callable[[], None] | None = None
        self._votes: dict[bytes, Vote] = {}
        self._groups: dict[bytes, bytes] = {}
        if opened is not None:
            self._restore(opened)

    def _restore(self, opened: OpenBallot) -> None:
        votes, redraws = dict(opened.votes), dict(opened.redraws)
        self.taken = opened.taken
        self.slots = [Slot(n, redraws.get(n, 0), votes.get(n)) for n in range(max([*votes, *redraws], default=-1) + 1)]
        self.count()

    def count(self) -> None:
        """Cast the votes of all slots up to the first that has none yet."""
        while self.waiting < len(self.slots):
            vote = self.slots[self.waiting].vote
            if vote is None:
                return
            self._votes.setdefault(vote.key, vote)
            self.ballot.cast(self._groups.get(vote.key, vote.key))
            self.waiting += 1

    @property
    def candidates(self) -> list[Vote]:
        """One vote of each candidate, in the order in which they appeared."""
        return list(self._votes.values())

    def regroup(self, groups: dict[bytes, bytes]) -> None:
        """Count all votes anew, each for the candidate that `groups` puts its own under."""
        if groups != self._groups:
            self._groups, self.ballot, self.waiting = groups, Ballot(self.ballot.rule), 0
            self.count()

    def batch(self, max_samples: int) -> list[Slot]:
        """Return the slots to draw now: those needed for a decision that have no vote, as far as the cap allows."""
        end = self.waiting + self.ballot.needed
        while len(self.slots) < end:
            self.slots.append(Slot(len(self.slots)))
        empty = [slot for slot in self.slots[self.waiting : end] if slot.vote is None]
        # A resume may have lowered the cap below what is already taken.
        return empty[: max(0, max_samples - self.taken)]

    def decision(self) -> Decision:
        """Return the decision of the decided ballot."""
        winner = self._votes[self.ballot.winner]
        return Decision(self.step.index, winner.move, self.ballot.tally, self.step.kind, self.samples())

    def samples(self) -> tuple[Sample, ...]:
        """Return the samples of this segment, in slot order."""
        return tuple(sample for slot in self.slots for sample in slot.samples)

    def opened(self, reason: str) -> OpenBallot:
        """Return what a stop keeps of this ballot."""
        return OpenBallot(
            self.step.index,
            self.step.state,
            self.step.kind,
            votes=tuple((slot.number, slot.vote) for slot in self.slots if slot.vote is not None),
            redraws=tuple((slot.number, slot.redraws) for slot in self.slots if slot.vote is None),
            samples=self.samples(),
            taken=self.taken,
            reason=reason,
        )


async def do_voting(asking: Asking, rule: Rule, step: Step, polls: dict[int, Poll]) -> Decision:
    """Ask for votes on one step until `rule` decides (Algorithm 2).

    `polls` holds the ballots now open; this one is in it until it is decided. Raises Undecided when the cap of
    samples is reached, and what a draw raised, once all draws of its batch have ended.
    """
    poll = polls.get(step.index)
    if poll is None:
        poll = polls[step.index] = Poll(step, rule)
    reader, cap, judge = Reader(asking.view, step.state), asking.settings.max_samples, asking.view.judge
    try:
        prompt = asking.view.prompt(step.state)
        if asking.growth is not None:
            _watch(asking, asking.growth, step.index, prompt)
        if judge is not None:
            await _regroup(asking, judge, poll, prompt)
        # Exactly as many as are needed: fewer would only wait longer, one more could be wasted.
        while poll.ballot.needed:
            batch = poll.batch(cap)
            if not batch:
                raise _out_of_samples(poll, cap)
            await _draw(asking, poll, prompt, reader, batch, max(1, (cap - poll.taken) // len(batch)))
            poll.count()
            if judge is not None:
                await _regroup(asking, judge, poll, prompt)
    except TaskError as error:
        error.step, error.message = step.index, f"step {step.index}: {error.message}"
        raise
    except Undecided as undecided:
        if asking.emit is not None:
            asking.emit(StepUndecided(step.index, poll.ballot.tally, undecided.message))
        raise
    del polls[step.index]
    return poll.decision()


def _watch(asking: Asking, growth: Growth, step: int, prompt: Prompt) -> None:
    """Say, before anything is asked, that a prompt gets out of hand; raises ModelRejected once it is past it."""
    characters = 0
    for message in prompt.messages:
        characters += len(message.content)
    warning = growth.see(step, characters)
    if warning is not None and asking.warn is not None:
        asking.warn(Warned(step, "growth", warning))


async def _regroup(asking: Asking, judge: Judge, poll: Poll, prompt: Prompt) -> None:
    """Have the candidates grouped by a model, and count by its groups."""
    candidates = poll.candidates
    poll.regroup(await judge.group(asking.complete, asking.settings, poll.step, prompt.messages, candidates))


async def _draw(asking: Asking, poll: Poll, prompt: Prompt, reader: Reader, batch: list[Slot], allowance: int) -> None:
    """Draw into all slots of `batch` at once; each may use `allowance` samples, so that no timing can matter."""
    before = sum(slot.redraws for slot in batch)
    try:
        if len(batch) == 1:
            await get_vote(asking, poll.step, prompt, batch[0], reader, allowance)
        else:
            async with TaskGroup() as group:
                for slot in batch[1:]:
                    group.create_task(_draw_one(asking, poll, prompt, slot, reader, allowance))
                # This task would only wait: it makes the first draw itself.
                await _draw_one(asking, poll, prompt, batch[0], reader, allowance)
    except BaseExceptionGroup as group_of_errors:
        # What is no error of mdap ended the others of its batch; it is raised as it would be from a batch of one.
        raise group_of_errors.exceptions[0] from None
    finally:
        poll.taken += sum(slot.redraws for slot in batch) - before
    for slot in batch:
        if slot.error is not None:
            error, slot.error = slot.error, None
            raise error


async def _draw_one(asking: Asking, poll: Poll, prompt: Prompt, slot: Slot, reader: Reader, allowance: int) -> None:
    try:
        await get_vote(asking, poll.step, prompt, slot, reader, allowance)
    except MdapError as error:
        # Kept until its siblings have ended: they are paid for, and which error counts must not depend on timing.
        slot.error = error
    if poll.on_vote is not None:
        poll.on_vote()


def _out_of_samples(poll: Poll, cap: int) -> Undecided:
    ballot, index = poll.ballot, poll.step.index
    return Undecided(
        f"step {index}: {poll.taken} samples, votes {list(ballot.tally)}, lead {ballot.lead}, "
        f"{ballot.needed} more needed by {ballot.rule.spec}",
        remedy=f"look at it with `mdap show RUN --step {index}`, or raise --max-samples above {cap}",
        step=index,
    )
