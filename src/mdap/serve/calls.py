"""What every call goes through, whatever its dialect: limits, chaos, the model, the bill, the log. No connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from mdap.core.errors import ModelError
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Request, Response, Usage
from mdap.protocols import Model
from mdap.serve.chaos import Attempts, Chaos
from mdap.serve.dialect import Answer, Asked, Bill, Dialect, Fault
from mdap.serve.limits import Limits
from mdap.serve.log import Call, CallLog
from mdap.serve.prefixes import Prefixes

BABBLE = "That is a good question. There is much to be said about it, and I would be glad to go on with you."
GARBAGE = b"no JSON at all (chaos)"
_SHORT_WAIT = 0.01  # seconds: what chaos asks to wait, so that tests of retries stay quick
_REMEMBERED = 65_536  # prompts that a cache of replies is said to know


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What goes to the client. `word` is what is to befall the connection: hang, drop, truncate, or nothing."""

    status: int
    body: bytes
    headers: dict[str, str]
    word: str = ""


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is told to behave; see `serve`."""

    seed: int = 0
    chaos: Chaos | None = None
    limits: Limits | None = None
    refuse: frozenset[str] = frozenset()
    ignore_seed: bool = False
    prefixes: Prefixes | None = None
    log: CallLog | None = None


class _Case(msgspec.Struct, frozen=True, gc=False):
    """One call that can be answered: `name` is its digest in hex digits."""

    dialect: Dialect
    call: Call
    digest: bytes
    name: str
    asked: Asked


class Calls:
    """A model with everything that stands before it. `strikes` counts the words of chaos that struck."""

    def __init__(self, model: Model, ways: Ways) -> None:
        self.strikes: Counter[str] = Counter()
        self._model = model
        self._ways = ways
        self._attempts = Attempts()
        # For its order, which a set lacks: the oldest is forgotten first.
        self._answered: dict[str, None] = {}
        self._order = 0

    async def answer(
        self, dialect: Dialect, body: bytes, headers: Mapping[str, str], *, model: str = "", batch: str = ""
    ) -> Sent:
        """Answer one body. `model` is the one that the path names; a call of a batch knows no rate limits."""
        # Now, for calls end in another order than that in which they came.
        self._order += 1
        # A model that a path names is as much a part of the request as what its body says.
        digest = blake2b(body, digest_size=16, key=model.encode(errors="replace")[:64] if model else b"").digest()
        name = digest.hex()
        call = Call(order=self._order, request=f"req_{name[:12]}{self._order:x}", dialect=dialect.NAME, batch=batch)
        try:
            asked = dialect.read(body, headers, model, self._ways.refuse)
            if isinstance(asked, Fault):
                return self.refuse(dialect, asked, call)
            # Before the model is asked, so that a call which fails or is given up is in the log with all of it.
            call.model, call.seed, call.n, call.prompt = asked.model, asked.seed, asked.n, asked.prompt.digest
            return await self._answer(_Case(dialect, call, digest, name, asked))
        except asyncio.CancelledError:
            # The client went away; the model may have worked for it all the same.
            call.status, call.lost = 0, True
            raise
        finally:
            # However it ended: held against a ledger, a call that is missing here would be one that was never made.
            if self._ways.log is not None:
                self._ways.log.write(call)

    def refuse(self, dialect: Dialect, fault: Fault, call: Call | None = None) -> Sent:
        """Return a fault as the dialect says it."""
        status, body, more = dialect.error(fault, call.request if call else "")
        if call is None:
            return Sent(status, body, _JSON | more)
        call.status = status
        return Sent(status, body, self._headers(dialect, call) | more)

    async def _answer(self, case: _Case) -> Sent:
        ways, call = self._ways, case.call
        # What is beyond a limit is no attempt: chaos, which attempts are the key of, must not depend on the time.
        if ways.limits is not None and not call.batch:
            beyond = ways.limits.admit(_now())
            if beyond is not None:
                return self.refuse(case.dialect, beyond, call)
        attempt = self._attempts.count(case.digest)
        if ways.chaos is None:
            return await self._reply(case, attempt, "")
        word = self._strike(call, ways.chaos.of_attempt(case.digest, attempt))
        fault = _instead(word, in_batch=bool(call.batch))
        if fault is not None:
            return self.refuse(case.dialect, fault, call)
        if word == "hang" or (word == "drop" and call.batch):
            # In a batch nothing is lost: the entry is told as expired.
            call.status, call.lost = 0, not call.batch
            return Sent(0, b"", {}, word)
        return await self._reply(case, attempt, word)

    async def _reply(self, case: _Case, attempt: int, word: str) -> Sent:
        ways, call, asked = self._ways, case.call, case.asked
        # Counted before the model is asked: what is cached depends on the order of the requests, not of the replies.
        shares = ways.prefixes.count(asked.model, asked.prompt.messages) if ways.prefixes else None
        more = self._cache_header(asked.prompt.digest) if ways.ignore_seed else {}
        try:
            responses = await self._complete(case, self._requests(case, attempt))
        except ModelError as error:
            # Chaos is keyed by the call alone, so it strikes whether or not the model could answer.
            if word in ("drop", "garbage"):
                return _deliver(call, word, b"", _JSON)
            return self.refuse(case.dialect, _passed_on(error), call)
        # Only its replies show whether a model has them.
        if asked.logprobs and any(response.logprob is None for response in responses):
            return self.refuse(case.dialect, case.dialect.without_logprobs(asked.model), call)
        # A cache repeats the id as well, and it is by ids that a client finds out.
        token = asked.prompt.digest[:20] if ways.ignore_seed else f"{case.name[:20]}{attempt:x}"
        call.id = responses[0].id or case.dialect.ID_PREFIX + token
        bill = _bill(responses, shares)
        if bill is not None:
            self._book(call, bill)
        body = case.dialect.reply(Answer(call.id, asked.model or self._model.spec, responses, bill, asked.logprobs))
        return _deliver(call, word, body, self._headers(case.dialect, call) | more)

    def _requests(self, case: _Case, attempt: int) -> list[Request]:
        """One request for each choice: the first has the seed itself, the others seeds that it and their index give."""
        asked = case.asked
        # 14 hex digits, or 7 bytes below, since a key takes whole numbers of at most 63 bits.
        if self._ways.ignore_seed:
            seed = draw_seed(self._ways.seed, int(asked.prompt.digest[:14], 16), 0, 0, 0)
        elif asked.seed is None:
            # The attempt is part of it: a provider that is given no seed answers anew each time.
            seed = draw_seed(self._ways.seed, int.from_bytes(case.digest[:7], "little"), attempt, 0, 0)
        else:
            seed = asked.seed
        first = Request(asked.prompt, _DRAW, seed, asked.temperature, asked.max_tokens, None, asked.schema)
        others = [draw_seed(seed, 0, 0, index, 0) for index in range(1, asked.n)]
        return [first, *(msgspec.structs.replace(first, seed=other) for other in others)]

    async def _complete(self, case: _Case, requests: list[Request]) -> tuple[Response, ...]:
        if len(requests) == 1:
            replies = [await self._model.complete(requests[0])]
        else:
            replies = await _all(self._model, requests)
        chaos = self._ways.chaos
        # What struck the call as a whole keeps the reply from everybody: there is nothing to spoil.
        if chaos is None or case.call.chaos:
            return tuple(replies)
        words = [self._strike(case.call, chaos.of_reply(case.digest, request.seed)) for request in requests]
        return tuple([_spoilt(reply, word) for reply, word in zip(replies, words, strict=True)])

    def _strike(self, call: Call, word: str | None) -> str:
        if word is None:
            return ""
        self.strikes[word] += 1
        call.chaos += f",{word}" if call.chaos else word
        return word

    def _cache_header(self, prompt: str) -> dict[str, str]:
        known = prompt in self._answered
        if not known and len(self._answered) >= _REMEMBERED:
            del self._answered[next(iter(self._answered))]
        self._answered[prompt] = None
        return {"x-cache": "hit" if known else "miss"}

    def _book(self, call: Call, bill: Bill) -> None:
        call.tokens_in, call.tokens_out = bill.tokens_in, bill.tokens_out
        call.cached, call.written, call.reasoning = bill.cached, bill.written, bill.reasoning
        if self._ways.limits is not None and not call.batch:
            self._ways.limits.charge(bill.tokens_in + bill.tokens_out)

    def _headers(self, dialect: Dialect, call: Call) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if dialect.REQUEST_ID:
            headers[dialect.REQUEST_ID] = call.request
        if self._ways.limits is not None:
            headers |= dialect.rate_headers(self._ways.limits.levels(_now()))
        return headers


_JSON = {"Content-Type": "application/json"}
_DRAW = Draw(0, 0)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _instead(word: str, *, in_batch: bool) -> Fault | None:
    if word == "429":
        return Fault(429, "too many requests (chaos)", wait=_SHORT_WAIT)
    # In a batch there is no connection that could break; what comes back broken there is an error of the server's.
    if word == "500" or (in_batch and word in ("truncate", "garbage")):
        return Fault(500, "something broke (chaos)")
    return None


async def _all(model: Model, requests: list[Request]) -> list[Response]:
    """The replies to several requests at once, in their order; raises the ModelError of one if any fails."""

    async def _reply(request: Request) -> Response | ModelError:
        try:
            return await model.complete(request)
        except ModelError as error:
            # Kept and not raised, for the group would cancel the others and wrap it up.
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_reply(request)) for request in requests]
    replies: list[Response] = []
    for outcome in [task.result() for task in tasks]:
        if isinstance(outcome, ModelError):
            raise outcome
        replies.append(outcome)
    return replies


def _spoilt(response: Response, word: str) -> Response:
    if word == "babble":
        return msgspec.structs.replace(response, text=BABBLE, finish="stop")
    if word == "cut":
        # Half a text has half the tokens on the bill, as if the cap had ended it.
        usage = response.usage and msgspec.structs.replace(
            response.usage, tokens_out=response.usage.tokens_out // 2, reasoning=response.usage.reasoning // 2
        )
        return msgspec.structs.replace(
            response, text=response.text[: len(response.text) // 2], finish="length", usage=usage
        )
    return response


def _bill(responses: tuple[Response, ...], shares: tuple[float, float] | None) -> Bill | None:
    """The prompt is billed once for all choices; None where the model reported no tokens of some."""
    tokens_out = reasoning = 0
    for response in responses:
        if response.usage is None:
            return None
        tokens_out += response.usage.tokens_out
        reasoning += response.usage.reasoning
    usage = responses[0].usage or Usage()
    if shares is None:
        return Bill(usage.tokens_in, tokens_out, usage.cached, usage.cache_written, reasoning)
    cached, written = int(usage.tokens_in * shares[0]), int(usage.tokens_in * shares[1])
    return Bill(usage.tokens_in, tokens_out, cached, written, reasoning)


def _deliver(call: Call, word: str, body: bytes, headers: dict[str, str]) -> Sent:
    # Billed and lost: the model has answered, and no client can read it.
    call.lost = word in ("drop", "truncate", "garbage")
    call.status = 0 if word == "drop" else 200
    if word == "garbage":
        return Sent(200, GARBAGE, headers)
    return Sent(200, body, headers, word)


def _passed_on(error: ModelError) -> Fault:
    # A status that the model's own provider gave speaks of this server's key and address, not of the caller's.
    return Fault(error.status or 503, str(error), wait=error.retry_after) if error.retryable else Fault(400, str(error))
