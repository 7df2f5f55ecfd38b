"""`mdap estimate`: what a run would take, from p, v, s and t alone."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from mdap.cli.options import Json


def estimate(
    *,
    p: Annotated[float, Parameter(help="Probability that a vote is right.")],
    steps: Annotated[float, Parameter(alias="--s", metavar="COUNT", help="Steps of the run.")],
    target: Annotated[float, Parameter(alias="--t", help="Probability that all steps are to be right with.")] = 0.95,
    v: Annotated[float, Parameter(help="Probability that a sample is a vote, not flagged.")] = 1.0,
    k: Annotated[int | None, Parameter(help="Margin to look at [default: the least that reaches the target]")] = None,
    m: Annotated[int, Parameter(help="Steps that one call is asked for.")] = 1,
    tokens_in: Annotated[float, Parameter(help="Tokens of one prompt.")] = 0,
    tokens_out: Annotated[float, Parameter(help="Tokens of one reply.")] = 0,
    price_in: Annotated[float | None, Parameter(help="Price of a million tokens in.")] = None,
    price_out: Annotated[float | None, Parameter(help="Price of a million tokens out.")] = None,
    latency: Annotated[float | None, Parameter(help="Seconds of a call, the median.")] = None,
    sigma: Annotated[float, Parameter(help="Spread of the latencies: sigma of their lognormal law.")] = 0.0,
    budget_calls: Annotated[float | None, Parameter(help="Calls that there are: what k can they pay?")] = None,
    json: Json = False,
) -> int:
    """Say what votes are needed and what they cost, before any call is made.

    Prints k, success, votes, calls, tokens, money and time, and a table over k, which begins with the single call. The
    figures are exact for independent votes against one alternative.
    """
    import msgspec

    from mdap.cli.report import print_estimate, print_json
    from mdap.core.estimate import estimate as estimated

    made = estimated(
        p,
        steps,
        t=target,
        v=v,
        k=k,
        m=m,
        n_in=tokens_in,
        n_out=tokens_out,
        budget_calls=budget_calls,
        price_in=price_in,
        price_out=price_out,
        latency=latency,
        sigma=sigma,
    )
    if json:
        print_json(msgspec.to_builtins(made))
    else:
        print_estimate(made)
    return 0
