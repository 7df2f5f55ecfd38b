"""The flags that commands share, with what `--help` says of them. What they mean is for `mdap.core.settings`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from mdap.core.settings import Settings

# In a folder of its own, since SQLite and the locks of runs put further files beside it.
DEFAULT_JOURNAL = Path(".mdap") / "runs.db"
# In the folder that one is in, as the journal is.
PRICES_FILE = Path("prices.toml")


def _group(name: str, place: int) -> Group:
    return Group(name, sort_key=place)


CAPS, BUDGETS, DRAWS = _group("Caps", 3), _group("Budgets", 4), _group("Draws", 5)
WAITING, OUTPUT = _group("Waiting", 6), _group("Output", 7)


# Settings that have nothing where they are not given, and no limit either.
_NONE = ("draft", "remedies", "confidence")


def whole(_type: Any, tokens: Sequence[Token]) -> int:
    """Return the whole number that was typed; "2.5" is refused, where cyclopts would round it. Raises ValueError."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f'unable to convert "{tokens[0].value}" into int.') from None


def count(_type: Any, tokens: Sequence[Token]) -> float:
    """Return the count that was typed, which may be written as 1e6; a fraction is refused. Raises ValueError."""
    typed = tokens[0].value
    # What is no number ends below, in the same words as a fraction.
    with contextlib.suppress(ValueError):
        if float(typed).is_integer():
            return float(typed)
    raise ValueError(f'unable to convert "{typed}" into a whole number.')


def _setting(name: str, text: str, group: Group, metavar: str | None = None, alias: str | None = None) -> Parameter:
    """Return the flag of one field of Settings. Its default stands in the text alone.

    What is not given is not passed on: a model may prescribe its own temperatures, and a resume keeps what it has.
    """
    # From the settings themselves, so that help cannot promise another default than the one that holds.
    default = getattr(Settings(), name)
    shown = "none" if name in _NONE else "no limit" if default is None else default
    shown = f"{shown:g}" if isinstance(shown, float) else shown
    return Parameter(
        help=f"{text} [default: {shown}]",
        group=group,
        metavar=metavar,
        # With a word of our own for the value, the choices would stand beside it once more.
        show_choices=metavar is None,
        alias=alias,
        # Annotations are text there, and that of a whole number that may be left out begins so, too.
        converter=whole if Settings.__annotations__[name].startswith("int") else None,
        # Off is what a flag is that is not given.
        negative="" if isinstance(default, bool | tuple) else None,
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
# The star stands for no name: each field is a flag of the command itself, and not one of --changeable.
class Changeable:
    """The settings that a resume may change; None: not given."""

    max_samples: Annotated[int | None, _setting("max_samples", "Samples a step, flagged ones included.", CAPS)] = None
    redraws: Annotated[int | None, _setting("redraws", "Redraws a vote, after red flags.", CAPS)] = None
    retries: Annotated[int | None, _setting("retries", "Retries a call, after failures of the network.", CAPS)] = None
    timeout: Annotated[float | None, _setting("timeout", "Seconds a call may take.", CAPS)] = None
    in_flight: Annotated[int | None, _setting("in_flight", "Calls at once.", CAPS)] = None
    max_steps: Annotated[int | None, _setting("max_steps", "Decided steps.", CAPS)] = None
    budget_calls: Annotated[int | None, _setting("budget_calls", "Calls of the whole run.", BUDGETS)] = None
    budget_tokens: Annotated[int | None, _setting("budget_tokens", "Tokens of the whole run.", BUDGETS)] = None
    budget_seconds: Annotated[float | None, _setting("budget_seconds", "Seconds of the whole run.", BUDGETS)] = None
    budget_usd: Annotated[
        # As text, since an amount of money must not go through a float.
        str | None, _setting("budget_usd", "USD of the whole run, such as 2.50: needs a price.", BUDGETS, "USD")
    ] = None
    requests_per_minute: Annotated[
        int | None, _setting("requests_per_minute", "Calls that begin within any 60 seconds.", CAPS, alias="--rpm")
    ] = None
    tokens_per_minute: Annotated[
        int | None, _setting("tokens_per_minute", "Tokens of these calls.", CAPS, alias="--tpm")
    ] = None
    remedies: Annotated[
        list[str] | None,
        _setting(
            "remedies",
            "For steps that these caps leave undecided: samples:N in all, prompt (the task's paraphrases), model:SPEC, "
            "person or stop; repeatable, taken in this order.",
            CAPS,
            "REMEDY",
            alias="--remedy",
        ),
    ] = None
    allow_identical: Annotated[
        bool | None, _setting("allow_identical", "Long replies may be alike: they stop no run.", DRAWS)
    ] = None
    lookahead: Annotated[
        int | None, _setting("lookahead", "Steps asked ahead where a call takes over 5 ms; 0: none.", WAITING)
    ] = None
    draft: Annotated[
        str | None,
        _setting(
            "draft", "Who guesses moves, so that many steps are asked at once: task, or a model.", WAITING, "DRAFT"
        ),
    ] = None
    leader_first: Annotated[
        bool | None,
        _setting("leader_first", "A step's first draw goes alone, for providers that cache prompts.", WAITING),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Money:
    """What calls cost."""

    prices: Annotated[
        Path | None,
        Parameter(help="File of prices, in USD per million tokens [default: prices.toml, if there]", group=BUDGETS),
    ] = None
    free: Annotated[
        bool,
        Parameter(help="What has no price costs nothing.", group=BUDGETS, negative="", show_default=False),
    ] = False

    @property
    def options(self) -> dict[str, Any]:
        """What the library is told of it."""
        # A file that is named and missing is an error; one that is merely usual is not.
        usual = PRICES_FILE if PRICES_FILE.exists() else None
        return {"prices": self.prices or usual, "free": self.free}


_HEAT = "FLOAT|none"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Draws:
    """The settings of a draw, which a run keeps to its end; None: not given."""

    max_tokens: Annotated[int | None, _setting("max_tokens", "Tokens a reply may have.", DRAWS)] = None
    flag_tokens: Annotated[
        int | None, _setting("flag_tokens", "Replies of more tokens are the red flag too_long.", DRAWS)
    ] = None
    red_flags: Annotated[
        Literal["paper", "strict", "relaxed"] | None,
        Parameter(name="--flags", help="Which red flags there are. [default: paper]", group=DRAWS),
    ] = None
    first_temperature: Annotated[
        # A word for "send none", since None says that the flag was not given.
        float | Literal["none"] | None,
        _setting("first_temperature", "Temperature of a step's first draw; none: send none.", DRAWS, _HEAT),
    ] = None
    temperature: Annotated[
        float | Literal["none"] | None,
        _setting("temperature", "Temperature of all other draws; none: send none.", DRAWS, _HEAT),
    ] = None
    seed: Annotated[int | None, _setting("seed", "Settles every draw of a seeded model.", DRAWS)] = None
    hedge: Annotated[
        int | None,
        _setting("hedge", "Spare draws a batch, given up when not needed; equal runs may differ.", WAITING),
    ] = None
    confidence: Annotated[
        Literal["logprobs", "ask", "ask:100", "text"] | None,
        _setting(
            "confidence",
            "How sure each vote is, for rules that weigh votes: by log-probabilities, by a second call (0 or 1; 0 to "
            "100), or by a heuristic on the words of the reply.",
            DRAWS,
            "logprobs|ask|ask:100|text",
        ),
    ] = None
    share_draws: Annotated[
        bool | None,
        _setting("share_draws", "Draws share a call where the server can: they then have no seeds.", DRAWS),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Fixed(Draws):
    """All settings that a run keeps to its end; None: not given."""

    record: Annotated[
        Literal["samples", "contested", "none"] | None,
        _setting("record", "Whose samples the journal keeps: all steps', contested steps', none.", DRAWS),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfAgent(Fixed):
    """The settings of draws that a task which is divided has a use for."""

    # Not parsed, and so not shown: candidates are collected, all of them, and judges weigh none.
    hedge: Annotated[int | None, Parameter(parse=False)] = None
    confidence: Annotated[None, Parameter(parse=False)] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfChain(Changeable):
    """The settings that a resume of one task, whose prompts may grow, may change; None: not given."""

    context: Annotated[
        int | None, _setting("context", "Tokens that a prompt may have, if not what is known of the model.", CAPS)
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Limits(Changeable):
    """The settings that a resume may change, but for those of a single chain of steps."""

    # Not parsed, and so not shown: runs of branches take all other settings, but are no chain to be led ahead.
    max_steps: Annotated[int | None, Parameter(parse=False)] = None
    lookahead: Annotated[int | None, Parameter(parse=False)] = None
    draft: Annotated[str | None, Parameter(parse=False)] = None
    leader_first: Annotated[bool | None, Parameter(parse=False)] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Refusals:
    """How often judges of a plan, or of a task that is divided, may refuse; None: not given."""

    restarts: Annotated[
        int | None, Parameter(help="Of a plan: times that it is begun anew.", group=CAPS, converter=whole)
    ] = None
    attempts: Annotated[
        int | None, Parameter(help="Of a plan that is carried out: attempts at a batch.", group=CAPS, converter=whole)
    ] = None

    rounds: Annotated[
        int | None,
        Parameter(help="Of a task that is divided: rounds of candidates a question.", group=CAPS, converter=whole),
    ] = None

    @property
    def given(self) -> dict[str, int]:
        """Those that were given."""
        named = {"restarts": self.restarts, "attempts": self.attempts, "rounds": self.rounds}
        return {name: value for name, value in named.items() if value is not None}


AS_BEFORE = Refusals()
UNCHANGED_CHAIN = OfChain()
UNCHANGED, UNSET, USUAL_DRAWS, USUAL_MONEY = Changeable(), Fixed(), Draws(), Money()
NO_LIMITS, OF_AGENT = Limits(), OfAgent()


def given(flags: Changeable | Draws) -> dict[str, Any]:
    """Return the settings that were given; the word `none` for a temperature stands for None, which sends none."""
    values = {field.name: getattr(flags, field.name) for field in fields(flags)}
    # To record none is a word of its own, not the absence of one.
    words = {name: value for name, value in values.items() if value is not None}
    return {name: None if value == "none" and name != "record" else value for name, value in words.items()}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Which journal is meant."""

    journal: Annotated[
        Path | None,
        Parameter(help="File of the journal [default: $MDAP_JOURNAL, else .mdap/runs.db]", group=OUTPUT),
    ] = None

    @property
    def path(self) -> Path:
        """The file."""
        # A variable that is set to nothing names no file either.
        return self.journal or Path(os.environ.get("MDAP_JOURNAL") or DEFAULT_JOURNAL)

    @property
    def flag(self) -> str:
        """What a command to be typed next must have at its end to find the same file."""
        # Only for the flag: a variable is still set when the next command is typed.
        name = str(self.journal or "")
        # What begins with a hyphen would be read as a flag.
        return f" --journal {_quoted(f'./{name}' if name.startswith('-') else name)}" if name else ""


USUAL_PLACE = Place()


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _switch(text: str, alias: str | None = None) -> Parameter:
    return Parameter(help=text, alias=alias, group=OUTPUT, negative="", show_default=False)


K = Annotated[
    int | None,
    Parameter(help="Short for --rule ahead_by_k:K. 3 is assumed without either.", converter=whole),
]
RULE = (
    "When a step is decided, such as ahead_by_k:K, posterior:TARGET or majority:N; package.module:Class for a rule of "
    "your own."
)
Json = Annotated[bool, _switch("Print JSON instead of a table.")]
Quiet = Annotated[bool, _switch("No progress line and no notes.", "-q")]
Verbose = Annotated[
    int,
    Parameter(
        alias="-v", count=True, group=OUTPUT, show_default=False, help="Log flags and retries; -vv: decisions, too."
    ),
]
RunId = Annotated[str, Parameter(help="Id of the run, or a beginning of it that no other run has.")]
ToFile = Annotated[Path | None, Parameter(alias="-o", group=OUTPUT, help="File to write [default: stdout]")]
CalibrationFile = Annotated[
    Path | None,
    Parameter(help="File of `mdap calibrate --output`: gives k if none is given; warns when the run drifts from it."),
]
ProbeFile = Annotated[
    Path | None,
    Parameter(help="File of `mdap probe --output`: what the model takes, and whether its replies repeat."),
]
BaseUrl = Annotated[
    str | None, Parameter(help="Address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Display(Place):
    """Which journal is meant, and what is shown of a run that it goes into."""

    json: Json = False
    verbose: Verbose = 0
    quiet: Quiet = False


USUAL_DISPLAY = Display()
