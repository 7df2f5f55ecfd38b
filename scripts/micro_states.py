"""Random Towers of Hanoi states in bulk, as numbers, for training and measuring `micro`; no network is known here.

A batch of states of n disks is `pegs` (rows, n), the peg of each disk, smallest first, and `previous` (rows, 3), the
move before as disk, from, to; zeros where there is none. The right move is the one that `mdap.tasks.hanoi` gives as
its answer; a test compares the two.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[Any]

FEWEST, MOST = 3, 20
ARROW, END, SIGNS = 10, 11, 12

# Held out of the training, whatever the previous move: every state of the standard path of 20 disks, and one in 64 of
# all other states of 14 to 20 disks. Except states that begin with more than 12 disks on one peg: there are a handful,
# the large disks move in no others, and without them the largest disk is never seen to move.
HELD_OUT_FROM, HELD_OUT_SHARE, FREE_RUN = 14, 64, 12


def sample(rng: np.random.Generator, disks: int, rows: int, forced: float = 0.7) -> tuple[Ints, Ints]:
    """Return random states: disks tend to lie with the next smaller one; a share `forced` begins with a long run.

    The run's length is even over 1 to disks - 1: large disks move only when all smaller ones lie on one peg, which a
    random state almost never shows. The move before is of disk 1 in 60%, of another in 37%, none in 3%, and is one
    that can have led to the state.
    """
    pegs = rng.integers(0, 3, (rows, disks))
    sticky = rng.random((rows, disks)) < 0.9 * rng.random((rows, 1))
    for disk in range(1, disks):
        pegs[:, disk] = np.where(sticky[:, disk], pegs[:, disk - 1], pegs[:, disk])
    run, first = rng.integers(1, disks, (rows, 1)), rng.integers(0, 3, (rows, 1))
    other = (first + rng.integers(1, 3, (rows, 1))) % 3
    begin, at = rng.random((rows, 1)) < forced, np.arange(disks)
    pegs = np.where(begin & (at < run), first, np.where(begin & (at == run), other, pegs))
    home, larger, source = _tops(pegs)
    luck = rng.random(rows)
    of_1 = np.stack([np.ones(rows, np.int64), (home + rng.integers(1, 3, rows)) % 3, home], axis=1)
    of_other = np.stack([larger, 3 - home - source, source], axis=1)
    previous = np.where((luck < 0.6)[:, None], of_1, np.where((luck < 0.97)[:, None], of_other, 0))
    # All disks on one peg: no other disk can have moved, and after disk 1 there would be no right move.
    previous[(pegs == pegs[:, :1]).all(axis=1)] = 0
    return pegs, previous


def strategy(pegs: Ints, previous: Ints) -> tuple[Ints, Ints]:
    """Return the right moves and the pegs after them."""
    rows, disks = pegs.shape
    home, larger, source = _tops(pegs)
    turn_of_1 = previous[:, 0] != 1
    way = 1 if disks % 2 == 0 else -1
    of_1 = np.stack([np.ones(rows, np.int64), home, (home + way) % 3], axis=1)
    of_other = np.stack([larger, source, 3 - home - source], axis=1)
    moves = np.where(turn_of_1[:, None], of_1, of_other)
    after = pegs.copy()
    after[np.arange(rows), moves[:, 0] - 1] = moves[:, 2]
    return moves, after


def examples(rng: np.random.Generator, disks: int, count: int, slips: float) -> Ints:
    """Return prompts with replies; in a share `slips` of these one token is another one, and what follows is right."""
    found: list[Ints] = []
    while sum(map(len, found)) < count:
        pegs, previous = sample(rng, disks, 2 * count + 8)
        kept = ~held_out(pegs)
        found.append(texts(pegs[kept], previous[kept]))
    drawn = np.concatenate(found)[:count]
    slipped = np.flatnonzero(rng.random(count) < slips)
    where = disks + 5 + rng.integers(0, disks + 5, len(slipped))
    drawn[slipped, where] = (drawn[slipped, where] + rng.integers(1, SIGNS, len(slipped))) % SIGNS
    return drawn


def texts(pegs: Ints, previous: Ints) -> Ints:
    """Return prompts with their right replies as tokens (rows, 2 * disks + 10)."""
    moves, after = strategy(pegs, previous)
    rows = len(pegs)
    return np.concatenate(
        [_digits(previous), pegs, np.full((rows, 1), ARROW), _digits(moves), after, np.full((rows, 1), END)], axis=1
    )


def path(disks: int, steps: Ints) -> tuple[Ints, Ints]:
    """Return the states of the standard path at `steps`."""
    pegs = np.stack([_peg(disks, np.full_like(steps, disk), steps) for disk in range(1, disks + 1)], axis=1)
    moved = np.frexp((steps & -steps).astype(np.float64))[1].astype(np.int64)
    previous = np.stack([moved, _peg(disks, moved, steps - 1), _peg(disks, moved, steps)], axis=1)
    return pegs, np.where((moved > 0)[:, None], previous, 0)


def held_out(pegs: Ints) -> Ints:
    """Return which states (rows of booleans) no training example may show."""
    disks = pegs.shape[1]
    free = run_length(pegs) > FREE_RUN
    held: Ints = (is_on_path(pegs) & (disks == MOST) | is_chosen(pegs)) & ~free
    return held


def is_chosen(pegs: Ints) -> Ints:
    """Return which states are of the one in 64 that are held out off the path; never one of fewer than 14 disks."""
    disks = pegs.shape[1]
    if disks < HELD_OUT_FROM:
        return np.zeros(len(pegs), bool)
    mixed = (pegs @ 3 ** np.arange(disks)).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    chosen: Ints = (mixed >> np.uint64(40)) % np.uint64(HELD_OUT_SHARE) == 0
    return chosen


def is_on_path(pegs: Ints) -> Ints:
    """Return which states are passed by on the way of all disks from peg 0 to peg 2."""
    rows, disks = pegs.shape
    source, target, on = np.zeros(rows, np.int64), np.full(rows, 2), np.ones(rows, bool)
    for disk in range(disks - 1, -1, -1):
        spare, stays = 3 - source - target, pegs[:, disk] == source
        on &= stays | (pegs[:, disk] == target)
        source, target = np.where(stays, source, spare), np.where(stays, spare, target)
    return on


def run_length(pegs: Ints) -> Ints:
    """Return how many disks, from the smallest on, lie on the peg of disk 1 before the first that does not."""
    away = pegs != pegs[:, :1]
    length: Ints = np.where(away.any(axis=1), away.argmax(axis=1), pegs.shape[1])
    return length


def _tops(pegs: Ints) -> tuple[Ints, Ints, Ints]:
    """The peg of disk 1, the only other disk that can move (0: none), and its peg."""
    away = pegs != pegs[:, :1]
    at = away.argmax(axis=1)
    return pegs[:, 0], np.where(away.any(axis=1), at + 1, 0), pegs[np.arange(len(pegs)), at]


def _peg(disks: int, disk: Ints, step: Ints) -> Ints:
    way = np.where((disks - disk) % 2 == 0, -1, 1)
    peg: Ints = way * ((step + (1 << np.maximum(disk - 1, 0))) >> disk) % 3
    return peg


def _digits(moves: Ints) -> Ints:
    return np.stack([moves[:, 0] // 10, moves[:, 0] % 10, moves[:, 1], moves[:, 2]], axis=1)
