"""Budgets in USD: whatever calls cost, fail, are flagged, repeated, cancelled or killed, none is ever overspent.

The bill is drawn up here by fractions, call by call, as a provider would, and knows nothing of the engine's counting.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdap import api
from mdap.clock import run_virtual
from mdap.core.errors import ModelError, UsageError
from mdap.core.history import Decided, Entry, Leased
from mdap.core.keyed import uniforms
from mdap.core.prices import UnitPrices, nano
from mdap.core.records import Request, Response, Usage
from mdap.journal import open_journal
from mdap.models.mixture import Mixture
from tests.engine.support import Chancy, Pairs, Watched, exported

MONEY = st.decimals(0, 20, places=4)
PRICES = st.builds(UnitPrices, MONEY, MONEY, st.none() | MONEY, st.none() | MONEY)
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
USD = st.decimals(0, Decimal("0.2"), places=5)


class Billed(Chancy):
    """A keyed model whose provider bills each call that it has begun, unless it refuses it with a status.

    What was lost on the way, or was cancelled, is billed all the same.
    """

    spec = "billed"

    def __init__(self, prices: UnitPrices, **chances: Any) -> None:
        super().__init__(**chances)
        self.prices = prices
        self.bill = Fraction(0)

    async def complete(self, request: Request) -> Response:
        refused, cached, written = uniforms(b"bill %d %d" % (request.seed, len(self.requests)), 3)
        if self.faults and refused < 0.1:
            self.requests.append(request)
            raise ModelError("too many", status=429, retry_after=0.5)
        _, used = uniforms(b"flag %d" % request.seed, 2)
        sent = sum(len(m.content.encode()) for m in request.messages)
        read, wrote = int(sent * self.most_used * used), int(request.max_tokens * self.most_used * used)
        from_cache = int(read * cached / 2)
        into_cache = int(read * written / 2)
        usage = Usage(read, wrote, cached=from_cache, cache_written=into_cache)
        self.bill += self.cost_of(usage)
        response = await super().complete(request)
        return msgspec.structs.replace(response, usage=usage)

    def cost_of(self, usage: Usage) -> Fraction:
        """USD of one reply."""
        p = self.prices
        parts = [
            (usage.tokens_in - usage.cached - usage.cache_written, p.input),
            (usage.cached, p.input if p.cached is None else p.cached),
            (usage.cache_written, p.input if p.cache_write is None else p.cache_write),
            (usage.tokens_out, p.output),
        ]
        return sum((tokens * Fraction(price) / 1_000_000 for tokens, price in parts), Fraction(0))


def billed_run(model: Any, prices: Any, **options: Any) -> Any:
    return api.run(Pairs(5), model, prices={"billed": prices}, **{**RULES, **options})


@settings(deadline=None)
@given(PRICES, CHANCES, USD, st.integers(1, 8), st.integers(0, 10**6))
def test_the_bill_is_never_above_the_budget(
    prices: UnitPrices, chances: dict[str, Any], usd: Decimal, in_flight: int, seed: int
) -> None:
    model = Billed(prices, **chances)
    # A call that lookahead gives up counts with its whole reservation: nobody knows what it cost.
    options = {"budget_usd": usd, "in_flight": in_flight, "seed": seed, "lookahead": 0}
    result = run_virtual(billed_run(model, prices, **options))
    assert result.status in ("done", "budget")
    assert model.bill <= Fraction(result.cost_usd) <= Fraction(usd)
    if not chances["faults"]:
        # Each call is rounded up to a whole nano-dollar, and nothing else is added.
        assert Fraction(result.cost_usd) - model.bill <= Fraction(len(model.requests), 10**9)
    if result.status == "budget":
        assert "--budget-usd" in result.reason
        assert "stopped at the budget: reserved $" in result.reason


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    prices=st.lists(PRICES, min_size=1, max_size=4),
    budgets=st.lists(USD, min_size=1, max_size=4),
    chances=CHANCES,
    cancel_at=st.none() | st.floats(0.5, 30),
    in_flight=st.integers(1, 8),
)
def test_over_stops_cancellations_and_changes_of_price_the_bill_stays_within_the_budget_then_in_force(
    prices: list[UnitPrices],
    budgets: list[Decimal],
    chances: dict[str, Any],
    cancel_at: float | None,
    in_flight: int,
) -> None:
    journal, task, models = open_journal(None), Pairs(5), [Billed(prices[0], **chances)]

    async def first() -> None:
        run = billed_run(models[0], prices[0], journal=journal, budget_usd=budgets[0], in_flight=in_flight)
        work = asyncio.create_task(run)
        if cancel_at is not None:
            await asyncio.sleep(cancel_at)
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    run_virtual(first())
    run, total = journal.heads()[0].id, budgets[0]
    for number, more in enumerate(budgets[1:], 1):
        total += more
        price = prices[number % len(prices)]
        models.append(Billed(price, **chances))
        work = api.resume(run, journal=journal, task=task, model=models[-1], budget_usd=total, prices={"billed": price})
        result = run_virtual(work)
        bill = sum(model.bill for model in models)
        assert bill <= Fraction(result.cost_usd or 0) <= Fraction(total)
    last = run_virtual(api.resume(run, journal=journal, task=task, model=Billed(prices[0], **chances), budget_usd=None))
    calm = Chancy(**{**chances, "latency": 0.0, "faults": 0.0})
    calm.spec = "billed"
    assert exported(last) == exported(run_virtual(api.run(task, calm, **RULES))), "a stop changed a decision"


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(PRICES, CHANCES, USD, st.floats(0, 1), st.integers(1, 8))
def test_after_a_kill_at_any_moment_the_run_and_its_resume_together_stay_within_the_budget(
    prices: UnitPrices, chances: dict[str, Any], usd: Decimal, moment: float, in_flight: int
) -> None:
    bills: list[Fraction] = []

    def note(_: Entry) -> None:
        bills.append(model.bill)  # what was begun is billed, though nobody will see the reply

    model = Billed(prices, **chances)
    watched: Any = Watched(before_append=note)
    whole = run_virtual(billed_run(model, prices, journal=watched, budget_usd=usd, in_flight=in_flight))
    entries = 1 + int(moment * (len(watched.entries) - 1))
    killed = watched.killed_after(entries)
    # Killed when the next entry would have come: all that was begun until then is lost.
    lost = bills[entries] if entries < len(bills) else model.bill
    again = Billed(prices, **chances)
    result = run_virtual(api.resume(whole.run, journal=killed, task=Pairs(5), model=again))
    assert lost + again.bill <= Fraction(result.cost_usd or 0) <= Fraction(usd)
    assert result.status in ("done", "budget")


def test_leases_of_money_are_blocks_of_at_most_one_percent() -> None:
    prices = UnitPrices(Decimal("0.4"), Decimal("1.6"))
    watched: Any = Watched()
    model = Billed(prices, p=0.8, latency=1.0)
    result = run_virtual(api.run(Pairs(60), model, journal=watched, prices={"billed": prices}, budget_usd=5, **RULES))
    assert result.status == "done"
    leases = [entry.lease.nano for entry in watched.entries if isinstance(entry, Leased)]
    steps = [later - sooner for sooner, later in zip([0, *leases], leases, strict=False)]
    assert leases == sorted(leases)
    assert max(steps) <= nano(Decimal(5)) // 100
    assert len(leases) < len(model.requests) / 10


def test_without_a_budget_the_cost_is_counted_all_the_same_and_survives_a_kill() -> None:
    prices = UnitPrices(Decimal(1), Decimal(4))
    model, watched = Billed(prices, p=0.8), Watched()
    result = run_virtual(billed_run(model, prices, journal=watched))
    assert Fraction(result.cost_usd) == model.bill
    assert not [entry for entry in watched.entries if isinstance(entry, Leased)]
    decided = [n for n, entry in enumerate(watched.entries) if isinstance(entry, Decided)]
    book = watched.killed_after(decided[2] + 1).history(result.run).book
    until = sum(model.cost_of(usage_of(model, n)) for n, r in enumerate(model.requests) if r.draw.step <= 2)
    assert Fraction(book.spent.nano, 10**9) == until


def usage_of(model: Billed, number: int) -> Usage:
    """The usage of the call with this number, drawn up again."""
    again = Billed(model.prices, p=model.p)
    again.task, again.requests = model.task, list(model.requests[:number])
    response = run_virtual(again.complete(model.requests[number]))
    assert response.usage is not None
    return response.usage


def test_the_stop_names_the_figures_and_a_larger_budget_goes_on() -> None:
    prices = UnitPrices(Decimal(10), Decimal(10))
    journal = open_journal(None)
    result = run_virtual(billed_run(Billed(prices, p=1.0), prices, journal=journal, budget_usd="0.05"))
    assert (result.status, result.head.settings["budget_usd"]) == ("budget", "0.05")
    assert result.reason.startswith("stopped at the budget: reserved $0.0")
    assert " + next $0.00" in result.reason
    assert "> $0.05. go on with a larger --budget-usd" in result.reason
    more = run_virtual(
        api.resume(result.run, journal=journal, task=Pairs(5), model=Billed(prices, p=1.0), budget_usd=0.5)
    )
    assert more.status == "done"
    assert more.prices == {"billed": prices}, "the price is kept with the run"


def test_a_bill_above_its_reservation_stops_the_run_by_name() -> None:
    class Greedy(Billed):
        async def complete(self, request: Request) -> Response:
            response = await super().complete(request)
            return msgspec.structs.replace(response, usage=Usage(0, 5_000))

    prices = UnitPrices(Decimal(10), Decimal(10))
    result = run_virtual(billed_run(Greedy(prices, p=1.0), prices, k=1, budget_usd=1))
    assert result.status == "budget"
    assert "the provider billed $0.05 for a call of at most $0.00" in result.reason
    assert result.cost_usd == Decimal("0.05")


def test_a_budget_in_usd_of_a_model_without_a_price_is_refused_unless_it_is_said_to_be_free() -> None:
    model = Billed(UnitPrices(Decimal(0), Decimal(0)), p=1.0)
    journal = open_journal(None)
    with pytest.raises(UsageError, match=r"billed has no price.*--free"):
        run_virtual(api.run(Pairs(5), model, journal=journal, budget_usd=1))
    assert journal.heads() == [], "it was begun before it was refused"
    assert model.requests == []
    result = run_virtual(api.run(Pairs(5), model, budget_usd=1, free=True))
    assert (result.status, result.cost_usd) == ("done", Decimal(0))
    assert result.to_dict()["cost"]["prices"]["billed"]["source"] == "said to be free"


def test_without_a_price_there_is_no_cost_which_is_not_the_same_as_none() -> None:
    result = run_virtual(api.run(Pairs(5), Chancy(p=1.0)))
    assert result.cost_usd is None
    assert "cost" not in result.to_dict()


def test_each_of_several_models_is_counted_at_its_own_price() -> None:
    cheap, dear = (UnitPrices(Decimal(price), Decimal(4 * price)) for price in (1, 20))

    def named(spec: str, prices: UnitPrices) -> Billed:
        model = Billed(prices, p=0.7)
        model.spec = spec
        return model

    one, other = named("cheap", cheap), named("dear", dear)
    prices = {"cheap": cheap, "dear": dear}
    result = run_virtual(api.run(Pairs(5), Mixture([one, other]), prices=prices, k=3))
    assert one.bill
    assert other.bill
    assert Fraction(result.cost_usd or 0) == one.bill + other.bill
    with pytest.raises(UsageError, match="dear has no price"):
        run_virtual(api.run(Pairs(5), Mixture([one, other]), prices={"cheap": cheap}, budget_usd=1))
    partly = run_virtual(api.run(Pairs(5), Mixture([one, other]), prices={"cheap": cheap}))
    assert partly.cost_usd is None, "half a bill is no bill"


def test_a_schema_that_is_sent_along_counts_as_tokens_that_are_read() -> None:
    class Formed(Pairs):
        reply_schema: Any = {"type": "array", "description": "x" * 5_000}  # noqa: RUF012

    prices = UnitPrices(Decimal(10), Decimal(10))
    model = Billed(prices, p=1.0)
    result = run_virtual(api.run(Formed(5), model, prices={"billed": prices}, budget_usd="0.05", k=1))
    assert (result.status, model.requests) == ("budget", [])
