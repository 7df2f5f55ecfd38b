"""What planning and carrying out are asked for besides the prompt, the models and the settings of a run. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mdap.core.plain import plain
from mdap.planning.atomic import AtomicCheck, not_atomic
from mdap.planning.execution_task import Form, Way
from mdap.planning.steps import read_steps


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for besides the prompt, the models and the settings of a run: see `plan` and `execute`."""

    batch_size: int = 2
    k: int | None = None
    format: str = ""
    templates: Mapping[str, str | Path] = {}
    max_steps: int = 20
    restarts: int = 2
    prepend_steps: Any = ()
    check_step: AtomicCheck | None = not_atomic
    execution: Way = "judge"
    form: Form = "text"
    # None stands for the empty state of the form: as a state of its own, null says nothing.
    start: Any = None
    attempts: int = 5
    candidates: int = 3

    def stored(self) -> dict[str, Any]:
        """Return it as a journal keeps it, for a command that goes on."""
        # By name: a function cannot be written down, and has to be given again.
        own = "" if self.check_step is None else getattr(self.check_step, "__qualname__", "own")
        # Absolute, since a resume may be typed in another folder.
        paths = {name: str(Path(path).absolute()) for name, path in self.templates.items()}
        steps = [step.to_dict() for step in read_steps(self.prepend_steps)]
        more = {"templates": paths, "prepend_steps": steps, "check_step": own, "start": plain(self.beginning)}
        return {name: getattr(self, name) for name in self.__struct_fields__} | more

    @property
    def beginning(self) -> Any:
        """The state before the first step."""
        return ("" if self.form == "text" else {}) if self.start is None else self.start


# The parts of a brief that a kind of run has no use for.
FOREIGN: dict[str, tuple[str, ...]] = {
    "plan": ("execution", "form", "start", "attempts", "candidates"),
    "execute": ("max_steps", "restarts", "prepend_steps", "check_step"),
    "do": (),
}
# What a resume may change: caps, which no decision was made by.
CAPS = ("max_steps", "restarts", "attempts")
