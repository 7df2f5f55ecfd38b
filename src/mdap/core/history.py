"""What a journal holds of a run, and the fold of its entries into what a resume needs. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

from mdap.core.delta import patch
from mdap.core.errors import JournalError
from mdap.core.prices import UnitPrices
from mdap.core.records import Action, Attempt, Item, Move, OpenBallot, RowStatus, Sample, State, Status, Totals


class RunHead(msgspec.Struct, frozen=True):
    """What a run was started with. `fingerprint` must be equal at a resume; `settings` may change.

    `created` is an ISO 8601 time in UTC; `task`, `model` and `rule` are specs; `total` is the number of steps, if it is
    known. `prices` are the unit prices that the run began with, by the spec of each model that has some. `tools` are
    the flags by which a command line named the tools, told with the commands that go on; empty where a program did.
    """

    id: str
    created: str
    task: str
    model: str
    rule: str
    fingerprint: dict[str, str]
    settings: dict[str, Any]
    total: int | None = None
    prices: dict[str, UnitPrices] = msgspec.field(default_factory=dict)
    tools: str = ""


# Not frozen: a budget counts in one of its own.
class Spend(msgspec.Struct):
    """What calls cost, or what is set aside for them: calls, tokens, seconds, nano-dollars."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    nano: int = 0


class Seen(msgspec.Struct):
    """The ballots of one kind of step: how many were decided, and votes for winners and for others."""

    steps: int = 0
    agreed: int = 0
    dissent: int = 0
    contested: int = 0


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """A decision as it is stored. `change` is UNSET where the task's `apply` gives the next state, else a delta.

    `totals` counts what this ballot took; `samples` holds the calls that are to be recorded. `condition` is what the
    model has learnt so far (a parameter that is refused, a fallback in use), None if that is as it was.
    """

    step: int
    action: Action
    votes: tuple[int, ...]
    kind: str = ""
    change: Any = msgspec.UNSET
    totals: Totals | None = None
    samples: tuple[Sample, ...] = ()
    condition: tuple[str, ...] | None = None


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The state that step `step` is asked about."""

    step: int
    state: State


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A ballot that was stopped before it was decided; `totals` counts what it took since it was last stored."""

    ballot: OpenBallot
    totals: Totals


class Attempted(msgspec.Struct, frozen=True, tag="attempted"):
    """An attempt at a call has ended. Written where all samples are to be recorded; the fold leaves it out."""

    attempt: Attempt


class Leased(msgspec.Struct, frozen=True, tag="leased"):
    """From here on this much, in all, may have been spent; whatever a kill leaves unsettled counts as spent."""

    lease: Spend


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The end of a segment: a run is one segment, each resume adds one. `spend` is what was really spent in all.

    `rows`, of a map, counts its rows by where they stand.
    """

    status: Status
    spend: Spend
    seconds: float
    reason: str = ""
    totals: Totals | None = None
    condition: tuple[str, ...] | None = None
    rows: dict[str, int] | None = None


class RowDecided(msgspec.Struct, frozen=True, tag="row_decided"):
    """A decision about one row of a map. `mark`, with a row's step 0, is what its start state is recognised by."""

    item: Item
    decided: Decided
    mark: int = 0


class RowEnded(msgspec.Struct, frozen=True, tag="row_ended"):
    """Where a row stands that is not, or not simply, done; it takes the place of what stood there before.

    `ballot` is what was left open, `totals` what it took since it was last stored.
    """

    item: Item
    status: RowStatus
    reason: str = ""
    ballot: OpenBallot | None = None
    totals: Totals | None = None


class Acted(msgspec.Struct, frozen=True, tag="acted"):
    """What was done about a step that its caps had left undecided: by the run itself, a remedy, or by a person.

    `act` is a remedy as it is written (samples:400) or accept, override, k and skip with what was given; `by` names the
    person, empty for the run; `at` is an ISO 8601 time in UTC; `votes` and `reason` are those of the ballot then.
    About a call of a tool: call:KEY, before it is made, with the call as `reason`; where nobody knows what came of it,
    retry, or outcome with the outcome as JSON for a `reason`.
    """

    step: int
    act: str
    votes: tuple[int, ...] = ()
    reason: str = ""
    by: str = ""
    at: str = ""
    item: Item = 0


class Learned(msgspec.Struct, frozen=True, tag="learned"):
    """What the rule has learned from the decisions before step `step`; it takes the place of what stood there before.

    `prior` is the rule's own, JSON values or a record that encodes to them.
    """

    step: int
    prior: Any


class Resumed(msgspec.Struct, frozen=True, tag="resumed"):
    """The start of a further segment, with the settings now in force, and the prices unless they are as they were."""

    settings: dict[str, Any]
    prices: dict[str, UnitPrices] | None = None


class Epoch(msgspec.Struct, frozen=True, tag="epoch"):
    """From step `step` on the run has another fingerprint, which the user accepted."""

    step: int
    fingerprint: dict[str, str]


Entry: TypeAlias = (
    Decided | Snapshot | Opened | Attempted | Leased | Ended | Learned | Resumed | Epoch | RowDecided | RowEnded | Acted
)


class Book(msgspec.Struct):
    """The fold of all entries of a run; it stays small however long the run is.

    `steps` is how many are decided, and so the index of the next. `seconds` is the time that all segments took,
    the present one up to its last decision, and `settled` that of those before it.
    `began` is the first step of the present segment; `segment` is (seconds, steps) of the last one that ended.
    `condition` is what the model had learnt. `prices` are those in force, None: those of the head. Of a map, `steps`
    are the decisions of all rows, and `rows` counts those by where they stood at the end of its last segment; `roles`
    are what its steps took by their kind, those left open included.
    """

    steps: int = 0
    status: Status = "running"
    reason: str = ""
    seconds: float = 0.0
    spend: Spend = msgspec.field(default_factory=Spend)
    totals: Totals = msgspec.field(default_factory=Totals)
    kinds: dict[str, Seen] = msgspec.field(default_factory=dict)
    ballot: OpenBallot | None = None
    settled: float = 0.0
    began: int = 0
    segment: tuple[float, int] = (0.0, 0)
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    epochs: list[tuple[int, dict[str, str]]] = msgspec.field(default_factory=list)
    condition: tuple[str, ...] = ()
    prices: dict[str, UnitPrices] | None = None
    rows: dict[str, int] = msgspec.field(default_factory=dict)
    roles: dict[str, Totals] = msgspec.field(default_factory=dict)

    @property
    def spent(self) -> Spend:
        """What counts as spent: what was settled or leased, and no less than the stored samples took.

        A run without budgets journals no leases, and one that was killed has settled nothing.
        """
        # A retry is reserved like a call, and may be on the bill like one.
        calls = self.totals.samples + self.totals.second_calls + sum(self.totals.retries.values())
        tokens = self.totals.tokens_in + self.totals.tokens_out
        nano = max(self.spend.nano, self.totals.nano)
        return Spend(max(self.spend.calls, calls), max(self.spend.tokens, tokens), self.spend.seconds, nano)

    def add(self, entry: Entry) -> None:
        """Fold one entry in."""
        # First, and by identity: nearly all entries of a long run are decisions. Snapshots, attempts and what a rule
        # has learned are read where they are needed, and have no branch here.
        if type(entry) is Decided:
            self.steps = entry.step + 1
            # A run has one step at a time, so the ballot that was left open is the one that is now decided.
            self.ballot = None
            self._counted(entry)
        # Rows end in any order, so their steps are counted, where the steps of a task are numbered.
        elif type(entry) is RowDecided:
            self.steps += 1
            self._counted(entry.decided)
            self._of_role(entry.decided.kind, entry.decided.totals)
        elif isinstance(entry, RowEnded):
            if entry.totals is not None:
                self.totals.add(entry.totals)
                self._of_role("" if entry.ballot is None else entry.ballot.kind, entry.totals)
        elif isinstance(entry, Opened):
            self.ballot = entry.ballot
            self.totals.add(entry.totals)
        # A lease says how much may be spent in all: it replaces the one before, whose part would else count twice.
        elif isinstance(entry, Leased):
            self.spend = entry.lease
        elif isinstance(entry, Ended):
            self._ended(entry)
        elif isinstance(entry, Resumed):
            # A segment that was killed has no end; its time is that of its decisions.
            self.settled = self.seconds
            self.status, self.reason, self.settings = "running", "", entry.settings
            self.began = self.steps
            self.prices = self.prices if entry.prices is None else entry.prices
        elif isinstance(entry, Acted):
            # What a person did says where the run stands; a remedy of its own is on the way to a decision.
            if entry.by:
                self.reason = f"step {entry.step}: {entry.act}, by {entry.by}"
        elif isinstance(entry, Epoch):
            self.epochs.append((entry.step, entry.fingerprint))
            # It may be another model now, and what was learnt of the one before says nothing of it.
            self.condition = ()
            # Votes on another prompt, or read by another parser, are no votes of this ballot.
            self.ballot = None

    def _of_role(self, kind: str, totals: Totals | None) -> None:
        if totals is None:
            return
        if kind not in self.roles:
            self.roles[kind] = Totals()
        self.roles[kind].add(totals)

    def _counted(self, entry: Decided) -> None:
        if entry.totals is not None:
            self.totals.add(entry.totals)
            self.seconds += entry.totals.elapsed
        if entry.condition is not None:
            self.condition = entry.condition
        if not entry.votes:
            return  # nobody voted: what a tool came to says nothing of how often votes are right
        seen = self.kinds.get(entry.kind)
        if seen is None:
            seen = self.kinds[entry.kind] = Seen()
        seen.steps += 1
        # The winner's votes stand first, in every rule's tally.
        seen.agreed += entry.votes[0]
        if len(entry.votes) > 1:
            seen.contested += 1
            seen.dissent += sum(entry.votes[1:])

    def _ended(self, entry: Ended) -> None:
        self.status, self.reason, self.spend = entry.status, entry.reason, entry.spend
        # In place of what its decisions said: the end counts what came after the last of them, too.
        self.seconds = self.settled = self.settled + entry.seconds
        self.segment = (entry.seconds, self.steps - self.began)
        self.rows = self.rows if entry.rows is None else entry.rows
        if entry.totals is not None:
            self.totals.add(entry.totals)
        if entry.condition is not None:
            self.condition = entry.condition


class History(msgspec.Struct):
    """What a resume needs: the head, the fold of all entries, the newest snapshot and the decisions after it.

    `learned`: what the rule had learned when that was last written, None if it learns nothing.
    """

    head: RunHead
    book: Book
    snapshot: Snapshot
    tail: list[Decided]
    learned: Learned | None = None


def stretches(head: RunHead, book: Book, task: str, version: str) -> list[tuple[int, bool]]:
    """Return, in order, the steps at which the task of a run changed, the first one 0, and whether it is this one then.

    What one task decided must not be computed again by another: see `walk`.
    """
    found: list[tuple[int, bool]] = []
    for step, fingerprint in [(0, head.fingerprint), *book.epochs]:
        is_this = not book.epochs or (fingerprint.get("task"), fingerprint.get("version")) == (task, version)
        # Epochs that changed something besides the task are of one stretch.
        if not found or found[-1][1] != is_this:
            found.append((step, is_this))
    return found


def walk(
    state: State,
    entries: Iterable[Decided],
    apply: Callable[[State, Action], State] | None,
    *,
    is_this: bool = True,
) -> Iterator[tuple[State, Decided, Move]]:
    """Yield (state asked, entry, move) for each stored decision, beginning at `state`.

    `apply` is the task's; it is called where an entry stores no change, but not if it `is_this` task no more that
    decided them. Raises JournalError where nothing gives the next state.
    """
    for entry in entries:
        # Before `apply` is asked: a stored change is what was decided, which may differ from what follows by the rules.
        if entry.change is not msgspec.UNSET:
            after = patch(state, entry.change)
        elif not is_this:
            raise JournalError(
                f"step {entry.step} was decided by the task as it was before a change that was accepted, and stores no "
                "next state: this task cannot compute it",
                remedy="read these steps with the task that the run had then",
                step=entry.step,
            )
        elif apply is not None:
            after = apply(state, entry.action)
        else:
            raise JournalError(
                f"step {entry.step} stores no next state, and the task has no `apply` that gives it",
                remedy="read the run with the task that it was started with",
                step=entry.step,
            )
        yield state, entry, Move(entry.action, after)
        state = after
