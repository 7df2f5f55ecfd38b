"""How many calls the questions of an agent take: the one place that says so. Arithmetic alone."""

from __future__ import annotations

from functools import cache

import msgspec

# At this depth an agent solves a task as it stands, and so deep a tree is what an estimate assumes.
DEFAULT_DEPTH = 10


class Calls(msgspec.Struct, frozen=True):
    """A range of calls: the `least`, the `most` while no reply is flagged, and the `cap` that nothing exceeds.

    At the cap every vote is redrawn as often as it may be. Retries after a provider's error come on top of each.
    """

    least: int
    most: int
    cap: int

    def __add__(self, other: Calls) -> Calls:
        return Calls(self.least + other.least, self.most + other.most, self.cap + other.cap)


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """What a tree of subtasks asks of models, counted.

    `divisions`: how to divide a task. `leaves`: tasks solved as they stand. `composed`: results to be composed.
    `checked`: answers to be validated. `weighed`: whether a task is small enough to be left whole.
    """

    divisions: int = 0
    leaves: int = 1
    composed: int = 0
    checked: int = 0
    weighed: int = 0


def agent_calls(
    least: Questions,
    most: Questions,
    k: int,
    *,
    judges: int | None = None,
    rounds: int = 3,
    redraws: int = 10,
    tool_calls: int = 0,
) -> dict[str, Calls]:
    """Return the calls of each role of an agent: of `least`, where all agree, up to `most`, where nobody does.

    Each question has 2k - 1 candidates. Where they differ, and so never for a k of 1, up to `judges` votes choose (2k -
    1 if not given); candidates are drawn in up to `rounds` rounds, and once more after each of `tool_calls`.
    """
    # Algorithm 4 has N = 2k - 1 throughout: of two candidates one must then have k votes.
    drawn, votes = 2 * k - 1, 2 * k - 1 if judges is None else judges
    # One candidate stands unopposed, and judges are asked only to choose.
    choosing = votes if drawn > 1 else 0
    solving = rounds + tool_calls

    def _calls(few: int, many: int) -> Calls:
        return Calls(few, many, many * (1 + redraws))

    return {
        "decomposer": _calls(least.divisions * drawn, most.divisions * drawn * rounds),
        # None at the least: equal candidates count as one.
        "decomposition_discriminator": _calls(0, most.divisions * choosing * rounds),
        "solver": _calls(least.leaves * drawn, most.leaves * drawn * solving),
        "solution_discriminator": _calls(0, (most.leaves * solving + most.composed * rounds) * choosing),
        "composer": _calls(least.composed * drawn, most.composed * drawn * rounds),
        # Verdicts are voted on as they are, with no candidates before them: k that agree are the fewest.
        "validator": _calls(least.checked * k, most.checked * votes * rounds),
        "minimality": _calls(least.weighed * k, most.weighed * votes),
    }


def total_calls(by_role: dict[str, Calls]) -> Calls:
    """Return the sum over all roles."""
    return sum(by_role.values(), Calls(0, 0, 0))


class Growth(msgspec.Struct, frozen=True):
    """The tree that asks most: tasks that may be `divided`, its `leaves`, and the tasks that are divided (`splits`)."""

    divided: int = 0
    leaves: int = 1
    splits: int = 0

    @property
    def subtasks(self) -> int:
        """All tasks but the first."""
        return self.leaves + self.splits - 1


def largest(parts: int, depth: int, left: int) -> Growth:
    """Return the tree with most tasks, where each is divided into 2 to `parts`, up to a depth of `depth`.

    `left` subtasks may follow in all: each part has an equal share of what its siblings leave, and below two a task is
    a leaf. Many parts at once leave little to each, so that the widest tree need not be the one with most tasks.
    """

    # Branches of equal size come up again and again: without it, the work would be that of walking the whole tree.
    @cache
    def _grown(depth: int, left: int) -> Growth:
        best = Growth()
        # From 2: a single part is the task itself over again.
        for width in range(2, min(parts, left) + 1) if depth else ():
            below = _grown(depth - 1, (left - width) // width)
            made = Growth(1 + width * below.divided, width * below.leaves, 1 + width * below.splits)
            best = max(best, made, key=lambda one: (one.subtasks, one.divided))
        return best

    return _grown(depth, left)
