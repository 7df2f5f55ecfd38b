"""How often candidates and judges come to the right answer: exact, and as often as in a race played out by chance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from mdap.core.ballot import Ballot
from mdap.core.errors import UsageError
from mdap.core.rules import rule
from mdap.core.scaling import first_to_k_success, judged_success


def played(p: float, q: float, k: int, chance: Random) -> bool:
    """One question: 2k - 1 candidates, and where they differ, the rule's own race among judges."""
    right = [chance.random() < p for _ in range(2 * k - 1)]
    if len(set(right)) == 1:
        return right[0]
    ballot = Ballot(rule(f"first_of:{k}"))
    while ballot.needed:
        ballot.cast(chance.random() < q)
    return bool(ballot.winner)


def is_off(p: float, q: float, k: int, law: Callable[[float, float, int], float]) -> bool:
    """Whether 8,000 questions by chance are more than four standard deviations off the law."""
    chance, theory = Random(7), law(p, q, k)
    share = sum(played(p, q, k, chance) for _ in range(8000)) / 8000
    return bool(abs(share - theory) > 4 * (theory * (1 - theory) / 8000) ** 0.5)


@pytest.mark.parametrize(
    ("p", "q", "k"), [(0.8, 0.85, 1), (0.8, 0.85, 2), (0.8, 0.85, 3), (0.6, 0.7, 4), (0.3, 0.9, 3)]
)
def test_the_law_is_that_of_the_race(p: float, q: float, k: int) -> None:
    assert not is_off(p, q, k, judged_success)


def test_laws_that_leave_out_the_judges_or_the_candidates_are_not() -> None:
    assert is_off(0.8, 0.85, 3, lambda p, _q, k: first_to_k_success(p, k))
    assert is_off(0.8, 0.85, 3, lambda _p, q, k: first_to_k_success(q, k))


def test_vectors_by_hand() -> None:
    assert judged_success(0.7, 0.6, 1) == pytest.approx(0.7)
    # 0.9^3 + (1 - 0.9^3 - 0.1^3) (0.8^3 + 3 0.8^2 0.2) = 0.729 + 0.27 x 0.896
    assert judged_success(0.9, 0.8, 2) == pytest.approx(0.97092)
    assert judged_success(1, 0, 3) == 1
    assert judged_success(0, 1, 3) == 0


def test_it_grows_with_k_where_judges_are_good_and_perfect_judges_need_one_right_candidate() -> None:
    rates = [judged_success(0.8, 0.95, k) for k in range(1, 9)]
    assert all(one < other for one, other in pairwise(rates))
    assert judged_success(0.2, 1, 3) == pytest.approx(1 - 0.8**5)


@pytest.mark.parametrize(("p", "q", "k"), [(-0.1, 0.5, 1), (0.5, 1.1, 1), (0.5, 0.5, 0)])
def test_numbers_that_make_no_sense_are_refused(p: float, q: float, k: int) -> None:
    with pytest.raises(UsageError):
        judged_success(p, q, k)
