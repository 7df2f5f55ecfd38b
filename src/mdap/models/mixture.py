"""Votes drawn from several models on purpose: errors of one family are alike, those of two are less so."""

from __future__ import annotations

from mdap.core.records import Request, Response
from mdap.models.several import ELSE, MIXED, Several, named


class Mixture(Several):
    """Asks its models in turn by slot: slot 0 the first, slot 1 the second, and round again; a redraw keeps its model.

    So which model a vote comes from depends on nothing but its number, and each reply says which one gave it.
    """

    sign = MIXED
    flag = "--mix"
    # Read back from a spec, a mixture within a mixture would be a flat one with other turns, and a fallback within it
    # would be that of the whole.
    refused = (MIXED, ELSE)

    async def complete(self, request: Request) -> Response:
        """Answer with the model whose turn the slot is."""
        model = self.models[request.draw.slot % len(self.models)]
        return named(await model.complete(request), model)
