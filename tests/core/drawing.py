"""Samples of a calibration made of chance alone, drawn as the engine draws them; and decisions of a run, likewise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from mdap.core.calibration import AGAIN, Drawn, again
from mdap.core.events import StepDecided
from mdap.core.records import Decision, Move, Sample, Totals

RIGHT = b"right"


@dataclass(frozen=True)
class Law:
    """How samples fall. A share `hard` of the steps has `p_hard`; a share `flag_share` of them has all the flags.

    `split`: shares of the wrong answers of a step. `slower`: the factor by which wrong votes take longer.
    """

    p: float = 0.99
    split: tuple[float, ...] = (1.0,)
    hard: float = 0.0
    p_hard: float = 0.55
    flags: float = 0.0
    flag_share: float = 1.0
    slower: float = 1.0

    def step(self, chance: Random) -> tuple[float, float]:
        """The (p, flag rate) of one step."""
        p = self.p_hard if chance.random() < self.hard else self.p
        return p, (self.flags / self.flag_share if chance.random() < self.flag_share else 0.0)

    def draw(self, chance: Random, p: float, flags: float, state: int, repeated: bool, kind: str = "") -> Drawn:
        """One sample of a step."""
        if chance.random() < flags:
            return Drawn(
                state, kind, "flagged", flag="malformed", again=repeated, seconds=chance.lognormvariate(0, 0.5)
            )
        is_right = chance.random() < p
        key = RIGHT if is_right else b"%d" % chance.choices(range(len(self.split)), self.split)[0]
        seconds = chance.lognormvariate(0, 0.5) * (1.0 if is_right else self.slower)
        return Drawn(state, kind, "right" if is_right else "wrong", key, again=repeated, seconds=seconds)


def drawn(law: Law, seed: int, samples: int = 1000, kinds: Sequence[str] = ("",)) -> list[Drawn]:
    """The samples of a calibration: each state once, and then those again where the first was wrong or flagged."""
    chance = Random(f"drawn {seed}")
    states = [law.step(chance) for _ in range(round(samples * (1 - AGAIN)))]
    found = [law.draw(chance, *step, n, False, kinds[n % len(kinds)]) for n, step in enumerate(states)]
    outcomes = [[s.state for s in found if s.outcome == outcome] for outcome in ("wrong", "flagged")]
    left = (samples - len(states)) // max(1, sum(map(bool, outcomes)))
    for concerned in outcomes:
        count, each = again(left, len(concerned))
        for n in concerned[:count]:
            found += [law.draw(chance, *states[n], n, True, kinds[n % len(kinds)]) for _ in range(each)]
    return found


def decided(law: Law, chance: Random, step: int, k: int = 3, kind: str = "") -> StepDecided:
    """One step of a run under ahead_by_k, with its samples, a flagged one drawn again."""
    p, flags = law.step(chance)
    counts: dict[bytes, int] = {}
    samples: list[Sample] = []
    slot = 0
    while True:
        redraw = 0
        while (sample := law.draw(chance, p, flags, step, False)).outcome == "flagged":
            samples.append(Sample(slot, redraw, "", flag="malformed"))
            redraw += 1
        samples.append(Sample(slot, redraw, "", key=sample.key))
        counts[sample.key] = counts.get(sample.key, 0) + 1
        slot += 1
        first, second = sorted([*counts.values(), 0, 0])[:-3:-1]
        if first - second >= k:
            votes = tuple(sorted(counts.values(), reverse=True))
            return StepDecided(Decision(step, Move(0, 0), votes, kind, tuple(samples)), Totals())
