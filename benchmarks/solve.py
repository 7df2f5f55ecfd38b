"""Solve rate against k: `make bench-solve` writes results/solve.json and .md, and ends with 1 where theory is missed.

200 seeded 5 x 5 digit multiplications are solved by `mdap.Agent` (Algorithm 4) with roles that are simulated, wrong as
often as is set: the experiment of Figure 12 of arXiv:2511.09030, without its model. No real model is asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mdap.agents import Agent
from mdap.core.scaling import judged_success
from mdap.core.scaling.binomial import upper_share
from mdap.models.simulated_solver import SimulatedSolver, division, is_whole, simulated_solver
from mdap.tasks.problems import multiplication

RESULTS = Path(__file__).parent / "results"
PROBLEMS, DIGITS, DEPTH = 200, 5, 5
KS = (1, 2, 3, 4, 5, 6, 8)
RATES = {"decomposer": 0.1, "solver": 0.2, "composer": 0.1, "judge": 0.15}
# All rows together hold the prediction with this confidence; each of n rows has its share of what is left.
CONFIDENCE = 0.95
Row = dict[str, Any]


def predicted(problem: str, k: int, rates: Mapping[str, float] = RATES, depth: int = DEPTH) -> float:
    """Return the probability that a problem is solved: that of all its questions, none of whose errors cancel out.

    The questions are those of the tree without mistakes: on the way to a right answer there is no other.
    """
    right = {name: judged_success(1 - rate, 1 - rates["judge"], k) for name, rate in rates.items()}
    divisions, solutions, compositions = questions(problem, depth)
    return float(right["decomposer"] ** divisions * right["solver"] ** solutions * right["composer"] ** compositions)


@cache
def questions(problem: str, depth: int = DEPTH) -> tuple[int, int, int]:
    """Return how many tasks are asked to be divided, solved as they stand, and composed."""
    asked = int(depth > 0)
    if not depth or is_whole(problem, 2):
        return asked, 1, 0
    inner = [questions(part["task"], depth - 1) for part in division(problem, 2)["subtasks"]]
    return (
        asked + sum(each[0] for each in inner),
        sum(each[1] for each in inner),
        1 + sum(each[2] for each in inner),
    )


async def solve_rate(k: int, problems: int = PROBLEMS, rates: Mapping[str, float] = RATES, **changes: Any) -> Row:
    """Return how many of the seeded problems an agent solves at one k, what it took, and what theory says."""
    began = time.perf_counter()
    tasks = [multiplication(DIGITS, seed) for seed in range(problems)]
    agent = Agent(_model(rates), k=k, max_depth=DEPTH, logger=_silent(), record="none", **changes)
    results = [await agent.run(task.problem) for task in tasks]
    solved = sum(
        result.ok and int(result.answer) == task.a * task.b for result, task in zip(results, tasks, strict=True)
    )
    theory = sum(predicted(task.problem, k) for task in tasks) / problems
    return {
        "k": k,
        "solved": solved,
        "problems": problems,
        "rate": solved / problems,
        "predicted": theory,
        "undecided": sum(result.status == "undecided" for result in results),
        "calls a problem": sum(result.statistics.calls for result in results) / problems,
        "dissent": sum(result.statistics.error_rate for result in results) / problems,
        "seconds": time.perf_counter() - began,
    }


def judged(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the interval of each rate (Clopper-Pearson), and whether it holds the prediction."""
    level = 1 - (1 - CONFIDENCE) / len(rows) / 2
    made = []
    for row in rows:
        low = 1 - upper_share(row["problems"] - row["solved"], row["problems"], level)
        high = upper_share(row["solved"], row["problems"], level)
        made.append(row | {"low": low, "high": high, "holds": low <= row["predicted"] <= high})
    return made


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| k | solved | rate | interval | predicted | within | calls a problem | dissent |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['k']} | {row['solved']} of {row['problems']} | {row['rate']:.3f} | {row['low']:.3f} to "
        f"{row['high']:.3f} | {row['predicted']:.3f} | {'yes' if row['holds'] else '**no**'} | "
        f"{row['calls a problem']:.0f} | {row['dissent']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, write both files, print the table, and end with 1 where a prediction is outside of its interval."""
    began = time.perf_counter()
    rows = []
    for k in KS:
        rows.append(asyncio.run(solve_rate(k)))
        print(f"k={k}: {rows[-1]['solved']} of {PROBLEMS} in {rows[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    rows = judged(rows)
    rates = ", ".join(f"{name} {rate:g}" for name, rate in RATES.items())
    about = (
        f"{PROBLEMS} products of two {DIGITS}-digit numbers (seeds 0 to {PROBLEMS - 1}), depth {DEPTH} at most, binary "
        f"divisions. Roles are simulated; shares of wrong replies: {rates} (both discriminators). Intervals hold all "
        f"{len(rows)} rates together with {CONFIDENCE:.0%}; dissent is the share of votes apart from the largest "
        f"candidate. {time.perf_counter() - began:.0f} s on one core. No real model was asked."
    )
    RESULTS.mkdir(exist_ok=True)
    text = f"# Solve rate against k, measured by `make bench-solve`\n\n{about}\n\n{table(rows)}\n"
    (RESULTS / "solve.md").write_text(text)
    report = {"command": "make bench-solve", "rates": RATES, "depth": DEPTH, "confidence": CONFIDENCE, "rows": rows}
    (RESULTS / "solve.json").write_text(json.dumps(report, indent=1) + "\n")
    print(text)
    if not all(row["holds"] for row in rows):
        raise SystemExit(1)


def _model(rates: Mapping[str, float]) -> SimulatedSolver:
    return simulated_solver(rates["decomposer"], rates["solver"], rates["composer"], rates["judge"])


def _silent() -> logging.Logger:
    """An agent's warnings are about one run; here, thousands are."""
    logger = logging.getLogger("mdap.agent.bench")
    logger.disabled = True
    return logger


if __name__ == "__main__":
    main()
