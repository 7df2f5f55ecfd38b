"""What is known of servers and model families before any call: which parameters they take. Data and look-up, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from mdap.core.errors import UsageError
from mdap.core.spec import unknown

PARAMETERS = ("temperature", "seed", "n", "logprobs", "response_format", "max_tokens")
"""The names under which a model can adapt: see `Profile.without`."""


class Profile(msgspec.Struct, frozen=True):
    """What a model takes. What is False is never sent.

    `max_tokens` is the name under which the cap of tokens goes; `context` the most tokens of prompt and reply together,
    where known; `caches` says that a prompt seen before may be billed at a lower rate; `known` is when this was true,
    and from what.
    """

    # Tried where nothing is known: votes differ by these two, and a refusal is adapted to. The others wait to be known.
    temperature: bool = True
    seed: bool = True
    n: bool = False
    logprobs: bool = False
    json_schema: bool = False
    max_tokens: str = "max_tokens"
    context: int | None = None
    caches: bool = False
    known: str = "nothing is known of it: careful defaults"

    @property
    def variety(self) -> str:
        """Where the differences between votes come from."""
        if self.temperature:
            return "temperature, and a seed of its own for each draw" if self.seed else "temperature"
        if self.seed:
            return "a seed of its own for each draw, at the provider's default sampling"
        return "the provider's default sampling alone; prompts that vary would add to it"

    def takes(self, name: str) -> bool | str:
        """Return whether a parameter of `PARAMETERS` is taken; for `max_tokens`, under which name."""
        taken: bool | str = getattr(self, _FIELDS.get(name, name))
        return taken

    def without(self, name: str) -> Profile:
        """Return the profile that no longer takes a parameter, or takes the cap of tokens under its other name.

        Raises UsageError for a name that is not in `PARAMETERS`.
        """
        if name not in PARAMETERS:
            raise unknown("parameter", name, PARAMETERS)
        if name == "max_tokens":
            return msgspec.structs.replace(self, max_tokens=_OTHER.get(self.max_tokens, self.max_tokens))
        return msgspec.structs.replace(self, **{_FIELDS.get(name, name): False})


# Both ways, for a proxy may know the older name alone. Google's has no other, so it is not here.
_OTHER = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_FIELDS = {"response_format": "json_schema"}


class Server(msgspec.Struct, frozen=True):
    """A kind of server, as `NAME:MODEL` names it.

    `keys` are the variables that a key is read from, the first that is set; `needs_key` is for its default address.
    `base_variable` is the variable that holds another address. `profile` holds for models of no known family.
    `context_path` is where it tells the length of a model's context, from the root of the server; `{model}` is filled
    in. `headers` go with every call.
    """

    name: str
    dialect: str
    base_url: str
    keys: tuple[str, ...]
    profile: Profile
    needs_key: bool = False
    base_variable: str = ""
    context_path: str = ""
    headers: Mapping[str, str] = {}


class Family(msgspec.Struct, frozen=True):
    """Models whose name, what stands before its last slash left out, begins with `pattern`; `vendor` serves them.

    `name` is the pattern in a reader's words.
    """

    vendor: str
    name: str
    pattern: str
    profile: Profile


def _server(name: str, port: int, *keys: str, context: str, known: str, profile: Profile) -> Server:
    profile = msgspec.structs.replace(profile, known=known)
    # At the port that each listens on by default, and on this machine: no prompt leaves it unless an address says so.
    return Server(name, "openai", f"http://127.0.0.1:{port}/v1", keys, profile, context_path=context)


# The vendor's own models all take the newer name of the cap; those that reason refuse the older one.
_OPENAI_OWN = Profile(json_schema=True, max_tokens="max_completion_tokens", caches=True)

SERVERS: Mapping[str, Server] = MappingProxyType(
    {
        server.name: server
        for server in (
            Server(
                "openai",
                "openai",
                "https://api.openai.com/v1",
                ("OPENAI_API_KEY",),
                # Not what the vendor's own models take: by a base URL many other programs are reached under this name.
                Profile(),
                needs_key=True,
                base_variable="OPENAI_BASE_URL",
                context_path="/v1/models",
            ),
            Server(
                "anthropic",
                "anthropic",
                "https://api.anthropic.com",
                ("ANTHROPIC_API_KEY",),
                # Models of today refuse a temperature; one that is not known here is more likely newer than older.
                Profile(temperature=False, seed=False, json_schema=True, caches=True),
                needs_key=True,
                base_variable="ANTHROPIC_BASE_URL",
                context_path="/v1/models/{model}",
                # Pinned: the version after it, 2026-10-21, takes a temperature from no model at all.
                headers={"anthropic-version": "2023-06-01"},
            ),
            Server(
                "google",
                "google",
                "https://generativelanguage.googleapis.com",
                ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
                Profile(max_tokens="maxOutputTokens", caches=True),
                needs_key=True,
                base_variable="GOOGLE_GEMINI_BASE_URL",
                context_path="/v1beta/models/{model}",
            ),
            Server(
                "openrouter",
                "openai",
                "https://openrouter.ai/api/v1",
                ("OPENROUTER_API_KEY",),
                # It takes every parameter and drops those that the model behind it does not take, without a word.
                Profile(caches=True, known="2026-11, openrouter.ai/docs"),
                needs_key=True,
                context_path="/api/v1/models",
                # A preset can switch its cache of whole replies on; votes must not come out of one.
                headers={"X-OpenRouter-Cache": "false"},
            ),
            _server(
                "vllm",
                8000,
                "VLLM_API_KEY",
                context="/v1/models",
                known="2026-11, docs.vllm.ai (0.28)",
                profile=Profile(n=True, logprobs=True, json_schema=True, caches=True),
            ),
            _server(
                "ollama",
                11434,
                "OLLAMA_API_KEY",
                context="/api/ps",
                known="2026-11, docs.ollama.com (0.40)",
                profile=Profile(logprobs=True, json_schema=True, caches=True),
            ),
            _server(
                "llamacpp",
                8080,
                "LLAMA_API_KEY",
                context="/props",
                known="2026-11, README of llama-server",
                profile=Profile(logprobs=True, json_schema=True, caches=True),
            ),
            _server(
                "lmstudio",
                1234,
                "LM_API_TOKEN",
                context="/api/v0/models",
                known="2026-11, lmstudio.ai/docs (0.4)",
                profile=Profile(json_schema=True, caches=True),
            ),
        )
    }
)
"""Every kind of server by name."""


def _reasoning(context: int) -> Profile:
    return msgspec.structs.replace(
        _OPENAI_OWN, temperature=False, context=context, known="2026-11, platform.openai.com, guide to reasoning"
    )


def _sampling(context: int, *, json_schema: bool = True) -> Profile:
    return msgspec.structs.replace(
        _OPENAI_OWN,
        n=True,
        logprobs=True,
        json_schema=json_schema,
        context=context,
        known="2026-11, platform.openai.com, reference of chat completions",
    )


def _claude(*, temperature: bool, json_schema: bool = True, context: int | None = None) -> Profile:
    return Profile(
        temperature=temperature,
        # The interface has none, whatever the model.
        seed=False,
        json_schema=json_schema,
        context=context,
        caches=True,
        known="2026-11, platform.claude.com, notes on deprecated parameters",
    )


def _gemini(*, n: bool, logprobs: bool) -> Profile:
    return Profile(
        n=n,
        logprobs=logprobs,
        json_schema=True,
        max_tokens="maxOutputTokens",
        context=1_048_576,
        caches=True,
        known="2026-11, ai.google.dev, reference of generateContent",
    )


# The first that fits holds, so the special stands before the general.
FAMILIES: tuple[Family, ...] = (
    Family("openai", "gpt-5...", r"gpt-5", _reasoning(400_000)),
    # The end belongs to it: names that only begin with the same letter and digit are other models'.
    Family("openai", "o1, o3, o4...", r"o[134](-|$)", _reasoning(200_000)),
    Family("openai", "gpt-4.1...", r"gpt-4\.1", _sampling(1_047_576)),
    Family("openai", "gpt-4o...", r"gpt-4o", _sampling(128_000)),
    Family("openai", "gpt-4-turbo...", r"gpt-4-turbo", _sampling(128_000, json_schema=False)),
    Family("openai", "gpt-3.5-turbo...", r"gpt-3\.5-turbo", _sampling(16_385, json_schema=False)),
    Family("anthropic", "claude-3...", r"claude-3", _claude(temperature=True, json_schema=False, context=200_000)),
    Family(
        "anthropic",
        "claude 4.1 to 4.6",
        # No digit may follow: claude-opus-4-20250514 is 4.0, and its date no minor version.
        r"claude-(opus|sonnet|haiku)-4[-.][1-6](\D|$)",
        _claude(temperature=True, context=200_000),
    ),
    Family(
        "anthropic",
        "claude 4.0",
        r"claude-(opus|sonnet)-4(-0|-2025\d+|$)",
        _claude(temperature=True, json_schema=False),
    ),
    Family("anthropic", "claude-... (newer)", r"claude-", _claude(temperature=False)),
    Family("google", "gemini-2.0...", r"gemini-2\.0", _gemini(n=True, logprobs=True)),
    Family("google", "gemini-2.5...", r"gemini-2\.5", _gemini(n=True, logprobs=False)),
    Family("google", "gemini-... (newer)", r"gemini-", _gemini(n=False, logprobs=False)),
)
"""Families of models whose parameters are documented."""


def profile_of(server: str, model: str, *, own_address: bool = True) -> Profile:
    """Return what is known of a model behind a kind of server; careful defaults where nothing is.

    `own_address` False: the server is reached somewhere else than where its vendor runs it, so it may be another
    program with the same dialect. Raises UsageError for a server that is not in `SERVERS`.
    """
    if server not in SERVERS:
        raise unknown("server", server, SERVERS)
    known = SERVERS[server].profile
    if server == "openai" and own_address:
        known = _OPENAI_OWN
    family = family_of(model)
    if family is None:
        return known
    if family.vendor == server and own_address:
        return family.profile
    return _behind(server, known, family)


def family_of(model: str) -> Family | None:
    """Return the family that a model's name belongs to, if it is a known one."""
    # Routers write vendor/model, and servers of files on this machine whole paths.
    name = model.rpartition("/")[2]
    return next((family for family in FAMILIES if re.match(family.pattern, name)), None)


def _behind(server: str, known: Profile, family: Family) -> Profile:
    """What is left of a family's abilities behind a server that is not its vendor's: what both have."""
    has = family.profile
    # A plain proxy passes the name of the cap on to the vendor; every other kind of server has a name of its own.
    proxied = server == "openai" and family.vendor == "openai"
    return msgspec.structs.replace(
        known,
        # A vendor's own caution is about models that are not known, and this one is.
        temperature=has.temperature and (known.temperature or server == family.vendor),
        seed=known.seed and has.seed,
        n=known.n and has.n,
        logprobs=known.logprobs and has.logprobs,
        json_schema=known.json_schema and has.json_schema,
        max_tokens=has.max_tokens if proxied else known.max_tokens,
        context=has.context,
        known=has.known,
    )


def check_model_name(server: str, model: str) -> None:
    """Raise UsageError for a name of a model that no spec could hold."""
    # In a spec a comma or an equals sign would begin an option.
    if not model or any(c in model for c in ",=") or model != model.strip():
        raise UsageError(f"model name {model!r} is empty or holds a comma, = or outer spaces", remedy=f"{server}:MODEL")
