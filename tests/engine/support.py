"""Small real parts for the engine's tests: tasks of every shape, a model made of keyed chance, journals that misbehave.

All chance comes from the request's seed, so that two runs of one test differ in what the test changes and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from mdap import api
from mdap.core.errors import JournalError, ModelError, RedFlag
from mdap.core.history import Acted, Decided, Entry, History, RowDecided, RowEnded, RunHead, Snapshot
from mdap.core.keyed import uniforms
from mdap.core.records import ABSENT, Attempt, Finish, Message, Move, Request, Response, Sample, Usage
from mdap.core.strictjson import read_json
from mdap.journal import open_journal
from mdap.protocols import Journal
from mdap.result import Result

FINISH: tuple[Finish, Finish] = ("stop", "length")


class Pairs:
    """Counts to `steps`; the reply gives action and next state as `[action, state]`, and votes are on both."""

    def __init__(self, steps: int = 12, spec: str = "pairs") -> None:
        self.steps, self.spec = steps, spec

    def start(self) -> Any:
        return {"n": 0, "path": []}

    def is_done(self, state: Any) -> bool:
        return bool(state["n"] >= self.steps)

    def prompt(self, state: Any) -> str | Sequence[Message]:
        return f"You are at {state['n']}. What comes next?"

    def parse(self, text: str, state: Any) -> Move:
        if text == "babble":
            raise RedFlag("no answer in it")
        action, after = read_json(text)
        return Move(action, after)

    def answer(self, state: Any) -> Move:
        return Move(["add", 1], {"n": state["n"] + 1, "path": [*state["path"][-2:], state["n"]]})

    def candidates(self, state: Any) -> list[str]:
        """Replies, the right one first; all of them lead on to a next number."""
        right = self.answer(state)
        after = right.next_state
        wrong = [{**after, "path": [*after["path"], -m]} for m in (1, 2, 3)]
        return [dumps([right.action, s]) for s in (after, *wrong)]


class Applied(Pairs):
    """The same, with votes on the action alone: code computes the next state."""

    vote_on = "action"

    def apply(self, state: Any, action: Any) -> Any:
        # A tuple on purpose: it is a list once it was stored, and so it must be before.
        return {"n": state["n"] + 1, "path": (*state["path"][-2:], action[1])}

    def parse(self, text: str, state: Any) -> Move:
        action = read_json(text)
        return Move(tuple(action), ABSENT)

    def answer(self, state: Any) -> Move:
        action = ["add", 1]
        return Move(action, self.apply(state, action))

    def candidates(self, state: Any) -> list[str]:
        return [dumps(["add", m]) for m in (1, 2, 3, 4)]


class Mixed(Pairs):
    """Has `apply` and still votes on the pair; every third right reply has another next state than `apply` gives."""

    vote_on = "pair"

    def apply(self, state: Any, action: Any) -> Any:
        if action == ["fly"]:
            raise IndexError("nowhere to fly to")
        return {"n": state["n"] + 1, "path": [action[0]]}

    def answer(self, state: Any) -> Move:
        n = state["n"]
        action = ["fly"] if n % 4 == 3 else ["add", 1]
        return Move(action, {"n": int(n) + 1 if n % 3 else float(n + 1), "path": ["add"]})


class Place(msgspec.Struct, frozen=True):
    """A typed state."""

    n: int
    path: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Jump:
    """A typed action."""

    by: int
    why: str = "because"


class Typed(Pairs):
    """A task of typed states and actions, voted on as pairs, with `apply` if `applied`."""

    state_type = Place
    action_type = Jump

    def start(self) -> Place:
        return Place(0)

    def is_done(self, state: Place) -> bool:
        return state.n >= self.steps

    def prompt(self, state: Place) -> str:
        return f"You are at {state.n}. What comes next?"

    def parse(self, text: str, state: Place) -> Move:
        action, after = read_json(text)
        return Move(Jump(**action), Place(after["n"], tuple(after["path"])))

    def answer(self, state: Place) -> Move:
        return Move(Jump(1), Place(state.n + 1, (*state.path[-2:], state.n)))

    def candidates(self, state: Place) -> list[str]:
        right = self.answer(state)
        paths = [(*right.next_state.path, *[-1] * m) for m in range(4)]
        return [dumps([{"by": 1}, {"n": state.n + 1, "path": path}]) for path in paths]


class TypedApplied(Typed):
    """Typed, with votes on the action."""

    vote_on = "action"

    def apply(self, state: Place, action: Jump) -> Place:
        return Place(state.n + 1, (*state.path[-2:], action.by))

    def answer(self, state: Place) -> Move:
        return Move(Jump(1), self.apply(state, Jump(1)))

    def parse(self, text: str, state: Place) -> Move:
        return Move(Jump(**read_json(text)), ABSENT)

    def candidates(self, state: Place) -> list[str]:
        return [dumps({"by": m}) for m in (1, 2, 3, 4)]


SHAPES: list[type[Pairs]] = [Pairs, Applied, Mixed, Typed, TypedApplied]


class Chancy:
    """A model whose reply is a function of the request's seed; so are its flags, and its faults by attempt.

    Latency is a function of (`order`, seed, attempt) up to `latency` seconds of the loop's clock.
    """

    spec = "chancy"

    def __init__(
        self,
        *,
        p: float = 0.7,
        flags: float = 0.0,
        faults: float = 0.0,
        latency: float = 0.0,
        order: int = 0,
        most_used: float = 1.0,
    ) -> None:
        self.p, self.flags, self.faults, self.latency, self.order = p, flags, faults, latency, order
        self.most_used = most_used  # share of the reservation that a reply uses at most
        self.task: Any = None
        self.requests: list[Request] = []
        self.began: list[float] = []
        self.replies = 0
        self.answered: list[tuple[int, int, int]] = []
        self.tokens = 0
        self.open = 0
        self.most_open = 0
        self.cancelled = 0
        self._attempts: Counter[int] = Counter()

    def bind(self, task: Any) -> Chancy:
        self.task = task
        return self

    async def complete(self, request: Request) -> Response:
        seed = request.seed
        self._attempts[seed] += 1
        attempt = self._attempts[seed]
        self.requests.append(request)
        self.began.append(asyncio.get_running_loop().time())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if self.latency:
                await asyncio.sleep(self.latency_of(request, attempt))
            return self._reply(request, attempt)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open -= 1

    def latency_of(self, request: Request, attempt: int = 1) -> float:
        """Seconds that this call takes."""
        return self.latency * uniforms(b"late %d %d %d" % (self.order, request.seed, attempt), 1)[0]

    def reply_to(self, request: Request) -> str:
        """The text of the reply, were it not flagged."""
        right, which = uniforms(b"reply %d" % request.seed, 2)
        candidates: list[str] = self.task.candidates(request.state)
        return candidates[0 if right < self.p else 1 + int(which * (len(candidates) - 1))]

    def _reply(self, request: Request, attempt: int) -> Response:
        flag, used = uniforms(b"flag %d" % request.seed, 2)
        if uniforms(b"fault %d %d" % (request.seed, attempt), 1)[0] < self.faults:
            raise ModelError("the line went dead", kind="dropped")
        text, finish = self.reply_to(request), FINISH[flag < self.flags / 2]
        if self.flags / 2 <= flag < self.flags:
            text = "babble"
        sent = sum(len(m.content.encode()) for m in request.messages)
        usage = Usage(int(sent * self.most_used * used), int(request.max_tokens * self.most_used * used))
        self.replies += 1
        self.answered.append((request.draw.step, request.draw.slot, request.draw.redraw))
        self.tokens += usage.tokens_in + usage.tokens_out
        return Response(text, finish, usage)

    def draws(self) -> list[tuple[int, int, int]]:
        """(step, slot, redraw) of every request, in order."""
        return [(r.draw.step, r.draw.slot, r.draw.redraw) for r in self.requests]


class Watched:
    """A journal that hands everything on to another, and lets a test look, delay durability or fail.

    With `delay`, an entry is durable only once it was waited for, `delay` seconds later. `before_append` sees each
    entry first and may raise.
    """

    def __init__(
        self,
        inner: Journal | None = None,
        *,
        delay: float = 0.0,
        before_append: Callable[[Entry], None] | None = None,
        fail_wait_at: int | None = None,
    ) -> None:
        self.durable = 0
        self.inner = open_journal(None) if inner is None else inner
        self.entries: list[Entry] = []
        self.head_given: RunHead | None = None
        self.most_waiting = 0
        self._delay, self._before, self._fail_wait_at = delay, before_append, fail_wait_at

    @property
    def waiting(self) -> int:
        """Decisions that are not durable."""
        return sum(isinstance(entry, Decided) for entry in self.entries[self.durable :])

    def append(self, run: str, entry: Entry) -> int:
        if self._before is not None:
            self._before(entry)
        self.entries.append(entry)
        self.inner.append(run, entry)
        if not self._delay:
            self.durable = len(self.entries)
        self.most_waiting = max(self.most_waiting, self.waiting)
        return len(self.entries)

    async def wait_durable(self, ticket: int) -> None:
        if self._fail_wait_at is not None and len(self.entries) >= self._fail_wait_at:
            raise JournalError("the disk is full")
        if self._delay:
            await asyncio.sleep(self._delay)
            self.durable = max(self.durable, ticket)

    def create(self, head: RunHead) -> None:
        self.head_given = head
        self.inner.create(head)

    def claim(self, run: str) -> AbstractContextManager[None]:
        return self.inner.claim(run)

    def is_driven(self, run: str) -> bool:
        return self.inner.is_driven(run)

    def heads(self) -> list[RunHead]:
        return self.inner.heads()

    def head(self, run: str) -> RunHead:
        return self.inner.head(run)

    def history(self, run: str) -> History:
        return self.inner.history(run)

    def decisions(self, run: str, start: int = 0) -> Iterator[Decided]:
        return self.inner.decisions(run, start)

    def snapshot(self, run: str, step: int) -> Snapshot:
        return self.inner.snapshot(run, step)

    def samples(self, run: str, step: int) -> list[Sample]:
        return self.inner.samples(run, step)

    def attempts(self, run: str) -> Iterator[Attempt]:
        return self.inner.attempts(run)

    def row_decisions(self, run: str, start: int = 0) -> Iterator[RowDecided]:
        return self.inner.row_decisions(run, start)

    def row_samples(self, run: str, item: int, step: int) -> list[Sample]:
        return self.inner.row_samples(run, item, step)

    def row_ends(self, run: str, start: int = 0) -> Iterator[RowEnded]:
        return self.inner.row_ends(run, start)

    def acts(self, run: str) -> list[Acted]:
        return self.inner.acts(run)

    def close(self) -> None:
        self.inner.close()

    def killed_after(self, entries: int) -> Journal:
        """A journal that holds what was durable when a kill came after so many entries."""
        assert self.head_given is not None
        left = open_journal(None)
        left.create(self.head_given)
        for entry in self.entries[:entries]:
            left.append(self.head_given.id, entry)
        return left


def dumps(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def exported(result: Result) -> list[str]:
    """The export of a run, a text a step: compared as bytes are, so that 1 and 1.0 differ."""
    return [dumps(line) for line in result.export()]


async def plain_run(task: Pairs, model: Chancy, **options: Any) -> Result:
    """A run without a disk, and without lookahead unless `options`, which are those of `mdap.run`, ask for it."""
    options = {"journal": open_journal(None), "lookahead": 0, **options}
    return await api.run(task, model, **options)
