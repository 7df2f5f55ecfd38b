"""Guesses of moves that need no votes: from the task itself, or from a cheaper model. Only lookahead uses them."""

from __future__ import annotations

from mdap.core.errors import RedFlag, UsageError
from mdap.core.foreign import Foreign
from mdap.core.keyed import draw_seed
from mdap.core.records import Draw, Move, Request, Step
from mdap.core.settings import Settings
from mdap.engine.lookahead import Draft
from mdap.engine.taskview import TaskView
from mdap.protocols import Complete

TASK = "task"
_DRAFT = Foreign("draft")


def task_draft(view: TaskView) -> Draft:
    """Return the task's own draft; raises UsageError if it has none."""
    drafting = getattr(view.task, "draft", None)
    if drafting is None:
        raise UsageError(f"{type(view.task).__name__} cannot draft", remedy="give it `draft(state)`, or a model's name")

    def _draft(step: Step) -> Move | None:
        with _DRAFT:
            guess: Move | None = drafting(step.state)
        return guess

    return _draft


def model_draft(view: TaskView, complete: Complete, settings: Settings) -> Draft:
    """Return what one call of a model, without votes, says; a reply that is flagged is no draft."""

    async def _draft(step: Step) -> Move | None:
        # As the step's first vote: a draft by the model of the votes is then as good a guess as that one is.
        seed = draw_seed(settings.seed, step.item, step.index, 0, 0)
        request = Request(
            view.prompt(step.state),
            Draw(step.index, 0, 0, step.item),
            seed,
            settings.first_temperature,
            settings.max_tokens,
            step.state,
        )
        response = await complete(request)
        try:
            # By the parser and the oracle of votes: a guess is of use only if it equals what votes come to.
            return view.read(response.text, step.state).move
        except RedFlag:
            # Not drawn again: the step's own votes are on their way, and tell more.
            return None

    return _draft
