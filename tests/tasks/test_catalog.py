"""Tasks by name, and a user's own class by `package.module:Class`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from mdap.core.errors import RedFlag, TaskError, UsageError
from mdap.core.records import Move
from mdap.core.strictjson import read_json
from mdap.tasks import Hanoi, RunningSum, hanoi, running_sum
from mdap.tasks.catalog import TASKS, task
from tests.tasks.contract import TaskContract


class Countdown:
    """A user's own task, with typed options: count down to zero. Votes are on the pair; the prompt is plain text."""

    def __init__(self, start: int = 5, *, fast: bool = False) -> None:
        self.first, self.by = start, 2 if fast else 1
        self.steps = -(-start // self.by)
        self.spec = f"{__name__}:Countdown,start={start}" + (",fast=on" if fast else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Countdown) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def start(self) -> int:
        return self.first

    def is_done(self, state: int) -> bool:
        return state <= 0

    def prompt(self, state: int) -> str:
        return f'Count down by {self.by} from {state}. Reply as JSON: {{"next": number}}.'

    def parse(self, text: str, state: int) -> Move:
        value = read_json(text)
        if not isinstance(value, dict) or type(value.get("next")) is not int:
            raise RedFlag(f"{value!r} names no integer")
        return Move(value["next"], value["next"])

    def answer(self, state: int) -> Move:
        return Move(state - self.by, state - self.by)

    def write(self, move: Move) -> str:
        return f'{{"next": {move.action}}}'

    def mistakes(self, state: int) -> list[Move]:
        return [Move(wrong, wrong) for wrong in (state - self.by - 1, state)]

    def read(self, messages: Any) -> int:
        if not messages or not messages[-1].content.startswith("Count down"):
            raise ValueError("not a prompt of countdown")
        return int(messages[-1].content.rpartition("from ")[2].partition(".")[0])

    def sample(self, rng: Random) -> int:
        return rng.randint(1, self.first)


class Scores:
    """Needs a dictionary of no default."""

    def __init__(self, rows: int, scale: float) -> None:
        self.rows, self.scale = rows, scale


READY = Countdown(3)


class TestAUsersOwnTask(TaskContract):
    def make(self) -> Countdown:
        return Countdown(7)


class TestAUsersOwnTaskWithOptions(TaskContract):
    def make(self) -> Countdown:
        return Countdown(9, fast=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_the_tasks_that_ship_are_found_by_name_with_their_options() -> None:
    assert sorted(TASKS) == ["hanoi", "multiplication", "question", "running_sum", "sorting"]
    made = task("hanoi:disks=6,oracle=on,start=3,parser=repair")
    assert made == hanoi(6, oracle=True, start=3, parser="repair")
    assert task("running_sum:keys=5,length=9,seed=2") == running_sum(5, 9, 2)


def test_a_bare_value_is_the_size_of_the_task() -> None:
    assert task("hanoi:7") == hanoi(7)
    assert task("hanoi:7,oracle=on") == hanoi(7, oracle=True)
    assert task("running_sum:50") == running_sum(length=50)


def test_a_name_alone_takes_the_defaults() -> None:
    assert isinstance(task("hanoi"), Hanoi)
    assert isinstance(task("running_sum"), RunningSum)


def test_an_object_that_is_a_task_is_returned_as_it_is() -> None:
    made = Countdown()
    assert task(made) is made


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "hanio:disks=5",
            r"unknown task 'hanio'.*did you mean 'hanoi'.*hanoi, multiplication, question, running_sum, .*module:Class",
        ),
        ("hanio", "did you mean 'hanoi'"),
        ("hanio:5", "did you mean 'hanoi'"),
        ("hanio:Five", "did you mean 'hanoi'"),
        ("hanoi:disk=5", "unknown option of hanoi 'disk'.*did you mean 'disks'"),
        ("hanoi:disks=five", "disks='five' is not int"),
        ("hanoi:disks=99", "disks=99 is out of range"),
        ("hanoi:oracle=maybe", "oracle='maybe' is not on or off"),
        ("hanoi:parser=lenient", "parser='lenient' is not strict or repair"),
        (":disks=5", "has no name"),
        ("no_such_package.steps:Mine", "no module 'no_such_package'.*PYTHONPATH"),
        ("mdap.no_such_module:Mine", "no module 'mdap.no_such_module'"),
        (f"{__name__}:Countdwn", "unknown class in .*'Countdwn'.*did you mean 'Countdown'"),
        (f"{__name__}:Countdown,begin=5", "unknown option of .*'begin'.*there is: fast, start"),
        (f"{__name__}:Countdown,start=soon", "start='soon' is not int"),
        (f"{__name__}:Scores", "needs rows and scale.*Scores:rows=...,scale=..."),
        (f"{__name__}:Scores,rows=1", "needs scale"),
        (f"{__name__}:Scores,rows=1,scale=2", "is no task: it has no method start"),
    ],
)
def test_a_spec_that_names_nothing_says_what_there_is(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        task(spec)


def test_a_class_of_one_s_own_is_imported_and_called_with_typed_options() -> None:
    assert task(f"{__name__}:Countdown") == Countdown(5)
    assert task(f"{__name__}:Countdown,start=9,fast=on") == Countdown(9, fast=True)


def test_an_object_in_a_module_will_do_where_no_options_are_given() -> None:
    assert task(f"{__name__}:READY") is READY


def test_a_module_in_the_path_is_imported_and_classes_may_be_nested(folder: Path) -> None:
    (folder / "my_steps.py").write_text(
        f"from {__name__} import Countdown\n\nclass Mine:\n    Inner = Countdown\n", encoding="utf-8"
    )
    assert task("my_steps:Mine.Inner,start=4") == Countdown(4)


def test_what_an_imported_module_itself_lacks_is_named(folder: Path) -> None:
    (folder / "my_needy_steps.py").write_text("import a_library_not_installed\n", encoding="utf-8")
    with pytest.raises(UsageError, match="needs 'a_library_not_installed'"):
        task("my_needy_steps:Mine")


def test_an_error_of_the_imported_module_is_shown_as_it_is(folder: Path) -> None:
    (folder / "my_broken_steps.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        task("my_broken_steps:Mine")


def test_an_error_while_a_task_is_made_names_the_class_and_what_it_raised(folder: Path) -> None:
    text = "class Mine:\n    def __init__(self):\n        open('no such file')\n"
    (folder / "my_absent_steps.py").write_text(text, encoding="utf-8")
    with pytest.raises(
        TaskError, match=r"making my_absent_steps:Mine raised FileNotFoundError: .*no such file"
    ) as caught:
        task("my_absent_steps:Mine")
    assert caught.value.remedy


@pytest.mark.parametrize("method", ["start", "is_done", "prompt", "parse"])
def test_an_object_without_a_method_of_a_task_is_refused_naming_it(method: str) -> None:
    methods = {name: print for name in ("start", "is_done", "prompt", "parse") if name != method}
    with pytest.raises(UsageError, match=f"has no method {method}"):
        task(SimpleNamespace(**methods))


def test_a_class_in_place_of_an_object_is_refused_with_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"make one of it: Countdown\(\)"):
        task(Countdown)  # type: ignore[arg-type]


def test_voting_on_the_action_needs_code_that_computes_the_next_state() -> None:
    odd = Countdown()
    odd.vote_on = "action"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="no method apply"):
        task(odd)
