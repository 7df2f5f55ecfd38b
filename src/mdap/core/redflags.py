"""Why a sample is discarded before its text is parsed (Algorithm 3). Flags discard; nothing here mends a reply.

Two more names are counted beside these: `malformed`, when the task's `parse` raises RedFlag, and `illegal`, when its
`check` speaks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from mdap.core.errors import UsageError
from mdap.core.flag import Flag, RedFlagCheck
from mdap.core.records import Request, Response
from mdap.core.spec import unknown
from mdap.core.wordflags import empty_lines, phrases, too_short

# What stands where flags do: checks of one's own, or the name of a preset.
RedFlags: TypeAlias = Iterable[RedFlagCheck] | str
SHORTEST: Mapping[str, int] = MappingProxyType({"planning": 100, "voting": 2})
# Presets by name: replies of more reported tokens than this are too long, where no other number is given. Past about
# 700 tokens errors rise steeply (arXiv:2511.09030, Fig. 9a).
PRESETS: Mapping[str, int | None] = MappingProxyType({"paper": None, "strict": 700, "relaxed": 1500})


def red_flags(
    flag_tokens: int | None = None,
    *,
    extra: Iterable[RedFlagCheck] = (),
    replace: RedFlags | None = None,
    role: str = "",
) -> tuple[Flag, ...]:
    """Return the flags of a run in the order in which they are asked: the defaults, then `extra`.

    The defaults are truncated, refused, too_long (only with `flag_tokens`, a number of tokens), empty, repeated;
    `replace` stands in their place (`[accept_all]`: none); it may be the name of a `preset`, which is that of `role`. A
    check of one's own is any callable `(response, request) -> reason or None`; it is counted under its `name`, else its
    `__name__`. Raises UsageError for two flags of one name, and for `flag_tokens` below 1 or beside flags that replace
    the defaults.
    """
    if flag_tokens is not None and flag_tokens < 1:
        raise UsageError(f"flag_tokens={flag_tokens} would discard every reply", remedy="give 1 or more, or None")
    if flag_tokens is not None and replace is not None and not isinstance(replace, str):
        raise UsageError(
            f"flag_tokens={flag_tokens} sets one of the default flags, and red_flags are given in their place",
            remedy=f"put mdap.core.redflags.too_long({flag_tokens}) among red_flags, or give yours as extra_flags",
        )
    named = "paper" if replace is None else replace
    chosen = preset(named, flag_tokens, role=role) if isinstance(named, str) else named
    flags = tuple(_named(check) for check in (*chosen, *extra))
    # Flags are counted by name: of two with one name nobody could say which discarded a reply.
    for name, count in Counter(flag.name for flag in flags).items():
        if count > 1 or name in _TASK_FLAGS:
            raise UsageError(f"two red flags are named {name!r}", remedy="name yours: Flag('other name', check)")
    return flags


def preset(name: str, flag_tokens: int | None = None, *, role: str = "") -> list[RedFlagCheck]:
    """Return the flags that `name` stands for, in the order in which they are asked.

    `paper` is length and format: truncated, refused, too_long (only with `flag_tokens`), empty, repeated. `strict`
    adds too_long at 700 tokens, a shortest length of 1 character (100 for the `role` planning, a bare End exempt; 2
    for voting), at most half of the lines empty, and weighted phrases with repetition. `relaxed` is `paper` with
    too_long at 1,500 tokens and at most .8 of the lines empty. Raises UsageError for another name or role.
    """
    if name not in PRESETS:
        raise unknown("preset of red flags", name, PRESETS)
    if role and role not in SHORTEST:
        raise unknown("role with a shortest reply", role, SHORTEST)
    limit = flag_tokens or PRESETS[name]
    # What the provider says itself comes first: a reply that was cut may look empty or short as well, and is counted
    # under the cause.
    length: list[RedFlagCheck] = [truncated, refused, *([] if limit is None else [too_long(limit)])]
    if name == "paper":
        return [*length, empty, repeated]
    if name == "relaxed":
        return [*length, empty, empty_lines(0.8), repeated]
    # The word that ends a plan is a whole reply, of 3 characters.
    exempt = ("End",) if role == "planning" else ()
    return [*length, empty, too_short(SHORTEST.get(role, 1), exempt), empty_lines(0.5), repeated, phrases()]


def first_flag(flags: Iterable[Flag], response: Response, request: Request) -> tuple[str, str] | None:
    """Return (name, reason) of the first flag that speaks, or None for a reply that may be parsed.

    Raises UsageError where a check returns something that is neither a reason nor None.
    """
    for flag in flags:
        reason = flag.check(response, request)
        if reason is not None:
            # A check that answers True and False would flag every reply, since False is not None.
            if not isinstance(reason, str):
                raise UsageError(f"red flag {flag.name!r} returned {reason!r}", remedy="return a reason, or None")
            return flag.name, reason
    return None


def describe(flags: Iterable[Flag]) -> str:
    """Return the flags as a run's fingerprint holds them, such as `truncated,refused,too_long:700,empty,repeated`."""
    # By the spec where there is one: the same flag with another limit makes another run.
    return ",".join(flag.spec or flag.name for flag in flags)


def preset_told(told: str, flag_tokens: int | None = None) -> str | None:
    """Return the name of the preset that stands in a run's fingerprint as `told`, None where it is no preset alone."""
    return next((name for name in PRESETS if describe(red_flags(flag_tokens, replace=name)) == told), None)


def truncated(response: Response, request: Request) -> str | None:
    """Speaks where the provider cut the reply at the cap: even a complete looking answer may be of a lost thread."""
    return f"the reply was cut at {request.max_tokens} tokens" if response.finish == "length" else None


def refused(response: Response, _request: Request) -> str | None:
    """Speaks where the provider marked the reply as a refusal or filtered it."""
    return "the provider marked the reply as a refusal" if response.finish == "refusal" else None


def too_long(flag_tokens: int) -> Flag:
    """Return the flag for replies of more than `flag_tokens` tokens as reported (arXiv:2511.09030, section 4.4).

    A reply whose provider reports no usage is never too long: characters are no tokens. The cap of the request still
    bounds it, and reaching that is `truncated`.
    """

    def _check(response: Response, _request: Request) -> str | None:
        usage = response.usage
        if usage is None or usage.tokens_out <= flag_tokens:
            return None
        return f"{usage.tokens_out} tokens, more than {flag_tokens}"

    return Flag("too_long", _check, f"too_long:{flag_tokens}")


def empty(response: Response, _request: Request) -> str | None:
    """Speaks where there is no text but white space."""
    text = response.text
    return None if text and not text.isspace() else "the reply has no text"


def repeated(response: Response, _request: Request) -> str | None:
    """Speaks where the same sentences come again and again, as when a model has lost its thread.

    The rule: of a text of 400 characters or more, at least half are sentences of which each stands at least 6 times.
    A sentence is prose: 5 or more words, no digit, bracket, quote or sign of a table, ended by a full stop, question
    or exclamation mark, on a line that is not an item of a list. Equal rows of lists, tables, JSON and code are none.
    """
    text = response.text
    if len(text) < _LOOP_FROM:
        return None
    sentences = Counter(
        " ".join(sentence.split()).casefold()
        for line in text.splitlines()
        if not _ITEM.match(line) and not _COLUMNS.search(line)
        # What follows the last stop of a line is no whole sentence.
        for sentence in _END.split(line)[:-1]
    )
    loops = {
        s: n
        for s, n in sentences.items()
        if n >= _LOOP_TIMES and s.count(" ") >= _LOOP_WORDS - 1 and _PROSE.fullmatch(s)
    }
    if sum((len(s) + 1) * n for s, n in loops.items()) < _LOOP_SHARE * len(text):
        return None
    worst = max(loops, key=loops.__getitem__)
    return f"the same sentence {loops[worst]} times: {worst[:60]!r}"


def accept_all(_response: Response, _request: Request) -> None:
    """Never speaks: `red_flags(replace=[accept_all])` is a run without red flags."""


_TASK_FLAGS = frozenset({"malformed", "illegal"})
_LOOP_FROM, _LOOP_TIMES, _LOOP_WORDS, _LOOP_SHARE = 400, 6, 5, 0.5
# Bullets, "3." and "b)", "key:", quotes, brackets, columns: rows that may be equal with good reason.
_ITEM = re.compile(r"""\s*(?:[-*+•>#"'\[(<]|\w{1,3}[.)]|[\w -]{1,30}:)""")
_COLUMNS = re.compile(r"""[{}|\t]|",|,"|":""")
_END = re.compile(r"[.!?]+")
_PROSE = re.compile(r"""[^\W\d_][^\d_|{}\[\]<>"`=:;/\\]*""")


def _named(check: RedFlagCheck) -> Flag:
    if isinstance(check, Flag):
        return check
    # A check may be an object, which has no `__name__`: then its own name counts, or that of its class.
    name = getattr(check, "name", None) or getattr(check, "__name__", None) or type(check).__name__
    return Flag(str(name), check)


__all__ = [
    "PRESETS",
    "SHORTEST",
    "Flag",
    "RedFlagCheck",
    "RedFlags",
    "accept_all",
    "describe",
    "empty",
    "empty_lines",
    "first_flag",
    "phrases",
    "preset",
    "preset_told",
    "red_flags",
    "refused",
    "repeated",
    "too_long",
    "too_short",
    "truncated",
]
