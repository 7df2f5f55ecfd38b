"""`mdap ask`: flags in, one voted answer out. What an answer may be is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from mdap.cli.options import (
    RULE,
    UNCHANGED,
    USUAL_DISPLAY,
    USUAL_DRAWS,
    USUAL_MONEY,
    BaseUrl,
    Changeable,
    Display,
    Draws,
    Money,
    given,
    whole,
)
from mdap.cli.tapes import NO_TAPES, Tapes
from mdap.cli.texts import read_value, typed_text

# For types alone: `mdap ask --help` is to load none of the library.
if TYPE_CHECKING:
    from mdap.asked import Answer, Inquiry

_FORMAT, _VOTES = Group("Format of the answer", sort_key=1), Group("Votes", sort_key=2)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Shape:
    """What an answer may be; at most one of these is given."""

    schema: Annotated[
        Path | None, Parameter(group=_FORMAT, help="JSON that is valid against the JSON Schema in this file.")
    ] = None
    record: Annotated[
        str | None, Parameter(group=_FORMAT, help="JSON that decodes to a type of your own, package.module:Class.")
    ] = None
    pattern: Annotated[
        str | None, Parameter(group=_FORMAT, help="Text that this regular expression matches as a whole.")
    ] = None
    one_of: Annotated[
        str | None, Parameter(group=_FORMAT, metavar="A,B[,C...]", help="One of these words, letter for letter.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Votes:
    """When an answer has won, and which answers are the same."""

    k: Annotated[
        int | None,
        Parameter(group=_VOTES, help="Short for --rule ahead_by_k:K. 3 is assumed without either.", converter=whole),
    ] = None
    rule: Annotated[str | None, Parameter(group=_VOTES, help=RULE)] = None
    ranking: Annotated[
        str | None,
        Parameter(
            group=_FORMAT, metavar="A,B[,C...]", help="These words ranked, best first: for the rules borda, irv, mrr."
        ),
    ] = None
    key: Annotated[
        str | None,
        Parameter(
            group=_VOTES,
            help="Which answers are the same: folded (case and white space do not count), number:0.01 (rounded), "
            "python (code, by its syntax tree), judged:MODEL (a model groups them: no proof).",
        ),
    ] = None
    p: Annotated[
        float | None,
        Parameter(group=_VOTES, help="Probability that one vote is right: gives that of the answer with --json."),
    ] = None


ANY_TEXT, USUAL_VOTES = Shape(), Votes()


def ask(
    prompt: Annotated[str | None, Parameter(help="What to ask.")] = None,
    /,
    *,
    model: Annotated[str, Parameter(alias="-m", help="Such as openai:gpt-4.1-mini.")],
    file: Annotated[
        str | None,
        # A hyphen alone is standard input; cyclopts would take it for a flag that lacks its name.
        Parameter(alias="-f", allow_leading_hyphen=True, help="File that holds the prompt; - is standard input."),
    ] = None,
    shape: Shape = ANY_TEXT,
    votes: Votes = USUAL_VOTES,
    base_url: BaseUrl = None,
    changeable: Changeable = UNCHANGED,
    money: Money = USUAL_MONEY,
    draws: Draws = USUAL_DRAWS,
    display: Display = USUAL_DISPLAY,
    tapes: Tapes = NO_TAPES,
) -> int:
    """Decide one question by votes, and print the answer alone.

    An answer that is not in the format is flagged and asked for again, never mended. If no answer wins, nothing is
    printed and the exit code is 3. With --json: the answer (absent unless decided), the ballot, flags, tokens, and the
    probability with what it rests on. The run is in the journal like any other.
    """
    from mdap import asked, parts
    from mdap.cli.base_url import with_base_url
    from mdap.cli.driving import drive

    inquiry = _inquiry(typed_text(prompt, file, "prompt", "ask"), shape, replace(votes, key=_taped(votes.key, tapes)))
    # Looked at before the journal is opened: a wrong word here begins no run.
    rule, voter = parts.choose_rule(votes.k, votes.rule), tapes.into(with_base_url(model, base_url))
    assumed = f"k={parts.DEFAULT_K} is assumed: nothing says yet how often this model is right"
    options = {**given(changeable), **given(draws), **money.options}
    return drive(
        lambda journal, observers: asked.conduct(
            inquiry, voter, rule=rule, journal=journal, on_event=observers, **options
        ),
        display,
        # In place of the closing table, since what is printed is to be used as it stands.
        report=lambda result: _report(asked.answer_of(result, inquiry, rule, votes.p), display),
        note=assumed if votes.k is None and votes.rule is None else "",
    )


def _inquiry(prompt: str, shape: Shape, votes: Votes) -> Inquiry:
    from mdap import asked
    from mdap.core import formats
    from mdap.core.scaling.checks import helpful
    from mdap.tasks.question import imported

    if votes.p is not None:
        # Now, though it is used at the end: a p that voting cannot help is to be told before a call is paid for.
        helpful(votes.p)
    return asked.prepare(
        prompt,
        schema=None if shape.schema is None else read_value(shape.schema, "JSON Schema"),
        record=None if shape.record is None else imported(shape.record),
        pattern=shape.pattern,
        # Not stripped: answers have to be these words letter for letter, blanks included.
        one_of=None if shape.one_of is None else shape.one_of.split(","),
        format=None if votes.ranking is None else formats.ranking(votes.ranking.split(",")),
        key=votes.key,
    )


def _taped(key: str | None, tapes: Tapes) -> str | None:
    """Let the calls of a model that groups the answers go to the same cassette."""
    kind, _, model = (key or "").partition(":")
    # Nothing else in a key makes calls.
    return f"judged:{tapes.into(model)}" if kind == "judged" and model else key


def _report(answer: Answer, display: Display) -> None:
    """Print the answer, alone, or all that is known of it as JSON; what qualifies it goes to standard error."""
    from mdap.cli.exits import say
    from mdap.cli.report import print_json

    shown = answer.to_dict()
    if display.json:
        print_json(shown)
    elif answer.decided:
        value = shown["answer"]
        # A text stands as it is: quotation marks would be no part of the answer.
        print_json(value) if not isinstance(value, str) else print(value)
    if answer.judged is not None and not display.quiet:
        say(f"note:  {answer.judged['model']} grouped the answers: this is no proof, and no k makes it one")
    truncated = answer.flags.get("truncated", 0)
    # Where an answer has won all the same, they did no harm.
    if truncated and not answer.decided:
        say(f"note:  {truncated} of {answer.samples} replies were truncated: raise --max-tokens")
