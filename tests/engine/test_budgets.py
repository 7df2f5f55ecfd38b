"""Budgets of a run: never overshot, whatever is flagged, retried, cancelled or killed, and however it is resumed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdap import api
from mdap.clock import run_virtual
from mdap.core.history import Decided, Ended, Entry, Leased, Resumed
from mdap.core.records import Request, Response, Usage
from mdap.engine.calling import reservation
from mdap.journal import open_journal
from tests.engine.support import Applied, Chancy, Pairs, Watched, exported, plain_run

CHANCES = st.fixed_dictionaries(
    {
        "p": st.sampled_from([0.5, 0.8]),
        "flags": st.sampled_from([0.0, 0.4]),
        "faults": st.sampled_from([0.0, 0.4]),
        "latency": st.sampled_from([0.0, 3.0]),
        "order": st.integers(0, 1_000),
        "most_used": st.sampled_from([0.05, 1.0]),
    }
)
RULES: dict[str, Any] = {"k": 3, "retries": 60, "redraws": 60, "max_samples": 1_000}


@given(CHANCES, st.integers(0, 80), st.integers(1, 8), st.integers(0, 10**6))
def test_no_more_calls_are_made_than_the_budget_has(
    chances: dict[str, Any], calls: int, in_flight: int, seed: int
) -> None:
    model = Chancy(**chances)
    result = run_virtual(plain_run(Pairs(6), model, budget_calls=calls, in_flight=in_flight, seed=seed, **RULES))
    assert len(model.requests) <= calls
    assert result.book.spend.calls == len(model.requests)
    if result.status == "budget":
        assert len(model.requests) == calls, "what was left of the budget was not used"
        assert "stopped at the budget" in result.reason
        assert "--budget-calls" in result.reason
    else:
        assert result.status == "done"


@given(CHANCES, st.integers(0, 60_000), st.integers(1, 8), st.integers(0, 10**6))
def test_no_more_tokens_are_used_than_the_budget_has(
    chances: dict[str, Any], tokens: int, in_flight: int, seed: int
) -> None:
    model = Chancy(**chances)
    result = run_virtual(plain_run(Pairs(6), model, budget_tokens=tokens, in_flight=in_flight, seed=seed, **RULES))
    assert model.tokens <= result.book.spend.tokens <= tokens
    assert result.tokens["in"] + result.tokens["out"] == model.tokens
    assert result.status in ("done", "budget")
    if not chances["faults"]:
        assert result.book.spend.tokens == model.tokens, "what is settled is what was reported"
    if result.status == "budget":
        assert result.book.spend.tokens + reservation(model_request()) > tokens, "a further call would have fitted"


def model_request() -> Request:
    """A request of the longest prompt of `Pairs(6)`."""
    model = Chancy()
    run_virtual(plain_run(Pairs(1), model))
    return model.requests[0]


@given(CHANCES, st.floats(0, 200), st.integers(1, 8), st.integers(0, 10**6))
def test_no_more_time_is_taken_than_the_budget_has(
    chances: dict[str, Any], seconds: float, in_flight: int, seed: int
) -> None:
    model = Chancy(**{**chances, "latency": 3.0})

    async def main() -> tuple[Any, float]:
        result = await plain_run(Pairs(8), model, budget_seconds=seconds, in_flight=in_flight, seed=seed, **RULES)
        return result, asyncio.get_running_loop().time()

    result, ended = run_virtual(main())
    assert ended <= seconds + 1e-6
    assert result.book.spend.seconds == pytest.approx(ended)
    assert result.status in ("done", "budget")
    assert model.open == 0


def test_a_run_that_fits_its_budget_exactly_is_done() -> None:
    free = Chancy()
    whole = run_virtual(plain_run(Pairs(6), free))
    calls = len(free.requests)
    assert run_virtual(plain_run(Pairs(6), Chancy(), budget_calls=calls)).status == "done"
    short = run_virtual(plain_run(Pairs(6), Chancy(), budget_calls=calls - 1))
    assert (short.status, short.steps) == ("budget", 5)
    assert exported(short) == exported(whole)[:5]


def test_a_budget_with_room_for_one_call_at_a_time_still_runs_to_the_end() -> None:
    one = reservation(model_request())
    model = Chancy(most_used=0.01, latency=2.0, p=1.0)
    result = run_virtual(plain_run(Pairs(6), model, budget_tokens=one + 18 * 10))
    assert (result.status, model.most_open) == ("done", 1)


@given(
    budgets=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    chances=CHANCES,
    cancel_at=st.none() | st.floats(0.5, 30),
)
def test_over_all_its_segments_a_run_stays_within_the_budget_that_is_then_in_force(
    budgets: list[int], chances: dict[str, Any], cancel_at: float | None
) -> None:
    journal, task, models = open_journal(None), Pairs(5), [Chancy(**chances)]

    async def first() -> None:
        work = asyncio.create_task(plain_run(task, models[0], journal=journal, budget_calls=budgets[0], **RULES))
        if cancel_at is not None:
            await asyncio.sleep(cancel_at)
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    run_virtual(first())
    run = journal.heads()[0].id
    total = budgets[0]
    for more in budgets[1:]:
        total += more
        models.append(Chancy(**chances))
        last = run_virtual(api.resume(run, journal=journal, task=task, model=models[-1], budget_calls=total))
        calls = sum(len(model.requests) for model in models)
        assert calls <= total
        assert last.book.spend.calls == calls
    last = run_virtual(api.resume(run, journal=journal, task=task, model=Chancy(**chances), budget_calls=None))
    calm = Chancy(**{**chances, "latency": 0.0, "faults": 0.0})
    assert exported(last) == exported(run_virtual(plain_run(task, calm, **RULES)))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"budget_calls": 2_000}, "calls"),
        ({"budget_tokens": 2_000_000}, "tokens"),
        ({"budget_seconds": 900.0}, "seconds"),
    ],
)
def test_leases_are_written_in_blocks_of_at_most_one_percent(options: dict[str, Any], field: str) -> None:
    watched, model = Watched(), Chancy(latency=1.0)
    result = run_virtual(plain_run(Pairs(60), model, journal=watched, **RULES, **options))
    assert result.status == "done"
    (limit,) = options.values()
    leases = [getattr(entry.lease, field) for entry in watched.entries if isinstance(entry, Leased)]
    assert leases == sorted(leases)
    largest = max(map(reservation, model.requests)) * 3 if field == "tokens" else 3
    steps = [later - sooner for sooner, later in zip([0, *leases], leases, strict=False)]
    assert max(steps) <= max(limit / 100, largest) + 1e-6
    assert len(leases) <= 101 + len(leases) * (field == "seconds"), "leases come by the block and not by the call"
    assert len(leases) < len(model.requests) / 2
    ended = watched.entries[-1]
    assert isinstance(ended, Ended)
    assert getattr(ended.spend, field) <= leases[-1] + 1e-6 + (field == "seconds") * 10


def test_without_a_budget_no_lease_is_written_and_the_spend_is_counted_all_the_same() -> None:
    watched, model = Watched(), Chancy(faults=0.3)
    result = run_virtual(plain_run(Pairs(20), model, journal=watched, **RULES))
    assert not [entry for entry in watched.entries if isinstance(entry, Leased)]
    assert result.book.spend.calls == len(model.requests)


@pytest.mark.parametrize("budget", [{}, {"budget_calls": 300}, {"budget_tokens": 400_000}])
def test_after_a_kill_what_was_leased_counts_as_spent_and_no_call_is_forgotten(budget: dict[str, Any]) -> None:
    made: list[tuple[int, int, int]] = []  # calls begun, and calls and tokens settled, when each entry was appended

    def note(_: Entry) -> None:
        made.append((len(model.requests), model.replies, model.tokens))

    model = Chancy(p=0.6, flags=0.2, faults=0.0 if budget else 0.3)
    watched = Watched(before_append=note)
    run_virtual(plain_run(Pairs(20), model, journal=watched, **RULES, **budget))
    for entries in range(1, len(watched.entries)):
        book = watched.killed_after(entries).history(watched.heads()[0].id).book
        begun, settled, tokens = made[entries - 1]
        if not budget:
            # Without leases, what the decided steps took is what is known; repeated calls are among it.
            if isinstance(watched.entries[entries - 1], Decided):
                assert book.spent.calls == begun
                assert sum(book.totals.retries.values()) == begun - settled
        elif "budget_calls" in budget:
            # A block of 3 calls, or one batch that is larger.
            assert begun <= book.spent.calls <= settled + 3 + 3
        else:
            assert tokens <= book.spent.tokens <= tokens + 4_000 + 3 * reservation(model.requests[-1])


def test_a_killed_run_does_not_get_its_time_back() -> None:
    watched, model = Watched(), Chancy(latency=2.0)
    run_virtual(plain_run(Pairs(40), model, journal=watched, budget_seconds=500.0, **RULES))
    decided = [n for n, entry in enumerate(watched.entries) if isinstance(entry, Decided)]
    book = watched.killed_after(decided[30]).history(watched.heads()[0].id).book
    began = max(t for r, t in zip(model.requests, model.began, strict=True) if r.draw.step == 30)
    assert began <= book.spent.seconds <= began + 5.0 + 2.0


def test_a_bill_above_its_reservation_stops_the_run_by_name_and_is_counted() -> None:
    class Greedy(Chancy):
        async def complete(self, request: Request) -> Response:
            response = await super().complete(request)
            return Response(response.text, "stop", Usage(0, 5_000))

    result = run_virtual(plain_run(Pairs(6), Greedy(p=1.0), k=1, budget_tokens=50_000))
    assert result.status == "budget"
    assert "billed 5,000 tokens for a call of at most" in result.reason
    assert result.book.spend.tokens == 5_000


def test_a_budget_that_has_no_room_for_the_first_call_makes_none_and_says_so() -> None:
    model = Chancy()
    result = run_virtual(plain_run(Applied(4), model, budget_tokens=100))
    assert (result.status, model.requests) == ("budget", [])
    assert "0 tokens taken + " in result.reason


def test_settings_in_force_after_a_resume_are_those_that_were_given_then() -> None:
    watched = Watched()
    first = run_virtual(plain_run(Pairs(6), Chancy(), journal=watched, budget_calls=5, max_samples=90))
    api_options: dict[str, Any] = {"journal": watched, "task": Pairs(6)}
    run_virtual(api.resume(first.run, model=Chancy(), budget_calls=9, **api_options))
    last = run_virtual(api.resume(first.run, model=Chancy(), retries=1, **api_options))
    assert (last.status, last.book.spend.calls) == ("budget", 9)
    assert [e.settings["budget_calls"] for e in watched.entries if isinstance(e, Resumed)] == [9, 9]
    assert (last.book.settings["max_samples"], last.book.settings["retries"]) == (90, 1)
