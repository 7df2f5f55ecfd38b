"""C1 to C12: what first-to-ahead-by-k voting must get right, as checks that any implementation can be put through.

Each check takes one small function; `subjects` puts mdap behind it, `broken` a known defect that the check must reject.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise, permutations
from typing import Any

import pytest

from tests.conformance import broken, subjects
from tests.conformance.subjects import Election, Outcome

Server = Callable[[str, int | None, float | None], str]


# C1: the margin is over the second candidate; k votes alone decide nothing.


def check_margin(decide: Callable[[Sequence[str], int], str | None]) -> None:
    assert decide("ababa", 3) is None, "3 votes to 2 are a margin of 1"
    assert decide("aabba", 3) is None
    assert decide("ababaaa", 3) == "a"
    assert decide("aaa", 3) == "a", "the second of one candidate has no votes"
    assert decide("aa", 3) is None
    assert decide("abcabcaaa", 3) == "a", "the margin is over the second, not over all the others"


def test_c1_a_step_is_won_by_a_lead_of_k_and_not_by_k_votes() -> None:
    check_margin(subjects.decide)


def test_c1_rejects_whoever_stops_at_k_votes() -> None:
    with pytest.raises(AssertionError, match="margin of 1"):
        check_margin(broken.decide_by_absolute_k)


# C2: where the next state comes from the model, it is voted on together with the action.


def check_pairs(decide: Callable[[Sequence[tuple[str, int]], int], tuple[Any, Any] | None]) -> None:
    assert decide([("a", 1), ("a", 2)], 2) is None, "two different next states are two candidates"
    assert decide([("a", 1), ("a", 1), ("b", 3)], 2) == ("a", 1)
    assert decide([("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 1), ("a", 1)], 2) == ("a", 1)


def test_c2_no_state_enters_the_chain_that_was_not_voted_on() -> None:
    check_pairs(subjects.decide_pair)


def test_c2_rejects_whoever_takes_the_last_voters_state() -> None:
    with pytest.raises(AssertionError, match="two candidates"):
        check_pairs(broken.decide_pair_by_action)


# C3: where code can compute the next state, what the model claims about it changes nothing.


def check_transitions(advance: Callable[[int, int, int | None], int | None]) -> None:
    assert advance(5, 2, None) == 7
    assert advance(5, 2, 7) == 7
    assert advance(5, 2, 99) is None, "a claim that contradicts the action is discarded"


def test_c3_code_computes_the_next_state_and_a_false_claim_is_discarded() -> None:
    check_transitions(subjects.advance)


def test_c3_rejects_whoever_believes_the_model() -> None:
    with pytest.raises(AssertionError, match="discarded"):
        check_transitions(broken.advance_as_told)


# C4: a provider that refuses is asked again a bounded number of times, ever more slowly; that is neither a vote nor
# a flag, the error is there to be read, and the step can be taken up again.


def check_refusals(ask: Callable[[int], Outcome]) -> None:
    outcomes = [ask(seed) for seed in range(40)]
    for outcome in outcomes:
        assert outcome.calls <= 20, "calls to a provider that refuses are bounded"
        assert (outcome.votes, outcome.flags) == (0, 0), "a refused call is no vote and no flag"
        assert "429" in outcome.error, "the error can be read"
        assert outcome.decided_on_resume, "the step can be taken up again"
    rounds = list(zip(*(outcome.waits for outcome in outcomes), strict=True))
    means = [sum(waits) / len(waits) for waits in rounds]
    assert means[0] > 0, "there is a wait before the first repetition"
    assert all(later > 1.3 * sooner for sooner, later in pairwise(means)), "the waits grow"


def test_c4_a_persistent_429_is_bounded_attempts_with_growing_waits_and_can_be_resumed() -> None:
    check_refusals(subjects.ask_refused)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (broken.ask_without_waiting, "bounded"),
        (broken.ask_and_flag, "no flag"),
        (broken.ask_and_die, "taken up again"),
    ],
)
def test_c4_rejects_whoever_hammers_flags_or_dies(ask: Callable[[int], Outcome], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_refusals(ask)


# C5: the formula for k is asked only where it holds.


def check_k(plan_k: Callable[[float, int, float], int]) -> None:
    assert plan_k(0.99, 1_000_000, 0.95) == 4
    for hopeless in (0.4, 0.5, 0.0):
        try:
            k = plan_k(hopeless, 1_000, 0.95)
        except ValueError:
            continue
        raise AssertionError(f"with p={hopeless} no k helps, and k={k} was given")
    assert plan_k(1.0, 1_000_000, 0.95) == 1
    assert plan_k(0.999999999, 1, 0.5) >= 1


def test_c5_no_k_is_given_where_votes_cannot_help_and_p_of_1_needs_one() -> None:
    check_k(subjects.plan_k)


def test_c5_rejects_the_bare_formula() -> None:
    with pytest.raises(AssertionError, match="no k helps"):
        check_k(broken.plan_k_unguarded)


# C6: every vote ends, and where the margin was not reached nobody has won.


def check_bounds(elect: Callable[[Callable[[], Any], int, int], Election]) -> None:
    calls = 0

    def counted() -> None:
        nonlocal calls
        calls += 1
        assert calls <= 1_000, "a vote of at most 40 samples ends"

    def evenly() -> str:
        counted()
        return "ab"[calls % 2]

    def always() -> str:
        counted()
        return "a"

    def never() -> str:
        counted()
        raise ConnectionError("the provider is down")

    undecided = elect(evenly, 3, 40)
    assert undecided.winner is None, "a plurality is no winner"
    assert undecided.samples == calls == 40
    calls = 0
    assert elect(never, 3, 40).winner is None
    calls = 0
    assert elect(always, 3, 40) == ("a", 3)


def test_c6_a_vote_ends_at_its_cap_without_a_winner() -> None:
    check_bounds(subjects.elect)


def test_c6_rejects_a_silent_plurality() -> None:
    with pytest.raises(AssertionError, match="plurality"):
        check_bounds(broken.elect_or_take_the_plurality)


def test_c6_rejects_a_loop_that_does_not_count_what_failed() -> None:
    with pytest.raises(AssertionError, match="ends"):
        check_bounds(broken.elect_for_ever)


# C7: equal values have equal keys, different values different ones, and every JSON value has one.


def check_keys(key: Callable[[Any], Any]) -> None:
    nested = {"move": [1, {"from": "a", "to": ["b"]}], "n": None}
    try:
        assert hash(key(nested)) == hash(key(nested))
    except TypeError as error:
        raise AssertionError("nested lists have a key") from error
    turned = {"n": None, "move": [1, {"to": ["b"], "from": "a"}]}
    assert key(nested) == key(turned), "the order of an object's keys says nothing"
    assert key([1, 2]) != key([2, 1])
    assert key(9007199254740993) != key(9007199254740992), "integers are exact"
    assert key(True) != key(1), "true is no number"
    assert key("1") != key(1)


def test_c7_vote_keys_are_exact_and_do_not_depend_on_the_order_of_object_keys() -> None:
    check_keys(subjects.key)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (broken.key_by_text, "order of an object's keys"),
        (broken.key_by_float, "integers are exact"),
        (broken.key_by_hash, "nested lists"),
    ],
)
def test_c7_rejects_keys_by_text_by_float_and_by_hash(key: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_keys(key)


# C8: which answers come back sooner does not change who wins.


def check_latency(race: Callable[[Sequence[tuple[str, float]], int], str | None]) -> None:
    assert race([("right", 9.0), ("right", 8.0), *[("wrong", 0.1)] * 8], 2) == "right", "votes count as they were asked"
    law = random.Random(8)
    for _ in range(150):
        answers = ["right" if law.random() < 0.7 else "wrong" for _ in range(60)]
        even = [(answer, 1.0) for answer in answers]
        biased = [(answer, law.expovariate(1.0 if answer == "right" else 3.3)) for answer in answers]
        assert race(even, 3) == race(biased, 3), "speed does not change the winner"


def test_c8_wrong_answers_that_return_faster_do_not_change_the_winner() -> None:
    check_latency(subjects.race)


def test_c8_rejects_whoever_counts_votes_as_they_arrive() -> None:
    with pytest.raises(AssertionError, match="as they were asked"):
        check_latency(broken.race_by_arrival)


# C9: k votes are k replies; a server that answers the same request with the same reply is asked k different ones.


def check_independence(votes_through: Callable[[Server, int], int]) -> None:
    cache: dict[tuple[str, int | None, float | None], str] = {}
    law = random.Random(9)

    def server(prompt: str, seed: int | None, temperature: float | None) -> str:
        request = (prompt, seed, temperature)
        if request not in cache:
            cache[request] = "[1, 6]" if law.random() < 0.75 else "[2, 7]"
        return cache[request]

    for _ in range(20):
        cache.clear()
        votes = votes_through(server, 4)
        assert votes >= 4
        assert len(cache) == votes, "every vote was a reply of its own"


def test_c9_every_draw_has_a_seed_of_its_own() -> None:
    check_independence(subjects.votes_through)


def test_c9_rejects_k_votes_that_are_one_cached_reply() -> None:
    with pytest.raises(AssertionError, match="a reply of its own"):
        check_independence(broken.votes_without_seeds)


# C10: who is the same candidate is a matter of keys: an equivalence, whatever the order, without further calls.


def check_equality(candidates: Callable[[Sequence[str], Callable[[str, str], bool]], list[int]]) -> None:
    asked = 0

    def judge(a: str, b: str) -> bool:
        nonlocal asked
        asked += 1
        return abs(float(a) - float(b)) < 0.05

    tallies = {tuple(candidates(answers, judge)) for answers in permutations(["1.00", "1.04", "1.08", "1.00"])}
    assert len(tallies) == 1, "the tally does not depend on the order of the votes"
    assert tallies == {(2, 1, 1)}
    assert asked == 0, "no call is made to compare two votes"


def test_c10_candidates_are_told_apart_by_keys_and_not_by_a_judge() -> None:
    check_equality(subjects.candidates)


def test_c10_rejects_a_judge_of_pairs() -> None:
    with pytest.raises(AssertionError, match="order of the votes"):
        check_equality(broken.candidates_by_judge)


# C11: a prompt is a function of the state, and the state is of the task's size, not of the run's length.


def check_statelessness(prompts_of: Callable[[int], list[str]]) -> None:
    prompts = prompts_of(200)
    assert len(prompts) == 200
    assert max(map(len, prompts)) == max(map(len, prompts[:10])), "prompts do not grow"
    assert prompts[3] == prompts[8] == prompts[198], "the same state is asked in the same words"
    assert len(set(prompts)) == 5


def test_c11_the_next_prompt_depends_on_the_state_alone() -> None:
    check_statelessness(subjects.prompts_of)


def test_c11_rejects_a_state_that_remembers_every_action() -> None:
    with pytest.raises(AssertionError, match="do not grow"):
        check_statelessness(broken.prompts_with_history)


# C12: a reply is of the asked form or it is discarded; nothing is cut out of it and nothing is mended.


def check_strictness(read: Callable[[str], Any]) -> None:
    assert read('{"move": 1}') == {"move": 1}
    for reply in (
        'The next move is clear.\n```json\n{"move": 1}\n```\nShall I go on?',
        'I would say {"move": 2}, no: {"move": 1}',
        '{"move": 1} {"move": 2}',
        '{"move": 1',
        "{'move': 1}",
        '{"move": 1}\nDone!',
    ):
        try:
            value = read(reply)
        except ValueError:
            continue
        raise AssertionError(f"{reply!r} was salvaged as {value!r}")


def test_c12_prose_around_an_answer_discards_the_reply() -> None:
    check_strictness(subjects.read)


def test_c12_rejects_whoever_finds_an_answer_in_prose() -> None:
    with pytest.raises(AssertionError, match="was salvaged"):
        check_strictness(broken.read_what_can_be_found)
