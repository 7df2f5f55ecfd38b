"""What planning and carrying out may begin with: text and states that a journal can hold. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdap.core.errors import RedFlag, UsageError
from mdap.core.plain import plain
from mdap.planning.bounds import check_numbers, shallow
from mdap.planning.execution_task import Form
from mdap.planning.steps import PlanStep, write_steps


def check_beginning(prompt: str, text_format: str, steps: Sequence[PlanStep], form: Form, start: Any) -> None:
    """Raise UsageError for an empty prompt, for what no journal can hold, and for a `start` that is not of the form."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageError("the prompt is empty", remedy="say what is to be done")
    # A number would become a text with the first reply: the state has one form from beginning to end.
    if form == "text" and not isinstance(start, str):
        raise UsageError(
            f"start={start!r} is no text, and the state is one", remedy="give a text as start, or form='json'"
        )
    # All are journaled before the first call: what fails there would fail with a run begun.
    texts = {"the prompt": prompt, "the format": text_format, "the plan": write_steps(steps)}
    for name, value in (texts | {"the state before the first step": start}).items():
        try:
            shallow(plain(value))
            check_numbers(value)
        except UnicodeEncodeError:
            raise UsageError(f"{name} holds halves of characters", remedy="give text that UTF-8 can write") from None
        except RecursionError:
            raise UsageError(f"{name} is nested too deeply", remedy="give something flatter") from None
        except (TypeError, ValueError, RedFlag) as error:
            said = error.message if isinstance(error, RedFlag) else error
            raise UsageError(f"{name} is nothing that JSON can hold: {said}", remedy="give JSON values") from None
