"""`mdap estimate` of plans and agents: a range before anything is spent, and a budget that may pay for nothing."""

from __future__ import annotations

import pytest

from mdap.agents import Agent
from tests.cli.conftest import Terminal


def test_a_plan_is_estimated_as_a_range(mdap: Terminal) -> None:
    said = mdap("estimate", "plan", "--steps", "20", "--batch-size", "3", "--k", "10")
    assert said.code == 0
    assert "165 to " in said.out
    assert "execution_voting" in said.out
    made = mdap("estimate", "plan", "--steps", "20", "--batch-size", "3", "--json").json
    assert made["calls"]["least"] == 165
    assert made["k"] == 10


def test_an_agent_is_estimated_by_depth_and_fan_out(mdap: Terminal) -> None:
    made = mdap("estimate", "agent", "--depth", "3", "--fan-out", "2", "--k", "2", "--json").json
    assert made["counts"] == {"depth": 3, "fan_out": 2, "splits": 7, "leaves": 8}
    assert mdap("estimate", "agent", "--p", "0.8").code == 0


def test_an_agent_is_estimated_at_the_depth_that_it_has_if_nothing_is_said(mdap: Terminal) -> None:
    assert mdap("estimate", "agent", "--json").json["counts"]["depth"] == Agent(None).max_depth


@pytest.mark.parametrize("of", [("plan", "--steps", "20"), ("agent",), ("run", "--p", "0.9", "--steps", "100")])
def test_a_budget_that_pays_for_no_k_is_an_answer_with_its_own_exit_code(mdap: Terminal, of: tuple[str, ...]) -> None:
    said = mdap("estimate", *of, "--budget-calls", "1")
    assert said.code == 4
    assert "too few: even k=1 takes" in said.out
    said = mdap("estimate", *of, "--budget-calls", "1", "--json")
    assert said.code == 4
    assert said.json["affordable"]["budget"] == 1
    assert said.json["affordable"]["least"] > 1
    rich = mdap("estimate", *of, "--budget-calls", "1e9", "--json")
    assert rich.code == 0
    assert rich.json["affordable"] > 1


@pytest.mark.parametrize(("words", "missing"), [((), "--p"), (("--p", "0.9"), "--steps"), (("plan",), "--steps")])
def test_what_an_estimate_lacks_is_named(mdap: Terminal, words: tuple[str, ...], missing: str) -> None:
    said = mdap("estimate", *words)
    assert said.code == 2
    assert missing in said.err


def test_prices_make_money_of_the_calls(mdap: Terminal) -> None:
    words = ("--tokens-in", "1000", "--tokens-out", "100", "--price-in", "0.4", "--price-out", "1.6")
    assert "money" in mdap("estimate", "plan", "--steps", "4", *words).out
