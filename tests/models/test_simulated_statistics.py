"""Laws of the simulated model: what it is told comes out of its replies, and each test has a twin that must fail.

Each statistic is compared at 4 standard errors; the twin is a model that was told something else, seen by the same eye.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import Counter
from typing import Any, NamedTuple

import pytest

from mdap.clock import run_virtual
from mdap.core.errors import RedFlag
from mdap.models.simulated import simulated
from tests.models.toy import Counting, asked

STEPS, SLOTS = 3_000, 6
SIGMAS = 4.0


class Seen(NamedTuple):
    """Of each step: how many of its samples were flagged, and the votes by answer (0 the right one)."""

    flagged: list[int]
    votes: list[Counter[int]]


async def _look(options: dict[str, Any], steps: int, slots: int) -> Seen:
    task = Counting()
    model = simulated(**options).bind(task)
    seen = Seen([], [])
    for step in range(steps):
        flagged, votes = 0, Counter[int]()
        for slot in range(slots):
            reply = await model.complete(asked(step, slot))
            try:
                if reply.finish == "length":
                    raise RedFlag("cut", name="truncated")
                votes[task.parse(reply.text, step).action - step - 1] += 1
            except RedFlag:
                flagged += 1
        seen.flagged.append(flagged)
        seen.votes.append(votes)
    return seen


def look(steps: int = STEPS, slots: int = SLOTS, **options: Any) -> Seen:
    return asyncio.run(_look(options, steps, slots))


def is_share(count: int, of: int, expected: float) -> bool:
    """Whether `count` of `of` is within the interval of a share `expected`."""
    return abs(count - of * expected) <= SIGMAS * math.sqrt(of * expected * (1.0 - expected))


def right(seen: Seen) -> tuple[int, int]:
    return sum(votes[0] for votes in seen.votes), sum(votes.total() for votes in seen.votes)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.55, 0.9, 0.99])
def test_the_share_of_right_votes_is_p_also_among_flags(p: float) -> None:
    assert is_share(*right(look(p=p)), p)
    assert is_share(*right(look(p=p, flags=0.3, seed=2)), p)
    assert not is_share(*right(look(p=p - 0.02)), p)


def test_the_samples_of_one_step_are_independent() -> None:
    def pairs(seen: Seen) -> tuple[int, int]:
        return sum(votes[0] == 0 for votes in seen.votes), len(seen.votes)

    assert is_share(*pairs(look(p=0.7, slots=2)), 0.3**2)
    assert not is_share(*pairs(look(p=0.4, hard=0.5, p_hard=1.0, slots=2)), 0.3**2)


def test_flags_come_at_their_rate() -> None:
    def flagged(seen: Seen) -> tuple[int, int]:
        return sum(seen.flagged), STEPS * SLOTS

    assert is_share(*flagged(look(flags=0.032)), 0.032)
    assert not is_share(*flagged(look(flags=0.045)), 0.032)


def test_a_share_of_steps_is_hard_and_all_samples_of_a_step_know_it() -> None:
    def mostly_wrong(seen: Seen) -> tuple[int, int]:
        return sum(votes[0] < 10 for votes in seen.votes), len(seen.votes)

    assert is_share(*mostly_wrong(look(steps=1_500, slots=20, p=1.0, hard=0.2, p_hard=0.1)), 0.2)
    # The same share of wrong votes, but evenly over the steps.
    assert not is_share(*mostly_wrong(look(steps=1_500, slots=20, p=0.82)), 0.2)


@pytest.mark.parametrize(("wrong", "q"), [("collide", 1.0), ("several", 1 / 3), ("spread", 1 / 20)])
def test_wrong_votes_name_the_commonest_mistake_with_the_share_that_the_kind_says(wrong: str, q: float) -> None:
    def commonest(seen: Seen) -> tuple[int, int]:
        votes = sum(seen.votes, Counter[int]())
        return votes[1], votes.total() - votes[0]

    assert is_share(*commonest(look(p=0.6, wrong=wrong)), q)
    twin = "spread" if wrong != "spread" else "several"
    assert not is_share(*commonest(look(p=0.6, wrong=twin)), q)


def two_of_two(seen: Seen) -> tuple[int, int]:
    return sum(flagged == 2 for flagged in seen.flagged), len(seen.flagged)


@pytest.mark.slow
def test_clustered_flags_fall_on_a_share_of_the_steps_with_rates_from_a_beta_law() -> None:
    # 46% of steps, Beta(1.25, 18): the mean of all is 0.46 * 1.25 / 19.25; E[x^2] = a (a+1) / ((a+b) (a+b+1)).
    mean = 0.46 * 1.25 / 19.25
    both = 0.46 * 1.25 * 2.25 / (19.25 * 20.25)
    seen = look(steps=12_000, slots=2, p=1.0, flags=mean, flag_share=0.46, flag_shape=1.25)
    assert is_share(*two_of_two(seen), both)
    assert abs(sum(seen.flagged) / 24_000 - mean) < SIGMAS * math.sqrt((mean + both) / 24_000)
    # Flags of the same mean, but spread over all steps, or crowded on few.
    assert not is_share(*two_of_two(look(steps=12_000, slots=2, p=1.0, flags=mean)), both)
    assert not is_share(*two_of_two(look(steps=12_000, slots=2, p=1.0, flags=mean, flag_share=0.1)), both)


def latencies(sigma: float) -> list[float]:
    async def main() -> list[float]:
        model = simulated(p=0.9, latency=2.0, sigma=sigma).bind(Counting())
        loop, logs = asyncio.get_running_loop(), []
        for slot in range(4_000):
            began = loop.time()
            await model.complete(asked(slot % 50, slot))
            logs.append(math.log(loop.time() - began))
        return logs

    return run_virtual(main())


def test_latency_is_lognormal_with_this_median_and_sigma() -> None:
    def fits(logs: list[float]) -> bool:
        n = len(logs)
        mean, sd = statistics.fmean(logs), statistics.stdev(logs)
        skewness = statistics.fmean(((x - mean) / sd) ** 3 for x in logs)
        return (
            abs(mean - math.log(2.0)) < SIGMAS * 0.6 / math.sqrt(n)
            and abs(sd - 0.6) < SIGMAS * 0.6 / math.sqrt(2 * n)
            and abs(skewness) < SIGMAS * math.sqrt(6 / n)
        )

    assert fits(latencies(0.6))
    assert not fits(latencies(0.55))


def test_latency_says_nothing_about_what_is_answered() -> None:
    async def main() -> tuple[list[float], list[float]]:
        model = simulated(p=0.5, latency=1.0, sigma=0.6).bind(Counting())
        loop = asyncio.get_running_loop()
        times: tuple[list[float], list[float]] = ([], [])
        for slot in range(4_000):
            began = loop.time()
            reply = await model.complete(asked(slot % 50, slot))
            times[reply.text == f"<{slot % 50 + 1}>"].append(math.log(loop.time() - began))
        return times

    wrong, right_ones = run_virtual(main())
    error = 0.6 * math.sqrt(1 / len(wrong) + 1 / len(right_ones))
    assert abs(statistics.fmean(wrong) - statistics.fmean(right_ones)) < SIGMAS * error


def test_reply_lengths_have_their_mean_and_the_papers_spread() -> None:
    async def lengths(length: int) -> list[int]:
        model = simulated(p=0.9, length=length).bind(Counting())
        found = [(await model.complete(asked(slot % 50, slot, cap=5_000))).usage for slot in range(4_000)]
        return [usage.tokens_out for usage in found if usage is not None]

    def fits(found: list[int]) -> bool:
        return abs(statistics.fmean(found) - 538) < SIGMAS * 0.15 * 538 / math.sqrt(len(found))

    found = asyncio.run(lengths(538))
    assert len(found) == 4_000
    assert fits(found)
    assert statistics.stdev(found) == pytest.approx(0.15 * 538, rel=0.06)
    assert not fits(asyncio.run(lengths(550)))
