"""What `mdap estimate` says of a plan or an agent: a range of calls by role, its cost, and what a budget pays for."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mdap.cli.report import pairs, plain_console
from mdap.core.agent_calls import Calls
from mdap.core.estimate_plans import PlannedEstimate
from mdap.core.scaling import Unaffordable


def print_planned(made: PlannedEstimate) -> None:
    """Print a range of calls, in all and by role."""
    console = plain_console()
    counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in made.counts.items())
    rows: list[tuple[str, str | Text]] = [
        (made.what, counts),
        ("k", str(made.k)),
        ("calls", f"{made.calls.least:,} to {made.calls.most:,}; never above {made.calls.cap:,}"),
    ]
    if made.expected is not None:
        rows.append(("expected", f"{made.expected:,.0f} if every proposal is good"))
    if made.money is not None:
        rows.append(("money", f"{made.money.least:,.2f} to {made.money.most:,.2f}; never above {made.money.cap:,.2f}"))
    if made.budget_calls is not None:
        rows.append(("budget", _affordable(made)))
    console.print(pairs([*rows, ("assumption", made.assumption)]))
    console.print()
    console.print(_by_role(made.by_role))


def _affordable(made: PlannedEstimate) -> str:
    if isinstance(made.affordable, Unaffordable):
        return f"{made.affordable.budget:,.0f} calls are too few: even k=1 takes {made.affordable.least:,.0f}"
    # By what is the most without redraws, hence the last two words.
    surely = "no k is sure to fit" if made.safe is None else f"k={made.safe} fits whatever happens, flags apart"
    return f"{made.budget_calls:,.0f} calls pay for k={made.affordable} if all goes well; {surely}"


def _by_role(by_role: dict[str, Calls]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in ("role", "least", "most", "cap"):
        # A number that is broken over two lines is read as two.
        table.add_column(name, justify="left" if name == "role" else "right", no_wrap=True)
    for role, calls in by_role.items():
        table.add_row(role, f"{calls.least:,}", f"{calls.most:,}", f"{calls.cap:,}")
    return table
