"""Why a sample is discarded before its text is parsed (Algorithm 3). Flags discard; nothing here mends a reply.

Two more names are counted beside these: `malformed`, when the task's `parse` raises RedFlag, and `illegal`, when its
`check` speaks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from mdap.core.errors import UsageError
from mdap.core.records import Request, Response

RedFlagCheck: TypeAlias = Callable[[Response, Request], str | None]


class Flag(msgspec.Struct, frozen=True, gc=False):
    """A check and the name that it is counted under. `spec` is how it stands in a run's fingerprint."""

    name: str
    check: RedFlagCheck
    spec: str = ""

    def __call__(self, response: Response, request: Request) -> str | None:
        """Return the reason why the reply is discarded, or None."""
        return self.check(response, request)


def red_flags(
    flag_tokens: int | None = None,
    *,
    extra: Iterable[RedFlagCheck] = (),
    replace: Iterable[RedFlagCheck] | None = None,
) -> tuple[Flag, ...]:
    """Return the flags of a run in the order in which they are asked: the defaults, then `extra`.

    The defaults are truncated, refused, too_long (only with `flag_tokens`, a number of tokens), empty, repeated;
    `replace` stands in their place (`[accept_all]`: none). A check of one's own is any callable
    `(response, request) -> reason or None`; it is counted under its `name`, else its `__name__`. Raises UsageError
    for two flags of one name, and for `flag_tokens` below 1.
    """
    if flag_tokens is not None and flag_tokens < 1:
        raise UsageError(f"flag_tokens={flag_tokens} would discard every reply", remedy="give 1 or more, or None")
    chosen = _defaults(flag_tokens) if replace is None else replace
    flags = tuple(_named(check) for check in (*chosen, *extra))
    for name, count in Counter(flag.name for flag in flags).items():
        if count > 1 or name in _TASK_FLAGS:
            raise UsageError(f"two red flags are named {name!r}", remedy="name yours: Flag('other name', check)")
    return flags


def first_flag(flags: Iterable[Flag], response: Response, request: Request) -> tuple[str, str] | None:
    """Return (name, reason) of the first flag that speaks, or None for a reply that may be parsed.

    Raises UsageError where a check returns something that is neither a reason nor None.
    """
    for flag in flags:
        reason = flag.check(response, request)
        if reason is not None:
            if not isinstance(reason, str):
                raise UsageError(f"red flag {flag.name!r} returned {reason!r}", remedy="return a reason, or None")
            return flag.name, reason
    return None


def describe(flags: Iterable[Flag]) -> str:
    """Return the flags as a run's fingerprint holds them, such as `truncated,refused,too_long:700,empty,repeated`."""
    return ",".join(flag.spec or flag.name for flag in flags)


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


def _defaults(flag_tokens: int | None) -> list[RedFlagCheck]:
    long = [] if flag_tokens is None else [too_long(flag_tokens)]
    return [truncated, refused, *long, empty, repeated]


def _named(check: RedFlagCheck) -> Flag:
    if isinstance(check, Flag):
        return check
    name = getattr(check, "name", None) or getattr(check, "__name__", None) or type(check).__name__
    return Flag(str(name), check)
