"""Models of other libraries, called as their documents describe it. The stand-ins here have the documented signatures:

litellm 1.106, "completion" and "Router" (docs.litellm.ai); pydantic-ai 2.68, `pydantic_ai.direct` and
`pydantic_ai.messages` (ai.pydantic.dev); both read 2026-11-20.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.records import Draw, Message, Prompt, Request, Usage
from mdap.models.catalog import as_model
from mdap.models.foreign_models import as_foreign, litellm_model, pydantic_ai_model
from tests.models.raw_server import asking


class ServiceError(Exception):
    """As litellm's and pydantic-ai's errors of a provider: it carries the status."""

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class Router:
    """As litellm's Router: several deployments behind one `acompletion`."""

    def __init__(self, *names: str, fails: tuple[Exception, ...] = (), finish: str = "stop") -> None:
        self.names = names
        self.fails = list(fails)
        self.finish = finish
        self.calls: list[dict[str, Any]] = []

    def get_model_names(self) -> list[str]:
        return list(self.names)

    async def acompletion(
        self, model: str, messages: list[dict[str, str]], stream: bool = False, **kwargs: Any
    ) -> SimpleNamespace:
        self.calls.append({"model": model, "messages": messages, **kwargs})
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        message = SimpleNamespace(role="assistant", content=messages[-1]["content"].upper())
        return SimpleNamespace(
            id="chatcmpl-1",
            model="gpt-4.1-2025-04-14",
            choices=[SimpleNamespace(index=0, message=message, finish_reason=self.finish)],
            usage=SimpleNamespace(
                prompt_tokens=12,
                completion_tokens=5,
                prompt_tokens_details=SimpleNamespace(cached_tokens=4, cache_creation_tokens=None),
                completion_tokens_details=None,
            ),
        )


@dataclass
class Part:
    content: str
    part_kind: str = "text"


@dataclass
class SystemPart(Part):
    part_kind: str = "system-prompt"


@dataclass
class UserPart(Part):
    part_kind: str = "user-prompt"


@dataclass
class Asked:
    parts: list[Part]


@dataclass
class RequestUsage:
    input_tokens: int = 20
    output_tokens: int = 9
    cache_read_tokens: int = 8
    cache_write_tokens: int = 2
    details: dict[str, int] = field(default_factory=lambda: {"reasoning_tokens": 6})


@dataclass
class Answered:
    parts: list[Part]
    usage: RequestUsage = field(default_factory=RequestUsage)
    model_name: str = "claude-haiku-4-5"
    finish_reason: str | None = "stop"
    provider_response_id: str | None = "msg_1"


class TestModel:
    """As a pydantic-ai Model: `model_name`, and `request(messages, model_settings, model_request_parameters)`."""

    __test__ = False
    model_name = "claude-haiku-4-5"

    def __init__(self, finish: str | None = "stop", fails: Exception | None = None) -> None:
        self.finish = finish
        self.fails = fails
        self.calls: list[tuple[list[Any], Any]] = []

    async def request(self, messages: list[Any], model_settings: Any, model_request_parameters: Any) -> Answered:
        self.calls.append((messages, model_settings))
        if self.fails is not None:
            raise self.fails
        said = messages[-1].parts[-1].content.upper()
        return Answered([Part("hm", "thinking"), Part(said[:2]), Part(said[2:])], finish_reason=self.finish)


async def model_request(
    model: TestModel, messages: list[Any], *, model_settings: Any = None, model_request_parameters: Any = None
) -> Answered:
    return await model.request(messages, model_settings, model_request_parameters)


LIBRARY = SimpleNamespace(
    model_request=model_request,
    ModelRequest=Asked,
    ModelResponse=Answered,
    SystemPromptPart=SystemPart,
    UserPromptPart=UserPart,
    TextPart=Part,
)


def talk() -> Request:
    messages = (
        Message("system", "be brief"),
        Message("user", "one"),
        Message("assistant", "ok"),
        Message("user", "two"),
    )
    return Request(Prompt(messages, ""), Draw(0, 0), 7, 0.5, 30)


async def test_a_router_is_asked_as_its_documents_say_and_retries_nothing_itself() -> None:
    router = Router("fast")
    reply = await litellm_model(router, "fast").complete(talk())
    (call,) = router.calls
    assert [message["role"] for message in call.pop("messages")] == ["system", "user", "assistant", "user"]
    assert call == {"model": "fast", "max_tokens": 30, "seed": 7, "temperature": 0.5, "num_retries": 0}
    assert (reply.text, reply.finish, reply.id, reply.model) == ("TWO", "stop", "chatcmpl-1", "gpt-4.1-2025-04-14")
    assert reply.usage == Usage(12, 5, cached=4)


async def test_a_model_of_pydantic_ai_is_asked_with_its_own_messages_and_settings() -> None:
    inner = TestModel()
    reply = await pydantic_ai_model(inner, LIBRARY).complete(talk())
    ((messages, settings),) = inner.calls
    assert [(type(m).__name__, type(m.parts[0]).__name__, m.parts[0].content) for m in messages] == [
        ("Asked", "SystemPart", "be brief"),
        ("Asked", "UserPart", "one"),
        ("Answered", "Part", "ok"),
        ("Asked", "UserPart", "two"),
    ]
    assert settings == {"max_tokens": 30, "temperature": 0.5}  # its vendor knows no seeds
    assert (reply.text, reply.finish, reply.id, reply.model) == ("TWO", "stop", "msg_1", "claude-haiku-4-5")
    assert reply.usage == Usage(20, 9, cached=8, cache_written=2, reasoning=6)


@pytest.mark.parametrize(("word", "finish"), [("length", "length"), ("content_filter", "refusal"), (None, "stop")])
async def test_finish_reasons_of_both_are_read_as_ours(word: Any, finish: str) -> None:
    assert (await litellm_model(Router("m", finish=word), "m").complete(asking())).finish == finish
    assert (await pydantic_ai_model(TestModel(word), LIBRARY).complete(asking())).finish == finish


async def test_a_reply_that_was_given_up_is_asked_again() -> None:
    with pytest.raises(ModelError, match="given up") as caught:
        await pydantic_ai_model(TestModel("error"), LIBRARY).complete(asking())
    assert (caught.value.kind, caught.value.retryable) == ("aborted", True)


def test_an_object_is_known_by_what_it_can_do() -> None:
    assert as_model(Router("only")).spec == "litellm:only"  # type: ignore[arg-type]
    assert as_foreign(object()) is None
    assert as_foreign(lambda prompt: prompt) is None
    with pytest.raises(UsageError, match=r"2 models: a, b.*litellm_model"):
        as_model(Router("b", "a"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no acompletion"):
        litellm_model(object(), "m")


@pytest.mark.skipif(find_spec("pydantic_ai") is not None, reason="pydantic-ai is installed here")
def test_pydantic_ai_that_is_not_installed_is_said_to_be_missing() -> None:
    with pytest.raises(UsageError, match="pip install pydantic-ai-slim"):
        as_model(TestModel())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "kind", "again"),
    [
        (ServiceError("rate limit", 429), "429", True),
        (ServiceError("overloaded", 529), "529", True),
        (ServiceError("bad key", 401), "401", False),
        (ServiceError("context window exceeded", 400), "400", False),
        (TimeoutError("slow"), "timeout", True),
        (ConnectionError("reset"), "failed", True),
        (TypeError("acompletion() got an unexpected keyword"), "failed", False),
    ],
)
async def test_what_the_library_raises_is_a_model_error_of_its_kind(error: Exception, kind: str, again: bool) -> None:
    for model in (litellm_model(Router("m", fails=(error,)), "m"), pydantic_ai_model(TestModel(fails=error), LIBRARY)):
        with pytest.raises(ModelError) as caught:
            await model.complete(asking())
        assert (caught.value.kind, caught.value.retryable) == (kind, again)
        assert isinstance(caught.value, ModelRejected) is not again
        assert str(error) in caught.value.message


async def test_cancelling_passes_through() -> None:
    class Slow(Router):
        async def acompletion(self, *args: Any, **kwargs: Any) -> SimpleNamespace:
            await asyncio.sleep(60)
            raise AssertionError

    call = asyncio.create_task(litellm_model(Slow("m"), "m").complete(asking()))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_parameter_that_the_library_says_is_not_supported_is_left_out_from_then_on() -> None:
    words = "litellm.UnsupportedParamsError: openai does not support parameters: ['temperature'], for model=m."
    router = Router("m", fails=(ServiceError(words, 400),))
    model = litellm_model(router, "m")
    with pytest.raises(ModelError) as caught:
        await model.complete(asking(temperature=0.1))
    assert (caught.value.kind, model.adaptations) == ("adapted", ("temperature",))
    assert (await model.complete(asking(temperature=0.1))).text
    assert ["temperature" in call for call in router.calls] == [True, False]


async def test_a_family_that_takes_no_temperature_is_not_sent_one_through_a_library_either() -> None:
    router = Router("anthropic/claude-opus-4-7")
    model = as_model(router)  # type: ignore[arg-type]
    await model.complete(asking(temperature=0.1))
    assert router.calls[0].keys() == {"model", "messages", "max_tokens", "num_retries"}
