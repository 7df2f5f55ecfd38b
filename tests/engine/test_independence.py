"""The alarm for votes that are not drawn anew: what is evidence, how often it is wrong, and that no vote is dropped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import Stop
from mdap.core.keyed import uniforms
from mdap.core.records import Draw, Message, Prompt, Request, Response
from mdap.engine.independence import AGREEMENT, LONG, REMEMBERED, Independence
from mdap.journal import open_journal
from tests.engine.support import Chancy, Pairs, exported

SEEDS = 200


def request(step: int, slot: int, temperature: float | None = 0.7) -> Request:
    return Request(Prompt((Message("user", "q"),), str(step)), Draw(step, slot), slot, temperature, 1_000)


def see(alarm: Independence, replies: list[list[str]], temperature: float | None = 0.7) -> int | None:
    """The step at which the alarm stops these replies, by ballot, or None."""
    for step, texts in enumerate(replies):
        for slot, text in enumerate(texts):
            try:
                alarm.see(request(step, slot, temperature), Response(text))
            except Stop:
                return step
    return None


def honest(seed: int, steps: int, tokens: int, slots: int = 3) -> list[list[str]]:
    """Replies of `tokens` tokens; two of one ballot are alike as often as the alarm grants that honest ones may be."""
    told = []
    alike = AGREEMENT ** (tokens / 2)  # both must take the usual way
    for step in range(steps):
        luck = uniforms(b"honest %d %d" % (seed, step), slots)
        usual = f"{step:04d}" * tokens
        told.append([usual if number < alike else f"{slot:04d}" + usual[4:] for slot, number in enumerate(luck)])
    return told


def cached(steps: int, tokens: int, slots: int = 3) -> list[list[str]]:
    return [[f"{step:04d}" * tokens] * slots for step in range(steps)]


@pytest.mark.parametrize("tokens", [LONG, 150, 400])
def test_honest_replies_raise_a_false_alarm_in_at_most_5_percent_of_200_runs(tokens: int) -> None:
    alarms = [see(Independence(), honest(seed, 60, tokens)) is not None for seed in range(SEEDS)]
    assert sum(alarms) <= 0.05 * SEEDS


def test_the_bound_on_false_alarms_is_near_enough_to_be_broken_by_a_threshold_that_is_too_low() -> None:
    def is_hasty(seed: int) -> bool:
        """The broken twin: stops at three equal pairs in a row."""
        pairs = [text == texts[0] for texts in honest(seed, 60, LONG) for text in texts[1:]]
        return any(all(pairs[at : at + 3]) for at in range(len(pairs) - 2))

    assert sum(map(is_hasty, range(SEEDS))) > 0.5 * SEEDS


@pytest.mark.parametrize("warm_up", [0, 30])
def test_a_cache_is_found_in_at_least_95_percent_of_200_runs_also_one_that_comes_later(warm_up: int) -> None:
    found = 0
    for seed in range(SEEDS):
        stopped = see(Independence(), honest(seed, warm_up, LONG) + cached(40, LONG))
        found += stopped is not None and stopped >= 0
    assert found >= 0.95 * SEEDS


@pytest.mark.parametrize(("tokens", "ballots"), [(LONG, 10), (200, 5), (1_000, 1)])
def test_the_longer_the_replies_the_fewer_it_takes(tokens: int, ballots: int) -> None:
    stopped = see(Independence(), cached(50, tokens))
    assert stopped is not None
    assert stopped < ballots


def test_short_right_answers_may_be_alike_for_ever() -> None:
    assert see(Independence(), [["move = [1, 0, 2]"] * 5] * 2_000) is None
    assert see(Independence(), [["x" * (4 * LONG - 1)] * 5] * 500) is None


def test_at_temperature_0_replies_are_alike_by_nature_and_without_one_they_are_not() -> None:
    assert see(Independence(), cached(50, 500), temperature=0.0) is None
    assert see(Independence(), cached(50, 500), temperature=None) is not None


def test_replies_to_different_prompts_may_be_alike() -> None:
    assert see(Independence(), [["the same long answer " * 50]] * 500) is None


@pytest.mark.parametrize("alarm", [Independence(is_seeded=True), Independence(allow_identical=True)])
def test_texts_say_nothing_of_a_seeded_model_or_where_the_user_allows_it(alarm: Independence) -> None:
    assert see(alarm, cached(50, 1_000)) is None
    with pytest.raises(Stop):
        alarm.see(request(60, 0), Response("x", from_cache=True))


def test_a_header_of_a_cache_is_enough() -> None:
    with pytest.raises(Stop, match=r"step 3: votes are not independent: a header.*mdap probe"):
        Independence().see(request(3, 0), Response("x", from_cache=True))


@pytest.mark.parametrize(
    "name", ["chatcmpl-BxYz3kQ9wLm2", "msg_01XFDUDYJgAACzvnptvVoYEL", "4b1f0c3a-9d2e-4c11", "gen-1764-aB3dE6gH9jK2#1"]
)
def test_a_repeated_id_is_enough_if_it_was_drawn_at_random(name: str) -> None:
    alarm = Independence()
    alarm.see(request(1, 0), Response("x", id=name))
    with pytest.raises(Stop, match=r"id .* so had one of this step"):
        alarm.see(request(1, 1), Response("y", id=name))


@pytest.mark.parametrize("name", ["chatcmpl-999", "1764000000000", "chatcmpl-1764000000000", "chatcmpl-4b1f0c3a9d", ""])
def test_ids_that_count_or_tell_the_time_repeat_by_nature(name: str) -> None:
    alarm = Independence()
    for slot in range(5):
        alarm.see(request(1, slot), Response("x", id=name))


def test_an_id_is_remembered_for_a_while_and_no_longer() -> None:
    def asked(gap: int) -> bool:
        alarm = Independence()
        for step in range(gap):
            alarm.see(request(step, 0), Response("x", id=f"chatcmpl-aaaaaaaaaaaa{step:06d}"))
        try:
            alarm.see(request(gap, 0), Response("x", id="chatcmpl-aaaaaaaaaaaa000000"))
        except Stop:
            return True
        return False

    assert asked(REMEMBERED)
    assert not asked(REMEMBERED + 1)
    assert asked(1)


class Cached(Chancy):
    """A model behind a cache that wakes at step 3: the same id again and again."""

    spec = "cached"

    async def complete(self, request: Request) -> Response:
        response = await super().complete(request)
        if request.draw.step < 3:
            return response
        return Response(response.text, response.finish, response.usage, "chatcmpl-0123456789abcdef")


def test_the_run_stops_by_name_with_every_vote_kept_and_can_go_on() -> None:
    journal, options = open_journal(None), {"k": 3, "record": "samples"}
    stopped = run_virtual(api.run(Pairs(6), Cached(p=0.9), journal=journal, **options))  # type: ignore[arg-type]
    assert (stopped.status, stopped.steps) == ("stopped", 3)
    assert "votes are not independent" in stopped.reason
    assert "mdap probe" in stopped.reason
    ballot = stopped.book.ballot
    assert ballot is not None
    assert len(ballot.votes) == ballot.taken == 3, "a vote was dropped"
    resumed = run_virtual(api.resume(stopped.run, journal=journal, task=Pairs(6), model=named(Chancy(p=0.9))))
    whole = run_virtual(api.run(Pairs(6), Chancy(p=0.9), **options))  # type: ignore[arg-type]
    assert exported(resumed) == exported(whole)


def named(model: Chancy) -> Chancy:
    model.spec = "cached"
    return model


async def test_a_server_that_ignores_seeds_stops_the_run_before_a_step_is_decided_on_its_votes() -> None:
    from mdap.models import openai
    from mdap.models.simulated import simulated
    from mdap.serve import serve
    from mdap.tasks.catalog import task

    hanoi = task("hanoi:disks=5")
    async with await serve(simulated(p=0.9), task=hanoi, ignore_seed=True) as at:
        model = openai("any", base_url=at.url)
        try:
            result = await asyncio.wait_for(api.run(hanoi, model, k=3), 20)
        finally:
            await model.close()
    assert (result.status, result.steps) == ("stopped", 0)
    assert "votes are not independent" in result.reason


def test_a_run_of_an_honest_model_is_not_disturbed() -> None:
    options: Any = {"k": 3}
    assert run_virtual(api.run(Pairs(20), Chancy(p=0.8), **options)).status == "done"
