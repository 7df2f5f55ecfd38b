"""Algorithm 3: one sample without red flags. A flag discards and never repairs; a retry answers the network alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from mdap.core.errors import RedFlag, Undecided
from mdap.core.events import Flagged, Warned
from mdap.core.foreign import Foreign
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Prompt, Request, Response, Sample, State, Step, Usage, Vote
from mdap.core.redflags import Flag, first_flag
from mdap.core.secrets import redacted
from mdap.core.settings import Settings
from mdap.engine.calling import Emit, Tempo
from mdap.engine.confiding import Confide, Told
from mdap.engine.growth import Growth
from mdap.engine.poll import Slot
from mdap.engine.taskview import TaskView
from mdap.protocols import Clock, Complete

_NO_USAGE = Usage()
_FLAGS = Foreign("a red flag")


class Asking(msgspec.Struct, frozen=True):
    """What stays the same for every draw of a run, and the `tempo` of the model.

    `growth`, if given, watches prompts, and `warn` hears of them. `watch` sees every reply, and may raise Stop once the
    sample is kept. `confide`, if given, finds out how sure each vote is.
    """

    view: TaskView
    complete: Complete
    flags: tuple[Flag, ...]
    settings: Settings
    clock: Clock
    emit: Emit = None
    growth: Growth | None = None
    warn: Callable[[Warned], None] | None = None
    draw: Callable[..., Awaitable[None]] | None = None
    watch: Callable[[Request, Response], None] | None = None
    tempo: Tempo = msgspec.field(default_factory=Tempo)
    confide: Confide | None = None


class Reader:
    """Reads the replies of one step; equal texts are read once, since a task's methods are pure.

    `schema` is what a provider which can is to hold the replies to. Raises TaskError where the task cannot say.
    """

    __slots__ = ("_known", "_state", "_view", "schema")

    def __init__(self, view: TaskView, state: State) -> None:
        self._view = view
        self._state = state
        # Of one step alone, and so no larger than its cap of samples.
        self._known: dict[str, Vote | RedFlag] = {}
        self.schema = view.reply_schema(state)

    def read(self, text: str) -> Vote | RedFlag:
        """Return the vote, or the red flag, that a reply is."""
        known = self._known.get(text)
        if known is None:
            try:
                known = self._view.read(text, self._state)
            except RedFlag as flag:
                known = flag
            self._known[text] = known
        return known


async def get_vote(asking: Asking, step: Step, prompt: Prompt, slot: Slot, reader: Reader, allowance: int) -> None:
    """Draw into `slot` until it has a vote, or until `allowance` samples are used (Algorithm 3).

    A redraw keeps its slot; the first draw of a step has the first temperature, all others the later one. Raises
    Undecided once `redraws` redraws of this vote are used up.
    """
    settings, now = asking.settings, asking.clock.now
    # A slot counts its samples over all segments: a resume goes on with the redraw that comes next.
    last = min(settings.redraws + 1, slot.redraws + allowance)
    while slot.redraws < last:
        request = _request(settings, step, prompt, slot, reader.schema)
        # With waits for a place and repeats: how long the vote took, not how long the model did.
        began = now()
        response = await asking.complete(request)
        latency = now() - began
        with _FLAGS:
            # Before the parser: a reply that was cut off may well parse, as something else.
            flagged = first_flag(asking.flags, response, request)
        read = reader.read(response.text) if flagged is None else RedFlag(flagged[1], name=flagged[0])
        told = None
        # Only of what would be a vote: it may take a second call.
        if asking.confide is not None and type(read) is Vote:
            told = await asking.confide(asking.complete, request, response)
            read = told.on(read)
        # Not before: a reply that the task broke on was not judged, and is asked for again once the task is mended.
        slot.redraws += 1
        if type(read) is Vote:
            slot.samples.append(_sample(slot, response, latency, prompt.digest, read.key, told=told))
            slot.vote = read
            if asking.watch is not None:
                asking.watch(request, response)
            return
        assert isinstance(read, RedFlag)
        # A parser's own words, and what it quotes, go into the log and the journal.
        read.message = redacted(read.message)
        reason = _storable(read.message)
        slot.samples.append(_sample(slot, response, latency, prompt.digest, flag=read.name, reason=reason, told=told))
        if asking.emit is not None:
            asking.emit(Flagged(step.index, slot.number, slot.redraws - 1, read.name, read.message, step.item))
        if asking.watch is not None:
            asking.watch(request, response)
    # Else only the allowance is used up, and the slot waits for the next batch.
    if slot.redraws > settings.redraws:
        raise Undecided(
            f"step {step.index}: {slot.redraws} samples for one vote, all flagged, the last as "
            f"{slot.samples[-1].flag if slot.samples else 'before'}",
            remedy=f"look at them with `mdap show RUN --step {step.index}`, or raise --redraws",
            step=step.index,
        )


def _request(settings: Settings, step: Step, prompt: Prompt, slot: Slot, schema: Mapping[str, Any] | None) -> Request:
    number, redraw, index, item = slot.number, slot.redraws, step.index, step.item
    return Request(
        prompt,
        Draw(index, number, redraw, item),
        draw_seed(settings.seed, item, index, number, redraw),
        # A redraw at temperature 0 would repeat what was flagged.
        settings.temperature if number or redraw else settings.first_temperature,
        settings.max_tokens,
        step.state,
        schema,
    )


def _sample(
    slot: Slot,
    response: Response,
    latency: float,
    digest: str,
    key: bytes = b"",
    *,
    flag: str = "",
    reason: str = "",
    told: Told | None = None,
) -> Sample:
    # Python knows of a text whether it is ASCII; to encode each one, only to see that nothing changes, would copy it.
    usage, text = response.usage or _NO_USAGE, response.text
    sample = Sample(
        slot.number,
        slot.redraws - 1,
        text if text.isascii() else _storable(text),
        flag,
        reason,
        key,
        response.finish,
        usage.tokens_in,
        usage.tokens_out,
        latency,
        response.id,
        digest,
        response.model,
    )
    return sample if told is None else _confided(sample, told)


def _confided(sample: Sample, told: Told) -> Sample:
    if told.second is None:
        return msgspec.structs.replace(sample, confidence=told.confidence)
    # On one bill: a vote takes what both of its calls took.
    usage = told.second.usage or _NO_USAGE
    return msgspec.structs.replace(
        sample,
        confidence=told.confidence,
        second=_storable(told.second.text),
        tokens_in=sample.tokens_in + usage.tokens_in,
        tokens_out=sample.tokens_out + usage.tokens_out,
    )


def _storable(text: str) -> str:
    """Return the text as a journal can hold it: half of a surrogate pair, which no encoding has, is written out."""
    return text.encode("utf-8", "backslashreplace").decode()
