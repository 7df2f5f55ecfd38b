"""`--record-http` and `--replay-http`: which cassette the calls of a command go to, or come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

TAPES = Group("Cassettes", sort_key=7)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Tapes:
    """The cassettes of a command; at most one of them is given. They are never part of what a run is."""

    record_http: Annotated[
        Path | None, Parameter(help="Write every HTTP call to this new file, keys left out.", group=TAPES)
    ] = None
    replay_http: Annotated[
        Path | None,
        Parameter(help="Answer every HTTP call from this file; one that is not in it is an error.", group=TAPES),
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether there is a cassette."""
        return self.record_http is not None or self.replay_http is not None

    def into(self, spec: str) -> str:
        """Return the spec of a model, or of several, with the cassette in it; raises UsageError where none makes calls.

        The model that is made of it does not have the cassette in its own spec.
        """
        if not self.is_given:
            return spec
        from mdap.core.errors import UsageError

        # The signs are kept among the parts, so that the whole is put together as it was.
        parts = re.split(r"( [+|] )", spec)
        made = [self._into(part) if part.strip(" +|") else part for part in parts]
        # Told now: that nothing was recorded would be found out when it is needed.
        if made == parts:
            raise UsageError(
                f"{spec} makes no calls over HTTP that could be recorded", remedy="leave --record-http out"
            )
        return "".join(made)

    def _into(self, spec: str) -> str:
        import inspect

        from mdap.core.errors import UsageError
        from mdap.core.spec import parse_spec, write_spec
        from mdap.models.catalog import MODELS, factory

        read = parse_spec(spec)
        # Asked of what makes the model: what calls nobody over HTTP has no such parameter.
        if read.name not in MODELS or "record_http" not in inspect.signature(factory(read.name)).parameters:
            return spec
        given = {"record_http": self.record_http, "replay_http": self.replay_http}
        for file in given.values():
            # It would end the option that it stands in, or the model.
            if file is not None and ("," in str(file) or " + " in str(file) or " | " in str(file)):
                raise UsageError(f"the name of the cassette {file} cannot stand in a spec", remedy="name another file")
        return write_spec(read.name, {**dict(read.options), **given}, bare=read.bare)


NO_TAPES = Tapes()
