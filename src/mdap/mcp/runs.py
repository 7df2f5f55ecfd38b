"""Tools for long work: a run is begun at once, and then looked at, ended or taken up; each answer comes at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from mdap.core.errors import UsageError
from mdap.core.history import Decided, RunHead, walk
from mdap.core.prices import usd
from mdap.core.records import Move
from mdap.mcp import planned, solved
from mdap.mcp.desk import Desk, Live
from mdap.mcp.options import Resume, Start
from mdap.mcp.pages import listed, part_of, shortened
from mdap.mcp.tool import LARGEST, Limit, Offset, Run, given, made
from mdap.mcp.wording import for_clients
from mdap.rowio import is_planned


class RunTools:
    """The tools by which runs are driven; all of them answer from the journal that the command line uses as well."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def tools(self) -> list[Tool]:
        """Return the tools."""
        there = self._desk.there
        return [
            made(there(self.run_start), arguments=Start),
            # Not there, as nothing below that reads the journal alone: it is answered while code of a task blocks.
            made(self.run_status, reads=True),
            made(there(self.run_result), reads=True),
            made(there(self.run_cancel), destroys=True),
            made(there(self.run_resume), arguments=Resume),
            made(self.runs, reads=True),
        ]

    async def run_start(self, **arguments: Any) -> dict[str, Any]:
        """Begin a long run and return its id at once; the run goes on in the server. Every step of a task is decided
        by votes of small model calls, or is openly undecided. A prompt is planned and carried out, step by step; what
        is to be solved is divided, and the results of its parts are composed.

        Look at it with run_status, read it with run_result. It is kept on disk: after a cancel, a budget or a crash
        run_resume goes on where it was. With model=client you answer the prompts: next_steps, submit_votes.
        """
        options = given(**arguments)
        about = {name: options.pop(name, None) for name in _ABOUT}
        if sum(value is not None for value in about.values()) != 1:
            raise UsageError("task, question, prompt, solve: give one of them", remedy="such as task='hanoi:disks=5'")
        _check_belongs(options, about)
        model = options.pop("model", None)
        if about["prompt"] is not None:
            steps = options.pop("plan", None)
            kind = "do" if steps is None else "execute"
            return self._begun(await planned.begin(self._desk, kind, about["prompt"], steps, model, **options))
        if about["solve"] is not None:
            if "validate_answers" in options:
                options["validate"] = options.pop("validate_answers")
            return self._begun(await solved.begin(self._desk, about["solve"], model, **options))
        task: Any = about["task"]
        if task is None:
            from mdap import asked  # when it is first needed: a server is to be there at once

            task = asked.prepare(str(about["question"]), one_of=options.pop("one_of", None)).question
        return self._begun(await self._desk.start(task, model, **options))

    async def run_status(self, run: Run) -> dict[str, Any]:
        """Say in few words how a run stands: status, decided steps of how many, calls, flags, cost, and what to do
        next. It is cheap: ask every few seconds while a run goes on.
        """
        return standing_of(self._desk, self._desk.head(run))

    async def run_result(
        self,
        run: Run,
        part: Annotated[
            Literal["result", "steps", "step"],
            Field(description="result: the last state, as JSON; steps: the decisions, one object a step; step: one."),
        ] = "result",
        step: Annotated[int | None, Field(description="Which one, with part=step.", ge=0, le=LARGEST)] = None,
        offset: Offset = 0,
        limit: Limit = 200,
    ) -> dict[str, Any]:
        """Read what a run came to, a page at a time: `text` is a part of the result (join the parts in order), `items`
        are decided steps. There is more where `next_offset` is given: call again with it as `offset`.

        Of a run that goes on, or was ended early, it gives what is decided so far.
        """
        head = self._desk.head(run)
        figures = {"run": head.id, "status": self._desk.standing(head.id).book.status}
        if part == "steps":
            return figures | listed(self._decisions(head, offset), offset, limit, shrink=_without_states)
        if part == "step":
            whole = self._decision(head, step)
        elif is_planned(head):
            whole = _planned((await planned.reached(self._desk, head)).to_dict())
        else:
            whole = self._desk.result(head).state
        # Not escaped: as \u sequences, characters would take up to six times their bytes.
        return figures | part_of(json.dumps(msgspec.to_builtins(whole), ensure_ascii=False), offset)

    async def run_cancel(self, run: Run) -> dict[str, Any]:
        """End a run that this server drives, with all its calls in flight. What it decided is kept: run_resume goes on
        with it.
        """
        return standing_of(self._desk, self._desk.head(await self._desk.cancel(run)))

    async def run_resume(self, run: str, **arguments: Any) -> dict[str, Any]:
        """Go on with a run where it ended: after run_cancel, a crash, a budget (give a larger one) or an undecided step
        (give more max_samples, or resolve it first). A decided step is never asked again. Returns at once.
        """
        head = self._desk.idle(run)
        changes = given(**arguments)
        if is_planned(head):
            kind = solved if head.task == solved.KIND else planned
            return self._begun(await kind.take_up(self._desk, head, changes))
        return self._begun(await self._desk.resume(head, **changes))

    async def runs(self, offset: Offset = 0, limit: Limit = 20) -> dict[str, Any]:
        """List the runs that there are, the newest first, those begun on the command line, too."""
        heads = self._desk.journal.heads()[::-1]
        # Yielded one by one: how a run stands takes a look into the journal, and a page holds few.
        page = listed((standing_of(self._desk, head) for head in heads[offset:]), offset, limit)
        return page | {"total": len(heads)}

    def _begun(self, live: Live) -> dict[str, Any]:
        return standing_of(self._desk, self._desk.journal.head(live.run))

    def _decision(self, head: RunHead, step: int | None) -> dict[str, Any]:
        if step is None:
            raise UsageError("step: part=step needs the number of one", remedy="give step, such as 0")
        found = next(self._decisions(head, step), None)
        if found is None:
            raise UsageError(f"step: {step} is not decided", remedy="see how far the run is: run_status")
        return found

    def _entries(self, head: RunHead, start: int) -> Iterator[tuple[Any, Decided, Move]]:
        journal, result = self._desk.journal, self._desk.result(head)
        if result.book.epochs:
            # Other versions of the task have decided some of it, and the result knows which.
            return islice(result.decisions, start, None)
        near = journal.snapshot(head.id, start)
        found = walk(near.state, journal.decisions(head.id, near.step), self._desk.view(head).replay)
        return islice(found, max(0, start - near.step), None)

    def _decisions(self, head: RunHead, start: int) -> Iterator[dict[str, Any]]:
        """Yield the decisions from step `start` on, from the snapshot nearest to it; of branches, one after another."""
        if is_planned(head):
            # Each branch counts its steps anew; the place among all of them tells one from another.
            from mdap import branches

            for place, made in enumerate(islice(branches.steps_of(self._desk.journal, head.id), start, None), start):
                yield {"place": place, **msgspec.to_builtins(made)}
            return
        for _, entry, move in self._entries(head, start):
            yield {
                "step": entry.step,
                "kind": entry.kind,
                "action": entry.action,
                "next_state": move.next_state,
                "votes": list(entry.votes),
            }


def standing_of(desk: Desk, head: RunHead) -> dict[str, Any]:
    """Return how a run stands, in few words, with the next thing to do."""
    live = desk.live.get(head.id)
    history = desk.standing(head.id)
    book = history.book
    told: dict[str, Any] = {
        "run": head.id,
        "task": shortened(head.task, 200),
        "model": shortened(head.model, 200),
        "rule": book.epochs[-1][1]["rule"] if book.epochs else head.rule,
        "status": book.status if live is None else "running",
        # What was decided a moment ago may await its commit, and a count should not go back.
        "steps": book.steps if live is None else max(book.steps, live.progress.steps),
        "total": head.total,
        "samples": book.totals.samples,
        "votes": book.totals.votes,
        "flagged": book.totals.flagged if live is None else live.flagged,
        "seconds": round(book.seconds, 3),
    }
    if head.prices:
        told["cost_usd"] = f"{usd(book.spent.nano):f}"
    # While it goes on, the reason is why it ended the last time.
    if live is None and book.reason:
        told["reason"] = for_clients(shortened(book.reason))
    if live is not None and live.box is not None:
        told["open_votes"] = len(live.box)
    told["next"] = _next(told, live)
    return told


def _next(told: dict[str, Any], live: Live | None) -> str:
    run = told["run"]
    if live is not None and live.box is not None:
        # Before its status: a run that waits for the client is running, too, and looking at it leads nowhere.
        return f"next_steps(run={run!r}), answer each prompt by itself, submit_votes"
    match told["status"]:
        case "done":
            return f"run_result(run={run!r})"
        case "running":
            return f"run_status(run={run!r}) in a few seconds"
        case "undecided":
            return f"inbox(run={run!r}) and resolve, or run_resume(run={run!r}) with more max_samples"
        case "budget":
            return f"run_resume(run={run!r}) with a larger budget"
        case _:
            return f"run_resume(run={run!r})"


_ABOUT = ("task", "question", "prompt", "solve")
_BELONGS: dict[str, tuple[str, ...]] = {
    "one_of": ("question", "solve"),
    **dict.fromkeys(("plan", "batch_size", "format", "restarts", "attempts"), ("prompt",)),
    **dict.fromkeys(("decompose", "max_depth", "max_subtasks", "validate_answers", "rounds"), ("solve",)),
    **dict.fromkeys(("rule", "max_steps"), ("task", "question", "prompt")),
    "confidence": ("task", "question"),
}


def _check_belongs(options: dict[str, Any], about: dict[str, Any]) -> None:
    """Raise UsageError for an argument that has no meaning here."""
    for name, wanted in _BELONGS.items():
        if name in options and all(about[one] is None for one in wanted):
            there = " or ".join(wanted)
            raise UsageError(f"{name}: it goes with {there}", remedy=f"leave it out, or give {there}")


def _without_states(decision: dict[str, Any]) -> dict[str, Any]:
    """Return a decision that no page could hold without what makes it long."""
    kept = [name for name in ("place", "item", "step", "kind", "votes") if name in decision]
    return {name: decision[name] for name in kept} | {"left_out": "too long for a page: run_result(part='step')"}


def _planned(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return what planning or carrying out came to; how the run stands is said beside it."""
    beside = ("run", "status", "reason", "totals", "error", "statistics", "warnings", "forecast")
    kept = {name: value for name, value in outcome.items() if name not in beside}
    return kept | ({"plan": _planned(kept["plan"])} if kept.get("plan") else {})
