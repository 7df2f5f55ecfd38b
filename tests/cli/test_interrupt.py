"""Ctrl-C, SIGTERM and two processes at once, with real processes and real signals."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import Said, Terminal

WORDS = ("run", "hanoi:disks=11", "--model", "simulated:p=0.98,flags=0.02,seed=4", "--k", "3")

ENDLESS = """
import sys
import time
from mdap import Move

class Endless:
    def start(self):
        return 0
    def is_done(self, state):
        return False
    def prompt(self, state):
        return f"after {state}"
    def parse(self, text, state):
        return Move(int(text), int(text))

def slow(prompt: str) -> str:
    time.sleep(0.01)
    return str(int(prompt.split()[-1]) + 1)

class Stuck(Endless):
    def parse(self, text, state):
        print("in parse", file=sys.stderr, flush=True)
        time.sleep(60)
"""


@contextmanager
def under_way(mdap: Terminal, *words: str, until: str = "step 50 decided") -> Iterator[subprocess.Popen[str]]:
    """A run of its own process, from the moment at which its log says `until`."""
    with mdap.start(*words, "-vv") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if until in line:
                break
        else:
            pytest.fail(f"it ended with {process.wait()} before it said {until!r}")
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> Said:
    out, err = process.communicate(timeout=20)
    return Said(process.returncode, out, err)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda number: number.name
)
def test_an_interrupted_run_says_what_is_durable_and_how_to_go_on_and_ends_as_if_it_never_was(
    number: signal.Signals, mdap: Terminal
) -> None:
    with under_way(mdap, *WORDS) as process:
        process.send_signal(number)
        said = end(process)
    run = mdap.last()
    assert (said.code, said.out) == (130, "")
    last = said.err.splitlines()[-1]
    steps = mdap("runs", "--json").json[-1]["steps"]
    assert 50 <= steps < 2047
    assert last == f"interrupted: {steps:,} of 2,047 steps are durable; go on with `mdap resume {run}`"
    assert "Traceback" not in said.err
    resumed = mdap(*said.next[-1], "--json")
    assert (resumed.code, resumed.json["steps"], resumed.json["wrong"]) == (0, 2047, 0)
    mdap(*WORDS)
    assert mdap("export", run).out == mdap("export", mdap.last()).out


@pytest.mark.slow
def test_an_interrupted_run_prints_its_object_with_json(mdap: Terminal) -> None:
    with under_way(mdap, *WORDS, "--json", "--journal", "other.db") as process:
        process.send_signal(signal.SIGINT)
        said = end(process)
    assert said.code == 130
    assert said.json["status"] == "interrupted"
    assert said.err.splitlines()[-1].endswith(f"`mdap resume {said.json['run']} --journal other.db`")


@pytest.mark.slow
def test_a_second_ctrl_c_quits_at_once_even_while_a_task_keeps_the_loop_busy(mdap: Terminal) -> None:
    mdap.write("endless", ENDLESS)
    words = ("run", "endless:Stuck", "--model", "endless:slow", "--k", "1")
    with under_way(mdap, *words, until="in parse") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        said = end(process)
    assert said.code == 130
    assert "quit at once" in said.err


@pytest.mark.slow
def test_a_second_process_is_told_which_one_drives_the_run(mdap: Terminal) -> None:
    mdap.write("endless", ENDLESS)
    with under_way(mdap, "run", "endless:Endless", "--model", "endless:slow", "--k", "1") as process:
        run = mdap.last()
        said = mdap("resume", run)
        assert said.code == 1
        assert str(process.pid) in said.err
        # Looking does not disturb.
        shown = mdap("show", run, "--json").json
        assert (shown["status"], shown["steps"] > 0) == ("running", True)
        assert mdap("show", run, "--step", "3").code == 0
        process.send_signal(signal.SIGINT)
        assert end(process).code == 130


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(mdap: Terminal) -> None:
    # At most 64 decisions wait for the disk, so that some of 150 are on it.
    with under_way(mdap, *WORDS, until="step 150 decided") as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    run = mdap.last()
    assert mdap("runs", "--json").json[-1]["status"] == "interrupted"
    assert mdap("show", run, "--json").json["status"] == "interrupted"
    before = mdap("show", run, "--json").json["seconds"]
    assert mdap("runs").next == mdap("show", run).next == [["resume", run]]
    resumed = mdap("resume", run, "--json")
    assert (resumed.code, resumed.json["wrong"]) == (0, 0)
    assert 0 < before < resumed.json["seconds"], "the time of the killed segment counts"
    assert len(mdap("export", run).out.splitlines()) == 2047


@pytest.mark.slow
def test_a_served_model_answers_until_ctrl_c_and_a_run_over_it_is_right(mdap: Terminal) -> None:
    words = ("serve", "simulated:p=0.98", "--task", "hanoi:disks=4", "--chaos", "429=0.05,drop=0.05,cut=0.2")
    with mdap.start(*words) as server:
        assert server.stderr is not None
        url = next(word for word in server.stderr.readline().split() if word.startswith("http"))
        run = ("run", "hanoi:disks=4", "--model", "openai:any", "--base-url", url, "--k", "3", "--timeout", "2")
        made = mdap(*run, "--json")
        server.send_signal(signal.SIGINT)
        said = end(server)
    assert (made.code, made.json["wrong"]) == (0, 0)
    assert made.json["retries"].keys() & {"429", "dropped"}
    assert json.dumps(made.json["flagged"]) != "{}"
    assert (said.code, said.out) == (0, "")
