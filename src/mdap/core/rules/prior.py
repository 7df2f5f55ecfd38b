"""How hard the steps of a run are, learned from its own ballots. A pure fold: the same decisions give the same prior.

Nothing here knows which answers are right; it learns from how votes agree. What a rule makes of it lives elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec

# Values of p that a step may have: dense where a small difference costs many votes.
GRID: tuple[float, ...] = (
    *(0.505, 0.52, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
    *(0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999),
)
# One step is one observation: after n of them, values of p that none has shown keep a share of about 1/n.
PSEUDO_STEPS = 1.0
# Most is learned early: where nearly all votes agree, 23 equal ones decide a step at first, 14 after 100 steps, 11
# after 1,000.
FIRST_REFRESHES = (100, 300, 1000, 3000)
REFRESH_EVERY = 5000
# Short enough to notice that steps have become harder; still shorter costs votes where nothing changes.
MEMORY = 50_000
# Neighbours on the grid are hard to tell apart, so EM creeps; the error that is predicted has settled long before.
EM_ROUNDS, EM_CHANGE = 60, 1e-7

Weights: TypeAlias = tuple[float, ...]


def _widths() -> Weights:
    ends = [0.5, *((a + b) / 2 for a, b in pairwise(GRID)), 1.0]
    return tuple(2 * (high - low) for low, high in pairwise(ends))


# Uniform in p from 0.5 to 1: each value of the grid stands for its surroundings.
START: Weights = _widths()


def is_refresh(steps: int) -> bool:
    """Say whether the prior is learned anew once so many steps are decided."""
    return steps in FIRST_REFRESHES or (steps >= REFRESH_EVERY and steps % REFRESH_EVERY == 0)


def last_refresh(index: int) -> int:
    """Return the index of the last refresh at or below step `index`; 0 before the first."""
    if index >= REFRESH_EVERY:
        return index - index % REFRESH_EVERY
    return max((at for at in FIRST_REFRESHES if at <= index), default=0)


class Memory(msgspec.Struct):
    """What is known of one kind of step: the tallies since the last refresh, and those before it in blocks.

    A tally is written as "first:rest"; `blocks` are oldest first, and whole blocks are forgotten. `weights` are the
    shares of the values of `GRID` among the steps, as learned at the last refresh.
    """

    fresh: dict[str, int] = msgspec.field(default_factory=dict)
    blocks: list[dict[str, int]] = msgspec.field(default_factory=list)
    weights: Weights = START

    def refresh(self, memory: int) -> None:
        """Learn from the newest `memory` steps, as whole blocks."""
        if self.fresh:
            self.blocks.append(self.fresh)
            self.fresh = {}
            # The newest block stays in any case: a prior of no steps would be the one of the beginning again.
            while len(self.blocks) > 1 and sum(sum(block.values()) for block in self.blocks) > memory:
                del self.blocks[0]
            self.weights = learned(self.blocks, self.weights)


class Prior(msgspec.Struct):
    """The fold of a run's decisions into what its steps are like, by kind; it stays small however long the run is.

    Encodes to JSON and back without a change, so that a run that is taken up again decides as if it had never stopped.
    `steps` have been folded in; `memory` is how many of the newest steps count.
    """

    steps: int = 0
    memory: int = MEMORY
    kinds: dict[str, Memory] = msgspec.field(default_factory=dict)

    def learn(self, kind: str, tally: Sequence[int]) -> None:
        """Fold in the next step's tally: the votes of the first candidate, then those of the others.

        Steps come in the order of their indices, each once. Ballots that a cap left open count too, once they are
        settled: leaving them out would make the steps look easier than they are.
        """
        memory = self.kinds.get(kind)
        if memory is None:
            memory = self.kinds[kind] = Memory()
        # A text, since the keys of an object in JSON are; tallies that are alike are counted, not kept.
        name = f"{tally[0]}:{sum(tally) - tally[0]}"
        memory.fresh[name] = memory.fresh.get(name, 0) + 1
        self.steps += 1
        if is_refresh(self.steps):
            for known in self.kinds.values():
                known.refresh(self.memory)

    def is_settled(self, index: int) -> bool:
        """Say whether all decisions that may judge step `index` are folded in, and none that may not."""
        return last_refresh(index) == last_refresh(self.steps)

    def weights(self, kind: str) -> Weights:
        """Return the shares of the values of `GRID` among steps of a kind, as of the last refresh."""
        memory = self.kinds.get(kind)
        return START if memory is None else memory.weights


def learned(blocks: Iterable[Mapping[str, int]], weights: Weights = START) -> Weights:
    """Return the shares of the values of `GRID` that explain the tallies best (EM with Dirichlet pseudo-counts).

    The leader of a ballot with a votes against b may be the right answer or the wrong one, so a value p explains it
    with p^a (1-p)^b + p^b (1-p)^a. When the ballots were stopped does not matter. `weights` is where EM begins.
    """
    counts: dict[str, int] = {}
    for block in blocks:
        for name, steps in block.items():
            counts[name] = counts.get(name, 0) + steps
    # In the order of names: float sums depend on theirs, and equal decisions are to give equal weights.
    told = [(steps, _likelihoods(name)) for name, steps in sorted(counts.items())]
    total = sum(counts.values()) + PSEUDO_STEPS
    for _ in range(EM_ROUNDS):
        sums = [PSEUDO_STEPS * width for width in START]
        for steps, likelihoods in told:
            joint = [weight * likelihood for weight, likelihood in zip(weights, likelihoods, strict=True)]
            scale = steps / sum(joint)
            sums = [seen + scale * part for seen, part in zip(sums, joint, strict=True)]
        after = tuple(seen / total for seen in sums)
        change = max(abs(a - b) for a, b in zip(after, weights, strict=True))
        weights = after
        if change < EM_CHANGE:
            break
    return weights


def _likelihoods(name: str) -> list[float]:
    """Return how well each value of the grid explains a tally, the best of them as 1."""
    first, rest = map(int, name.split(":"))
    logs = []
    for p in GRID:
        right, wrong = math.log(p), math.log1p(-p)
        # By the difference: the two likelihoods themselves would both be 0 after a few hundred votes.
        either = math.exp(-abs(first - rest) * (right - wrong))
        logs.append(max(first, rest) * right + min(first, rest) * wrong + math.log1p(either))
    most = max(logs)
    return [math.exp(log - most) for log in logs]
