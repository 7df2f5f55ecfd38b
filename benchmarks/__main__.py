"""Runs the benchmarks and writes `results/bench.json` and `results/bench.md`: machine, versions, command, figures.

`python -m benchmarks` runs all of them, `python -m benchmarks overhead http` those that are named.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks import chain, http, micro, startup, storage
from benchmarks.figures import Figure

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "startup": startup.measure,
    "overhead": chain.overhead,
    "durable": storage.many_runs,
    "http": http.measure,
    "micro": micro.measure,
    "full": chain.full_run,
}
RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, str]:
    """Return what the figures depend on besides the code."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    cores = len([line for line in _lines("/proc/cpuinfo") if line.startswith("processor")])
    packages = {name: version(name) for name in ("mdap", "aiohttp", "msgspec")}
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cpu": model,
        "cores": str(cores),
    } | packages


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| what | measured | bar | met |", "| --- | --- | --- | --- |"]
    rows += [f"| {f.name} | {f.shown} | {f.bar} | {f.verdict} |" for f in figures]
    return "\n".join(rows)


def main(names: list[str]) -> None:
    """Run the named benchmarks, all without names; results of the others are kept as they were."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]!r}; there is: {', '.join(BENCHMARKS)}")
    kept = json.loads((RESULTS / "bench.json").read_text())["groups"] if (RESULTS / "bench.json").exists() else {}
    for name in names or BENCHMARKS:
        began = time.perf_counter()
        figures = BENCHMARKS[name]()
        kept[name] = [figure.to_dict() for figure in figures]
        print(f"\n{name} ({time.perf_counter() - began:.0f} s)\n{table(figures)}", flush=True)
    groups = {name: kept[name] for name in BENCHMARKS if name in kept}
    RESULTS.mkdir(exist_ok=True)
    report = {"command": "make bench", "machine": machine(), "groups": groups}
    (RESULTS / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    figures = [Figure(**row) for rows in groups.values() for row in rows]
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    (RESULTS / "bench.md").write_text(f"# Measured by `make bench`\n\n{about}\n\n{table(figures)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
