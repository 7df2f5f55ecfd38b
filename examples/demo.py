"""The main job, shown: one task once with single calls, which derail, and once with voting, which does not."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

import mdap
from mdap.cli.progress import Line, shown
from mdap.core.events import Progress
from mdap.core.scaling import k_min, run_success, single_call_success

P, TARGET = 0.99, 0.95
TASK = mdap.tasks.hanoi(disks=16)
MODEL = mdap.models.simulated(p=P, flags=0.02, seed=1)


def run(k: int) -> mdap.Result:
    """Run the task with `k` and a progress line."""
    progress = Progress()
    with shown(Line(progress), verbose=0, quiet=False):
        return mdap.run(TASK, MODEL, k=k, on_event=progress.add)


def column(result: mdap.Result, predicted: float) -> list[str]:
    """Return what the closing table says of one run."""
    wrong = result.wrong_steps
    return [
        f"{result.status}, {result.steps:,} of {TASK.steps:,} steps",
        f"step {wrong[0]:,}" if wrong else "none",
        f"{len(wrong):,}",
        "all disks on peg 2" if TASK.is_done(result.state) else "not the goal",
        f"{result.samples:,}",
        f"{result.votes_per_step:.3f}",
        ", ".join(f"{name} {count:,}" for name, count in result.flagged.items()) or "none",
        f"{result.seconds:.1f} s",
        f"{predicted:.4f}",
    ]


def main() -> None:
    """Run both and print the table."""
    console = Console()
    k = k_min(P, TASK.steps, TARGET)
    console.print(f"Towers of Hanoi, 16 disks: {TASK.steps:,} steps, and one wrong step spoils the rest.")
    console.print(f"The model is simulated: right {P:.0%} of the time, 2% of its replies are red-flagged.\n")
    console.print("1. one call a step")
    single = run(1)
    console.print(f"   derailed: the first wrong decision is at step {single.wrong_steps[0]:,}\n")
    console.print(f"2. voting, first to lead by k = {k} (Eq. 14 for a success of {TARGET})")
    voted = run(k)
    console.print(f"   {voted.wrong} wrong decisions in {voted.steps:,} steps\n")

    labels = [
        "status",
        "first wrong step",
        "wrong decisions",
        "end state",
        "calls",
        "votes a step",
        "red flags",
        "time",
    ]
    columns = zip(
        [*labels, "chance of no wrong step, by formula"],
        column(single, single_call_success(P, TASK.steps)),
        column(voted, run_success(P, k, TASK.steps)),
        strict=True,
    )
    table = Table("", "single calls", f"voting, k = {k}")
    for row in columns:
        table.add_row(*row)
    console.print(table)
    console.print(
        "Try it: [bold]mdap run hanoi:disks=10 --model simulated:p=0.98 --k 3[/bold], then [bold]mdap runs[/bold]"
    )


if __name__ == "__main__":
    main()
