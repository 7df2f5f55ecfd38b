"""What a rule does to a step with one wrong alternative: its error, votes and undecided share, exactly.

Exact recursion over the rule object itself, for any rule that looks at the counts alone or at the latest few votes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import add

import msgspec

from mdap.core.ballot import Ballot, Rule

_LN2 = math.log(2)


class Stop(msgspec.Struct, frozen=True, gc=False):
    """One way to end: `first` votes for the winner, `second` for the other.

    `log_ways`: ln of the number of orders of votes that end so with a given candidate as the winner.
    """

    first: int
    second: int
    log_ways: float


class Outlook(msgspec.Struct, frozen=True):
    """Per step: probability of a wrong decision, mean votes, probability of none within the cap."""

    error: float
    votes: float
    undecided: float


class Stops(msgspec.Struct, frozen=True):
    """All ways in which ballots of a rule end, and the ballots still open at the cap (`second` may be the leader's)."""

    ends: tuple[Stop, ...]
    open: tuple[Stop, ...]

    def outlook(self, p: float) -> Outlook:
        """Return what they come to where a vote is right with probability `p`, 0 < p < 1."""
        right, wrong = math.log(p), math.log1p(-p)
        error, votes, undecided = [], [], []
        for end in self.ends:
            # In logarithms: the ways to end after 1,100 votes are more than a float holds, and each is as unlikely.
            won = math.exp(end.log_ways + end.first * right + end.second * wrong)
            lost = math.exp(end.log_ways + end.first * wrong + end.second * right)
            error.append(lost)
            votes.append((won + lost) * (end.first + end.second))
        for end in self.open:
            both = _either(end, right, wrong)
            undecided.append(both)
            votes.append(both * (end.first + end.second))
        # By fsum: there are thousands of ways to end, with chances from near 1 down to 1e-300.
        return Outlook(math.fsum(error), math.fsum(votes), math.fsum(undecided))

    def mixed(self, sorts: Iterable[tuple[float, float]]) -> Outlook:
        """Return the mean over steps of several sorts, each a (share, p)."""
        parts = [(share, self.outlook(p)) for share, p in sorts]
        return Outlook(
            math.fsum(share * part.error for share, part in parts),
            math.fsum(share * part.votes for share, part in parts),
            math.fsum(share * part.undecided for share, part in parts),
        )


def _either(end: Stop, right: float, wrong: float) -> float:
    one_way = math.exp(end.log_ways + end.first * right + end.second * wrong)
    return one_way + math.exp(end.log_ways + end.first * wrong + end.second * right)


def outlook(rule: Rule, p: float, cap: int = 1000) -> Outlook:
    """Return what `rule` does in at most `cap` votes where a vote is right with probability `p`.

    For rules that look at the counts alone; votes are cast with the confidence 1/2.
    """
    return stops(rule, cap).outlook(p)


def stops(rule: Rule, cap: int = 1000) -> Stops:
    """Return all ways in which ballots of two candidates end under a rule that looks at the counts alone.

    What it takes from the rule is `needed` on tied ballots, which says how many votes decide against so many others.
    """
    ballot = Ballot(rule)

    def _least(second: int) -> int:
        while ballot.votes < 2 * second:
            # In turn, so that the ballot is tied whenever it is asked.
            ballot.cast(ballot.votes % 2, 0.5)
        return second + rule.needed(ballot)

    return stops_at(_least, cap)


def stops_at(least: Callable[[int], int], cap: int) -> Stops:
    """Return all ways in which ballots end where a candidate wins with `least(b)` votes against b others."""
    ends: list[Stop] = []
    for number, low, row, ended in rows(least):
        ends += [Stop(number - second, second, _log_ways(share, number)) for second, share in ended]
        if number >= cap or not row:
            rest = enumerate(row, low)
            return Stops(tuple(ends), tuple(Stop(number - i, i, _log_ways(share, number)) for i, share in rest))
    return Stops(tuple(ends), ())


Row = tuple[int, int, list[float], list[tuple[int, float]]]


def rows(least: Callable[[int], int]) -> Iterator[Row]:
    """Yield, after 1, 2, 3, ... votes: (votes, low, open, ended), both by the votes of the second candidate.

    `open[i]` is the share of all 2^votes orders that are still open with `low + i` votes for the second; `ended` holds
    (votes of the second, share) of those that ended with the last vote. Which candidate is first is not told apart.
    """
    low, number = 0, 0
    # Shares of all orders, halved with each vote, stay within a float where their numbers would not.
    row, wins = [1.0], [least(0)]
    while row:
        number += 1
        # One more vote for the first keeps the second's, or adds to it; from a tie either makes a first.
        halves = [share / 2 for share in row]
        tie = 2 * (low + len(row) - 1) == number - 1
        first = [*halves[:-1], row[-1]] if tie else [*halves, 0.0]
        grown = list(map(add, first, [0.0, *halves]))
        ended = []
        while len(wins) <= low + len(grown):
            wins.append(least(len(wins)))
        while grown and number - low >= wins[low]:
            ended.append((low, grown.pop(0)))
            low += 1
        row = grown
        yield number, low, row, ended


def _log_ways(share: float, number: int) -> float:
    # Half of the orders end with the one candidate as the first, half with the other.
    return math.log(share) + (number - 1) * _LN2 if share else -math.inf


def stops_in_order(rule: Rule, cap: int, recent: Callable[[Ballot], Hashable]) -> Stops:
    """Return all ways in which ballots end under a rule to which the order of votes matters.

    `recent(ballot)` is all that matters of the order besides the counts. Work grows with the states that differ.
    """
    opening = Ballot(rule)
    opening.cast(0, 0.5)
    # The first vote is for candidate 0; as many orders begin with the other.
    row = {(1, 0, recent(opening)): (opening, 0.5)}
    ends: dict[tuple[int, int], float] = {}
    for number in range(1, cap + 1):
        grown: dict[tuple[int, int, Hashable], tuple[Ballot, float]] = {}
        for ballot, share in row.values():
            if ballot.needed == 0:
                pair = (ballot.counts[ballot.winner], number - ballot.counts[ballot.winner])
                ends[pair] = ends.get(pair, 0.0) + 2 * share
                continue
            if number == cap:
                # Numbered, so that no two are merged: what is open at the cap is told as it stands.
                grown[len(grown), 0, 0] = (ballot, share)
                continue
            for key in (0, 1):
                after = _with(ballot, key)
                state = (after.counts.get(0, 0), after.counts.get(1, 0), recent(after))
                grown[state] = (after, grown.get(state, (after, 0.0))[1] + share / 2)
        row = grown
    left = [Stop(b.counts.get(0, 0), b.counts.get(1, 0), _log_ways(2 * share, cap)) for b, share in row.values()]
    found = [Stop(first, second, _log_ways(share, first + second)) for (first, second), share in ends.items()]
    return Stops(tuple(found), tuple(left))


def _with(ballot: Ballot, key: Hashable) -> Ballot:
    copy = Ballot(ballot.rule)
    for cast in [*ballot.order, key]:
        copy.cast(cast, 0.5)
    return copy


def between(low: Outlook, high: Outlook, error: float) -> float:
    """Return the mean votes at exactly `error` if steps are judged now by one rule, now by another.

    `low` errs less than `high`. It is what a fair comparison of rules takes, whose errors come in jumps.
    """
    # Steps are judged by one rule or the other, so that errors and votes mix in the same shares.
    share = (error - low.error) / (high.error - low.error)
    return share * high.votes + (1 - share) * low.votes


def matched(outlooks: Sequence[Outlook], error: float) -> float:
    """Return the mean votes at exactly `error`, from outlooks of ever stricter settings of one rule.

    Raises ValueError where none of them is strict enough.
    """
    before: Outlook | None = None
    for made in outlooks:
        if made.error <= error:
            # The loosest setting may be strict enough already: nothing is there to mix it with.
            return made.votes if before is None else between(made, before, error)
        before = made
    raise ValueError(f"none of {len(outlooks)} settings errs in at most {error:g} of steps")
