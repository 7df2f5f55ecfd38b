"""The law of the paper's 20-disk run: how flags and wrong votes fell on its steps, and what follows from it exactly.

Expectations of a race of votes under any such law; no chance is drawn here, and no text is made.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from mdap.models.rates import Part, Rates

# The moves of 20 disks, 2^20 - 1.
STEPS = 1_048_575

# arXiv:2511.09030, Fig. 8: steps still undecided after 1, 2, 3 ... samples (flagged ones count) and votes.
UNDECIDED_BY_SAMPLES = (STEPS, STEPS, 81959, 18461, 3807, 973, 288, 100, 31, 14, 5, 2, 2, 2, 1, 1, 1, 0)
UNDECIDED_BY_VOTES = (STEPS, STEPS, 710, 710, 17, 13, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0)

REPLY_TOKENS = 538  # Fig. 6b: mean of a reply at temperature 0.1

Tally = tuple[int, ...]


class Law(msgspec.Struct, frozen=True):
    """How samples fall: each step has a flag rate and, for its votes, a wrong rate, drawn independently.

    `split` gives the share of each wrong answer among a step's wrong votes, the commonest first.
    """

    flags: Rates
    wrong: Rates
    split: tuple[float, ...] = (1.0,)


PAPER = Law(
    flags=Rates([Part(0.26332, 0.1025), Part(0.00696, 0.30356)]),
    wrong=Rates([Part(0.0559, 0.00407, shape=1.0)]),
    split=(0.86, 0.14),
)
"""The law that `simulated:paper` draws from, fitted to Fig. 8 by least squares of the logarithms.

Flags: 73.0% of steps are never flagged, 26.3% at a rate of 10.3%, 0.7% at 30.4%; together 3.2% of samples, as in the
run. In rounds 3 to 8 these points are within 2% of the counts; the nearest zero-inflated Beta misses round 8 by a
fifth.

Wrong votes: 5.6% of steps have a rate drawn from Beta(1, 245), mean 0.41%; on all others votes are right. The mean of
all gives 710 steps with a wrong vote among the first three, the spread 17 undecided after five votes (independent
votes: 0.5). That 4 of these 17 ended at the sixth vote means that their two wrong votes differed: hence 86% to 14%.

The one step of the run that took 18 votes has no part of its own: at a rate of 35% one step in 23 takes that many, and
one in 11 is decided wrongly, so such a step in each run would sink every eleventh. As it is, 1,048,575 steps at ahead
by 3 hold a wrong decision for 1.5% of all seeds (`wrong_decisions`); the paper's run had none.
"""


def undecided_by_votes(law: Law, k: int, rounds: int) -> list[float]:
    """Return the share of steps that ahead-by-k leaves undecided after 1, 2 ... `rounds` votes."""
    return [_share(law, tallies) for tallies in _races(law.split, k, rounds)[0]]


def undecided_by_samples(law: Law, k: int, rounds: int) -> list[float]:
    """Return the share of steps that ahead-by-k leaves undecided after 1, 2 ... `rounds` samples, flagged or not."""
    # Before any vote every step is open.
    open_after = [1.0, *undecided_by_votes(law, k, rounds)]
    return [
        math.fsum(
            # Flags fall on samples whatever their votes would be, so each choice of the flagged ones is as likely.
            math.comb(samples, votes) * law.flags.moment(samples - votes, votes) * open_after[votes]
            for votes in range(samples + 1)
        )
        for samples in range(1, rounds + 1)
    ]


def wrong_decisions(law: Law, k: int, rounds: int = 60) -> float:
    """Return the share of steps that ahead-by-k decides wrongly within `rounds` votes."""
    # fsum, for what is wanted is a small tail beside terms that are larger by many orders of magnitude.
    return math.fsum(
        paths * law.wrong.moment(sum(tally[1:]), tally[0])
        for tally, paths in _races(law.split, k, rounds)[1].items()
        if max(tally) > tally[0]
    )


def _share(law: Law, tallies: dict[Tally, float]) -> float:
    return math.fsum(paths * law.wrong.moment(sum(tally[1:]), tally[0]) for tally, paths in tallies.items())


def _races(split: Sequence[float], k: int, rounds: int) -> tuple[list[dict[Tally, float]], dict[Tally, float]]:
    """Orders in which votes can come, counted by their tally (right, then each wrong answer) and weighted by `split`.

    First those that leave the step undecided, for each number of votes; then those whose last vote decides it.
    """
    weights = (1.0, *split)
    undecided: list[dict[Tally, float]] = []
    decided: dict[Tally, float] = defaultdict(float)
    # By tally alone: whatever a step's rates are, all orders of the same votes have the same chance.
    now: dict[Tally, float] = {(0,) * len(weights): 1.0}
    for _ in range(rounds):
        after: dict[Tally, float] = defaultdict(float)
        for tally, paths in now.items():
            for answer, weight in enumerate(weights):
                cast = (*tally[:answer], tally[answer] + 1, *tally[answer + 1 :])
                # The 0 is the second candidate of a law without wrong answers.
                second, first = sorted((0, *cast))[-2:]
                (decided if first - second >= k else after)[cast] += paths * weight
        undecided.append(after)
        now = after
    return undecided, decided
