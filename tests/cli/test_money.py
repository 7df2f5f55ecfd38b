"""Money, rates and several models at the command line: flags, the closing table, JSON, and how a stop goes on."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.cli.conftest import Terminal

PRICES = """
["simulated"]
input = 0.40
output = 1.60
"""
RUN = ("run", "hanoi:disks=5", "--model", "simulated:p=0.9", "--k", "3")


def test_a_prices_file_in_the_folder_is_found_and_the_cost_is_shown(mdap: Terminal) -> None:
    assert "cost" not in mdap(*RUN).out
    (mdap.folder / "prices.toml").write_text(PRICES, encoding="utf-8")
    assert "cost       $0.0" in mdap(*RUN).out
    cost = mdap(*RUN, "--json").json["cost"]
    assert Decimal(cost["usd"]) > 0
    assert cost["prices"]["simulated:p=0.9"]["input"] == "0.40"
    assert cost["prices"]["simulated:p=0.9"]["source"] == "prices.toml"


def test_a_stop_at_a_budget_in_usd_prints_the_command_that_goes_on(mdap: Terminal) -> None:
    (mdap.folder / "own.toml").write_text(PRICES, encoding="utf-8")
    said = mdap(*RUN, "--prices", "own.toml", "--budget-usd", "0.005")
    assert said.code == 4
    assert "stopped at the budget: reserved $0.00" in said.err
    assert "> $0.005" in said.err
    (words,) = said.next
    assert words[:1] == ["resume"]
    assert words[2:4] == ["--budget-usd", "0.010"]
    while said.code == 4:
        said = mdap(*said.next[0])
    assert said.code == 0
    assert "31 of 31" in said.out


MODELS = """
def one(prompt: str) -> str:
    return "4"
"""


@pytest.mark.parametrize("command", [RUN, ("ask", "2+2?", "-m", "models_here:one"), ("calibrate", *RUN[1:4])])
def test_a_budget_of_a_model_without_a_price_is_a_usage_error_that_names_the_ways_out(
    mdap: Terminal, command: tuple[str, ...]
) -> None:
    mdap.write("models_here", MODELS)
    said = mdap(*command, "--budget-usd", "1")
    assert said.code == 2
    assert "has no price" in said.err
    assert "prices.toml" in said.err
    assert "--free" in said.err


def test_free_is_said_and_then_the_budget_holds_nothing_up(mdap: Terminal) -> None:
    said = mdap(*RUN, "--budget-usd", "1", "--free", "--json")
    assert (said.code, said.json["cost"]["usd"]) == (0, "0")


def test_a_calibration_ends_at_its_budget_in_usd(mdap: Terminal) -> None:
    (mdap.folder / "prices.toml").write_text(PRICES, encoding="utf-8")
    said = mdap("calibrate", "hanoi:disks=5", "--model", "simulated:p=0.9", "--samples", "300", "--budget-usd", "0.02")
    assert "stopped at the budget: reserved $0.0" in said.err


@pytest.mark.parametrize("amount", ["ten", "-1", "nan"])
def test_a_budget_that_is_no_amount_is_refused(mdap: Terminal, amount: str) -> None:
    said = mdap(*RUN, "--budget-usd", amount)
    assert said.code == 2
    assert amount in said.err


def test_several_models_vote_and_a_fallback_stands_by(mdap: Terminal) -> None:
    words = (*RUN, "--mix", "simulated:p=0.8", "--fallback", "simulated:p=0.99", "--record", "samples", "--json")
    told = mdap(*words).json
    assert told["model"] == "simulated:p=0.9 + simulated:p=0.8 | simulated:p=0.99"
    samples = mdap("show", told["run"], "--step", "3", "--json").json["samples"]
    assert [sample["model"] for sample in samples[:3]] == ["simulated:p=0.9", "simulated:p=0.8", "simulated:p=0.9"]


def test_a_run_of_several_models_goes_on_from_its_journal_alone(mdap: Terminal) -> None:
    words = (*RUN, "--mix", "simulated:p=0.8", "--fallback", "simulated:p=0.99")
    said = mdap(*words, "--budget-calls", "20")
    assert said.code == 4
    resumed = mdap(*said.next[0], "--json")
    assert resumed.code in (0, 4)
    assert resumed.json["samples"] > 20


def test_rates_may_be_given_by_their_short_names(mdap: Terminal) -> None:
    assert mdap(*RUN, "--rpm", "100000", "--tpm", "1000000000", "-q").code == 0
    assert mdap(*RUN, "--rpm", "0").code == 2
