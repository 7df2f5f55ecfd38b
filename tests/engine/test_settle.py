"""A task may say what a closed ballot comes to, from all its votes; what it says is decided, stored and replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mdap import api
from mdap.core.errors import Stop, TaskError
from mdap.core.events import Event, StepUndecided
from mdap.core.records import ABSENT, Move, Request, Response
from mdap.models.scripted import scripted
from mdap.result import Result


class Judged:
    """Two proposals, each judged: votes are verdicts, and what is decided keeps the reasons of all that said no."""

    spec = "judged"
    vote_on = "action"

    def start(self) -> Any:
        return {"at": 0, "reasons": []}

    def is_done(self, state: Any) -> bool:
        return bool(state["at"] == 2)

    def prompt(self, state: Any) -> str:
        return f"Is proposal {state['at']} right? Known against it: {state['reasons']}"

    def parse(self, text: str, state: Any) -> Move:
        verdict, _, reason = text.partition(":")
        return Move({"verdict": verdict, "reason": reason}, ABSENT)

    def key(self, move: Move) -> Any:
        return move.action["verdict"]

    def apply(self, state: Any, action: Any) -> Any:
        return {"at": state["at"] + 1, "reasons": [*state["reasons"], *action.get("reasons", [])]}

    def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
        verdict = "contentious" if winner is None else winner.action["verdict"]
        reasons = tuple(vote.action["reason"] for vote in votes if vote.action["verdict"] == "no")
        return Move({"verdict": verdict, "reasons": reasons}, ABSENT)


class OnPairs(Judged):
    """The same with votes on the pair: settling gives the next state itself."""

    vote_on = "pair"

    def parse(self, text: str, state: Any) -> Move:
        said = super().parse(text, state).action
        return Move(said, {"at": state["at"] + 1, "reasons": state["reasons"]})

    def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
        settled = super().settle(state, votes, winner)
        assert settled is not None
        return Move(settled.action, {**self.apply(state, settled.action), "settled": True})


class Unsettled(Judged):
    """Knows nothing to make of a ballot that has no winner."""

    def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
        return winner


# By (step, slot): step 0 goes no, yes, no, no; step 1 is never agreed upon.
SAID: dict[Any, str] = {
    (0, 0): "no:too long",
    (0, 1): "yes:",
    (0, 2): "no:too dear",
    (0, 3): "no:too late",
    **{(1, slot): "no:because" if slot % 2 else "yes:" for slot in range(8)},
}
WAYS = {"rule": "gate:2", "record": "samples"}


async def judged(task: Judged | None = None, said: Any = None, **options: Any) -> Result:
    return await api.run(task or Judged(), scripted(SAID if said is None else said), **{**WAYS, **options})


def moves(result: Result) -> list[tuple[Any, Any, tuple[int, ...]]]:
    return [(move.action, move.next_state, entry.votes) for _, entry, move in result.decisions]


REASONS = ["too long", "too dear", "too late"]
FIRST = {"verdict": "no", "reasons": REASONS}
SECOND = {"verdict": "contentious", "reasons": ["because"] * 4}


async def test_what_is_decided_is_made_of_all_votes_in_the_order_in_which_they_were_asked_for() -> None:
    result = await judged()
    assert moves(result) == [
        (FIRST, {"at": 1, "reasons": REASONS}, (3, 1)),
        (SECOND, {"at": 2, "reasons": [*REASONS, *["because"] * 4]}, (4, 4)),
    ]
    assert result.state == {"at": 2, "reasons": [*REASONS, *["because"] * 4]}


async def test_with_votes_on_the_pair_the_next_state_is_the_one_that_settling_gives() -> None:
    result = await judged(OnPairs())
    assert [after["settled"] for _, after, _ in moves(result)] == [True, True]


@pytest.mark.parametrize("task", [Judged(), OnPairs()])
async def test_a_settled_step_is_read_back_as_it_was_decided_and_never_asked_again(tmp_path: Path, task: Any) -> None:
    path = tmp_path / "runs.db"

    def _stop_after_one(event: Event) -> None:
        if type(event).__name__ == "StepDecided":
            raise Stop("one is enough")

    whole = await judged(task)
    first = await judged(task, journal=path, on_event=_stop_after_one)
    assert (first.status, first.steps) == ("stopped", 1)
    model = scripted(SAID)
    last = await api.resume(first.run, journal=path, task=task, model=model)
    assert list(last.export()) == list(whole.export())
    assert {request.draw.step for request in model.requests} == {1}


@pytest.mark.parametrize("calls", range(1, 12))
async def test_a_ballot_that_a_budget_cut_off_settles_as_if_it_had_not_been(tmp_path: Path, calls: int) -> None:
    path = tmp_path / "runs.db"
    whole = await judged()
    cut = await judged(journal=path, budget_calls=calls, in_flight=1)
    assert cut.status == "budget"
    last = await api.resume(cut.run, journal=path, task=Judged(), model=scripted(SAID), budget_calls=100)
    assert list(last.export()) == list(whole.export())
    assert last.samples == whole.samples == 12


async def test_a_ballot_that_nothing_is_made_of_leaves_its_step_undecided() -> None:
    heard: list[Event] = []
    result = await judged(Unsettled(), on_event=heard.append)
    assert (result.status, result.steps) == ("undecided", 1)
    assert "step 1: gate:2 closed the ballot without a decision, votes [4, 4]" in result.reason
    assert [event.votes for event in heard if isinstance(event, StepUndecided)] == [(4, 4)]
    assert result.book.ballot is not None
    assert result.book.ballot.taken == 8


async def test_without_settle_a_rule_that_elects_nobody_leaves_its_step_undecided() -> None:
    class Plain(Judged):
        settle = None  # type: ignore[assignment]

    result = await judged(Plain(), rule="collect:2")
    assert (result.status, result.steps, result.samples) == ("undecided", 0, 2)
    assert "give the task `settle`" in result.reason
    assert "mdap resume" not in result.reason


async def test_a_flagged_reply_is_no_vote_that_is_settled() -> None:
    said = {**SAID, (0, 1): "yes:" + "x" * 4000, (0, 1, 1): "no:again"}

    def _long(response: Response, request: Request) -> str | None:
        return "too long to read" if len(response.text) > 1000 else None

    seen: list[list[str]] = []

    class Seeing(Judged):
        def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
            seen.append([vote.action["reason"] for vote in votes])
            return super().settle(state, votes, winner)

    await judged(Seeing(), said, extra_flags=[_long])
    assert seen[0] == ["too long", "again"]


async def test_an_error_in_settle_names_it_and_its_step() -> None:
    class Raising(Judged):
        def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
            raise KeyError("gone")

    with pytest.raises(TaskError, match=r"step 0: Raising\.settle raised KeyError"):
        await judged(Raising())


async def test_on_pairs_a_settled_move_without_a_next_state_is_an_error() -> None:
    class Stateless(OnPairs):
        def settle(self, state: Any, votes: Sequence[Move], winner: Move | None) -> Move | None:
            return Move({"verdict": "no"}, ABSENT)

    with pytest.raises(TaskError, match="gave no next state"):
        await judged(Stateless())


async def test_an_undecided_ballot_can_be_taken_up_by_a_remedy() -> None:
    result = await judged(Unsettled(), remedies=["samples:400", "stop"])
    assert result.status == "stopped"
    assert result.samples == 12
