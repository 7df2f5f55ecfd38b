"""`mdap calibrate`, `mdap compare` and `mdap run --calibration` as words, with their exit codes and ways on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdap.core.calibrated import decode
from tests.cli.conftest import Terminal

MODEL = "simulated:p=0.95,wrong=several"


def calibrated(mdap: Terminal, *words: str, model: str = MODEL, task: str = "hanoi:disks=7") -> Path:
    said = mdap("calibrate", task, "--model", model, "--samples", "1000", "--output", "c.json", "-q", *words)
    assert said.code == 0, said.err
    return mdap.folder / "c.json"


def test_the_cost_stands_on_standard_error_before_the_report(mdap: Terminal) -> None:
    said = mdap("calibrate", "hanoi:disks=7", "--model", MODEL, "--samples", "200")
    assert said.code == 0
    assert said.err.startswith(f"cost:  {MODEL}: at most 200 calls, about ")
    assert "at most 150,000 out" in said.err
    assert "cost" not in said.out


def test_the_report_says_what_was_seen_what_follows_and_what_is_not_known(mdap: Terminal) -> None:
    said = mdap("calibrate", "hanoi:disks=7", "--model", "simulated:p=0.9,flags=0.1", "--samples", "1000")
    for words in (
        "states drawn by the task, temperature 0.1; right is what the task answers",
        "kind",
        "disk 1",
        "flags (other)",
        "no sign that wrong votes pile up",
        "for 0.95 over 127 steps",
        "at the unfavourable ends of all intervals",
        "cannot exclude that",
        "undecided after",
    ):
        assert words in " ".join(said.out.split()), words


def test_several_models_are_ranked(mdap: Terminal) -> None:
    said = mdap(
        "calibrate", "hanoi:disks=5", "-m", "simulated:p=0.4", "-m", "simulated:p=0.99", "--samples", "500", "-q"
    )
    assert said.code == 0
    ranking = said.out.splitlines()[-3:]
    assert "calls a step" in ranking[0]
    assert ranking[1].startswith("simulated:p=0.99")
    assert ranking[2].split() == ["simulated:p=0.4", "none"]
    assert "refused: simulated:p=0.4: voting cannot help" in said.err


def test_a_model_that_voting_cannot_help_is_refused_with_code_1_and_the_reason(mdap: Terminal) -> None:
    said = mdap("calibrate", "hanoi:disks=5", "--model", "simulated:p=0.4", "--samples", "500", "--output", "c.json")
    assert said.code == 1
    assert "refused: simulated:p=0.4: voting cannot help for steps of kind 'disk 1': p=0." in said.err
    assert "next:  change the prompt" in said.err
    assert "none: voting cannot help" in said.out
    run = mdap("run", "hanoi:disks=5", "--model", "simulated:p=0.4", "--calibration", "c.json")
    assert run.code == 1
    assert "error: simulated:p=0.4: voting cannot help" in run.err


def test_a_budget_ends_it_with_code_4_and_keeps_what_was_drawn(mdap: Terminal) -> None:
    said = mdap("calibrate", "hanoi:disks=5", "--model", MODEL, "--samples", "500", "--budget-calls", "200", "--json")
    assert said.code == 4
    assert 190 <= said.json["models"][0]["calls"] <= 200
    assert "budget: " in said.err


def test_json_is_what_the_file_holds(mdap: Terminal) -> None:
    said = mdap(
        "calibrate", "hanoi:disks=5", "-m", MODEL, "--samples", "100", "--output", "c.json", "--json", "--seed", "3"
    )
    data = (mdap.folder / "c.json").read_bytes()
    assert json.loads(data) == said.json
    assert said.json["version"] == 1
    assert decode(data).seed == 3


def test_the_printed_next_command_takes_k_from_the_file_and_the_run_is_right(mdap: Terminal) -> None:
    path = mdap.folder / "c.json"
    said = mdap("calibrate", "hanoi:disks=7", "--model", MODEL, "--samples", "1000", "--output", "c.json")
    (words,) = said.next
    assert words == ["run", "hanoi:disks=7", "--model", MODEL, "--calibration", "c.json"]
    run = mdap(*words, "--json")
    assert run.json["k"] == decode(path.read_bytes()).models[0].k
    assert (run.json["status"], run.json["wrong"]) == ("done", 0)
    assert "is assumed" not in run.err


def test_the_printed_next_command_has_the_settings_that_the_samples_had(mdap: Terminal) -> None:
    said = mdap(
        *("calibrate", "hanoi:disks=5", "-m", MODEL, "--samples", "500", "--output", "my file.json", "--seed", "5"),
        *("--max-tokens", "600", "--first-temperature", "none", "-q"),
    )
    (words,) = said.next
    assert words[5:] == ["my file.json", "--max-tokens", "600", "--first-temperature", "none"]
    assert mdap(*words, "-q").code == 0


def test_a_run_with_another_prompt_model_or_parser_is_refused_with_the_difference(mdap: Terminal) -> None:
    calibrated(mdap)
    said = mdap("run", "hanoi:disks=7,parser=repair", "--model", MODEL, "--calibration", "c.json")
    assert said.code == 1
    assert "hanoi:disks=7 -> hanoi:disks=7,parser=repair" in said.err
    assert "next:  calibrate again" in said.err


def test_compare_holds_the_undecided_counts_of_a_run_against_the_prediction(mdap: Terminal) -> None:
    calibrated(mdap, task="hanoi:disks=9")
    mdap("run", "hanoi:disks=9", "--model", MODEL, "--calibration", "c.json", "-q")
    said = mdap("compare", mdap.last(), "c.json", "--json")
    assert said.code == 0
    assert said.json["steps"] == 511
    assert {row["place"] for row in said.json["rounds"]} == {"inside"}
    table = mdap("compare", mdap.last(), "c.json").out
    assert "inside" in table
    assert "511 steps by ahead_by_k:" in table


def test_compare_shows_a_run_that_is_worse_than_its_calibration(mdap: Terminal) -> None:
    calibrated(mdap, task="hanoi:disks=9")
    mdap("run", "hanoi:disks=9", "--model", MODEL, "--calibration", "c.json", "--json")
    better = decode((mdap.folder / "c.json").read_bytes()).encode().replace(b'"low":0.9', b'"low":0.999')
    better = better.replace(b'"value":0.9', b'"value":0.999').replace(b'"high":0.9', b'"high":0.999')
    (mdap.folder / "better.json").write_bytes(better)
    said = mdap("compare", mdap.last(), "better.json", "--json")
    assert said.json["rounds"][0]["place"] in ("outside", "hard steps")
    assert said.json["rounds"][0]["seen"] > said.json["rounds"][0]["high"]


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "hanoi:disks=5"),
        ("calibrate", "hanoi:disks=5", "--model", MODEL, "--samples", "0"),
        ("calibrate", "hanoi:disks=5", "--model", MODEL, "--target", "1"),
        ("calibrate", "hanoi:disks=5", "--model", MODEL, "--output", "no/such/folder/c.json", "--samples", "10"),
        ("run", "hanoi:disks=5", "--model", MODEL, "--calibration", "none.json"),
    ],
)
def test_wrong_words_end_with_code_2_and_no_traceback(mdap: Terminal, words: tuple[str, ...]) -> None:
    said = mdap(*words)
    assert said.code == 2
    assert "Traceback" not in said.err
