"""Runs whose replies call tools: once, after the decision, with every outcome by its name in the next state."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import mdap
from mdap import api
from mdap.core.errors import FingerprintChanged, Stop, UsageError
from mdap.core.history import Acted, Decided
from mdap.core.records import ABSENT
from mdap.core.tooling import Outcome, ToolIntent
from mdap.inbox import resolve, waiting
from mdap.journal import open_journal
from mdap.measuring import metrics
from mdap.models.scripted import scripted
from mdap.planning.tool_task import MARK, ToolTask
from mdap.tools import SIDE_EFFECTS, Toolbox, tool
from tests.engine.support import Watched
from tests.tool_support import Clerk, Ledger, Order, Paired, Watching, call

ANYTHING = (*SIDE_EFFECTS, "search")


def price(item: str = "pen") -> int:
    """Look up what an item costs."""
    return len(item)


def box(*tools: Any, rounds: int = 3) -> Toolbox:
    return Toolbox(tools, allow=ANYTHING, rounds=rounds)


def outcomes(result: mdap.Result) -> list[dict[str, Any]]:
    return [entry.action for state, entry, _ in result.decisions if "pending" in state.get(MARK, {})]


def run_with(task: Any, model: Any, *tools: Any, rounds: int = 3, **options: Any) -> mdap.Result:
    settings = {"k": 2, "journal": open_journal(None), **options}
    return mdap.run(task, model, tools=box(*tools, rounds=rounds), **settings)


@pytest.mark.parametrize("task", [Order(), Paired(), Watching()])
@pytest.mark.parametrize("lookahead", [0, 8])
def test_a_step_calls_its_tool_and_then_answers(task: Any, lookahead: int) -> None:
    calls: list[str] = []

    def price(item: str) -> int:
        """Look up what an item costs."""
        calls.append(item)
        return 3

    result = run_with(task, Clerk("price", item="pen"), price, lookahead=lookahead)
    assert result.status == "done"
    # The state of one task alone holds what its tool said; there, the second step knows it already.
    assert calls == (["pen"] if isinstance(task, Watching) else ["pen", "pen"])
    assert (result.state["step"], result.state["sum"]) == (2, 10)
    assert outcomes(result)[0] == {"status": "ok", "value": 3}


def test_what_came_of_a_call_stands_in_the_next_prompt() -> None:
    model = Clerk("price", item="pen")
    run_with(Order(), model, price)
    first, second = model.requests[0].messages[-1].content, model.requests[2].messages[-1].content
    assert first.startswith("Step 0, sum 0: what is to be added?")
    assert "- price: Look up what an item costs." in first
    assert 'price {"item":"pen"}\n   {"status": "ok", "value": 3}' in second


def test_a_task_that_observes_has_the_outcome_in_its_own_state() -> None:
    result = run_with(Watching(), Clerk("price", item="pen"), price)
    assert result.state["known"] == ["price", "ok", 3]


def test_calls_with_other_rationales_are_one_candidate_and_other_arguments_are_not() -> None:
    replies = [call("price", f"because {n}", item="pen") for n in range(2)] + ["1", "1"] * 2
    result = run_with(Order(), scripted(replies), price, in_flight=1)
    entries = [entry for _, entry, _ in result.decisions]
    assert [entry.votes for entry in entries] == [(2,), (), (2,), (2,)]
    replies = [call("price", item=item) for item in ("pen", "ink", "pen", "pen")] + ["1", "1"] * 2
    result = run_with(Order(), scripted(replies), price, in_flight=1)
    assert next(entry.votes for _, entry, _ in result.decisions) == (3, 1)


def test_arguments_that_say_the_same_are_one_candidate() -> None:
    replies = [call("price", item="pen"), call("price")] + ["1", "1"] * 2
    result = run_with(Order(), scripted(replies), price, in_flight=1)
    assert next(entry.votes for _, entry, _ in result.decisions) == (2,)


@pytest.mark.parametrize(
    ("reply", "flag"),
    [
        (call("prise", item="pen"), "tool"),
        (call("price", item=3), "tool"),
        (call("price", colour="red"), "tool"),
        ('{"tool": "price"}', "malformed"),
        ('{"tool": "price", "arguments": {"item": "pen"}', "malformed"),
    ],
)
def test_a_call_that_cannot_be_made_is_a_red_flag_and_no_vote(reply: str, flag: str) -> None:
    result = run_with(Order(), scripted([reply, "1", "1", "2", "2"]), price, in_flight=1)
    assert result.flagged == {flag: 1}
    assert result.state["sum"] == 3


def test_a_step_calls_at_most_three_times_and_one_more_call_comes_to_the_outcome_limit() -> None:
    calls = 0

    def price(item: str) -> int:
        """Look up."""
        nonlocal calls
        calls += 1
        return calls

    def stubborn(prompt: str) -> str:
        return "7" if "No tool can be called any more" in prompt else call("price", item="pen")

    result = run_with(Order(), stubborn, price)
    assert result.status == "done"
    assert calls == 6
    seen = [state[MARK]["calls"] for state, _, _ in result.decisions if state.get(MARK, {}).get("rounds") == 4]
    assert [outcome["status"] for _, outcome in seen[0]] == ["ok", "ok", "ok", "limit"]
    assert sum(1 for _ in result.decisions) == 2 * (3 + 3 + 1 + 1)


def test_a_model_that_only_ever_calls_ends_its_step_undecided_within_its_caps() -> None:
    calls: list[int] = []

    def price() -> None:
        """Look up."""
        calls.append(1)

    result = run_with(Order(), lambda prompt: call("price"), price, rounds=1, redraws=2)
    assert (result.status, len(calls)) == ("undecided", 1)
    assert result.flagged["tool"] > 0


def test_every_end_of_a_call_is_an_outcome_by_name() -> None:
    class Own(Exception):
        pass

    hold = threading.Event()

    def raises(item: str) -> None:
        """Raise."""
        raise Own(item * 10_000)

    def hangs(item: str) -> None:
        """Hang."""
        hold.wait(20)

    async def sleeps(item: str) -> None:
        """Sleep."""
        await asyncio.sleep(20)

    def floods(item: str) -> str:
        """Return megabytes."""
        return item * 2_000_000

    def strange(item: str) -> Any:
        """Return what is no JSON."""
        return object()

    def nan(item: str) -> Any:
        """Return what JSON cannot hold."""
        return {"x": float("nan")}

    def leaves(item: str) -> None:
        """End the program."""
        raise SystemExit(3)

    def stops(item: str) -> None:
        """Raise one of our own errors."""
        raise Stop("enough")

    async def times(item: str) -> None:
        """Raise a TimeoutError of its own."""
        raise TimeoutError("the line is slow")

    expected = {raises: "raised", hangs: "timeout", sleeps: "timeout", floods: "too_large", strange: "unreadable"}
    expected |= {nan: "unreadable", leaves: "raised", stops: "raised", times: "raised"}
    began = time.monotonic()
    for function, status in expected.items():
        model = Clerk(function.__name__, item="ab")
        result = run_with(Order(), model, tool(function, timeout=0.05))
        assert result.status == "done", function.__name__
        assert {outcome["status"] for outcome in outcomes(result)} == {status}, function.__name__
        assert all(len(str(outcome)) < 3_000 for outcome in outcomes(result))
        assert status in model.requests[-1].messages[-1].content
    hold.set()
    assert time.monotonic() - began < 15


def test_a_hook_still_ends_a_run_that_calls_tools() -> None:
    def stop(event: Any) -> None:
        raise Stop("enough")

    assert run_with(Order(), Clerk("price"), price, on_event=stop).status == "stopped"


def test_an_asynchronous_tool_is_awaited_and_arguments_come_as_their_types() -> None:
    async def price(item: str, count: int = 2) -> dict[str, Any]:
        """Look up."""
        await asyncio.sleep(0)
        return {"cost": len(item) * count, "kind": type(count).__name__}

    result = run_with(Order(), Clerk("price", item="pen"), price)
    assert outcomes(result)[0]["value"] == {"cost": 6, "kind": "int"}


def test_the_decision_is_durable_before_the_call_is_begun_and_that_before_it_is_made() -> None:
    journal = Watched(delay=0.001)
    seen: list[tuple[int, list[str]]] = []

    def price(item: str) -> int:
        """Look up."""
        kinds = [
            e.act[:5] if isinstance(e, Acted) else "move" for e in journal.entries if isinstance(e, Acted | Decided)
        ]
        seen.append((journal.durable - len(journal.entries), kinds))
        return 1

    run_with(Order(), Clerk("price", item="pen"), price, journal=journal)
    assert seen[0] == (0, ["move", "call:"])
    assert seen[1] == (0, ["move", "call:", "move", "move", "move", "call:"])


def test_a_replay_calls_nothing_and_gives_the_same_states() -> None:
    journal = open_journal(None)
    calls: list[str] = []

    def price(item: str) -> int:
        """Look up."""
        calls.append(item)
        return 1

    whole = run_with(Order(), Clerk("price", item="pen"), price)
    for steps in (1, 2, 3, 4, 5):
        calls.clear()
        journal = open_journal(None)
        first = run_with(Order(), Clerk("price", item="pen"), price, journal=journal, max_steps=steps)
        assert first.status == "stopped"
        result = mdap.resume(
            first.run, journal=journal, task=Order(), model=Clerk("price", item="pen"), tools=box(price), max_steps=None
        )
        assert result.status == "done"
        assert list(result.export()) == list(whole.export())
        assert len(calls) == 2


def test_a_resume_without_the_tools_says_what_is_missing() -> None:
    journal = open_journal(None)
    first = run_with(Order(), Clerk("price"), price, journal=journal, max_steps=1)
    with pytest.raises(FingerprintChanged, match=r"tools: price -> \(absent\)"):
        mdap.resume(first.run, journal=journal, task=Order(), model=Clerk("price"))


@pytest.mark.parametrize("way", ["retry", "outcome"])
def test_an_unknown_outcome_is_asked_about_and_nothing_is_repeated_unless_a_person_says_so(way: str) -> None:
    calls: list[str] = []

    def price(item: str, idempotency_key: str) -> int:
        """Look up."""
        calls.append(idempotency_key)
        return 4

    watched = Watched()
    run_with(Order(), Clerk("price", item="pen"), price, journal=watched)
    begun = next(n for n, entry in enumerate(watched.entries, 1) if isinstance(entry, Acted))
    left = watched.killed_after(begun)
    assert watched.head_given is not None
    run, known = watched.head_given.id, list(calls)
    calls.clear()

    def again() -> mdap.Result:
        return mdap.resume(run, journal=left, task=Order(), model=Clerk("price", item="pen"), tools=box(price))

    for _ in range(2):
        result = again()
        assert (result.status, calls) == ("undecided", [])
        assert "nobody knows what came of it" in result.reason
        assert f"mdap resolve {run} 1 --retry" in result.reason or "mdap resolve RUN 1 --retry" in result.reason
    (found,) = waiting(left)
    assert (found.step, found.call, found.candidates) == (1, 'price {"item":"pen"}', ())
    for words in ({"accept": "x"}, {"k": 3}, {"override": mdap.Move(1, ABSENT)}):
        with pytest.raises(UsageError, match="nobody votes on"):
            resolve(left, run, 1, by="Ann", **words)
    said: dict[str, Any] = {"retry": True} if way == "retry" else {"outcome": 4}
    assert resolve(left, run, 1, by="Ann", **said).by == "Ann"
    assert list(waiting(left)) == []
    result = again()
    assert result.status == "done"
    assert outcomes(result) == [{"status": "ok", "value": 4}] * 2
    # The second step's call is made in either case; the first one's only where a person has said so, by the same key.
    assert calls == (known if way == "retry" else known[1:])


def test_only_what_waits_for_a_tool_can_be_retried() -> None:
    journal = open_journal(None)
    result = run_with(Order(), scripted(["1", "2"] * 3), price, journal=journal, max_samples=4, in_flight=1)
    with pytest.raises(UsageError, match="waits for votes"):
        resolve(journal, result.run, 0, by="Ann", retry=True)
    with pytest.raises(UsageError, match="one thing"):
        resolve(journal, result.run, 0, by="Ann", retry=True, outcome=3)


def test_keys_differ_from_call_to_call_and_name_no_more_than_one() -> None:
    keys: list[str] = []

    def price(item: str, idempotency_key: str) -> int:
        """Look up."""
        keys.append(idempotency_key)
        return 4

    for _ in range(2):
        run_with(Order(), Clerk("price", item="pen"), price)
    assert len(set(keys)) == len(keys) == 4
    assert all(len(key) == 32 for key in keys)


def test_rows_of_a_map_call_tools_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "paid")
    journal = open_journal(None)

    def order(amount: int) -> Order:
        return Order()

    def clerk(prompt: str) -> str:
        return "5" if "came of it:" in prompt else call("pay", amount=3)

    result = mdap.map(order, [1, 2, 3], clerk, k=2, journal=journal, tools=box(ledger.pay))
    assert result.counts == {"done": 3}
    assert len(ledger.paid) == len(set(ledger.paid)) == 6
    assert metrics(journal, result.run).ballots.steps == 3 * 4


def test_a_row_whose_call_has_an_unknown_outcome_waits_and_the_others_go_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "paid")
    watched = Watched()

    def clerk(prompt: str) -> str:
        return "5" if "came of it:" in prompt else call("pay", amount=3)

    def order(amount: int) -> Order:
        return Order()

    mdap.map(order, [1, 2], clerk, k=2, journal=watched, tools=box(ledger.pay), in_flight=1)
    begun = next(n for n, entry in enumerate(watched.entries, 1) if isinstance(entry, Acted))
    left = watched.killed_after(begun)
    assert watched.head_given is not None
    run, before = watched.head_given.id, len(ledger.paid)
    result = mdap.map(order, [1, 2], clerk, run=run, journal=left, tools=box(ledger.pay))
    assert result.counts == {"done": 1, "undecided": 1}
    assert len(ledger.paid) - before == 2
    (found,) = waiting(left)
    assert (found.row, found.step, found.call) == (0, 1, 'pay {"amount":3}')
    resolve(left, run, 1, by="Ann", row=0, outcome="paid 3")
    result = mdap.map(order, [1, 2], clerk, run=run, journal=left, tools=box(ledger.pay))
    assert result.counts == {"done": 2}
    assert len(ledger.paid) - before == 3


def test_what_came_of_calls_is_no_evidence_about_votes() -> None:
    journal = open_journal(None)
    result = run_with(Order(), Clerk("price", item="pen"), price, journal=journal)
    assert set(result.book.kinds) == {""}
    assert result.book.kinds[""].steps == 4
    assert result.steps == 6
    assert metrics(journal, result.run, steps=True).each[1].votes == ()


def test_tools_that_change_something_are_refused_unless_allowed() -> None:
    def write_file(path: str) -> None:
        """Write a file."""

    with pytest.raises(UsageError, match="file_write, which is not allowed"):
        mdap.run(Order(), Clerk("write_file"), tools=[write_file])
    with pytest.raises(UsageError, match="rounds"):
        Toolbox([], rounds=0)
    with pytest.raises(UsageError, match="timeout"):
        tool(price, timeout=0)


class Own:
    """A task that says by itself what it calls: the sum of two tools' words."""

    def __init__(self, *tools: Any) -> None:
        self.hands = box(*tools).hands

    def start(self) -> Any:
        return {"words": []}

    def is_done(self, state: Any) -> bool:
        return len(state["words"]) == 3

    def effect(self, state: Any) -> ToolIntent | None:
        return ToolIntent("price", {"item": "x" * len(state["words"])}) if len(state["words"]) < 2 else None

    def observe(self, state: Any, intent: ToolIntent, outcome: Outcome) -> Any:
        return {"words": [*state["words"], outcome.value]}

    def prompt(self, state: Any) -> str:
        return "And?"

    def parse(self, text: str, state: Any) -> mdap.Move:
        return mdap.Move(text, {"words": [*state["words"], text]})


def test_a_task_may_say_by_itself_what_it_calls() -> None:
    result = mdap.run(Own(price), lambda prompt: "end", k=1)
    assert result.state == {"words": [0, 1, "end"]}
    with pytest.raises(UsageError, match="says by itself"):
        mdap.run(Own(), lambda prompt: "end", tools=box(price))
    with pytest.raises(UsageError, match="calls price; there are: none"):
        mdap.run(Own(), lambda prompt: "end", k=1)


async def test_being_cancelled_within_a_call_leaves_its_outcome_unknown() -> None:
    entered = asyncio.Event()

    async def price(item: str) -> int:
        """Look up."""
        entered.set()
        await asyncio.sleep(60)
        return 1

    journal = open_journal(None)
    work = asyncio.ensure_future(api.run(Order(), Clerk("price", item="pen"), tools=box(price), k=2, journal=journal))
    await entered.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    (head,) = journal.heads()
    result = await api.resume(
        head.id, journal=journal, task=Order(), model=Clerk("price", item="pen"), tools=box(price)
    )
    assert result.status == "undecided"
    assert [found.call for found in waiting(journal)] == ['price {"item":"pen"}']


def test_a_state_of_the_task_s_own_is_not_changed_by_its_tools() -> None:
    task = ToolTask(Order(), box(price).schemas)
    assert task.start() == Order().start()
    assert task.effect(task.start()) is None
