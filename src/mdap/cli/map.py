"""`mdap map`: a file of rows and what makes tasks of them in, a file of rows out. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from mdap.cli.ask import ANY_TEXT, Shape
from mdap.cli.options import (
    UNCHANGED,
    UNSET,
    USUAL_DISPLAY,
    USUAL_MONEY,
    BaseUrl,
    CalibrationFile,
    Changeable,
    Display,
    Fixed,
    K,
    Money,
    Place,
    ToFile,
    given,
)
from mdap.cli.tapes import NO_TAPES, Tapes
from mdap.cli.tool_flags import NO_TOOLS, ToolFlags, with_tools

if TYPE_CHECKING:
    from mdap.core.history import RunHead
    from mdap.engine.rows import Row
    from mdap.protocols import Journal
    from mdap.rowio import Mapped

_ROWS = Group("Rows", sort_key=1)


@Parameter(name="*", group=_ROWS)
@dataclass(frozen=True, kw_only=True)
class Making:
    """What makes a task of a row; one of these is given."""

    task: Annotated[
        str | None, Parameter(help="package.module:Class; it is called with each row to make its task.")
    ] = None
    prompt: Annotated[
        str | None, Parameter(help="One question a row; {field} stands for a field of the row. Formats are for these.")
    ] = None
    prompt_file: Annotated[Path | None, Parameter(help="The same, from a file.")] = None
    key: Annotated[str | None, Parameter(help="Which answers to a prompt are the same: as in `mdap ask`.")] = None


NOTHING = Making()


def map(
    file: Annotated[Path, Parameter(help="JSON Lines: one row a line.")],
    /,
    *,
    model: Annotated[str, Parameter(alias="-m", help="Such as openai:gpt-4.1-mini.")],
    making: Making = NOTHING,
    shape: Shape = ANY_TEXT,
    retry_failed: Annotated[
        bool,
        Parameter(
            group=_ROWS,
            negative="",
            show_default=False,
            help="Go on with the newest map of this file: its undecided and failed rows alone are asked.",
        ),
    ] = False,
    output: ToFile = None,
    k: K = None,
    rule: Annotated[str | None, Parameter(help="When a step is decided.")] = None,
    calibration: CalibrationFile = None,
    base_url: BaseUrl = None,
    changeable: Changeable = UNCHANGED,
    money: Money = USUAL_MONEY,
    fixed: Fixed = UNSET,
    display: Display = USUAL_DISPLAY,
    tapes: Tapes = NO_TAPES,
    tools: ToolFlags = NO_TOOLS,
) -> int:
    """Take many rows, one short task each, through one run: rows in, rows out, in order.

    All rows share the calls in flight, the budgets and the journal. Each row of the output says how it ended: done
    with its result, undecided (it is in `mdap inbox`), or error. After Ctrl-C, a kill or a budget, `mdap resume` goes
    on, and no finished row is asked again.
    """
    from mdap.cli.base_url import with_base_url

    # Absolute, since a resume may be typed in another folder.
    words = {**vars(making), **vars(shape), "output": output and output.absolute(), "file": file.absolute()}
    # As texts: they go into the journal, and are held against those of a later command.
    origin = {name: None if value is None else str(value) for name, value in words.items()}
    asked = {"k": k, "rule": rule, "calibration": calibration, **money.options, **given(changeable), **given(fixed)}
    asked |= tools.given
    return _drive(origin, with_base_url(model, base_url), asked, display, tapes, again=retry_failed)


def is_map(run: str, place: Place) -> bool:
    """Say whether the run that an id, or the beginning of one, names is a map."""
    from mdap import rowio
    from mdap.cli.stored import opened

    with opened(place) as journal:
        return rowio.is_map(journal.head(run))


def resume_map(
    run: str,
    model: str | None,
    base_url: str | None,
    asked: dict[str, Any],
    display: Display,
    tapes: Tapes = NO_TAPES,
    *,
    again: bool,
) -> int:
    """Go on with a map; `asked` is what is said anew. Return the exit code."""
    from mdap.cli.base_url import with_base_url
    from mdap.cli.stored import opened

    with opened(display) as journal:
        head = journal.head(run)
    if "context" in asked:
        from mdap.core.errors import UsageError

        raise UsageError(f"{head.id} is a map, whose rows have a prompt each", remedy="leave --context out")
    chosen = with_base_url(model or head.model, base_url)
    return _drive(origin_of(head), chosen, asked, display, tapes, run=head.id, again=again)


def origin_of(head: RunHead) -> dict[str, Any]:
    """Return what a map's command was given; raises UsageError for a map that a program began."""
    from mdap.core.errors import UsageError
    from mdap.rowio import ORIGIN

    # Kept beside the settings; a program's map has none, since its rows and its factory cannot be written down.
    found: dict[str, Any] | None = head.settings.get(ORIGIN)
    if found is None:
        raise UsageError(
            f"{head.id} was begun by a program, which alone has its rows",
            remedy=f"go on with it there: mdap.map(..., run={head.id!r})",
        )
    return found


def factory_of(origin: dict[str, Any]) -> Callable[[Any], Any]:
    """Return what makes the task of a line of the file; raises UsageError for what is none."""
    from mdap.core.errors import UsageError
    from mdap.tasks.question import imported

    texts = [name for name in ("task", "prompt", "prompt_file") if origin.get(name) is not None]
    if len(texts) != 1:
        raise UsageError(
            f"{' and '.join(texts) or 'nothing'} says what a row asks for",
            remedy="give one of --task, --prompt and --prompt-file",
        )
    if texts == ["task"]:
        make = imported(origin["task"])
        named = origin["task"]
    else:
        make = _prompts(origin)
        named = make.spec

    return OfLines(make, named)


class OfLines:
    """Makes the task of a line of JSON; `spec` names what it is made by."""

    def __init__(self, make: Callable[[Any], Any], spec: str) -> None:
        self._make = make
        self.spec = spec

    def __call__(self, line: bytes) -> Any:
        """Return the task; raises RedFlag for what is no JSON."""
        from mdap.core.strictjson import read_json

        # Here and not where lines are read: one that is no JSON is the error of its own row.
        return self._make(read_json(line.decode()))


def _prompts(origin: dict[str, Any]) -> Any:
    from mdap.cli.texts import read_text, read_value
    from mdap.prompts import Prompts
    from mdap.tasks.question import imported

    text = origin["prompt"]
    if text is None:
        text = read_text(Path(origin["prompt_file"]), "the prompt")
    return Prompts(
        text,
        schema=None if origin["schema"] is None else read_value(Path(origin["schema"]), "JSON Schema"),
        record=None if origin["record"] is None else imported(origin["record"]),
        pattern=origin["pattern"],
        one_of=None if origin["one_of"] is None else origin["one_of"].split(","),
        key=origin["key"],
    )


class Lines:
    """The rows of a file, read as they are needed; blank lines are none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                # Counted once and read anew when needed, so that a file of any length is not held in memory.
                self._count = sum(1 for line in file if line.strip())
        except OSError as error:
            from mdap.core.errors import UsageError

            raise UsageError(f"{path} cannot be read: {error.strerror}", remedy="name a file of JSON Lines") from None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        # A file of its own for each pass, so that two passes do not move each other on.
        with self.path.open("rb") as file:
            yield from (line for line in file if line.strip())


def _drive(
    origin: dict[str, Any],
    model: str,
    asked: dict[str, Any],
    display: Display,
    tapes: Tapes,
    *,
    run: str | None = None,
    again: bool = False,
) -> int:
    """See a map through to its end, say what it came to, and return the exit code."""
    from mdap import mapping
    from mdap.cli.driving import watched
    from mdap.cli.exits import CODES
    from mdap.cli.map_report import RowProgress, report
    from mdap.core.errors import UsageError
    from mdap.journal import open_journal

    if display.json and origin["output"] is None:
        raise UsageError("--json prints figures, and standard output has the rows", remedy="name an --output")
    # Before the journal is opened: what is wrong with the rows leaves nothing behind.
    factory, lines = factory_of(origin), Lines(Path(origin["file"]))
    progress = RowProgress()
    with closing(open_journal(display.path)) as journal:
        # A resume names its map; the command that begins one has to look for it.
        if again and run is None:
            run = _newest(journal.heads(), origin, model)
        # The map is known by the model alone: a cassette is no part of what a run is.
        told = {"journal": journal, "output": origin["output"] or _print, "run": run, "retry_failed": again}
        told |= {"on_event": progress.add, "origin": origin, **asked}
        work = with_tools(told, lambda asked: mapping.map(factory, lines, tapes.into(model), **asked))
        result = watched(work, journal, progress, display, unit="row")
        if result is None:
            return CODES["interrupted"]
        ways = _ways_on(journal, result, display)
    report(result, display, ways)
    return CODES[result.status]


def _ways_on(journal: Journal, result: Mapped, place: Place) -> list[str]:
    """Return the commands that go on with a map, none where it is done or had no rows."""
    from mdap.cli.exits import onward, ways_on

    if not result.run:
        return []
    book, head = journal.history(result.run).book, journal.head(result.run)
    if result.status in ("undecided", "error"):
        # A plain resume would find nothing left to ask.
        return [onward(head, f" --retry-failed{place.flag}")]
    return ways_on(head, book, place.flag)


def _print(row: Row) -> None:
    import msgspec

    print(msgspec.json.encode(row).decode())


def _newest(heads: list[RunHead], origin: dict[str, Any], model: str) -> str:
    """Return the newest map of the same file by the same words."""
    from mdap.core.errors import UsageError
    from mdap.rowio import ORIGIN

    for head in reversed(heads):
        # Where rows were written to is no part of what was asked.
        if head.settings.get(ORIGIN, {}) | {"output": None} == origin | {"output": None} and head.model == model:
            return head.id
    raise UsageError(
        f"no map of {origin['file']} with this model is in the journal", remedy="leave --retry-failed out: begin one"
    )
