"""What the samples of a calibration say of each kind of step: p, v, q, and whether wrong votes pile up on few steps.

Pure statistics of samples that were drawn elsewhere. What follows from it for a run is in `verdict`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal, TypeAlias

import msgspec

from mdap.core.evidence import Latency, Share, Tendency, at_least, excess, latency, spread_of, tendency, wilson
from mdap.core.scaling import upper_share

# Of one calibration, at most: all of its tests share it, so that looking at more kinds raises no more alarms.
LEVEL = 0.05
Outcome: TypeAlias = Literal["right", "wrong", "flagged"]
# A step that is drawn again needs so many draws to show that it is hard, and teaches little after so many.
FEWEST, MOST = 8, 100
# Of all samples, the share kept for steps to be drawn again: where there are both, half of it after wrong votes.
AGAIN = 0.2


class Drawn(msgspec.Struct, frozen=True):
    """One sample: the number of its state, the kind of step, and what became of it.

    `key` names the candidate of a vote. `again`: drawn because the first sample of this state was wrong or flagged.
    `seconds` is what the call took, 0 where nobody measured it. `confidence`: how sure the vote is, where that was
    asked for.
    """

    state: int
    kind: str
    outcome: Outcome
    key: bytes = b""
    flag: str = ""
    again: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    confidence: float | None = None


class Range(msgspec.Struct, frozen=True):
    """An estimate between its two ends."""

    low: float
    value: float
    high: float


class Clustering(msgspec.Struct, frozen=True):
    """Whether something piles up on few steps: `hits` of `trials` on the `states` that were drawn again because of it.

    If all steps were alike, it would be no commoner there than on steps at large; `p_value` is the probability of so
    many hits or more in that case, at most.
    """

    states: int
    hits: int
    trials: int
    p_value: float
    level: float

    @property
    def found(self) -> bool:
        """Whether the test says that steps differ."""
        return self.p_value <= self.level


class Sort(msgspec.Struct, frozen=True):
    """Steps of one kind that are taken to be equally hard: a `share` of the kind, at most `most` of it.

    `p` is the probability that a vote is right, `q` the share of the commonest wrong answer among all votes.
    """

    share: float
    most: float
    p: Range
    q: Range


class Kind(msgspec.Struct, frozen=True):
    """One kind of step under one model.

    `states` were drawn, each once before any was drawn again; `share` is this kind's part of them. `p`: votes that
    are right; `v`: samples that are votes; both from first samples. `q`: share of the commonest wrong answer of a step
    among its votes, never above `q.high` whatever the wrong votes of a step name. `lost`: steps seen on which a wrong
    answer is commoner than the right one. `sorts`: one, or the easy and the hard steps where wrong votes pile up.
    Tokens are means of a call. `timing`: whether wrong votes take longer (chance above 0.5) than right ones.
    """

    name: str
    states: int
    share: float
    p: Share
    v: Share
    flags: dict[str, int]
    q: Range
    wrong: Clustering
    flagged: Clustering
    lost: int
    sorts: tuple[Sort, ...]
    tokens_in: float
    tokens_out: float
    latency: Latency | None = None
    timing: Tendency | None = None


class Repeated(msgspec.Struct, frozen=True):
    """What came of drawing a state again after a wrong vote; `same`: votes for that same wrong answer."""

    wrong: int
    same: int
    votes: int


def again(samples: int, states: int) -> tuple[int, int]:
    """Return (states, draws each) to be drawn again where `states` ask for it, and `samples` are to be had."""
    if not states or samples < 1:
        return 0, 0
    # Fewer states rather than fewer draws of each: a state that is drawn twice shows nothing.
    each = min(MOST, max(FEWEST, samples // states), samples)
    return min(states, samples // each), each


def kinds_of(drawn: Iterable[Drawn]) -> tuple[Kind, ...]:
    """Return what the samples of one model say of each kind of step, kinds in order of their names."""
    by_kind: dict[str, list[Drawn]] = {}
    for sample in drawn:
        by_kind.setdefault(sample.kind, []).append(sample)
    states = sum(len({s.state for s in samples}) for samples in by_kind.values())
    # Two tests a kind; together they raise no more false alarms than one would at the whole level.
    level = LEVEL / (2 * max(1, len(by_kind)))
    return tuple(_kind(name, by_kind[name], states, level) for name in sorted(by_kind))


def _kind(name: str, samples: Sequence[Drawn], all_states: int, level: float) -> Kind:
    first = [s for s in samples if not s.again]
    votes = [s for s in first if s.outcome != "flagged"]
    wrong = [s for s in votes if s.outcome == "wrong"]
    repeated = _repeated(samples, {s.state: s.key for s in wrong})
    # From first samples alone: states are drawn again because they went wrong, and would count too much.
    p, v = wilson(len(votes) - len(wrong), len(votes)), wilson(len(votes), len(first))
    piled = _clustering([(r.wrong, r.votes) for r in repeated.values()], (len(wrong), len(votes)), level)
    flags = _clustering(_flagged_again(samples, first), (len(first) - len(votes), len(first)), level)
    return Kind(
        name,
        len(first),
        len(first) / all_states,
        p,
        v,
        dict(sorted(Counter(s.flag for s in samples if s.outcome == "flagged").items(), key=lambda f: (-f[1], f[0]))),
        _commonest_wrong(1 - p.value, 1 - p.low, list(repeated.values())),
        piled,
        flags,
        _lost(samples, repeated, {s.state for s in wrong}),
        _sorts(len(votes), p, {s.state for s in wrong}, repeated, piled.found),
        fmean(s.tokens_in for s in first),
        fmean(s.tokens_out for s in first),
        latency([s.seconds for s in first]),
        _timing(votes),
    )


def _repeated(samples: Sequence[Drawn], first_wrong: Mapping[int, bytes]) -> dict[int, Repeated]:
    found: dict[int, Repeated] = {}
    for s in samples:
        # A flagged repeat is no vote, and so says nothing of which answers agree.
        if not s.again or s.state not in first_wrong or s.outcome == "flagged":
            continue
        r = found.get(s.state, Repeated(0, 0, 0))
        is_wrong, is_same = s.outcome == "wrong", s.key == first_wrong[s.state]
        found[s.state] = Repeated(r.wrong + is_wrong, r.same + is_same, r.votes + 1)
    return found


def _flagged_again(samples: Sequence[Drawn], first: Sequence[Drawn]) -> list[tuple[int, int]]:
    """(flagged, drawn) for each state that was drawn again after a flag."""
    states = {s.state for s in first if s.outcome == "flagged"}
    drawn = [s for s in samples if s.again and s.state in states]
    flagged = Counter(s.state for s in drawn if s.outcome == "flagged")
    return [(flagged[state], count) for state, count in Counter(s.state for s in drawn).items()]


def _clustering(groups: Sequence[tuple[int, int]], before: tuple[int, int], level: float) -> Clustering:
    hits, trials = sum(h for h, _ in groups), sum(t for _, t in groups)
    return Clustering(len(groups), hits, trials, excess(hits, trials, before, level), level)


def _commonest_wrong(wrong: float, most: float, repeated: Sequence[Repeated]) -> Range:
    """Return q from the share `wrong` of wrong votes (`most`: its upper end) and the states drawn again.

    Two votes of a step are both for its wrong answer j with probability q_j^2. The mean over steps of the sum of these
    squares is C = P(first wrong) P(again the same | first wrong), and no less than the square of the mean of q: so
    q <= sqrt(C), with equality where all wrong votes of a step agree. What repeats do not show, 1 - p bounds.
    """
    same = wilson(
        sum(r.same for r in repeated),
        sum(r.votes for r in repeated),
        spread_of([(r.same, r.votes) for r in repeated]),
    )
    high = min(most, math.sqrt(most * same.high))
    # Half a vote more for the same answer: that none was seen does not make q nothing.
    value = min(wrong, math.sqrt(wrong * (same.hits + 0.5) / (same.trials + 1))) if same.trials else wrong
    return Range(min(same.low, value), value, max(high, value))


def _lost(samples: Sequence[Drawn], repeated: Mapping[int, Repeated], wrong: set[int]) -> int:
    """Return on how many states the first, wrong, answer is commoner than the right one, by a sign test on each.

    The answer was named by the first vote and the count is of later ones, so nothing was selected; the level is
    shared out among the states.
    """
    # Votes for third answers are left out: the question is which of these two is the commoner.
    right = Counter(s.state for s in samples if s.again and s.outcome == "right" and s.state in wrong)
    return sum(
        at_least(r.same, r.same + right[state], 0.5) <= LEVEL / len(repeated)
        for state, r in repeated.items()
        if r.same + right[state]
    )


def _sorts(votes: int, p: Share, wrong: set[int], repeated: Mapping[int, Repeated], piled: bool) -> tuple[Sort, ...]:
    """Return one sort of steps, or an easy and a hard one where wrong votes pile up.

    The two rates are the likeliest ones for all first and repeated votes (by expectation and maximization); a step is
    called hard where that is the likelier. How many are hard follows from how many of them were wrong at first.
    """
    everything = _sort(1.0, 1.0, p, list(repeated.values()))
    if not piled:
        return (everything,)
    hard = _hard_states(votes, len(wrong), repeated)
    # All of one sort: nothing would be left for the figures of the other to rest on.
    if not hard or len(hard) == votes:
        return (everything,)
    hard_again = [repeated[state] for state in hard]
    misses = sum(r.wrong for r in hard_again)
    trials = sum(r.votes for r in hard_again)
    # One hard step alone is known as well as its votes allow; that others may be harder is for `unseen` to say.
    spread = spread_of([(r.wrong, r.votes) for r in hard_again]) if len(hard) > 1 else 1.0
    hard_p = wilson(trials - misses, trials, spread)
    # Wrong states that were not drawn again are taken to be hard as often as those that were.
    seen = len(hard) * len(wrong) / len(repeated)
    # Of h hard steps h (1 - p) were wrong at first and so noticed: what was seen is less than what there is.
    share = min(1.0, seen / votes / max(1e-9, 1 - hard_p.value))
    # The more often a hard step is right, the more of them went unnoticed: so the upper end of p belongs to `most`.
    most = min(1.0, upper_share(min(votes, math.ceil(seen)), votes) / max(1e-9, 1 - hard_p.high))
    easy_wrong = len(wrong) - round(seen)
    easy_p = wilson(votes - len(wrong), votes - len(wrong) + easy_wrong)
    easy = [r for state, r in repeated.items() if state not in hard]
    return _sort(1 - share, 1.0, easy_p, easy), _sort(share, most, hard_p, hard_again)


def _sort(share: float, most: float, p: Share, repeated: Sequence[Repeated]) -> Sort:
    return Sort(share, most, Range(p.low, p.value, p.high), _commonest_wrong(1 - p.value, 1 - p.low, repeated))


def _hard_states(votes: int, wrong: int, repeated: Mapping[int, Repeated]) -> set[int]:
    """Return the states drawn again that are hard more likely than not, if steps are of two sorts."""
    drawn = list(repeated.items())
    # First votes that no others followed, as tallies (wrong, right): most of what is known of the easy steps.
    plain = {(0, 1): votes - wrong, (1, 0): wrong - len(drawn)}
    # Off 0, a rate that EM would never leave.
    hard_rate = max(0.05, _rate((1.0, r.wrong, r.votes - r.wrong) for _, r in drawn))
    # Only where wrong votes pile up, so the rate of repeats is above that of all votes, and half of that below it: EM
    # begins with the two sorts apart.
    share, easy_rate = min(0.5, wrong / votes), wrong / votes / 2
    chances: list[float] = []
    # Rounds, and no test for an end: after some dozens little changes, and 200 of them take milliseconds.
    for _ in range(200):
        weights = {tally: _chance(share, easy_rate, hard_rate, *tally) for tally in plain}
        chances = [_chance(share, easy_rate, hard_rate, 1 + r.wrong, r.votes - r.wrong) for _, r in drawn]
        counted = [(weights[tally], count, *tally) for tally, count in plain.items()]
        counted += [(c, 1, 1 + r.wrong, r.votes - r.wrong) for c, (_, r) in zip(chances, drawn, strict=True)]
        share = min(1 - 1e-9, max(1e-9, math.fsum(c * n for c, n, _, _ in counted) / votes))
        hard_rate = _rate((c * n, w, r) for c, n, w, r in counted)
        easy_rate = _rate(((1 - c) * n, w, r) for c, n, w, r in counted)
    return {state for chance, (state, _) in zip(chances, drawn, strict=True) if chance > 0.5}


def _chance(share: float, easy: float, hard: float, wrong: int, right: int) -> float:
    """The probability that a state with so many wrong and right votes is a hard one."""
    odds = math.log(share / (1 - share)) + wrong * math.log(hard / easy) + right * math.log((1 - hard) / (1 - easy))
    # exp overflows above 709.
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def _rate(weighted: Iterable[tuple[float, int, int]]) -> float:
    """The share of wrong votes among weighted tallies, kept off 0 and 1, where no logarithm exists."""
    wrong, votes = 0.0, 0.0
    for weight, w, r in weighted:
        wrong += weight * w
        votes += weight * (w + r)
    return min(1 - 1e-9, max(1e-9, wrong / votes if votes else 0.0))


def _timing(votes: Sequence[Drawn]) -> Tendency | None:
    if not any(s.seconds for s in votes):
        return None
    return tendency(
        [s.seconds for s in votes if s.outcome == "wrong"], [s.seconds for s in votes if s.outcome == "right"]
    )
