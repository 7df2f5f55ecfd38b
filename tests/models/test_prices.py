"""Where prices come from: a file of one's own before a price list, and never a zero for what nobody knows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mdap.core.errors import UsageError
from mdap.core.prices import FREE, UnitPrices
from mdap.models.prices import looked_up, own_price, read_prices

FILE = """
["openai:gpt-4.1-mini"]
input = 0.4
output = 1.60
cached = 0.10

["qwen3:8b"]
free = true
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_prices_as_they_are_written(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, FILE))
    mini = UnitPrices(Decimal("0.4"), Decimal("1.60"), Decimal("0.10"), source="prices.toml")
    assert prices["openai:gpt-4.1-mini"] == mini
    assert prices["qwen3:8b"].output == FREE.output
    assert prices["qwen3:8b"].source == "prices.toml"


def test_a_mapping_gives_them_as_well() -> None:
    own: Any = {"a": {"input": 0.1, "output": "0.2"}, "b": FREE}
    assert read_prices(own) == {"a": UnitPrices(Decimal("0.1"), Decimal("0.2"), source="given"), "b": FREE}
    assert read_prices(None) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["m"]\ninput = 1', "'output' is missing"),
        ('["m"]\ninput = 1\noutput = 1\nouput = 2', "'ouput' is unknown"),
        ('["m"]\ninput = "x"\noutput = 1', "no number"),
        ('["m"]\ninput = -1\noutput = 1', "is no price"),
        ("m = 3", "is no table"),
        ('["m"]\nfree = false', "'free' is unknown"),
        ("[", "no TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_prices(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_prices(tmp_path / "none.toml")


def test_the_closest_name_wins() -> None:
    prices = {name: UnitPrices(Decimal(n), Decimal(n)) for n, name in enumerate(("simulated", "llama", "openai:llama"))}

    def of(spec: str) -> Any:
        price = own_price(spec, prices)
        return None if price is None else price.input

    assert of("openai:llama") == 2
    assert of("openai:llama,base_url=http://127.0.0.1:1/v1") == 2
    assert of("vllm:llama") == 1
    assert of("simulated:p=0.9") == 0
    assert of("openai:llama3") is None
    assert of("sampler") is None


def test_models_of_no_vendor_have_no_price_in_any_list() -> None:
    for spec in ("simulated:p=0.9", "micro", "vllm:gpt-4o", "ollama:llama3.2", "my.module:ask", "openai"):
        assert looked_up(spec) is None


def test_a_vendors_model_behind_another_address_is_somebody_elses_to_price() -> None:
    assert looked_up("openai:gpt-4o,base_url=http://127.0.0.1:8000/v1") is None


def test_the_price_list_knows_vendors_models_with_their_cached_and_long_prompts() -> None:
    listed: Any = pytest.importorskip("genai_prices", reason="the extra prices is not installed")
    price = looked_up("openai:gpt-4.1-mini")
    assert price is not None
    assert price.source == f"genai-prices {listed.__version__}"
    assert (price.input, price.cached, price.output) == (Decimal("0.4"), Decimal("0.1"), Decimal("1.6"))
    pro = looked_up("google:gemini-2.5-pro")
    assert pro is not None
    assert pro.long is not None
    assert pro.long_from == 200_000
    assert pro.long.input > pro.input
    assert looked_up("anthropic:no-such-model-at-all") is None


@pytest.mark.parametrize("spec", ["openai:gpt-4o", "anthropic:claude-sonnet-4-5", "google:gemini-2.5-pro"])
@pytest.mark.parametrize("tokens", [(1_000, 0, 0, 100), (5_000, 4_000, 500, 10), (250_000, 0, 0, 1)])
def test_our_sum_is_that_of_the_price_list(spec: str, tokens: tuple[int, int, int, int]) -> None:
    listed: Any = pytest.importorskip("genai_prices", reason="the extra prices is not installed")
    from mdap.core.prices import Tariff, usd
    from mdap.core.records import Usage

    read, cached, written, wrote = tokens
    price = looked_up(spec)
    assert price is not None
    if price.cache_write is None:
        written = 0
    vendor, _, model = spec.partition(":")
    usage = listed.Usage(input_tokens=read, cache_read_tokens=cached, cache_write_tokens=written, output_tokens=wrote)
    theirs = listed.calc_price(usage, model, provider_id=vendor).total_price
    ours = usd(Tariff(price).cost(Usage(read, wrote, cached, written)))
    assert abs(ours - theirs) <= Decimal("1e-9")
