"""Wrappers around one model call: bounded in time, metered against the budget, limited in number, retried.

Each takes and returns a plain `complete`; none knows votes, tasks or providers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType

import msgspec

from mdap.core.budget import Budget
from mdap.core.errors import BudgetReached, ModelError, Stop, Undecided
from mdap.core.events import Called, Event, Retried
from mdap.core.history import Spend
from mdap.core.keyed import uniforms
from mdap.core.prices import Tariff, shown
from mdap.core.records import Request, Response
from mdap.deadlines import Deadlines
from mdap.engine.begun import Begun
from mdap.engine.places import Places
from mdap.protocols import Clock, Complete

Emit = Callable[[Event], None] | None
Lease = Callable[[Spend], Awaitable[None]]

# A first wait much shorter than a call would only add to what overloads a server; what lasts longer than a minute is an
# outage, which a resume outlasts and no wait does.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
# Few turns of the event loop, and still no wait that a person notices.
TURN_SECONDS = 0.01
TURN_BATCHES = 256


class Tempo:
    """Whether the model of a run makes its callers wait, as its last call did: if not, nothing is to be had at once."""

    __slots__ = ("_batches", "_is_turning", "_turned", "waits")

    def __init__(self) -> None:
        self.waits = True
        self._batches = 0
        self._turned = 0.0
        self._is_turning = False

    def is_turn_due(self, now: float) -> bool:
        """Say, after a batch that waited for nobody, whether it is time for a `turn`; `now` is in seconds.

        Without any nobody else would be heard, Ctrl-C included; after each batch it would take as long as a draw.
        """
        self._batches += 1
        # By the number, too: virtual time stands still while nobody waits.
        if not self._is_turning and now - self._turned < TURN_SECONDS and self._batches < TURN_BATCHES:
            return False
        self._batches, self._turned = 0, now
        return True

    async def turn(self) -> None:
        """Let everybody else have a turn of the event loop."""
        # Of many that share a model, each gives way until the turn is over: else all have their time, one by one.
        is_first, self._is_turning = not self._is_turning, True
        try:
            await asyncio.sleep(0)
        finally:
            if is_first:
                self._is_turning = False


def timed(complete: Complete, timeout: float, tempo: Tempo) -> Complete:
    """Return `complete` that fails as `timeout` (to be retried) once a call has taken `timeout` seconds.

    `tempo` is told whether the call had to wait.
    """
    # One for all calls, since all have the same time: timers of their own would nearly all be set in vain.
    deadlines = Deadlines(timeout)

    async def _call(request: Request) -> Response:
        call: Awaitable[Response] = complete(request)
        if type(call) is not CoroutineType and not isinstance(call, Coroutine):
            # A model of somebody's own may return a future, or anything else that can be awaited.
            call = _awaited(call)
        try:
            first = call.send(None)
        except StopIteration as ended:  # it never waited: a timer would cost more than the call
            tempo.waits = False
            reply: Response = ended.value
            return reply
        tempo.waits = True
        try:
            with deadlines.begin():
                rest: Response = await Begun(call, first)
                return rest
        except TimeoutError:
            raise ModelError(
                f"no reply within {timeout:g} s", kind="timeout", remedy="raise --timeout", step=request.draw.step
            ) from None

    return _call


async def _awaited(call: Awaitable[Response]) -> Response:
    return await call


class Meter:
    """Reserves before a call and settles after it. One per run; observers hear of each call through it."""

    def __init__(self, budget: Budget, clock: Clock, lease: Lease, emit: Emit) -> None:
        self.budget = budget
        self.tempo = Tempo()
        self._emit = emit
        self._clock = clock
        self._lease = lease
        self._leasing = asyncio.Lock()
        self._settled = asyncio.Event()
        # Told, if there is somebody to tell, what each call cost, in nano-dollars: for accounts finer than a run's.
        self.note: Callable[[Request, int], None] | None = None
        self._stop: Stop | None = None
        self._began = clock.now()

    @property
    def seconds(self) -> float:
        """Seconds that this segment has taken so far."""
        return self._clock.now() - self._began

    def tell(self, event: Event, others: Emit = None) -> None:
        """Tell observers and `others`; a Stop of theirs is raised before the next call, since a reply is paid for."""
        for emit in (self._emit, others):
            if emit is not None:
                try:
                    emit(event)
                except Stop as stop:
                    self._stop = stop

    def within_time(self, complete: Complete) -> Complete:
        """Return `complete` that ends as BudgetReached with the budget of seconds, its waits and repeats included."""
        limit = self.budget.limits.seconds
        if limit is None:
            return complete

        async def _call(request: Request) -> Response:
            left = limit - self.budget.spent.seconds - self.seconds
            # Asked beforehand: a timeout of 0 still lets a call through that never waits.
            try:
                if left > 0:
                    async with asyncio.timeout(left):
                        return await complete(request)
            except TimeoutError:
                pass
            raise BudgetReached(f"stopped at the budget: {limit:g} seconds taken", remedy="raise --budget-seconds")

        return _call

    def metered(self, complete: Complete, tariff: Tariff | None = None) -> Complete:
        """Return `complete` whose calls are reserved, leased and settled; in money, too, where there is a `tariff`.

        A call that no reply came back from counts with its whole reservation, since nobody knows what it cost;
        one that the provider refused with a status counts as a call of no tokens.
        """

        budget, counted, observed = self.budget, self.budget.is_counted, self._emit is not None

        async def _call(request: Request) -> Response:
            if self._stop is not None:
                raise self._stop
            reserved = dear = 0
            if tariff is not None or counted:
                reserved, dear = await self._reserve(request, tariff)
            else:
                # Nothing limits it, but the number of calls is part of what a run reports.
                budget.reserve(0)
            used, cost = reserved, dear
            if observed:
                self.tell(Called(1))
            try:
                response = await complete(request)
                if response.usage is not None:
                    used = response.usage.tokens_in + response.usage.tokens_out
                    cost = tariff.cost(response.usage) if tariff is not None else 0
            except ModelError as error:
                if error.status is not None:
                    used = cost = 0
                raise
            finally:
                # After a cancellation, too: the call may have reached the provider, and be on its bill.
                budget.settle(reserved, used, dear, cost)
                # Without a limit nobody waits for what others leave of it.
                if counted:
                    self._settled.set()
                if cost and self.note is not None:
                    self.note(request, cost)
                if observed:
                    self.tell(Called(-1))
            if counted:
                self._check_bill(used, reserved, cost, dear)
            return response

        return _call

    async def _reserve(self, request: Request, tariff: Tariff | None) -> tuple[int, int]:
        """Set aside the most that a call can take, and return it in tokens and in nano-dollars; 0: not limited."""
        budget = self.budget
        tokens = reservation(request) if budget.limits.tokens is not None else 0
        dear = tariff.most(sent(request), request.max_tokens) if tariff is not None else 0
        # What does not fit now may fit once calls in flight have settled below their reservations.
        while not budget.fits(tokens, dear) and budget.calls_open:
            self._settled.clear()
            await self._settled.wait()
        budget.reserve(tokens, dear)
        if budget.is_counted:
            leased = False
            try:
                await self._extend_lease()
                leased = True
            finally:
                # What is in no lease must not be spent: after a kill nobody would know of it.
                if not leased:
                    budget.release(tokens, dear)
                    self._settled.set()
        return tokens, dear

    async def _extend_lease(self) -> None:
        # One after the other: the lease that the first of them writes mostly covers those who wait behind it.
        async with self._leasing:
            needed = self.budget.next_lease(self.seconds)
            if needed is not None:
                await self._lease(needed)
                self.budget.lease = needed

    def _check_bill(self, used: int, reserved: int, cost: int, dear: int) -> None:
        limits = self.budget.limits
        told = f"{used:,} tokens for a call of at most {reserved:,}"
        if limits.tokens is None or used <= reserved:
            told = f"{shown(cost)} for a call of at most {shown(dear)}"
            if limits.nano is None or cost <= dear:
                return
        raise BudgetReached(
            f"the provider billed {told}",
            remedy="it ignores the cap of tokens: set --max-tokens to what it really returns",
        )


def reservation(request: Request) -> int:
    """Return the most tokens that a call can use: what is sent, plus the output cap."""
    return sent(request) + request.max_tokens


def sent(request: Request) -> int:
    """Return the most tokens that a request can have: no tokenizer makes more tokens than bytes.

    16 tokens a message allow for the frame that chat formats put around it. A schema is sent along with the prompt.
    """
    size = sum(len(message.content.encode()) + 16 for message in request.messages)
    return size if request.schema is None else size + len(msgspec.json.encode(request.schema))


def limited(complete: Complete, in_flight: int) -> Complete:
    """Return `complete` of which at most `in_flight` run at once."""
    places = Places(in_flight)

    async def _call(request: Request) -> Response:
        if not places.take():
            await places.wait()
        try:
            return await complete(request)
        finally:
            places.leave()

    return _call


def retrying(complete: Complete, retries: int, clock: Clock, retried: dict[str, int], emit: Emit) -> Complete:
    """Return `complete` that repeats a failed call up to `retries` times, with growing, jittered waits.

    Repeats what the error calls retryable, and nothing else; waits at least as long as the provider asked. A call
    that fails once more raises Undecided: the step can be taken up again when the provider answers. `retried` counts
    the repetitions by failure.
    """

    async def _call(request: Request) -> Response:
        attempt = 0
        while True:
            try:
                return await complete(request)
            except ModelError as error:
                if not error.retryable:
                    # A model knows nothing of steps; whoever reads the error looks for the place in the run.
                    error.step = request.draw.step
                    raise
                if attempt == retries:
                    raise _gave_up(error, request, attempt + 1) from error
                attempt += 1
                wait = _wait(request, attempt, error.retry_after)
                retried[error.kind] = retried.get(error.kind, 0) + 1
                if emit is not None:
                    emit(Retried(request.draw.step, attempt, error.kind, error.message, wait, request.draw.item))
            # Outside of the handler: a cancellation that comes while it waits has nothing to do with the failure.
            await clock.sleep(wait)

    return _call


def _wait(request: Request, attempt: int, asked: float | None) -> float:
    """Full jitter (uniform up to an exponential bound), keyed by the draw; never less than the provider asked for."""
    bound = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1))
    jitter = uniforms(b"retry %d %d" % (request.seed, attempt), 1)[0]
    if asked is None:
        return bound * jitter
    # On top of what was asked for: nobody comes back early, and those who were refused together not at once.
    return min(asked, LONGEST_WAIT) + min(asked, 1.0) * jitter


def _gave_up(error: ModelError, request: Request, attempts: int) -> Undecided:
    return Undecided(
        f"step {request.draw.step}: {attempts} calls failed, the last one: {error.message}",
        remedy=error.remedy or "go on with `mdap resume RUN` when the provider answers, or raise --retries",
        step=request.draw.step,
    )
