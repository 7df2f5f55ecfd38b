"""Words in, help and refusals out: nothing here makes a call."""

from __future__ import annotations

import importlib
import inspect
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mdap.cli.app import COMMANDS
from mdap.core.settings import CHANGEABLE, Settings
from scripts.cli_docs import PAGE, page
from tests.cli.conftest import Terminal


def test_the_page_of_the_command_line_is_what_help_says_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_help_lists_every_command_and_the_exit_codes(mdap: Terminal) -> None:
    said = mdap("--help")
    assert said.code == 0
    assert all(name in said.out for name in COMMANDS)
    assert "130 interrupted" in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_commands_own_help_begins_with(name: str, mdap: Terminal) -> None:
    module, _, function = COMMANDS[name][0].partition(":")
    doc = inspect.getdoc(getattr(importlib.import_module(f"mdap.cli.{module}"), function)) or ""
    assert doc.splitlines()[0] == COMMANDS[name][1]
    assert mdap(name, "--help").code == 0


def test_run_has_a_flag_for_every_setting_and_shows_its_default(mdap: Terminal) -> None:
    told = " ".join(mdap("run", "--help").out.replace("│", " ").split())
    for name, default in json.loads(
        json.dumps({f: getattr(Settings(), f) for f in Settings.__struct_fields__})
    ).items():
        shown = "no limit" if default is None else f"{default:g}" if isinstance(default, float) else default
        shown = "none" if name in ("draft", "remedies", "confidence") else shown
        after = told.partition(f"--{name.replace('_', '-')} ")[2]
        assert f"[default: {shown}]" in after[: after.index("]") + 1], name


def test_resume_has_a_flag_for_every_setting_that_may_change_and_no_other(mdap: Terminal) -> None:
    told = mdap("resume", "--help").out
    for name in Settings.__struct_fields__:
        assert (f"--{name.replace('_', '-')} " in told) == (name in CHANGEABLE), name


def test_version_is_that_of_the_package(mdap: Terminal) -> None:
    from importlib.metadata import version

    assert mdap("--version").out.strip() == f"mdap {version('mdap')}"


def test_help_loads_neither_the_http_client_nor_the_engine() -> None:
    program = (
        "import sys; from mdap.cli.app import command_line; command_line(['--help']); "
        "print([m for m in ('aiohttp', 'sqlite3', 'asyncio.runners', 'mdap.api', 'msgspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_takes_less_than_200_ms_over_a_bare_interpreter() -> None:
    # Processor time, not the clock on the wall: what else the machine does is no fault of ours.
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def best(*words: str) -> float:
        times = []
        for _ in range(5):
            before = spent()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            times.append(spent() - before)
        return min(times)

    assert best("-m", "mdap", "--help") - best("-c", "pass") < 0.2


@pytest.mark.parametrize(
    ("words", "what", "meant"),
    [
        (["rnu"], 'Unknown command "rnu"', '"run"'),
        (["run", "hanoi:disks=3", "--model", "simulated", "--max-sample", "3"], "--max-sample", "--max-samples"),
        (["run", "hanio:disks=3", "--model", "simulated"], "unknown task 'hanio'", "'hanoi'"),
        (["run", "hanoi:disk=3", "--model", "simulated"], "unknown option of hanoi 'disk'", "'disks'"),
        (["run", "hanoi:disks=3", "--model", "simulatd"], "unknown model 'simulatd'", "'simulated'"),
        (["run", "hanoi:disks=3", "--model", "simulated:q=1"], "unknown option of simulated 'q'", "there is:"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--rule", "ahead:3"], "unknown rule", "'ahead_by_k'"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--record", "all"], '"all"', '"samples"'),
        (["run", "hanoi:disks=x", "--model", "simulated"], "disks='x'", "int"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--k", "three"], '"three"', "int"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--k", "0"], "k=0", "1 or more"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--timeout", "0"], "timeout=0", "above 0"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--temperature", "hot"], '"hot"', "none"),
        (["run", "hanoi:disks=3"], "--model", "mdap run --help"),
        (["run", "hanoi:disks=3", "hanoi:disks=4", "--model", "simulated"], "hanoi:disks=4", "mdap run --help"),
        (["run", "hanoi:disks=3", "--model", "simulated", "--k", "3", "--rule", "ahead_by_k:3"], "both", "give one"),
        (
            ["run", "hanoi:disks=3", "--model", "simulated", "--base-url", "http://127.0.0.1:1/v1"],
            "base_url",
            "there is",
        ),
        (["run", "nowhere.at_all:Task", "--model", "simulated"], "'nowhere'", "PYTHONPATH"),
        (["serve", "simulated", "--task", "hanoi:disks=3", "--chaos", "429=2"], "429='2'", "429=0.05"),
        (
            ["serve", "simulated", "--task", "hanoi:disks=3", "--chaos", "430=0.1"],
            "unknown chaos word '430'",
            "429, 500",
        ),
        (["serve", "simulated", "--task", "hanoi:disks=3", "--host", "0.0.0.0"], "without a token", "--token"),
        (["estimate", "--p", "2", "--steps", "10"], "p=2", "next:"),
        (["estimate", "--steps", "10"], "--p", "mdap estimate --help"),
    ],
)
def test_a_wrong_word_ends_with_2_names_the_word_and_says_what_was_meant(
    words: list[str], what: str, meant: str, mdap: Terminal
) -> None:
    said = mdap(*words, *(["--k", "3"] if words[0] == "run" and not {"--k", "--rule"} & {*words} else []))
    assert said.code == 2, said
    assert said.out == ""
    assert what in said.err
    assert meant in said.err
    assert "Traceback" not in said.err
    assert not (mdap.folder / ".mdap" / "runs.db").exists() or mdap("runs", "--json").json == []


def test_reading_commands_make_no_journal_where_there_is_none(mdap: Terminal) -> None:
    assert mdap("runs", "--json").json == []
    assert "mdap run" in mdap("runs").err
    for words in (["show", "x"], ["export", "x"], ["resume", "x"]):
        said = mdap(*words)
        assert said.code == 1
        assert "there is no journal at .mdap" in said.err
    assert list(mdap.folder.iterdir()) == []


def test_estimate_says_the_k_that_the_paper_gives_and_prints_one_object(mdap: Terminal) -> None:
    made = mdap("estimate", "--p", "0.9978", "--steps", "1048575", "--target", "0.95", "--json").json
    assert made["k_min"] == 3
    assert made["chosen"]["votes_per_step"] == pytest.approx(3.013, abs=0.001)
    assert [row["k"] for row in made["table"]] == [1, 2, 3, 4]


def test_estimate_shows_a_table_over_k_with_the_assumption_beside_it(mdap: Terminal) -> None:
    said = mdap("estimate", "--p", "0.98", "--steps", "1023", "--k", "2", "--v", "0.9", "--tokens-in", "500")
    assert said.code == 0
    assert "it takes k=3" in said.out
    assert "tokens in" in said.out
    assert "independent" in said.out
    unreachable = mdap("estimate", "--p", "0.98", "--steps", "1023", "--budget-calls", "100")
    assert "too few" in unreachable.out


def test_estimate_refuses_a_model_that_voting_cannot_help(mdap: Terminal) -> None:
    said = mdap("estimate", "--p", "0.43", "--steps", "10")
    assert said.code == 1
    assert "p=0.43" in said.err
    assert "a larger k cannot" in said.err


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mdap", "estimate", "--p", "0.9", "--steps", "10", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["p"] == 0.9


@pytest.mark.parametrize("flag", ["--k", "--budget-calls", "--seed"])
def test_a_fraction_of_a_whole_number_is_refused_not_rounded(flag: str, mdap: Terminal) -> None:
    said = mdap("run", "hanoi:disks=2", "--model", "simulated:p=1", flag, "2.5")
    assert said.code == 2
    assert "2.5" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("estimate", "--p", "0.9", "--steps", "10.5"),
        ("estimate", "--p", "0.9", "--steps", "10", "--k", "2.5"),
        ("resolve", "x", "1.5", "--k", "4"),
        ("resolve", "x", "1", "--k", "2.5"),
        ("calibrate", "hanoi:disks=3", "--model", "simulated:p=0.9", "--samples", "10.5"),
        ("show", "x", "--step", "1.5"),
    ],
)
def test_every_command_refuses_a_fraction_of_a_whole_number(words: tuple[str, ...], mdap: Terminal) -> None:
    said = mdap(*words)
    assert (said.code, said.out) == (2, "")
    assert next(word for word in words if word.endswith(".5")) in said.err


def test_a_large_count_may_be_written_as_a_power_of_ten(mdap: Terminal) -> None:
    assert mdap("estimate", "--p", "0.99", "--steps", "1e6", "--json").json["s"] == 1_000_000


def test_a_port_beyond_the_last_is_refused(mdap: Terminal) -> None:
    said = mdap("serve", "simulated", "--port", "99999")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: port=99999 is no port")
