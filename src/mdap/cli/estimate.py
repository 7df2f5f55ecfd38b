"""`mdap estimate`: what a run, a plan or an agent would take, from counts and probabilities alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from mdap.cli.options import Json, count, whole
from mdap.core.agent_calls import DEFAULT_DEPTH

if TYPE_CHECKING:
    from mdap.core.estimate import Estimate, Rates
    from mdap.core.estimate_plans import PlannedEstimate

CALLS, RUN = Group("Calls", sort_key=1), Group("Of a run", sort_key=2)
PLANNED = Group("Of a plan, or of an agent", sort_key=3)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Call:
    """What one call takes."""

    # Not whole numbers: these are means of many calls.
    tokens_in: Annotated[float, Parameter(help="Tokens of one prompt.", group=CALLS)] = 0
    tokens_out: Annotated[float, Parameter(help="Tokens of one reply.", group=CALLS)] = 0
    price_in: Annotated[float | None, Parameter(help="Price of a million tokens in.", group=CALLS)] = None
    price_out: Annotated[float | None, Parameter(help="Price of a million tokens out.", group=CALLS)] = None
    budget_calls: Annotated[
        float | None, Parameter(help="Calls that there are: what k can they pay?", group=CALLS, converter=count)
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfRun:
    """What only a run has."""

    target: Annotated[
        float, Parameter(alias="--t", help="Probability that all steps are to be right with.", group=RUN)
    ] = 0.95
    m: Annotated[int, Parameter(help="Steps that one call is asked for.", group=RUN, converter=whole)] = 1
    latency: Annotated[float | None, Parameter(help="Seconds of a call, the median.", group=RUN)] = None
    sigma: Annotated[float, Parameter(help="Spread of the latencies: sigma of their lognormal law.", group=RUN)] = 0.0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfPlan:
    """What only plans and agents have."""

    batch_size: Annotated[
        int,
        Parameter(help="Steps of a plan that are proposed, and carried out, at once.", group=PLANNED, converter=whole),
    ] = 2
    restarts: Annotated[int, Parameter(help="Times that a plan is begun anew.", group=PLANNED, converter=whole)] = 2
    depth: Annotated[
        int, Parameter(help="Times that an agent splits, one part after another.", group=PLANNED, converter=whole)
    ] = DEFAULT_DEPTH
    fan_out: Annotated[
        int, Parameter(help="Subtasks that an agent splits into at most.", group=PLANNED, converter=whole)
    ] = 2


USUAL_CALL, USUAL_RUN, USUAL_PLAN = Call(), OfRun(), OfPlan()


def estimate(
    of: Annotated[Literal["run", "plan", "agent"], Parameter(help="What is to be estimated.")] = "run",
    /,
    *,
    p: Annotated[float | None, Parameter(help="Probability that a vote is right; a run needs it.")] = None,
    steps: Annotated[
        # A float for the sake of 1e6; `count` refuses what is not whole.
        float | None, Parameter(alias="--s", metavar="COUNT", help="Steps of the run, or of the plan.", converter=count)
    ] = None,
    v: Annotated[float, Parameter(help="Probability that a sample is a vote, not flagged.")] = 1.0,
    # None, since each of the three has a default of its own.
    k: Annotated[
        int | None,
        Parameter(
            help="Margin to look at [default: of a run the least that reaches the target; plan 10; agent 3]",
            converter=whole,
        ),
    ] = None,
    call: Call = USUAL_CALL,
    of_run: OfRun = USUAL_RUN,
    of_plan: OfPlan = USUAL_PLAN,
    json: Json = False,
) -> int:
    """Say what votes are needed and what they cost, before any call is made.

    Of a run: k, success, votes, calls, tokens, money and time, and a table over k, which begins with the single call;
    exact for independent votes against one alternative. Of a plan or an agent: calls and money as a range, from what
    is spent if all goes well to what the caps allow. A budget that pays for no k at all ends with exit code 4.
    """
    import msgspec

    from mdap.cli.report import print_json
    from mdap.core.scaling import Unaffordable

    made: Estimate | PlannedEstimate
    if of == "run":
        made = _of_run(_needed("p", p), _needed("steps", steps), v, k, call, of_run)
    elif of == "plan":
        made = _of_plan(_needed("steps", steps), p, v, k, call, of_plan)
    else:
        made = _of_agent(p, v, k, call, of_plan)
    print_json(msgspec.to_builtins(made)) if json else _print(made)
    # The code of a budget that ran out, whether that is found out before or on the way.
    return 4 if isinstance(made.affordable, Unaffordable) else 0


def _print(made: Estimate | PlannedEstimate) -> None:
    from mdap.core.estimate import Estimate

    if isinstance(made, Estimate):
        from mdap.cli.report import print_estimate

        print_estimate(made)
    else:
        from mdap.cli.planned_estimates import print_planned

        print_planned(made)


def _needed(name: str, value: float | None) -> float:
    from mdap.core.errors import UsageError

    # Needed for some estimates alone, so that the parser cannot ask for it.
    if value is None:
        raise UsageError(f"this estimate needs --{name}", remedy="see: mdap estimate --help")
    return value


def _of_run(p: float, steps: float, v: float, k: int | None, call: Call, of_run: OfRun) -> Estimate:
    from mdap.core.estimate import estimate as estimated

    return estimated(
        p,
        steps,
        t=of_run.target,
        v=v,
        k=k,
        m=of_run.m,
        n_in=call.tokens_in,
        n_out=call.tokens_out,
        budget_calls=call.budget_calls,
        price_in=call.price_in,
        price_out=call.price_out,
        latency=of_run.latency,
        sigma=of_run.sigma,
    )


def _of_plan(steps: float, p: float | None, v: float, k: int | None, call: Call, of_plan: OfPlan) -> PlannedEstimate:
    from mdap.core.estimate_plans import Caps, estimate_plan

    return estimate_plan(
        steps,
        # The default of `mdap plan`.
        k=10 if k is None else k,
        batch_size=of_plan.batch_size,
        p=p,
        v=v,
        caps=Caps(restarts=of_plan.restarts),
        rates=_rates(call),
        budget_calls=call.budget_calls,
    )


def _of_agent(p: float | None, v: float, k: int | None, call: Call, of_plan: OfPlan) -> PlannedEstimate:
    from mdap.core.estimate_plans import estimate_agent

    return estimate_agent(
        # The default of `mdap solve`.
        k=3 if k is None else k,
        depth=of_plan.depth,
        fan_out=of_plan.fan_out,
        p=p,
        v=v,
        rates=_rates(call),
        budget_calls=call.budget_calls,
    )


def _rates(call: Call) -> Rates:
    from mdap.core.estimate import Rates

    return Rates(call.tokens_in, call.tokens_out, call.price_in, call.price_out)
