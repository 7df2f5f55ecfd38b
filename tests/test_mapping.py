"""Many rows through one run: each row as if it were alone, in order, under one budget, and resumable."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mdap
from mdap.clock import LoopClock, run_virtual
from mdap.core.errors import FingerprintChanged, ModelRejected, Stop, UsageError
from mdap.core.records import Decision, Request, Response, Step
from mdap.core.redflags import red_flags
from mdap.core.rules import rule
from mdap.core.settings import Settings
from mdap.core.template import Template
from mdap.engine.poll import Poll
from mdap.engine.rows import Row
from mdap.engine.solution import generate_solution
from mdap.engine.taskview import TaskView
from mdap.engine.vote import Asking
from mdap.engine.voting import do_voting
from mdap.journal import open_journal
from mdap.models.simulated import simulated
from mdap.prompts import Prompts
from mdap.rowio import WINDOW
from tests.mapping_support import Count, Noted, Sum, sums

MODEL = "simulated:p=0.8,flags=0.05,seed=4"
ROOT = Path(__file__).parents[1]


async def alone(make: Any, raw: Any, item: int, seed: int = 0, k: int = 3) -> Any:
    """The end state of one row, walked by the three algorithms alone: no map, no journal, no wrapper."""
    view = TaskView(make(raw))
    model = simulated(p=0.8, flags=0.05, seed=4).bind(view.task)
    asking = Asking(view, model.complete, red_flags(None), Settings(seed=seed), LoopClock())

    async def decide(step: Step) -> Decision:
        return await do_voting(asking, rule(f"ahead_by_k:{k}"), step, polls)

    polls: dict[int, Poll] = {}
    return await generate_solution(view, view.start(), 0, decide, 100, item)


def test_rows_come_out_in_order_with_their_status_and_result() -> None:
    mapped = mdap.map(Sum, sums(50), "simulated:p=0.999,seed=1")
    rows = list(mapped.rows)
    assert [row.row for row in rows] == list(range(50))
    assert {row.status for row in rows} == {"done"}
    assert [row.result for row in rows] == [{"sum": n + n % 7} for n in range(50)]
    assert (mapped.status, mapped.counts, mapped.steps) == ("done", {"done": 50}, 50)
    assert mapped.votes == sum(row.agreed + row.dissent for row in rows)


@pytest.mark.parametrize("make", [Sum, Count])
async def test_each_row_ends_as_if_it_were_alone(make: Any) -> None:
    rows = [{"a": n, "b": 4} for n in range(40)]
    mapped = await mdap.aio.map(make, rows, MODEL, seed=9)
    assert [row.result for row in mapped.rows] == [await alone(make, raw, n, 9) for n, raw in enumerate(rows)]


async def test_equal_rows_are_drawn_by_their_number_and_so_not_alike() -> None:
    mapped = await mdap.aio.map(Sum, [{"a": 1, "b": 1}] * 60, "simulated:p=0.6", k=1)
    assert len({row.result["sum"] for row in mapped.rows}) == 2


@pytest.mark.parametrize(("in_flight", "lag"), [(1, 0.0), (3, 0.01), (64, 0.5)])
def test_concurrency_and_latency_change_no_row_and_no_order(in_flight: int, lag: float) -> None:
    rows = [{"a": n, "b": 4} for n in range(30)]
    plain = list(mdap.map(Count, rows, Noted()).rows)
    model = Noted(lag=lag)
    assert list(run_virtual(mdap.aio.map(Count, rows, model, in_flight=in_flight)).rows) == plain
    assert model.most_open <= in_flight
    assert model.most_open == in_flight or in_flight > 1


def test_items_may_be_any_iterable_and_none_is_read_before_it_is_needed() -> None:
    read: list[int] = []

    mapped = mdap.map(Sum, lazily(10**9, read), "simulated:p=0.99", budget_calls=300, in_flight=4)
    assert mapped.status == "budget"
    assert len(read) <= mapped.counts["done"] + 4 + 1


def lazily(count: int, read: list[int]) -> Iterator[dict[str, int]]:
    for n in range(count):
        read.append(n)
        yield {"a": n, "b": 1}


def test_no_rows_are_no_error(tmp_path: Path) -> None:
    mapped = mdap.map(Sum, [], MODEL, output=tmp_path / "out.jsonl")
    assert (mapped.status, list(mapped.rows)) == ("done", [])
    assert (tmp_path / "out.jsonl").read_bytes() == b""


# What ends a row, and what ends the map.


def test_a_row_whose_task_cannot_be_made_fails_alone_and_says_why() -> None:
    rows: list[Any] = [*sums(3), {"a": 1}, *sums(2)]
    mapped = mdap.map(Sum, rows, "simulated:p=0.999")
    assert [row.status for row in mapped.rows] == ["done"] * 3 + ["error"] + ["done"] * 2
    assert "KeyError: 'b'" in list(mapped.rows)[3].reason
    assert mapped.status == "error"


def test_an_undecided_row_does_not_stop_the_others() -> None:
    mapped = mdap.map(Sum, sums(60), "simulated:p=0.6", k=3, max_samples=6)
    counts = Counter(row.status for row in mapped.rows)
    assert counts == mapped.counts
    assert counts["undecided"] > 5
    assert counts["done"] > 5
    assert mapped.status == "undecided"
    assert all("6 samples" in row.reason for row in mapped.rows if row.status == "undecided")


def test_a_row_that_goes_on_for_ever_fails_at_its_most_steps() -> None:
    class Endless(Count):
        def is_done(self, state: Any) -> bool:
            return bool(state["left"] == 0 and self.b < 4)

    mapped = mdap.map(Endless, [{"a": 1, "b": 3}, {"a": 1, "b": 4}], "simulated:p=1")
    assert [row.status for row in mapped.rows] == ["done", "error"]
    assert "not done after 4 steps" in list(mapped.rows)[1].reason


class Refusing(Noted):
    """A server that refuses what row 5 asks, by `status`."""

    status = 400

    def bind(self, task: Any) -> Refusing:
        bound = type(self)(self.inner.bind(task))
        bound._root = self._root
        return bound

    async def complete(self, request: Request) -> Response:
        if request.draw.item == 5:
            raise ModelRejected("no", status=self.status)
        return await super().complete(request)


class Unauthorized(Refusing):
    status = 401


def test_a_request_that_a_server_refuses_ends_its_row_alone() -> None:
    mapped = mdap.map(Sum, sums(12), Refusing())
    assert [row.row for row in mapped.rows if row.status != "done"] == [5]


def test_a_key_that_a_server_refuses_ends_the_map_and_what_was_decided_is_kept() -> None:
    journal = open_journal(None)
    with pytest.raises(ModelRejected):
        mdap.map(Sum, sums(12), Unauthorized(), journal=journal, in_flight=1)
    (head,) = journal.heads()
    assert journal.history(head.id).book.status == "error"
    mapped = mdap.map(Sum, sums(12), Noted(), journal=journal, run=head.id)
    assert mapped.counts == {"done": 12}


def test_an_observer_may_stop_the_map_between_two_rows() -> None:
    settled: list[int] = []

    def watch(event: Any) -> None:
        if isinstance(event, mdap.core.events.RowSettled):
            settled.append(event.row)
            if len(settled) == 7:
                raise Stop("enough")

    journal = open_journal(None)
    mapped = mdap.map(Sum, sums(40), MODEL, journal=journal, on_event=watch, in_flight=2)
    assert mapped.status == "stopped"
    assert "enough" in mapped.reason
    assert mdap.map(Sum, sums(40), MODEL, journal=journal, run=mapped.run).counts == {"done": 40}


# One budget for all rows.


@pytest.mark.parametrize("in_flight", [1, 7, 64])
def test_rows_never_spend_more_than_the_budget_of_the_map_together(in_flight: int) -> None:
    model = Noted(lag=0.01)
    mapped = run_virtual(mdap.aio.map(Sum, sums(200), model, budget_calls=100, in_flight=in_flight))
    assert len(model.asked) <= 100
    assert len(model.asked) > 90
    assert mapped.status == "budget"
    assert [row.row for row in mapped.rows] == sorted(row.row for row in mapped.rows)


def test_a_map_that_its_budget_stopped_goes_on_with_a_larger_one_and_asks_nothing_twice() -> None:
    journal, model = open_journal(None), Noted(lag=0.01)
    whole = list(mdap.map(Sum, sums(60), Noted()).rows)
    mapped = run_virtual(mdap.aio.map(Sum, sums(60), model, journal=journal, budget_calls=77))
    segments = 1
    while mapped.status == "budget":
        assert len(model.asked) <= 77 * segments
        segments += 1
        work = mdap.aio.map(Sum, sums(60), model, journal=journal, run=mapped.run, budget_calls=77 * segments)
        mapped = run_virtual(work)
    assert list(mapped.rows) == whole
    assert segments > 2
    assert Counter(model.asked).most_common(1)[0][1] == 1


# Going on.


def test_only_failed_and_undecided_rows_are_asked_again(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    first = mdap.map(Sum, sums(60), "simulated:p=0.6", k=3, max_samples=6, journal=journal)
    left = {row.row for row in first.rows if row.status == "undecided"}
    untouched = Noted(simulated(p=0.6))
    again = mdap.map(Sum, sums(60), untouched, journal=journal, run=first.run)
    assert untouched.asked == []
    assert list(again.rows) == list(first.rows)
    model = Noted(simulated(p=0.6))
    last = mdap.map(Sum, sums(60), model, journal=journal, run=first.run, retry_failed=True, max_samples=300)
    assert {item for item, *_ in model.asked} == left
    assert all(slot >= 4 for _, _, slot, _ in model.asked), "their ballots go on where the cap had left them"
    assert list(last.rows) == list(mdap.map(Sum, sums(60), "simulated:p=0.6", k=3, max_samples=300).rows)


def test_more_rows_may_follow_at_a_resume_but_none_may_have_changed(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    first = mdap.map(Sum, sums(10), MODEL, journal=journal)
    more = mdap.map(Sum, sums(15), MODEL, journal=journal, run=first.run)
    assert list(more.rows)[:10] == list(first.rows)
    changed = [*sums(4), {"a": 99, "b": 99}, *sums(15)[5:]]
    with pytest.raises(FingerprintChanged, match="row 4 is not what it was"):
        mdap.map(Sum, changed, MODEL, journal=journal, run=first.run)


@pytest.mark.parametrize("change", [{"model": "simulated:p=0.7"}, {"k": 4}, {"make": Count}])
def test_a_map_is_not_gone_on_with_as_something_else(change: Any, tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    first = mdap.map(Sum, sums(5), MODEL, journal=journal)
    make, model, k = change.get("make", Sum), change.get("model", MODEL), change.get("k")
    with pytest.raises(FingerprintChanged):
        mdap.map(make, sums(5), model, k=k, journal=journal, run=first.run)


def test_a_run_of_one_task_is_no_map(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    run = mdap.run("hanoi:disks=2", "simulated:p=1", journal=journal).run
    with pytest.raises(UsageError, match="no map"):
        mdap.map(Sum, sums(5), MODEL, journal=journal, run=run)


def test_an_interrupted_map_keeps_what_was_asked_and_asks_none_of_it_again() -> None:
    rows = [{"a": n, "b": 4} for n in range(30)]
    journal, model = open_journal(None), Noted(lag=0.002)

    async def interrupted() -> None:
        async with asyncio.timeout(0.05):
            await mdap.aio.map(Count, rows, model, journal=journal, in_flight=6)

    with pytest.raises(TimeoutError):
        run_virtual(interrupted())
    (head,) = journal.heads()
    book = journal.history(head.id).book
    assert book.status == "interrupted"
    assert 20 < book.totals.samples < len(model.asked), "calls that were in flight gave no sample"
    assert model.open == 0
    mapped = run_virtual(mdap.aio.map(Count, rows, model, journal=journal, run=head.id))
    assert list(mapped.rows) == list(mdap.map(Count, rows, Noted()).rows)
    again = [draw for draw, times in Counter(model.asked).items() if times > 1]
    assert len(again) <= 6, "only what was in flight is asked again"


def one_life(folder: Path, rows: int, moment: float | None) -> bool:
    """Drive the map of this folder in a child process, killed after `moment` seconds; say whether it has ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            journal = open_journal(folder / "runs.db")
            heads = journal.heads()
            model = Noted(notes=folder / "notes", lag=0.0002)
            mapped = asyncio.run(
                mdap.aio.map(
                    Count,
                    [{"a": n, "b": 4} for n in range(rows)],
                    model,
                    journal=journal,
                    output=folder / "out.jsonl",
                    run=heads[0].id if heads else None,
                    in_flight=8,
                )
            )
            journal.close()
            code = 0 if mapped.status == "done" else 3
        finally:
            os._exit(code)
    if moment is not None:
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code == 0


def durable_steps(path: Path) -> set[tuple[int, int]]:
    if not path.exists():
        return set()
    journal = open_journal(path)
    found = {(entry.item, entry.decided.step) for head in journal.heads() for entry in journal.row_decisions(head.id)}
    journal.close()
    return found


@pytest.mark.slow
def test_a_map_killed_again_and_again_ends_as_if_it_never_was_and_asks_no_durable_step_again(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert one_life(whole, 120, None)
    kills = asked = 0
    done: set[tuple[int, int]] = set()
    while not one_life(killed, 120, 0.15 + 0.05 * (kills % 5)):
        kills += 1
        asked, before = check_notes(killed / "notes", asked, done), done
        done = durable_steps(killed / "runs.db")
        assert done >= before
        assert kills < 100
    check_notes(killed / "notes", asked, done)
    assert kills > 1
    assert (killed / "out.jsonl").read_bytes() == (whole / "out.jsonl").read_bytes()


def check_notes(notes: Path, begin: int, durable: set[tuple[int, int]]) -> int:
    """Check that no draw noted from `begin` on is of a step that was durable; return how many there are now."""
    lines = notes.read_text().split("\n")[:-1] if notes.exists() else []
    for line in lines[begin:]:
        item, step, *_ = map(int, line.split())
        assert (item, step) not in durable
    return len(lines)


# What goes out.


def test_the_output_is_one_json_object_a_line_and_is_read_back_as_rows(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    mapped = mdap.map(Sum, sums(5), "simulated:p=1", output=path)
    first = msgspec.json.decode(path.read_bytes().splitlines()[3])
    assert first == {"row": 3, "status": "done", "result": {"sum": 6}, "steps": 1, "agreed": 3, "dissent": 0}
    assert list(mapped.rows) == list(mapped.rows) == list(mdap.map(Sum, sums(5), "simulated:p=1").rows)


def test_a_function_is_given_each_row_once_it_is_durable(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "runs.db")
    seen: list[Row] = []

    def take(row: Row) -> None:
        reader = open_journal(tmp_path / "runs.db")
        assert row.row in {entry.item for entry in reader.row_decisions(reader.heads()[0].id, row.row)}
        reader.close()
        seen.append(row)

    mapped = mdap.map(Sum, sums(8), MODEL, journal=journal, output=take)
    journal.close()
    assert [row.row for row in seen] == list(range(8))
    assert list(mapped.rows) == []


@pytest.mark.slow
def test_one_slow_row_holds_up_no_more_than_the_window() -> None:
    class Slow(Noted):
        async def complete(self, request: Request) -> Response:
            if request.draw.item == 0:
                await asyncio.sleep(1000)
            self._root.asked.append((request.draw.item, 0, 0, 0))
            return await self.inner.complete(request)

        def bind(self, task: Any) -> Slow:
            bound = Slow(self.inner.bind(task))
            bound._root = self._root
            return bound

    model, ahead = Slow(simulated(p=1)), list[int]()

    def watch(event: Any) -> None:
        if isinstance(event, mdap.core.events.RowSettled) and event.row == 0:
            ahead.append(max(item for item, *_ in model.asked))

    mapped = run_virtual(
        mdap.aio.map(Sum, sums(3 * WINDOW), model, on_event=watch, timeout=2000.0, in_flight=8, record="none")
    )
    assert mapped.status == "done"
    assert ahead == [WINDOW - 1]


# A process of its own from the start: the peak of a forked one counts what its parent held.
_MAPPED = """
import resource, sys
import mdap
from tests.mapping_support import Sum
count, folder = int(sys.argv[1]), sys.argv[2]
rows = ({"a": n, "b": 1} for n in range(count))
mdap.map(Sum, rows, "simulated:p=0.998", journal=f"{folder}/{count}.db", output=f"{folder}/{count}.jsonl")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_is_flat_and_the_journal_small(tmp_path: Path) -> None:
    def peak(count: int) -> tuple[int, float]:
        """Kilobytes that a map of so many rows takes at its peak, and its bytes a row."""
        command = [sys.executable, "-c", _MAPPED, str(count), str(tmp_path)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return int(said), (tmp_path / f"{count}.db").stat().st_size / count

    small, _ = peak(2_000)
    large, bytes_a_row = peak(10_000)
    assert large - small < 4_000, f"{small} kB for 2,000 rows, {large} kB for 10,000"
    assert bytes_a_row < 64


# Prompts with slots.


def test_a_slot_is_filled_once_and_never_looked_at_again() -> None:
    template = Template("{a} and {{b}} and {b}")
    assert template.filled({"a": "{b}", "b": "{{a}}"}) == "{b} and {b} and {{a}}"
    assert template.fields == ["a", "b"]


def test_text_goes_in_as_it_is_and_anything_else_as_json() -> None:
    assert Template("{a}|{b}|{c}").filled({"a": 'x"y', "b": [1, "é"], "c": None}) == 'x"y|[1, "é"]|null'


@pytest.mark.parametrize("text", ["{", "}", "a {} b", "{a", "a}", "{a{b}}"])
def test_a_brace_that_is_no_slot_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no slot"):
        Template(text)


def test_a_prompt_makes_a_question_of_each_row_and_a_missing_field_fails_that_row_alone() -> None:
    def clerk(prompt: str) -> str:
        return "blue" if "sky" in prompt else "green"

    rows: list[Any] = [{"thing": "the sky"}, {"thin": "typo"}, "no row", {"thing": "grass"}]
    mapped = mdap.map(Prompts("Which colour has {thing}?", one_of=["blue", "green"]), rows, clerk, k=2)
    assert [row.status for row in mapped.rows] == ["done", "error", "error", "done"]
    assert [row.result for row in mapped.rows if row.status == "done"] == [{"answer": "blue"}, {"answer": "green"}]
    assert "no field 'thing'" in list(mapped.rows)[1].reason


def test_another_prompt_is_another_map(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"

    def yes(prompt: str) -> str:
        return "yes"

    first = mdap.map(Prompts("Is {a} {a}?"), [{"a": "x", "b": "x"}], yes, journal=journal)
    with pytest.raises(FingerprintChanged, match="prompt:"):
        mdap.map(Prompts("Is {a} {b}?"), [{"a": "x", "b": "x"}], yes, journal=journal, run=first.run)


def test_a_context_of_ones_own_holds_for_every_row() -> None:
    mapped = mdap.map(Sum, [{"a": 1, "b": 2}, {"a": int("9" * 400), "b": 2}], "simulated:p=0.999,seed=1", context=50)
    short, long = mapped.rows
    assert (short.status, long.status) == ("done", "error")
    assert "context" in long.reason
