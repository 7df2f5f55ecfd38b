"""The scripted model: what it says, when, and what it says when the script is over."""

from __future__ import annotations

import asyncio

import pytest

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.records import Draw, Request, Response, Usage
from mdap.models.scripted import Scripted, scripted
from tests.models.contract import ModelContract
from tests.models.toy import asked


async def _later(request: Request) -> str:
    await asyncio.sleep(60)
    return "late"


class TestContract(ModelContract):
    @pytest.fixture
    def model(self) -> Scripted:
        return scripted({step: f"<{step}>" for step in range(4)})

    @pytest.fixture
    def slow(self) -> Scripted:
        return scripted(_later)

    @pytest.fixture
    def failing(self) -> Scripted:
        return scripted([])


async def test_a_list_is_said_in_the_order_of_the_calls_and_what_was_asked_is_kept() -> None:
    model = scripted(["a", Response("b", "length", Usage(3, 4), "id-1")])
    said = [await model.complete(asked(7)), await model.complete(asked(8))]
    assert said == [Response("a"), Response("b", "length", Usage(3, 4), "id-1")]
    assert model.requests == [asked(7), asked(8)]


async def test_an_exception_in_the_script_is_raised() -> None:
    error = ModelError("overloaded", kind="429", status=429, retry_after=2.0)
    model = scripted([error, "then"])
    with pytest.raises(ModelError) as caught:
        await model.complete(asked(0))
    assert caught.value is error
    assert (await model.complete(asked(0))).text == "then"


async def test_a_script_that_is_used_up_says_how_many_replies_it_had_and_who_asked() -> None:
    model = scripted(["only"])
    await model.complete(asked(0))
    with pytest.raises(ModelRejected, match="has 1 replies, and one more was asked for: step 4, slot 2, redraw 1"):
        await model.complete(asked(4, 2, 1))
    assert len(model.requests) == 2


async def test_a_mapping_answers_by_draw_and_the_most_exact_key_counts() -> None:
    model = scripted({5: "step", (5, 1): "slot", (5, 1, 2): "redraw", Draw(5, 1, 2, 9): "row"})
    for draw, said in {(0, 0): "step", (1, 0): "slot", (1, 2): "redraw"}.items():
        assert (await model.complete(asked(5, *draw))).text == said
    plain = asked(5, 1, 2)
    row = Request(plain.prompt, Draw(5, 1, 2, 9), 1, None, 10)
    assert (await model.complete(row)).text == "row"


async def test_a_draw_that_a_mapping_does_not_hold_is_rejected_with_the_keys_that_would_do() -> None:
    with pytest.raises(ModelRejected, match=r"none for step 6, slot 1.*\(6, 1, 0\), \(6, 1\) or 6"):
        await scripted({5: "x"}).complete(asked(6, 1))


async def test_a_callable_is_asked_each_time_and_may_be_async_or_return_an_error() -> None:
    async def shout(request: Request) -> str:
        await asyncio.sleep(0)
        return request.messages[0].content.upper()

    assert (await scripted(shout).complete(asked(3))).text == "COUNT ON FROM 3"
    model = scripted([lambda request: ModelError(f"no {request.draw.step}"), shout])
    with pytest.raises(ModelError, match="no 3"):
        await model.complete(asked(3))
    assert (await model.complete(asked(4))).text == "COUNT ON FROM 4"


async def test_what_a_callable_must_not_say_is_rejected_with_the_draw() -> None:
    with pytest.raises(ModelRejected, match=r"said 17 \(int\) for step 3, slot 0"):
        await scripted(lambda _: 17).complete(asked(3))


@pytest.mark.parametrize("replies", ["text", 17, [17], [ValueError], {"a": "b"}, {(1,): "b"}, {1: 2}])
def test_a_script_of_another_type_is_refused_before_any_call(replies: object) -> None:
    with pytest.raises(UsageError):
        scripted(replies)  # type: ignore[arg-type]
