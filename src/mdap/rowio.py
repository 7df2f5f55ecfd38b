"""Rows in, rows out: what a map reads its tasks from, where its rows go, and what it came to. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from mdap.core.errors import MdapError, UsageError
from mdap.core.foreign import Foreign
from mdap.core.history import History, RunHead
from mdap.core.records import Status
from mdap.engine.rows import Row
from mdap.engine.taskview import TaskView
from mdap.protocols import Model, Task
from mdap.tasks.catalog import in_form
from mdap.tasks.catalog import task as task_named

TaskFactory: TypeAlias = Callable[[Any], Task | str]
Output: TypeAlias = "str | Path | Callable[[Row], None] | None"

# How many rows one slow row may hold up: so many results are in memory at most.
WINDOW = 1024
# A run that is a map says so in its task: "map:" and what makes the tasks. What a command needs to make them again
# stands among its settings.
PREFIX, ORIGIN = "map:", "map"
# A run of branches says so, with its roles and what makes it again, among its settings.
PLANNED = "planned"
_FACTORY = Foreign("what makes a task of a row")
_encode = msgspec.json.Encoder().encode


class Mapped(msgspec.Struct, frozen=True):
    """What a map came to. `counts` holds its rows by status: done, undecided, error, skipped.

    `rows` are the rows in order: a list where no output was named, else read from the file as they are asked for, and
    empty where a function took them. `steps`, `samples` and `votes` are those of all rows, `tokens` as reported, in and
    out; `seconds` of all segments.
    """

    run: str
    status: Status
    reason: str
    counts: dict[str, int]
    steps: int
    samples: int
    votes: int
    flagged: dict[str, int]
    retries: dict[str, int]
    tokens: dict[str, int]
    seconds: float
    rows: Iterable[Row]

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints: all but the rows."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "rows"}


class Lines:
    """The rows of an output file, read anew each time they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Row]:
        with self.path.open("rb") as file:
            for line in file:
                yield msgspec.json.decode(line, type=Row)


def spec_of(task_factory: TaskFactory) -> str:
    """Return how a map names what makes its tasks."""
    named = getattr(task_factory, "spec", None)
    if named is not None:
        return str(named)
    # An object that can be called has no name of its own, but its class has.
    kind = task_factory if hasattr(task_factory, "__qualname__") else type(task_factory)
    return f"{kind.__module__}:{getattr(kind, '__qualname__', kind)}"


class Source:
    """The rows, with the first of them that makes a task: it stands for all in what has to be known beforehand."""

    def __init__(self, factory: TaskFactory, items: Iterable[Any], model: Model) -> None:
        self.model = model
        self.task = PREFIX + spec_of(factory)
        self.first: TaskView | None = None
        self._factory = factory
        self._form = getattr(model, "prompt_form", None)
        left = iter(items)
        seen: list[Any] = []
        errors: list[MdapError] = []
        # One bad row says nothing of the others; so many in a row do.
        while self.first is None and len(seen) < WINDOW:
            raw = next(left, _END)
            if raw is _END:
                break
            seen.append(raw)
            with _noted(errors):
                self.first = self.view(raw)
        if self.first is None and errors:
            # The first: those of the other rows are mostly the same one over again.
            raise errors[0]
        # What was looked at is put back in front: items may be an iterator, which is read once.
        self.items = chain(seen, left)

    def view(self, raw: Any) -> TaskView:
        """Return the task of a row."""
        with _FACTORY:
            made = self._factory(raw)
        return TaskView(in_form(task_named(made), self._form))


# None may well be a row.
_END = object()


@contextmanager
def _noted(errors: list[MdapError]) -> Iterator[None]:
    try:
        yield
    except MdapError as error:
        errors.append(error)


def is_map(head: RunHead) -> bool:
    """Say whether a run is a map."""
    return head.task.startswith(PREFIX)


def is_planned(head: RunHead) -> bool:
    """Say whether a run is made of branches, each of them a short run: a plan, its execution, a solved tree."""
    return PLANNED in head.settings


def check_chain(head: RunHead) -> None:
    """Raise UsageError for a run that is no chain of steps, but rows or branches: what made it goes on with it."""
    how = f"mdap.{head.task}" if head.task in ("plan", "execute", "do") else "mdap.planned.conducting"
    if is_map(head) or is_planned(head):
        raise UsageError(
            f"run {head.id} is {'a map of rows' if is_map(head) else 'made of branches'}",
            remedy=f"go on with it by `mdap resume {head.id}`, or in a program by "
            f"{'mdap.map' if is_map(head) else how}(..., run={head.id!r})",
        )


def has_rows(head: RunHead) -> bool:
    """Say whether a run's decisions are those of rows, or branches, and not of one chain of steps."""
    return is_map(head) or is_planned(head)


class Target:
    """Where rows go: to a file, to a function, or into a list."""

    def __init__(self, rows: Iterable[Row], take: Callable[[list[Row]], None]) -> None:
        self.rows = rows
        self.take = take


@contextmanager
def target_of(output: Output) -> Iterator[Target]:
    """Give where rows go; a file is begun anew. Raises UsageError for one that cannot be written."""
    if output is None:
        kept: list[Row] = []
        yield Target(kept, kept.extend)
    elif isinstance(output, str | Path):
        path = Path(output)
        try:
            # Anew at a resume as well: it hands out all rows of the journal, so that none is in the file twice.
            file = path.open("wb")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", remedy="name another --output") from None
        with file:

            def _write(rows: list[Row]) -> None:
                file.write(b"".join([_encode(row) + b"\n" for row in rows]))
                # They are durable in the journal by now, and whoever follows the file is to see them.
                file.flush()

            yield Target(Lines(path), _write)
    else:

        def _call(rows: list[Row]) -> None:
            for row in rows:
                output(row)

        yield Target((), _call)


def mapped(history: History, rows: Iterable[Row] = ()) -> Mapped:
    """Return what a map in the journal came to so far."""
    book = history.book
    totals = book.totals
    return Mapped(
        run=history.head.id,
        status=book.status,
        reason=book.reason,
        counts=book.rows,
        steps=book.steps,
        samples=totals.samples,
        votes=totals.votes,
        flagged=totals.flagged,
        retries=totals.retries,
        tokens={"in": totals.tokens_in, "out": totals.tokens_out},
        seconds=book.seconds,
        rows=rows,
    )
