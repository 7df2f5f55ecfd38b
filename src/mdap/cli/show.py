"""`mdap show`: a run as it stands, or all that is known of one of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mdap.cli.options import USUAL_PLACE, Json, Place, whole

if TYPE_CHECKING:
    from mdap.cli.stored import Stored
    from mdap.core.records import Sample
    from mdap.result import Result


def show(
    run: Annotated[str, Parameter(help="Id of the run, or a beginning of it that no other run has.")],
    /,
    *,
    step: Annotated[int | None, Parameter(help="Step to look at; the first one is 0.", converter=whole)] = None,
    row: Annotated[int | None, Parameter(help="The row of a map, or branch of a plan.", converter=whole)] = None,
    place: Place = USUAL_PLACE,
    json: Json = False,
) -> int:
    """Show a run, or with --step everything that is known of one of its steps.

    That is the state, what was asked, the ballot, and every recorded sample with its text, its vote or why it was
    flagged. Samples of contested and undecided steps are recorded; --record samples, at the start, records all.
    """
    from mdap.cli.map_report import show_map
    from mdap.cli.planned import show_planned
    from mdap.cli.report import print_json, print_result, print_step
    from mdap.cli.stored import stored_run
    from mdap.core.errors import UsageError

    if show_planned(run, step, row, place, json=json):
        return 0
    if show_map(run, step, row, place, json=json):
        return 0
    if row is not None:
        raise UsageError(f"{run} has no rows", remedy="leave --row out")
    with stored_run(run, place) as stored:
        if step is not None:
            found = step_of(stored, step)
            print_json(found) if json else print_step(found)
        elif json:
            print_json(stored.result.to_dict())
        else:
            print_result(stored.result, [done for _, done in done_about(stored)])
            _say_ways_on(stored.result, place)
    return 0


def _say_ways_on(result: Result, place: Place) -> None:
    from mdap.cli.exits import say, ways_on
    from mdap.core.remedy import addressed

    if result.status in ("done", "running"):
        return
    say(f"{result.status}: {addressed(result.reason, result.run, place.flag)}")
    for command in ways_on(result.run, result.book, result.book.settings or result.head.settings, place.flag):
        say(f"next:  {command}")


def step_of(stored: Stored, step: int) -> dict[str, Any]:
    """Return all that is known of one step; raises UsageError for a step that was never asked.

    `status` is decided or open; `votes` the tally, the first candidate's first; `samples` those recorded, each with
    `candidate`: 0 for the winner's or the leader's, further numbers as they appeared, absent for a flagged one.
    """
    from mdap.core.errors import UsageError

    result, ballot = stored.result, stored.result.book.ballot
    if not 0 <= step < result.steps and (ballot is None or ballot.step != step):
        asked = f"steps 0 to {result.steps - 1:,} are decided" if result.steps else "no step is decided yet"
        raise UsageError(f"step {step} of {result.run} was not asked: {asked}", remedy=f"mdap show {result.run}")
    made: dict[str, Any] = {"run": result.run, "step": step, "rule": result.rule, "record": _recording(result)}
    made |= _decided(stored, step) if step < result.steps else _open(stored)
    samples = stored.journal.samples(result.run, step)
    numbers = _candidates(samples)
    made["done_about"] = [done for about, done in done_about(stored) if about == step]
    made["samples"] = [_sample(sample, numbers) for sample in samples]
    return made


def done_about(stored: Stored) -> list[tuple[int, str]]:
    """Return what was done about steps that their caps had left undecided, each with its step, in words."""
    from mdap.cli.report import told_act

    return [(act.step, told_act(act)) for act in stored.journal.acts(stored.result.run)]


def _recording(result: Result) -> str:
    return str((result.book.settings or result.head.settings)["record"])


def _decided(stored: Stored, step: int) -> dict[str, Any]:
    state, entry, move = stored.result.decision(step)
    return {
        "status": "decided",
        "kind": entry.kind,
        "state": state,
        "messages": _messages(stored, state),
        "action": entry.action,
        "next_state": move.next_state,
        "votes": list(entry.votes),
    }


def _open(stored: Stored) -> dict[str, Any]:
    ballot = stored.result.book.ballot
    assert ballot is not None
    counts: dict[bytes, int] = {}
    for _, vote in ballot.votes:
        counts[vote.key] = counts.get(vote.key, 0) + 1
    return {
        "status": "open",
        "reason": ballot.reason,
        "kind": ballot.kind,
        "state": ballot.state,
        "messages": _messages(stored, ballot.state),
        "votes": sorted(counts.values(), reverse=True),
    }


def _messages(stored: Stored, state: Any) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in stored.view.prompt(stored.view.load(state)).messages]


def _candidates(samples: list[Sample]) -> dict[bytes, int]:
    """Number the candidates: by their votes, equals as they appeared."""
    counts: dict[bytes, int] = {}
    for sample in samples:
        if sample.key:
            counts[sample.key] = counts.get(sample.key, 0) + 1
    return {key: place for place, key in enumerate(sorted(counts, key=lambda key: -counts[key]))}


def _sample(sample: Sample, numbers: dict[bytes, int]) -> dict[str, Any]:
    made: dict[str, Any] = {"slot": sample.slot, "redraw": sample.redraw, "text": sample.text}
    if sample.flag:
        made |= {"flag": sample.flag, "reason": sample.reason}
    else:
        made["candidate"] = numbers[sample.key]
    if sample.model:
        made["model"] = sample.model
    if sample.confidence is not None:
        made["confidence"] = sample.confidence
    if sample.second is not None:
        made["second"] = sample.second
    return made | {
        "finish": sample.finish,
        "tokens_in": sample.tokens_in,
        "tokens_out": sample.tokens_out,
        "latency": sample.latency,
    }
