"""A calibration as a value that outlives its process: what it was made with, its figures, and whether they fit a run.

Reads and writes bytes, never a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from mdap.core.calibration import Kind, Range
from mdap.core.errors import FingerprintChanged, UsageError, VotingCannotHelp
from mdap.core.fingerprint import differences
from mdap.core.prices import UnitPrices
from mdap.core.rules.weighing import Weighing
from mdap.core.verdict import Verdict

VERSION: Final = 1
# Parts of a run's fingerprint that a calibration does not depend on: it is there to choose the rule, and its samples
# have seeds of their own.
FREE = frozenset({"rule", "model"})

StatesFrom: TypeAlias = Literal["sample", "answer", "votes"]


class ModelCalibration(msgspec.Struct, frozen=True):
    """The figures of one model. `identity` is what its fingerprint holds, `model` its spec.

    `calls` were made, retries included; `stopped` says why no more were, where a budget ended them. `unsettled`: states
    whose answer votes could not settle, which count as wrong. `prices` are those of a run's calls; None: not known, or
    of several models. `weighing`: what its confidences would be worth as weights; None: they were not asked for.
    """

    model: str
    identity: str
    fingerprint: dict[str, str]
    calls: int
    kinds: tuple[Kind, ...]
    verdict: Verdict
    unsettled: int = 0
    stopped: str = ""
    prices: UnitPrices | None = None
    weighing: Weighing | None = None

    @property
    def k(self) -> int:
        """The k that the calibration recommends; raises VotingCannotHelp where it refuses."""
        if self.verdict.k is None:
            raise VotingCannotHelp(
                f"{self.model}: {self.verdict.refusal}",
                remedy="change the prompt, the model or the steps, or add an oracle; a larger k makes it worse. "
                "More --samples narrow the intervals",
            )
        return self.verdict.k

    @property
    def calls_per_step(self) -> float | None:
        """Expected calls for each decided step at the recommended k; None where there is none."""
        projection = self.verdict.projection
        if projection is None:
            return None
        # A sample is a vote with probability v, so a vote takes 1/v samples.
        return sum(kind.share * projection.votes_per_step.value / kind.v.value for kind in self.kinds)

    @property
    def usd(self) -> Range | None:
        """What the run to come costs in USD, between its ends; None without prices or without a k."""
        projection = self.verdict.projection
        if projection is None or self.prices is None:
            return None
        amounts = zip(
            msgspec.structs.astuple(projection.tokens_in), msgspec.structs.astuple(projection.tokens_out), strict=True
        )
        return Range(*(_usd(self.prices, tokens_in, tokens_out) for tokens_in, tokens_out in amounts))

    @property
    def usd_per_step(self) -> float | None:
        """Expected USD for each decided step at the recommended k; None without prices or without a k."""
        projection, calls, amount = self.verdict.projection, self.calls_per_step, self.usd
        if projection is None or calls is None or amount is None:
            return None
        # By way of a call: the amount is of the whole run, `calls` are of a step.
        return amount.value / projection.calls.value * calls


class Calibration(msgspec.Struct, frozen=True):
    """What `calibrate` found for one task and some models, the cheapest per decided step first, refused ones last.

    `samples` were asked for of each model; `states_from`: the task's `sample`, a walk along its `answer`, or a short
    run by votes; `truth_from`: the task's `answer`, or agreement with a vote of a large margin. `steps` and `target`
    are those of the run that it was made for. `temperature` is what was drawn at: that of all votes of a step but its
    first.
    """

    task: str
    target: float
    steps: int
    samples: int
    seed: int
    temperature: float | None
    states_from: StatesFrom
    truth_from: Literal["answer", "votes"]
    models: tuple[ModelCalibration, ...]
    version: int = VERSION

    def encode(self) -> bytes:
        """Return the calibration as one line of JSON, which `decode` reads back."""
        return msgspec.json.encode(self) + b"\n"

    def fitting(self, fingerprint: Mapping[str, str]) -> ModelCalibration:
        """Return the figures for a run of this fingerprint.

        Raises FingerprintChanged, with a readable difference, if model, prompt, parser, flags or settings are not those
        of the calibration.
        """
        # The seed says which samples a simulated model draws, not how good they are.
        asked = _unseeded(fingerprint["model"])
        found = [m for m in self.models if _unseeded(m.identity) == asked]
        now = comparable(fingerprint)
        if found and found[0].fingerprint == now:
            return found[0]
        # Where no model fits, the first is compared all the same: the message then says what else differs.
        first = found[0] if found else self.models[0]
        before = {"model": first.identity, **first.fingerprint}
        raise FingerprintChanged(
            "the calibration was made with something else:\n"
            f"{differences(before, {'model': fingerprint['model'], **now})}\n",
            remedy="calibrate again with what the run uses: `mdap calibrate TASK --model M --output FILE`",
        )


def ranked(models: Iterable[ModelCalibration]) -> tuple[ModelCalibration, ...]:
    """Return models by what a decided step costs, or takes in calls where not all have a price; refused ones last."""
    found = list(models)
    helped = [model for model in found if model.calls_per_step is not None]
    # All by one measure: a price and a number of calls cannot be put in one order.
    is_priced = all(model.usd_per_step is not None for model in helped)

    def _rank(model: ModelCalibration) -> float:
        figure = model.usd_per_step if is_priced else model.calls_per_step
        return math.inf if figure is None else figure

    return tuple(sorted(found, key=_rank))


def _usd(prices: UnitPrices, tokens_in: float, tokens_out: float) -> float:
    """The price of so many tokens, none of them cached and no prompt so long that it costs more."""
    return (float(prices.input) * tokens_in + float(prices.output) * tokens_out) / 1e6


def _unseeded(model: str) -> str:
    """Return a model's identity without its seed, which says what it draws and not how well."""
    # First a seed that more options follow, which takes its comma along; then one at the end, with the sign before it.
    return re.sub(r"[:,]seed=-?\d+\b", "", re.sub(r"(?<=[:,])seed=-?\d+,", "", model))


def comparable(fingerprint: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of a run's fingerprint that must be those of its calibration; the run's seed is none of them."""
    kept = {part: text for part, text in fingerprint.items() if part not in FREE}
    settings = msgspec.json.decode(kept["settings"])
    # Nor are spare draws: one sample at a time was asked for, and what latency tells of them is among the figures.
    for free in ("seed", "hedge"):
        settings.pop(free, None)
    return {**kept, "settings": msgspec.json.encode(settings).decode()}


def decode(data: bytes) -> Calibration:
    """Read what `encode` wrote; raises UsageError for anything else, a later version included."""
    try:
        read = msgspec.json.decode(data, type=Calibration)
    except (ValueError, RecursionError) as error:  # the latter for what is nested too deeply
        raise UsageError(
            f"not a calibration: {error}", remedy="give a file that `mdap calibrate --output` wrote"
        ) from None
    # Fields that an earlier version lacks have defaults; a later one may mean something else by those that it shares.
    if read.version > VERSION or not read.models:
        raise UsageError(
            f"a calibration of version {read.version}, with {len(read.models)} models, cannot be used here",
            remedy="calibrate again, or use the mdap that wrote it",
        )
    return read
