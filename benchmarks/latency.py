"""What a step waits for: wall-clock a step of the ways to draw votes, in simulated time, and the same on real calls.

`python -m benchmarks.latency` runs all parts and writes `results/latency.json` and `results/latency.md`;
`python -m benchmarks.latency clock http` runs those that are named. Every draw, delay and mistake is seeded.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import latency_clock, latency_cost, latency_real
from benchmarks.__main__ import machine, table
from benchmarks.figures import Figure
from benchmarks.latency_table import Table

PARTS: dict[str, Callable[[], tuple[list[Table], list[Figure]]]] = {
    "clock": latency_clock.measure,
    "http": latency_real.over_http,
    "cache": latency_real.prompt_cache,
    "micro": latency_real.micro,
    "long": latency_real.long_chain,
    "cost": latency_cost.measure,
}
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> None:
    """Run the named parts, all without names; results of the others are kept as they were."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"no part {unknown[0]!r}; there is: {', '.join(PARTS)}")
    found: dict[str, Any] = {}
    for name in names or PARTS:
        began = time.perf_counter()
        tables, figures = PARTS[name]()
        took = time.perf_counter() - began
        found[name] = {
            "seconds": round(took),
            "tables": [one.to_dict() for one in tables],
            "figures": [figure.to_dict() for figure in figures],
        }
        print(f"\n{name} ({took:.0f} s)\n{_text(found[name])}", flush=True)
    _write(found)


def _write(found: dict[str, Any]) -> None:
    file = RESULTS / "latency.json"
    kept = json.loads(file.read_text())["parts"] if file.exists() else {}
    kept |= found
    parts = {name: kept[name] for name in PARTS if name in kept}
    RESULTS.mkdir(exist_ok=True)
    report = {"command": "make bench-latency", "machine": machine(), "parts": parts}
    file.write_text(json.dumps(report, indent=1) + "\n")
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    text = "\n".join(f"## {name}\n\n{_text(part)}" for name, part in parts.items())
    (RESULTS / "latency.md").write_text(f"# Measured by `make bench-latency`\n\n{about}\n\n{text}")


def _text(part: dict[str, Any]) -> str:
    tables = "\n".join(Table(**one).text() for one in part["tables"])
    figures = [Figure(**figure) for figure in part["figures"]]
    return f"{tables}\n{table(figures)}\n" if figures else tables


if __name__ == "__main__":
    main(sys.argv[1:])
