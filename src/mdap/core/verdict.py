"""What a calibration says of a run: the k for a target, the refusal where no k helps, and what to expect of the run.

From the figures of `calibration` and the scaling laws alone; nothing is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from mdap.core.calibration import Kind, Range, Sort
from mdap.core.errors import VotingCannotHelp
from mdap.core.evidence import Share, at_least
from mdap.core.scaling import (
    HARD_P,
    expected_votes,
    step_failure,
    step_failure_bound,
    unanimous_votes_needed,
    undecided_shares,
    unseen_hard_share,
)
from mdap.core.scaling.checks import target as checked_target
from mdap.core.scaling.checks import whole

# Where more is needed p and q can hardly be told apart, and no budget is made for it.
MOST_K = 100_000
# Counts of undecided steps are predicted to lie between ends that are each passed in one run of 200.
TAIL = 0.005
# As many rows as anybody reads.
MOST_ROUNDS = 40
LEAST_Q = 1e-12


class Round(msgspec.Struct, frozen=True):
    """Steps still undecided after so many `votes` on each: expected, between its two ends.

    `if_hard` is the upper end if the share of steps which the calibration cannot exclude had p = 0.55.
    """

    votes: int
    low: int
    expected: float
    high: int
    if_hard: int


class Projection(msgspec.Struct, frozen=True):
    """What a run at k takes in all. `success` is at the interval's unfavourable end; retries are not in `calls`.

    `seconds`: the calls of one step after another, the votes of a step at once; None where nothing was timed.
    """

    k: int
    success: float
    votes_per_step: Range
    calls: Range
    tokens_in: Range
    tokens_out: Range
    seconds: Range | None = None


class Unseen(msgspec.Struct, frozen=True):
    """What the calibration cannot know: a `share` of the steps may be hard (p = 0.55) without one having been seen.

    `allowed`: the share with which k would still reach the target. `success`: that of the run if `share` of its steps
    were hard. `unanimous`: equal votes against no other that every step would need then.
    """

    states: int
    share: float
    allowed: float
    success: float
    unanimous: int


class Verdict(msgspec.Struct, frozen=True):
    """The k that reaches the target at the unfavourable end of every interval, or why there is none.

    `k_if_exact`: the k if every estimate were exact; None where not even that helps. `by_rivals`: some p is 0.5 or less
    and k rests on ln(p/q), the commonest wrong answer being rarer than the right one. `refusal` is empty with a k.
    """

    k: int | None
    k_if_exact: int | None
    refusal: str = ""
    by_rivals: bool = False
    projection: Projection | None = None
    unseen: Unseen | None = None
    rounds: tuple[Round, ...] = ()


def judge(kinds: Sequence[Kind], steps: float, target: float) -> Verdict:
    """Return what the figures of one model say of a run of `steps` steps with a success of `target`.

    Refuses where the commonest wrong answer of some steps may be commoner than the right one: their intervals overlap,
    or the same wrong answer was seen to come more often. A larger k would then settle on it.
    """
    size, goal = whole("steps", steps), checked_target(target)
    # Also where it refuses: by this one sees whether more samples could help.
    exact = _least_k(kinds, size, goal, lambda sort: (sort.share, sort.p.value, sort.q.value))
    refusal = _refusal(kinds)
    k = None if refusal else _least_k(kinds, size, goal, _unfavourable)
    if k is None:
        return Verdict(None, exact, refusal or f"even k={MOST_K:,} does not reach {goal:g} over {size:,} steps")
    by_rivals = any(sort.p.low <= 0.5 for kind in kinds for sort in kind.sorts)
    return Verdict(
        k,
        exact,
        by_rivals=by_rivals,
        projection=_project(kinds, k, size),
        unseen=_unseen(kinds, k, size, goal),
        rounds=tuple(rounds(kinds, k, size)),
    )


def undecided_after(tallies: Sequence[int] | Iterator[int]) -> list[int]:
    """Return how many ballots were still undecided after 1, 2, 3 ... votes, from the votes that each of them took."""
    took: dict[int, int] = {}
    for votes in tallies:
        took[votes] = took.get(votes, 0) + 1
    left, counts = sum(took.values()), []
    for votes in range(1, max(took, default=0) + 1):
        left -= took.get(votes, 0)
        counts.append(left)
    return counts


def failure(sort: tuple[float, float], k: int) -> float:
    """Return a bound on the probability that ahead_by_k decides a step wrongly, for its (p, q).

    Raises VotingCannotHelp for p of no more than q.
    """
    p, q = sort
    if p <= q:
        raise VotingCannotHelp(f"q={q!r} is not below p={p!r}", remedy="change the prompt, the model or the step")
    # A q of 0 has no logarithm, and rounding may put q a digit above 1 - p, which the bound refuses.
    return step_failure_bound(p, min(max(q, LEAST_Q), 1 - p), k) if p < 1 else 0.0


def _refusal(kinds: Sequence[Kind]) -> str:
    for kind in kinds:
        name = f" for steps of kind {kind.name!r}" if kind.name else ""
        if not kind.p.trials:
            return f"nothing can be said{name}: none of {kind.v.trials} samples was a vote"
        if kind.lost:
            return (
                f"voting cannot help{name}: on {kind.lost} of {kind.states:,} steps the same wrong answer comes more "
                "often than the right one"
            )
        for number, sort in enumerate(kind.sorts):
            if sort.q.high >= sort.p.low:
                # The second sort, where there is one, is that of the hard steps.
                where = f" on about {sort.share:.2g} of the steps, where wrong votes pile up," if number else ""
                return (
                    f"voting cannot help{name}:{where} p={sort.p.value:.3g} (95% interval {sort.p.low:.3g} to "
                    f"{sort.p.high:.3g}), the commonest wrong answer {sort.q.value:.2g} (up to {sort.q.high:.2g}), "
                    "so it may be commoner than the right one"
                )
    return ""


def _unfavourable(sort: Sort) -> tuple[float, float, float]:
    return sort.most, sort.p.low, sort.q.high


def _least_k(
    kinds: Sequence[Kind], steps: int, goal: float, taken: Callable[[Sort], tuple[float, float, float]]
) -> int | None:
    """The least k with which all steps are right with probability `goal`; None where there is none."""
    parts = [(kind.share * share, p, q) for kind in kinds for share, p, q in map(taken, kind.sorts)]
    try:
        # `failure` falls with k on every part, or has raised: so success can be searched by halving.
        low, k = 0, 1
        while _log_success(parts, k, steps) < math.log(goal):
            low, k = k, 2 * k
            if k > MOST_K:
                return None
        while k - low > 1:
            middle = (low + k) // 2
            low, k = (middle, k) if _log_success(parts, middle, steps) < math.log(goal) else (low, middle)
    except VotingCannotHelp:
        return None
    return k


def _log_success(parts: Sequence[tuple[float, float, float]], k: int, steps: int) -> float:
    wrong = math.fsum(share * failure((p, q), k) for share, p, q in parts)
    # At small k the bounds of all parts can add up to more than 1.
    return steps * math.log1p(-wrong) if wrong < 1 else -math.inf


def _project(kinds: Sequence[Kind], k: int, steps: int) -> Projection:
    parts = [(kind.share * share, p, q) for kind in kinds for share, p, q in map(_unfavourable, kind.sorts)]
    votes = [_kind_votes(kind, k) for kind in kinds]
    calls = [_scaled(v, kind.share * steps, kind.v) for kind, v in zip(kinds, votes, strict=True)]
    return Projection(
        k,
        math.exp(_log_success(parts, k, steps)),
        _summed([_times(v, kind.share) for kind, v in zip(kinds, votes, strict=True)]),
        _summed(calls),
        _summed([_times(c, kind.tokens_in) for kind, c in zip(kinds, calls, strict=True)]),
        _summed([_times(c, kind.tokens_out) for kind, c in zip(kinds, calls, strict=True)]),
        _seconds(kinds, votes, k, steps),
    )


def _kind_votes(kind: Kind, k: int) -> Range:
    """Expected votes of a step of one kind."""
    low = math.fsum(s.share * _votes(s.p.high, s.q.low, k) for s in kind.sorts)
    value = math.fsum(s.share * _votes(s.p.value, s.q.value, k) for s in kind.sorts)
    # Hard steps take most votes: at the dear end there are as many of them as the samples allow.
    hard = kind.sorts[1:]
    high = math.fsum(s.most * _votes(s.p.low, s.q.high, k) for s in hard)
    easy = kind.sorts[0]
    high += (1 - math.fsum(s.most for s in hard)) * _votes(easy.p.low, easy.q.high, k)
    return Range(low, value, max(value, high))


def _votes(p: float, q: float, k: int) -> float:
    """Expected votes until one answer leads by k: at most those against one rival that takes all wrong votes.

    With several rivals no closed form exists; k/(p - q) is what the lead over the strongest takes for large k.
    """
    among_many = k / (p - q) if p > q else math.inf
    return min(among_many, expected_votes(p, k)) if p > 0.5 else among_many


def _scaled(votes: Range, steps: float, v: Share) -> Range:
    # The more samples are votes, the fewer calls: so the upper end of v belongs to the low end.
    return Range(votes.low * steps / v.high, votes.value * steps / v.value, votes.high * steps / v.low)


def _times(amount: Range, factor: float) -> Range:
    return Range(amount.low * factor, amount.value * factor, amount.high * factor)


def _summed(amounts: Sequence[Range]) -> Range:
    return Range(
        math.fsum(a.low for a in amounts), math.fsum(a.value for a in amounts), math.fsum(a.high for a in amounts)
    )


def _seconds(kinds: Sequence[Kind], votes: Sequence[Range], k: int, steps: int) -> Range | None:
    """The time of the calls of all steps, one step after another; None where the calls of some kind were not timed."""
    taken = []
    for kind, v in zip(kinds, votes, strict=True):
        if kind.latency is None:
            return None
        low, value = (kind.latency.of_step(k, n, share) for n, share in ((v.low, kind.v.high), (v.value, kind.v.value)))
        # At the dear end every vote after the first k comes alone.
        high = kind.latency.of_step(k, k + 2 * max(0.0, v.high - k), kind.v.low)
        taken.append(_times(Range(low, value, high), kind.share * steps))
    return _summed(taken)


def _unseen(kinds: Sequence[Kind], k: int, steps: int, goal: float) -> Unseen:
    states = sum(kind.p.trials for kind in kinds)
    share = unseen_hard_share(states)
    parts = [(kind.share * most, p, q) for kind in kinds for most, p, q in map(_unfavourable, kind.sorts)]
    known, hard = math.fsum(s * failure((p, q), k) for s, p, q in parts), step_failure(HARD_P, k)
    # 1 - goal^(1/steps), of which that form would keep few digits.
    left = -math.expm1(math.log(goal) / steps) - known
    allowed = max(0.0, min(1.0, left / (hard - known))) if hard > known else 1.0
    # What was not seen is not taken to be easier than what was.
    mixed = (1 - share) * known + share * max(hard, known)
    success = math.exp(steps * math.log1p(-mixed))
    return Unseen(states, share, allowed, success, unanimous_votes_needed(states, steps, goal))


def rounds(kinds: Sequence[Kind], k: int, steps: int) -> Iterator[Round]:
    """Predict the steps undecided after k, k + 1 ... votes of ahead_by_k, until none is expected; nothing for p <= 0.5.

    At the low end p is at its upper end and wrong votes of a step all differ; at the high end p is at its lower end
    and they all agree, so that a rival grows.
    """
    parts = [(kind.share, kind, sort) for kind in kinds for sort in kind.sorts]
    if any(sort.p.low <= 0.5 for _, _, sort in parts):
        return
    agree = [_agreement(kind) for _, kind, _ in parts]
    mean, worst = ([undecided_shares(getattr(sort.p, end), k) for _, _, sort in parts] for end in ("value", "low"))
    hard = undecided_shares(HARD_P, k)
    unseen = unseen_hard_share(sum(kind.p.trials for kind in kinds))
    for n, (*rest, on_hard) in enumerate(islice(zip(*mean, *worst, hard, strict=False), MOST_ROUNDS), 1):
        # Nobody can lead by k before k votes: there is nothing to predict.
        if n < k:
            continue
        middle, most = rest[: len(parts)], rest[len(parts) :]
        apart = [_apart(sort.p.high, k, n) for _, _, sort in parts]
        apart_mean = [_apart(sort.p.value, k, n) for _, _, sort in parts]
        low = math.fsum(w * s.share * a for (w, _, s), a in zip(parts, apart, strict=True))
        # Of two wrong votes a share c agrees: so far a ballot goes as against one rival, and else as against none.
        value = math.fsum(
            w * s.share * (c * m + (1 - c) * a)
            for (w, _, s), c, m, a in zip(parts, agree, middle, apart_mean, strict=True)
        )
        high = min(1.0, math.fsum(w * s.most * m for (w, _, s), m in zip(parts, most, strict=True)))
        # Both ends come from other laws than the estimate, and have to enclose it all the same.
        ends = _fewest(steps, min(low, value)), _most(steps, max(high, value))
        yield Round(n, ends[0], steps * value, ends[1], _most(steps, min(1.0, high + unseen * on_hard)))
        if ends[1] == 0:
            return


def _agreement(kind: Kind) -> float:
    """How often two wrong votes of a step agree, as far as repeats have shown; always, where none have."""
    # The commonest takes the share q/(1 - p) of wrong votes, and two of them agree on it with the square of that.
    return min(1.0, (kind.q.value / (1 - kind.p.value)) ** 2) if kind.p.value < 1 else 1.0


def _apart(p: float, k: int, votes: int) -> float:
    """The probability that a ballot is undecided after `votes` votes if no two wrong ones agree: k votes, or k + 1."""
    return max(0.0, 1 - at_least(k + 1, votes, p) - p**k * (1 - p) ** (votes - k))


def _most(steps: int, share: float) -> int:
    """The least count that more than one run in 200 does not pass."""
    low, high = -1, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at_least(middle + 1, steps, share) > TAIL else (low, middle)
    return high


def _fewest(steps: int, share: float) -> int:
    """The largest count that no more than one run in 200 stays below."""
    low, high = 0, steps + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at_least(middle, steps, share) >= 1 - TAIL else (low, middle)
    return low
