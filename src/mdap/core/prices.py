"""What tokens cost, in exact whole numbers: nano-dollars, rounded up. No price list, and nothing is looked up."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

import msgspec

from mdap.core.errors import UsageError
from mdap.core.records import Usage

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""

# A price per million tokens with six decimals is a whole number of these per token.
_PICO_PER_NANO = 1000


class UnitPrices(msgspec.Struct, frozen=True):
    """USD per million tokens: read, written, read from the provider's cache, written to it; and where they are from.

    `cached` and `cache_write` None: no price of their own, so that of `input`. A call that reads `long_from` tokens or
    more costs what `long` says, all of it.
    """

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    source: str = ""
    long_from: int = 0
    long: UnitPrices | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "cache_write"):
            price = getattr(self, name)
            if price is not None and not (price.is_finite() and price >= 0):
                raise UsageError(f"{name}={price} is no price", remedy="give USD per million tokens, such as 0.40")


FREE = UnitPrices(Decimal(0), Decimal(0), source="said to be free")


class Tariff:
    """Unit prices made ready to be counted with; all amounts are whole nano-dollars, rounded up once a call."""

    __slots__ = ("_cached", "_dearest", "_input", "_long", "_output", "_written", "prices")

    def __init__(self, prices: UnitPrices) -> None:
        self.prices = prices
        self._input, self._output = _pico(prices.input), _pico(prices.output)
        self._cached = self._input if prices.cached is None else _pico(prices.cached)
        self._written = self._input if prices.cache_write is None else _pico(prices.cache_write)
        # What a cache will hold is not known before the call, so a reservation takes the dearest of the three.
        self._dearest = max(self._input, self._cached, self._written)
        self._long = None if prices.long is None else Tariff(prices.long)

    def cost(self, usage: Usage) -> int:
        """Return what a reply with this usage costs."""
        if self._long is not None and usage.tokens_in >= self.prices.long_from:
            return self._long.cost(usage)
        # The parts are reported beside the whole, and where they exceed it nothing is to be paid back.
        plain = max(0, usage.tokens_in - usage.cached - usage.cache_written)
        pico = plain * self._input + usage.cached * self._cached
        # Negated twice, whole numbers are divided upwards: no bill is understated, and no digit lost in a float.
        return -(-(pico + usage.cache_written * self._written + usage.tokens_out * self._output) // _PICO_PER_NANO)

    def most(self, tokens_in: int, tokens_out: int) -> int:
        """Return the most that so many tokens can cost: all that is read at the dearest price for it."""
        most = -(-(tokens_in * self._dearest + tokens_out * self._output) // _PICO_PER_NANO)
        # `tokens_in` is an upper bound: the call may turn out shorter, at the price that is not for long ones.
        if self._long is not None and tokens_in >= self.prices.long_from:
            return max(most, self._long.most(tokens_in, tokens_out))
        return most


def nano(amount: Decimal) -> int:
    """Return an amount of USD in whole nano-dollars; what is below one is cut off, so that no budget grows."""
    return int(amount * NANO)


def usd(nano_dollars: int) -> Decimal:
    """Return nano-dollars as USD, exactly."""
    return Decimal(nano_dollars) / NANO


def shown(nano_dollars: int) -> str:
    """Return nano-dollars for a person: "$9.98", "$0.0000345", with cents at least and nothing rounded."""
    whole, part = divmod(nano_dollars, NANO)
    digits = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits}"


def amount_of(given: Any, what: str = "budget_usd") -> Decimal:
    """Return an amount of USD from a number or its text; raises UsageError for what is none, or negative."""
    try:
        # By its text: 0.1 is meant as a tenth, and Decimal(0.1) is a little more.
        amount = Decimal(str(given))
    except InvalidOperation:
        # Answered below, like all else that is no amount.
        amount = Decimal("NaN")
    if isinstance(given, bool) or not amount.is_finite() or amount < 0:
        raise UsageError(f"{what}={given!r} is no amount of USD", remedy="give one such as 10 or 2.50")
    return amount


def _pico(price: Decimal) -> int:
    """Pico-dollars a token, for a price in USD per million tokens."""
    # A price of more than six decimals is rounded up: a bill is overstated by a hair rather than understated.
    return int((price * 1_000_000).to_integral_value(ROUND_CEILING))
