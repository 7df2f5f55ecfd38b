"""Model objects of other libraries as models of ours: litellm's and pydantic-ai's. Neither library is needed.

What is called is what their documents describe: litellm 1.x `acompletion(model=, messages=, ...)`, of the package or of
a Router, and pydantic-ai 1.x and 2.x `direct.model_request(model, messages, model_settings=)` (read 2026-11).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import SimpleNamespace, TracebackType
from typing import Any

from mdap.core.errors import ModelError, ModelRejected, UsageError
from mdap.core.foreign import BUGS
from mdap.core.records import Finish, Message, Request, Response, Usage
from mdap.core.secrets import redacted
from mdap.models.adaptive import Adaptive
from mdap.models.profiles import Profile, profile_of
from mdap.models.refusals import Told, refused_parameter
from mdap.protocols import Model


def as_foreign(given: Any) -> Model | None:
    """Return a model made of another library's object, by what it can do; None where it is none that is known.

    A pydantic-ai `Model`, or a litellm `Router` that has one model. Raises UsageError for a Router with several.
    """
    # By what it can do: to test for its class the library would have to be imported.
    if callable(getattr(given, "request", None)) and isinstance(getattr(given, "model_name", None), str):
        return pydantic_ai_model(given)
    if callable(getattr(given, "acompletion", None)) and callable(getattr(given, "get_model_names", None)):
        # Several deployments of one model share its name.
        names = sorted(set(given.get_model_names()))
        if len(names) != 1:
            raise UsageError(
                f"the router has {len(names)} models: {', '.join(names)}",
                remedy="name one: mdap.models.foreign_models.litellm_model(router, NAME)",
            )
        return litellm_model(given, names[0])
    return None


def litellm_model(caller: Any, model: str) -> LiteLLM:
    """Return a model that `caller.acompletion` is called for: the litellm package itself, or a Router of it."""
    if not callable(getattr(caller, "acompletion", None)):
        raise UsageError(f"{caller!r} has no acompletion", remedy="give the package litellm, or a Router of it")
    return LiteLLM(caller, model)


def pydantic_ai_model(model: Any, library: Any = None) -> PydanticAI:
    """Return a model made of a pydantic-ai `Model`.

    `library` holds `model_request` and the classes of messages; by default they are those of the installed package.
    Raises UsageError if that is not there.
    """
    return PydanticAI(model, _pydantic_ai() if library is None else library)


class _Foreign(Adaptive):
    """Calls another library once for a reply; what it raises becomes a ModelError. Subclasses ask and read."""

    def __init__(self, spec: str, name: str) -> None:
        self.spec = spec
        # The library may ask any vendor, so nothing counts but careful defaults and what is known of the family.
        self.profile = profile_of("openai", name, own_address=False)

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    async def complete(self, request: Request) -> Response:
        """Make one call; raises ModelError to be tried again, or ModelRejected, with the library's words."""
        # As it is when the call is written: it may narrow meanwhile, and a refusal is about what was sent.
        profile = self.profile
        with _Border(self, profile, request):
            return self._read(await self._call(request, self._settings(request, profile)))

    async def _call(self, request: Request, settings: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _read(self, reply: Any) -> Response:
        raise NotImplementedError

    def _settings(self, request: Request, profile: Profile) -> dict[str, Any]:
        # Neither a schema nor n: each library has its own way with them, and votes need neither.
        settings: dict[str, Any] = {"max_tokens": request.max_tokens}
        if profile.seed:
            settings["seed"] = request.seed
        if profile.temperature and request.temperature is not None:
            settings["temperature"] = request.temperature
        return settings


class LiteLLM(_Foreign):
    """A model behind litellm; see `litellm_model`."""

    def __init__(self, caller: Any, model: str) -> None:
        super().__init__(f"litellm:{model}", model)
        self._caller = caller
        self._model = model

    async def _call(self, request: Request, settings: dict[str, Any]) -> Any:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        # Its own retries would be calls that no budget has heard of.
        return await self._caller.acompletion(model=self._model, messages=messages, num_retries=0, **settings)

    def _read(self, reply: Any) -> Response:
        if not reply.choices:
            raise ModelError(f"the reply of {self.spec} has no choices", kind="garbage")
        choice = reply.choices[0]
        usage = getattr(reply, "usage", None)
        return Response(
            # None stands for no text, which is a red flag's business and no failure of the call.
            choice.message.content or "",
            _finish(choice.finish_reason),
            None
            if usage is None
            else Usage(
                usage.prompt_tokens,
                usage.completion_tokens,
                cached=_count(usage, "prompt_tokens_details", "cached_tokens"),
                cache_written=_count(usage, "prompt_tokens_details", "cache_creation_tokens"),
                reasoning=_count(usage, "completion_tokens_details", "reasoning_tokens"),
            ),
            getattr(reply, "id", None) or "",
            model=getattr(reply, "model", None) or "",
        )


class PydanticAI(_Foreign):
    """A model of pydantic-ai; see `pydantic_ai_model`."""

    def __init__(self, model: Any, library: Any) -> None:
        super().__init__(f"pydantic_ai:{model.model_name}", model.model_name)
        self._model = model
        self._library = library

    async def _call(self, request: Request, settings: dict[str, Any]) -> Any:
        messages = [self._message(message) for message in request.messages]
        return await self._library.model_request(self._model, messages, model_settings=settings)

    def _message(self, message: Message) -> Any:
        library = self._library
        if message.role == "assistant":
            return library.ModelResponse(parts=[library.TextPart(content=message.content)])
        part = library.SystemPromptPart if message.role == "system" else library.UserPromptPart
        return library.ModelRequest(parts=[part(content=message.content)])

    def _read(self, reply: Any) -> Response:
        usage = getattr(reply, "usage", None)
        return Response(
            # Thoughts and calls of tools are parts, too, and no part of what is voted on.
            "".join(part.content for part in reply.parts if part.part_kind == "text"),
            _finish(getattr(reply, "finish_reason", None)),
            None
            if usage is None
            else Usage(
                usage.input_tokens,
                usage.output_tokens,
                cached=getattr(usage, "cache_read_tokens", 0),
                cache_written=getattr(usage, "cache_write_tokens", 0),
                reasoning=(getattr(usage, "details", None) or {}).get("reasoning_tokens", 0),
            ),
            getattr(reply, "provider_response_id", None) or "",
            model=getattr(reply, "model_name", None) or "",
        )


def _pydantic_ai() -> SimpleNamespace:
    try:
        direct = importlib.import_module("pydantic_ai.direct")
        messages = importlib.import_module("pydantic_ai.messages")
    except ImportError as error:
        raise UsageError(f"pydantic-ai cannot be imported: {error}", remedy="pip install pydantic-ai-slim") from None
    names = ("ModelRequest", "ModelResponse", "SystemPromptPart", "UserPromptPart", "TextPart")
    found = {name: getattr(messages, name) for name in names}
    return SimpleNamespace(model_request=direct.model_request, **found)


_FINISH: Mapping[str, Finish] = {"length": "length", "content_filter": "refusal"}


def _finish(reason: str | None) -> Finish:
    # What was written until then is not the model's answer, so it must not be voted on.
    if reason == "error":
        raise ModelError("the reply was given up: finish reason error", kind="aborted")
    return _FINISH.get(reason or "", "stop")


def _count(usage: Any, details: str, name: str) -> int:
    # Not every version, and not every vendor behind it, counts these; None means the same as absent.
    return getattr(getattr(usage, details, None), name, None) or 0


class _Border:
    """A context in which what the other library raises becomes a ModelError of this model; cancellation passes."""

    def __init__(self, model: _Foreign, profile: Profile, request: Request) -> None:
        self._model, self._profile, self._request = model, profile, request

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: type | None, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, ModelError):
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> ModelError:
        status = getattr(error, "status_code", None)
        words = f"{type(error).__name__}: {redacted(str(error))}"
        # Both libraries put the status of HTTP there; what has none did not come from a server.
        if isinstance(status, int):
            return self._refused(status, words)
        message = f"{self._model.spec} raised {words}"
        # A bug will be there the next time as well.
        if isinstance(error, BUGS):
            return ModelRejected(message, kind="failed", remedy="mend it and go on with `mdap resume RUN`")
        return ModelError(message, kind="timeout" if isinstance(error, TimeoutError) else "failed")

    def _refused(self, status: int, words: str) -> ModelError:
        sent = ["seed"] * self._profile.seed
        sent += ["temperature"] * (self._profile.temperature and self._request.temperature is not None)
        # Of the body only the words are left by now, so it is by them that a parameter is recognised.
        if status in (400, 422) and (name := refused_parameter(Told(words), sent)) is not None:
            adapted = self._model.adapted(name, self._profile, words, status)
            if adapted is not None:
                return adapted
        message = f"{self._model.spec} raised {words}"
        # What may have been the moment; every other refusal would come again.
        if status in (408, 409, 425, 429) or status >= 500:
            return ModelError(message, kind=str(status), status=status)
        return ModelRejected(
            message, kind=str(status), status=status, remedy="is the library set up as its own documents say?"
        )
