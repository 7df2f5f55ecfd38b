"""A model whose requests are answered by batches: gathered, submitted once, polled, and taken up again after a kill.

Providers answer batches within a day, at half the price. The wire formats are in `openai_batches`, `anthropic_batches`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from mdap.core.errors import MdapError, ModelError, ModelRejected, Stop, UsageError
from mdap.core.prices import UnitPrices
from mdap.core.records import Request, Response
from mdap.models.anthropic_batches import AnthropicBatches
from mdap.models.batch_service import Service
from mdap.models.http import Reply
from mdap.models.openai_batches import OpenAIBatches
from mdap.models.profiles import Profile
from mdap.models.remote import Remote
from mdap.models.submissions import Patience, Submissions
from mdap.protocols import Clock, Model

_LOG = logging.getLogger("mdap")

_HALF = Decimal("0.5")
_SERVICES: dict[str, Callable[[Remote], Service]] = {"openai": OpenAIBatches, "anthropic": AnthropicBatches}


class _Place(NamedTuple):
    request: Request
    profile: Profile
    body: bytes
    intent: str
    batch: str
    reply: asyncio.Future[Response]

    @property
    def id(self) -> str:
        """What the entry is called in its batch: the coordinates of the draw."""
        draw = self.request.draw
        # Of letters, digits, _ and - alone, as vendors want it: the rows of a calibration are numbered below 0.
        return f"{draw.item}_{draw.step}_{draw.slot}_{draw.redraw}"


class Batched:
    """A model, asked by batches. All that is asked for until nothing more is goes into one, whatever asks for it.

    `submissions` remembers what is in which batch: a request that an earlier process submitted is not submitted again.
    A batch that has not ended within `patience.limit` raises Stop: it goes on at the provider's, and so can whoever
    asks again. `most` requests go into a batch, or as many as the provider takes. Raises UsageError for a model whose
    provider has no batches that are known here.
    """

    is_batched = True
    # Draws that share a call are of no use in a batch: each costs half of what it would.
    complete_n = None

    def __init__(
        self,
        model: Model,
        submissions: Submissions,
        clock: Clock,
        patience: Patience | None = None,
        *,
        most: int | None = None,
    ) -> None:
        self._service = service_of(model)
        self._model: Any = model
        self._submissions = submissions
        self._clock = clock
        self._patience = patience or Patience()
        self._most = min(most or self._service.most, self._service.most)
        self._places: list[_Place] = []
        self._is_led = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def complete(self, request: Request) -> Response:
        """Return the reply that a batch gave; raises ModelError, to be asked again in the next, where it gave none."""
        # Kept with the place: the profile may narrow before the batch ends, and a refusal is about what was sent.
        profile = self._model.profile
        body = self._model.write(request, profile, 1)
        reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        # Whoever waits may have been cancelled by the time that an error arrives.
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        place = _Place(request, profile, body, "", "", reply)
        digest = blake2b(self._model.spec.encode() + b"\0" + body, digest_size=8).hexdigest()
        known = self._submissions.take(place.id, digest)
        if known is not None:
            # Not submitted again on a guess: a batch that was made after all would be paid for twice.
            if not known[1]:
                raise _unknown(self._model.spec, "an earlier process ended while it submitted a batch")
            place = place._replace(intent=known[0], batch=known[1])
        self._places.append(place)
        # The first that asks does the work within its own task: a task of the model's would belong to no group.
        if not self._is_led:
            await self._lead()
        return await reply

    async def _lead(self) -> None:
        """Answer all that is asked for, as whoever asked first. An error ends the waiting of all."""
        self._is_led = True
        places: list[_Place] = []
        try:
            while self._places:
                await self._gather()
                places, self._places = self._places, []
                await self._answer(places)
        except MdapError as error:
            for place in [*places, *self._places]:
                if not place.reply.done():
                    # A copy each: an error is written on by whoever catches it.
                    place.reply.set_exception(copy(error))
            raise
        finally:
            self._is_led = False
            # Only a cancellation leaves any that wait: nobody would answer them.
            for place in [*places, *self._places]:
                place.reply.cancel()
            self._places = []

    async def _gather(self) -> None:
        # Rounds without anything new end it: each batch may take hours, so one that is full beats two that are early.
        count = -1
        while count != len(self._places):
            count = len(self._places)
            await self._clock.sleep(self._patience.quiet)

    async def _answer(self, places: Sequence[_Place]) -> None:
        began = self._clock.now()
        by_batch: dict[str, list[_Place]] = {}
        for place in places:
            by_batch.setdefault(place.batch, []).append(place)
        # Without a batch are those that are new; the others are waited for where an earlier process submitted them.
        for part in self._parts(by_batch.pop("", [])):
            by_batch[await self._submitted(part)] = part
        for batch, part in by_batch.items():
            await self._wait(batch, began)
            results = await self._patiently(self._service.results, batch, began)
            for place in part:
                self._settle(place, results.get(place.id))

    def _parts(self, places: Sequence[_Place]) -> Iterator[list[_Place]]:
        """Divide what is to be submitted into batches that the provider takes."""
        part: list[_Place] = []
        size = 0
        for place in places:
            if len(part) == self._most or (part and size + len(place.body) > self._service.most_bytes):
                yield part
                part, size = [], 0
            part.append(place)
            # The frame of a line, generously.
            size += len(place.body) + 200
        if part:
            yield part

    async def _submitted(self, places: Sequence[_Place]) -> str:
        spec = self._model.spec
        prepared = await self._service.prepare({place.id: place.body for place in places})
        digests = {p.id: blake2b(spec.encode() + b"\0" + p.body, digest_size=8).hexdigest() for p in places}
        # On disk before it is sent: a process that is killed in between leaves a trace that somebody can follow.
        intent = self._submissions.intend(digests)
        try:
            batch = await self._service.submit(prepared)
        except ModelError as error:
            # No answer is no refusal: the batch may be there, and submitting it again may be paid for twice.
            if error.status is None and error.retryable:
                raise _unknown(spec, error.message) from error
            # Refused with a status: it is certain that there is no such batch.
            self._submissions.close(intent)
            raise
        self._submissions.made(intent, batch)
        _LOG.info("%s: batch %s of %d requests was submitted", spec, batch, len(places))
        return batch

    async def _wait(self, batch: str, began: float) -> None:
        """Return when a batch has ended; raises Stop once all patience is used up."""
        wait = self._patience.first
        while True:
            standing = await self._patiently(self._service.look, batch, began)
            if standing.has_ended:
                return
            left = self._left(batch, began, standing.words)
            await self._clock.sleep(min(wait, left))
            # By half: that a batch has ended is then seen after half as long again as it took, at the latest.
            wait = min(1.5 * wait, self._patience.longest)

    async def _patiently(self, ask: Any, batch: str, began: float) -> Any:
        """Return what a question about a batch is answered; it is asked again while that may help."""
        wait = self._patience.first
        while True:
            try:
                return await ask(batch)
            except ModelRejected as error:
                # Providers keep batches for some weeks, not for ever.
                if error.status == 404:
                    error.remedy = "the provider has forgotten the batch: submit anew with --batch-anew"
                raise
            except ModelError as error:
                left = self._left(batch, began, error.message)
                await self._clock.sleep(min(max(wait, error.retry_after or 0.0), left))
                wait = min(1.5 * wait, self._patience.longest)

    def _left(self, batch: str, began: float, words: str) -> float:
        left = self._patience.limit - (self._clock.now() - began)
        if left > 0:
            return left
        raise Stop(
            f"the batch {batch} of {self._model.spec} has not ended after {self._patience.limit:,g} s ({words})",
            remedy="type the same command again: it goes on with this batch, and submits nothing twice",
        )

    def _settle(self, place: _Place, result: Reply | ModelError | None) -> None:
        if place.reply.done():
            return
        if result is None:
            result = ModelError("the batch has no result for the request", kind="missing")
        try:
            if isinstance(result, ModelError):
                raise result
            place.reply.set_result(self._model.replies(result, place.profile, place.request)[0])
        except ModelError as error:
            if error.status == 429:
                # The provider refused it within the batch, where there is no pace of ours that could be slowed down.
                error.status = 503
            place.reply.set_exception(error)


def service_of(model: Model) -> Service:
    """Return the batches of a model's provider; raises UsageError where none are known."""
    if isinstance(model, Remote) and model.server.name in _SERVICES:
        return _SERVICES[model.server.name](model)
    raise UsageError(
        f"{model.spec} takes no batches that are known here", remedy=f"there are those of {' and '.join(_SERVICES)}"
    )


def halved(prices: UnitPrices) -> UnitPrices:
    """Return what the same tokens cost in a batch, by both vendors' price lists as of 2026-11: half of each price."""
    parts = {name: getattr(prices, name) for name in ("input", "output", "cached", "cache_write")}
    changed: dict[str, Any] = {name: price * _HALF for name, price in parts.items() if price is not None}
    return msgspec.structs.replace(prices, **changed, source=f"half for a batch: {prices.source}".rstrip(": "))


def _unknown(spec: str, why: str) -> Stop:
    return Stop(
        f"nobody knows whether a batch of {spec} was made: {why}",
        remedy="look at the provider's list of batches, cancel it there if it was, then submit anew with --batch-anew",
    )
