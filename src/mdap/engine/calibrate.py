"""Draws the samples of a calibration, by the same `get_vote` and `do_voting` that a run uses. Judges nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import TypeVar

import msgspec

from mdap.core.calibration import AGAIN, Drawn, Outcome, again
from mdap.core.errors import BudgetReached, ModelError, Undecided
from mdap.core.records import Draw, Move, Request, Response, State, Step
from mdap.core.rules import AheadByK
from mdap.engine.poll import Slot
from mdap.engine.vote import Asking, Reader, get_vote
from mdap.engine.voting import do_voting
from mdap.groups import Group
from mdap.protocols import Clock, Complete

T = TypeVar("T")
Truth = Callable[[State], Move | None]

# Where a task knows no answers, this margin of votes stands in: at p = 0.8 it is wrong in one step of 4,000.
REFERENCE_K = 6
# Rows of their own, so that no draw of a calibration has the seed of a draw of a run with the same settings.
SAMPLES, REFERENCES = -1, -2
# What is answered faster was not sent for: the time is the process's own, and says nothing.
IN_PROCESS = 1e-3


class Subject(msgspec.Struct, frozen=True):
    """A state to be sampled; `right` None: votes could not settle what is right there."""

    number: int
    state: State
    kind: str
    right: Move | None


class Collected(msgspec.Struct):
    """The samples so far, how many states have no settled answer, and why drawing stopped early, if it did."""

    drawn: list[Drawn]
    unsettled: int = 0
    stopped: str = ""


class Stopwatch:
    """Times each call that gave a reply, retries and waits for a place left out, and counts all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.taken: dict[Draw, float] = {}
        self.calls = 0

    def timing(self, complete: Complete) -> Complete:
        """Return `complete` that is timed."""

        async def _call(request: Request) -> Response:
            self.calls += 1
            began = self._clock.now()
            response = await complete(request)
            # The votes that stand in for answers are no samples: nobody would take their times out again.
            if request.draw.item == SAMPLES:
                self.taken[request.draw] = self._clock.now() - began
            return response

        return _call


async def collect(
    asking: Asking, watch: Stopwatch, states: Sequence[State] | None, truth: Truth | None, samples: int
) -> Collected:
    """Return about `samples` samples at most: one of each state, and more of those where it was wrong or flagged.

    `states` None: a short run by votes goes through them. `truth` None: a vote with a margin of 6 stands in for the
    answer, and its calls count as samples. A budget ends the drawing and keeps what there is; a model that gives no
    reply after its retries raises ModelError.
    """
    sampling = _Sampling(asking, watch)
    one_each = round(samples * (1 - AGAIN))
    try:
        if truth is None:
            subjects = await sampling.settle(states, one_each)
        else:
            subjects = [
                Subject(number, state, asking.view.kind(state), truth(state))
                for number, state in enumerate((states or ())[:one_each])
            ]
        await sampling.draw([(subject, 1) for subject in subjects])
        await sampling.draw(_more(subjects, sampling.found.drawn, samples - one_each))
    except BudgetReached as error:
        sampling.found.stopped = str(error)
    return sampling.ended()


def _more(subjects: Sequence[Subject], drawn: Sequence[Drawn], left: int) -> list[tuple[Subject, int]]:
    """What is drawn again: states whose first sample was wrong, and those where it was flagged, `left` shared out."""
    by_number = {subject.number: subject for subject in subjects}
    jobs: list[tuple[Subject, int]] = []
    outcomes = [sorted(s.state for s in drawn if s.outcome == outcome) for outcome in ("wrong", "flagged")]
    for concerned in outcomes:
        count, each = again(left // max(1, sum(map(bool, outcomes))), len(concerned))
        # From slot 2 on: slot 1 is the first sample, and the same draw would only repeat it.
        jobs += [(by_number[number], slot) for number in concerned[:count] for slot in range(2, 2 + each)]
    return jobs


class _Sampling:
    """The drawing while it goes on."""

    def __init__(self, asking: Asking, watch: Stopwatch) -> None:
        self._asking, self._watch = asking, watch
        self._many = asking.settings.in_flight
        self.found = Collected([])

    async def draw(self, jobs: Iterable[tuple[Subject, int]]) -> None:
        """Draw into (subject, slot): slot 1 first, since slot 0 of a ballot has a temperature of its own."""
        await _each(jobs, self._many, self._draw_one)

    async def _draw_one(self, job: tuple[Subject, int]) -> None:
        subject, number = job
        asking, slot = self._asking, Slot(number)
        reader = Reader(asking.view, subject.state)
        step = Step(subject.number, subject.state, subject.kind, SAMPLES)
        try:
            # One sample and no redraw: how often a sample is flagged is what is to be found out.
            await get_vote(asking, step, asking.view.prompt(subject.state), slot, reader, 1)
        except Undecided as error:
            _no_reply(error)
        if not asking.tempo.waits and asking.tempo.is_turn_due(asking.clock.now()):
            await asking.tempo.turn()
        sample = slot.samples[0]
        drawn = Drawn(
            subject.number,
            subject.kind,
            self._outcome(subject, slot),
            sample.key,
            sample.flag,
            number > 1,
            sample.tokens_in,
            sample.tokens_out,
            self._watch.taken.pop(Draw(subject.number, number, 0, SAMPLES), 0.0),
            sample.confidence,
        )
        self.found.drawn.append(drawn)

    def _outcome(self, subject: Subject, slot: Slot) -> Outcome:
        if slot.vote is None:
            return "flagged"
        # Where votes could not settle the answer none is called right: hard steps must not flatter p by their absence.
        is_right = subject.right is not None and self._asking.view.agrees(slot.vote.move, subject.right)
        return "right" if is_right else "wrong"

    async def settle(self, states: Sequence[State] | None, calls: int) -> list[Subject]:
        """Return states with the answers that votes gave, until so many calls are used, one each kept for sampling."""
        subjects: list[Subject] = []

        def _is_enough() -> bool:
            return self._watch.calls + len(subjects) >= calls

        async def _settle_one(numbered: tuple[int, State]) -> None:
            subjects.append(await self._settled(*numbered))

        if states is not None:
            # Each of these votes begins with REFERENCE_K draws at once, so that all together keep to the calls in
            # flight.
            await _each(_until(enumerate(states), _is_enough), self._many // REFERENCE_K + 1, _settle_one)
            return sorted(subjects, key=lambda subject: subject.number)
        view = self._asking.view
        number, state = 0, view.start()
        while not _is_enough() and not view.is_done(state):
            await _settle_one((number, state))
            right = subjects[-1].right
            # The walk goes on from a right answer alone: without one it would leave the path that a run takes.
            if right is None:
                break
            number, state = number + 1, right.next_state
        return subjects

    async def _settled(self, number: int, state: State) -> Subject:
        kind = self._asking.view.kind(state)
        try:
            # How sure they are does not matter: these votes are counted.
            asking = msgspec.structs.replace(self._asking, confide=None)
            decision = await do_voting(asking, AheadByK(REFERENCE_K), Step(number, state, kind, REFERENCES), {})
        except Undecided as error:
            _no_reply(error)
            self.found.unsettled += 1
            return Subject(number, state, kind, None)
        return Subject(number, state, kind, decision.move)

    def ended(self) -> Collected:
        """Return the samples in the order of their states, without times where the model answers in the process."""
        found = self.found
        found.drawn.sort(key=lambda sample: (sample.state, sample.again))
        if found.drawn and median(sample.seconds for sample in found.drawn) < IN_PROCESS:
            found.drawn = [msgspec.structs.replace(sample, seconds=0.0) for sample in found.drawn]
        return found


def _no_reply(error: Undecided) -> None:
    """Raise what the provider did, if that is why a draw ended without a sample."""
    if isinstance(error.__cause__, ModelError):
        raise error.__cause__


def _until(items: Iterator[T], is_enough: Callable[[], bool]) -> Iterator[T]:
    for item in items:
        if is_enough():
            return
        yield item


async def _each(items: Iterable[T], many: int, do: Callable[[T], Awaitable[object]]) -> None:
    """Do something with each item, `many` at once; the first error ends the others and is raised."""
    waiting = iter(items)

    async def _work() -> None:
        # All take from one iterator: whoever is free gets the next item, and none is prepared before.
        for item in waiting:
            await do(item)

    async with Group() as group:
        for _ in range(many):
            group.create_task(_work())
