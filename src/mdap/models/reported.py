"""What a provider reports of the tokens of a call, as a usage. Which of its fields is which is for the dialects."""

from __future__ import annotations

from typing import TypeAlias

from mdap.core.records import Usage

Count: TypeAlias = float | None
"""A number of tokens as servers write it: some gateways write 12.0."""

# A thousand times the longest context there is: beyond it stands a mistake, and no bill.
MOST = 1_000_000_000


def usage_of(
    tokens_in: tuple[Count, ...],
    tokens_out: tuple[Count, ...],
    *,
    cached: Count = None,
    cache_written: Count = None,
    reasoning: Count = None,
) -> Usage | None:
    """Return the usage of a call; None where it was not reported: the first of neither sum is there.

    The sums are what the vendor counts apart. A number that is no count of tokens counts as a report that is missing.
    """
    # None where nothing was reported, never zero: a call whose cost is not known must not read as a free one.
    if tokens_in[0] is None and tokens_out[0] is None:
        return None
    # Below zero it would give back budget: "not known" is -1 to some.
    if not all(0 <= (count or 0) <= MOST for count in (*tokens_in, *tokens_out, cached, cache_written, reasoning)):
        return None
    return Usage(
        sum(int(count or 0) for count in tokens_in),
        sum(int(count or 0) for count in tokens_out),
        cached=int(cached or 0),
        cache_written=int(cache_written or 0),
        reasoning=int(reasoning or 0),
    )
