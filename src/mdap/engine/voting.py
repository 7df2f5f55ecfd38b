"""Algorithm 2: ask until the rule decides. Draws exactly what is still needed, counts in the order of asking."""

from __future__ import annotations

from mdap.core.ballot import Rule
from mdap.core.errors import TaskError, Undecided
from mdap.core.events import StepUndecided, Warned
from mdap.core.records import Decision, Prompt, Step
from mdap.engine.drawing import draw_all
from mdap.engine.judging import Judge
from mdap.engine.poll import Poll
from mdap.engine.vote import Asking, Reader


async def do_voting(asking: Asking, rule: Rule, step: Step, polls: dict[int, Poll]) -> Decision:
    """Ask for votes on one step until `rule` decides (Algorithm 2).

    `polls` holds the ballots now open; this one is in it until it is decided. Raises Undecided when the cap of
    samples is reached, and what a draw raised, once all draws of its batch have ended.
    """
    # An earlier segment may have left it open, with votes that are paid for.
    poll = polls.get(step.index)
    if poll is None:
        poll = polls[step.index] = Poll(step, rule)
    view, cap, draw = asking.view, asking.settings.max_samples, asking.draw or draw_all
    try:
        reader = Reader(view, step.state)
        prompt = view.prompt(step.state)
        poll.messages = prompt.messages
        _watch(asking, step.index, prompt)
        poll.count()
        if view.judge is not None:
            await _regroup(view.judge, asking, poll, prompt)
        # Exactly as many as are needed: fewer would only wait longer, one more could be wasted.
        while needed := poll.ballot.needed:
            batch = poll.batch(needed, cap)
            if not batch:
                raise _out_of_samples(poll, cap)
            # Shared out beforehand: if draws took from one counter, latency would say which of them meets the cap.
            await draw(asking, poll, prompt, reader, batch, max(1, (cap - poll.taken) // len(batch)))
            poll.count()
            if view.judge is not None:
                await _regroup(view.judge, asking, poll, prompt)
        decision = poll.decision(view.settle)
    except TaskError as error:
        error.step, error.message = step.index, f"step {step.index}: {error.message}"
        raise
    except Undecided as undecided:
        if asking.emit is not None:
            asking.emit(StepUndecided(step.index, poll.ballot.tally, undecided.message, step.item))
        raise
    # Only here: whatever is raised above leaves the ballot where a stop finds it.
    del polls[step.index]
    return decision


async def _regroup(judge: Judge, asking: Asking, poll: Poll, prompt: Prompt) -> None:
    """Count the votes that are in by the groups of a model that judges which candidates are the same."""
    poll.regroup(await judge.group(asking.complete, asking.settings, poll.step, prompt.messages, poll.candidates))


def _watch(asking: Asking, step: int, prompt: Prompt) -> None:
    """Say, before anything is asked, that a prompt gets out of hand; raises ModelRejected once it is past it."""
    if asking.growth is None:
        return
    characters = 0
    for message in prompt.messages:
        characters += len(message.content)
    warning = asking.growth.see(step, characters)
    if warning is not None and asking.warn is not None:
        asking.warn(Warned(step, "growth", warning))


def _out_of_samples(poll: Poll, cap: int) -> Undecided:
    ballot, index = poll.ballot, poll.step.index
    return Undecided(
        f"step {index}: {poll.taken} samples, votes {list(ballot.tally)}, lead {ballot.lead}, "
        f"{ballot.needed} more needed by {ballot.rule.spec}",
        remedy=f"look at it with `mdap show RUN --step {index}`, or raise --max-samples above {cap}",
        step=index,
    )
