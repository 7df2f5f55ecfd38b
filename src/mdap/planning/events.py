"""What observers are told of planning and of carrying out a plan, besides the engine's own events. Data only.

Each is an immutable snapshot with all that it speaks of. An observer alters nothing, but may raise Stop.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from mdap.planning.steps import PlanStep


class Votes(msgspec.Struct, frozen=True):
    """The votes of a closed ballot of judges: by margin `k`, so many Yes, No and End."""

    k: int
    yes: int
    no: int
    end: int


class StepsProposed(msgspec.Struct, frozen=True, tag="steps_proposed"):
    """The planner proposes `steps`; `ends`: it says that the plan is complete with them. `plan` is what there is."""

    steps: tuple[PlanStep, ...]
    # Apart from the steps: an End is no step, and may stand behind some.
    ends: bool
    plan: tuple[PlanStep, ...]


class PlanVoted(msgspec.Struct, frozen=True, tag="plan_vote"):
    """Judges have voted on a proposal; `verdict` is yes, no, end or contentious."""

    # All votes by what was said: an End on a proposal that ends counts as a Yes in the verdict alone.
    votes: Votes
    verdict: str
    steps: tuple[PlanStep, ...]


class StepsAdded(msgspec.Struct, frozen=True, tag="steps_added"):
    """`steps` were accepted; `plan` holds them, and `complete` says whether nothing is left to be planned."""

    steps: tuple[PlanStep, ...]
    # The whole plan each time: an observer need not have heard of what came before.
    plan: tuple[PlanStep, ...]
    complete: bool


class StepsRejected(msgspec.Struct, frozen=True, tag="steps_rejected"):
    """`steps` were refused for `reasons`, the `rejections`-th time in a row; `verdict` is no or contentious."""

    steps: tuple[PlanStep, ...]
    reasons: tuple[str, ...]
    verdict: str
    # How near a restart is: the fifth in a row brings one.
    rejections: int


class PlanRestarted(msgspec.Struct, frozen=True, tag="plan_restarted"):
    """The plan was begun anew, for the `restarts`-th time, from the steps that were given."""

    restarts: int
    plan: tuple[PlanStep, ...]


class ExecutionStarted(msgspec.Struct, frozen=True, tag="execution_started"):
    """The batch `number` begins: its steps with their places in the plan, and how many steps are carried out by now."""

    number: int
    places: tuple[int, ...]
    steps: tuple[PlanStep, ...]
    completed: int
    total: int


class ExecutionVoted(msgspec.Struct, frozen=True, tag="execution_vote"):
    """Judges have voted on a new state: `votes` as on a plan; in a race for one of several, `choices` from none on."""

    votes: Votes
    # By candidate, since Yes and No say nothing of a race among several.
    choices: tuple[int, ...]
    verdict: str
    reasons: tuple[str, ...]
    attempt: int
    state: Any


class StateChanged(msgspec.Struct, frozen=True, tag="state_changed"):
    """The batch `number` has changed the state, which is now durable: a checkpoint that a resume goes on from."""

    number: int
    places: tuple[int, ...]
    state: Any
    completed: int
    total: int


PlanningEvent: TypeAlias = (
    StepsProposed
    | PlanVoted
    | StepsAdded
    | StepsRejected
    | PlanRestarted
    | ExecutionStarted
    | ExecutionVoted
    | StateChanged
)
