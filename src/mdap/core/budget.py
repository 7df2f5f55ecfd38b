"""Budgets as arithmetic: reserved before a call, settled after it, never overshot. Knows no clock and no journal."""

from __future__ import annotations

import msgspec

from mdap.core.errors import BudgetReached
from mdap.core.history import Spend
from mdap.core.prices import shown

# The share of a budget that one lease sets aside: what a kill can cost at most, and how seldom a lease is written.
LEASE_SHARE = 0.01


class Limits(msgspec.Struct, frozen=True):
    """What a run may spend in all: calls, tokens, seconds and nano-dollars; None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    nano: int | None = None


class Budget:
    """What is spent and what is reserved, against `limits`; `spent` holds what earlier segments used.

    A reservation is one call and upper bounds of its tokens and of what they cost, in nano-dollars. `is_counted` says
    whether anything is limited, so that leases are needed. `lease` is how much a journal has been told may be spent; a
    reservation past it needs a new one first.
    """

    def __init__(self, limits: Limits, spent: Spend) -> None:
        self.limits = limits
        self.is_counted = limits != _NO_LIMITS
        # Copies, since both grow: the history's own record stays what was read.
        self.spent = Spend(spent.calls, spent.tokens, spent.seconds, spent.nano)
        self.lease = Spend(spent.calls, spent.tokens, spent.seconds, spent.nano)
        self.calls_open = 0
        self.tokens_open = 0
        self.nano_open = 0

    def fits(self, tokens: int, nano: int = 0) -> bool:
        """Say whether one more call with at most `tokens` tokens, at most so dear, stays within the limits."""
        return self._over(tokens, nano) is None

    def check(self, tokens: int, nano: int = 0) -> None:
        """Raise BudgetReached, with the figures, if one more such call does not fit."""
        over = self._over(tokens, nano)
        if over is None:
            return
        name, taken, more, limit = over
        if name == "usd":
            figures = f"reserved {shown(taken)} + next {shown(more)} > {shown(limit)}"
        else:
            figures = f"{taken:,} {name} taken + {more:,} for the next call > {limit:,}"
        raise BudgetReached(f"stopped at the budget: {figures}", remedy=f"go on with a larger --budget-{name}")

    def reserve(self, tokens: int, nano: int = 0) -> None:
        """Set aside one call, `tokens` tokens and their cost; raises BudgetReached if they do not fit."""
        if self.is_counted:
            self.check(tokens, nano)
        self.calls_open += 1
        self.tokens_open += tokens
        self.nano_open += nano

    def release(self, tokens: int, nano: int = 0) -> None:
        """Give back a reservation of a call that was never made."""
        self.calls_open -= 1
        self.tokens_open -= tokens
        self.nano_open -= nano

    def settle(self, tokens: int, used: int, nano: int = 0, cost: int = 0) -> None:
        """Replace a reservation by what was really `used` and its `cost`; the call counts whatever became of it."""
        self.release(tokens, nano)
        # Not the reservation but what was used: the bill may be above it, which its receiver has to notice.
        self.spent.calls += 1
        self.spent.tokens += used
        self.spent.nano += cost

    def next_lease(self, seconds: float) -> Spend | None:
        """Return the lease that what is reserved now needs, or None if the present one covers it.

        `seconds` is what this segment has taken so far; of time, a lease covers what has passed, not what is to come.
        """
        limits, lease = self.limits, self.lease
        calls = self.spent.calls + self.calls_open
        tokens = self.spent.tokens + self.tokens_open
        nano = self.spent.nano + self.nano_open
        taken = self.spent.seconds + seconds
        # What has no limit needs no lease of its own: each would be one more wait for the disk.
        if (
            (limits.calls is None or calls <= lease.calls)
            and (limits.tokens is None or tokens <= lease.tokens)
            and (limits.seconds is None or taken <= lease.seconds)
            and (limits.nano is None or nano <= lease.nano)
        ):
            return None
        return Spend(
            _block_of(calls, lease.calls, limits.calls),
            _block_of(tokens, lease.tokens, limits.tokens),
            _block(taken, lease.seconds, limits.seconds),
            _block_of(nano, lease.nano, limits.nano),
        )

    def _over(self, tokens: int, nano: int) -> tuple[str, int, int, int] | None:
        # Seconds are in no reservation, since nobody knows how long a call takes: whoever holds the clock ends it in
        # time.
        calls = self.spent.calls + self.calls_open
        if self.limits.calls is not None and calls + 1 > self.limits.calls:
            return "calls", calls, 1, self.limits.calls
        taken = self.spent.tokens + self.tokens_open
        if self.limits.tokens is not None and taken + tokens > self.limits.tokens:
            return "tokens", taken, tokens, self.limits.tokens
        dear = self.spent.nano + self.nano_open
        if self.limits.nano is not None and dear + nano > self.limits.nano:
            return "usd", dear, nano, self.limits.nano
        return None


def _block(needed: float, leased: float, limit: float | None) -> float:
    if limit is None:
        return max(needed, leased)
    # `needed` can be beyond a block: many calls may be reserved at once.
    return max(needed, min(limit, leased + limit * LEASE_SHARE))


def _block_of(needed: int, leased: int, limit: int | None) -> int:
    """The same in whole numbers: a budget in nano-dollars has more digits than a float keeps."""
    if limit is None:
        return max(needed, leased)
    # LEASE_SHARE in whole numbers. Of a limit below 100 it is 0, and each call takes a lease of its own.
    return max(needed, min(limit, leased + limit // 100))


_NO_LIMITS = Limits()
