"""What the ballots of a run say about the probability that all its steps are right, and what they cannot say.

Nothing here knows which answers are right; a certificate speaks of agreement, and names what it takes on trust.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, ROUND_UP, Context

import msgspec

from mdap.core.ballot import Rule
from mdap.core.history import Seen
from mdap.core.rules import AheadByK, FirstToK, Majority, bound_of, rule
from mdap.core.scaling import HARD_P, expected_votes, first_to_k_failure, step_failure, upper_share

# One-sided: only a p that is taken too high makes a promise that is not kept.
CONFIDENCE = 0.95
# How each rule fails against one alternative. A rule that is not here has no bound, and its certificate says so.
FAILURE: dict[type, Callable[[float, int], float]] = {
    AheadByK: step_failure,
    FirstToK: first_to_k_failure,
    # More than half of n votes: whoever has it would have been the first to n // 2 + 1 of them.
    Majority: lambda p, n: first_to_k_failure(p, n // 2 + 1),
}


class Certificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prediction from the ballots of a run, with what it rests on; encoded, absent figures are absent keys.

    `predicted_success`: probability that all decided steps are right, worked out at `p`; None: see `reason`.
    `floor`: the same if the share `hard_share` of the steps, which these ballots do not rule out, had p = 0.55.
    `p`: lower 95% end of the probability that a vote is right, the least over all kinds.
    `assumption`: the sentence to print beside the figures; empty where there is none to qualify.
    """

    steps: int
    contested: int
    undecided: int
    predicted_success: float | None = None
    floor: float | None = None
    p: float | None = None
    hard_share: float | None = None
    assumption: str = ""
    reason: str = ""


def certify(run_rule: str | Rule, kinds: Mapping[str, Seen], undecided: int = 0) -> Certificate:
    """Return what the decided ballots of each kind allow to be predicted under `run_rule` (a rule or its spec).

    Success is the product over steps of Eq. 9 of arXiv:2511.09030 (for first_to_k: of the exact two-candidate race)
    at the lower 95% end of p, kind by kind. `undecided` steps are outside the prediction, but count against p.
    All ballots are taken to have been decided under this rule. Raises UsageError for an unknown rule's spec.
    """
    judged = rule(run_rule) if isinstance(run_rule, str) else run_rule
    seen = {kind: ballots for kind, ballots in kinds.items() if ballots.steps}
    steps, contested = sum(b.steps for b in seen.values()), sum(b.contested for b in seen.values())
    # Before any recount: such a rule ends its ballots by a test of its own, and the laws of margins would misread them.
    if steps and hasattr(judged, "step_error"):
        return _promised(judged, judged.step_error, Certificate(steps, contested, undecided))
    ends = {kind: lowest_p(judged, ballots, undecided) for kind, ballots in seen.items()}
    reason = _refusal(judged, seen, ends)
    if reason:
        return Certificate(steps, contested, undecided, reason=reason)
    failure = FAILURE[type(judged)]
    shares = {kind: unexcluded_hard_share(judged.k, ballots, undecided) for kind, ballots in seen.items()}
    # Sums of logarithms: what one step in a million takes from 1 would be lost in a product.
    predicted, floor = 0.0, 0.0
    for kind, ballots in seen.items():
        predicted += ballots.steps * math.log1p(-failure(ends[kind], judged.k))
        floor += ballots.steps * math.log1p(-_mixed(failure, ends[kind], judged.k, shares[kind]))
    certificate = Certificate(
        steps,
        contested,
        undecided,
        predicted_success=math.exp(predicted),
        floor=math.exp(floor),
        p=min(ends.values()),
        hard_share=math.fsum(shares[kind] * b.steps for kind, b in seen.items()) / steps,
    )
    return msgspec.structs.replace(certificate, assumption=_assumption(certificate))


def _promised(judged: Rule, step_error: float, made: Certificate) -> Certificate:
    """Return the certificate of a rule that decides each step at an error it was given: the promise, not a recount."""
    left_out = f", with {made.undecided} undecided left out" if made.undecided else ""
    allowed = _rounded(step_error, ROUND_UP)
    return msgspec.structs.replace(
        made,
        predicted_success=math.exp(made.steps * math.log1p(-step_error)),
        assumption=(
            f"What {judged.spec} promises: {bound_of(judged)}, here at most {allowed} for each of {made.steps} steps, "
            f"taking it that votes are independent and that the commonest answer of a step is the right one{left_out}."
        ),
    )


def lowest_p(judged: Rule, seen: Seen, undecided: int = 0) -> float:
    """Return the lower 95% end of p that the ballots of one kind support, one-sided; 0.5: they support none.

    The pooled share agreed/(agreed + dissent) is not p: a ballot ends because votes agree, and the winners' votes
    count as right. It is 1 at k = 1 whatever the model is, and 0.75 for coin flips at k = 2. So the ends
    come from the law of the ballots themselves, which also means that they cannot tell p from 1 - p.
    """
    if isinstance(judged, AheadByK):
        return _lowest_by_dissent(judged.k, seen, undecided)
    return _lowest_by_contest(judged.k, seen, undecided)


def unexcluded_hard_share(k: int, seen: Seen, undecided: int = 0, hard_p: float = HARD_P) -> float:
    """Return the largest share of steps with `hard_p` that the count of contested ballots does not exclude at 95%.

    About 3/n after n uncontested ballots, divided by the chance that a hard step is contested at all.
    """
    # No ballot of one vote can be contested, so that none is says nothing of hard steps.
    if k == 1:
        return 1.0
    return min(1.0, _contested_share(seen, undecided) / _contest(1 - hard_p, k))


def _lowest_by_dissent(k: int, seen: Seen, undecided: int) -> float:
    """Return the p below the likeliest one at which the likelihood of ahead_by_k ballots has fallen to 1/20.

    n ballots with dissent d in all have likelihood (p(1-p))^d (p^k + (1-p)^k)^n up to a constant: an exponential
    family, so the likelihood ratio is Chernoff's bound on seeing no more dissent, and covers at any n. With
    no dissent it is exact, as Clopper-Pearson's limit is; Wilson's undercovers there.
    """
    # Several rivals leave a smaller lead over all of them together: so many ballots against one rival say as much.
    ballots = min(seen.steps, (seen.agreed - seen.dissent) / k) + undecided
    # An undecided step is taken for coin flips, whose expected dissent this is: leaving it out would flatter p.
    dissent = seen.dissent + undecided * (k * k - k) / 2
    if ballots <= 0 or dissent >= ballots * (k * k - k) / 2:
        return 0.5

    def _log_likelihood(wrong: float) -> float:
        odds = k * (math.log(wrong) - math.log1p(-wrong))
        return dissent * math.log(wrong * (1 - wrong)) + ballots * (k * math.log1p(-wrong) + math.log1p(math.exp(odds)))

    best, most = 0.0, 0.0
    if dissent:
        # A ballot of n votes has (n - k)/2 of dissent, whose mean rises with the share of wrong votes: so the likeliest
        # share is where it reaches what was seen.
        best = _rising(lambda wrong: (expected_votes(1 - wrong, k) - k) / 2 >= dissent / ballots, 0.0)
        most = _log_likelihood(best)
    # -ln(1 - CONFIDENCE) is ln 20. Where not even coin flips are ruled out there is no end for `_rising` to find.
    if most - _log_likelihood(0.5) < -math.log1p(-CONFIDENCE):
        return 0.5
    return 1 - _rising(lambda wrong: most - _log_likelihood(wrong) >= -math.log1p(-CONFIDENCE), best)


def _lowest_by_contest(k: int, seen: Seen, undecided: int) -> float:
    """Return the p at which as many ballots would be contested as the limit of Clopper-Pearson allows.

    Whether the first k votes of a step agree is one trial a step, free of the stopping rule. They do with
    probability p^k + (1-p)^k against one alternative, and with less against several.
    """
    contested = _contested_share(seen, undecided)
    if k == 1 or contested >= _contest(0.5, k):
        return 0.5
    return 1 - _rising(lambda wrong: _contest(wrong, k) >= contested, 0.0)


def _rising(reached: Callable[[float], bool], low: float) -> float:
    """Return the least share from `low` to 0.5 at which `reached` holds, to the last digit; it holds at 0.5."""
    high = 0.5
    # Until no float lies between: shares are of any size down to 1e-300, and no fixed tolerance would suit them all.
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _contested_share(seen: Seen, undecided: int) -> float:
    return upper_share(seen.contested + undecided, seen.steps + undecided, CONFIDENCE)


def _contest(wrong: float, k: int) -> float:
    """Return the probability that k votes are not all equal, 1 - p^k - (1-p)^k, for a share `wrong` of wrong votes."""
    # By expm1: for a share of 1e-12, 1 - (1 - wrong)^k written as it stands has lost most of its digits.
    return -math.expm1(k * math.log1p(-wrong)) - wrong**k


def _mixed(failure: Callable[[float, int], float], p: float, k: int, hard_share: float) -> float:
    # Where p itself may be as low as a hard step's, the floor must not be the kinder of the two.
    return hard_share * failure(min(HARD_P, p), k) + (1 - hard_share) * failure(p, k)


def _refusal(judged: Rule, seen: Mapping[str, Seen], ends: Mapping[str, float]) -> str:
    """Say why nothing can be predicted; empty if something can."""
    k = judged.k
    if type(judged) not in FAILURE and not hasattr(judged, "step_error"):
        return f"no bound is known for the rule {judged.spec}"
    if not seen:
        return "no step was decided, so there is nothing to predict"
    if k == 1:
        return "with k=1 a step ends at its first vote: no vote could disagree, and nothing was learned of p"
    for kind, ballots in seen.items():
        name = f" of kind {kind!r}" if kind else ""
        # Of n votes a winner by majority has more than half; the k of the other rules is what a winner has at least.
        fewest = k // 2 + 1 if isinstance(judged, Majority) else k
        if ballots.agreed < fewest * ballots.steps:
            return (
                f"the {ballots.steps} steps{name} have {ballots.agreed} votes for winners: "
                f"{judged.spec} asks for {fewest} each, so another rule decided some of them"
            )
        if ends[kind] <= 0.5:
            return (
                f"too little agreement was seen in {ballots.steps} ballots{name} ({ballots.contested} contested): "
                "at 95% p may be 0.5, where votes decide nothing"
            )
    return ""


def _assumption(made: Certificate) -> str:
    """Say in one sentence what the figures rest on; bounds are rounded to the safe side."""
    left_out = f", with {made.undecided} undecided left out" if made.undecided else ""
    wrong, share = _rounded(1 - (made.p or 0), ROUND_UP), _rounded(made.hard_share or 0, ROUND_UP)
    return (
        f"Predicted from {made.contested} contested ballots in {made.steps} (at 95% at most {wrong} of the votes are "
        "wrong), taking it that votes are independent, that the commonest answer of a step is the right one and that "
        f"steps of a kind are equally hard{left_out}; if a share of {share} of them, which the count of contested "
        f"ballots does not exclude, had p={HARD_P}, it would be {_rounded(made.floor or 0, ROUND_DOWN)}."
    )


def _rounded(share: float, rounding: str) -> str:
    # What a float has rounded to 0 is small, and not nothing: 0 would be a claim of certainty.
    if share == 0:
        return "below 1e-300"
    return f"{float(Context(prec=3, rounding=rounding).create_decimal_from_float(share)):.3g}"
