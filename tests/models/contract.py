"""What every model keeps: inherit `ModelContract`, give it the fixtures, and each test runs against the model.

Fixtures to give: `model`, answering `self.request(...)`; `slow`, a model whose calls take a minute or more;
`failing`, one whose calls fail. They may be async and close what they opened.
"""

from __future__ import annotations

import asyncio
import time
from typing import get_args

import pytest

from mdap.core.errors import ModelError
from mdap.core.records import Finish, Request, Response
from mdap.protocols import Model
from tests.models.toy import asked


class ModelContract:
    """Inherit it, and define the fixtures `model`, `slow` and `failing`."""

    def request(self, step: int, slot: int = 0, redraw: int = 0) -> Request:
        """A request that `model` answers; override where the toy task's will not do."""
        return asked(step, slot, redraw)

    def many(self) -> list[Request]:
        """Forty draws, ten of each of four steps."""
        return [self.request(step, slot) for step in range(4) for slot in range(10)]

    def test_it_is_a_model_and_says_how_it_is_written(self, model: Model) -> None:
        assert isinstance(model, Model)
        assert model.spec
        assert model.spec == model.spec.strip()

    async def test_a_reply_has_text_a_known_finish_and_no_negative_usage(self, model: Model) -> None:
        for request in self.many():
            reply = await model.complete(request)
            assert isinstance(reply, Response)
            assert isinstance(reply.text, str)
            assert reply.finish in get_args(Finish)
            assert reply.usage is None or (reply.usage.tokens_in >= 0 and reply.usage.tokens_out >= 0)

    async def test_the_same_request_has_the_same_reply(self, model: Model) -> None:
        first = [await model.complete(request) for request in self.many()]
        again = [await model.complete(request) for request in reversed(self.many())]
        assert first == again[::-1]

    async def test_a_reply_does_not_depend_on_what_is_asked_at_the_same_time(self, model: Model) -> None:
        alone = [await model.complete(request) for request in self.many()]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(model.complete(request)) for request in self.many()]
        assert [task.result() for task in tasks] == alone

    async def test_cancelling_a_call_ends_it_at_once(self, slow: Model) -> None:
        call = asyncio.ensure_future(slow.complete(self.request(0)))
        await asyncio.sleep(0.02)
        assert not call.done()
        began = time.perf_counter()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.perf_counter() - began < 0.5

    async def test_what_goes_wrong_is_a_model_error_that_says_what_to_do(self, failing: Model) -> None:
        with pytest.raises(ModelError) as caught:
            await failing.complete(self.request(0))
        assert caught.value.message
        assert isinstance(caught.value.retryable, bool)

    async def test_it_goes_on_after_a_failed_call_as_before(self, model: Model, failing: Model) -> None:
        before = await model.complete(self.request(1))
        with pytest.raises(ModelError):
            await failing.complete(self.request(1))
        assert await model.complete(self.request(1)) == before
