"""Finding out, by a few calls, what a model behind a server takes and does. The judgements are pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from mdap.clock import LoopClock
from mdap.core.errors import ModelError, ModelRejected
from mdap.core.records import Draw, Message, Prompt, Request, Response
from mdap.models.http import Reply
from mdap.models.probed import Finding, Report
from mdap.models.profiles import Profile, Server
from mdap.protocols import Clock

# Three free replies; one call each for several replies, log-probabilities and a schema; two with the padding.
CALLS = 8
"""Calls of a probe where nothing is refused and nothing fails."""
MOST_CALLS = 24
"""No probe makes more calls than this, whatever is refused or fails."""
MAX_TOKENS = 300
"""Cap of each call's reply."""
TEMPERATURE = 0.9
"""Temperature of each call: high, but not 1, which models that take no temperature accept as their own default."""
PADDING = "Rule: keep to the point, and write nothing that was not asked for. " * 100
"""What two of the prompts begin with: some 1,500 tokens, for vendors cache prompts from 1,024 on."""

_WAITS = 3  # a server that is busy for longer is probed another time
_LONGEST_WAIT = 20.0
# Free enough that two draws at this temperature hardly ever agree, short enough to be cheap.
_FREE = "Write 30 random lower-case letters, separated by spaces, and nothing else."
_ASKED_TWO = "Write three random lower-case letters and how many they are."
_SCHEMA = {
    "type": "object",
    "properties": {"letters": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["letters", "count"],
    "additionalProperties": False,
}


class Probed(Protocol):
    """What of a model a probe needs; every `mdap.models.remote.Remote` has it. Its profile is changed by it."""

    spec: str
    model: str
    server: Server
    profile: Profile
    repeats: bool
    logprobs: bool

    @property
    def writes(self) -> frozenset[str]:
        """Which parameters its dialect has a field for."""

    async def complete(self, request: Request) -> Response:
        """Make one call."""

    async def complete_n(self, requests: Sequence[Request]) -> list[Response]:
        """Make one call for several replies."""

    async def look(self, path: str) -> Reply:
        """Get another path of the same server."""


async def probe(model: Probed, clock: Clock | None = None) -> Report:
    """Return what a few calls show of a model; raises ModelError where it does not answer at all.

    It makes `CALLS` calls, more where the server refuses a parameter or is busy, never more than `MOST_CALLS`.
    """
    caller = _Caller(model, clock or LoopClock())
    # First of all, so that what is refused here is left out of the calls that follow.
    first, again, other = await _free_replies(caller)
    findings = (
        _judge_temperature(model.profile),
        Finding("max_tokens", model.profile.max_tokens, "the name of the cap of tokens that was accepted"),
        judge_seed(first, again, other, is_sent=model.profile.seed and "seed" in model.writes),
        judge_repeats(first, again, other),
        await _several(caller),
        await _logprobs(caller),
        await _structured(caller),
        await _caching(caller),
        await _context(model),
    )
    seen = {finding.name: finding.value for finding in findings}
    profile = _profile(model.profile, seen)
    model.repeats = seen["repeats"] is True
    return Report(model.spec, profile, profile.variety, findings, caller.calls, caller.tokens_in, caller.tokens_out)


def judge_seed(first: Response, again: Response, other: Response, *, is_sent: bool) -> Finding:
    """Say whether a seed settles a reply: `again` had the seed of `first`, `other` another one."""
    if not is_sent:
        return Finding("seed", False, "refused, or the dialect has none")
    if not (first.text and again.text and other.text):
        return Finding("seed", None, "replies were empty")
    if first.text != again.text:
        return Finding("seed", False, "the same seed gave another reply")
    # It may respect seeds all the same; what is behind replies that are all alike is for `judge_repeats` to say.
    if first.text == other.text:
        return Finding("seed", None, "all replies were equal, with the same seed and with another")
    return Finding("seed", True, "the same seed gave the same reply, another seed another")


def judge_repeats(*replies: Response) -> Finding:
    """Say whether replies that should be independent come from a cache."""
    if any(reply.from_cache for reply in replies):
        return Finding("repeats", True, "a header says that a cache replied")
    ids = [reply.id for reply in replies if reply.id]
    if len(ids) != len(set(ids)):
        return Finding("repeats", True, "two replies have the same id")
    if not all(reply.text for reply in replies):
        return Finding("repeats", None, "replies were empty")
    # All three: two of them share a seed, and are rightly alike where it is respected.
    if len({reply.text for reply in replies}) == 1:
        return Finding(
            "repeats", True, f"free replies at temperature {TEMPERATURE} were equal: a cache, or no sampling at all"
        )
    return Finding("repeats", False, "replies differ, and each has an id of its own")


def context_in(body: bytes, model: str) -> int | None:
    """Return the length of a model's context that a server's description of its models tells, if it does."""
    try:
        told = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    entries = next((told[name] for name in ("data", "models") if isinstance(told.get(name), list)), [told])
    entries = [entry for entry in entries if isinstance(entry, dict)]
    # A server of a single model may know it by another name.
    named = [entry for entry in entries if model in _names(entry)] or (entries if len(entries) == 1 else [])
    return next((length for entry in named if (length := _length(entry)) is not None), None)


def _length(entry: dict[str, Any]) -> int | None:
    inner = entry.get("default_generation_settings")
    holders = (entry, inner if isinstance(inner, dict) else {})
    told = (holder.get(name) for holder in holders for name in _CONTEXTS)
    # By its very type: True is an int to isinstance.
    return next((length for length in told if type(length) is int and length > 0), None)


# How vLLM, LM Studio (what is loaded before what could be), OpenRouter and Ollama, llama.cpp, Google, Anthropic say it.
_CONTEXTS = (
    "max_model_len",
    "loaded_context_length",
    "max_context_length",
    "context_length",
    "n_ctx",
    "inputTokenLimit",
    "max_input_tokens",
)


def _names(entry: dict[str, Any]) -> set[str]:
    found = {str(entry[name]) for name in ("id", "name", "model", "key") if name in entry}
    # Google lists its models as models/NAME, and is asked for NAME.
    return found | {name.removeprefix("models/") for name in found}


class _Caller:
    """Makes the calls of one probe: counts them, asks again after an adaptation, waits for a busy server."""

    def __init__(self, model: Probed, clock: Clock) -> None:
        self.model = model
        self.calls = self.tokens_in = self.tokens_out = 0
        self._clock = clock
        self._waits = 0

    def claim(self, **abilities: bool) -> None:
        """Let the profile have abilities that are to be found out; what is refused, the model takes back itself."""
        self.model.profile = msgspec.structs.replace(self.model.profile, **abilities)

    async def ask(self, text: str, *, seed: int, schema: Any = None, n: int = 1) -> list[Response]:
        """Return the replies to one prompt; none, where `n` was refused."""
        # No digest: a server is sent messages alone, and nothing here goes into a journal.
        prompt = Prompt((Message("user", text),), digest="")
        request = Request(prompt, Draw(0, 0), seed, TEMPERATURE, MAX_TOKENS, None, schema)
        # An adaptation may take `n` away, and then nothing is left to be asked.
        while n == 1 or self.model.profile.n:
            if self.calls == MOST_CALLS:
                raise ModelRejected(f"{MOST_CALLS} calls did not tell", remedy="probe it when the server is less busy")
            self.calls += 1
            try:
                if n > 1:
                    replies = await self.model.complete_n([request] * n)
                else:
                    replies = [await self.model.complete(request)]
            except ModelError as error:
                await self._wait(error)
                continue
            self.tokens_in += sum(reply.usage.tokens_in for reply in replies if reply.usage)
            self.tokens_out += sum(reply.usage.tokens_out for reply in replies if reply.usage)
            return replies
        return []

    async def _wait(self, error: ModelError) -> None:
        # Neither a wait nor a failure: the next call is written without what was refused.
        if error.kind == "adapted":
            return
        self._waits += 1
        if not error.retryable or self._waits > _WAITS:
            raise error
        await self._clock.sleep(min(error.retry_after or 1.0, _LONGEST_WAIT))


async def _free_replies(caller: _Caller) -> list[Response]:
    known = caller.model.profile
    # Tried whatever the profile says: profiles age, and a probe is how one finds out.
    caller.claim(temperature=True, seed="seed" in caller.model.writes)
    try:
        return [(await caller.ask(_FREE, seed=seed))[0] for seed in (1, 1, 2)]
    except ModelRejected:
        if caller.model.profile == known:
            raise
        # Refused in words that do not say why: perhaps for what was only tried.
        caller.model.profile = known
        return [(await caller.ask(_FREE, seed=seed))[0] for seed in (1, 1, 2)]


def _judge_temperature(profile: Profile) -> Finding:
    how = f"{TEMPERATURE} was accepted" if profile.temperature else "refused"
    return Finding("temperature", profile.temperature, how)


async def _several(caller: _Caller) -> Finding:
    if "n" not in caller.model.writes:
        return Finding("n", False, "the dialect has none")
    caller.claim(n=True)
    try:
        replies = await caller.ask(_FREE, seed=3, n=2)
    except ModelRejected as error:
        return Finding("n", False, error.message)
    if not replies:
        return Finding("n", False, "refused")
    if len(replies) < 2:
        return Finding("n", False, "ignored: one reply came where two were asked for")
    # Equal ones would be one vote that is counted twice.
    if replies[0].text == replies[1].text:
        return Finding("n", False, "two replies came from one call, but equal ones")
    return Finding("n", True, "two different replies came from one call")


async def _logprobs(caller: _Caller) -> Finding:
    if "logprobs" not in caller.model.writes:
        return Finding("logprobs", False, "the dialect has none")
    caller.claim(logprobs=True)
    # Lent for one call: whether log-probabilities are asked for is the user's to say.
    asked, caller.model.logprobs = caller.model.logprobs, True
    try:
        (reply,) = await caller.ask(_FREE, seed=4)
    except ModelRejected as error:
        return Finding("logprobs", False, error.message)
    finally:
        caller.model.logprobs = asked
    has_them = reply.logprob is not None
    return Finding("logprobs", has_them, "they came" if has_them else "refused, or they did not come")


async def _structured(caller: _Caller) -> Finding:
    caller.claim(json_schema=True)
    try:
        (reply,) = await caller.ask(_ASKED_TWO, seed=5, schema=_SCHEMA)
    except ModelRejected as error:
        return Finding("json_schema", False, error.message)
    if not caller.model.profile.json_schema:
        return Finding("json_schema", False, "refused")
    # A reply that was cut off does not conform either, which says nothing of the schema.
    if reply.finish != "stop":
        return Finding("json_schema", None, f"the reply ended with {reply.finish}")
    try:
        msgspec.json.decode(reply.text, type=_Shaped)
    except ValueError:
        return Finding("json_schema", False, "accepted, but the reply does not keep to it")
    return Finding("json_schema", True, "the reply keeps to it")


class _Shaped(msgspec.Struct, forbid_unknown_fields=True):
    letters: str
    count: int


async def _caching(caller: _Caller) -> Finding:
    # Two seeds, for the same body twice might be answered by a cache of replies, which is another matter.
    replies = [(await caller.ask(PADDING + _FREE, seed=seed))[0] for seed in (6, 7)]
    if any(reply.usage is None for reply in replies):
        return Finding("caches", None, "no usage was reported")
    # The larger one: soon after another probe even the first prompt is cached already.
    cached = max(reply.usage.cached for reply in replies if reply.usage)
    return Finding("caches", cached > 0, f"{cached:,} tokens of a prompt seen before were reported as cached")


async def _context(model: Probed) -> Finding:
    if not model.server.context_path:
        return Finding("context", None, "the server does not tell it")
    try:
        reply = await model.look(model.server.context_path.replace("{model}", model.model))
    except ModelError as error:
        return Finding("context", None, error.message)
    length = context_in(reply.body, model.model) if reply.status == 200 else None
    how = f"{model.server.context_path} tells it" if length else f"{model.server.context_path} does not tell it"
    return Finding("context", length, how)


def _profile(known: Profile, seen: dict[str, bool | int | str | None]) -> Profile:
    """The profile after a probe; what it could not tell stays as it was."""
    told = {name: value for name, value in seen.items() if value is not None and name in Profile.__struct_fields__}
    return msgspec.structs.replace(known, **told, known="by this probe")
