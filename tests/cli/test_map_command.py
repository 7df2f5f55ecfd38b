"""mdap map, inbox and resolve: a file of rows through the command line, killed, told and taken up again."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.cli.conftest import Terminal

TASK = """
from mdap import ABSENT, Move

class Sum:
    steps = 1
    def __init__(self, row): self.a, self.b = row["a"], row["b"]
    def start(self): return {"a": self.a, "b": self.b}
    def is_done(self, state): return "sum" in state
    def prompt(self, state): return f"What is {state['a']} + {state['b']}?"
    def parse(self, text, state): return Move(int(text), ABSENT)
    def apply(self, state, action): return {"sum": action}
    def answer(self, state): return Move(state["a"] + state["b"], ABSENT)
    def write(self, move): return str(move.action)
    def mistakes(self, state): return [Move(state["a"] + state["b"] + 1, ABSENT)]

def shout(prompt):
    return prompt.upper()
"""
MODEL = ("--model", "simulated:p=0.6")


@pytest.fixture
def shop(mdap: Terminal) -> Terminal:
    """A folder with a task and twelve rows, a bad one and a blank line among them."""
    mdap.write("shop", TASK)
    lines = [json.dumps({"a": n, "b": 1}) for n in range(12)]
    (mdap.folder / "rows.jsonl").write_text("\n".join([*lines[:5], "", "nonsense", *lines[5:]]) + "\n")
    return mdap


def out(shop: Terminal) -> list[Any]:
    return [json.loads(line) for line in (shop.folder / "out.jsonl").read_text().splitlines()]


def mapped(shop: Terminal, *words: str) -> Any:
    return shop("map", "rows.jsonl", "--task", "shop:Sum", *MODEL, "--output", "out.jsonl", *words)


def test_rows_go_in_and_come_out_in_order_with_their_status(shop: Terminal) -> None:
    said = mapped(shop, "--max-samples", "6")
    rows = out(shop)
    assert [row["row"] for row in rows] == list(range(13))
    assert rows[5]["status"] == "error"
    assert "not JSON" in rows[5]["reason"]
    assert {row["status"] for row in rows} == {"done", "undecided", "error"}
    assert said.code == 3
    assert said.out == ""
    assert "undecided" in said.err


def test_without_an_output_the_rows_alone_are_on_standard_output(shop: Terminal) -> None:
    said = shop("map", "rows.jsonl", "--task", "shop:Sum", "--model", "simulated:p=1")
    assert [json.loads(line)["row"] for line in said.out.splitlines()] == list(range(13))
    assert said.code == 1, "one row failed"


def test_with_json_the_figures_are_one_object(shop: Terminal) -> None:
    said = mapped(shop, "--json")
    assert said.json["counts"]["error"] == 1
    assert shop("map", "rows.jsonl", "--task", "shop:Sum", *MODEL, "--json").code == 2


def test_every_command_that_is_printed_next_works(shop: Terminal) -> None:
    said = mapped(shop, "--max-samples", "6")
    inbox, again = said.next
    assert shop(*inbox).code == 0
    assert shop(*again).code in (1, 3)


def test_what_waits_is_listed_resolved_and_gone_on_with(shop: Terminal) -> None:
    mapped(shop, "--max-samples", "6")
    waiting = shop("inbox", "--json").json
    assert {one["row"] for one in waiting} == {row["row"] for row in out(shop) if row["status"] == "undecided"}
    first, second, third, *_ = waiting
    printed = shop("inbox", first["run"][:6]).out
    assert "What is" in printed
    assert f"mdap resolve {first['run']} 0 --row {first['row']} --accept" in printed
    said = shop("resolve", first["run"], "0", "--row", str(first["row"]), "--accept", first["candidates"][0]["key"])
    assert said.code == 0
    (shop.folder / "move.json").write_text('{"action": 99, "nextstate": 1}')
    overridden = shop("resolve", first["run"], "0", "--row", str(second["row"]), "--override", "move.json")
    assert (overridden.code, "holds no move" in overridden.err) == (2, True)
    (shop.folder / "move.json").write_text('{"action": 99}')
    shop("resolve", first["run"], "0", "--row", str(second["row"]), "--override", "move.json", "--by", "ada")
    shop("resolve", first["run"], "0", "--row", str(third["row"]), "--skip")
    assert len(shop("inbox", "--json").json) == len(waiting) - 3
    shop(*said.next[0])
    rows = out(shop)
    assert rows[first["row"]]["result"] == first["candidates"][0]["next_state"]
    assert rows[second["row"]]["result"] == {"sum": 99}
    assert rows[third["row"]]["status"] == "skipped"
    shown = shop("show", first["run"], "--json").json
    assert any("override, by ada" in done for done in shown["done_about"])


def test_failed_rows_alone_are_tried_again(shop: Terminal) -> None:
    mapped(shop, "--max-samples", "6")
    before = out(shop)
    said = mapped(shop, "--retry-failed", "--max-samples", "300", "--json")
    assert said.json["run"] == shop.last()
    after = out(shop)
    assert [row["status"] for row in after] == ["done"] * 5 + ["error"] + ["done"] * 7
    assert [row for row in before if row["status"] == "done"] == [
        row for row in after if before[row["row"]]["status"] == "done"
    ]
    assert len(shop("runs", "--json").json) == 1


def test_there_must_be_a_map_to_retry(shop: Terminal) -> None:
    assert "no map of" in mapped(shop, "--retry-failed").err


def test_a_prompt_with_slots_asks_one_question_a_row(shop: Terminal) -> None:
    (shop.folder / "rows.jsonl").write_text('{"word": "blue", "n": [1]}\n{"word": "{n}"}\n')
    said = shop("map", "rows.jsonl", "--prompt", "say {word}", "--model", "shop:shout", "--k", "2")
    assert [json.loads(line)["result"]["answer"] for line in said.out.splitlines()] == ["SAY BLUE", "SAY {N}"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "nothing says what a row asks for"),
        (("--task", "shop:Sum", "--prompt", "x"), "task and prompt"),
        (("--task", "shop:None_"), "there is no 'shop:None_'"),
        (("--prompt", "a { b"), "no slot"),
    ],
)
def test_what_cannot_be_mapped_is_told_before_anything_is_asked(
    words: tuple[str, ...], told: str, shop: Terminal
) -> None:
    said = shop("map", "rows.jsonl", *words, *MODEL)
    assert (said.code, told in said.err) == (2, True), said.err
    assert not (shop.folder / "out.jsonl").exists()


def test_a_file_that_is_not_there_is_a_usage_error(shop: Terminal) -> None:
    assert shop("map", "none.jsonl", "--task", "shop:Sum", *MODEL).code == 2


def test_a_map_is_shown_and_exported_by_its_rows(shop: Terminal) -> None:
    mapped(shop)
    run = shop.last()
    assert "12 done, 1 error" in shop("show", run).out
    said = shop("export", run)
    assert said.code == 0
    done = [row["row"] for row in out(shop) if row["status"] == "done"]
    assert [json.loads(line)["row"] for line in said.out.splitlines()] == done


@pytest.mark.slow
def test_a_killed_map_goes_on_where_it_was(shop: Terminal) -> None:
    (shop.folder / "rows.jsonl").write_text("".join(f'{{"a": {n}, "b": 1}}\n' for n in range(400)))
    words = ("map", "rows.jsonl", "--task", "shop:Sum", "--model", "simulated:p=0.9,latency=0.02")
    process = shop.start(*words, "--output", "out.jsonl", "--in-flight", "8")
    try:
        deadline = time.monotonic() + 20
        while not (shop.folder / "out.jsonl").exists() or not (shop.folder / "out.jsonl").stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finished = len(out(shop))
    assert 0 < finished < 400
    said = shop("resume", shop.last(), "--in-flight", "64")
    assert said.code == 0
    assert [row["row"] for row in out(shop)] == list(range(400))
    whole = shop(*words, "--in-flight", "64")
    assert [json.loads(line) for line in whole.out.splitlines()] == out(shop)


def test_remedies_are_flags_and_are_shown(shop: Terminal) -> None:
    said = shop(
        *("run", "hanoi:disks=1", "--model", "simulated:p=0.5,seed=1", "--k", "3", "--max-samples", "3"),
        *("--remedy", "samples:3", "--remedy", "model:simulated:p=1"),
    )
    assert said.code == 0
    assert "at votes 2 to 1: samples:3" in shop("show", shop.last()).out
    step = shop("show", shop.last(), "--step", "0", "--json").json
    assert step["done_about"] == [
        "step 0 at votes 2 to 1: samples:3",
        "step 0 at votes 2 to 1: model:simulated:p=1",
    ]
