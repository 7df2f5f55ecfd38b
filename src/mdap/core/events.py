"""What observers are told while a run goes on, and the fold of it into the run's progress. Observers alter nothing."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from mdap.core.records import Decision, Item, RowStatus, Status, Totals


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A run, or a further segment of it, begins at step `step`; `total` is the number of steps, if known."""

    run: str
    task: str
    model: str
    rule: str
    step: int
    total: int | None
    totals: Totals


class Called(msgspec.Struct, frozen=True, tag="called"):
    """A call begins (+1) or has ended (-1)."""

    change: int


class Flagged(msgspec.Struct, frozen=True, tag="flagged"):
    """A sample was discarded; `name` is what it is counted under, `item` its row or branch."""

    step: int
    slot: int
    redraw: int
    name: str
    reason: str
    item: Item = 0


class Retried(msgspec.Struct, frozen=True, tag="retried"):
    """A call failed and is made again after `wait` seconds; `attempt` counts from 1."""

    step: int
    attempt: int
    kind: str
    reason: str
    wait: float
    item: Item = 0


class Warned(msgspec.Struct, frozen=True, tag="warned"):
    """Something is not wrong yet but will be; `name` is what kind of thing, such as growth."""

    step: int
    name: str
    message: str


# gc=False as in `records`: one comes with every step, and texts and numbers can be in no cycle.
class StepBegun(msgspec.Struct, frozen=True, gc=False, tag="begun"):
    """A step is about to be voted on, or taken up again; with lookahead, some of its votes may be there already.

    A Stop that an observer raises here ends the run before the step; `kind` is that of the step.
    """

    step: int
    kind: str = ""
    item: Item = 0


class StepDecided(msgspec.Struct, frozen=True, tag="decided"):
    """A ballot was decided; `totals` counts what it took, `item` is its row or branch, 0 where there are none."""

    decision: Decision
    totals: Totals
    item: Item = 0


class StepUndecided(msgspec.Struct, frozen=True, tag="undecided"):
    """A cap ran out before the rule decided; `votes` is the tally so far."""

    step: int
    votes: tuple[int, ...]
    reason: str
    item: Item = 0


class Remedied(msgspec.Struct, frozen=True, tag="remedied"):
    """A step was undecided, as `reason` says, and `remedy` is taken for it."""

    step: int
    remedy: str
    reason: str


class RowSettled(msgspec.Struct, frozen=True, tag="row"):
    """A row of a map has come to its end for now; `reason` is empty where it is done."""

    row: int
    status: RowStatus
    reason: str = ""


class RunEnded(msgspec.Struct, frozen=True, tag="ended"):
    """The segment ended."""

    status: Status
    reason: str


Event: TypeAlias = (
    Started
    | StepBegun
    | Called
    | Flagged
    | Retried
    | Warned
    | StepDecided
    | StepUndecided
    | Remedied
    | RowSettled
    | RunEnded
)


# Not frozen, unlike the events: each of them is folded into it in place.
class Progress(msgspec.Struct):
    """Where a run stands. `steps` of `total` (None: unknown) are decided, `begun` of them before this segment.

    `samples`, `votes`, `flagged`, `retries` and `contested` count this segment.
    """

    total: int | None = None
    begun: int = 0
    steps: int = 0
    samples: int = 0
    votes: int = 0
    flagged: int = 0
    retries: int = 0
    contested: int = 0
    in_flight: int = 0
    status: Status = "running"

    def add(self, event: Event) -> None:
        """Fold one event in."""
        if isinstance(event, StepDecided):
            self.steps += 1
            self.samples += event.totals.samples
            self.votes += event.totals.votes
            self.contested += event.decision.contested
        elif isinstance(event, Called):
            self.in_flight += event.change
        elif isinstance(event, Flagged):
            # At once and not with the decision: a step that is redrawn over and over would look idle.
            self.flagged += 1
        elif isinstance(event, Retried):
            self.retries += 1
        elif isinstance(event, Started):
            # A segment begins where the one before ended: those steps are decided, and none of this segment's doing.
            self.total, self.begun, self.steps = event.total, event.step, event.step
        elif isinstance(event, RunEnded):
            self.status = event.status
