"""The main job, shown: one task once with single calls, which derail, and once with voting, which does not."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

import mdap
from mdap.cli.progress import Line, shown
from mdap.core.events import Progress

K = 3
TASK = mdap.tasks.hanoi(disks=11)
MODEL = "micro:seed=2"


def run(k: int) -> mdap.Result:
    """Run the task with `k` and a progress line."""
    progress = Progress()
    with shown(Line(progress), verbose=0, quiet=False):
        return mdap.run(TASK, MODEL, k=k, on_event=progress.add)


def column(result: mdap.Result) -> list[str]:
    """Return what the closing table says of one run."""
    wrong, predicted = result.wrong_steps, result.predicted_success
    return [
        f"{result.status}, {result.steps:,} of {TASK.steps:,} steps",
        f"step {wrong[0]:,}" if wrong else "none",
        f"{len(wrong):,}",
        f"{result.samples:,}",
        f"{result.votes_per_step:.3f}",
        ", ".join(f"{name} {count:,}" for name, count in result.flagged.items()) or "none",
        f"{result.seconds:.1f} s",
        "nothing: k = 1 shows no dissent" if predicted is None else f"{predicted:.4f} that all steps are right",
    ]


def main() -> None:
    """Run both and print the table."""
    console = Console()
    console.print(f"Towers of Hanoi, 11 disks: {TASK.steps:,} steps, and one wrong step spoils the rest.")
    console.print(
        "The model is a real one, small enough to ship: 152,640 parameters, about 1% of its replies are bad.\n"
    )
    console.print("1. one call a step")
    single = run(1)
    derailed = single.wrong_steps
    said = f"derailed: the first wrong decision is at step {derailed[0]:,}" if derailed else "did not derail this time"
    console.print(f"   {said}\n")
    console.print(f"2. voting: the first answer to lead by k = {K}")
    voted = run(K)
    console.print(f"   {voted.wrong} wrong decisions in {voted.steps:,} steps\n")

    labels = [
        "status",
        "first wrong step",
        "wrong decisions",
        "calls",
        "votes a step",
        "red flags",
        "time",
        "predicted",
    ]
    table = Table("", "single calls", f"voting, k = {K}")
    for row in zip(labels, column(single), column(voted), strict=True):
        table.add_row(*row)
    console.print(table)
    console.print("[bold]wrong[/bold] is counted after the run, by the task's own knowledge of the right moves.")
    console.print(
        "Try: [bold]mdap run hanoi:disks=10 --model simulated:p=0.98 --k 3[/bold], then [bold]mdap runs[/bold]"
    )


if __name__ == "__main__":
    main()
