"""Says, while a run goes on, that its flags or its dissent are above those of its calibration. It alters nothing.

The test is a bet that never cheats: whoever plays it against a share that has not risen multiplies a stake of 1 by 20
with probability 1/20 at most, however long the run is and whenever one looks (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mdap.core.calibrated import ModelCalibration
from mdap.core.events import StepDecided, Warned
from mdap.core.records import Decision
from mdap.core.scaling import upper_share

# Together 5%: what a run may falsely alarm with, spent on the wager and on not knowing the calibration's own shares.
ALARM, NUISANCE = 0.04, 0.01
# Bets are made for a share that has risen by these factors; which one, nobody knows before.
RISES = (1.5, 3.0, 10.0)
STARTS = 40
# The last of so many bets begins at value 100 * 2**38, which no run reaches.
FIRST_START = 100


class Wager:
    """A bet that values in [0, 1] have a mean above `bound`; `add` says whether the stake has grown to `limit`.

    The stake is spread over bets for several means that begin at value 0, 100, 200, 400 ...: a rise that comes late
    finds a bet that has lost nothing yet. Valid for any values whose mean, given all before, is `bound` or less,
    whatever holds them together within one step (Waudby-Smith and Ramdas, 2024).
    """

    def __init__(self, bound: float, limit: float) -> None:
        self.bound = bound
        self._limit = limit
        self._seen = 0
        self.total = 0.0
        self._bets = [_Bet(start, part, bound, rise) for start, part in _starts() for rise in RISES]

    @property
    def mean(self) -> float:
        """The mean of all values so far."""
        return self.total / self._seen if self._seen else 0.0

    @property
    def values(self) -> int:
        """How many values there were."""
        return self._seen

    def add(self, value: float) -> bool:
        """Take one value in; True once the stake has reached the limit."""
        self._seen += 1
        if value <= 0.0:
            return False  # the stake only shrank: by how much is worked out when it matters
        self.total += value
        stake = 0.0
        for bet in self._bets:
            if bet.start >= self._seen:
                stake += bet.part
            else:
                stake += bet.part * bet.after(value, self._seen)
        return stake >= self._limit


class _Bet:
    """One part of the stake, bet from value `start` on at one height."""

    __slots__ = ("_height", "_lag", "_log", "_miss", "bound", "part", "start")

    def __init__(self, start: int, part: float, bound: float, rise: float) -> None:
        self.start, self.part, self.bound = start, part / len(RISES), bound
        # A share ends at 1: where the factor leads far, the bet is on half of what is left.
        risen = min(rise * bound, (1 + bound) / 2)
        # Kelly's height for a share that has risen from `bound` to `risen`.
        self._height = (risen - bound) / (bound * (1 - bound)) if 0 < bound < 1 else 0.0
        self._miss = math.log1p(-self._height * bound)
        self._lag = start
        self._log = 0.0

    def after(self, value: float, seen: int) -> float:
        """What a stake of 1 has become after value number `seen`, all since the last call having been 0."""
        self._log += (seen - 1 - self._lag) * self._miss + math.log1p(self._height * (value - self.bound))
        self._lag = seen
        # exp(710) overflows a double, and the alarm is given long before a stake has grown so far.
        return math.exp(min(700.0, self._log))


def _starts() -> list[tuple[int, float]]:
    """Where bets begin, and the part of the stake that each has; the parts add up to 1."""
    places = [0, *(FIRST_START << i for i in range(STARTS - 1))]
    # Parts that fall this slowly cost a late bet little: the logarithm of its stake lacks about 2 ln(i).
    parts = [1 / ((i + 1) * (i + 2)) for i in range(STARTS)]
    return [(place, part / math.fsum(parts)) for place, part in zip(places, parts, strict=True)]


class Drift:
    """Watches the decisions of one run at margin `k`, kind by kind, and warns once of each thing that has risen."""

    def __init__(self, calibrated: ModelCalibration, k: int, warn: Callable[[Warned], None]) -> None:
        self._warn = warn
        # Slot 0 has a temperature of its own; the next ones up to k are always drawn, whatever the votes are.
        self._slots = range(1, k) if k > 1 else range(1)
        tests = 2 * len(calibrated.kinds)
        # Shared out among all tests of the run, so that the sum bounds the chance that any of them alarms falsely.
        confidence, limit = 1 - NUISANCE / tests, tests / ALARM
        self._wagers: dict[str, tuple[Wager, Wager]] = {}
        for kind in calibrated.kinds:
            wrong, flagged = kind.p.trials - kind.p.hits, kind.v.trials - kind.v.hits
            bounds = upper_share(wrong, kind.p.trials, confidence), upper_share(flagged, kind.v.trials, confidence)
            self._wagers[kind.name] = Wager(bounds[0], limit), Wager(bounds[1], limit)
        self._told: set[tuple[str, str]] = set()

    def add(self, event: object) -> None:
        """Take in an event of the run."""
        if type(event) is not StepDecided:
            return
        decision = event.decision
        wagers = self._wagers.get(decision.kind)
        if wagers is None:
            self._tell(decision, "kind", "are not in the calibration: its k says nothing of them")
            return
        dissent, flagged = _shares(decision, self._slots)
        for what, share, wager in (("dissent", dissent, wagers[0]), ("flags", flagged, wagers[1])):
            if share is not None and wager.add(share):
                self._tell(decision, what, f"have more {_WHAT[what]} than the calibration allows: {_figures(wager)}")

    def _tell(self, decision: Decision, what: str, message: str) -> None:
        if (decision.kind, what) in self._told:
            return
        self._told.add((decision.kind, what))
        steps = f"steps of kind {decision.kind!r}" if decision.kind else "the steps of this run"
        self._warn(
            Warned(
                decision.step,
                f"drift: {what}",
                f"{steps} {message}; `mdap calibrate` again before trusting its k",
            )
        )


_WHAT = {"dissent": "votes against the winner", "flags": "red flags"}


def _figures(wager: Wager) -> str:
    return (
        f"{wager.mean:.3g} over {wager.values:,} steps, at most {wager.bound:.3g} there (a false alarm in 1 of 20 runs)"
    )


def _shares(decision: Decision, slots: range) -> tuple[float | None, float | None]:
    """Return the shares of dissenting votes and of flagged first draws in these slots; None where there is none."""
    votes, first, flagged = [], 0, 0
    counts: dict[bytes, int] = {}
    for sample in decision.samples:
        if not sample.flag:
            counts[sample.key] = counts.get(sample.key, 0) + 1
        if sample.slot in slots:
            # First draws alone: a redraw comes of a flag, and would count the same trouble twice.
            if not sample.redraw:
                first += 1
                flagged += bool(sample.flag)
            if not sample.flag:
                votes.append(sample.key)
    if len(counts) < 2:  # nearly all steps: nobody dissents
        return (0.0 if votes else None), (flagged / first if first else None)
    winner = max(counts, key=counts.__getitem__)
    dissent = sum(key != winner for key in votes) / len(votes) if votes else None
    return dissent, (flagged / first if first else None)
