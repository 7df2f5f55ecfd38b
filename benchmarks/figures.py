"""One measured figure with its bar, and the measuring of a whole process."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A measured value, how it reads, and the bar it is held against: `most` or `least`, or neither."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        """The value with its unit and its note."""
        digits = 0 if abs(self.value) >= 1000 else 1 if abs(self.value) >= 10 else 3
        note = f" ({self.note})" if self.note else ""
        return f"{self.value:,.{digits}f} {self.unit}".strip() + note

    @property
    def bar(self) -> str:
        """The bar as text."""
        if self.most is not None:
            return f"at most {self.most:,g}"
        return f"at least {self.least:,g}" if self.least is not None else ""

    @property
    def verdict(self) -> str:
        """yes, no, or nothing where there is no bar."""
        if self.most is not None:
            return "yes" if self.value <= self.most else "**no**"
        return ("yes" if self.value >= self.least else "**no**") if self.least is not None else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Process:
    """What a finished process took: seconds of wall and CPU time, MB at its peak, what it printed."""

    wall: float
    cpu: float
    peak_mb: float
    output: bytes


def run_process(command: list[str], **options: Any) -> Process:
    """Run a command to its end and return what it took; raises if it fails."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return Process(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)
