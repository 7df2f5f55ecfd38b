"""What a repairing parser costs: strict against repairing, and caps of tokens, on the same replies of one model.

For each parser and cap: p, v, and collisions by both definitions: steps whose first two votes are both wrong, and those
where both name the same wrong answer. Then errors by length of reply. The ablation is that of arXiv:2511.09030, Fig. 9.

    python examples/parsers.py --model openai:gpt-4.1-mini --temperature 0.1 --steps 10000 --caps 600,750,2048
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from mdap.core.errors import RedFlag
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Request, Response, Usage, Vote
from mdap.core.redflags import accept_all, first_flag
from mdap.parts import Parts, parts_of, settings_of

PARSERS = {"strict": None, "repair": [accept_all]}
REDRAWS = 10


@dataclass
class Tally:
    """What one parser made of the replies under one cap."""

    samples: int = 0
    votes: int = 0
    right: int = 0
    both_wrong: int = 0
    same_wrong: int = 0

    def row(self, parser: str, cap: int, steps: int) -> str:
        """Return the figures as a line; the last is what independent errors would collide."""
        wrong = 1 - self.right / self.votes if self.votes else 0.0
        p = f"{1 - wrong:9.5f}" if self.votes else f"{'-':>9}"
        figures = f"{self.votes / self.samples:8.4f}{p}{self.both_wrong:12}{self.same_wrong:12}"
        return f"{parser:8}{cap:6}{figures}{steps * wrong**2:13.2f}"


@dataclass
class Replies:
    """Asks a model, and asks it nothing twice: both parsers read the same replies."""

    parts: Parts
    temperature: float | None
    known: dict[tuple[int, int, int, int], Response] = field(default_factory=dict)

    async def get(self, step: int, state: Any, slot: int, redraw: int, cap: int) -> tuple[Request, Response]:
        """Return a draw of a step and its reply."""
        seed = draw_seed(self.parts.settings.seed, 0, step, slot, redraw)
        draw = Draw(step, slot, redraw)
        request = Request(self.parts.view.prompt(state), draw, seed, self.temperature, cap, state)
        key = (step, slot, redraw, cap)
        if key not in self.known:
            self.known[key] = await self.parts.model.complete(request)
        return request, self.known[key]


async def vote(replies: Replies, parts: Parts, step: int, state: Any, slot: int, cap: int, tally: Tally) -> Vote | None:
    """Return the first reply to this slot that is no flag; None where all redraws are used up."""
    for redraw in range(REDRAWS + 1):
        request, response = await replies.get(step, state, slot, redraw, cap)
        tally.samples += 1
        if first_flag(parts.flags, response, request):
            continue
        try:
            return parts.view.read(response.text, state)
        except RedFlag:
            continue
    return None


async def compare(replies: Replies, readers: dict[str, Parts], states: list[Any], caps: list[int]) -> None:
    """Print a line for each parser and cap."""
    print(f"{'parser':8}{'cap':>6}{'v':>8}{'p':>9}{'both wrong':>12}{'same wrong':>12}{'independent':>13}")
    for cap in caps:
        for parser, parts in readers.items():
            tally = Tally()

            async def one(step: int, state: Any, cap: int = cap, parts: Parts = parts, tally: Tally = tally) -> None:
                right = parts.view.task.answer(state)  # type: ignore[attr-defined]
                votes = [await vote(replies, parts, step, state, slot, cap, tally) for slot in (1, 2)]
                cast = [found for found in votes if found is not None]
                wrong = [found.key for found in cast if not parts.view.agrees(found.move, right)]
                tally.votes += len(cast)
                tally.right += len(cast) - len(wrong)
                tally.both_wrong += len(wrong) == 2
                tally.same_wrong += len(wrong) == 2 and len(set(wrong)) == 1

            await in_batches(one, states)
            print(tally.row(parser, cap, len(states)))


async def in_batches(do: Any, states: list[Any], size: int = 64) -> None:
    """Await `do(step, state)` for every state, so many at once."""
    for begin in range(0, len(states), size):
        async with asyncio.TaskGroup() as group:
            for step in range(begin, min(begin + size, len(states))):
                group.create_task(do(step, states[step]))


async def by_length(replies: Replies, readers: dict[str, Parts], states: list[Any], cap: int) -> list[int]:
    """Print how many first replies of each length are wrong or flagged; return the lengths, shortest first."""
    lengths: list[int] = []
    counts: Counter[tuple[int, str]] = Counter()

    async def one(step: int, state: Any) -> None:
        request, response = await replies.get(step, state, 1, 0, cap)
        tokens = (response.usage or Usage()).tokens_out
        lengths.append(tokens)
        parts = readers["strict"]
        outcome = "flagged"
        if not first_flag(parts.flags, response, request):
            try:
                right = parts.view.task.answer(state)  # type: ignore[attr-defined]
                outcome = "right" if parts.view.agrees(parts.view.read(response.text, state).move, right) else "wrong"
            except RedFlag:
                outcome = "flagged"
        counts[tokens, outcome] += 1

    await in_batches(one, states)
    lengths.sort()
    edges = {lengths[min(len(lengths) - 1, int(share * len(lengths)))] for share in (0.5, 0.9, 0.99, 1.0)}
    edges |= {min(edges) - 1, max(edges)}
    print(f"\n{'tokens of a reply':20}{'replies':>8}{'wrong':>8}{'flagged':>9}{'share bad':>11}")
    below = 0
    for edge in sorted(edges):
        found = {what: sum(counts[n, what] for n in range(below, edge + 1)) for what in ("right", "wrong", "flagged")}
        total = sum(found.values())
        bad = f"{(found['wrong'] + found['flagged']) / total:11.4f}" if total else f"{'-':>11}"
        print(f"{f'{below} to {edge}':20}{total:8}{found['wrong']:8}{found['flagged']:9}{bad}")
        below = edge + 1
    return lengths


async def main() -> None:
    """Read the words, ask, print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="micro")
    words.add_argument("--disks", type=int, default=20)
    words.add_argument("--steps", type=int, default=300, help="random steps, two votes each")
    words.add_argument("--caps", help="caps of tokens, such as 600,750,2048 [default: three about the usual length]")
    words.add_argument("--temperature", type=float, help="of every draw [default: the model's]")
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()

    readers = {
        parser: parts_of(
            f"hanoi:disks={given.disks},parser={parser}",
            given.model,
            lambda model: settings_of(model, {"seed": given.seed}),
            flags,
            (),
        )
        for parser, flags in PARSERS.items()
    }
    parts = readers["strict"]
    heat = parts.settings.temperature if given.temperature is None else given.temperature
    replies = Replies(parts, heat)
    states = [parts.view.task.sample(Random(f"parsers {given.seed} {n}")) for n in range(given.steps)]  # type: ignore[attr-defined]
    longest = max(int(cap) for cap in given.caps.split(",")) if given.caps else 2048
    print(f"{given.model}, {given.disks} disks, {given.steps:,} random steps, temperature {heat}")
    lengths = await by_length(replies, readers, states, longest)
    usual = lengths[len(lengths) // 2]
    caps = sorted(int(cap) for cap in given.caps.split(",")) if given.caps else [usual - 1, usual, longest]
    print()
    await compare(replies, readers, states, caps)


asyncio.run(main())

# Prints:
# micro, 20 disks, 300 random steps, temperature 1.0
#
# tokens of a reply ... share bad
# ...
# parser     cap       v        p  both wrong  same wrong  independent
# strict ...
# repair ...
# ...
