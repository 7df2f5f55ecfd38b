"""Settings of IgniteUI MAKER: its variables in any case, its file, its defaults, and what is refused of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdap.core.errors import UsageError
from mdap.planning.executor_settings import ExecutorSettings, from_environment, from_file


def settings(**variables: str) -> ExecutorSettings:
    found = from_environment(variables)
    assert found is not None
    return found


def test_with_a_key_alone_all_roles_have_the_default_model() -> None:
    found = settings(Executor__AIProviderKeys__OpenAI="sk-1", PATH="/bin")
    assert found.keys == {"OPENAI_API_KEY": "sk-1"}
    roles = ("planning_model", "plan_voting_model", "execution_model", "execution_voting_model")
    assert found.options() == dict.fromkeys(roles, "openai:gpt-5.1")


def test_variables_of_other_programs_are_none_of_these() -> None:
    assert from_environment({"PATH": "/bin", "EXECUTOR": "x"}) is None


@pytest.mark.parametrize("spell", [str, str.upper, str.lower])
def test_names_are_read_in_any_case(spell: Any) -> None:
    given = {
        "Executor__Clients__Planning__Provider": "Anthropic",
        "Executor__Clients__Planning__Model": "claude-sonnet-4-6",
        "Executor__Clients__ExecutionVoting__Model": "gpt-5-mini",
        "Executor__Format": "Markdown",
        "Executor__Instructions__PlanVote": "vote.txt",
        "Executor__McpServers__1__Name": "second",
        "Executor__McpServers__0__Url": "http://localhost:1",
    }
    found = settings(**{spell(name): value for name, value in given.items()})
    assert found.models["planning_model"] == "anthropic:claude-sonnet-4-6"
    assert found.models["plan_voting_model"] == "openai:gpt-5.1"
    assert found.models["execution_voting_model"] == "openai:gpt-5-mini"
    assert found.options()["templates"] == {"plan_vote": "vote.txt"}
    assert (found.format, found.servers) == ("Markdown", ({"url": "http://localhost:1"}, {"name": "second"}))


def test_plain_text_is_no_format_and_rules_are_parts_of_prompts_here() -> None:
    found = settings(Executor__Format="plaintext", Executor__Instructions__PlanRules="rules.txt")
    assert "format" not in found.options()
    assert found.unused == ("Instructions.planrules: it is part of the prompt plan here",)


def test_a_file_says_the_same_as_variables() -> None:
    text = """
    // as it is shipped there
    {"Logging": {"Level": "x"}, "executor": {
      "AIProviderKeys": {"Google": "g", "OpenAI": null},
      "Clients": {"Execution": {"Provider": "GOOGLE", "Model": "gemini-3-flash"}},
      "McpServers": [{"Name": "a"}]
    }}"""
    assert from_file(text) == settings(
        Executor__AIProviderKeys__Google="g",
        Executor__Clients__Execution__Provider="Google",
        Executor__Clients__Execution__Model="gemini-3-flash",
        Executor__McpServers__0__Name="a",
    )
    assert from_file(json.dumps({"Executor": {}})) is None


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"Executor": 3}'])
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        from_file(text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Executor__Client__Planning__Model", "no setting client.planning.model"),
        ("Executor__Clients__Planner__Model", "no setting clients.planner.model"),
        ("Executor__AIProviderKeys__Other", "no setting aiproviderkeys.other"),
        ("Executor__Clients__Planning__Provider", "a client of x has no model"),
    ],
)
def test_a_setting_that_is_none_is_refused_without_its_value(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(**{name: "x"})
    assert said in str(caught.value)
    with pytest.raises(UsageError) as caught:
        settings(Executor__AIProviderKeys__Other="sk-secret")
    assert "sk-secret" not in str(caught.value)
