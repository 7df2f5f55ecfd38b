"""One vote without a task: any callable is sampled until one answer leads by k, or nothing is decided."""

from __future__ import annotations

import itertools

import mdap

replies = itertools.cycle(["Paris", "paris ", "Lyon", "Paris", "I think that it is Paris"])


def ask() -> str:
    """Stand here for a call of your model."""
    return next(replies)


def too_wordy(reply: str) -> str | None:
    """Discard a reply of more than two words; a flag gives its reason, or None."""
    return "more than two words" if len(reply.split()) > 2 else None


decided = mdap.vote(ask, k=3, key=lambda reply: reply.strip().lower(), flags=[too_wordy])
print(decided.winner, decided.counts, f"{decided.samples} samples")

torn = itertools.cycle("AB")
undecided = mdap.vote(lambda: next(torn), k=3, max_samples=20)
print(undecided.decided, undecided.winner is mdap.ABSENT, undecided.counts)

# Prints:
# Paris (('Paris', ...), ('Lyon', ...)) ... samples
# False True (('A', 10), ('B', 10))
