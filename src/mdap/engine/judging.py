"""Groups that a model puts candidates into, outside of every guarantee. What is voted on is not decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from mdap.core.errors import ModelError
from mdap.core.judging import SCHEMA, Candidates, partition_prompt, read_partition
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Message, Prompt, Request, Step, Usage, Vote
from mdap.core.settings import Settings
from mdap.protocols import Complete

# Far from every slot of a ballot, so that no seed of a vote is used again.
FIRST_SLOT = 1 << 20


class Judge:
    """The grouping of one step's candidates, as a task hands it to the engine in its attribute `judge`.

    `model` is the spec of the model that answers, `shown` makes of a vote the text that it reads. After the run:
    `groups` (the key of each candidate to that of the first of its group), `calls` and `usage`.
    """

    def __init__(self, model: str, shown: Callable[[Vote], str]) -> None:
        self.model = model
        self.groups: dict[bytes, bytes] = {}
        self.calls = 0
        self.usage = Usage()
        self._shown = shown

    async def group(
        self, complete: Complete, settings: Settings, step: Step, question: Sequence[Message], votes: Sequence[Vote]
    ) -> dict[bytes, bytes]:
        """Return the group of each candidate, `votes` being one vote of each in the order in which they appeared.

        One call judges all of them, and none is made while there is only one or nothing is new. Raises ModelError for
        an answer that is no partition.
        """
        keys = [vote.key for vote in votes]
        if len(keys) > 1 and set(keys) != self.groups.keys():
            firsts = await self._ask(complete, settings, step, question, [self._shown(vote) for vote in votes])
            self.groups = {key: keys[first] for key, first in zip(keys, firsts, strict=True)}
        return self.groups

    def account(self) -> dict[str, Any]:
        """Return what the grouping took, and what it is worth: the words that every output has beside the answer."""
        return {
            "model": self.model,
            "calls": self.calls,
            "tokens_in": self.usage.tokens_in,
            "tokens_out": self.usage.tokens_out,
            "note": "groups judged by a model: not a proof",
        }

    async def _ask(
        self, complete: Complete, settings: Settings, step: Step, question: Sequence[Message], shown: list[str]
    ) -> list[int]:
        messages = partition_prompt(question, shown)
        # A candidate may hold half of a surrogate pair, which strict UTF-8 refuses.
        digest = blake2b(messages[0].content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        # By how many there are to group: every grouping of a step is a draw of its own, with a seed of its own.
        slot = FIRST_SLOT + len(shown)
        request = Request(
            Prompt(messages, digest),
            Draw(step.index, slot, 0, step.item),
            draw_seed(settings.seed, step.item, step.index, slot, 0),
            settings.first_temperature,
            settings.max_tokens,
            Candidates(tuple(shown)),
            SCHEMA,
        )
        response = await complete(request)
        used = response.usage or Usage()
        # Counted before it is read: an answer that is no partition is billed as well.
        self.calls += 1
        self.usage = Usage(self.usage.tokens_in + used.tokens_in, self.usage.tokens_out + used.tokens_out)
        if response.finish != "stop":
            error = ModelError(
                f"the judging model did not finish its answer: {response.finish}",
                kind="partition",
                remedy="raise --max-tokens, or judge with another model",
            )
            # The draw has one seed, so that it would end at the same cap again.
            error.retryable, error.blame = False, "model"
            raise error
        return read_partition(response.text, len(shown))
