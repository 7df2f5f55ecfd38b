"""Randomness by key: stable, spread, and never shared by two draws of one step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mdap.core.keyed import draw_seed, uniforms


def test_the_same_key_gives_the_same_numbers_in_every_version() -> None:
    assert uniforms(b"mdap", 2) == (0.5039373779818727, 0.04945651659049266)
    assert draw_seed(7, 1, 1000, 2, 3) == 220996656


def test_fewer_numbers_of_a_key_are_numbers_of_their_own() -> None:
    assert len({uniforms(b"k", n)[0] for n in range(1, 9)}) == 8


def test_numbers_lie_in_the_unit_interval_and_are_spread_evenly() -> None:
    numbers = [u for i in range(500) for u in uniforms(b"%d" % i)]
    assert all(0 <= u < 1 for u in numbers)
    # 4,000 numbers: the mean of a uniform law has a standard deviation of 0.0046.
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.02
    assert all(350 < sum(i <= 10 * u < i + 1 for u in numbers) < 450 for i in range(10))


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**6), st.integers(0, 10**7))
def test_no_two_draws_of_a_step_share_a_seed(seed: int, item: int, step: int) -> None:
    seeds = {draw_seed(seed, item, step, slot, redraw) for slot in range(60) for redraw in range(11)}
    assert len(seeds) == 60 * 11
    assert all(0 <= s < 2**31 for s in seeds)


def test_a_seed_depends_on_every_coordinate() -> None:
    base = draw_seed(1, 2, 3, 4, 5)
    others = [
        draw_seed(9, 2, 3, 4, 5),
        draw_seed(1, 9, 3, 4, 5),
        draw_seed(1, 2, 9, 4, 5),
        draw_seed(1, 2, 3, 9, 5),
        draw_seed(1, 2, 3, 4, 9),
    ]
    assert base not in others
    assert len(set(others)) == 5


def test_first_draws_of_many_steps_hardly_ever_share_a_seed() -> None:
    # 20,000 draws from 2**31 seeds: 0.09 collisions are expected.
    assert len({draw_seed(7, 0, step, 0, 0) for step in range(20_000)}) >= 19_998


def test_seeds_of_neighbouring_draws_are_spread_over_the_whole_range() -> None:
    seeds = [draw_seed(3, 0, 11, slot, 0) for slot in range(4_000)]
    counts = [sum(i * 2**28 <= s < (i + 1) * 2**28 for s in seeds) for i in range(8)]
    assert min(counts) > 400
    assert max(counts) < 600
