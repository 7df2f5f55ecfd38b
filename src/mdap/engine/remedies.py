"""What is done, in an order that the user gives, about a step that its caps left undecided. A wrapper around `decide`.

Each remedy asks on, or anew, by the rule of the run; none makes a decision of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from mdap.core.errors import Stop, Undecided, UsageError
from mdap.core.events import Remedied
from mdap.core.foreign import Foreign
from mdap.core.history import Acted
from mdap.core.records import Decision, Message, Prompt, State, Step
from mdap.core.spec import unknown
from mdap.engine.poll import Poll
from mdap.engine.taskview import TaskView, rendered
from mdap.engine.vote import Asking
from mdap.protocols import Complete, Decide, Task

NAMES: Final = ("samples", "prompt", "model", "person", "stop")
# Both end the segment, so that nothing after them could ever be reached.
_LAST = ("person", "stop")
_PARAPHRASES = Foreign("paraphrases")


class Means(msgspec.Struct, frozen=True):
    """What remedies are made of: the run's `asking`, its open `polls`, and `vote`, which asks for one step's votes.

    `leave` hands a ballot to the journal, `act` what is done about it; `complete` makes a model's calls, by its spec.
    """

    asking: Asking
    polls: dict[int, Poll]
    vote: Callable[[Asking, Step], Awaitable[Decision]]
    leave: Callable[[Poll, str], None]
    act: Callable[[Acted], None]
    complete: Callable[[str], Complete]


def checked(remedies: Sequence[str], view: TaskView) -> list[str]:
    """Return the remedies; raises UsageError for one that is none, that the task has not, or that cannot be reached."""
    for place, remedy in enumerate(remedies):
        name, _, value = remedy.partition(":")
        if name not in NAMES:
            raise unknown("remedy", remedy, NAMES)
        # isdigit() alone takes superscripts, too, which int() refuses.
        if name == "samples" and not (value.isascii() and value.isdigit() and int(value)):
            raise UsageError(f"remedy {remedy!r} names no number of samples", remedy="write it as samples:400")
        if name == "model" and not value:
            raise UsageError("remedy 'model' names no model", remedy="write it as model:openai:gpt-4.1-mini")
        if name == "prompt" and not callable(getattr(view.task, "paraphrases", None)):
            raise UsageError(
                f"{type(view.task).__name__} has no other prompts", remedy="give the task `paraphrases(state)`"
            )
        if name in _LAST and place + 1 < len(remedies):
            raise UsageError(f"nothing comes after the remedy {remedy!r}", remedy=f"put {remedy} last")
    return list(remedies)


def remedied(decide: Decide, remedies: Sequence[str], means: Means) -> Decide:
    """Return `decide` that takes the remedies in turn where it raises Undecided; raises that where none is left.

    Each that is taken is journaled before it is asked for, with the ballot as it stood, and observers are told: a
    resume goes on with it, and neither repeats nor skips one. `samples` goes on with the same ballot; `prompt` and
    `model` open a new one, since votes of another prompt or model say nothing about the same p. Raises Stop where the
    last remedy is to stop.
    """
    ways = checked(remedies, means.asking.view)
    # A ballot that was left open may go on by a remedy that it names, or with what a person granted it.
    return _Asked(decide, ways, means).decide if ways or means.polls else decide


class _Asked:
    """The ways to ask about one step: at place -1 stands the run's own, at the others its remedies."""

    def __init__(self, decide: Decide, remedies: list[str], means: Means) -> None:
        self._decide = decide
        self._remedies = remedies
        self._means = means

    async def decide(self, step: Step) -> Decision:
        """Ask, and take the next remedy for as long as the step stays undecided."""
        # Found out only where a step stays undecided: hardly any does, and a task renders its paraphrases for it.
        ways: list[str] | None = None
        place = -1
        poll = self._means.polls.get(step.index)
        if poll is not None and poll.remedy:
            ways = self._ways(step.state)
            place = self._taken_up(poll, ways)
        while True:
            try:
                return await self._ask(step, place, ways or [])
            except Undecided as error:
                # Python forgets the name of an error at the end of its clause.
                undecided = error
            ways = self._ways(step.state) if ways is None else ways
            place += 1
            if place == len(ways):
                raise undecided
            self._take(step, ways[place], undecided)

    def _taken_up(self, poll: Poll, ways: list[str]) -> int:
        """Return the place at which an earlier segment left this ballot."""
        if poll.remedy in ways:
            return ways.index(poll.remedy)
        # It is no remedy of the run any more. Votes on the run's own prompt, by its own model, still count.
        if _is_same_ballot(poll.remedy):
            poll.remedy = ""
        else:
            self._means.polls[poll.step.index] = poll.anew("")
        return -1

    def _ways(self, state: State) -> list[str]:
        """Return the remedies in their order, one for each paraphrase; these are counted from 1."""
        ways = []
        for remedy in self._remedies:
            prompts = self._paraphrases(state) if remedy == "prompt" else None
            ways += [remedy] if prompts is None else [f"prompt:{n}" for n in range(1, len(prompts) + 1)]
        return ways

    def _paraphrases(self, state: State) -> list[str | Sequence[Message]]:
        task: Any = self._means.asking.view.task
        with _PARAPHRASES:
            return list(task.paraphrases(state))

    async def _ask(self, step: Step, place: int, ways: list[str]) -> Decision:
        poll = self._means.polls.get(step.index)
        cap = None if poll is None else poll.cap
        if place < 0 and cap is None:
            # The run's own way, with what asks ahead inside; a remedy asks for this one step alone.
            return await self._decide(step)
        asking = self._means.asking if place < 0 else self._asking(step.state, ways[place])
        return await self._means.vote(asking if cap is None else _capped(asking, cap), step)

    def _asking(self, state: State, way: str) -> Asking:
        asking = self._means.asking
        name, _, value = way.partition(":")
        if name == "samples":
            return _capped(asking, int(value))
        if name == "prompt":
            # Counted from 1, as in the names that `_ways` gives.
            view = _Rephrased(asking.view.task, self._paraphrases(state)[int(value) - 1])
            return msgspec.structs.replace(asking, view=view)
        return msgspec.structs.replace(asking, complete=self._means.complete(value))

    def _take(self, step: Step, way: str, undecided: Undecided) -> None:
        """Journal that a remedy is taken, with the ballot as it is, and open the one that goes on."""
        means = self._means
        poll = means.polls[step.index]
        acted = Acted(step.index, way, poll.ballot.tally, undecided.message, item=step.item)
        if way in _LAST:
            means.act(acted)
        else:
            # The ballot before the act: a resume goes on by the remedy that the ballot names. Where it found the act
            # alone, it would take the same remedy once more.
            self._hand_over(poll, undecided.message)
            if _is_same_ballot(way):
                poll.remedy = way
            else:
                poll = means.polls[step.index] = poll.anew(way)
            self._hand_over(poll, "")
            means.act(acted)
        if means.asking.emit is not None:
            means.asking.emit(Remedied(step.index, way, undecided.message))
        if way == "person":
            raise undecided
        if way == "stop":
            raise Stop(f"{undecided.message}, and its last remedy is to stop", remedy=undecided.remedy, step=step.index)

    def _hand_over(self, poll: Poll, reason: str) -> None:
        self._means.leave(poll, reason)
        for slot in poll.slots:
            # They are journaled and counted; what the decision brings are the samples after them.
            slot.samples.clear()


class _Rephrased(TaskView):
    """A task asked by another prompt."""

    def __init__(self, task: Task, given: str | Sequence[Message]) -> None:
        super().__init__(task)
        self._other = given

    def prompt(self, state: State) -> Prompt:
        """Return the other prompt."""
        with _PARAPHRASES:
            return rendered(self._other)


def _is_same_ballot(remedy: str) -> bool:
    return remedy.startswith("samples:")


def _capped(asking: Asking, samples: int) -> Asking:
    """Return `asking` with so many samples in all, however they divide over the votes, or more if the run has more."""
    most = max(samples, asking.settings.max_samples)
    settings = msgspec.structs.replace(asking.settings, max_samples=most, redraws=max(most, asking.settings.redraws))
    return msgspec.structs.replace(asking, settings=settings)
