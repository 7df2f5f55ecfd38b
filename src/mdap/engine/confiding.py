"""How sure a vote is, found out once a reply has become one: from what came with it, or by a second call.

What a confidence is worth is for a rule to say; without one that is asked for a reply is no vote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from mdap.core.confidence import SOURCES, Scale, from_logprobs, from_words, read_second, second_call
from mdap.core.errors import RedFlag
from mdap.core.keyed import draw_seed
from mdap.core.prompting import prompt_of
from mdap.core.records import Draw, Request, Response, Vote
from mdap.core.settings import Settings
from mdap.protocols import Complete

# A second call has a seed of its own. The number added to its slot can be divided by 1 to 12, so that of several models
# that are asked in turn by slot the one that replied is asked again.
SECOND_SLOT = 55_440
UNCONFIDENT = "unconfident"


class Told(msgspec.Struct, frozen=True):
    """How sure one reply is, 0 to 1, or the `reason` why nobody knows; `second` is the reply to a second call."""

    confidence: float | None
    reason: str = ""
    second: Response | None = None

    def on(self, vote: Vote) -> Vote | RedFlag:
        """Return the vote with its confidence, or the red flag `unconfident`."""
        if self.confidence is None:
            return RedFlag(self.reason, name=UNCONFIDENT)
        return msgspec.structs.replace(vote, confidence=self.confidence)


Confide: TypeAlias = Callable[[Complete, Request, Response], Awaitable[Told]]


def confiding(settings: Settings) -> Confide | None:
    """Return what finds out how sure each vote is, as the settings say; None where nobody asks."""
    source = settings.confidence
    if source is None:
        return None
    scale = SOURCES[source]
    if scale is not None:
        return _second(settings, scale)
    return _logprobs if source == "logprobs" else _words


async def _logprobs(complete: Complete, request: Request, response: Response) -> Told:
    confidence = from_logprobs(response)
    return Told(confidence, "" if confidence is not None else "the reply came without log-probabilities or its tokens")


async def _words(complete: Complete, request: Request, response: Response) -> Told:
    return Told(from_words(response))


def _second(settings: Settings, scale: Scale) -> Confide:
    async def _ask(complete: Complete, request: Request, response: Response) -> Told:
        draw = request.draw
        slot = SECOND_SLOT + draw.slot
        # Without the schema of replies: what is wanted is a figure, not an answer in the task's form.
        second = await complete(
            Request(
                prompt_of(second_call(request.messages, response.text, scale)),
                Draw(draw.step, slot, draw.redraw, draw.item),
                draw_seed(settings.seed, draw.item, draw.step, slot, draw.redraw),
                settings.temperature,
                settings.max_tokens,
                request.state,
            )
        )
        # Cut short, a number is another number: the 8 of an 85 would be read as one.
        if second.finish != "stop":
            return Told(None, f"the reply that states the confidence was not finished: {second.finish}", second)
        try:
            return Told(read_second(second.text, scale), second=second)
        except RedFlag as flag:
            return Told(None, flag.message, second)

    return _ask
