"""`mdap.vote`: an election among what a callable returns, without a task."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdap
from mdap.clock import run_virtual
from mdap.core.ballot import Ballot
from mdap.core.errors import UsageError
from mdap.core.rules import AheadByK
from mdap.voted import Voted, vote


def in_turn(values: Any) -> Callable[[], Any]:
    left: Iterator[Any] = iter(values)
    return lambda: next(left)


def elect(values: Any, **options: Any) -> Voted:
    """The vote over these values in the order of asking."""
    sampler = in_turn(values)

    async def _sample() -> Any:
        return sampler()

    return run_virtual(vote(_sample, **options))


def test_k_equal_answers_win() -> None:
    outcome = elect(["a"] * 3)
    assert (outcome.winner, outcome.decided, outcome.samples, outcome.share) == ("a", True, 3, 1.0)
    assert (outcome.counts, outcome.flags, outcome.rule, outcome.why) == ((("a", 3),), (), "ahead_by_k:3", "decided")


def test_the_margin_is_over_the_second_and_the_count_names_the_leader_first() -> None:
    outcome = elect("babaaa", k=2)
    assert (outcome.winner, outcome.samples) == ("a", 6)
    assert outcome.counts == (("a", 4), ("b", 2))
    assert outcome.share == pytest.approx(4 / 6)


def test_an_undecided_vote_has_no_winner_and_says_why() -> None:
    outcome = elect("ab" * 10, max_samples=9)
    assert outcome.winner is mdap.ABSENT
    assert not outcome.decided
    assert not outcome.winner
    assert outcome.samples == 9
    assert outcome.counts == (("a", 5), ("b", 4))
    assert "9 samples, votes [5, 4], lead 1, 2 more needed by ahead_by_k:3" in outcome.why


def test_none_false_and_nought_can_win() -> None:
    values: list[Any] = [None, False, 0, "", []]
    for value in values:
        outcome = elect([value] * 3)
        assert outcome.decided
        assert outcome.winner == value
        assert outcome.winner is not mdap.ABSENT


@given(st.lists(st.sampled_from("abc"), min_size=40, max_size=40), st.integers(1, 4), st.integers(1, 40))
def test_the_outcome_is_that_of_the_ballot(values: list[str], k: int, cap: int) -> None:
    ballot = Ballot(AheadByK(k))
    used = 0
    while ballot.needed and used < cap:
        ballot.cast(values[used])
        used += 1
    outcome = elect(values, k=k, max_samples=cap)
    assert outcome.samples == used
    assert tuple(n for _, n in outcome.counts) == tuple(sorted(ballot.tally, reverse=True))
    assert outcome.decided == (ballot.winner is not None)
    assert outcome.winner == (ballot.winner if outcome.decided else mdap.ABSENT)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), min_size=40, max_size=40), st.integers(1, 6))
def test_latency_and_concurrency_change_nothing(replies: list[tuple[str, float]], in_flight: int) -> None:
    def outcome(in_flight: int, scale: float) -> Voted:
        ask = in_turn(replies)

        async def _sample() -> str:
            value, seconds = ask()
            await asyncio.sleep(scale * seconds)
            return str(value)

        return run_virtual(vote(_sample, k=3, max_samples=30, in_flight=in_flight))

    assert outcome(in_flight, 1.0) == outcome(1, 0.0)


@pytest.mark.parametrize(("in_flight", "most"), [(None, 4), (1, 1), (2, 2), (99, 4)])
def test_no_more_calls_run_at_once_than_allowed_and_by_default_k(in_flight: int | None, most: int) -> None:
    now = highest = 0

    async def _sample() -> str:
        nonlocal now, highest
        now += 1
        highest = max(highest, now)
        await asyncio.sleep(1)
        now -= 1
        return "a"

    run_virtual(vote(_sample, k=4, in_flight=in_flight))
    assert highest == most


def test_a_blocking_sampler_runs_in_threads_side_by_side() -> None:
    together = threading.Barrier(3, timeout=10)

    def sample() -> str:
        together.wait()
        return "a"

    assert mdap.vote(sample, k=3).winner == "a"


def test_a_callable_that_returns_something_awaitable_is_awaited() -> None:
    class Sampler:
        async def __call__(self) -> str:
            return "a"

    async def later() -> str:
        return "b"

    assert mdap.vote(Sampler()).winner == "a"
    assert mdap.vote(lambda: later()).winner == "b"


def test_aio_is_the_same_vote_awaited() -> None:
    async def main() -> Any:
        return (await mdap.aio.vote(lambda: 5, k=2)).winner

    assert asyncio.run(main()) == 5


# Keys.


def test_a_key_says_which_values_are_equal_and_the_first_of_them_wins() -> None:
    outcome = elect(["Yes ", "no", "yes", "YES", "yes!"], key=lambda text: text.strip(" !").casefold())
    assert (outcome.winner, outcome.counts) == ("Yes ", (("Yes ", 4), ("no", 1)))


def test_values_of_any_kind_can_be_voted_on_when_a_key_is_given() -> None:
    class Answer:
        def __init__(self, text: str) -> None:
            self.text = text

    first = Answer("a")
    assert elect([first, Answer("a"), Answer("a")], key=lambda answer: answer.text).winner is first


def test_values_are_equal_as_json_is() -> None:
    assert elect([{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2}]).decided
    assert elect([1, 1.0, True], max_samples=3).counts == ((1, 1), (1.0, 1), (True, 1))
    assert elect(["\ud83d"] * 3).winner == "\ud83d"


@pytest.mark.parametrize("value", [math.nan, object(), b"bytes"])
def test_a_value_that_has_no_key_is_refused_with_the_remedy(value: Any) -> None:
    with pytest.raises(UsageError):
        elect([value] * 3)


# Flags.


def test_a_flagged_value_costs_a_sample_but_never_a_vote_and_its_reason_is_kept() -> None:
    def short(text: str) -> str | None:
        return f"only {len(text)} characters" if len(text) < 3 else None

    outcome = elect(["no", "long", "long", "x", "long"], flags=[short])
    assert (outcome.winner, outcome.samples, outcome.counts) == ("long", 5, (("long", 3),))
    assert Counter(outcome.flags) == {("short", "only 2 characters"): 1, ("short", "only 1 characters"): 1}


def test_a_flag_judges_each_value_and_not_the_first_of_its_key() -> None:
    def wordy(value: dict[str, Any]) -> str | None:
        return "too many words" if value["words"] > 100 else None

    replies = [{"answer": "a", "words": n} for n in (500, 3, 400, 5, 6)]
    outcome = elect(replies, flags=[wordy], key=lambda value: value["answer"])
    assert outcome.winner == {"answer": "a", "words": 3}
    assert (outcome.samples, outcome.counts[0][1], len(outcome.flags)) == (5, 3, 2)


def test_where_everything_is_flagged_the_vote_ends_at_its_cap_without_a_vote() -> None:
    outcome = elect(count(), flags=[lambda _: "never"], max_samples=17)
    assert (outcome.decided, outcome.samples, outcome.counts, outcome.share) == (False, 17, (), 0.0)
    assert len(outcome.flags) == 17


# Errors.


@pytest.mark.parametrize("k", [1, 3])
def test_what_the_sampler_raises_is_raised_as_itself_and_no_call_is_left(k: int) -> None:
    ended: list[str] = []
    calls = count()

    async def _sample() -> str:
        if next(calls) == 0:
            await asyncio.sleep(1)
            raise ConnectionError("down")
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")
        return "a"

    async def main() -> None:
        with pytest.raises(ConnectionError, match="down"):
            await vote(_sample, k=k)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())
    assert ended == ["cancelled"] * (k - 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"k": 0}, "k=0"), ({"k": 2, "rule": "first_to_k"}, "both"), ({"max_samples": 0}, "max_samples=0")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        elect("aaa", **options)


def test_another_rule_may_decide() -> None:
    outcome = elect("ababa", rule="first_to_k:3")
    assert (outcome.winner, outcome.samples, outcome.rule) == ("a", 5, "first_to_k:3")
