"""How long `import mdap` and `mdap --help` take over a bare interpreter."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks.figures import Figure, run_process

ROUNDS = 15


def measure() -> list[Figure]:
    """Return medians of the differences, pair by pair, in milliseconds."""
    mdap = str(Path(sys.executable).parent / "mdap")
    bare = [sys.executable, "-c", "pass"]
    commands = {"import mdap": [sys.executable, "-c", "import mdap"], "mdap --help": [mdap, "--help"]}
    bars = {"import mdap": 60.0, "mdap --help": 200.0}
    figures = []
    for name, command in commands.items():
        run_process(command)
        over = [1000 * (run_process(command).wall - run_process(bare).wall) for _ in range(ROUNDS)]
        figures.append(Figure(f"{name}, over a bare interpreter", statistics.median(over), "ms", most=bars[name]))
    return figures
