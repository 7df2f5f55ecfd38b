"""Tools that answer in one call: a question by votes, figures before anything is paid, and what waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from mdap.core.errors import RedFlag, UsageError
from mdap.core.events import Called, Event, Flagged, StepDecided
from mdap.core.records import ABSENT, Move
from mdap.core.strictjson import read_json
from mdap.mcp.allowed import CLIENT
from mdap.mcp.desk import Desk
from mdap.mcp.options import Cap, Confidence, Few, K, Rule, Seed
from mdap.mcp.pages import MOST_BYTES, listed, shortened, size_of
from mdap.mcp.progress import Tell, told_of
from mdap.mcp.tool import LARGEST, Limit, Money, Offset, Run, given, made

Spec = Annotated[
    str | None, Field(description="Such as openai:gpt-4.1-mini. Without it: the server's own model.", max_length=1_000)
]
Chance = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Task = Annotated[str, Field(description="A task, such as hanoi:disks=5.", max_length=100_000)]


class AskTools:
    """The tools that need no run of their own to be looked after."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def tools(self) -> list[Tool]:
        """Return the tools."""
        return [
            made(self.ask),
            made(self.estimate, reads=True),
            made(self.calibrate),
            made(self.inbox, reads=True),
            made(self._desk.there(self.resolve)),
        ]

    async def ask(
        self,
        ctx: Context[Any, Any],
        prompt: Annotated[
            str, Field(description="The question, with all that it takes to answer it.", max_length=1_000_000)
        ],
        model: Spec = None,
        k: K = None,
        rule: Rule = None,
        one_of: Annotated[list[str] | None, Field(description="The answers that there are.", max_length=1_000)] = None,
        ranking: Annotated[
            list[str] | None,
            Field(description="What is to be ranked, best first: for the rules borda, irv, mrr.", max_length=1_000),
        ] = None,
        schema: Annotated[dict[str, Any] | None, Field(description="A JSON Schema that answers must fit.")] = None,
        same: Annotated[
            Literal["folded", "python"] | None,
            Field(description="Which answers are one: folded (case and spaces apart) or python (one syntax tree)."),
        ] = None,
        confidence: Confidence = None,
        p: Annotated[
            float | None, Field(description="Probability that one vote is right, if known.", gt=0, lt=1)
        ] = None,
        max_samples: Cap = None,
        max_tokens: Cap = None,
        seed: Seed = None,
        budget_calls: Few = None,
        budget_usd: Money = None,
    ) -> dict[str, Any]:
        """Decide one question by votes of a model, and return the answer with its ballot.

        `answer` is absent where the votes did not decide, never a mere plurality. For a question that takes longer than
        a minute: run_start(question=...).
        """
        from mdap import asked  # here and below when it is first needed: a server is to be there at once
        from mdap.core import formats
        from mdap.parts import choose_rule

        spec = self._desk.allowed.check_model(model)
        # It waits for the answer to this very call, and would have to vote meanwhile.
        if spec == CLIENT:
            raise UsageError("model: your own votes need a run", remedy="run_start(question=..., model='client')")
        form = None if ranking is None else formats.ranking(ranking)
        inquiry = asked.prepare(prompt, one_of=one_of, schema=schema, format=form, key=same)
        chosen = choose_rule(k, None if rule is None else self._desk.allowed.check_rule(rule))
        options = given(
            max_samples=max_samples, max_tokens=max_tokens, seed=seed, budget_calls=budget_calls, budget_usd=budget_usd,
            confidence=confidence,
        )  # fmt: skip
        conduct = partial(asked.conduct, inquiry, spec, rule=chosen, journal=self._desk.journal, **options)
        result = await told_of(ctx, self._desk, partial(self._driven, conduct))
        return _fitting(asked.answer_of(result, inquiry, chosen, p).to_dict(), result.run)

    async def _driven(self, conduct: Callable[..., Any], tell: Tell) -> Any:
        """Return what a question's run comes to, while its votes are told."""
        told = _votes_told(tell)
        return await self._desk.outcome(await self._desk.launch(lambda heard: conduct(on_event=[heard, told]), None))

    async def estimate(
        self,
        p: Annotated[float, Field(description="Probability that a vote is right.", gt=0, le=1)],
        steps: Annotated[float, Field(description="Steps of the run.", ge=1, le=1e15)],
        target: Annotated[float, Field(description="Probability that all steps are to be right.", gt=0, lt=1)] = 0.95,
        v: Annotated[float, Field(description="Probability that a sample is a vote, not flagged.", gt=0, le=1)] = 1.0,
        k: K = None,
        tokens_in: Amount = 0,
        tokens_out: Amount = 0,
        price_in: Annotated[float | None, Field(description="USD a million tokens in.", ge=0, le=1e9)] = None,
        price_out: Annotated[float | None, Field(description="USD a million tokens out.", ge=0, le=1e9)] = None,
        latency: Annotated[float | None, Field(description="Seconds of a call, the median.", ge=0, le=1e9)] = None,
        budget_calls: Annotated[float | None, Field(ge=0, le=1e15)] = None,
    ) -> dict[str, Any]:
        """Say what votes are needed for a run, and what they cost, before any call is made: k, success, votes, calls,
        tokens, money and time, and a table over k.
        """
        from mdap.core.estimate import estimate

        made_of = estimate(
            p, steps, t=target, v=v, k=k, n_in=tokens_in, n_out=tokens_out, price_in=price_in, price_out=price_out,
            latency=latency, budget_calls=budget_calls,
        )  # fmt: skip
        found: dict[str, Any] = msgspec.to_builtins(made_of)
        return found

    async def calibrate(
        self,
        ctx: Context[Any, Any],
        task: Task,
        models: Annotated[list[str], Field(description="Models to compare.", min_length=1, max_length=10)],
        samples: Annotated[int, Field(description="Calls of each model.", ge=1, le=10_000)] = 200,
        target: Annotated[
            float, Field(description="Probability that the whole run is to be right.", gt=0, lt=1)
        ] = 0.95,
        steps: Cap = None,
        seed: Seed = None,
        budget_calls: Few = None,
        budget_usd: Money = None,
    ) -> dict[str, Any]:
        """Find out how often models are right on random steps of a task, and which k that takes.

        It refuses where voting cannot help at all. Takes `samples` calls of each model.
        """
        from mdap.calibrating import calibrate

        specs = [self._desk.allowed.check_model(model) for model in models]
        if CLIENT in specs:
            raise UsageError("models: client cannot be calibrated", remedy="name models that the server can call")
        spec = self._desk.allowed.check_task(task)
        options = given(seed=seed, budget_calls=budget_calls, budget_usd=budget_usd)

        async def _calibrated(tell: Tell) -> Any:
            work = calibrate(
                spec, specs, samples=samples, target=target, steps=steps, on_event=_calls_told(tell), **options
            )
            return await self._desk.see_through(work)

        found = msgspec.to_builtins(await told_of(ctx, self._desk, _calibrated))
        # A task may have any number of kinds; all else is bounded by the ten models.
        if size_of(found) > MOST_BYTES:
            found["models"] = [{**model, "kinds": "left out: too long"} for model in found["models"]]
        return dict(found)

    async def inbox(
        self,
        run: Annotated[str | None, Field(description="Id of one run; all runs without it.", max_length=150)] = None,
        offset: Offset = 0,
        limit: Limit = 20,
    ) -> dict[str, Any]:
        """List the steps that wait for a decision: those that their caps left undecided.

        Each with what was asked, the answers by their votes, and why none has won.
        """
        from mdap import inbox

        chosen = None if run is None else self._desk.head(run).id
        # All of them, though one page is shown: a client is told how many there are.
        found = [msgspec.to_builtins(one) for one in inbox.waiting(self._desk.journal, chosen)]
        return listed(found[offset:], offset, limit, shrink=_brief) | {"total": len(found)}

    async def resolve(
        self,
        run: Run,
        step: Annotated[int, Field(description="Step that waits, as inbox shows it.", ge=0, le=LARGEST)],
        by: Annotated[str, Field(description="Who decides: a person's name, or yours.", min_length=1, max_length=200)],
        row: Annotated[int | None, Field(description="Row of a map.", ge=0, le=LARGEST)] = None,
        accept: Annotated[str | None, Field(description="Key of the candidate that is right.", max_length=100)] = None,
        override: Annotated[
            str | None,
            Field(description='An answer of your own: JSON, {"action": ..., "next_state": ...}.', max_length=1_000_000),
        ] = None,
        k: Annotated[int | None, Field(description="Go on voting, by this margin.", ge=1, le=10_000)] = None,
        skip: Annotated[bool, Field(description="Leave the row of a map out.")] = False,
        retry: Annotated[bool, Field(description="Make the call of a tool again: nobody knows how it ended.")] = False,
        outcome: Annotated[
            str | None,
            Field(description="The call of a tool was made: what it returned, as JSON.", max_length=1_000_000),
        ] = None,
    ) -> dict[str, Any]:
        """Say how an undecided step goes on; it is recorded who said so. Then run_resume.

        Ask the user before you decide in their place: a call that is made again may act twice.
        """
        from mdap import inbox

        head = self._desk.head(run)
        # Before the journal is touched: going on by another margin makes the run's rule anew.
        self._desk.check_rule(head)
        move = None if override is None else _move(override)
        acted = inbox.resolve(
            self._desk.journal, head.id, step, by=by, row=row,
            accept=accept, override=move, k=k, skip=skip, retry=retry,
            # ABSENT and not None, for a tool may have returned null.
            outcome=ABSENT if outcome is None else _json("outcome", outcome, "give what the tool returned, as JSON"),
            # A row of a map has no single task to be checked by.
            view=None if move is None or row is not None else self._desk.view(head),
        )  # fmt: skip
        return {
            "run": head.id,
            "step": acted.step,
            "act": acted.act,
            "by": acted.by,
            "next": f"run_resume(run={head.id!r})",
        }


def _votes_told(tell: Tell) -> Any:
    counts = {"samples": 0, "flags": 0}

    def _hear(event: Event) -> None:
        if isinstance(event, Called) and event.change < 0:
            # Once it has ended: a call that begins has given nothing yet.
            counts["samples"] += 1
        elif isinstance(event, Flagged):
            counts["flags"] += 1
        elif not isinstance(event, StepDecided):
            return
        tell(f"{counts['samples']} samples, {counts['flags']} red flags")

    return _hear


def _calls_told(tell: Tell) -> Any:
    calls = 0

    def _hear(event: Event) -> None:
        nonlocal calls
        if isinstance(event, Called) and event.change < 0:
            calls += 1
            tell(f"{calls:,} calls")

    return _hear


def _fitting(answer: dict[str, Any], run: str) -> dict[str, Any]:
    """Return an answer as a client can read it; what is too long is left out by name, and is read by run_result."""
    # In this order: the ballot is missed least, the answer most.
    for name in ("ballot", "text", "answer"):
        if size_of(answer) > MOST_BYTES and name in answer:
            answer = {**answer, name: f"left out: too long; run_result(run={run!r}) has the answer in pages"}
    return answer


def _brief(waiting: dict[str, Any]) -> dict[str, Any]:
    """Return a step that waits without what makes it long; its resource has all of it."""
    candidates = [{"key": one["key"], "votes": one["votes"]} for one in waiting.get("candidates", ())][:100]
    kept = {name: waiting[name] for name in ("run", "step", "row", "samples") if name in waiting}
    left_out = f"the rest is too long: mdap://runs/{waiting['run']}/steps/{waiting['step']}"
    return kept | {"why": shortened(waiting["why"]), "candidates": candidates, "left_out": left_out}


def _json(name: str, text: str, remedy: str) -> Any:
    try:
        # As strictly as a model's answer: of two values under one key nobody could say which was meant.
        return read_json(text)
    except RedFlag as flag:
        raise UsageError(f"{name}: {flag.message}", remedy=remedy) from None


def _move(text: str) -> Move:
    read = _json("override", text, 'give {"action": ..., "next_state": ...}')
    if not isinstance(read, dict) or "action" not in read or not read.keys() <= {"action", "next_state"}:
        raise UsageError("override: it is no move", remedy='give {"action": ..., "next_state": ...}')
    return Move(read["action"], read.get("next_state", ABSENT))
