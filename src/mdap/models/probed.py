"""What a probe of a model found, and how a run takes it over. No call is made here: see `mdap.models.probing`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mdap.core.errors import UsageError
from mdap.models.profiles import Profile


class Finding(msgspec.Struct, frozen=True):
    """One answer: `value` None where the calls could not tell; `how` says what was seen."""

    name: str
    value: bool | int | str | None
    how: str


class Report(msgspec.Struct, frozen=True):
    """What a probe found: the profile as far as it is known now, each finding, and what it cost."""

    model: str
    profile: Profile
    variety: str
    findings: tuple[Finding, ...]
    calls: int
    tokens_in: int
    tokens_out: int

    @property
    def repeats(self) -> bool:
        """Whether replies that should differ were alike, whatever their seeds."""
        return any(finding.name == "repeats" and finding.value is True for finding in self.findings)


def read_report(report: Report | str | Path) -> Report:
    """Return a report, read from the file that `mdap probe --output` wrote unless it is one already.

    Raises UsageError for what is none.
    """
    if isinstance(report, Report):
        return report
    try:
        # By its type, so that a file of another sort is refused here and not in the middle of a run.
        return msgspec.json.decode(Path(report).read_bytes(), type=Report)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"no report of a probe can be read from {report}: {error}",
            remedy="write one by `mdap probe MODEL --output FILE`",
        ) from None


def take_over(models: Sequence[Any], report: Report) -> None:
    """Let the models that a report is about have what it found; raises UsageError where it is about none of them."""
    # By the whole spec: the same name at another address may be another program.
    found = [model for model in models if model.spec == report.model and hasattr(model, "profile")]
    if not found:
        asked = ", ".join(model.spec for model in models)
        raise UsageError(f"the probe was of {report.model}, and the run asks {asked}", remedy="probe the run's model")
    for model in found:
        # Set and not adapted: a probe also finds out what a model takes although its profile says no.
        model.profile, model.repeats = report.profile, report.repeats
