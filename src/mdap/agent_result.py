"""What an agent's run came to: its answer, the tree of its subtasks, what it took, and what to look at twice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from mdap.conduct import Conduct
from mdap.core.errors import BudgetReached, MdapError, Stop, Undecided
from mdap.core.records import Status
from mdap.planning.forecast import Forecast
from mdap.planning.solving import Solved, counted
from mdap.planning.wording import SOLUTION_DISCRIMINATOR, SOLVER
from mdap.roles import RoleTotals

# Past these a run is worth a second look: so many votes for one task solved as it stands, so many samples discarded.
MOST_VOTES, MOST_FLAGGED = 10, 0.1


class Statistics(msgspec.Struct, frozen=True):
    """What a run of an agent took, all its segments together.

    `steps` are decided ballots, `atomic_executions` tasks solved as they stand, `decompositions` tasks divided,
    `subtasks` what they were divided into. `votes` are samples without red flags, of all roles. `dissent_rate` is the
    share of steps in which votes differed, `error_rate` the share of votes apart from the candidate with most: what is
    seen of errors where nobody knows the right answer. `cost_usd` is None where a model has no price.
    """

    steps: int
    atomic_executions: int
    decompositions: int
    subtasks: int
    votes: int
    red_flags: int
    flags: dict[str, int]
    samples: int
    calls: int
    tokens: dict[str, int]
    cost_usd: Decimal | None
    seconds: float
    dissent_rate: float
    error_rate: float
    roles: dict[str, RoleTotals]


class AgentResult(msgspec.Struct, frozen=True):
    """What an agent's run came to. `answer` is `mdap.ABSENT` unless `status` is done; it is never a guess.

    `error` says why it is not done, and names the subtask; `tree` holds all that was solved until then. `forecast` is
    what was foretold before the first call.
    """

    run: str
    status: Status
    # Never None for none: null may be what was decided.
    answer: Any
    error: str
    statistics: Statistics
    tree: Solved | None
    warnings: tuple[str, ...]
    forecast: Forecast

    @property
    def ok(self) -> bool:
        """Whether there is an answer that was decided."""
        return self.status == "done"

    @property
    def steps(self) -> int:
        """Decided steps."""
        return self.statistics.steps

    @property
    def iterations(self) -> int:
        """The same, under the name that other agents have for it."""
        return self.statistics.steps

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints; `answer` is absent unless done, dollars are text."""
        made: dict[str, Any] = msgspec.to_builtins(
            # ABSENT is no JSON value, and the answer is one already.
            {name: getattr(self, name) for name in self.__struct_fields__ if name != "answer"}
        )
        return {"run": self.run, "status": self.status, **({"answer": self.answer} if self.ok else {}), **made}


class Foretold(msgspec.Struct, frozen=True, tag="foretold"):
    """Before the first call: how many calls a task may take."""

    task: str
    forecast: Forecast


def statistics_of(conduct: Conduct, tree: Solved | None) -> Statistics:
    """Return what a run took until now, and what of its tree is solved."""
    total, roles = conduct.total(), conduct.totals()
    whole, divided, subtasks = counted(tree)
    return Statistics(
        steps=total.steps,
        atomic_executions=whole,
        decompositions=divided,
        subtasks=subtasks,
        votes=total.votes,
        red_flags=sum(total.flagged.values()),
        flags=total.flagged,
        samples=total.samples,
        calls=total.calls,
        tokens={"in": total.tokens_in, "out": total.tokens_out},
        cost_usd=total.cost_usd,
        seconds=conduct.seconds,
        dissent_rate=total.contested / total.steps if total.steps else 0.0,
        # Votes against what was decided: the nearest to an error rate that a run can see by itself.
        error_rate=total.dissent_rate,
        roles=roles,
    )


def warnings_of(found: Statistics) -> tuple[str, ...]:
    """Return what is worth a second look: what one task solved as a whole took, and how much was discarded."""
    # Solvers and their judges: composing a result is no part of what one leaf takes.
    solving = sum(found.roles[role].votes for role in (SOLVER, SOLUTION_DISCRIMINATOR) if role in found.roles)
    warnings = []
    if solving > MOST_VOTES * found.atomic_executions and found.atomic_executions:
        warnings.append(
            f"{solving} votes for {found.atomic_executions} tasks solved as they stand, more than {MOST_VOTES} each: "
            "answers differ a lot, or k is larger than they need"
        )
    # A share and not a number: a long run has more of everything.
    if found.samples and found.red_flags > MOST_FLAGGED * found.samples:
        warnings.append(
            f"{found.red_flags} of {found.samples} samples were red-flagged, more than {MOST_FLAGGED:.0%}: look at the "
            "prompts, or at the flags"
        )
    return tuple(warnings)


def status_of(error: MdapError) -> Status:
    """Return how a run that this error ended stands."""
    # Rejected is an Undecided, and so is among them.
    ways: tuple[tuple[type[MdapError], Status], ...] = (
        (Undecided, "undecided"),
        (BudgetReached, "budget"),
        (Stop, "stopped"),
    )
    return next((status for kind, status in ways if isinstance(error, kind)), "error")
