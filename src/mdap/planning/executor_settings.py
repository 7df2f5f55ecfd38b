"""Settings of IgniteUI MAKER, as its environment variables or its JSON file hold them, in the words of mdap.

Nothing is read from the environment here: whoever calls has it. What has no use here is named, never dropped silently.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mdap.core.errors import UsageError

PREFIX = "executor__"
# What its README says; its later versions ship others, which need keys of two providers.
DEFAULT_PROVIDER, DEFAULT_MODEL = "OpenAI", "gpt-5.1"
# Their role, and the option of mdap that names its model.
ROLES = {
    "planning": "planning_model",
    "planvoting": "plan_voting_model",
    "execution": "execution_model",
    "executionvoting": "execution_voting_model",
}
# The variable in which a model of this provider looks for its key.
KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "google": "GEMINI_API_KEY"}
_TEMPLATES = {"plan": "plan", "planvote": "plan_vote", "execute": "execute", "executevote": "execute_vote"}
# Their rules and formats are parts of the prompts here.
_PARTS_OF_PROMPTS = {"planrules": "plan", "planformat": "plan", "executerules": "execute"}


class ExecutorSettings(msgspec.Struct, frozen=True):
    """What was set: `models` by the option that names them, `keys` by the variable that a model looks for them in.

    `format` is the text that results have to look like, `templates` files by the name of a prompt, `servers` those of
    tools, as they were given. `unused` says of each setting without a use here why it has none.
    """

    models: dict[str, str]
    keys: dict[str, str]
    format: str
    templates: dict[str, str]
    servers: tuple[dict[str, str], ...] = ()
    unused: tuple[str, ...] = ()

    def options(self, kind: str = "do", *, models: bool = True) -> dict[str, Any]:
        """Return the options of `mdap.do` that they stand for, or of `mdap.plan` or `mdap.execute` by its name.

        Without `models` the roles are left to whoever asks.
        """
        own = {"plan": "plan", "execute": "execution"}.get(kind, "")
        found: dict[str, Any] = {name: spec for name, spec in self.models.items() if models and name.startswith(own)}
        if self.format:
            found["format"] = self.format
        return found | ({"templates": self.templates} if self.templates else {})


def from_environment(environment: Mapping[str, str]) -> ExecutorSettings | None:
    """Return the settings in the variables `Executor__...`, in any case; None where there is none."""
    return _settings(
        {
            tuple(name.casefold()[len(PREFIX) :].split("__")): value
            for name, value in environment.items()
            if name.casefold().startswith(PREFIX)
        }
    )


def from_file(text: str) -> ExecutorSettings | None:
    """Return the settings in a JSON file with an object `Executor`, keys in any case; None where that is empty.

    Raises UsageError for what is no such file. Comments on lines of their own are let pass, as there.
    """
    # A byte order mark, as editors on Windows write it, is no JSON.
    lines = [line for line in text.removeprefix("\ufeff").splitlines() if not line.lstrip().startswith("//")]
    try:
        value = json.loads("\n".join(lines))
    except ValueError as error:
        raise UsageError(f"the settings are not JSON: {error}", remedy="give a file with an object Executor") from None
    named = value.items() if isinstance(value, dict) else ()
    inner = next((one for key, one in named if key.casefold() == "executor"), None)
    if not isinstance(inner, dict):
        raise UsageError("the settings have no object Executor", remedy='write {"Executor": {...}}')
    return _settings(dict(_leaves((), inner)))


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _leaves((*path, str(key).casefold()), inner)
    elif value is not None:
        yield path, str(value)


def _settings(found: Mapping[tuple[str, ...], str]) -> ExecutorSettings | None:
    if not found:
        return None
    clients: dict[str, dict[str, str]] = {role: {} for role in ROLES}
    servers: dict[int, dict[str, str]] = {}
    keys, templates, unused, format_ = dict[str, str](), dict[str, str](), list[str](), ""
    for path, value in found.items():
        match path:
            case ("clients", role, ("provider" | "model") as name) if role in clients:
                clients[role][name] = value
            case ("aiproviderkeys", provider) if provider in KEYS:
                keys[KEYS[provider]] = value
            case ("format",):
                format_ = value
            case ("instructions", name) if name in _TEMPLATES:
                templates[_TEMPLATES[name]] = value
            case ("instructions", name) if name in _PARTS_OF_PROMPTS:
                unused.append(f"Instructions.{name}: it is part of the prompt {_PARTS_OF_PROMPTS[name]} here")
            case ("mcpservers", number, ("name" | "description" | "url" | "apikey") as name) if number.isdigit():
                servers.setdefault(int(number), {})[name] = value
            # Named without its value, which may be a key.
            case _:
                raise UsageError(
                    f"Executor has no setting {'.'.join(path)}",
                    remedy="there is: AIProviderKeys, Clients, Format, Instructions, McpServers",
                )
    # Their word for no format at all.
    format_ = "" if format_.casefold() == "plaintext" else format_
    models = {ROLES[role]: _spec(client) for role, client in clients.items()}
    return ExecutorSettings(models, keys, format_, templates, tuple(servers[n] for n in sorted(servers)), tuple(unused))


def _spec(client: Mapping[str, str]) -> str:
    provider = client.get("provider", DEFAULT_PROVIDER).casefold()
    model = client.get("model")
    if model is None and provider != DEFAULT_PROVIDER.casefold():
        raise UsageError(f"a client of {provider} has no model", remedy="set Executor__Clients__...__Model")
    return f"{provider}:{model or DEFAULT_MODEL}"
