"""Whether confidences are worth weighing votes by, from logged votes whose truth is known. Weighs nothing itself."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

import msgspec

from mdap.core.calibration import Drawn
from mdap.core.rules.log_odds import CLIP
from mdap.core.rules.weighted import logit

# Fewer votes, or fewer wrong ones, and nothing can be said of their confidences.
FEWEST, FEWEST_WRONG = 100, 20
BINS = 10
# Above this a confidence is off by so much on average that its logarithm of odds is not to be trusted.
MOST_ECE = 0.05
# Of the scale that was fitted, how many standard errors are given away: too large a scale costs errors, not votes.
_CAUTION = 2.0
# Newton's method ends after some ten; with its steps cut to 2 it may need as many more to come from far away.
_ROUNDS = 50
_SUREST = 30.0
# Keeps quotients finite where all votes are so sure that p(1 - p) is 0 to a float.
_RIDGE = 1e-6


class Logged(msgspec.Struct, frozen=True):
    """One vote: the question that it answers, the confidence that came with it, and whether it was right."""

    question: Hashable
    confidence: float
    right: bool


class Weighing(msgspec.Struct, frozen=True):
    """What weights would be worth. `scale` and `shift` are for `log_odds`; `reason` says why not, where not worth it.

    `ece`: expected calibration error of the confidences after scale and shift, over 10 bins of width 0.1.
    `raw_ece`: the same as they came. `wqd`: probability that of a right and a wrong vote on the same question the right
    one has the higher confidence, ties split; 0.5: confidences tell nothing. `gain`: evidence of a weighted vote over
    that of a counted one, and so about by how much fewer votes are needed.
    """

    votes: int
    wrong: int
    ece: float
    raw_ece: float
    wqd: float
    scale: float
    shift: float
    gain: float
    worth: bool
    reason: str


def check_drawn(drawn: Iterable[Drawn], price: float = 0.0) -> Weighing | None:
    """Return whether the confidences of a calibration's samples are worth weighing by; None where none has any.

    States that were drawn again because their first sample was wrong are harder than the rest: they tell how right and
    wrong votes on one question compare, and nothing else.
    """
    votes = [
        (Logged(sample.state, sample.confidence, sample.outcome == "right"), sample.again)
        for sample in drawn
        if sample.confidence is not None and sample.outcome != "flagged"
    ]
    if not votes:
        return None
    return check_weights((vote for vote, again in votes if not again), price, [vote for vote, _ in votes])


def check_weights(votes: Iterable[Logged], price: float = 0.0, alike: Iterable[Logged] | None = None) -> Weighing:
    """Return whether weights are worth it, where a confidence costs `price` times what a vote costs (0: nothing).

    `alike`: other votes, to compare right and wrong ones on the same question by, where `votes` hold one of each.
    The scale is fitted by logistic regression on the logarithms of odds, made smaller by two standard errors, and never
    above 1: overconfidence is shrunk, underconfidence is left as it is. The shift puts the mean right.
    """
    logged = list(votes)
    wrong = sum(not vote.right for vote in logged)
    # With all of them wrong the likeliest line is infinitely far off.
    if len(logged) < FEWEST or wrong < FEWEST_WRONG or wrong == len(logged):
        few = f"{len(logged)} votes with {wrong} wrong ones say too little: {FEWEST} with {FEWEST_WRONG} are needed"
        return Weighing(len(logged), wrong, 1.0, 1.0, 0.5, 0.0, 0.0, 1.0, worth=False, reason=few)
    # Clipped only to be finite: the rule scales before it clips, and so does what is fitted here.
    odds = [max(-_SUREST, min(_SUREST, logit(vote.confidence))) for vote in logged]
    rights = [vote.right for vote in logged]
    scale, shift = _fitted(odds, rights)
    weights = [max(-CLIP, min(CLIP, scale * x + shift)) for x in odds]
    ece = calibration_error([1 / (1 + math.exp(-weight)) for weight in weights], rights)
    raw = calibration_error([vote.confidence for vote in logged], rights)
    wqd = within_question(logged if alike is None else alike)
    # Votes that all weigh the same gain nothing on paper; by rounding they may seem to.
    gain = _gain(weights, rights) if scale > 0 else 1.0
    reason = _refusal(ece, wqd, gain, price)
    return Weighing(len(logged), wrong, ece, raw, wqd, scale, shift, gain, worth=not reason, reason=reason)


def calibration_error(confidences: Sequence[float], rights: Sequence[bool]) -> float:
    """Return the expected calibration error: over 10 bins, by size, how far mean confidence is from the share right."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in zip(confidences, rights, strict=True):
        # A confidence of 1 belongs to the last bin, not to one of its own.
        bins.setdefault(min(BINS - 1, int(confidence * BINS)), []).append((confidence, right))
    off = (abs(math.fsum(c for c, _ in held) - sum(right for _, right in held)) for held in bins.values())
    return math.fsum(off) / len(confidences) if confidences else 0.0


def within_question(votes: Iterable[Logged]) -> float:
    """Return the probability that a right vote is more confident than a wrong one on the same question (WQD).

    Ties are split; 0.5 where no question has both. arXiv:2502.06233.
    """
    questions: dict[Hashable, tuple[list[float], list[float]]] = {}
    for vote in votes:
        # False is 0 and True 1, so the two lists are those of the wrong votes and of the right ones.
        questions.setdefault(vote.question, ([], []))[vote.right].append(vote.confidence)
    above, pairs = 0.0, 0
    for wrong, right in questions.values():
        above += sum((r > w) + (r == w) / 2 for r in right for w in wrong)
        pairs += len(right) * len(wrong)
    return above / pairs if pairs else 0.5


def _fitted(odds: Sequence[float], rights: Sequence[bool]) -> tuple[float, float]:
    """Return the cautious scale, and the shift that goes with it."""
    scale, _, spread = _newton(odds, rights, None)
    # A scale of 0 counts votes, and one below 0 would take confidence for doubt.
    scale = max(0.0, min(1.0, scale - _CAUTION * spread))
    return scale, _newton(odds, rights, scale)[1]


def _newton(odds: Sequence[float], rights: Sequence[bool], fixed: float | None) -> tuple[float, float, float]:
    """Return (scale, shift, standard error of the scale) of the likeliest line; `fixed` holds the scale."""
    scale, shift, spread = 0.0 if fixed is None else fixed, 0.0, 0.0
    for _ in range(_ROUNDS):
        g0 = g1 = 0.0
        h00 = h01 = h11 = _RIDGE
        for x, right in zip(odds, rights, strict=True):
            # exp overflows above 709.
            p = 1 / (1 + math.exp(-max(-700.0, scale * x + shift)))
            off, w = right - p, p * (1 - p)
            g0, g1 = g0 + off, g1 + off * x
            h00, h01, h11 = h00 + w, h01 + w * x, h11 + w * x * x
        # Where all confidences are equal nothing tells scale from shift, and the scale stays 0.
        det = h00 * h11 - h01 * h01
        if fixed is not None or det <= 1e-9 * h00 * h11:
            by, across = g0 / h00, 0.0
        else:
            by, across = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
            spread = math.sqrt(h00 / det)
        # Newton's step is cut: far from the top, where the curve is flat, it would lead out of sight.
        shift, scale = shift + max(-2.0, min(2.0, by)), scale + max(-2.0, min(2.0, across))
        if abs(by) + abs(across) < 1e-10:
            break
    return scale, shift, spread


def _gain(weights: Sequence[float], rights: Sequence[bool]) -> float:
    """Return the mean evidence of a weighted vote over that of a counted one of the same p."""
    p = sum(rights) / len(rights)
    # The mean of what a vote adds to the odds for the right answer, wrong votes taking as much away.
    counted = (2 * p - 1) * logit(p)
    weighted = math.fsum(w if right else -w for w, right in zip(weights, rights, strict=True)) / len(rights)
    return weighted / counted if counted > 0 else 1.0


def _refusal(ece: float, wqd: float, gain: float, price: float) -> str:
    if ece > MOST_ECE:
        return f"off by {ece:.3f} on average even when scaled (at most {MOST_ECE} is trusted)"
    if wqd <= 0.5:
        return f"a right vote is no surer than a wrong one on the same question (WQD {wqd:.2f})"
    if gain <= 1 + price:
        return f"they say {gain:.2f} times as much as counting does, and cost {1 + price:.2f} times as much"
    return ""
