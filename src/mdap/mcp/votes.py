"""Votes from the client's own model: prompts of open draws are handed out one by one, and answers taken one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from pydantic import BaseModel, ConfigDict, Field

from mdap.core.errors import MdapError, UsageError
from mdap.mcp.desk import SOON, Desk, Live
from mdap.mcp.pages import MOST_BYTES, part_of, size_of, text_of
from mdap.mcp.runs import standing_of
from mdap.mcp.tool import Offset, made
from mdap.models.client import Open
from mdap.protocols import Clock

AnyRun = Annotated[str | None, Field(description="Id of one run; all runs without it.", max_length=150)]
Few = Annotated[int, Field(description="Prompts at most, each of another step.", ge=0, le=50)]
# What stands around the prompts of an answer.
_ROOM = MOST_BYTES - 6_000


class Submitted(BaseModel):
    """An answer to one prompt."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(description="The `token` of the prompt.", max_length=300)]
    answer: Annotated[str, Field(description="The whole answer, as it is.", max_length=1_000_000)]


class VoteTools:
    """The tools by which a client's own model votes.

    A prompt that was handed out is not handed out again for a while, so that several workers of one client each have
    one of their own. Prompts of one answer are of different steps: votes on a step never come out of one and the same
    answer.
    """

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._leases: dict[str, float] = {}

    def tools(self) -> list[Tool]:
        """Return the tools."""
        there = self._desk.there
        return [made(there(self.next_steps)), made(there(self.submit_votes))]

    async def next_steps(
        self,
        run: AnyRun = None,
        limit: Annotated[int, Field(description="Prompts at most, each of another step.", ge=1, le=50)] = 4,
        lease_seconds: Annotated[
            float, Field(description="For how long nobody else is given these prompts.", ge=0, le=86_400)
        ] = 120.0,
        token: Annotated[
            str | None, Field(description="One prompt to read on with, from `offset` on.", max_length=300)
        ] = None,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Take prompts to be answered by you, for runs with model=client. Answer each one by itself, as if you had seen
        no other, without tools and without comment, and give the whole answer back by submit_votes.

        Several votes are taken on every step, and each needs an answer of its own: take a fresh worker (a subagent with
        an empty context) for each if you can. Where `text` ends with next_offset, read on with token and offset.
        """
        if token is not None:
            live, draw = self._found(token)
            return {"token": token, **_told(live, draw, offset)}
        chosen = self._runs(run)
        taken = self._taken(chosen, limit, lease_seconds)
        if not taken and chosen and await self._wait(chosen):
            taken = self._taken(chosen, limit, lease_seconds)
        return self._answer(run, chosen, taken)

    async def submit_votes(
        self,
        votes: Annotated[
            list[Submitted],
            Field(description="Answers, each to a prompt of another step.", min_length=1, max_length=50),
        ],
        next: Annotated[int, Field(description="Prompts to hand out in the same answer.", ge=0, le=50)] = 0,
    ) -> dict[str, Any]:
        """Give answers to prompts of next_steps. Each is one vote, for its own prompt alone; two votes on one step are
        never taken from one call. An answer that is not of the form the prompt asks for is discarded and its prompt
        asked anew. With `next`, further prompts come in the same answer.
        """
        self._check(votes)
        lives: dict[str, Live] = {}
        outcomes = []
        for vote in votes:
            run, _, token = vote.token.partition(":")
            live = self._desk.live.get(run)
            is_taken = live is not None and live.box is not None and live.box.answer(token, vote.answer)
            self._leases.pop(vote.token, None)
            if live is not None:
                lives[run] = live
            outcomes.append({"token": vote.token, "outcome": "taken" if is_taken else "not open any more"})
        chosen = list(lives.values())
        await self._wait(chosen)
        # As long as next_steps has it by default.
        taken = self._taken(chosen, next, 120.0) if next else []
        runs = dict.fromkeys(vote.token.partition(":")[0] for vote in votes)
        return {"votes": outcomes, **self._answer(None, chosen, taken, list(runs))}

    def _runs(self, run: str | None) -> list[Live]:
        """Return the runs that take answers; raises UsageError for one that does not."""
        if run is None:
            return [live for live in self._desk.live.values() if live.box is not None]
        head = self._desk.head(run)
        live = self._desk.live.get(head.id)
        if live is not None and live.box is None:
            raise UsageError(f"run: {head.id} asks {head.model}, not you", remedy="begin one with model='client'")
        return [] if live is None else [live]

    async def _wait(self, chosen: Sequence[Live]) -> bool:
        """Wait a moment for what the answers so far lead to: the next draws, or the end of a run."""
        for live in chosen:
            # Where something is open already there is nothing to wait for.
            if live.box is not None and not len(live.box):
                await live.box.wait_open(SOON)
        return any(live.box is not None and len(live.box) for live in chosen)

    def _taken(self, chosen: Sequence[Live], limit: int, seconds: float) -> list[dict[str, Any]]:
        """Hand out up to `limit` draws, no two of one step."""
        now = self._clock.now()
        # Nothing else ends a lease whose prompt was never answered.
        self._leases = {token: until for token, until in self._leases.items() if until > now}
        made: list[dict[str, Any]] = []
        left, steps = _ROOM, set[tuple[str, int, int]]()
        for live in chosen:
            for draw in live.box or ():
                token, place = f"{live.run}:{draw.token}", _step(live, draw)
                if token in self._leases or place in steps or len(made) == limit:
                    continue
                told = {"token": token, **_told(live, draw, 0)}
                size = size_of(told)
                # Whatever its size the first goes in, or nobody would ever get it; one too long is read in parts.
                if made and size > left:
                    return made
                left -= size
                steps.add(place)
                self._leases[token] = now + seconds
                made.append(told)
        return made

    def _found(self, token: str) -> tuple[Live, Open]:
        run, _, name = token.partition(":")
        live = self._desk.live.get(run)
        for draw in (live.box if live is not None and live.box is not None else None) or ():
            if draw.token == name and live is not None:
                return live, draw
        raise UsageError(f"token: {token[:100]!r} is not open", remedy="take another from next_steps")

    def _check(self, votes: Sequence[Submitted]) -> None:
        """Raise UsageError where two votes are for one prompt, or for one step."""
        tokens: set[str] = set()
        places: set[tuple[str, ...]] = set()
        runs = set(self._desk.live)
        for number, vote in enumerate(votes):
            parts = vote.token.partition(":")[2].split(".")
            # Item, step, slot, redraw and digest; a sixth where two draws are alike to the letter.
            if len(parts) < 5:
                raise UsageError(
                    f"votes.{number}.token: {vote.token[:100]!r} is no token", remedy="copy it from next_steps"
                )
            run = vote.token.partition(":")[0]
            if run not in runs:
                # Before any answer is taken: a call that fails has to have done nothing.
                with _naming(f"votes.{number}.token"):
                    runs.add(self._desk.head(run).id)
            place = run, *parts[:2]
            if vote.token in tokens:
                raise UsageError(f"votes.{number}.token: it is there twice", remedy="one answer is one vote")
            if place in places:
                raise UsageError(
                    f"votes.{number}.token: a second vote on the same step in one call",
                    remedy="give it in a call of its own, from an answer of its own",
                )
            tokens.add(vote.token)
            places.add(place)

    def _answer(
        self, run: str | None, chosen: Sequence[Live], taken: list[dict[str, Any]], runs: Sequence[str] = ()
    ) -> dict[str, Any]:
        names = list(runs) or ([live.run for live in chosen] if run is None else [self._desk.head(run).id])
        stand = []
        # Of more there is no room beside the prompts, and `runs` lists them all.
        for name in names[:20]:
            told = standing_of(self._desk, self._desk.head(name))
            kept = ("run", "status", "steps", "total", "flagged", "open_votes", "reason", "next")
            stand.append({key: told[key] for key in kept if key in told})
        return {"prompts": taken, "runs": stand}


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Let an error say which argument it is about."""
    try:
        yield
    except MdapError as error:
        error.message = f"{field}: {error.message}"
        raise


def _step(live: Live, draw: Open) -> tuple[str, int, int]:
    return live.run, draw.request.draw.item, draw.request.draw.step


def _told(live: Live, draw: Open, offset: int) -> dict[str, Any]:
    """Return what a client is told of a draw: the messages, or a part of their text where they are long."""
    messages = [{"role": message.role, "content": message.content} for message in draw.request.messages]
    told = {"run": live.run, "step": draw.request.draw.step, "max_tokens": draw.request.max_tokens}
    if offset == 0 and size_of(messages) <= _ROOM - 1_000:
        return told | {"messages": messages}
    return told | {"messages_as_json": part_of(json.dumps(messages, ensure_ascii=False), offset, _ROOM - 1_000)}


__all__ = ["VoteTools", "text_of"]
