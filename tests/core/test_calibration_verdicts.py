"""The verdicts of a calibration and the alarm of a run, each over 200 seeds: at most 5% false, at least 95% found.

Each law has a twin that breaks the statistic on purpose and must then fail the same bar.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest

from mdap.core.calibrated import ModelCalibration
from mdap.core.calibration import LEVEL, Kind, Range, Sort, kinds_of
from mdap.core.events import Warned
from mdap.core.evidence import at_least, excess, tendency
from mdap.core.verdict import Verdict, judge, rounds, undecided_after
from mdap.engine.drift import Drift, Wager
from tests.core.drawing import Law, decided, drawn

SEEDS = 200
FALSE, FOUND = 0.05 * SEEDS, 0.95 * SEEDS


def count(law: Law, says: Callable[[tuple[Kind, ...]], bool], samples: int = 1000) -> int:
    """On how many of the seeds a calibration says it."""
    return sum(says(kinds_of(drawn(law, seed, samples))) for seed in range(SEEDS))


def piles(kinds: tuple[Kind, ...]) -> bool:
    return any(kind.wrong.found for kind in kinds)


def flags_pile(kinds: tuple[Kind, ...]) -> bool:
    return any(kind.flagged.found for kind in kinds)


def refuses(kinds: tuple[Kind, ...]) -> bool:
    return bool(judge(kinds, 1000, 0.95).refusal)


def timed(kinds: tuple[Kind, ...]) -> bool:
    return any(kind.timing is not None and kind.timing.p_value < 0.05 for kind in kinds)


@pytest.mark.slow
@pytest.mark.parametrize("law", [Law(0.99), Law(0.9), Law(0.6), Law(0.4, (0.05,) * 20), Law(0.97, flags=0.1)])
def test_steps_that_are_all_alike_are_seldom_said_to_differ(law: Law) -> None:
    assert count(law, piles) <= FALSE
    assert count(law, flags_pile) <= FALSE


@pytest.mark.slow
@pytest.mark.parametrize(
    "law", [Law(0.99, hard=0.03), Law(0.999, hard=0.02, p_hard=0.7), Law(0.95, hard=0.1, p_hard=0.5)]
)
def test_a_few_hard_steps_among_easy_ones_are_found(law: Law) -> None:
    assert count(law, piles) >= FOUND


@pytest.mark.slow
def test_flags_that_fall_on_few_steps_are_found() -> None:
    assert count(Law(flags=0.03, flag_share=0.06), flags_pile) >= FOUND


@pytest.mark.slow
def test_a_test_that_counts_the_votes_by_which_steps_were_chosen_would_cry_wolf() -> None:
    def naive(kinds: tuple[Kind, ...]) -> bool:
        (kind,) = kinds
        seen = kind.wrong
        return bool(seen.trials) and excess(seen.hits + seen.states, seen.trials + seen.states, before(kind)) <= LEVEL

    def before(kind: Kind) -> tuple[int, int]:
        return kind.p.trials - kind.p.hits, kind.p.trials

    assert count(Law(0.95), piles) <= FALSE
    assert count(Law(0.95), naive) > 3 * FALSE


@pytest.mark.slow
@pytest.mark.parametrize("law", [Law(0.99), Law(0.6), Law(0.4, (0.05,) * 20), Law(0.45, (0.25,) * 4)])
def test_a_model_that_voting_helps_is_seldom_refused(law: Law) -> None:
    assert count(law, refuses) <= FALSE


@pytest.mark.slow
@pytest.mark.parametrize("law", [Law(0.45), Law(0.3, (0.6, 0.4)), Law(0.99, hard=0.05, p_hard=0.1)])
def test_a_model_with_a_wrong_answer_commoner_than_the_right_one_is_refused(law: Law) -> None:
    assert count(law, refuses) >= FOUND


@pytest.mark.slow
def test_a_refusal_by_the_mean_p_alone_would_miss_the_steps_that_votes_lose() -> None:
    def by_the_mean(kinds: tuple[Kind, ...]) -> bool:
        return any(kind.p.low <= 0.5 for kind in kinds)

    assert count(Law(0.99, hard=0.05, p_hard=0.1), by_the_mean) <= FALSE


@pytest.mark.slow
@pytest.mark.parametrize("law", [Law(0.9), Law(0.9, hard=0.1, p_hard=0.6), Law(0.6, (0.5, 0.3, 0.2))])
def test_the_upper_end_of_q_covers_the_commonest_wrong_answer(law: Law) -> None:
    true = law.split[0] * (1 - law.p - law.hard * (law.p_hard - law.p))
    assert count(law, lambda kinds: kinds[0].q.high >= true) >= FOUND
    # The lower end of the same interval is no bound at all, if steps are alike.
    if not law.hard:
        assert count(law, lambda kinds: kinds[0].q.low >= true) <= FALSE


@pytest.mark.slow
def test_latency_that_has_nothing_to_do_with_the_answer_is_seldom_said_to() -> None:
    assert count(Law(0.9), timed) <= FALSE * 1.5  # one test at 5%: 10 of 200 are expected, 15 are 1.6 deviations more


@pytest.mark.slow
def test_wrong_votes_that_take_longer_or_less_long_are_found() -> None:
    assert count(Law(0.9, slower=1.6), timed) >= FOUND
    assert count(Law(0.9, slower=1 / 1.6), timed) >= FOUND


@pytest.mark.slow
def test_the_rank_test_holds_its_level_where_a_comparison_of_means_by_eye_would_not() -> None:
    alarms = {"ranks": 0, "means": 0}
    for seed in range(SEEDS):
        chance = Random(f"rank {seed}")
        few, many = ([chance.lognormvariate(0, 1) for _ in range(n)] for n in (8, 400))
        alarms["ranks"] += tendency(few, many).p_value < 0.05
        alarms["means"] += abs(sum(few) / 8 - sum(many) / 400) > 0.2
    assert alarms["ranks"] <= FALSE * 1.5
    assert alarms["means"] > 3 * FALSE


def alarm(calibrated: Law, law: Law, later: Law, seed: int, steps: int = 1000, at: int = 300) -> list[Warned]:
    """What a run of `law`, which becomes `later` at step `at`, is warned of against a calibration of `calibrated`."""
    kinds = kinds_of(drawn(calibrated, seed, 1000))
    warned: list[Warned] = []
    drift = Drift(ModelCalibration("m", "m", {}, 1000, kinds, Verdict(3, 3)), 3, warned.append)
    chance = Random(f"run {seed}")
    for step in range(steps):
        drift.add(decided(law if step < at else later, chance, step))
    return warned


@pytest.mark.slow
@pytest.mark.parametrize("law", [Law(0.99, flags=0.02), Law(0.9, flags=0.1, flag_share=0.2), Law(0.97, hard=0.02)])
def test_a_run_like_its_calibration_is_seldom_warned(law: Law) -> None:
    assert sum(bool(alarm(law, law, law, seed)) for seed in range(SEEDS)) <= FALSE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("later", "name"),
    [
        (Law(0.9, flags=0.02), "drift: dissent"),
        (Law(0.97, flags=0.15), "drift: flags"),
        (Law(0.97, hard=0.4, flags=0.02), "drift: dissent"),
    ],
)
def test_a_run_that_drifts_after_a_while_is_warned_of_what_has_risen(later: Law, name: str) -> None:
    before = Law(0.97, flags=0.02)
    found = [alarm(before, before, later, seed) for seed in range(SEEDS)]
    assert sum(any(w.name == name and w.step >= 300 for w in warned) for warned in found) >= FOUND


@pytest.mark.slow
def test_a_watch_that_takes_the_estimate_for_the_truth_and_asks_again_and_again_would_cry_wolf() -> None:
    """The twin: a 5% test after every 10th step, against the mere estimate."""
    alarms = 0
    for seed in range(SEEDS):
        chance = Random(f"twin {seed}")
        seen = 0
        for step in range(1, 1501):
            seen += chance.random() < 0.05
            if step % 10 == 0 and at_least(seen, step, 0.05) <= 0.05:
                alarms += 1
                break
    assert alarms > 3 * FALSE
    stakes = 0
    for seed in range(SEEDS):
        chance, wager = Random(f"twin {seed}"), Wager(0.05, 20.0)
        stakes += any(wager.add(float(chance.random() < 0.05)) for _ in range(1500))
    assert stakes <= FALSE


def race(law: Law, seed: int, k: int, steps: int) -> list[int]:
    chance = Random(f"race {seed}")
    return undecided_after(sum(decided(law, chance, n, k).decision.votes) for n in range(steps))


@pytest.mark.slow
@pytest.mark.parametrize("law", [Law(0.9), Law(0.8, (0.5, 0.3, 0.2)), Law(0.98, (0.05,) * 20)])
def test_the_undecided_counts_of_a_run_lie_inside_what_its_calibration_predicted(law: Law) -> None:
    inside = narrow = 0
    for seed in range(SEEDS):
        kinds = kinds_of(drawn(law, seed, 1000))
        seen = race(law, seed, 3, 300)
        rows = [(row, seen[row.votes - 1] if row.votes <= len(seen) else 0) for row in rounds(kinds, 3, 300)]
        inside += all(row.low <= count <= row.high for row, count in rows)
        narrow += all(0.9 * row.expected <= count <= 1.1 * row.expected for row, count in rows)
    assert inside >= FOUND
    assert narrow < FALSE  # intervals of no more than a tenth about what is expected would not hold it


@pytest.mark.slow
def test_a_run_with_hard_steps_leaves_what_alike_steps_predict_and_dispersion_said_so() -> None:
    law, outside, said = Law(0.98, hard=0.05), 0, 0
    for seed in range(40):
        (kind,) = kinds_of(drawn(law, seed, 1000))
        seen = race(law, seed, 3, 1000)
        one_sort = Sort(1.0, 1.0, Range(kind.p.low, kind.p.value, kind.p.high), kind.q)
        alike = {row.votes: row for row in rounds([msgspec.structs.replace(kind, sorts=(one_sort,))], 3, 1000)}
        outside += seen[8] > alike[9].high
        said += kind.wrong.found
    assert outside >= 38
    assert said >= 38
