"""The Google generateContent dialect: how a request is written, and how candidates and finish reasons are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from mdap.core.records import Finish, Message, Request, Response, Usage
from mdap.models.http import Tape
from mdap.models.profiles import PARAMETERS, Profile
from mdap.models.remote import Remote, link
from mdap.models.reported import Count, usage_of


def google(
    model: str,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 600.0,
    logprobs: bool = False,
    record_http: str | Tape | None = None,
    replay_http: str | Tape | None = None,
) -> GenerateContent:
    """Return a model behind Google's generateContent endpoint.

    `base_url` ends before /v1beta (default: GOOGLE_GEMINI_BASE_URL, else the vendor's own); `api_key` defaults to
    GEMINI_API_KEY, else GOOGLE_API_KEY. For the other arguments, and what is raised, see `mdap.models.openai.openai`.
    """
    return GenerateContent(link("google", model, base_url, api_key, timeout, logprobs, record_http, replay_http))


class GenerateContent(Remote):
    """A model that speaks generateContent."""

    noun = "a generated content"
    writes = frozenset(PARAMETERS) - {"max_tokens"}
    ending = "the base URL ends before /v1beta"

    def path(self) -> str:
        """Return the path of the endpoint; the model is part of it."""
        # Base URLs are in use with the version and without it; tuned models have a collection of their own.
        version = "" if self.base_url.endswith(("/v1beta", "/v1")) else "/v1beta"
        # quote leaves slashes alone, and so the collection in front of the name.
        name = self.model if self.model.startswith(("models/", "tunedModels/")) else f"models/{self.model}"
        return f"{version}/{quote(name)}:generateContent"

    def auth(self, key: str) -> Mapping[str, str]:
        """Return the key in its own header: in the address it would end up in logs."""
        return {"x-goog-api-key": key}

    def write(self, request: Request, profile: Profile, n: int) -> bytes:
        """Return the body of a request; what the system says stands apart from the contents."""
        config = _Config(request.max_tokens)
        if profile.temperature and request.temperature is not None:
            config.temperature = request.temperature
        # One seed cannot be that of several draws.
        if profile.seed and n == 1:
            config.seed = request.seed
        if n > 1:
            config.candidate_count = n
        if self.logprobs and profile.logprobs:
            config.response_logprobs = True
        if request.schema is not None and profile.json_schema:
            # A schema counts only beside this media type; alone it is refused.
            config.response_mime_type = "application/json"
            config.response_json_schema = request.schema
        said = [message for message in request.messages if message.role != "system"]
        body = _Body([_content(message) for message in said], config)
        if len(said) < len(request.messages):
            told = [_Part(message.content) for message in request.messages if message.role == "system"]
            body.system_instruction = {"parts": told}
        return _encode(body)

    def read(self, body: bytes) -> list[Response] | int:
        """Return the candidates in a body; all of its tokens are in the usage of each."""
        generated = _decode(body)
        usage, id, model = _usage(generated.usage_metadata), generated.response_id or "", generated.model_version or ""
        if generated.candidates:
            # Slots are filled in the order of the index, which is left out where it is 0, as Protocol Buffers do.
            ordered = sorted(generated.candidates, key=lambda candidate: candidate.index)
            return [_response(candidate, usage, id, model) for candidate in ordered]
        # The prompt itself was refused, so there is no candidate that could say so.
        if generated.prompt_feedback is not None and generated.prompt_feedback.block_reason:
            return [Response("", "refusal", usage, id, None, model)]
        if generated.error is not None:
            # Codes in the body are those of HTTP; what has none is taken for a 500, and asked again.
            code = generated.error.get("code") if isinstance(generated.error, dict) else None
            return code if isinstance(code, int) and 400 <= code < 600 else 500
        raise ValueError("it has no candidates")


# Written and read: omit_defaults keeps `thought`, a field of replies, out of requests.
class _Part(msgspec.Struct, gc=False, omit_defaults=True):
    text: str | None = None
    thought: bool = False


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None
    role: str = "user"


class _Config(msgspec.Struct, gc=False, rename="camel"):
    max_output_tokens: int
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    seed: int | msgspec.UnsetType = msgspec.UNSET
    candidate_count: int | msgspec.UnsetType = msgspec.UNSET
    response_logprobs: bool | msgspec.UnsetType = msgspec.UNSET
    response_mime_type: str | msgspec.UnsetType = msgspec.UNSET
    response_json_schema: Any = msgspec.UNSET


class _Body(msgspec.Struct, gc=False, rename="camel"):
    contents: list[_Content]
    generation_config: _Config
    system_instruction: Any = msgspec.UNSET


class _Chosen(msgspec.Struct, gc=False, rename="camel"):
    log_probability: float | None = None


class _Logprobs(msgspec.Struct, gc=False, rename="camel"):
    chosen_candidates: list[_Chosen] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int = 0
    logprobs_result: _Logprobs | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Usage(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None


class _Generated(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    response_id: str | None = None
    model_version: str | None = None
    error: Any = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Generated).decode

# A word that is not here (STOP, OTHER, MALFORMED_FUNCTION_CALL) counts as "stop": the parser judges what there is.
_FINISH: Mapping[str, Finish] = {
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "IMAGE_SAFETY": "refusal",
}


def _content(message: Message) -> _Content:
    return _Content([_Part(message.content)], "model" if message.role == "assistant" else "user")


def _response(candidate: _Candidate, usage: Usage | None, id: str, model: str) -> Response:
    parts = candidate.content.parts if candidate.content is not None else None
    # Thoughts come as parts of the same content, and are not voted on.
    text = "".join(part.text or "" for part in parts or () if not part.thought)
    chosen = candidate.logprobs_result.chosen_candidates if candidate.logprobs_result is not None else None
    logprob = None if chosen is None else sum(token.log_probability or 0.0 for token in chosen)
    return Response(text, _FINISH.get(candidate.finish_reason or "", "stop"), usage, id, logprob, model)


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    # Thoughts are billed as output, and counted apart from the candidates.
    return usage_of(
        (usage.prompt_token_count, usage.tool_use_prompt_token_count),
        (usage.candidates_token_count, usage.thoughts_token_count),
        cached=usage.cached_content_token_count,
        reasoning=usage.thoughts_token_count,
    )
