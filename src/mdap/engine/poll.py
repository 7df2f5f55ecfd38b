"""A ballot while it is open: which slots were asked, what came back, and what a stop keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from mdap.core.ballot import Ballot, Rule
from mdap.core.errors import MdapError, Undecided
from mdap.core.records import Decision, Message, Move, OpenBallot, Sample, State, Step, Vote

# What a closed ballot comes to, by its state, its votes in slot order and its winner, if it has one; None: nothing.
Settle: TypeAlias = Callable[[State, Sequence[Move], Move | None], Move | None]


class Slot:
    """One place in a ballot: its samples in order of asking and, once one has no red flag, its vote.

    A `void` slot was asked in vain: other votes decided before its own came, and it counts for nothing.
    """

    __slots__ = ("error", "number", "redraws", "samples", "void", "vote")

    def __init__(self, number: int, redraws: int = 0, vote: Vote | None = None) -> None:
        self.number = number
        self.redraws = redraws
        self.vote = vote
        self.void = False
        self.samples: list[Sample] = []
        self.error: MdapError | None = None


class Poll:
    """A ballot while it is open: its slots in the order asked. It outlives a stop as an `OpenBallot`.

    `remedy` is what is being tried since its caps ran out; `cap`, in place of the run's, what a person granted it. A
    step that `waits` for a person's word is kept although nothing was asked.
    """

    __slots__ = (
        *("ballot", "cap", "messages", "on_vote", "remedy", "slots", "step", "waiting", "waits"),
        *("_earlier", "_groups", "_k", "_votes"),
    )

    def __init__(self, step: Step, rule: Rule, opened: OpenBallot | None = None) -> None:
        self.step = step
        self.ballot = Ballot(rule)
        self.slots: list[Slot] = []
        self.waiting = 0  # the first slot that is not counted yet
        self._earlier = 0  # samples of earlier segments whose slots have their votes by now
        self.on_vote: Callable[[], None] | None = None
        self.messages: tuple[Message, ...] = ()
        self.remedy = ""
        self.cap: int | None = None
        self.waits = False
        self._k: int | None = None
        self._votes: dict[bytes, Vote] = {}
        self._groups: dict[bytes, bytes] = {}
        if opened is not None:
            self._restore(opened)

    def _restore(self, opened: OpenBallot) -> None:
        votes, redraws = dict(opened.votes), dict(opened.redraws)
        # Slots without a vote bring their redraws along; of all others only the sum is kept.
        self._earlier = opened.taken - sum(redraws.values())
        self.remedy, self.cap, self._k = opened.remedy, opened.cap, opened.k
        self.messages = opened.messages
        asked = max([*votes, *redraws, *opened.void], default=-1) + 1
        self.slots = [Slot(n, redraws.get(n, 0), votes.get(n)) for n in range(asked)]
        for number in opened.void:
            self.slots[number].void = True
        self.count()

    def anew(self, remedy: str) -> Poll:
        """Return an empty ballot on the same step by the same rule; its slots go on behind those of this one."""
        poll = Poll(self.step, self.ballot.rule)
        poll.remedy = remedy
        asked = [slot.number for slot in self.slots if slot.redraws or slot.vote is not None or slot.void]
        # Numbers go on: no draw of the new ballot may have the seed of one that is in the old.
        poll.slots = [Slot(number) for number in range(max(asked, default=-1) + 1)]
        for slot in poll.slots:
            slot.void = True
        poll.count()
        return poll

    @property
    def taken(self) -> int:
        """Samples used, those of earlier segments included."""
        return self._earlier + sum([slot.redraws for slot in self.slots])

    def count(self) -> None:
        """Cast the votes of all slots up to the first that has none yet."""
        for slot in self.slots[self.waiting :]:
            vote = slot.vote
            if vote is not None:
                if vote.ranking:
                    self._cast_ranking(vote)
                else:
                    key = vote.key
                    # The first in slot order stands for its candidate: the decided move must not depend on who was
                    # quicker.
                    self._votes.setdefault(key, vote)
                    self.ballot.cast(self._groups.get(key, key), vote.confidence)
            elif not slot.void:
                # Those behind it wait, though they may have their votes: in another order a rule can decide otherwise.
                return
            self.waiting += 1

    def _cast_ranking(self, vote: Vote) -> None:
        """Cast a vote that ranks: a candidate can win that no vote puts first."""
        groups = self._groups
        for key, move in zip(vote.ranking, vote.ranked, strict=True):
            self._votes.setdefault(key, Vote(key, move))
        ranking = tuple(dict.fromkeys(groups.get(key, key) for key in vote.ranking))
        self.ballot.cast(groups.get(vote.key, vote.key), vote.confidence, ranking)

    @property
    def candidates(self) -> list[Vote]:
        """One vote of each candidate, in the order in which they appeared."""
        return list(self._votes.values())

    def regroup(self, groups: dict[bytes, bytes]) -> None:
        """Count all votes anew, each for the candidate that `groups` puts its own under."""
        if groups != self._groups:
            # A ballot takes no vote back: all are cast again into a new one.
            self._groups, self.ballot, self.waiting = groups, Ballot(self.ballot.rule), 0
            self.count()

    def batch(self, needed: int, max_samples: int) -> list[Slot]:
        """Return the slots to draw now: of the votes `needed` those that are not there, as far as the cap allows."""
        # Never more slots than samples: a rule may ask for more votes than there will ever be.
        slots, end = self.slots, self.waiting + min(needed, max_samples)
        slots += [Slot(number) for number in range(len(slots), end)]
        empty = [slot for slot in slots[self.waiting : end] if slot.vote is None]
        # A resume may have lowered the cap below what is already taken.
        return empty[: max(0, max_samples - self.taken)]

    def decision(self, settle: Settle | None = None) -> Decision:
        """Return the decision of the closed ballot: for its winner, or for what `settle` makes of all its votes.

        Raises Undecided where there is neither: the rule closed the ballot without a winner.
        """
        key, step = self.ballot.winner, self.step
        move = None if key is None else self._votes[key].move
        if settle is not None:
            counted = self.slots[: self.waiting]
            move = settle(step.state, [slot.vote.move for slot in counted if slot.vote is not None], move)
        if move is None:
            raise self._undecided()
        return Decision(step.index, move, self.ballot.tally, step.kind, self.samples())

    def _undecided(self) -> Undecided:
        ballot, index = self.ballot, self.step.index
        return Undecided(
            f"step {index}: {ballot.rule.spec} closed the ballot without a decision, votes {list(ballot.tally)}",
            remedy=f"look at it with `mdap show RUN --step {index}`, or give the task `settle`",
            step=index,
        )

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
            redraws=tuple((slot.number, slot.redraws) for slot in self.slots if slot.vote is None and not slot.void),
            samples=self.samples(),
            taken=self.taken,
            reason=reason,
            void=tuple(slot.number for slot in self.slots if slot.void),
            remedy=self.remedy,
            k=self._k,
            cap=self.cap,
            messages=self.messages,
        )
