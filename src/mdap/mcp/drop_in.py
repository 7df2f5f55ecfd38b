"""The tools of IgniteUI/MAKER, by their names, parameters, defaults and answers, over the runs of mdap.

Who has a client for them needs to change nothing but the command. Nothing is planned or carried out here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from mdap.core.errors import Stop, UsageError
from mdap.mcp import planned
from mdap.mcp.allowed import CLIENT
from mdap.mcp.desk import Desk
from mdap.mcp.progress import Tell, told_of
from mdap.mcp.tool import PlainTool, given, made

if TYPE_CHECKING:
    from mdap.planning.events import Votes
    from mdap.planning.steps import PlanStep

Prompt = Annotated[str, Field(description="The task, with all the context that it takes.")]
BatchSize = Annotated[int, Field(description="Steps per round.", ge=1)]
Margin = Annotated[int, Field(description="Votes by which one side must lead.", ge=1)]
MaxSteps = Annotated[int, Field(description="Steps that a plan may have.", ge=1)]
Format = Annotated[str | None, Field(description="What the result has to look like; as the server says without it.")]
Steps = Annotated[str, Field(description="The JSON array of steps that maker_plan gave.")]
Context_ = Context[Any, Any]


class MakerTool(PlainTool):
    """A tool whose errors begin as those of the original do; they are flagged as errors besides."""

    def framed(self, text: str) -> str:
        """Return the text after the prefix that clients look for."""
        return f"MAKER ERROR [{self.name}]: {text}"


class MakerTools:
    """`maker_plan`, `maker_execute` and `maker_plan_and_execute`, each by its short name as well."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def tools(self) -> list[Tool]:
        """Return the tools."""
        functions = (self.maker_plan, self.maker_execute, self.maker_plan_and_execute)
        named = [
            (given, name) for given in functions for name in (given.__name__, given.__name__.removeprefix("maker_"))
        ]
        # Their clients send a `progress` that is none, and may send what later versions added.
        return [made(function, name=name, kind=MakerTool, takes_others=True) for function, name in named]

    async def maker_plan(
        self,
        ctx: Context_,
        prompt: Prompt,
        batchSize: BatchSize = 2,  # noqa: N803 (the name is the contract, here and below)
        k: Margin = 10,
        maxSteps: MaxSteps = 20,  # noqa: N803
        format: Format = None,
    ) -> str:
        """Plan a task: steps are proposed batch by batch, and judges vote on every batch.

        Returns a JSON array of steps, to be carried out by maker_execute.
        """
        options = given(batch_size=batchSize, k=k, max_steps=maxSteps, format=format)
        plan = await self._conduct(ctx, "plan", prompt, None, "Planning...", options)
        return str(plan.json)

    async def maker_execute(
        self,
        ctx: Context_,
        stepsJson: Steps,  # noqa: N803
        prompt: Prompt,
        batchSize: BatchSize = 2,  # noqa: N803
        k: Margin = 10,
        format: Format = None,
    ) -> str:
        """Carry out the steps of maker_plan, batch by batch, with votes on every new state.

        Returns the final state as plain text.
        """
        from mdap.planning.steps import read_steps  # when it is first needed: a server is to be there at once

        # Read here for their number, and so that a plan that is none is refused before a run is begun.
        options = given(batch_size=batchSize, k=k, format=format)
        phase = f"Executing {len(read_steps(stepsJson))} steps..."
        return _state_of(await self._conduct(ctx, "execute", prompt, stepsJson, phase, options))

    async def maker_plan_and_execute(
        self,
        ctx: Context_,
        prompt: Prompt,
        batchSize: BatchSize = 2,  # noqa: N803
        k: Margin = 10,
        maxSteps: MaxSteps = 20,  # noqa: N803
        format: Format = None,
    ) -> str:
        """Plan a task and carry the plan out, with votes on every batch of both.

        Returns the final state as plain text.
        """
        options = given(batch_size=batchSize, k=k, max_steps=maxSteps, format=format)
        return _state_of(await self._conduct(ctx, "do", prompt, None, "Planning...", options))

    async def _conduct(
        self, ctx: Context_, kind: str, prompt: str, steps: str | None, phase: str, options: dict[str, Any]
    ) -> Any:
        """See a run through, and return what it came to; raises what kept it from its end, with the way to go on."""
        # These tools answer when all is done, and the client would have to vote before.
        if self._desk.allowed.planned(kind, None)[0] == CLIENT:
            raise UsageError(
                "this server's model is the client, which waits for this answer",
                remedy="run_start(prompt=...), then next_steps and submit_votes",
            )

        async def _conducted(tell: Tell) -> Any:
            _say(tell, "phase", phase)
            live = await planned.begin(self._desk, kind, prompt, steps, None, _heard(tell), **options)
            return await self._desk.outcome(live)

        # All of it: each message says something of its own, and clients of the original follow a run by them.
        outcome = await told_of(ctx, self._desk, _conducted, all_of_it=True)
        # An error, for the answer is plain text: anything else would be taken for the result.
        if outcome.status != "done":
            raise Stop(f"{outcome.status}: {outcome.reason}", remedy=f"run_resume(run={outcome.run!r}) goes on with it")
        return outcome


def _say(tell: Tell, kind: str, data: str) -> None:
    tell(json.dumps({"Type": kind, "Data": data}, ensure_ascii=False))


def _heard(tell: Tell) -> Callable[[Any], None]:
    """Return an observer that tells of planning in the words of the original's messages."""

    def _hear(event: Any) -> None:
        found = _message(event)
        if found is not None:
            kind, data = found
            _say(tell, kind, data if isinstance(data, str) else json.dumps(data, ensure_ascii=False))

    return _hear


def _message(event: Any) -> tuple[str, Any] | None:
    from mdap.planning import events

    match event:
        case events.StepsProposed(steps=steps):
            return "steps_proposed", _written(steps)
        case events.StepsAdded(steps=steps):
            return "steps_added", _written(steps)
        case events.StepsRejected(steps=steps, reasons=reasons):
            return "steps_rejected", {"steps": _written(steps), "reasons": list(reasons)}
        case events.PlanVoted(votes=votes):
            return "plan_vote", _votes(votes)
        case events.ExecutionVoted(votes=votes):
            return "execution_vote", _votes(votes)
        case events.ExecutionStarted(steps=steps):
            return "execution_started", _written(steps)
        case events.StateChanged(state=state):
            return "state_changed", state
    return None


def _written(steps: tuple[PlanStep, ...]) -> list[dict[str, Any]]:
    return [step.to_dict() for step in steps]


def _votes(votes: Votes) -> dict[str, Any]:
    return {"kValue": votes.k, "votes": {"Yes": votes.yes, "No": votes.no, "End": votes.end}}


def _state_of(outcome: Any) -> str:
    state = outcome.state
    # A text as it is: quotes would be part of the result.
    return state if isinstance(state, str) else json.dumps(state, ensure_ascii=False)
