"""Ctrl-C in every command that asks models: what is said, what is printed, and that the command to go on does go on.

The model itself presses Ctrl-C, so that it comes while a call is under way, and always at the same one.
"""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Terminal

# It presses Ctrl-C at its call of this number, and then waits, as a call that is under way does.
MODELS = """
import asyncio
import os
import pathlib
import signal

from mdap.core.records import Response
from mdap.models import simulated_planner, simulated_solver

HERE = pathlib.Path(__file__).parent


class Pressing:
    def __init__(self, model, at):
        self._model, self._at, self._calls = model, at, 0

    async def complete(self, request):
        self._calls += 1
        if self._calls == self._at and not (HERE / "pressed").exists():
            (HERE / "pressed").touch()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        return await self._model.complete(request)


class Echoing:
    async def complete(self, request):
        return Response(request.messages[-1].content)


class Echo(Pressing):
    spec = "own:Echo"

    def __init__(self):
        super().__init__(Echoing(), 2)


class First(Pressing):
    spec = "own:First"

    def __init__(self):
        super().__init__(Echoing(), 1)


class Planner(Pressing):
    spec = "own:Planner"

    def __init__(self):
        super().__init__(simulated_planner(p=1.0, judge=1.0), 6)


class Solver(Pressing):
    spec = "own:Solver"

    def __init__(self):
        super().__init__(simulated_solver(), 3)
"""
TASK = "Put these words on lines of their own, in this order: alpha, beta, gamma, delta"
LIST = "alpha\nbeta\ngamma\ndelta"
COMMANDS = {
    "ask": (("ask", "yes", "--model", "own:Echo", "--k", "2"), "yes\n"),
    "map": (("map", "rows.jsonl", "--model", "own:Echo", "--prompt", "{n}", "--k", "1", "--in-flight", "1"), None),
    "plan": (("plan", TASK, "--model", "own:Planner", "--k", "2"), None),
    "do": (("do", TASK, "--model", "own:Planner", "--k", "2"), LIST),
    "solve": (("solve", "Multiply 12345 by 678.", "--model", "own:Solver", "--k", "2"), "8369910\n"),
}


@pytest.fixture
def own(mdap: Terminal) -> Terminal:
    """A terminal in a folder with models that press Ctrl-C once, and rows for a map."""
    mdap.write("own", MODELS)
    (mdap.folder / "rows.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n', encoding="utf-8")
    return mdap


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_with_130_and_a_command_that_goes_on_to_the_same_result(name: str, own: Terminal) -> None:
    words, out = COMMANDS[name]
    said = own(*words)
    assert said.code == 130
    last = said.err.splitlines()[-1]
    assert last.startswith("interrupted")
    assert last.endswith(f"; go on with `mdap resume {own.last()}`")
    assert "Traceback" not in said.err
    assert own("runs", "--json").json[-1]["status"] == "interrupted"
    resumed = own(*said.next[-1], "--quiet")
    assert (resumed.code, resumed.err) == (0, "")
    # The rows that were finished before are in the map's file anew, so it prints all of them.
    if out is not None and name != "ask":
        assert resumed.out == out
    assert own("runs", "--json").json[-1]["status"] == "done"


@pytest.mark.parametrize("name", ["ask", "plan", "do", "solve"])
def test_with_json_an_interrupted_run_prints_its_object_with_that_status(name: str, own: Terminal) -> None:
    said = own(*COMMANDS[name][0], "--json", "--quiet")
    assert said.code == 130
    assert (said.json["run"], said.json["status"]) == (own.last(), "interrupted")


def test_the_command_that_goes_on_names_the_journal_whatever_its_name_is(own: Terminal) -> None:
    place = "C:\\runs of 'mine'.db"
    said = own(*COMMANDS["plan"][0], "--journal", place)
    assert said.code == 130
    (words,) = said.next
    assert words[-2:] == ["--journal", place]
    assert own(*words, "--quiet").code == 0
    assert (own.folder / place).exists()
    assert not (own.folder / ".mdap").exists()


def test_what_was_planned_until_ctrl_c_is_not_asked_again(own: Terminal) -> None:
    said = own(*COMMANDS["plan"][0], "--json")
    before = said.json["total"]["steps"]
    assert before > 0
    resumed = own(*said.next[-1], "--json").json
    assert resumed["complete"]
    whole = sum(role["calls"] for role in resumed["totals"].values())
    (own.folder / "pressed").touch()
    again = own(*COMMANDS["plan"][0], "--json").json
    # What was under way when it was interrupted is paid for twice at most.
    assert 0 <= whole - sum(role["calls"] for role in again["totals"].values()) <= 4


def test_a_run_that_is_interrupted_at_its_first_call_is_in_the_journal_all_the_same(own: Terminal) -> None:
    said = own("ask", "yes", "--model", "own:First", "--k", "1", "--quiet")
    assert said.code == 130
    assert "0 of 1 steps are durable" in said.err
    assert own(*said.next[-1], "--quiet").code == 0


def test_an_interrupted_map_leaves_whole_rows_in_order_and_its_resume_leaves_them_all(own: Terminal) -> None:
    words = [*COMMANDS["map"][0], "--output", "out.jsonl"]
    assert own(*words).code == 130

    def _rows() -> list[dict[str, object]]:
        written = (own.folder / "out.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in written.splitlines()]

    left = _rows()
    assert own("resume", own.last(), "--quiet").code == 0
    assert [(row["row"], row["status"]) for row in _rows()] == [(0, "done"), (1, "done"), (2, "done")]
    assert _rows()[: len(left)] == left
