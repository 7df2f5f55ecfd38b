"""Watches whether votes are drawn anew, and stops a run whose replies come out of a cache. It never drops a vote."""

from __future__ import annotations

import math
import re
import shlex
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from mdap.core.errors import Stop
from mdap.core.records import Draw, Request, Response, Step
from mdap.core.settings import Settings
from mdap.engine.stack import members

T = TypeVar("T")

# Long enough for a cache that answers late, short enough for the memory of a run of any length.
REMEMBERED = 4096
OPEN_BALLOTS = 64
# Ids that were drawn at random are longer than this after their prefix; counters and seconds repeat by nature.
_TELLING = 12
_PREFIX = re.compile(r"[A-Za-z]+[-_]")

# Below so many tokens, equal replies are what right answers look like.
LONG = 100
CHARACTERS_PER_TOKEN = 4
# Two honest replies are taken to agree in a token with at most this probability, whatever they agreed in before; at 100
# tokens they are then alike in 37 of 100 cases.
AGREEMENT = 0.99
# The chance of an alarm, over a run of any length, if that is so. A run of equal pairs may begin at any of them, and
# the sum of 1/n^2 over all n is pi^2/6.
FALSE_ALARM = 0.01
# Of n replies to one prompt, all take its usual course with probability a^n, and two are alike with a^2: so a further
# one that is like two before it tells half of what the first pair told.
FURTHER = 0.5

_CACHE = "switch off the cache between here and the model, or look with `mdap probe MODEL`; the votes so far are kept"


class Independence:
    """The replies of one run, as they come in. `is_seeded`: they depend on the seed alone, so that they may be alike.

    Three things are evidence: a header that says that a cache answered; an id that an earlier reply had; and long
    replies that are alike, at a temperature above 0, in ballot after ballot, more often than chance explains. How many
    that takes depends on their length: at first 7 pairs at 100 tokens, 1 at 510. `known` is evidence from before the
    run, such as a probe's.
    """

    def __init__(
        self, *, is_seeded: bool = False, allow_identical: bool = False, known: str = "", remedy: str = _CACHE
    ) -> None:
        self._known = "" if allow_identical else known
        self._remedy = remedy
        self._ids: OrderedDict[str, Draw] = OrderedDict()
        self._looks_at_texts = not (is_seeded or allow_identical)
        self._ballots: OrderedDict[tuple[int, int], tuple[str, float]] = OrderedDict()
        self._pairs = 0
        self._in_a_row = 0
        self._evidence = 0.0

    def see(self, request: Request, response: Response) -> None:
        """Take note of a reply; raises Stop, with the evidence and the remedy, if votes are not drawn anew."""
        draw = request.draw
        if response.from_cache:
            raise _alarm(draw, "a header of the reply says that a cache gave it, not the model", self._remedy)
        if response.id:
            self._see_id(draw, response.id)
        # At a temperature of 0 equal replies are what was asked for.
        hot = request.temperature is None or request.temperature > 0
        if hot and self._known:
            raise _foreseen(draw.step, self._known, self._remedy)
        if hot and self._looks_at_texts and len(response.text) >= LONG * CHARACTERS_PER_TOKEN:
            self._see_text(draw, response.text)

    def _see_id(self, draw: Draw, name: str) -> None:
        before = self._ids.get(name)
        # A draw that is asked once more may rightly be given its own reply.
        if before is not None and before != draw and _is_random(name):
            where = "of this step" if before.step == draw.step else f"of step {before.step}"
            raise _alarm(draw, f"the reply has the id {name[:60]!r}, and so had one {where}", self._remedy)
        self._ids[name] = draw
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)

    def _see_text(self, draw: Draw, text: str) -> None:
        ballot = draw.item, draw.step
        first, weight = self._ballots.get(ballot, ("", 1.0))
        if not first:
            self._ballots[ballot] = text, 1.0
            if len(self._ballots) > OPEN_BALLOTS:
                self._ballots.popitem(last=False)
            return
        self._pairs += 1
        if first != text:
            self._in_a_row, self._evidence = 0, 0.0
            return
        self._in_a_row += 1
        self._ballots[ballot] = first, FURTHER
        self._evidence -= weight * len(text) // CHARACTERS_PER_TOKEN * math.log(AGREEMENT)
        # The row may have begun at any pair, and each beginning n has a share of the level that falls as 1/n^2.
        begun = self._pairs - self._in_a_row + 1
        if self._evidence > math.log(math.pi**2 / 6 / FALSE_ALARM) + 2 * math.log(begun):
            raise _alarm(
                draw,
                f"the last {self._in_a_row} pairs of replies to the same prompt are equal to the byte, with "
                f"{LONG} tokens and more, at a temperature above 0",
                f"{self._remedy}; if all answers of this task are alike by nature, go on with --allow-identical",
            )


def _is_random(name: str) -> bool:
    drawn = _PREFIX.sub("", name, count=1)
    return len(drawn) >= _TELLING and not drawn.isdecimal()


def independence_of(model: object, settings: Settings) -> Callable[[Request, Response], None] | None:
    """Return what watches the independence of votes; None for a model whose replies nothing but their seeds settle."""
    if getattr(model, "is_seeded", False):
        return None
    known = _known_of(model, settings)
    return Independence(allow_identical=settings.allow_identical, known=known, remedy=_remedy_of(model)).see


def unless_known(vote: Callable[..., T], model: object, settings: Settings) -> Callable[..., T]:
    """Return `vote(asking, step, ...)`, or what stops in its place: known evidence need not be paid for with calls."""
    known = _known_of(model, settings)

    def _refuse(asking: object, step: Step, *_: object) -> T:
        raise _foreseen(step.index, known, _remedy_of(model))

    return _refuse if known else vote


def _known_of(model: object, settings: Settings) -> str:
    """Return what was known before the run began of its votes not being independent; empty where nothing was."""
    hot = settings.temperature is None or settings.temperature > 0
    repeating = [one.spec for one in members(model) if getattr(one, "repeats", False)]
    if not repeating or not hot or settings.allow_identical:
        return ""
    return f"a probe of {repeating[0]} found replies alike whatever their seeds"


def _remedy_of(model: object) -> str:
    """Return what to do; where there is a server to be asked, the command names its model."""
    asked = [one.spec for one in members(model) if hasattr(one, "profile")]
    return _CACHE.replace("MODEL", shlex.quote(asked[0])) if asked else _CACHE


def _foreseen(step: int, known: str, remedy: str) -> Stop:
    return _alarm(Draw(step, 0), known, f"{remedy}; or go on with --allow-identical")


def _alarm(draw: Draw, evidence: str, remedy: str) -> Stop:
    return Stop(f"step {draw.step}: votes are not independent: {evidence}", remedy=remedy, step=draw.step)
