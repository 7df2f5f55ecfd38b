"""How often each rule that counts errs, against its definition worked out on paper; beside it one vote more or less.

The laws here are written down from the papers' words, without a line of the rules themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from mdap.core.ballot import Ballot
from mdap.core.rules import rule

P = 0.7
BALLOTS = 4000
# Votes for the right answer and for the only wrong one: +1 right, -1 wrong, 0 nobody, None: votes go on.
Stop = Callable[[int, int], int | None]


def law(stop: Stop, p: float = P) -> float:
    """The probability of a wrong decision, by all ways in which votes can come."""
    still, wrong = {(0, 0): 1.0}, 0.0
    for _ in range(400):
        after: dict[tuple[int, int], float] = {}
        for (a, b), share in still.items():
            for vote, chance in (((a + 1, b), p), ((a, b + 1), 1 - p)):
                ended = stop(*vote)
                if ended is None:
                    after[vote] = after.get(vote, 0.0) + share * chance
                elif ended < 0:
                    wrong += share * chance
        still = after
    return wrong


def leader(a: int, b: int) -> int:
    return (a > b) - (a < b)


def ahead(k: int, most: float = math.inf) -> Stop:
    def stop(a: int, b: int) -> int | None:
        return leader(a, b) if abs(a - b) >= k else 0 if a + b >= most else None

    return stop


def first(k: int) -> Stop:
    return lambda a, b: leader(a, b) if max(a, b) >= k else None


def whole(n: int) -> Stop:
    return lambda a, b: leader(a, b) if a + b >= n and a != b else None


def sure(confidence: float, cap: int) -> Stop:
    """P(share > 1/2) under Beta(a+1, b+1) is the chance of at most a heads in a + b + 1 throws of a coin."""

    def stop(a: int, b: int) -> int | None:
        n, most = a + b, max(a, b)
        tail = sum(math.comb(n + 1, i) for i in range(most + 1)) / 2 ** (n + 1)
        return leader(a, b) if tail >= confidence or (n >= cap and a != b) else None

    return stop


def windows(w: int, cap: int, p: float = P) -> float:
    """The first unanimous window of w votes decides, else most of `cap` votes, which is a multiple of w; ties go on."""
    mixed = {i: math.comb(w, i) * p**i * (1 - p) ** (w - i) for i in range(1, w)}
    still, wrong = {0: 1.0}, 0.0
    for number in range(cap // w):
        after: dict[int, float] = {}
        for right, share in still.items():
            wrong += share * (1 - p) ** w
            for i, chance in mixed.items():
                after[right + i] = after.get(right + i, 0.0) + share * chance
        still = after
        assert number < cap
    for right, share in still.items():
        # One vote more ends a tie.
        wrong += share * (1 - p if 2 * right == cap else float(2 * right < cap))
    return wrong


LAWS: dict[str, tuple[float, str]] = {
    "ahead_by_k:3": (law(ahead(3)), "ahead_by_k:2"),
    "first_to_k:3": (law(first(3)), "first_to_k:2"),
    "majority:5": (law(whole(5)), "majority:3"),
    "adaptive_consistency:0.8,cap=12": (law(sure(0.8, 12)), "adaptive_consistency:0.65,cap=12"),
    "esc:3,cap=9": (windows(3, 9), "esc:2,cap=8"),
    "gate:2": (law(ahead(2, 8)), "gate:1"),
    "first_of:3": (law(first(3)), "first_of:2"),
}


def errors(spec: str) -> int:
    """How many of the simulated ballots a rule decides for the wrong answer."""
    chance, wrong = Random(11), 0
    for _ in range(BALLOTS):
        ballot = Ballot(rule(spec))
        while needed := ballot.needed:
            for _ in range(needed):
                ballot.cast("right" if chance.random() < P else "wrong")
        wrong += ballot.winner == "wrong"
    return wrong


def far_off(spec: str, share: float) -> float:
    """How many standard deviations the errors of a rule are from a share."""
    return abs(errors(spec) - BALLOTS * share) / math.sqrt(BALLOTS * share * (1 - share))


@pytest.mark.parametrize("spec", LAWS)
def test_a_rule_errs_as_often_as_its_definition_says_and_one_that_asks_for_less_does_not(spec: str) -> None:
    share, twin = LAWS[spec]
    # Four standard deviations: passed by chance once in 16,000 times.
    assert far_off(spec, share) < 4
    assert far_off(twin, share) > 4


def test_the_law_of_the_paper_is_its_closed_form() -> None:
    odds = (P / (1 - P)) ** 3
    assert law(ahead(3)) == pytest.approx(1 / (1 + odds), rel=1e-9)  # arXiv:2511.09030, Eq. 9


def test_a_rule_that_collects_elects_nobody_however_votes_fall() -> None:
    assert errors("collect:5") == 0
    assert errors("majority:5") > 0
