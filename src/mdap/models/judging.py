"""Two models as one: the second answers the requests that group candidates, the first all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdap.core.judging import Candidates
from mdap.core.records import Request, Response
from mdap.protocols import Model


class Judging:
    """A model with another that judges. All that the first one prescribes for a run holds; its spec is the run's."""

    def __init__(self, voter: Model, judge: Model) -> None:
        self.spec = voter.spec
        # The spec is the voter's alone, so it is here that the judge gets into the fingerprint.
        self.identity = f"{getattr(voter, 'identity', voter.spec)}; groups judged by {judge.spec}"
        self._voter = voter
        self._judge = judge
        # Only where the voter has it, for its presence means that a model wants its task. The judge is left as it is:
        # it is asked about candidates, never about states.
        if hasattr(voter, "bind"):
            self.bind = lambda task: Judging(voter.bind(task), judge)

    def over(self, change: Callable[[Any], Model]) -> Judging:
        """Return the same of the two models that `change` makes of these."""
        return Judging(change(self._voter), change(self._judge))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._voter, name)

    async def complete(self, request: Request) -> Response:
        """Answer with the model that the request is for."""
        model = self._judge if isinstance(request.state, Candidates) else self._voter
        return await model.complete(request)
