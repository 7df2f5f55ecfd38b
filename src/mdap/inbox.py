"""The inbox: steps that caps left undecided, and what a person says of them. A decision made here is a person's.

Nothing is asked here; a resume goes on from what was said.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from mdap.core.delta import diff
from mdap.core.errors import RedFlag, UsageError
from mdap.core.history import Acted, Decided, Opened, RowDecided, RowEnded, RunHead
from mdap.core.plain import plain
from mdap.core.records import ABSENT, Message, Move, OpenBallot, State, Totals
from mdap.core.tooling import OUTCOME, RETRY, Outcome, is_about_tool, is_unknown
from mdap.engine.rows import mark_of
from mdap.engine.taskview import TaskView
from mdap.parts import with_k
from mdap.protocols import Journal
from mdap.rowio import PLANNED, has_rows, is_planned
from mdap.tasks.rulebook import rule as rule_named

# Few enough to type: among the candidates of one step two hardly ever share 32 bits.
_KEY_CHARACTERS = 8


class Candidate(msgspec.Struct, frozen=True):
    """An answer that had `votes`; `key` names it, and any beginning of it that no other has will do."""

    key: str
    votes: int
    action: Any
    next_state: State


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that waits for a person. `row` is that of a map, or the branch of a plan, absent for a run of one task.

    `messages` are what was asked, `candidates` the answers by their votes, `remedies` what was tried before, and `why`
    says why it was not decided. `call` is that of a tool, where one was begun and nobody knows what came of it.
    """

    run: str
    step: int
    task: str
    rule: str
    why: str
    candidates: tuple[Candidate, ...]
    messages: tuple[Message, ...]
    state: State
    samples: int
    row: int | None = None
    remedies: tuple[str, ...] = ()
    call: str = ""


def waiting(journal: Journal, run: str | None = None) -> Iterator[Waiting]:
    """Yield the steps that wait for a person, of one run or of all, the oldest run first."""
    heads = journal.heads() if run is None else [journal.head(run)]
    for head in heads:
        acts = journal.acts(head.id)
        if has_rows(head):
            for ended in journal.row_ends(head.id):
                if ended.status == "undecided" and ended.ballot is not None:
                    yield _waiting(head, ended.ballot, ended.reason, acts, ended.item)
            continue
        book = journal.history(head.id).book
        # One without a reason has been answered, and waits for a resume.
        if book.status == "undecided" and book.ballot is not None and book.ballot.reason:
            yield _waiting(head, book.ballot, book.ballot.reason, acts, None)


def resolve(
    journal: Journal,
    run: str,
    step: int,
    *,
    by: str,
    row: int | None = None,
    accept: str | None = None,
    override: Move | None = None,
    k: int | None = None,
    skip: bool = False,
    retry: bool = False,
    outcome: Any = ABSENT,
    view: TaskView | None = None,
) -> Acted:
    """Say how an undecided step goes on, and return what the journal keeps of it; it is durable by then.

    One of: `accept` a candidate by its key; `override` with a move of one's own (`mdap.ABSENT` as next state: `view`,
    the task, computes it); go on voting by another margin `k`, with as many further samples as the run's cap; `skip`
    the row of a map. What was accepted or overridden is decided: it is never asked again. `view`, where it is given,
    has an override checked by the task. Of a call of a tool that was begun and of which nobody knows what came: either
    `retry`, the call is made again; or `outcome`, a JSON value, is what it returned. `by` names the person. The run
    goes on with a resume. Raises UsageError for a step that does not wait, a key that is no candidate's, and what fits
    another sort of step; RunBusy while the run is driven.
    """
    of_ballot = sum((accept is not None, override is not None, k is not None))
    # None is an outcome, too.
    of_call = retry + (outcome is not ABSENT)
    if of_ballot + of_call + skip != 1:
        raise UsageError(
            "say one thing about the step",
            remedy="give one of --accept, --override, --k and --skip; of a call of a tool --retry or --outcome",
        )
    head = journal.head(run)
    with journal.claim(head.id):
        # Looked at under the claim: nobody else can answer or drive it from here on.
        ballot = _open(journal, head, step, row)
        call = _call(journal.acts(head.id), step, row)
        if of_call and not call:
            raise UsageError(f"step {step} waits for votes, not for a tool", remedy="give --accept, --override or --k")
        if of_ballot and call:
            raise UsageError(f"nobody votes on what came of {call}", remedy="give --retry, or --outcome FILE")
        # What is appended by it is durable once the claim is left.
        told = _Told(journal, head, ballot, row, by)
        if retry:
            return told.called(RETRY, ballot.reason)
        if of_call:
            return told.called(OUTCOME, _written(outcome))
        if accept is not None:
            key, move = _accepted(ballot, accept)
            return told.decided(f"accept {_name(key)}", move, _votes(ballot, key))
        if override is not None:
            move, key = _overridden(ballot, override, view)
            return told.decided("override", move, _votes(ballot, key))
        return told.skipped() if skip else told.going_on(int(k or 0))


class _Told:
    """What a person says of one open ballot, on its way into the journal."""

    def __init__(self, journal: Journal, head: RunHead, ballot: OpenBallot, row: int | None, by: str) -> None:
        self._journal, self._head, self._ballot, self._row, self._by = journal, head, ballot, row, by

    def decided(self, act: str, move: Move, votes: tuple[int, ...]) -> Acted:
        """Decide the step. The difference of the states is stored, so that no task is needed to read it back."""
        ballot, run = self._ballot, self._head.id
        change = diff(plain(ballot.state), plain(move.next_state))
        made = Decided(ballot.step, plain(move.action), votes, ballot.kind, change)
        acted = self._act(act)
        if self._row is None:
            self._journal.append(run, made)
        else:
            # A row's open ballot lives in its entry, which is replaced below: its samples go with the decision.
            made = msgspec.structs.replace(made, samples=ballot.samples)
            # Whoever makes it, the first decision of a row carries its mark.
            mark = mark_of(ballot.state) if ballot.step == 0 else 0
            self._journal.append(run, RowDecided(self._row, made, mark))
            self._journal.append(run, RowEnded(self._row, "resolved", act))
        return acted

    def going_on(self, k: int) -> Acted:
        """Let the ballot go on by another margin."""
        if k < 1:
            raise UsageError(f"k={k} is no margin", remedy="give 1 or more")
        book = self._journal.history(self._head.id).book
        # Only to see that the rule has a k: a resume makes it anew.
        with_k(rule_named(book.epochs[-1][1]["rule"] if book.epochs else _rule(self._head, self._ballot)), k)
        # The cap of the last segment: a resume may have changed it.
        most = (book.settings or self._head.settings)["max_samples"]
        # On top of what was taken: under the run's cap alone it would stay undecided.
        ballot = msgspec.structs.replace(self._ballot, k=k, cap=self._ballot.taken + most, reason="")
        acted = self._act(f"k:{k}")
        if self._row is None:
            # In a chain they are stored and counted already.
            ballot = msgspec.structs.replace(ballot, samples=())
            self._journal.append(self._head.id, Opened(ballot, Totals()))
        else:
            self._journal.append(self._head.id, RowEnded(self._row, "resolved", f"k:{k}", ballot))
        return acted

    def called(self, act: str, reason: str) -> Acted:
        """Say how a call of a tool goes on; the step is decided by what comes of it, at a resume."""
        acted = self._act(act, reason)
        ballot = msgspec.structs.replace(self._ballot, reason="")
        if self._row is None:
            self._journal.append(self._head.id, Opened(ballot, Totals()))
        else:
            self._journal.append(self._head.id, RowEnded(self._row, "resolved", act, ballot))
        return acted

    def skipped(self) -> Acted:
        """Leave the row out."""
        if self._row is None:
            raise UsageError(
                "a step of a chain cannot be skipped: the next one rests on it", remedy="accept a candidate or override"
            )
        if is_planned(self._head):
            raise UsageError(
                "a branch of a plan cannot be skipped: others rest on it", remedy="accept a candidate or override"
            )
        acted = self._act("skip")
        self._journal.append(self._head.id, RowEnded(self._row, "skipped", f"skipped by {self._by}"))
        return acted

    def _act(self, act: str, reason: str | None = None) -> Acted:
        """Journal who said what. Before what follows from it, so that nothing is ever decided by nobody."""
        ballot = self._ballot
        tally = tuple(votes for _, votes in _counted(ballot))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        why = ballot.reason if reason is None else reason
        # A chain has no rows, and its acts are those of row 0.
        acted = Acted(ballot.step, act, tally, why, self._by, now, self._row or 0)
        self._journal.append(self._head.id, acted)
        return acted


def _open(journal: Journal, head: RunHead, step: int, row: int | None) -> OpenBallot:
    """Return the ballot that waits; raises UsageError where none does."""
    found: OpenBallot | None = None
    if has_rows(head):
        if row is None:
            raise UsageError(
                f"{head.id} is a map, or has branches", remedy="say which row: --row N, as `mdap inbox` shows it"
            )
        ended = next((ended for ended in journal.row_ends(head.id, row) if ended.item == row), None)
        if ended is not None and ended.status == "undecided":
            found = ended.ballot
    elif row is None:
        found = journal.history(head.id).book.ballot
    if found is None or found.step != step or not found.reason:
        where = f"step {step} of {head.id}" + ("" if row is None else f", row {row},")
        raise UsageError(f"{where} does not wait for anybody", remedy="see what does: mdap inbox")
    return found


def _rule(head: RunHead, ballot: OpenBallot) -> str:
    """Return the rule that judges a ballot: that of its role, if the run has roles."""
    rules: dict[str, str] = head.settings[PLANNED]["rules"] if is_planned(head) else {}
    return rules.get(ballot.kind, head.rule)


def _accepted(ballot: OpenBallot, name: str) -> tuple[bytes, Move]:
    # From the end, so that of each candidate the first vote stays.
    moves = {vote.key: vote.move for _, vote in reversed(ballot.votes)}
    found = [key for key in moves if _name(key).startswith(name)]
    # An empty name is the beginning of every key.
    if len(found) != 1 or not name:
        there = ", ".join(_name(key) for key in moves) or "none"
        raise UsageError(
            f"{name!r} is the key of {len(found)} candidates", remedy=f"there is: {there}; or give --override"
        )
    return found[0], moves[found[0]]


def _overridden(ballot: OpenBallot, move: Move, view: TaskView | None) -> tuple[Move, bytes]:
    if view is None:
        if move.next_state is ABSENT:
            raise UsageError("the override has no next state", remedy='give {"action": ..., "next_state": ...}')
        # Without the task nobody can say which votes were for it: it is decided as one that had none.
        return move, b""
    try:
        vote = view.vote(view.loaded(move), view.load(ballot.state))
    except RedFlag as flag:
        raise UsageError(f"the task refuses the override: {flag.message}", remedy="give another move") from None
    return vote.move, vote.key


def _votes(ballot: OpenBallot, key: bytes) -> tuple[int, ...]:
    """Return the tally as it was, that of the decision first, which may have had none."""
    counts = dict(_counted(ballot))
    return (counts.pop(key, 0), *counts.values())


def _counted(ballot: OpenBallot) -> list[tuple[bytes, int]]:
    """Return keys and votes, the leader's first, equals as they appeared."""
    counts: dict[bytes, int] = {}
    for _, vote in sorted(ballot.votes, key=lambda cast: cast[0]):
        counts[vote.key] = counts.get(vote.key, 0) + 1
    return sorted(counts.items(), key=lambda found: -found[1])


def _name(key: bytes) -> str:
    """Return what a candidate is called: it stays the same whatever else is voted for."""
    return blake2b(key, digest_size=_KEY_CHARACTERS // 2).hexdigest()


def _waiting(head: RunHead, ballot: OpenBallot, why: str, acts: list[Acted], row: int | None) -> Waiting:
    moves = {vote.key: vote.move for _, vote in reversed(ballot.votes)}
    candidates = [
        Candidate(_name(key), votes, moves[key].action, moves[key].next_state) for key, votes in _counted(ballot)
    ]
    about = [act for act in acts if act.step == ballot.step and act.item == (row or 0)]
    tried = [act.act for act in about if not act.by and not is_about_tool(act)]
    return Waiting(
        head.id,
        ballot.step,
        head.task,
        _rule(head, ballot),
        # It was written where nobody knew the run's id.
        why.replace("mdap show RUN", f"mdap show {head.id}"),
        tuple(candidates),
        ballot.messages,
        ballot.state,
        ballot.taken,
        row,
        tuple(tried),
        _call(about, ballot.step, row),
    )


def _call(acts: list[Acted], step: int, row: int | None) -> str:
    """Return the call of a tool that was begun in this step, and of which nobody knows what came; empty: none."""
    last: Acted | None = None
    for act in acts:
        if is_about_tool(act) and (act.step, act.item) == (step, row or 0):
            # The last word counts: a call that a person has had repeated may have been begun once more.
            last = act
    return last.reason if last is not None and is_unknown(last) else ""


def _written(value: Any) -> str:
    """Return the outcome that a person reports as the journal keeps it; raises UsageError for what is no JSON."""
    try:
        return msgspec.json.encode(Outcome("ok", plain(value))).decode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"the outcome is no JSON value: {error}", remedy="give what the tool returned") from None
