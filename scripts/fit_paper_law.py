"""Fits the law of `simulated:paper` to Fig. 8 of arXiv:2511.09030 and prints the constants of `mdap.models.paperlaw`.

Needs scipy, which the package itself does not. Run from the root of the repository: python scripts/fit_paper_law.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scipy.optimize import least_squares

from mdap.models.paperlaw import (
    PAPER,
    STEPS,
    UNDECIDED_BY_SAMPLES,
    UNDECIDED_BY_VOTES,
    Law,
    undecided_by_samples,
    undecided_by_votes,
    wrong_decisions,
)
from mdap.models.rates import Part, Rates

K = 3
ROUNDS = range(3, 11)  # before them nothing is undecided by chance, after them one pathological step dominates
Make = Callable[[Sequence[float]], Law]


def share(x: float) -> float:
    """Any number as one between 0 and 1."""
    return 1.0 / (1.0 + math.exp(-x))


def wrong_votes(x: Sequence[float]) -> Law:
    """A share of steps with a wrong rate from Beta(1, b); how wrong votes split."""
    return Law(Rates([]), Rates([Part(share(x[0]), share(x[1]), shape=1.0)]), (share(x[2]), 1.0 - share(x[2])))


def misfit_of_votes(x: Sequence[float]) -> list[float]:
    """Distances to the counts after 3, 5 and 6 votes, in standard deviations of a count."""
    expected = undecided_by_votes(wrong_votes(x), K, 6)
    return [
        (STEPS * expected[n - 1] - UNDECIDED_BY_VOTES[n - 1]) / math.sqrt(UNDECIDED_BY_VOTES[n - 1]) for n in (3, 5, 6)
    ]


def two_points(wrong: Law) -> Make:
    """Two points besides steps that are never flagged."""

    def make(x: Sequence[float]) -> Law:
        parts = [Part(share(x[0]), share(x[1])), Part(share(x[2]), share(x[3]))]
        return Law(Rates(parts), wrong.wrong, wrong.split)

    return make


def one_beta(wrong: Law) -> Make:
    """The zero-inflated Beta."""

    def make(x: Sequence[float]) -> Law:
        return Law(Rates([Part(share(x[0]), share(x[1]), shape=math.exp(x[2]))]), wrong.wrong, wrong.split)

    return make


def fit_flags(make: Make, start: Sequence[float]) -> Law:
    """The law of this form that is nearest to the counts by samples."""

    def misfit(x: Sequence[float]) -> list[float]:
        expected = undecided_by_samples(make(x), K, max(ROUNDS))
        # A count's own error, and 0.3% besides, lest the first rounds alone decide.
        return [
            math.log(STEPS * expected[n - 1] / UNDECIDED_BY_SAMPLES[n - 1])
            / math.hypot(1.0 / math.sqrt(UNDECIDED_BY_SAMPLES[n - 1]), 0.003)
            for n in ROUNDS
        ]

    return make(least_squares(misfit, start).x)


def show(name: str, law: Law) -> None:
    """Print a law and how far it is from the counts."""
    print(f"\n{name}\n  flags {law.flags.parts}\n  wrong {law.wrong.parts} split {law.split}")
    for what, expected, seen in (
        ("samples", undecided_by_samples(law, K, 10), UNDECIDED_BY_SAMPLES),
        ("votes", undecided_by_votes(law, K, 10), UNDECIDED_BY_VOTES),
    ):
        print(
            f"  undecided by {what}: "
            + ", ".join(f"{STEPS * e:.1f} ({s})" for e, s in zip(expected, seen, strict=False))
        )
    print(f"  a run of {STEPS} steps has a wrong decision in {1 - math.exp(-STEPS * wrong_decisions(law, K)):.2%}")


if __name__ == "__main__":
    wrong = wrong_votes(least_squares(misfit_of_votes, [-3.0, -5.5, 2.0]).x)
    show("zero-inflated Beta", fit_flags(one_beta(wrong), [-0.2, -2.6, 0.2]))
    show("two points", fit_flags(two_points(wrong), [-1.0, -2.2, -5.0, -0.8]))
    show("as shipped", PAPER)
