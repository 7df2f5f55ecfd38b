"""How fast one model is asked: calls at once that adapt to refusals, a cool-down that all callers share, and rates.

One pace per model object and event loop, so that runs that share a model also share what it can take. No retries.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections import deque
from weakref import WeakKeyDictionary

from mdap.core.errors import ModelError
from mdap.core.records import Request, Response
from mdap.engine.calling import reservation
from mdap.engine.places import Places
from mdap.protocols import Clock, Complete

# What a refusal holds everybody up for, in seconds: where it names no time, and at most, whatever it asks for.
USUAL_COOL_DOWN = 1.0
LONGEST_COOL_DOWN = 60.0
MINUTE = 60.0


class Pace:
    """What is known of how much a model takes: so many calls at once, none of them before the cool-down has passed.

    Until a call is refused nothing is known and nothing is held up (`calm`). A 429 halves what was in flight, once for
    all calls that are refused together; every round of replies then allows one call more, until it is calm again.
    """

    def __init__(self, clock: Clock) -> None:
        self.calm = True
        self.most = 1
        self.places = Places(float("inf"))
        self._clock = clock
        self._cool_until = 0.0
        self._window = _Window()

    def register(self, most: int, requests: int | None, tokens: int | None) -> None:
        """Take note of a run that has at most `most` calls in flight, and of whether it keeps to rates."""
        # Runs that ask one model share its pace: the largest of their limits is what it may grow to.
        self.most = max(self.most, most)
        if requests is not None or tokens is not None:
            # From here on all calls are counted, those of other runs too, since the provider counts them too.
            self._window.is_kept = True
            self.calm = False

    async def enter(self, tokens: int, requests_a_minute: int | None, tokens_a_minute: int | None) -> list[float]:
        """Return when one more call, of at most `tokens` tokens, may begin, with its entry in the window.

        It has one of the `places` from then on, until it leaves that.
        """
        if not self.places.take():
            await self.places.wait()
        waited = False
        try:
            while (wait := self._wait(tokens, requests_a_minute, tokens_a_minute)) > 0:
                await self._clock.sleep(wait)
            waited = True
        finally:
            # Cancelled while it waited: a place that stays taken would slow the model down for good.
            if not waited:
                self.places.leave()
        return self._window.begin(self._clock.now(), tokens)

    def answered(self, entry: list[float], tokens: int | None) -> None:
        """Take note of a reply and what it used: a whole round of replies allows one more call at once."""
        if tokens is not None:
            self._window.settle(entry, tokens)
        places = self.places
        if places.allowed < self.most:
            # So that a round of as many replies as are allowed makes one more.
            places.allowed += 1 / places.allowed
            places.hand_on()
        # Not while anybody waits: in the calm, who comes later would be let past them.
        elif not self._window.is_kept and not places.is_awaited and self._clock.now() >= self._cool_until:
            self.calm, places.allowed = True, float("inf")

    def refused(self, retry_after: float | None) -> None:
        """Take note of a 429: everybody waits, at most 60 s, and half as many calls may run at once."""
        now = self._clock.now()
        if now >= self._cool_until:
            # Once for all that are refused in one cool-down: they were all sent before the first refusal was known.
            places = self.places
            places.allowed = max(1.0, min(places.allowed, places.taken, self.most) / 2)
        wait = USUAL_COOL_DOWN if retry_after is None else retry_after
        self._cool_until = max(self._cool_until, now + min(wait, LONGEST_COOL_DOWN))
        self.calm = False

    def _wait(self, tokens: int, requests_a_minute: int | None, tokens_a_minute: int | None) -> float:
        now = self._clock.now()
        wait = self._cool_until - now
        if requests_a_minute is None and tokens_a_minute is None:
            return wait
        return max(wait, self._window.wait(now, tokens, requests_a_minute, tokens_a_minute))


class _Window:
    """The calls that began within the last 60 seconds, each as [when, its tokens]."""

    def __init__(self) -> None:
        self.is_kept = False
        self._begun: deque[list[float]] = deque()
        self._tokens = 0.0

    def begin(self, now: float, tokens: int) -> list[float]:
        """Count a call, if calls are counted, and return its entry."""
        entry = [now, float(tokens)]
        if self.is_kept:
            self._begun.append(entry)
            self._tokens += tokens
        return entry

    def settle(self, entry: list[float], tokens: int) -> None:
        """Replace what a call could use by what it has used."""
        # One that has left the window meanwhile counts no more, whatever it used.
        if self._begun and entry[0] >= self._begun[0][0]:
            self._tokens += tokens - entry[1]
        entry[1] = float(tokens)

    def wait(self, now: float, tokens: int, most_requests: int | None, most_tokens: int | None) -> float:
        """Return the seconds until one more call fits."""
        begun = self._begun
        while begun and begun[0][0] <= now - MINUTE:
            self._tokens -= begun.popleft()[1]
        wait = 0.0
        if most_requests is not None and len(begun) >= most_requests:
            # One more fits when the call that is this many back in the row has left the window.
            wait = begun[-most_requests][0] + MINUTE - now
        if most_tokens is not None and self._tokens + tokens > most_tokens:
            left = self._tokens
            for when, amount in begun:
                # One call of more than a minute's tokens begins once it is alone: otherwise it never could.
                left, wait = left - amount, max(wait, when + MINUTE - now)
                if left + tokens <= most_tokens:
                    break
        return wait


# Weak in both: neither a loop nor a model is kept alive by having been asked once.
_PACES: WeakKeyDictionary[AbstractEventLoop, WeakKeyDictionary[object, Pace]] = WeakKeyDictionary()


def pace_of(model: object, clock: Clock) -> Pace:
    """Return the pace that all runs on this event loop share for this model object."""
    paces = _PACES.setdefault(asyncio.get_running_loop(), WeakKeyDictionary())
    try:
        return paces.setdefault(model, Pace(clock))
    except TypeError:  # an object that cannot be held weakly, or has no hash, is not told from others
        return Pace(clock)


def paced(
    complete: Complete, pace: Pace, in_flight: int, requests: int | None = None, tokens: int | None = None
) -> Complete:
    """Return `complete` of which at most `in_flight` run at once, and no more than `pace` and the rates allow.

    `requests` and `tokens` bound what begins within any 60 seconds; None: no bound. A call counts with the most tokens
    it can use, and once it is answered with those that it has used.
    """
    # The limit of this run alone; the pace may be shared with others.
    own, shared = Places(in_flight), pace.places
    pace.register(in_flight, requests, tokens)

    async def _call(request: Request) -> Response:
        if not own.take():
            await own.wait()
        try:
            if not pace.calm:
                return await _held_up(request)
            # Not by `take`: while all is calm nothing is limited, but a refusal has to know how many are under way.
            shared.taken += 1
            try:
                return await complete(request)
            except ModelError as error:
                if error.status == 429:
                    pace.refused(error.retry_after)
                raise
            finally:
                shared.leave()
        finally:
            own.leave()

    async def _held_up(request: Request) -> Response:
        entry = await pace.enter(reservation(request) if tokens is not None else 0, requests, tokens)
        try:
            response = await complete(request)
        except ModelError as error:
            if error.status == 429:
                pace.refused(error.retry_after)
            raise
        finally:
            shared.leave()
        usage = response.usage
        pace.answered(entry, None if usage is None else usage.tokens_in + usage.tokens_out)
        return response

    return _call
