"""Where unit prices come from: the run's own file, then the price list of genai-prices. Nothing is counted here.

A price list is an estimate, as its authors say; a price of one's own comes before it. A model in neither has no price,
which is never the same as a price of zero.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from mdap.core.errors import UsageError
from mdap.core.prices import FREE, UnitPrices
from mdap.core.spec import parse_spec, write_spec

_EXAMPLE = '["openai:gpt-4.1-mini"] with input = 0.40 and output = 1.60, in USD per million tokens'

# Servers whose own vendor sets the price, by the name under which genai-prices knows it.
_VENDORS = {"openai": "openai", "anthropic": "anthropic", "google": "google", "openrouter": "openrouter"}


def read_prices(given: str | Path | Mapping[str, UnitPrices | Mapping[str, Any]] | None) -> dict[str, UnitPrices]:
    """Return unit prices by model from a TOML file or a mapping, `{}` from None.

    A table is named after a model, by its spec or as its vendor writes it, and holds `input`, `output` and, if they
    have prices of their own, `cached` and `cache_write`, in USD per million tokens; or `free = true`. Raises UsageError
    naming what is wrong.
    """
    if given is None:
        return {}
    source, tables = "given", given
    if isinstance(given, str | Path):
        source = Path(given).name
        try:
            # Prices are exact as they are written; 0.10 read as a float is another number.
            tables = tomllib.loads(Path(given).read_text(encoding="utf-8"), parse_float=Decimal)
        except OSError as error:
            raise UsageError(f"cannot read the prices in {given}: {error.strerror}", remedy="name a file") from None
        except ValueError as error:
            raise UsageError(f"{given} is no TOML: {error}", remedy=f"write {_EXAMPLE}") from None
    assert isinstance(tables, Mapping)
    return {name: _prices(name, table, source) for name, table in tables.items()}


def own_price(spec: str, own: Mapping[str, UnitPrices]) -> UnitPrices | None:
    """Return the price among one's own of the model with this spec: by the spec, or by what the vendor calls it."""
    names = [spec]
    if ":" in spec:
        parsed = parse_spec(spec)
        if parsed.bare is not None:
            # From the most exact name on: the price of one model at one address comes before its vendor's for all.
            names += [write_spec(parsed.name, {}, bare=parsed.bare), parsed.bare]
        names.append(parsed.name)
    return next((own[name] for name in names if name in own), None)


@lru_cache(maxsize=64)
def looked_up(spec: str) -> UnitPrices | None:
    """Return the price of the model with this spec from genai-prices; None if that has none, or is not installed.

    A model behind a base URL of one's own is somebody else's to price.
    """
    name, _, rest = spec.partition(":")
    if name not in _VENDORS or not rest:
        return None
    parsed = parse_spec(spec)
    if parsed.bare is None or "base_url" in dict(parsed.options):
        return None
    try:
        genai_prices: Any = import_module("genai_prices")
    except ImportError:
        return None
    try:
        # Of no tokens: what is wanted is the price, not the sum.
        usage = genai_prices.Usage(input_tokens=0, output_tokens=0)
        found = genai_prices.calc_price(usage, parsed.bare, provider_id=_VENDORS[name])
    except LookupError:
        return None
    return _of_list(found.model_price, f"genai-prices {genai_prices.__version__}")


def _of_list(listed: Any, source: str) -> UnitPrices | None:
    names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    told = [getattr(listed, name, None) for name in names]
    # A price for each request comes on top of those for tokens, so they would come out too low: rather no price.
    if told[0] is None or told[1] is None or getattr(listed, "requests_kcount", None):
        return None
    # A tier holds for all tokens of a call that reads so many, and different prices can change at different lengths.
    starts = sorted({tier.start for price in told for tier in getattr(price, "tiers", ())}, reverse=True)
    long: UnitPrices | None = None
    long_from = 0
    # From the longest on, since each price holds that of the prompts which are longer still.
    for start in [*starts, 0]:
        at = [_at(price, start) for price in told]
        assert at[0] is not None
        assert at[1] is not None
        made = UnitPrices(at[0], at[1], at[2], at[3], source, long_from, long)
        long, long_from = made, start
    return long


def _at(price: Any, tokens_in: int) -> Decimal | None:
    if price is None or not hasattr(price, "tiers"):
        return None if price is None else Decimal(price)
    reached = [tier.price for tier in price.tiers if tier.start <= tokens_in]
    return Decimal(reached[-1] if reached else price.base)


def _prices(name: str, table: UnitPrices | Mapping[str, Any], source: str) -> UnitPrices:
    if isinstance(table, UnitPrices):
        return table
    if not isinstance(table, Mapping):
        raise UsageError(f"the price of {name!r} is no table", remedy=f"write {_EXAMPLE}")
    if dict(table) == {"free": True}:
        return msgspec.structs.replace(FREE, source=source)
    known = ("input", "output", "cached", "cache_write")
    wrong = [key for key in table if key not in known] or [key for key in known[:2] if key not in table]
    if wrong:
        word = "is unknown" if wrong[0] in table else "is missing"
        raise UsageError(f"the price of {name!r}: {wrong[0]!r} {word}", remedy=f"write {_EXAMPLE}, or free = true")
    try:
        # By way of text, for a float that a program gives means what it is shown as.
        amounts = {key: Decimal(str(value)) for key, value in table.items()}
    except ArithmeticError:
        raise UsageError(f"the price of {name!r} holds what is no number", remedy=f"write {_EXAMPLE}") from None
    return UnitPrices(
        amounts["input"], amounts["output"], amounts.get("cached"), amounts.get("cache_write"), source=source
    )
