"""Budgets as arithmetic: reserved before a call, settled after it, never overshot. Knows no clock and no journal."""

from __future__ import annotations

import msgspec

from mdap.core.errors import BudgetReached
from mdap.core.history import Spend

# The share of a budget that one lease sets aside: what a kill can cost at most, and how seldom a lease is written.
LEASE_SHARE = 0.01


class Limits(msgspec.Struct, frozen=True):
    """What a run may spend in all: calls, tokens and seconds; None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None


class Budget:
    """What is spent and what is reserved, against `limits`; `spent` holds what earlier segments used.

    A reservation is one call and an upper bound of its tokens. `lease` is how much a journal has been told may be
    spent; a reservation past it needs a new one first.
    """

    def __init__(self, limits: Limits, spent: Spend) -> None:
        self.limits = limits
        self.spent = Spend(spent.calls, spent.tokens, spent.seconds)
        self.lease = Spend(spent.calls, spent.tokens, spent.seconds)
        self.calls_open = 0
        self.tokens_open = 0

    @property
    def is_counted(self) -> bool:
        """Whether anything is limited, so that leases are needed."""
        return self.limits != _NO_LIMITS

    def fits(self, tokens: int) -> bool:
        """Say whether one more call with at most `tokens` tokens stays within the limits."""
        return self._over(tokens) is None

    def check(self, tokens: int) -> None:
        """Raise BudgetReached, with the figures, if one more call with at most `tokens` tokens does not fit."""
        over = self._over(tokens)
        if over is not None:
            name, taken, more, limit = over
            raise BudgetReached(
                f"stopped at the budget: {taken:,} {name} taken + {more:,} for the next call > {limit:,}",
                remedy=f"go on with a larger --budget-{name}",
            )

    def reserve(self, tokens: int) -> None:
        """Set aside one call and `tokens` tokens; raises BudgetReached if they do not fit."""
        self.check(tokens)
        self.calls_open += 1
        self.tokens_open += tokens

    def release(self, tokens: int) -> None:
        """Give back a reservation of a call that was never made."""
        self.calls_open -= 1
        self.tokens_open -= tokens

    def settle(self, tokens: int, used: int) -> None:
        """Replace a reservation of `tokens` by the tokens really `used`; the call counts whatever became of it."""
        self.release(tokens)
        self.spent.calls += 1
        self.spent.tokens += used

    def next_lease(self, seconds: float) -> Spend | None:
        """Return the lease that what is reserved now needs, or None if the present one covers it.

        `seconds` is what this segment has taken so far; of time, a lease covers what has passed, not what is to come.
        """
        limits, lease = self.limits, self.lease
        calls = self.spent.calls + self.calls_open
        tokens = self.spent.tokens + self.tokens_open
        taken = self.spent.seconds + seconds
        # What has no limit needs no lease of its own: each would be one more wait for the disk.
        if (
            (limits.calls is None or calls <= lease.calls)
            and (limits.tokens is None or tokens <= lease.tokens)
            and (limits.seconds is None or taken <= lease.seconds)
        ):
            return None
        return Spend(
            int(_block(calls, lease.calls, limits.calls)),
            int(_block(tokens, lease.tokens, limits.tokens)),
            _block(taken, lease.seconds, limits.seconds),
        )

    def _over(self, tokens: int) -> tuple[str, int, int, int] | None:
        calls = self.spent.calls + self.calls_open
        if self.limits.calls is not None and calls + 1 > self.limits.calls:
            return "calls", calls, 1, self.limits.calls
        taken = self.spent.tokens + self.tokens_open
        if self.limits.tokens is not None and taken + tokens > self.limits.tokens:
            return "tokens", taken, tokens, self.limits.tokens
        return None


def _block(needed: float, leased: float, limit: float | None) -> float:
    if limit is None:
        return max(needed, leased)
    return max(needed, min(limit, leased + limit * LEASE_SHARE))


_NO_LIMITS = Limits()
