"""Places: no more are taken than there are, nobody overtakes, and none is lost with whoever gives up waiting."""

from __future__ import annotations

import asyncio
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from mdap.engine.places import Places


async def test_who_comes_when_all_are_taken_waits_and_gets_one_in_order_of_coming() -> None:
    places, came = Places(1), []

    async def caller(name: str) -> None:
        if not places.take():
            await places.wait()
        came.append(name)

    assert places.take()
    callers = [asyncio.create_task(caller(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert (came, places.is_awaited) == ([], True)
    for done in ("a", "ab", "abc"):
        places.leave()
        await asyncio.sleep(0)
        assert (came, places.taken) == (list(done), 1)
    await asyncio.gather(*callers)


async def test_a_free_place_is_not_given_past_those_who_wait() -> None:
    places = Places(1)
    assert places.take()
    waiting = asyncio.create_task(places.wait())
    await asyncio.sleep(0)
    # More than before, and nobody has handed it on yet: it still belongs to whoever waits.
    places.allowed = 2
    assert not places.take()
    places.hand_on()
    await waiting
    assert places.taken == 2


async def test_fewer_places_than_are_taken_let_nobody_in_until_enough_have_left() -> None:
    places = Places(3)
    assert [places.take() for _ in range(3)] == [True] * 3
    places.allowed = 1.5
    waiting = asyncio.create_task(places.wait())
    await asyncio.sleep(0)
    for _ in range(2):
        places.leave()
        await asyncio.sleep(0)
        assert not waiting.done()
    places.leave()
    await waiting
    assert places.taken == 1


@given(st.integers(1, 4), st.lists(st.sampled_from(["come", "leave", "cancel"]), max_size=60))
def test_whatever_happens_places_are_kept_to_and_none_is_lost(allowed: int, events: list[str]) -> None:
    async def main() -> None:
        places, waiting = Places(allowed), deque[asyncio.Task[None]]()
        inside = 0
        for event in events:
            if event == "come":
                if places.take():
                    inside += 1
                else:
                    waiting.append(asyncio.create_task(places.wait()))
            elif event == "leave" and inside:
                places.leave()
                inside -= 1
            elif event == "cancel" and waiting:
                # In the very turn in which a place may have been handed to it.
                waiting.pop().cancel()
            await asyncio.sleep(0)
            got = [task for task in waiting if task.done()]
            inside += len(got)
            waiting = deque(task for task in waiting if not task.done())
            assert places.taken == inside <= allowed
            assert not waiting or inside == allowed
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert places.taken == inside

    asyncio.run(main())
